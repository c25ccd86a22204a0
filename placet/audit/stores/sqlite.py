"""The log in one SQLite file: write-ahead log, ``synchronous=FULL``, one writer at a time.

Durable means: ``COMMIT`` has returned, which with ``synchronous=FULL`` is after the write-ahead log was synced. A file
that was moved away or replaced under an open store is noticed before each transaction, because a write to a file that
has no name any more would be acknowledged and lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from placet.audit.merkle import Frontier
from placet.audit.segments import SEGMENT, Segment
from placet.audit.stores import Entry, StoredCheckpoint, StoredLeaf, schema
from placet.audit.stores.blocks import put_block, put_segment, put_terms
from placet.audit.stores.failure import is_busy, store_error, unavailable
from placet.audit.stores.file import create_file, identity, read_version, sync_folder, uri
from placet.audit.stores.reader import COLUMNS, SqliteReader, values_of
from placet.audit.stores.rows import parse_state, read_row
from placet.audit.stores.upgrade import run_steps
from placet.audit.terms import TermBlock
from placet.errors import AuditError, StoreUnavailable, TamperError

_SHORTEST_PAUSE_S: Final = 0.0005
_LONGEST_PAUSE_S: Final = 0.008
_READER_TIMEOUT_S: Final = 1.0
_BLOCK_S: Final = 5.0
_INSERT: Final = (
    f"INSERT INTO leaves (idx, leaf_hash, leaf, {', '.join(COLUMNS)}) VALUES ({', '.join('?' * (3 + len(COLUMNS)))})"  # noqa: S608 - our own names
)
_FIND_UID: Final = "SELECT uid, idx, leaf, leaf_hash FROM leaves WHERE uid = ?"
_FIND_UIDS: Final = "SELECT uid, idx, leaf, leaf_hash FROM leaves WHERE uid IN (SELECT value FROM json_each(?))"
_STATE_AND_NOTE: Final = """\
SELECT size, frontier, (SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1) FROM state WHERE id = 1"""

# Every store file that this process has open: real path -> process that opened it.
_opened_by: dict[str, int] = {}


class SqliteStore:
    """One file. Threads share it; a forked child must open its own."""

    def __init__(
        self,
        path: Path,
        *,
        origin: str,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.path = path
        self._origin = origin
        self._clock = clock
        self._pause = pause
        self._process = os.getpid()
        self._identity = (0, 0)
        self._writing = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []
        self._closed = False

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        origin: str,
        create: bool = True,
        deadline_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> SqliteStore:
        """Open the file, and make it with its tables where ``create`` is set and there is none.

        A record of an earlier version is taken to the newest first, all or nothing.

        Args:
            path: of the SQLite file; ``-wal`` and ``-shm`` stand beside it.
            origin: the log that is, or will be, kept here.
            create: whether a missing file is made; its folder must be there.
            deadline_s: seconds to wait for another process.
            clock: monotonic seconds.
            pause: waits so many seconds.

        Raises:
            StoreUnavailable: it can't be opened.
            AuditError: ``store_foreign`` when the file is no record, or of a newer version, ``origin_differs`` when it
                is that of another log, ``forked`` when it was open in this process's parent.
            TamperError: its state row is missing, or it is of an earlier version and not what placet wrote.
        """
        if _opened_by.get(os.path.realpath(path), os.getpid()) != os.getpid():
            # SQLite keeps its POSIX locks in the memory that the child inherited: it would believe that it holds them.
            raise AuditError(
                "the record was open before this process was forked",
                code="forked",
                hint="Open the record after the fork.",
            )
        store = cls(path, origin=origin, clock=clock, pause=pause)
        try:
            with translated():
                if create:
                    create_file(path)
                store._prepare(deadline_s, create=create)
        except BaseException:
            store.close()
            raise
        _opened_by[os.path.realpath(path)] = os.getpid()
        return store

    @property
    def origin(self) -> str:
        """See ``Store``."""
        return self._origin

    @property
    def remote(self) -> bool:
        """See ``Store``."""
        return False

    def begin(self, *, deadline_s: float, supposed: Frontier | None = None) -> SqliteTransaction:
        """See ``Store``; it is always asked."""
        del supposed
        self._require_process()
        give_up = self._clock() + deadline_s
        if not self._writing.acquire(timeout=max(deadline_s, 0)):
            raise unavailable("store_locked", f"no turn within {deadline_s:.3f} s")
        try:
            with translated():
                return SqliteTransaction(self, self._begin(give_up))
        except BaseException:
            self._writing.release()
            raise

    def _begin(self, give_up: float) -> sqlite3.Connection:
        if self._is_another_file():
            # The volume was mounted anew, or somebody put an older file here: the log compares it with what it knows.
            self._drop_writer()
            self._close_readers()
            self._prepare(give_up - self._clock(), create=False)
        if self._writer is None:
            self._writer = self._connect()
        try:
            self._begin_immediate(self._writer, give_up)
        except sqlite3.Error as exc:
            if not is_busy(exc):
                self._drop_writer()
            raise
        return self._writer

    @contextlib.contextmanager
    def reading(self) -> Iterator[SqliteReader]:
        """See ``Store``."""
        self._require_process()
        with translated():
            if self._is_another_file():
                raise unavailable("store_unavailable", f"{self.path} is another file than the one that was opened")
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self._connect(timeout_s=_READER_TIMEOUT_S)
            try:
                connection.execute("BEGIN")
                yield SqliteReader(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
        self._readers.append(connection)
        if self._closed:
            self._close_readers()

    def add_block(self, block: TermBlock) -> bool:
        """See ``Store``."""
        transaction = self.begin(deadline_s=_BLOCK_S)
        try:
            added = transaction.put_block(block)
            transaction.commit()
        finally:
            transaction.rollback()
        return added

    def add_segment(self, segment: Segment, *, pruned: int) -> bool:
        """See ``Store``."""
        transaction = self.begin(deadline_s=_BLOCK_S)
        try:
            added = transaction.put_segment(segment, pruned=pruned)
            transaction.commit()
        finally:
            transaction.rollback()
        return added

    def add_terms(self, number: int, rows: Sequence[tuple[int, bytes]]) -> None:
        """See ``Store``."""
        transaction = self.begin(deadline_s=_BLOCK_S)
        try:
            transaction.put_terms(number, rows)
            transaction.commit()
        finally:
            transaction.rollback()

    def close(self) -> None:
        """See ``Store``."""
        self._closed = True
        if self._process != os.getpid():
            return  # even closing an inherited connection would touch the parent's locks
        with self._writing:
            self._drop_writer()
        self._close_readers()
        _opened_by.pop(os.path.realpath(self.path), None)

    def end_transaction(self, *, healthy: bool) -> None:
        """Give the turn to the next writer; for ``SqliteTransaction`` alone."""
        if not healthy:
            self._drop_writer()
        self._writing.release()

    def _prepare(self, deadline_s: float, *, create: bool) -> None:
        self._identity = identity(self.path)
        self._writer = connection = self._connect(timeout_s=deadline_s)
        if not create or connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            read_version(connection, self.path)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise unavailable(
                "store_unavailable", f"{self.path}: its file system has no shared memory for a write-ahead log ({mode})"
            )
        self._begin_immediate(connection, self._clock() + deadline_s)
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:  # now that nobody else can
            schema.create(connection, origin=self._origin)
        found = connection.execute("SELECT origin FROM state").fetchone()
        if read_version(connection, self.path) < schema.VERSION and found == (self._origin,):
            run_steps(connection, self.path)
        # Of a file that it may only read SQLite takes the write transaction without a word, and refuses the write.
        connection.execute("UPDATE state SET size = size")
        connection.execute("COMMIT")
        connection.execute("PRAGMA busy_timeout = 0")  # from now on each caller has a deadline of its own
        sync_folder(self.path)
        if found is None:
            raise TamperError(f"the state row of {self.path} is missing", code="state_changed")
        if found[0] != self._origin:
            raise AuditError(f"{self.path} keeps the log {found[0]}, not {self._origin}", code="origin_differs")

    def _connect(self, *, timeout_s: float = 0.0) -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri(self.path, "mode=rw"),
            uri=True,
            timeout=timeout_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        return connection

    def _begin_immediate(self, connection: sqlite3.Connection, give_up: float) -> None:
        pause_s = _SHORTEST_PAUSE_S
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as exc:
                left_s = give_up - self._clock()
                if not is_busy(exc) or left_s <= 0:
                    raise
                # shorter than SQLite's own steps of up to 100 ms: two writers of one file meet often
                self._pause(min(pause_s, left_s))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                return

    def _require_process(self) -> None:
        if self._process != os.getpid():
            raise AuditError(
                "the record was opened before this process was forked",
                code="forked",
                hint="Open the record after the fork.",
            )
        if self._closed:
            raise unavailable("store_unavailable", "it is closed")

    def _is_another_file(self) -> bool:
        try:
            return identity(self.path) != self._identity
        except OSError as exc:
            raise unavailable("store_unavailable", f"{self.path}: {exc.strerror}") from exc

    def _drop_writer(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(sqlite3.Error):
                self._writer.close()
            self._writer = None

    def _close_readers(self) -> None:
        while self._readers:
            with contextlib.suppress(sqlite3.Error):
                self._readers.pop().close()


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
