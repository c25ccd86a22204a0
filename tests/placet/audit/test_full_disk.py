"""A disk that is full at every place where something of the record is written: told, nothing torn, nothing lost.

Each act runs in a process whose files may have so many bytes and no more (RLIMIT_FSIZE), which the kernel enforces as
it does a full disk: in the middle of a write. SQLite and the spool have theirs in test_faults.py and test_spool.py.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from placet.audit.cosigning import cosign_checkpoint, prove_by_tiles
from placet.audit.resume import Prefix, load_state, write_state
from placet.audit.saved import SavedCheckpoints
from placet.audit.stores.file import open_readonly
from placet.audit.tile_writer import write_tiles
from placet.audit.tiles_verify import verify_tiles
from placet.audit.verify import verify_file
from placet.errors import PlacetError
from tests.golden.audit.build import WITNESS
from tests.simulators.tampering import LOG_KEY, START, build_log, saved_notes

KEYS: Final = [LOG_KEY.verifier]
LIMITS: Final = (0, 1, 40, 150, 300, 511, 1000, 4000)
FINE: Final = "fine"
ROOT: Final = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_log(tmp_path_factory.mktemp("log") / "record.db")


def limited(limit: int, act: Callable[[], object]) -> str:
    """The code of the error that it ends with where no file may have more bytes than that, or ``fine``."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        told = "no error of ours"
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            act()
            told = FINE
        except PlacetError as exc:
            told = exc.code
        finally:
            os.write(writing, told.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told


def told_of(act: Callable[[], object], check: Callable[[str], None]) -> set[str]:
    """What each limit leads to; looked at after each, and done at the end without one."""
    codes = set()
    for limit in LIMITS:
        code = limited(limit, act)
        check(code)
        codes.add(code)
    act()
    check(FINE)
    return codes - {FINE}


def test_saved_checkpoints(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    note = saved_notes(store)[-1][1].decode()

    def check(code: str) -> None:
        names = [path.name for path in folder.iterdir() if path.name.isdigit()] if folder.exists() else []
        assert names == (["18"] if code == FINE else [])

    def act() -> None:
        SavedCheckpoints(folder, KEYS, compared=True).save(note)

    for limit in LIMITS:
        code = limited(limit, act)
        check(code)
        assert code == (FINE if limit >= len(note.encode()) else "checkpoint_unsaved")
        if code == FINE:
            (folder / "18").unlink()
    act()
    SavedCheckpoints.open(folder, KEYS, lambda: open_readonly(store))


def test_tiles(store: Path, tmp_path: Path) -> None:
    root = tmp_path / "tiles"

    def act() -> None:
        with open_readonly(store) as reader:
            write_tiles(root, reader, KEYS)

    def check(code: str) -> None:
        published = (root / "checkpoint").exists()
        assert published or code != FINE
        if published:
            assert verify_tiles(root, KEYS).findings == ()

    assert told_of(act, check) == {"tiles_unwritable"}
    assert verify_tiles(root, KEYS).size == 18


def test_a_witnesss_state_and_what_it_gives_away(store: Path, tmp_path: Path) -> None:
    with open_readonly(store) as reader:
        write_tiles(tmp_path / "tiles", reader, KEYS)
    newest = (tmp_path / "tiles" / "checkpoint").read_bytes()
    state = tmp_path / "state"
    first = WITNESS.cosign(saved_notes(store)[0][1], moment=START)
    state.write_bytes(first)

    def act() -> None:
        cosign_checkpoint(
            newest,
            log_keys=KEYS,
            cosigner=WITNESS,
            state=state,
            prove=prove_by_tiles(tmp_path / "tiles", newest),
            now=START + timedelta(hours=1),
        )

    for limit in LIMITS:
        code = limited(limit, act)
        kept = state.read_bytes()
        assert kept == first if code != FINE else len(kept) <= limit, "the old one or the new one"
        assert code in {FINE, "file_unwritable"}
        assert limit < 300 or code == FINE or limit < len(first) + 100
        state.write_bytes(first)
    act()


def test_the_state_of_a_verification(store: Path, tmp_path: Path) -> None:
    kept: list[Prefix] = []
    verify_file(store, KEYS, keep=kept.append)
    path = tmp_path / "state.json"
    write_state(path, kept[-1])
    before = path.read_bytes()

    def check(_code: str) -> None:
        assert path.read_bytes() == before
        assert load_state(path, KEYS) is not None
        assert [one.name for one in tmp_path.iterdir()] == ["state.json"], "nothing is left beside it"

    assert told_of(lambda: write_state(path, kept[-1]), check) == {"input_invalid"}


@pytest.mark.parametrize(
    "command",
    [
        ("list", "-o", "csv"),
        ("list", "-o", "jsonl"),
        ("list", "-o", "json"),
        ("list", "-o", "parquet"),
        ("checkpoint",),
        ("prove", "6", "--leaf-only", "--log-key", str(LOG_KEY.verifier)),
        ("verify", "--log-key", str(LOG_KEY.verifier), "-o", "json"),
    ],
    ids=" ".join,
)
def test_what_is_exported_to_a_full_disk_is_no_success(store: Path, command: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "placet", "audit", command[0], "--store", str(store), *command[1:]],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode not in {0, 1}, "1 is an answer: tampered with"
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
