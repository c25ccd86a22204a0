"""The log in a PostgreSQL database, shared by any number of replicas.

Nobody leads. Who appends changes or locks the one state row first, and so inserts at index = size while nobody else
can. Who wrote last supposes what that row says, and is refused where it says something else (ADR 54). Durable means:
``COMMIT`` has returned, with ``synchronous_commit`` and ``fsync`` as ``require_durable`` wants them. A connection that
breaks while it commits leaves it open whether the leaf is there: the caller is told that it is not known to be durable,
and who sends the same uid again is answered from the record.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

import psycopg

from placet.audit.location import DatabaseUrl
from placet.audit.merkle import Frontier
from placet.audit.segments import SEGMENT, Segment
from placet.audit.stores.postgres.connection import (
    Link,
    connect,
    is_silent,
    read_version,
    require_database,
    require_durable,
    require_role,
    require_version,
)
from placet.audit.stores.postgres.failure import is_lost, store_error, unavailable
from placet.audit.stores.postgres.reader import PostgresReader
from placet.audit.stores.postgres.schema import NAMESPACE
from placet.audit.stores.postgres.transaction import (
    SEGMENT_LOCK,
    PostgresTransaction,
    put_block,
    put_segment,
    put_terms,
)
from placet.audit.terms import TermBlock
from placet.errors import AuditError, TamperError

T = TypeVar("T")
MAX_READERS: Final = 8
_READER_WAIT_S: Final = 1.0
_ANSWER_S: Final = 3.0  # a signer reads all that is new, answer by answer, which may take longer than any decision
_WRITER_IDLE_S: Final = 10.0
_READER_IDLE_S: Final = 60.0
_BLOCK_S: Final = 30.0
_GRACE_S: Final = 5.0  # a commit under way is not cut short at once: what it did would not be known
# Who supposes that nobody else writes, and finds the row locked, was wrong, and asks. Plans are made once.
_WRITER: Final = """\
SELECT set_config('lock_timeout', '50ms', false), set_config('plan_cache_mode', 'force_generic_plan', false),
  set_config('default_transaction_isolation', 'read committed', false),
  set_config('default_transaction_read_only', 'off', false)"""
_BEGIN_READING: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresStore:
    """One database. Threads share it; a forked child must open its own.

    It has one connection to write, at most ``MAX_READERS`` to read, and for a moment one that adds a block of terms.
    """

    def __init__(self, url: DatabaseUrl, *, origin: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self._origin = origin
        self._clock = clock
        self._process = os.getpid()
        self._writing = threading.Lock()
        self._writer: Link | None = None
        self._reading = threading.BoundedSemaphore(MAX_READERS)
        self._readers: list[Link] = []
        self._closed = False

    @classmethod
    def open(
        cls,
        url: DatabaseUrl,
        *,
        origin: str,
        deadline_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> PostgresStore:
        """Open the record in a database, whose tables are there.

        Args:
            url: of the database.
            origin: the log that is kept there.
            deadline_s: seconds to wait for another process.
            clock: monotonic seconds.

        Raises:
            StoreUnavailable: it can't be reached or written to, or it forgets what it said that it has.
            AuditError: ``store_foreign`` when it holds no record of this version, ``origin_differs`` when it holds
                that of another log.
            TamperError: its state row is missing.
        """
        store = cls(url, origin=origin, clock=clock)
        try:
            store._prepare(deadline_s)
        except psycopg.Error as exc:
            store.close()
            raise store_error(exc) from exc
        except BaseException:
            store.close()
            raise
        return store

    @property
    def origin(self) -> str:
        """See ``Store``."""
        return self._origin

    @property
    def remote(self) -> bool:
        """See ``Store``."""
        return True

    def begin(self, *, deadline_s: float, supposed: Frontier | None = None) -> PostgresTransaction:
        """See ``Store``."""
        self._require_usable()
        give_up = self._clock() + deadline_s
        if not self._writing.acquire(timeout=max(deadline_s, 0)):
            raise unavailable("store_locked", f"no turn within {deadline_s:.3f} s")
        try:
            return self._begin(give_up, supposed)
        except psycopg.Error as exc:
            self._end_turn()
            raise store_error(exc) from exc
        except BaseException:
            self._end_turn()
            raise

    def _end_turn(self) -> None:
        """Drop the connection, whatever state it is in, and let the next one write."""
        try:
            self._drop_writer()
        finally:
            self._writing.release()

    def _begin(self, give_up: float, supposed: Frontier | None) -> PostgresTransaction:
        if self._writer is not None and not self._writer.closed:
            if supposed is not None and is_silent(self._writer):
                return self._transaction(self._writer, give_up, supposed)
            try:
                return self._transaction(self._writer, give_up)
            except psycopg.Error as exc:
                # The server was started anew since: nothing was asked of it yet, so a new connection may ask.
                if not is_lost(exc) or self._clock() >= give_up:
                    raise
        self._drop_writer()
        self._writer = self._connect_writer()
        self._writer.execute(_WRITER)
        return self._transaction(self._writer, give_up)

    def _transaction(self, link: Link, give_up: float, supposed: Frontier | None = None) -> PostgresTransaction:
        left_s = give_up - self._clock()
        return PostgresTransaction(self, link, left_s=left_s, grace_s=_GRACE_S, supposed=supposed)

    @contextlib.contextmanager
    def reading(self) -> Iterator[PostgresReader]:
        """See ``Store``."""
        self._require_usable()
        if not self._reading.acquire(timeout=_READER_WAIT_S):
            raise unavailable("store_locked", f"all of {MAX_READERS} connections are in use")
        try:
            link = self._begin_reading()
            try:
                yield PostgresReader(link)
                link.execute("COMMIT")
            except BaseException:
                link.close()
                raise
            self._readers.append(link)
        except psycopg.Error as exc:
            raise store_error(exc) from exc
        finally:
            self._reading.release()
            if self._closed:
                self._close_readers()

    def add_block(self, block: TermBlock) -> bool:
        """See ``Store``. It has a connection of its own, which no append waits for, for as long as it takes."""
        with self._adding() as link:
            return put_block(link, block)

    def add_segment(self, segment: Segment, *, pruned: int) -> bool:
        """See ``Store``."""
        start = segment.number * SEGMENT
        with self._adding() as link:
            link.execute(SEGMENT_LOCK)
            if PostgresReader(link).pruned_between(start, start + SEGMENT) != pruned:
                return False
            return put_segment(link, segment)

    @contextlib.contextmanager
    def _adding(self) -> Iterator[Link]:
        """A transaction of its own, behind the appends."""
        self._require_usable()
        try:
            link = self._connect_writer()
            try:
                link.give_up = self._clock() + _BLOCK_S
                with link.transaction():
                    yield link
            finally:
                link.close()
        except psycopg.Error as exc:
            raise store_error(exc) from exc

    def add_terms(self, number: int, rows: Sequence[tuple[int, bytes]]) -> None:
        """See ``Store``. On a connection of its own, as ``add_block``."""
        self._require_usable()
        try:
            link = self._connect_writer()
            try:
                link.give_up = self._clock() + _BLOCK_S
                with link.transaction():
                    put_terms(link, number, rows)
            finally:
                link.close()
        except psycopg.Error as exc:
            raise store_error(exc) from exc

    def close(self) -> None:
        """See ``Store``."""
        self._closed = True
        if self._process != os.getpid():
            return  # the connections are the parent's
        with self._writing:
            self._drop_writer()
        self._close_readers()

    def end_transaction(self, *, healthy: bool) -> None:
        """Give the turn to the next writer; for ``PostgresTransaction`` alone."""
        if healthy:
            self._writing.release()
        else:
            self._end_turn()

    def _prepare(self, deadline_s: float) -> None:
        self._writer = link = self._connect_writer()
        link.execute(_WRITER)
        link.give_up = self._clock() + deadline_s + _GRACE_S
        found = link.execute("SELECT origin FROM placet.state").fetchone()
        if found is None:
            raise TamperError(f"the state row of {self.url} is missing", code="state_changed")
        if found[0] != self._origin:
            raise AuditError(f"{self.url} keeps the log {found[0]}, not {self._origin}", code="origin_differs")
        self.begin(deadline_s=deadline_s).rollback()

    def _connect_writer(self) -> Link:
        link = connect(self.url, idle_s=_WRITER_IDLE_S, application="placet writer")
        try:
            require_version(link, self.url)
            require_durable(link, self.url)
            require_role(link, self.url)
        except BaseException:
            link.close()
            raise
        return link

    def _begin_reading(self) -> Link:
        try:
            link = self._readers.pop()
        except IndexError:
            pass
        else:
            try:
                link.execute(_BEGIN_READING)
            except psycopg.Error:
                link.close()  # it broke while nobody used it, and so may have the others
                self._close_readers()
            else:
                return link
        return _connect_reader(self.url, answer_s=_ANSWER_S, idle_s=_READER_IDLE_S, require=require_version)[0]

    def _require_usable(self) -> None:
        if self._process != os.getpid():
            raise AuditError(
                "the record was opened before this process was forked",
                code="forked",
                hint="Open the record after the fork.",
            )
        if self._closed:
            raise unavailable("store_unavailable", "it is closed")

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _close_readers(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._readers.pop().close()


@contextlib.contextmanager
def open_view(url: DatabaseUrl, *, deadline_s: float = 5.0) -> Iterator[PostgresReader]:
    """One view of the record in a database, for a command; it may take as long as it likes.

    Raises:
        StoreUnavailable: it can't be read, ``store_corrupt`` when it is damaged.
        AuditError: ``store_foreign`` when it holds no record, or one of a newer version.
    """
    link: Link | None = None
    try:
        link, version = _connect_reader(url, answer_s=deadline_s, idle_s=0, require=read_version)
        link.answer_s = None  # a search without an index may take a while
        yield PostgresReader(link, version)
    except psycopg.Error as exc:
        raise store_error(exc) from exc
    finally:
        if link is not None:
            link.close()


def _connect_reader(
    url: DatabaseUrl,
    *,
    answer_s: float,
    idle_s: float,
    require: Callable[[Link, DatabaseUrl], T],
) -> tuple[Link, T]:
    """A connection that reads, in a transaction, and what was found out of the database first."""
    link = connect(url, idle_s=idle_s, application="placet reader")
    try:
        link.answer_s = answer_s
        found = require(link, url)
        link.execute(_BEGIN_READING)
    except BaseException:
        link.close()
        raise
    return link, found


def apply_statements(url: DatabaseUrl, statements: Sequence[str]) -> None:
    """Run what makes a record, all or nothing, as the owner of the database.

    Raises:
        AuditError: ``store_exists``: there is one already; ``store_foreign``: it is no database for a record.
        StoreUnavailable: it can't be reached, or the role may not do it.
    """
    try:
        link = connect(url, idle_s=0, application="placet init-store")
        try:
            require_database(link, url)
            with link.transaction():
                for statement in statements:
                    link.execute(statement)
        finally:
            link.close()
    except psycopg.errors.DuplicateSchema as exc:
        raise AuditError(
            f"{url} has a schema {NAMESPACE} already", code="store_exists", hint="One database keeps one record."
        ) from exc
    except psycopg.Error as exc:
        raise store_error(exc) from exc
