"""Tampering with a record in PostgreSQL, by somebody who may do anything there, in the words of SQLite."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import psycopg

from placet.audit.location import DatabaseUrl

_ZEROS: Final = re.compile(r"zeroblob\((\d+)\)")
_BYTES: Final = re.compile(r"\bx'([0-9a-f]*)'")


class Surgeon:
    """Takes statements as SQLite takes them."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        """Run one."""
        translated = _ZEROS.sub(r"decode(repeat('00', \1), 'hex')", statement)
        translated = _BYTES.sub(r"'\\x\1'::bytea", translated).replace("?", "%s")
        return self._connection.execute(translated, values or None)


def owners(url: DatabaseUrl) -> DatabaseUrl:
    """The same database as the superuser."""
    return DatabaseUrl(re.sub(r"//[^@]*@", "//postgres@", url))


@contextlib.contextmanager
def database_surgery(url: DatabaseUrl) -> Iterator[Surgeon]:
    """A connection that may do anything, with the triggers out of the way."""
    with psycopg.connect(owners(url)) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET search_path = placet")
        yield Surgeon(connection)
