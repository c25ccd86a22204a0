"""Columns as arrays of PostgreSQL: what the server reads out of them is what was put in."""

from __future__ import annotations

import struct
from typing import Any

import psycopg
import pytest

from placet.audit.stores.postgres.arrays import Array, bytes_array, integer_array, register_arrays, text_array
from placet.audit.stores.postgres.text import stored
from tests.simulators.postgres import PostgresServer

_LONG = 100_000


@pytest.mark.parametrize(
    ("array", "kind", "expected"),
    [
        (text_array([]), "text[]", []),
        (text_array(["", "a", None, "\u00e9\U0001f512", '{",NULL}', "x" * _LONG]), "text[]", None),
        (text_array(["a\0b\\"]), "text[]", [stored("a\0b\\")]),
        (bytes_array([]), "bytea[]", []),
        (bytes_array([b"", b"\0\xff", b"y" * _LONG]), "bytea[]", [b"", b"\0\xff", b"y" * _LONG]),
        (integer_array([]), "int8[]", []),
        (integer_array([0, -1, None, 2**63 - 1, -(2**63)]), "int8[]", [0, -1, None, 2**63 - 1, -(2**63)]),
    ],
    ids=["no text", "texts", "escaped", "no bytes", "bytes", "no integer", "integers"],
)
def test_the_server_reads_what_was_put_in(
    postgres: PostgresServer, array: Array, kind: str, expected: list[Any] | None
) -> None:
    with psycopg.connect(postgres.url("postgres", "postgres")) as connection:
        register_arrays(connection)
        row = connection.execute("SELECT %s, pg_typeof(%s)::text", (array, array)).fetchone()
    wanted = ["", "a", None, "\u00e9\U0001f512", '{",NULL}', "x" * _LONG] if expected is None else expected
    said = {"text[]": "text[]", "bytea[]": "bytea[]", "int8[]": "bigint[]"}[kind]
    assert row == (wanted, said)


def test_an_integer_that_does_not_fit_is_refused_before_it_is_sent() -> None:
    with pytest.raises(struct.error):
        integer_array([2**63])
