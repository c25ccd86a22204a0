"""Deleting attachments from a SQLite store so that their bytes are gone from the file and from its write-ahead log."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from placet.audit.stores.failure import store_error, unavailable
from placet.audit.stores.file import read_version, uri

_WAIT_S: Final = 30.0
_PAUSE_S: Final = 0.05


def erase_attachments(
    path: Path,
    places: Sequence[tuple[int, str]],
    *,
    rows: Sequence[tuple[int, int]] = (),
    wait_s: float = _WAIT_S,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Delete them, and write the file anew: SQLite leaves what it deletes on pages that it uses later.

    A gate that writes at the same time waits, or refuses, as long as that takes; it needs as much space as the file.

    Args:
        path: of the file.
        places: index and name of each attachment.
        rows: number and term of what a person is found by, which says nothing once the key is gone; deleted too.
        wait_s: seconds to wait for others, each time.
        clock: monotonic seconds.
        pause: waits so many seconds.

    Raises:
        StoreUnavailable: they are not known to be gone; to try again is never wrong.
        AuditError: ``store_foreign``.
    """
    try:
        with contextlib.closing(
            sqlite3.connect(uri(path, "mode=rw"), uri=True, timeout=wait_s, isolation_level=None)
        ) as connection:
            read_version(connection, path)
            for pragma in ("secure_delete = ON", "synchronous = FULL", "fullfsync = ON", "trusted_schema = OFF"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("DELETE FROM blobs WHERE idx = ? AND name = ?", places)
            if rows:
                connection.executemany("DELETE FROM terms WHERE block = ? AND term = ?", rows)
            connection.execute("COMMIT")
            if places:
                connection.execute("VACUUM")
            _empty_log(connection, clock() + wait_s, clock, pause)
    except sqlite3.Error as exc:
        raise store_error(exc) from exc


def _empty_log(
    connection: sqlite3.Connection, give_up: float, clock: Callable[[], float], pause: Callable[[float], None]
) -> None:
    """Bring the write-ahead log into the file and cut it to nothing; a reader that began before has to end first."""
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        if clock() >= give_up:
            raise unavailable("store_locked", "a reader holds what was erased in the write-ahead log; try again")
        pause(_PAUSE_S)
