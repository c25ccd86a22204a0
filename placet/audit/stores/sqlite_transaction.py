"""The write transaction of a SQLite file, and what becomes of the errors on the way."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from placet.audit.merkle import Frontier
from placet.audit.segments import SEGMENT, Segment
from placet.audit.stores import Entry, StoredCheckpoint, StoredLeaf
from placet.audit.stores.blocks import put_block, put_segment, put_terms
from placet.audit.stores.failure import store_error, unavailable
from placet.audit.stores.reader import COLUMNS, SqliteReader, values_of
from placet.audit.stores.rows import parse_state, read_row
from placet.audit.terms import TermBlock
from placet.errors import AuditError, StoreUnavailable

if TYPE_CHECKING:
    from placet.audit.stores.sqlite import SqliteStore

_INSERT: Final = (
    f"INSERT INTO leaves (idx, leaf_hash, leaf, {', '.join(COLUMNS)}) VALUES ({', '.join('?' * (3 + len(COLUMNS)))})"  # noqa: S608 - our own names
)
_FIND_UID: Final = "SELECT uid, idx, leaf, leaf_hash FROM leaves WHERE uid = ?"
_FIND_UIDS: Final = "SELECT uid, idx, leaf, leaf_hash FROM leaves WHERE uid IN (SELECT value FROM json_each(?))"
_STATE_AND_NOTE: Final = """\
SELECT size, frontier, (SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1) FROM state WHERE id = 1"""


class SqliteTransaction:
    """The one write transaction of a file; see ``placet.audit.stores.Transaction``."""

    __slots__ = ("_connection", "_healthy", "_note", "_open", "_store")

    def __init__(self, store: SqliteStore, connection: sqlite3.Connection) -> None:
        self._store = store
        self._connection = connection
        self._open = True
        self._healthy = True
        self._note = ""

    def state(self) -> Frontier:
        """See ``Transaction``."""
        with self._guarded():
            row = self._connection.execute(_STATE_AND_NOTE).fetchone()
        self._note = "" if row is None or row[2] is None else str(row[2])
        return parse_state(row)

    def find_uids(self, uids: Sequence[str]) -> dict[str, StoredLeaf]:
        """See ``Transaction``."""
        # One is what there is as long as nobody waits.
        asked = (_FIND_UID, tuple(uids)) if len(uids) == 1 else (_FIND_UIDS, (json.dumps(list(uids)),))
        with self._guarded():
            return {row[0]: read_row(row[1:]) for row in self._connection.execute(*asked)}

    def newest_note(self) -> str:
        """See ``Transaction``."""
        return self._note

    def insert(self, entries: Sequence[Entry]) -> None:
        """See ``Transaction``."""
        leaves = ((entry.index, entry.leaf_hash, entry.leaf.raw, *values_of(entry.leaf.columns)) for entry in entries)
        blobs = [(entry.index, *kept) for entry in entries for kept in entry.kept()]
        with self._guarded():
            self._connection.executemany(_INSERT, leaves)
            if blobs:
                self._connection.executemany(
                    "INSERT INTO blobs (idx, name, sha256, content) VALUES (?, ?, ?, ?)", blobs
                )

    def put_state(self, frontier: Frontier) -> None:
        """See ``Transaction``."""
        with self._guarded():
            self._connection.execute(
                "UPDATE state SET size = ?, frontier = ? WHERE id = 1", (frontier.size, frontier.render())
            )

    def try_out(self, entries: Sequence[Entry], frontier: Frontier) -> None:
        """See ``Transaction``; what it writes is written to the disk with what is committed, in one log."""
        with self._guarded():
            self._connection.execute("SAVEPOINT tried")
            self.insert(entries)
            self.put_state(frontier)
            self._connection.execute("ROLLBACK TO tried")

    def put_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """See ``Transaction``."""
        row = (checkpoint.size, checkpoint.root, checkpoint.raw_frontier, checkpoint.raw_note.decode())
        with self._guarded():
            self._connection.execute(
                "INSERT OR IGNORE INTO checkpoints (size, root, frontier, note) VALUES (?, ?, ?, ?)", row
            )

    def put_block(self, block: TermBlock) -> bool:
        """Keep what the leaves of a block are found by; False where it is there."""
        with self._guarded():
            return put_block(self._connection, block)

    def put_segment(self, segment: Segment, *, pruned: int) -> bool:
        """Keep what many blocks are found by; False where it is there, or was made before leaves were pruned."""
        start = segment.number * SEGMENT
        with self._guarded():
            if SqliteReader(self._connection).pruned_between(start, start + SEGMENT) != pruned:
                return False
            return put_segment(self._connection, segment)

    def put_terms(self, number: int, rows: Sequence[tuple[int, bytes]]) -> None:
        """Keep terms under a number that no block has."""
        with self._guarded():
            put_terms(self._connection, number, rows)

    def commit(self) -> None:
        """See ``Transaction``."""
        with self._guarded():
            self._connection.execute("COMMIT")
        self._open = False
        self._store.end_transaction(healthy=True)

    def rollback(self) -> None:
        """See ``Transaction``."""
        if not self._open:
            return
        self._open = False
        try:
            if self._connection.in_transaction:  # SQLite ends it by itself when the disk is full
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._healthy = False
        finally:
            self._store.end_transaction(healthy=self._healthy)

    def spoil(self) -> None:
        """Drop the connection at the end: a new one sees what is durable, and whether the cause has gone away."""
        self._healthy = False

    def _guarded(self) -> _Translated:
        return _Translated(self.spoil)


class _Translated:
    """Lets nothing of SQLite or the operating system through but as an error of ours.

    A class and no generator: a decision passes through a dozen of them.

    Args:
        on_unavailable: called before the store is said to be unavailable.
    """

    __slots__ = ("_on_unavailable",)

    def __init__(self, on_unavailable: Callable[[], None] | None = None) -> None:
        self._on_unavailable = on_unavailable

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        translation: AuditError | None = None
        if isinstance(error, sqlite3.Error | UnicodeDecodeError):
            translation = store_error(error)
        elif isinstance(error, OSError):
            translation = unavailable("store_unavailable", f"{error.filename or ''}: {error.strerror}")
        if self._on_unavailable is not None and isinstance(translation or error, StoreUnavailable):
            self._on_unavailable()
        if translation is not None:
            raise translation from error


def translated() -> _Translated:
    """For what is no part of a transaction."""
    return _Translated()
