"""The ways out that docs/operations.md tells are gone, from a damaged store to a record that is published again."""

from __future__ import annotations

import re
import shlex
import shutil
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner, Result

from placet.audit.log import AuditLog
from placet.audit.saved import SavedCheckpoints, accept, find_misfits
from placet.audit.stores.file import open_readonly
from placet.audit.tiles_verify import verify_tiles
from placet.audit.verify import verify_file
from placet.cli import audit_witness, root
from placet.errors import StoreUnavailable, TamperError
from tests.simulators.tampering import LOG_KEY, ORIGIN, START, append, build_log

ROOT: Final = Path(__file__).resolve().parents[3]
KEYS: Final = [LOG_KEY.verifier]
VKEY: Final = str(LOG_KEY.verifier)
NAME: Final = "witness.example.org/w1"


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(root, ["audit", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def documented() -> list[list[str]]:
    """The commands of docs/operations.md, as words after ``placet audit``; the folder for cosigned notes is made."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    block = text.partition("<!-- tried by tests/placet/audit/test_recovery.py -->\n```sh\n")[2].partition("```")[0]
    lines = block.replace("\\\n", " ").splitlines()
    steps = [shlex.split(line) for line in lines]
    (made,) = (step[-1] for step in steps if step[:2] == ["mkdir", "-p"])
    Path(made).mkdir(parents=True)
    steps = [step for step in steps if step[0] != "mkdir"]
    assert [step[:3] for step in steps] == [["placet", "audit", name] for name in ("tiles", "witness", "verify")]
    return [step[2:] for step in steps]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record of 21 leaves, tiles and a witness's state of it, its saved checkpoints, and a backup of 12 leaves."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(audit_witness, "now", lambda: START + timedelta(days=1))
    store = build_log(tmp_path / "record.sqlite", size=12, signed=(5, 12))
    shutil.copy(store, tmp_path / "backup.sqlite")
    log = AuditLog.open(store, origin=ORIGIN, key=LOG_KEY)
    saved = SavedCheckpoints.open(tmp_path / "saved", KEYS, log.reading)
    for number in range(12, 21):
        append(log, number)
    saved.save(log.checkpoint())
    log.close()
    (tmp_path / "log.vkey").write_text(f"{VKEY}\n", encoding="ascii")
    made = run("witness-key", "witness.key", "--name", NAME, "--new")
    (tmp_path / "witness.vkey").write_text(made.stdout, encoding="ascii")
    run("tiles", "--store", store, "--log-key", VKEY, "--out", "tiles")
    run(*_witness("tiles", "witness.state", "cosigned.note"), "--first")
    return tmp_path


def _witness(folder: str, state: str, out: str) -> list[str]:
    key = ["witness", "--key", "witness.key", "--name", NAME, "--log-key", "log.vkey"]
    return [*key, "--state", state, "--tiles", folder, "--out", out]


def _damage(store: Path) -> None:
    raw = bytearray(store.read_bytes())
    for page in range(1, len(raw) // 4096):
        raw[page * 4096 : page * 4096 + 16] = b"\xff" * 16
    store.write_bytes(raw)


def test_from_a_damaged_store_to_a_record_that_is_published_again(desk: Path) -> None:
    store = desk / "record.sqlite"
    _damage(store)
    with pytest.raises(StoreUnavailable) as refused, closing(AuditLog.open(store, origin=ORIGIN, key=LOG_KEY)) as log:
        log.checkpoint()
    assert refused.value.code == "store_corrupt"
    assert "restore the last backup" in refused.value.hint
    assert "store_corrupt" in run("verify", "--store", store, "--log-key", VKEY, code=1).stdout
    store.rename(desk / "evidence.sqlite")
    shutil.copy(desk / "backup.sqlite", store)
    assert (
        "rolled_back" in run("verify", "--store", store, "--log-key", VKEY, "--checkpoint", "saved/21", code=1).stdout
    )

    misfits = find_misfits(desk / "saved", KEYS, lambda: open_readonly(store))
    assert [one.saved.size for one in misfits] == [21]
    log = AuditLog.open(store, origin=ORIGIN, key=LOG_KEY)
    accept(log, desk / "saved", KEYS, misfits, reason="the volume was damaged", now=START + timedelta(days=1))
    for number in range(12, 30):
        append(log, number)
    log.checkpoint()
    log.close()
    assert verify_file(store, KEYS).verified

    before = (desk / "tiles" / "checkpoint").read_bytes()
    assert "leaf 12" in run("tiles", "--store", store, "--log-key", VKEY, "--out", "tiles", code=2).stderr
    assert (desk / "tiles" / "checkpoint").read_bytes() == before, "what somebody has read stays"
    assert verify_tiles(desk / "tiles", KEYS).verified

    first, second, third = documented()
    run(*first)
    state = (desk / "witness.state").read_bytes()
    assert "NOT COSIGNED" in run(*_witness("tiles-2", "witness.state", "no.note"), code=1).stderr
    assert (desk / "witness.state").read_bytes() == state
    run(*second)
    shown = run(*third).stdout
    assert re.search(r"31 leaves were cosigned by witness\.example\.org/w1", shown)
    assert "restored" in shown, "and the record says that it was"


def test_without_the_backup_what_was_published_shows_what_was_lost(desk: Path) -> None:
    """The store and its backup are gone: each decision stands in the tiles, and a new record does not pass for it."""
    for name in ("record.sqlite", "backup.sqlite"):
        (desk / name).unlink()
    with pytest.raises(TamperError) as refused, closing(AuditLog.open(desk / "record.sqlite", origin=ORIGIN)) as log:
        SavedCheckpoints.open(desk / "saved", KEYS, log.reading)
    assert refused.value.code == "rolled_back"
    found = run("list", "--tiles", "tiles", "--type", "any", "--limit", "100", "-o", "jsonl").stdout
    assert len(found.splitlines()) == 21
    with closing(AuditLog.open(desk / "record.sqlite", origin=ORIGIN)) as log:
        assert log.size() == 0, "nothing was appended to it"
