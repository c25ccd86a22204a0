"""Programs that are not ours read the folder that ``placet audit tiles`` writes: Go's sumdb and Tessera's fsck."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet.audit.cosignature import Cosigner
from placet.audit.note import LogKey
from placet.audit.proof import prove_consistency, prove_inclusion
from placet.audit.stores.file import open_readonly
from placet.audit.tile_folder import TileFolder
from placet.audit.tile_prune import prune_tiles
from placet.audit.tile_writer import write_tiles
from tests.placet.audit.test_tile_prune import MINIMUM, REVOCATION, make
from tests.simulators.tampering import LOG_KEY, OTHER_KEY, build_log
from tests.simulators.tileslog import MemoryLog, content_of

ROOT: Final = Path(__file__).resolve().parents[2]
KEYS: Final = [LOG_KEY.verifier]
VKEY: Final = str(LOG_KEY.verifier)
_ACCEPTED, _REFUSED = 0, 1


@pytest.fixture(scope="session")
def programs() -> dict[str, str]:
    """Program -> path; the build makes them where they are not there yet."""
    builder = [sys.executable, str(ROOT / "tools" / "build.py")]
    names = ("sumdb-verify", "fsck")
    subprocess.run([*builder, *names], check=True, capture_output=True)
    return {
        name: subprocess.run(
            [*builder, "--print-path", name], check=True, capture_output=True, text=True
        ).stdout.strip()
        for name in names
    }


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real store of 530 leaves, published in two steps."""
    folder = tmp_path_factory.mktemp("log")
    store = build_log(folder / "record.db", size=530, signed=(5, 256, 300, 530))
    with open_readonly(store) as reader:
        write_tiles(folder / "tiles", reader, KEYS)
    return folder / "tiles"


def _sumdb(programs: dict[str, str], *arguments: object) -> int:
    command = [programs["sumdb-verify"], *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode


def _fsck(programs: dict[str, str], root: Path, key: Path) -> bool:
    """Whether Tessera's own check of a whole log accepts the folder."""
    command = [programs["fsck"], f"-storage_url=file://{root}/", f"-public_key={key}", "-ui=false"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode == 0 and "Successfully fsck'd log" in done.stderr


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "log.vkey"
    file.write_text(f"{VKEY}\n")
    return file


def test_a_real_store_as_tiles_is_accepted_by_both(programs: dict[str, str], grown: Path, key: Path) -> None:
    assert _sumdb(programs, "tiles", "-key", VKEY, grown) == _ACCEPTED
    assert _fsck(programs, grown, key)
    assert _sumdb(programs, "tiles", "-key", OTHER_KEY.verifier, grown) == _REFUSED


@pytest.mark.parametrize("size", [1, 255, 256, 257, 512, 700, 66_000])
def test_tiles_of_every_shape_are_accepted_by_both(
    programs: dict[str, str], tmp_path: Path, key: Path, size: int
) -> None:
    root = tmp_path / "tiles"
    log = MemoryLog.of(size, tuple(sorted({size // 2, size})))
    for steps in (log.signed[:1], log.signed):
        write_tiles(root, MemoryLog(log.raw[: steps[-1]], steps), KEYS)
    assert _sumdb(programs, "tiles", "-key", VKEY, root) == _ACCEPTED
    assert _fsck(programs, root, key)


def test_every_tile_that_is_changed_is_refused_by_both(programs: dict[str, str], tmp_path: Path, key: Path) -> None:
    """So that their consent says something."""
    root = tmp_path / "tiles"
    write_tiles(root, MemoryLog.of(300), KEYS)
    for name, raw in content_of(root).items():
        if name.startswith("checkpoints/"):
            continue  # ours; they know nothing of it
        (root / name).write_bytes(raw[:-40] + bytes([raw[-40] ^ 1]) + raw[-39:] if len(raw) > 40 else bytes(len(raw)))
        assert _sumdb(programs, "tiles", "-key", VKEY, root) == _REFUSED, name
        if name not in {"tile/entries/000", "tile/0/000"}:  # fsck v1.0.4 never ends where a full tile differs
            assert not _fsck(programs, root, key), name
        (root / name).write_bytes(raw)
    assert _fsck(programs, root, key)


def test_a_cosigned_checkpoint_is_opened_by_gos_own_notes(
    programs: dict[str, str], grown: Path, tmp_path: Path
) -> None:
    witness = Cosigner("witness.example.org/w1", Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34))))
    raw = (grown / "checkpoint").read_bytes()
    cosigned = tmp_path / "cosigned.note"
    cosigned.write_bytes(witness.cosign(raw, moment=datetime(2026, 11, 22, 18, tzinfo=UTC)))
    asked = ("cosigned", "-key", VKEY, "-witness", witness.verifier)
    assert _sumdb(programs, *asked, cosigned) == _ACCEPTED
    assert _sumdb(programs, "checkpoint", "-key", VKEY, cosigned) == _ACCEPTED
    assert _sumdb(programs, *asked, grown / "checkpoint") == _REFUSED
    text = cosigned.read_text()
    cosigned.write_text(text[:-8] + ("A" if text[-8] != "A" else "B") + text[-7:])
    assert _sumdb(programs, *asked, cosigned) == _REFUSED


def test_a_checkpoint_of_two_keys_is_opened_by_either_and_its_tiles_by_fsck(
    programs: dict[str, str], tmp_path: Path, key: Path
) -> None:
    both = LogKey(LOG_KEY.name, LOG_KEY.private, successor=OTHER_KEY)
    root = tmp_path / "tiles"
    write_tiles(root, MemoryLog(MemoryLog.of(300).raw, (300,), both), KEYS)
    new = tmp_path / "new.vkey"
    new.write_text(f"{OTHER_KEY.verifier}\n")
    for vkey, file in ((LOG_KEY.verifier, key), (OTHER_KEY.verifier, new)):
        assert _sumdb(programs, "tiles", "-key", vkey, root) == _ACCEPTED
        assert _fsck(programs, root, file)


def test_proofs_from_pruned_tiles_are_accepted_and_a_whole_log_is_missed(
    programs: dict[str, str], tmp_path: Path, key: Path
) -> None:
    _, tiles = make(tmp_path)
    assert _fsck(programs, tiles, key)
    assert prune_tiles(tiles, KEYS, dry_run=False).minimum == MINIMUM
    folder, newest, old = TileFolder(tiles), tiles / "checkpoint", tiles / "checkpoints" / "100"
    (tmp_path / "old.json").write_bytes(prove_consistency(folder, old.read_bytes(), KEYS))
    older = ("consistency", "-key", VKEY, "-old", old, "-new", newest, "-proof", tmp_path / "old.json")
    assert _sumdb(programs, *older) == _ACCEPTED, "a checkpoint below the minimum index too"
    for index in (REVOCATION, MINIMUM, folder.size - 1):
        stored = next(folder.leaves(index, index + 1))
        (tmp_path / "proof.json").write_bytes(prove_inclusion(folder, stored, KEYS))
        given = ("proof", "-key", VKEY, "-checkpoint", newest, "-proof", tmp_path / "proof.json")
        assert _sumdb(programs, *given) == _ACCEPTED, index
    # both read entries from the first on, and find that they are not there
    assert _sumdb(programs, "tiles", "-key", VKEY, tiles) == _REFUSED
    assert not _fsck(programs, tiles, key)
