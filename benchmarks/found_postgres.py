"""A record in PostgreSQL, made quickly: what appends would have written, through COPY and without what they wait for.

Tables are filled in the order of their keys by a superuser of a server that need not survive, with no trigger asked and
no deadline to meet; the indexes that are not in that order are made at the end. ``tests/benchmarks`` compares rows and
definitions with those of a record that was appended to.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import psycopg

from benchmarks.found_records import BASE, Stretch, make_stretches, person_rows
from benchmarks.machine import say
from placet.audit.merkle import Frontier
from placet.audit.stores.postgres.schema import NAMESPACE, translated
from placet.audit.stores.postgres.transaction import put_block, put_segment
from placet.audit.stores.reader import COLUMNS
from placet.audit.stores.schema import OBJECTS

HURRIED: Final = "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\nmaintenance_work_mem = 512MB\n"
"""Lines of the configuration of the server that it is made in; the one that is asked has none of them."""
_SAY_EVERY_S: Final = 20
_BATCH: Final = 64  # blocks in one transaction
_NUMBERS: Final = frozenset({"allowed", "approved"})
_LEAF_TYPES: Final = ("int8", "bytea", "bytea", *("int8" if name in _NUMBERS else "text" for name in COLUMNS))
_COPY_LEAVES: Final = f"COPY {NAMESPACE}.leaves (idx, leaf_hash, leaf, {', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
_COPY_TERMS: Final = f"COPY {NAMESPACE}.terms (block, term, members) FROM STDIN (FORMAT BINARY)"
_INDEXES: Final = {name: statement for name, (kind, statement) in OBJECTS.items() if kind == "index"}
_PUT_STATE: Final = f"UPDATE {NAMESPACE}.state SET size = %s, frontier = %s"  # noqa: S608 - our own name


def build_postgres(connection: psycopg.Connection[Any], records: int, *, base: int = BASE) -> None:
    """Fill an empty record.

    Args:
        connection: of a superuser, in the database of the record.
        records: how many.
        base: after so many, what was said is said again; whole segments.
    """
    connection.execute("SET session_replication_role = replica")  # no trigger is asked
    for name in _INDEXES:
        connection.execute(f"DROP INDEX {NAMESPACE}.{name}")
    frontier, last = Frontier(), time.monotonic()
    some: list[Stretch] = []
    for stretch in make_stretches(records, base=base):
        some.append(stretch)
        if len(some) == _BATCH:
            _put(connection, some, frontier)
            some = []
        if time.monotonic() - last > _SAY_EVERY_S:
            last = time.monotonic()
            say(f"postgresql: {frontier.size:,} of {records:,} records")
    _put(connection, some, frontier)
    _copy(connection, _COPY_TERMS, ("int8", "int8", "bytea"), person_rows(records))
    connection.execute(_PUT_STATE, (frontier.size, frontier.render()))
    say("the indexes are made")
    for statement in _INDEXES.values():
        connection.execute(translated(statement))
    connection.execute("VACUUM (ANALYZE)")  # as autovacuum has done where a record grew to this size


def _put(connection: psycopg.Connection[Any], some: Sequence[Stretch], frontier: Frontier) -> None:
    leaves = (
        (one.start + at, leaf_hash, raw, *values)
        for one in some
        for at, (raw, leaf_hash, values) in enumerate(one.rows)
    )
    with connection.transaction():
        _copy(connection, _COPY_LEAVES, _LEAF_TYPES, leaves)
        for one in some:
            if one.block is not None:
                put_block(connection, one.block)
            if one.segment is not None:
                put_segment(connection, one.segment)
    for one in some:
        frontier.extend([leaf_hash for _, leaf_hash, _ in one.rows])


def _copy(
    connection: psycopg.Connection[Any], statement: str, types: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    with connection.cursor().copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
