"""Columns of many rows as arrays of PostgreSQL, in its binary form: rows are sent by one statement, however many.

psycopg makes an array of a list by asking each element what it is, which takes several times as long; and it says of a
list of numbers that it is of the smallest type that holds them, so that the server would be given a new statement
whenever the record outgrows one. What these columns hold is known.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

from placet.audit.stores.postgres.text import stored

_LENGTH: Final = struct.Struct(">i")
_HEAD: Final = struct.Struct(">iiI")  # dimensions, whether one is null, type of the elements
_DIMENSION: Final = struct.Struct(">ii")  # elements, number of the first
_INT8: Final = struct.Struct(">iq")  # length, value
_NULL: Final = _LENGTH.pack(-1)


@dataclass(frozen=True, slots=True)
class Array:
    """A column, as it is sent."""

    raw: bytes


class TextArray(Array):
    """Of ``text``."""


class BytesArray(Array):
    """Of ``bytea``."""


class IntegerArray(Array):
    """Of ``int8``."""


def text_array(values: Sequence[str | None]) -> TextArray:
    """Texts, as ``stored`` writes them."""
    raws = [None if value is None else str(stored(value)).encode() for value in values]
    return TextArray(_render(25, raws))


def bytes_array(values: Sequence[bytes]) -> BytesArray:
    """Bytes."""
    return BytesArray(_render(17, values))


def integer_array(values: Sequence[int | None]) -> IntegerArray:
    """Integers of 64 bits with a sign.

    Raises:
        struct.error: one of them is larger.
    """
    parts = (_NULL if value is None else _INT8.pack(8, value) for value in values)
    return IntegerArray(_head(20, len(values), null=None in values) + b"".join(parts))


def _render(element: int, values: Sequence[bytes | None]) -> bytes:
    parts: list[bytes] = [_head(element, len(values), null=None in values)]
    for value in values:
        parts += (_NULL,) if value is None else (_LENGTH.pack(len(value)), value)
    return b"".join(parts)


def _head(element: int, count: int, *, null: bool) -> bytes:
    if not count:
        return _HEAD.pack(0, 0, element)
    return _HEAD.pack(1, int(null), element) + _DIMENSION.pack(count, 1)


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Any) -> Buffer:
        raw: bytes = obj.raw
        return raw


class _TextArrayDumper(_ArrayDumper):
    oid = 1009


class _BytesArrayDumper(_ArrayDumper):
    oid = 1001


class _IntegerArrayDumper(_ArrayDumper):
    oid = 1016


_DUMPERS: Final[Iterable[tuple[type[Array], type[Dumper]]]] = (
    (TextArray, _TextArrayDumper),
    (BytesArray, _BytesArrayDumper),
    (IntegerArray, _IntegerArrayDumper),
)


def register_arrays(connection: psycopg.Connection[Any]) -> None:
    """Let a connection take them as parameters."""
    for kind, dumper in _DUMPERS:
        connection.adapters.register_dumper(kind, dumper)
