"""The tables of every version of the SQLite store, told apart by what a file has.

Version 1 had two forms: a column was added before there was a number for it. All of them can be read; only the newest
is written to. What they were is held by files that the placet of then has made (``tests/golden/audit/stores``).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from placet.audit.record import Columns
from placet.audit.stores import schema

_ALL: Final = tuple(field.name for field in fields(Columns))
_SINCE_3: Final = frozenset({"blocks", "terms"})
_SINCE_4: Final = frozenset({"segments", "postings"})


@dataclass(frozen=True, slots=True)
class Shape:
    """The tables of a version.

    Attributes:
        objects: name in ``sqlite_schema`` -> (type, statement).
        columns: search columns of ``leaves`` in the order of ``Columns``.
    """

    version: int
    objects: Mapping[str, tuple[str, str]]
    columns: tuple[str, ...] = _ALL

    @property
    def has_terms(self) -> bool:
        """Whether records are found by terms."""
        return "terms" in self.objects

    @property
    def has_segments(self) -> bool:
        """Whether there are terms of many blocks together."""
        return "postings" in self.objects


def _without(objects: Mapping[str, tuple[str, str]], column: str) -> dict[str, tuple[str, str]]:
    """The same where ``leaves`` has not got the column yet."""
    kind, statement = objects["leaves"]
    return {**objects, "leaves": (kind, re.sub(rf"  {column} [^\n]*\n", "", statement))}


def _but(shape: Shape, *names: str) -> dict[str, tuple[str, str]]:
    return {name: made for name, made in shape.objects.items() if name not in names}


NEWEST: Final = Shape(schema.VERSION, schema.OBJECTS)
V3: Final = Shape(3, _but(NEWEST, *_SINCE_4))
V2: Final = Shape(2, _but(V3, *_SINCE_3))
V1_APPROVED: Final = Shape(
    1, _without(_but(V2, "leaves_by_content"), "projection"), tuple(name for name in _ALL if name != "projection")
)
V1: Final = Shape(
    1,
    {
        **_without(V1_APPROVED.objects, "approved"),
        "leaves_by_model": ("index", schema.OBJECTS["leaves_by_model"][1].replace("approved = 1", "allowed = 1")),
    },
    tuple(name for name in V1_APPROVED.columns if name != "approved"),
)
SHAPES: Final = (V1, V1_APPROVED, V2, V3, NEWEST)


def read_shape(connection: sqlite3.Connection, version: int) -> Shape | None:
    """The shape of that version that the file's table of leaves has; None for a version that is not known.

    Whether everything is as it should be is for ``placet.audit.stores.schema.differences`` to say.
    """
    known = [shape for shape in SHAPES if shape.version == version]
    there = {str(row[1]) for row in connection.execute("PRAGMA table_info(leaves)")}.intersection(_ALL)
    return next((shape for shape in known if there == set(shape.columns)), known[-1] if known else None)


class _NotKept:
    """What stands for a column that a store of that version has not got: it says nothing, so nothing wrong."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


NOT_KEPT: Final = _NotKept()
