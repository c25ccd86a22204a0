"""No honest log is accused, wherever the processes that write it were killed."""

from __future__ import annotations

import os
import shutil
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from placet.audit.log import AuditLog
from placet.audit.saved import SavedCheckpoints
from placet.audit.stores.file import open_readonly
from placet.audit.stores.sqlite import SqliteStore
from placet.audit.tile_writer import write_tiles
from placet.audit.tiles_verify import verify_tiles
from placet.audit.verify import verify_file
from tests.simulators.alterations import TRIED
from tests.simulators.faults import FaultyStore
from tests.simulators.tampering import LOG_KEY, ORIGIN, decision, policy_input_of

KEYS: Final = [LOG_KEY.verifier]


class _Striking(FaultyStore):
    """A store at each of whose steps the process may end, before it and after it."""

    def __init__(self, store: SqliteStore, reached: Callable[[], None]) -> None:
        super().__init__(store)
        self._reached = reached

    def strike(self, step: str, *, after: bool) -> None:
        del step, after
        self._reached()


def _live(folder: Path, numbers: range, reached: Callable[[], None]) -> None:
    """A minute of a gate and of whoever publishes: append, sign, save the checkpoint, write tiles."""
    log = AuditLog(_Striking(SqliteStore.open(folder / "record.db", origin=ORIGIN), reached), key=LOG_KEY)
    saved = SavedCheckpoints.open(folder / "saved", KEYS, log.reading)
    for number in numbers:
        log.append(decision(number), uid=f"uid-{number}", attachments={"input": policy_input_of(number)})
    saved.save(log.checkpoint())
    reached()
    with open_readonly(folder / "record.db") as reader:
        write_tiles(folder / "tiles", reader, KEYS)
    reached()
    log.close()


def _killed_at(folder: Path, times: int) -> bool:
    """Live on in a process that is killed at the so manieth step on the store or the files; whether it came there."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)
    left = [times]

    def reached() -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    def stepping(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            reached()
            return function(*arguments, **named)

        return called

    try:
        for holder, name in ((os, "link"), (os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir")):
            setattr(holder, name, stepping(getattr(holder, name)))
        _live(folder, range(2, 4), reached)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - a child of a test must not go on as the test
        traceback.print_exc()
        os._exit(1)


def _accuse(folder: Path) -> tuple[int, int]:
    """Leaves of the record and of the tiles; nothing is found in either."""
    saved = [(path.name, path.read_bytes()) for path in sorted((folder / "saved").glob("[0-9]*"))]
    result = verify_file(folder / "record.db", KEYS, saved=saved)
    assert (result.findings, result.verified, len(result.saved)) == ((), True, len(saved))
    SavedCheckpoints.open(folder / "saved", KEYS, lambda: open_readonly(folder / "record.db"))
    published = verify_tiles(folder / "tiles", KEYS)
    assert (published.findings, published.verified) == ((), True)
    return result.size, published.size


def test_no_honest_log_is_accused_wherever_its_processes_were_killed(tmp_path: Path) -> None:
    """Killed at each step of append, of signing, of saving a checkpoint and of publishing; then everybody goes on."""
    base = tmp_path / "base"
    base.mkdir()
    _live(base, range(2), lambda: None)
    assert _accuse(base) == (2, 2)
    for times in range(1, 200):
        folder = Path(shutil.copytree(base, tmp_path / str(times)))
        killed = _killed_at(folder, times)
        size, published = _accuse(folder)
        assert 2 <= published <= size <= 4
        _live(folder, range(2, 4), lambda: None)
        assert _accuse(folder) == (4, 4), "each decision once, though it was asked again"
        shutil.rmtree(folder)
        if not killed:
            assert times > 50, "the steps were counted"
            return
        TRIED["honest logs with a kill"] += 1
    pytest.fail("it never came to its end")
