"""The log in one SQLite file: write-ahead log, ``synchronous=FULL``, one writer at a time.

Durable means: ``COMMIT`` has returned, which with ``synchronous=FULL`` is after the write-ahead log was synced. A file
that was moved away or replaced under an open store is noticed before each transaction, because a write to a file that
has no name any more would be acknowledged and lost.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from placet.audit.merkle import Frontier
from placet.audit.segments import Segment
from placet.audit.stores import schema
from placet.audit.stores.failure import is_busy, unavailable
from placet.audit.stores.file import create_file, identity, read_version, sync_folder, uri
from placet.audit.stores.reader import SqliteReader
from placet.audit.stores.sqlite_transaction import SqliteTransaction, translated
from placet.audit.stores.upgrade import run_steps
from placet.audit.terms import TermBlock
from placet.errors import AuditError, TamperError

_SHORTEST_PAUSE_S: Final = 0.0005
_LONGEST_PAUSE_S: Final = 0.008
_READER_TIMEOUT_S: Final = 1.0
_BLOCK_S: Final = 5.0
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
