"""Removing the contents of leaves and attachments from a store, which ``placet audit prune`` alone does.

The triggers refuse everybody. One of them is lifted inside the transaction that removes, and put back before it
commits, so that nobody else ever meets a table without it; only who owns the file or the tables can do that. Hash and
index of a leaf stay, and with them the tree.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from placet.audit.indexing import make_segment, missing_segments
from placet.audit.location import DatabaseUrl, StoreLocation
from placet.audit.record import PRUNED, PRUNED_COLUMNS
from placet.audit.segments import SEGMENT
from placet.audit.spans import Span
from placet.audit.stores import schema
from placet.audit.stores.blocks import drop_segments, put_block, put_segment
from placet.audit.stores.failure import store_error
from placet.audit.stores.file import read_version, uri
from placet.audit.stores.reader import COLUMNS, SqliteReader, TableReader, values_of
from placet.audit.terms import BLOCK, TermBlock, make_block
from placet.errors import InputError

if TYPE_CHECKING:
    from placet.audit.pruning import Removal

BATCH: Final = 500  # rows of one transaction, while which a gate waits for its turn
TRIGGER: Final = "leaves_no_update"
_WAIT_S: Final = 10.0


class Remover(Protocol):
    """What removes from one store."""

    def leaves(self, span: Span) -> list[int]:
        """Remove bytes and columns of the first leaves of a range that have any, with all that is beside them."""

    def attachments(self, name: str, span: Span) -> list[int]:
        """Remove the first attachments of a name beside the leaves of a range."""

    def mend(self) -> None:
        """Make what records are found by again where removing has taken it away."""

    def close(self) -> None:
        """End it."""


def remove(location: StoreLocation, removal: Removal) -> tuple[int, int]:
    """Remove what is there still. May be stopped at any moment, and run again.

    Args:
        location: of the file; of the database, as its owner.
        removal: what goes; a signed leaf names it already.

    Returns:
        Leaves and attachments that were removed; those that stood beside a leaf go with it and are not counted.

    Raises:
        InputError: there is no such file.
        StoreUnavailable: it can't be written, or the role is not the owner.
    """
    remover = _open(location)
    try:
        leaves = sum(_all_of(remover.leaves, span) for span in removal.leaves)
        attachments = sum(
            _all_of(partial(remover.attachments, name), span)
            for name, found in removal.attachments.items()
            for span in found
        )
        if leaves:
            remover.mend()
    finally:
        remover.close()
    return leaves, attachments


def _all_of(some: Callable[[Span], list[int]], span: Span) -> int:
    done, (start, end) = 0, span
    while found := some((start, end)):
        done, start = done + len(found), found[-1] + 1
    return done


def _open(location: StoreLocation) -> Remover:
    if isinstance(location, DatabaseUrl):
        from placet.audit.stores.postgres.removal import PostgresRemover  # noqa: PLC0415 - libpq only for who needs it

        return PostgresRemover(location)
    return _SqliteRemover(location)


class _SqliteRemover:
    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"{path} is not a file", hint="Name the SQLite file of a record.")
        try:
            self._connection = sqlite3.connect(uri(path, "mode=rw"), uri=True, timeout=_WAIT_S, isolation_level=None)
            try:
                _require_newest(self._connection, path)
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.execute("PRAGMA secure_delete = ON")  # the bytes go, not their place in the file alone
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.Error as exc:
            raise store_error(exc) from exc

    def leaves(self, span: Span) -> list[int]:
        """See ``Remover``."""
        return self._in_transaction(self._remove_leaves, span)

    def attachments(self, name: str, span: Span) -> list[int]:
        """See ``Remover``."""
        return self._in_transaction(self._remove_attachments, name, span)

    def mend(self) -> None:
        """See ``Remover``."""
        for number in missing_segments(SqliteReader(self._connection)):
            self._in_transaction(self._make_segment, number)

    def _make_segment(self, number: int) -> list[int]:
        segment = make_segment(SqliteReader(self._connection), number)
        return [number] if segment is not None and put_segment(self._connection, segment) else []

    def close(self) -> None:
        """See ``Remover``; what was removed leaves the write-ahead log too, unless somebody reads just now."""
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as exc:
            raise store_error(exc) from exc
        finally:
            self._connection.close()

    def _in_transaction(self, work: Callable[..., list[int]], *values: Any) -> list[int]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                done = work(*values)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as exc:
            raise store_error(exc) from exc
        return done

    def _remove_leaves(self, span: Span) -> list[int]:
        found = [row[0] for row in self._connection.execute(SOME_LEAVES, {"start": span[0], "end": span[1]})]
        if not found:
            return []
        self._connection.execute(f"DROP TRIGGER {TRIGGER}")
        self._connection.executemany(BLANK, blank_rows(found))
        self._connection.execute(schema.OBJECTS[TRIGGER][1])
        self._connection.executemany("DELETE FROM blobs WHERE idx = :idx", [{"idx": index} for index in found])
        drop_segments(self._connection, segments_of(found))
        for block in blocks_of(SqliteReader(self._connection), found):
            for number in (block.number, -1 - block.number):  # and of persons, which a gate makes again
                self._connection.execute("DELETE FROM terms WHERE block = ?", (number,))
            self._connection.execute("DELETE FROM blocks WHERE block = ?", (block.number,))
            put_block(self._connection, block)
        return found

    def _remove_attachments(self, name: str, span: Span) -> list[int]:
        values = {"name": name, "start": span[0], "end": span[1]}
        found = [row[0] for row in self._connection.execute(SOME_BLOBS, values)]
        self._connection.executemany(DELETE_BLOB, [{"idx": index, "name": name} for index in found])
        return found


def _require_newest(connection: sqlite3.Connection, path: Path) -> None:
    if read_version(connection, path) < schema.VERSION:
        raise InputError(f"{path} is of an older version", hint="Run `placet audit upgrade-store` first.")


SOME_LEAVES: Final = (
    f"SELECT idx FROM leaves WHERE idx >= :start AND idx < :end AND leaf_type <> '{PRUNED}' "  # noqa: S608 - our own words
    f"ORDER BY idx LIMIT {BATCH}"
)
SOME_BLOBS: Final = (
    "SELECT idx FROM blobs WHERE idx >= :start AND idx < :end AND name = :name "  # noqa: S608 - our own words
    f"ORDER BY idx LIMIT {BATCH}"
)
DELETE_BLOB: Final = "DELETE FROM blobs WHERE idx = :idx AND name = :name"
BLANK: Final = f"UPDATE leaves SET leaf = :leaf, {', '.join(f'{name} = :{name}' for name in COLUMNS)} WHERE idx = :idx"  # noqa: S608 - our own names


def blocks_of(reader: TableReader, indexes: Sequence[int]) -> Iterator[TermBlock]:
    """What the leaves of each block that has some of these are found by now; of blocks that are there already."""
    for number in sorted({index // BLOCK for index in indexes}):
        if number < reader.blocks():
            leaves = reader.leaves(number * BLOCK, (number + 1) * BLOCK)
            block = make_block(number, (stored.raw_leaf for stored in leaves))
            if block is not None:
                yield block


def segments_of(indexes: Sequence[int]) -> list[int]:
    """Numbers of the segments that these leaves are in."""
    return sorted({index // SEGMENT for index in indexes})


def blank_rows(indexes: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Values of ``BLANK`` for each leaf."""
    said = dict(zip(COLUMNS, values_of(PRUNED_COLUMNS), strict=True))
    return ({**said, "leaf": b"", "idx": index} for index in indexes)
