"""How the SQLite store of one version becomes that of the next: a step a version, none of which changes a leaf.

A step runs inside a transaction of the caller's, who compares roots and tables before and after it. It must leave
things so that a gate of the version before, which still has the record open, can go on appending: it is replaced while
the new one waits.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from placet.audit.record import parse_leaf
from placet.audit.stores import past, schema
from placet.errors import FormatError, TamperError


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the tables.

    Attributes:
        version: what the store is of afterwards.
        says: what it does, for whoever has to decide about it; goes on from "it".
        run: does it.
        expected: the objects that are there afterwards.
    """

    version: int
    says: str
    run: Callable[[sqlite3.Connection], None]
    expected: Mapping[str, tuple[str, str]]


def steps_from(version: int) -> list[Step]:
    """What leads from a version to the newest, in order."""
    return [step for step in STEPS if step.version > version]


def _add_columns(connection: sqlite3.Connection) -> None:
    """To 2: ``approved`` and ``projection``. SQLite adds columns at the end alone, so the table is written anew."""
    for name, (kind, _) in schema.read_objects(connection).items():
        if kind != "table":
            connection.execute(f"DROP {kind} {name}")
    connection.execute("ALTER TABLE leaves RENAME TO leaves_before")
    _, leaves = past.V2.objects["leaves"]
    connection.execute(leaves)
    names = ("idx", "leaf_hash", "leaf", *past.V2.columns)
    connection.executemany(
        f"INSERT INTO leaves ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",  # noqa: S608 - our own names
        _rows_of_2(connection),
    )
    connection.execute("DROP TABLE leaves_before")
    for kind, statement in past.V2.objects.values():
        if kind != "table":
            connection.execute(statement)


def _rows_of_2(connection: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    for index, leaf_hash, raw in connection.execute("SELECT idx, leaf_hash, leaf FROM leaves_before ORDER BY idx"):
        try:
            columns = parse_leaf(raw).columns
        except FormatError as exc:
            raise TamperError(f"leaf {index} can't be read: {exc}", index=index, code="leaf_malformed") from exc
        yield (index, leaf_hash, raw, *(getattr(columns, name) for name in past.V2.columns))


def _add_terms(connection: sqlite3.Connection) -> None:
    """To 3: the tables that records are found by, empty. Whoever writes to the record fills them, block by block."""
    for name in ("blocks", "terms"):
        connection.execute(schema.OBJECTS[name][1])


def _add_segments(connection: sqlite3.Connection) -> None:
    """To 4: the tables that many blocks of terms are found by at once, empty; filled as those of step 3."""
    for name in ("segments", "postings"):
        connection.execute(schema.OBJECTS[name][1])


STEPS: Final = (
    Step(2, "adds what precedents are found by, and writes the table of leaves anew", _add_columns, past.V2.objects),
    Step(3, "adds the tables that records are found by", _add_terms, past.V3.objects),
    Step(4, "adds the tables that they are found by 16,384 at a time", _add_segments, past.NEWEST.objects),
)
