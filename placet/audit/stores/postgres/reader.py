"""Reading the PostgreSQL store: the queries of every store, inside one repeatable-read transaction."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

import psycopg

from placet.audit.stores import Key, RawRow, past
from placet.audit.stores.postgres import schema
from placet.audit.stores.postgres.connection import Link
from placet.audit.stores.postgres.failure import store_error
from placet.audit.stores.postgres.text import read_back, stored
from placet.audit.stores.reader import CONDITIONS, TableReader

_VALUE: Final = re.compile(r":([a-z]+)")
_FETCHED: Final = 256  # rows at a time: 8 MiB of the largest leaves
_CONTAINS: Final = "strpos(violations, '|' || :violation || '|') > 0"
_RAW: Final = 3  # columns before those that are searched by
# What has an OFFSET is planned by itself, without the conditions around it.
_NEWEST: Final = "(SELECT * FROM leaves WHERE idx >= :start AND idx < :before ORDER BY idx DESC OFFSET 0) leaves"
_SHAPES: Final = {shape.version: shape for shape in past.SHAPES}
_KEYS: Final = "(SELECT * FROM unnest(CAST(:blocks AS bigint[]), CAST(:terms AS bigint[])) AS k(block, term))"
_SEGMENTS: Final = "segment = ANY(CAST(:segments AS bigint[]))"
_AMONG: Final = "idx = ANY(CAST(:indexes AS bigint[]))"


class PostgresReader(TableReader):
    """One view of the tables through a connection that is inside a read transaction."""

    __slots__ = ("_link", "_names")
    conditions: ClassVar[Mapping[str, str]] = {
        **CONDITIONS,
        "violation": _CONTAINS,
        "indexes": _AMONG,
        "segments": _SEGMENTS,
    }
    newest_leaves: ClassVar[str] = _NEWEST
    keys: ClassVar[str] = _KEYS

    def __init__(self, link: Link, version: int = schema.VERSION) -> None:
        super().__init__(_SHAPES[version])
        self._link = link
        self._names = itertools.count()

    def _list(self, numbers: Sequence[int]) -> Any:
        return list(numbers)

    def _keys(self, keys: Sequence[Key]) -> Mapping[str, Any]:
        blocks, terms = zip(*keys, strict=True)
        return {"blocks": list(blocks), "terms": list(terms)}

    def damage(self) -> list[str]:
        """See ``Auditable``. PostgreSQL has no check that this role may run; what it can't read is raised."""
        return []

    def schema_differences(self) -> list[str]:
        """See ``Auditable``."""
        try:
            return schema.differences(self._link, self.shape.version)
        except psycopg.Error as exc:
            raise store_error(exc) from exc

    def raw_rows(self, start: int = 0, end: int | None = None) -> Iterator[RawRow]:
        """See ``Auditable``."""
        for row in super().raw_rows(start, end):
            yield RawRow(row.index, row.raw_hash, tuple(map(read_back, row.raw_columns)), row.raw_leaf)

    def attachment_names(self, end: int) -> Iterator[tuple[int, str]]:
        """See ``Auditable``."""
        return ((index, read_back(name)) for index, name in super().attachment_names(end))

    def stretch(self, start: int, end: int) -> list[tuple[Any, ...]]:
        """See ``Auditable``."""
        columns = super().stretch(start, end)
        return [*columns[:_RAW], *map(_read_back, columns[_RAW:])]

    def raw_blobs(self, start: int = 0, end: int | None = None) -> Iterator[tuple[Any, Any, Any, Any]]:
        """See ``Auditable``."""
        rows = super().raw_blobs(start, end)
        return ((index, read_back(name), sha256, content) for index, name, sha256, content in rows)

    def _rows(self, statement: str, **values: Any) -> Iterator[Any]:
        try:
            asked = {name: stored(value) for name, value in values.items()}
            yield from self._link.cursor(binary=True).execute(translated(statement), asked)
        except psycopg.Error as exc:
            raise store_error(exc) from exc

    def _many(self, statement: str, **values: Any) -> Iterator[Any]:
        name = f"many_{next(self._names)}"  # it ends with the transaction
        asked = {key: stored(value) for key, value in values.items()}
        try:
            cursor = self._link.cursor(binary=True)
            cursor.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {translated(statement)}", asked)
            while rows := cursor.execute(f"FETCH {_FETCHED} FROM {name}").fetchall():
                yield from rows
            cursor.execute(f"CLOSE {name}")
        except psycopg.Error as exc:
            raise store_error(exc) from exc


def _read_back(column: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values of a column that were stored: nearly always the same ones."""
    found = {value: read_back(value) for value in set(column) if isinstance(value, str) and "\\" in value}
    return tuple(found.get(value, value) for value in column) if found else column


@functools.cache
def translated(statement: str) -> str:
    """A statement with values as psycopg writes them."""
    return _VALUE.sub(r"%(\1)s", statement)
