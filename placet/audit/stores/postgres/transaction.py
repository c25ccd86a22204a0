"""The write transaction of the PostgreSQL store: whoever holds the state row's lock writes, or changes it in one go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.types.numeric import Int8

from placet.audit.merkle import Frontier
from placet.audit.segments import Segment
from placet.audit.stores import Entry, StoredCheckpoint, StoredLeaf
from placet.audit.stores.postgres.arrays import Array, bytes_array, integer_array, text_array
from placet.audit.stores.postgres.connection import Link, not_durable_now
from placet.audit.stores.postgres.failure import is_lost, store_error, unavailable
from placet.audit.stores.postgres.text import stored
from placet.audit.stores.reader import COLUMNS, values_of
from placet.audit.stores.rows import parse_state
from placet.audit.stores.schema import APPLICATION_ID
from placet.audit.terms import TermBlock
from placet.errors import AuditError, StoreUnavailable

if TYPE_CHECKING:
    from placet.audit.stores.postgres.store import PostgresStore

# READ COMMITTED: what is asked once the lock is held must see what was committed while it was waited for.
_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_LOCK: Final = """\
SELECT size, frontier, current_setting('fsync'), current_setting('full_page_writes'),
  current_setting('synchronous_commit')
FROM state WHERE id = 1 FOR UPDATE"""
_SETTINGS: Final = ("fsync", "full_page_writes", "synchronous_commit")
# One message, one answer; every number in it is ours.
_TIMES: Final = "SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}"
_NUMBERS: Final = frozenset({"allowed", "approved"})


def _append_statement(leaves: str) -> str:
    """All that an append writes, and the note that its answer has, in one statement and so in one trip.

    Where the state row is not what the leaves were made for, or the server no longer durable, it is given -1, which the
    table refuses. In READ COMMITTED an UPDATE that has waited for another one looks at the row anew; leaves are
    inserted for the row that it has written, and the trigger on them sees the newest.
    """
    return f"""\
WITH head AS (
  UPDATE state SET frontier = %s, size = CASE WHEN size = %s AND frontier = %s
    AND current_setting('fsync') <> 'off' AND current_setting('full_page_writes') <> 'off'
    AND current_setting('synchronous_commit') <> 'off' THEN %s ELSE -1 END
  WHERE id = 1 RETURNING id
), added AS (
  INSERT INTO leaves (idx, leaf_hash, leaf, {", ".join(COLUMNS)}) {leaves}
), kept AS (
  INSERT INTO blobs (idx, name, sha256, content) SELECT new.* FROM head, unnest(%s, %s, %s, %s) AS new
)
SELECT coalesce((SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1), '') FROM head"""  # noqa: S608 - our own names


# One leaf is what there is as long as nobody waits: the server takes three times as long to read it out of arrays.
_PLACES: Final = ", ".join("%s::int8" if name in _NUMBERS else "%s" for name in COLUMNS)
_ONE: Final = _append_statement(f"SELECT %s, %s, %s, {_PLACES} FROM head")  # noqa: S608 - our own names
_MANY: Final = _append_statement(f"SELECT new.* FROM head, unnest({', '.join(['%s'] * (3 + len(COLUMNS)))}) AS new")  # noqa: S608 - our own names
_INSERT_BLOCK: Final = (
    "INSERT INTO placet.blocks (block, earliest, latest) VALUES (%s, %s, %s) ON CONFLICT (block) DO NOTHING"
)
_INSERT_SEGMENT: Final = (
    "INSERT INTO placet.segments (segment, earliest, latest, parts) VALUES (%s, %s, %s, %s) "
    "ON CONFLICT (segment) DO NOTHING"
)
_COPY_POSTINGS: Final = "COPY placet.postings (segment, first, entries) FROM STDIN (FORMAT BINARY)"
# Who prunes and who adds a segment take turns, so that none is added of what has just been pruned. Nobody else waits.
SEGMENT_LOCK: Final = f"SELECT pg_advisory_xact_lock({APPLICATION_ID}, 1)"
_COPY_TERMS: Final = "COPY placet.terms (block, term, members) FROM STDIN (FORMAT BINARY)"
_TERM_TYPES: Final = ("int8", "int8", "bytea")
_FIND_UIDS: Final = "SELECT uid, idx, leaf, leaf_hash FROM leaves WHERE uid = ANY(%s::text[])"
_NEWEST_NOTE: Final = "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1"
_PUT_CHECKPOINT: Final = (
    "INSERT INTO checkpoints (size, root, frontier, note) VALUES (%s, %s, %s, %s) ON CONFLICT (size) DO NOTHING"
)


class PostgresTransaction:
    """The one write transaction of a database; see ``placet.audit.stores.Transaction``.

    Args:
        store: whose turn is given back at the end.
        link: its connection, outside any transaction.
        left_s: seconds to wait for the state row.
        supposed: see ``Store.begin``: the server is asked nothing before ``commit``, which does all in one statement.
        grace_s: seconds beyond that to wait for everything else.

    Raises:
        psycopg.Error: it could not be begun.
        StoreUnavailable: ``store_locked``, or the server is no longer durable.
        TamperError: the state row is missing.
    """

    __slots__ = ("_begun", "_entries", "_healthy", "_link", "_next", "_note", "_open", "_state", "_store")

    def __init__(
        self,
        store: PostgresStore,
        link: Link,
        *,
        left_s: float,
        grace_s: float,
        supposed: Frontier | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._link = link
        self._healthy = True
        self._open = True
        self._begun = supposed is None
        self._entries: Sequence[Entry] = ()
        self._next: Frontier | None = None
        self._note: str | None = None
        left_s = max(left_s, 0.001)
        link.give_up = clock() + left_s + grace_s
        self._state = supposed.copy() if supposed is not None else self._lock(left_s, grace_s)

    def _lock(self, left_s: float, grace_s: float) -> Frontier:
        times = _TIMES.format(max(int(left_s * 1000), 1), int((left_s + grace_s) * 1000))
        cursor = self._link.execute(f"{_BEGIN}; {times}; {_LOCK}", prepare=False)
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        for name, value in zip(_SETTINGS, row[2:] if row is not None else (), strict=False):
            if value == "off":
                raise not_durable_now(self._store.url, name)
        return parse_state(row)

    def state(self) -> Frontier:
        """See ``Transaction``."""
        return self._state.copy()

    def find_uids(self, uids: Sequence[str]) -> dict[str, StoredLeaf]:
        """See ``Transaction``."""
        asked = {stored(uid): uid for uid in uids}
        with self._guarded():
            rows = self._link.cursor(binary=True).execute(_FIND_UIDS, (list(asked),))
            return {asked[uid]: StoredLeaf(index, leaf, leaf_hash) for uid, index, leaf, leaf_hash in rows}

    def newest_note(self) -> str:
        """See ``Transaction``."""
        if self._note is None:
            with self._guarded():
                row = self._link.execute(_NEWEST_NOTE).fetchone()
            self._note = "" if row is None else str(row[0])
        return self._note

    def insert(self, entries: Sequence[Entry]) -> None:
        """See ``Transaction``. It is sent with the state that it leads to."""
        self._entries = entries

    def put_state(self, frontier: Frontier) -> None:
        """See ``Transaction``. It is sent with ``commit``."""
        self._next = frontier.copy()

    def try_out(self, entries: Sequence[Entry], frontier: Frontier) -> None:
        """See ``Transaction``. Tables grow for it, and stay so: the next append has that room."""
        before, self._entries = self._entries, entries
        try:
            with self._guarded():
                self._link.execute("SAVEPOINT tried")
                self._send(self._link.cursor(binary=True), frontier)
                self._link.execute("ROLLBACK TO SAVEPOINT tried")
        finally:
            self._entries = before

    def put_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """See ``Transaction``."""
        row = (checkpoint.size, checkpoint.root, checkpoint.raw_frontier, checkpoint.raw_note.decode())
        with self._guarded():
            self._link.execute(_PUT_CHECKPOINT, row)

    def commit(self) -> None:
        """See ``Transaction``.

        Raises:
            AuditError: ``store_conflict``: the state row is not what was supposed; nothing was written.
        """
        with self._guarded():
            if not self._begun:
                self._append(self._link.cursor(binary=True))
            elif self._next is None:
                self._require_commit(self._link.execute("COMMIT"))
            else:
                self._append_and_commit(self._next)
        self._open = False
        self._store.end_transaction(healthy=True)

    def _append(self, cursor: psycopg.Cursor[Any]) -> None:
        """Be a transaction of one statement, which ends with it."""
        self._send(cursor, self._next or self._state)
        self._note = _note_of(cursor)

    def _append_and_commit(self, after: Frontier) -> None:
        """Both in one trip: the row is locked meanwhile."""
        appended, done = self._link.cursor(binary=True), self._link.cursor()
        failure: psycopg.Error | None = None
        try:
            with self._link.pipeline():
                try:
                    self._send(appended, after)
                    done.execute("COMMIT")
                except psycopg.Error as exc:
                    failure = (
                        exc  # a pipeline that is left with an error, and fails once more, warns in a log of its own
                    )
        except psycopg.Error as exc:
            raise failure or exc from None
        if failure is not None:
            raise failure
        self._note = _note_of(appended)
        self._require_commit(done)

    def _send(self, cursor: psycopg.Cursor[Any], after: Frontier) -> None:
        entries, before = self._entries, self._state
        state = (after.render(), Int8(before.size), before.render(), Int8(after.size))
        blobs = [(entry.index, *kept) for entry in entries for kept in entry.kept()]
        kept = (
            integer_array([index for index, *_ in blobs]),
            text_array([name for _, name, *_ in blobs]),
            bytes_array([sha256 for _, _, sha256, _ in blobs]),
            bytes_array([content for *_, content in blobs]),
        )
        if len(entries) == 1:
            cursor.execute(_ONE, (*state, *_values_of(entries[0]), *kept), prepare=True)
        else:
            cursor.execute(_MANY, (*state, *_columns_of(entries), *kept), prepare=True)

    def _require_commit(self, cursor: psycopg.Cursor[Any]) -> None:
        if (done := cursor.statusmessage) != "COMMIT":
            # of a transaction that had failed the server makes a ROLLBACK, and calls it a success
            self._healthy = False
            raise unavailable("store_unavailable", f"the server answered {done} to COMMIT")

    def rollback(self) -> None:
        """See ``Transaction``."""
        if not self._open:
            return
        self._open = False
        try:
            if self._healthy and self._begun:
                self._link.execute("ROLLBACK")
        except psycopg.Error:
            self._healthy = False
        finally:
            self._store.end_transaction(healthy=self._healthy)

    def spoil(self) -> None:
        """Drop the connection at the end: a new one sees what is durable, and whether the cause has gone away."""
        self._healthy = False

    def _guarded(self) -> _Translated:
        return _Translated(self.spoil)


def _note_of(cursor: psycopg.Cursor[Any]) -> str:
    row = cursor.fetchone()
    if row is None:  # the one statement has nothing to begin from
        raise AuditError("the state row of the record is missing", code="store_conflict")
    return str(row[0])


def _values_of(entry: Entry) -> list[Any]:
    values = [stored(value) for value in values_of(entry.leaf.columns)]
    return [Int8(entry.index), entry.leaf_hash, entry.leaf.raw, *values]


def _columns_of(entries: Sequence[Entry]) -> list[Array]:
    rows = [values_of(entry.leaf.columns) for entry in entries]
    columns = [(name, [row[place] for row in rows]) for place, name in enumerate(COLUMNS)]
    return [
        integer_array([entry.index for entry in entries]),
        bytes_array([entry.leaf_hash for entry in entries]),
        bytes_array([entry.leaf.raw for entry in entries]),
        *((integer_array if name in _NUMBERS else text_array)(column) for name, column in columns),
    ]


def put_block(link: psycopg.Connection[Any], block: TermBlock) -> bool:
    """Keep what the leaves of a block are found by, inside a transaction; False where somebody else has.

    It locks nothing that an append needs: of two that add a block, the second waits here for the first.
    """
    cursor = link.cursor()
    cursor.execute(_INSERT_BLOCK, (block.number, block.earliest, block.latest))
    if not cursor.rowcount:
        return False
    _copy(cursor, _COPY_TERMS, _TERM_TYPES, ((block.number, *row) for row in block.rows))
    return True


def put_segment(link: psycopg.Connection[Any], segment: Segment) -> bool:
    """The same of a segment; who else adds one, or prunes, waits."""
    cursor = link.cursor()
    cursor.execute(_INSERT_SEGMENT, (segment.number, segment.earliest, segment.latest, len(segment.rows)))
    if not cursor.rowcount:
        return False
    _copy(cursor, _COPY_POSTINGS, _TERM_TYPES, ((segment.number, *row) for row in segment.rows))
    return True


def put_terms(link: psycopg.Connection[Any], number: int, rows: Sequence[tuple[int, bytes]]) -> None:
    """Keep terms under a number that no block has, inside a transaction; those that are there stay."""
    asked = "INSERT INTO placet.terms (block, term, members) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
    link.cursor().executemany(asked, [(number, *row) for row in rows])


def _copy(cursor: psycopg.Cursor[Any], statement: str, types: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


class _Translated:
    """Lets nothing of psycopg through but as an error of ours; see the one of the SQLite store."""

    __slots__ = ("_spoil",)

    def __init__(self, spoil: Callable[[], None]) -> None:
        self._spoil = spoil

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        if not isinstance(error, psycopg.Error):
            self._spoil()  # interrupted in the middle of an answer
            return
        translation = store_error(error)
        # one that somebody else kept waiting is as good as before
        if is_lost(error) or (isinstance(translation, StoreUnavailable) and translation.code != "store_locked"):
            self._spoil()
        raise translation from error
