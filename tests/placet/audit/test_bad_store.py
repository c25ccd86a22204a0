"""Stores that were damaged or cut short, and clocks that jump: a clear error or the truth, no silent loss, no fork."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from placet.audit.checkpointer import Checkpointer
from placet.audit.log import AuditLog
from placet.audit.saved import SavedCheckpoints
from placet.errors import AuditError, StoreUnavailable, TamperError
from tests.simulators.bothways import verify_file
from tests.simulators.tampering import LOG_KEY, ORIGIN, START, append

KEYS: Final = [LOG_KEY.verifier]
LEAVES: Final = 6


@contextmanager
def log_in(store: Path) -> Iterator[AuditLog]:
    log = AuditLog.open(store, origin=ORIGIN, key=LOG_KEY)
    try:
        yield log
    finally:
        log.close()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose process was killed with all that it wrote in the write-ahead log, and its saved checkpoints."""
    folder = tmp_path_factory.mktemp("killed")
    child = os.fork()
    if child == 0:
        log = AuditLog.open(folder / "record.db", origin=ORIGIN, key=LOG_KEY)
        saved = SavedCheckpoints.open(folder / "checkpoints", KEYS, log._store.reading)
        for number in range(LEAVES):
            append(log, number)
            saved.save(log.checkpoint())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert (folder / "record.db-wal").stat().st_size > 0
    return folder


def copy_of(killed: Path, folder: Path) -> Path:
    for name in ("record.db", "record.db-wal"):
        (folder / name).write_bytes((killed / name).read_bytes())
    return folder / "record.db"


def compare(store: Path, killed: Path) -> None:
    with log_in(store) as log:
        SavedCheckpoints.open(killed / "checkpoints", KEYS, log._store.reading)


@pytest.mark.parametrize("share", range(0, 100, 9))
def test_a_write_ahead_log_that_was_cut_short_is_an_older_record_and_is_noticed(
    killed: Path, tmp_path: Path, share: int
) -> None:
    """SQLite takes what is left for the truth, without a word; the saved checkpoints don't."""
    store = copy_of(killed, tmp_path)
    wal = store.with_name("record.db-wal")
    os.truncate(wal, wal.stat().st_size * share // 100)
    try:
        compare(store, killed)
    except (TamperError, StoreUnavailable, AuditError) as exc:
        assert exc.code in {"rolled_back", "store_foreign", "store_corrupt", "store_unavailable"}, exc
    else:
        assert verify_file(store, KEYS).size == LEAVES  # what was cut off is the last checkpoint's row alone
        assert share > 90


def test_a_write_ahead_log_that_is_whole_is_the_whole_record(killed: Path, tmp_path: Path) -> None:
    store = copy_of(killed, tmp_path)
    compare(store, killed)
    assert verify_file(store, KEYS).size == LEAVES


@pytest.mark.parametrize("place", range(40, 100, 5))
def test_a_write_ahead_log_with_a_changed_byte_is_an_older_record_and_is_noticed(
    killed: Path, tmp_path: Path, place: int
) -> None:
    store = copy_of(killed, tmp_path)
    wal = store.with_name("record.db-wal")
    raw = bytearray(wal.read_bytes())
    raw[len(raw) * place // 100 - 1] ^= 0x55
    wal.write_bytes(raw)
    try:
        compare(store, killed)
    except AuditError as exc:
        assert exc.code in {"rolled_back", "store_foreign", "store_corrupt", "store_unavailable"}, exc
    else:
        # SQLite passes over what follows the last commit, and what a later frame replaces.
        assert verify_file(store, KEYS).size == LEAVES


def test_a_store_that_is_damaged_while_it_is_open_appends_nothing_wrong(tmp_path: Path) -> None:
    """Every page of it in turn, under a process that has it open."""
    store = tmp_path / "record.db"
    with log_in(store) as log:
        for number in range(LEAVES):
            append(log, number)
        log.checkpoint()
    pages = store.stat().st_size // 4096
    refused = 0
    for page in range(pages):
        copy = tmp_path / f"{page}.db"
        raw = bytearray(store.read_bytes())
        raw[page * 4096 : page * 4096 + 4096] = os.urandom(4096)
        copy.write_bytes(raw)
        try:
            with log_in(copy) as log:
                log.checkpoint()
                append(log, 100)
                found = log.find_uid("uid-0")
                assert found is not None
                assert found.leaf["uid"] == "uid-0"
                log.checkpoint()
        except AuditError as exc:
            assert exc.code
            refused += 1
        else:
            assert verify_file(copy, KEYS).findings, "what was accepted says what is damaged"
    assert refused > pages // 3


def test_a_clock_that_jumps_back_neither_stops_checkpoints_nor_loses_the_order(tmp_path: Path) -> None:
    store = tmp_path / "record.db"
    now = START + timedelta(hours=5)
    with log_in(store) as log:
        checkpointer = Checkpointer(log)
        checkpointer.run_once(now)
        for number in range(3):
            append(log, number)  # dated five hours before
        back = checkpointer.run_once(now - timedelta(hours=4))
        assert back.checkpoint is not None
        assert back.heartbeat is not None
        append(log, 3)
        assert checkpointer.run_once(now - timedelta(hours=4, seconds=-61)).checkpoint is not None
        assert [body["uid"] for body in _decisions(store)] == ["uid-0", "uid-1", "uid-2", "uid-3"]
    result = verify_file(store, KEYS)
    assert result.verified
    assert any("dated before" in note for note in result.notes)


def test_denials_of_an_outage_are_no_clock_that_ran_back(tmp_path: Path) -> None:
    store = tmp_path / "record.db"
    with log_in(store) as log:
        append(log, 5)
        append(log, 4, spooled={"at": "x", "cause": "store_full"})
        append(log, 6)
        log.checkpoint()
    assert verify_file(store, KEYS).notes == ()


def _decisions(store: Path) -> list[dict[str, str]]:
    connection = sqlite3.connect(store)
    try:
        return [
            {"uid": uid} for (uid,) in connection.execute("SELECT uid FROM leaves WHERE uid IS NOT NULL ORDER BY idx")
        ]
    finally:
        connection.close()
