"""The write transaction of the PostgreSQL store: whoever holds the state row's lock writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import psycopg

from placet.audit.merkle import Frontier
from placet.audit.stores import Entry, StoredCheckpoint, StoredLeaf
from placet.audit.stores.postgres.connection import Link, not_durable_now
from placet.audit.stores.postgres.failure import is_lost, store_error, unavailable
from placet.audit.stores.postgres.text import stored
from placet.audit.stores.reader import COLUMNS, values_of
from placet.audit.stores.rows import parse_state
from placet.audit.terms import TermBlock
from placet.canonical import Digest
from placet.errors import StoreUnavailable

if TYPE_CHECKING:
    from placet.audit.stores.postgres.store import PostgresStore

# READ COMMITTED: what is asked once the lock is held must see what was committed while it was waited for.
_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_LOCK: Final = """\
SELECT size, frontier, current_setting('fsync'), current_setting('full_page_writes'),
  current_setting('synchronous_commit')
FROM state WHERE id = 1 FOR UPDATE"""
_SETTINGS: Final = ("fsync", "full_page_writes", "synchronous_commit")
_TIMES: Final = "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)"
_INSERT: Final = (
    f"INSERT INTO leaves (idx, leaf_hash, leaf, {', '.join(COLUMNS)}) "  # noqa: S608 - our own names
    f"VALUES ({', '.join(['%s'] * (3 + len(COLUMNS)))})"
)
_INSERT_BLOB: Final = "INSERT INTO blobs (idx, name, sha256, content) VALUES (%s, %s, %s, %s)"
# COPY needs no other right than INSERT, fires the same triggers, and takes a third of the time of as many INSERTs.
_COPY: Final = f"COPY leaves (idx, leaf_hash, leaf, {', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
_TYPES: Final = ("int8", "bytea", "bytea", *("int8" if name in {"allowed", "approved"} else "text" for name in COLUMNS))
_COPY_BLOBS: Final = "COPY blobs (idx, name, sha256, content) FROM STDIN (FORMAT BINARY)"
_BLOB_TYPES: Final = ("int8", "text", "bytea", "bytea")
_INSERT_BLOCK: Final = (
    "INSERT INTO placet.blocks (block, earliest, latest) VALUES (%s, %s, %s) ON CONFLICT (block) DO NOTHING"
)
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
        grace_s: seconds beyond that to wait for everything else.

    Raises:
        psycopg.Error: it could not be begun.
        StoreUnavailable: ``store_locked``, or the server is no longer durable.
        TamperError: the state row is missing.
    """

    __slots__ = ("_healthy", "_link", "_open", "_state", "_store")

    def __init__(
        self,
        store: PostgresStore,
        link: Link,
        *,
        left_s: float,
        grace_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._link = link
        self._healthy = True
        self._open = True
        left_s = max(left_s, 0.001)
        link.give_up = clock() + left_s + grace_s
        link.execute(_BEGIN)
        link.execute(_TIMES, (f"{max(int(left_s * 1000), 1)}", f"{int((left_s + grace_s) * 1000)}"))
        row = link.cursor(binary=True).execute(_LOCK).fetchone()
        self._state = row
        if row is not None:
            for name, value in zip(_SETTINGS, row[2:], strict=True):
                if value == "off":
                    raise not_durable_now(store.url, name)

    def state(self) -> Frontier:
        """See ``Transaction``."""
        return parse_state(self._state)

    def find_uids(self, uids: Sequence[str]) -> dict[str, StoredLeaf]:
        """See ``Transaction``."""
        asked = {stored(uid): uid for uid in uids}
        with self._guarded():
            rows = self._link.cursor(binary=True).execute(_FIND_UIDS, (list(asked),))
            return {asked[uid]: StoredLeaf(index, leaf, leaf_hash) for uid, index, leaf, leaf_hash in rows}

    def newest_note(self) -> str:
        """See ``Transaction``."""
        with self._guarded():
            row = self._link.execute(_NEWEST_NOTE).fetchone()
        return "" if row is None else str(row[0])

    def insert(self, entries: Sequence[Entry]) -> None:
        """See ``Transaction``."""
        leaves = [
            (entry.index, entry.leaf_hash, entry.leaf.raw, *map(stored, values_of(entry.leaf.columns)))
            for entry in entries
        ]
        blobs = [
            (entry.index, stored(name), bytes.fromhex(Digest.of(content).hex), content)
            for entry in entries
            for name, content in entry.attachments.items()
        ]
        with self._guarded():
            cursor = self._link.cursor()
            if len(leaves) == 1:  # what there is as long as nobody waits
                cursor.execute(_INSERT, leaves[0])
                cursor.executemany(_INSERT_BLOB, blobs)
            else:
                _copy(cursor, _COPY, _TYPES, leaves)
                _copy(cursor, _COPY_BLOBS, _BLOB_TYPES, blobs)

    def put_state(self, frontier: Frontier) -> None:
        """See ``Transaction``."""
        values = (frontier.size, frontier.render())
        with self._guarded():
            self._link.execute("UPDATE state SET size = %s, frontier = %s WHERE id = 1", values)

    def put_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """See ``Transaction``."""
        row = (checkpoint.size, checkpoint.root, checkpoint.raw_frontier, checkpoint.raw_note.decode())
        with self._guarded():
            self._link.execute(_PUT_CHECKPOINT, row)

    def commit(self) -> None:
        """See ``Transaction``."""
        with self._guarded():
            done = self._link.execute("COMMIT").statusmessage
        if done != "COMMIT":  # of a transaction that had failed the server makes a ROLLBACK, and calls it a success
            self._healthy = False
            raise unavailable("store_unavailable", f"the server answered {done} to COMMIT")
        self._open = False
        self._store.end_transaction(healthy=True)

    def rollback(self) -> None:
        """See ``Transaction``."""
        if not self._open:
            return
        self._open = False
        try:
            if self._healthy:
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
        if is_lost(error) or isinstance(translation, StoreUnavailable):
            self._spoil()
        raise translation from error
