"""Records that are found by what they say, in stores that are made quickly, and kept for the next time.

An append waits for the disk, keeps every index in order and asks a trigger about each leaf. ``build_sqlite`` does none
of that: tables are filled in the order of their keys with nothing to wait for, then indexes and triggers are made. What
stands in the file in the end is what appends would have written: ``tests/benchmarks`` compares the two byte for byte.

PostgreSQL's are made in the same way (``benchmarks/found_postgres.py``).

Stores are kept in the cache, named after the code that made them, 1.3 KB a record; a newer one takes the older's place.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.found_postgres import HURRIED, build_postgres
from benchmarks.found_records import BASE, make_records, make_stretches, person_rows
from benchmarks.load import BenchmarkError
from benchmarks.machine import say
from placet.audit.indexing import add_segments
from placet.audit.location import DatabaseUrl, StoreLocation, open_store
from placet.audit.merkle import Frontier
from placet.audit.segments import SEGMENT
from placet.audit.stores import Entry, Store
from placet.audit.stores.blocks import put_block, put_segment, put_terms
from placet.audit.stores.postgres import transaction as postgres
from placet.audit.stores.postgres.connection import connect
from placet.audit.stores.schema import OBJECTS
from placet.audit.stores.sqlite import SqliteStore
from placet.audit.terms import TermBlock
from tests.simulators.bulk import INSERT_LEAF
from tests.simulators.postgres import running_server
from tests.simulators.tampering import ORIGIN
from tools.build import cache_folder

ROOT: Final = Path(__file__).resolve().parent.parent
KEPT: Final = "found"  # folder in the cache
_LATE: Final = ("index", "trigger")
_SAY_EVERY_S: Final = 20
_BATCH: Final = 64  # blocks in one transaction
_APPENDED: Final = 8  # the same of appends, which have a deadline that a busy machine must meet
_DATABASE: Final = "find"
_SPARE_BYTES: Final = 2 << 30
_EACH_BYTES: Final = {"sqlite": 1500, "postgresql": 2200}
# As a server comes, but for the tests' own thrift.
_SERVER: Final = "shared_buffers = 128MB\nautovacuum = on\nmax_wal_size = 1GB\n"
# What says how a store comes to be what it is.
_MAKERS: Final = (
    "benchmarks/found_postgres.py",
    "benchmarks/found_records.py",
    "benchmarks/found_stores.py",
    "placet/audit/merkle.py",
    "placet/audit/person_terms.py",
    "placet/audit/segments.py",
    "placet/audit/stores/blocks.py",
    "placet/audit/stores/postgres/schema.py",
    "placet/audit/stores/schema.py",
    "placet/audit/terms.py",
    "tests/simulators/tampering.py",
)
_HURRIED: Final = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA cache_size = -262144",
)


def build_sqlite(path: Path, records: int, *, base: int = BASE) -> None:
    """A store of so many records, with every block and segment that can be there.

    Args:
        path: of the file, which is not there yet.
        records: how many.
        base: after so many, what was said is said again; whole segments.
    """
    open_store(path, origin=ORIGIN).close()
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        version = connection.execute("PRAGMA schema_version").fetchone()[0]
        for statement in _HURRIED:
            connection.execute(statement)
        for name, (kind, _) in OBJECTS.items():
            if kind in _LATE:
                connection.execute(f"DROP {kind} {name}")
        _fill(connection, records, base)
        say("the indexes are made")
        for kind, statement in OBJECTS.values():
            if kind in _LATE:
                connection.execute(statement)
        connection.execute(f"PRAGMA schema_version = {version}")  # as if nothing had been away
    finally:
        connection.close()
    open_store(path, origin=ORIGIN).close()  # which gives it its write-ahead log back


def build_by_appends(name: str, place: StoreLocation, records: int, *, base: int = BASE) -> None:
    """The same through the store itself, in which each leaf is put where it belongs at once.

    Args:
        name: what is said of how far it has come.
        place: an empty record, or where one is made.
        records: how many.
        base: after so many, what was said is said again.
    """
    store = open_store(place, origin=ORIGIN)
    try:
        last, made = time.monotonic(), make_records(records, base=base)
        done = 0
        while some := list(itertools.islice(made, _APPENDED)):
            _insert(store, place, some)
            done += sum(len(entries) for entries, _ in some)
            if time.monotonic() - last > _SAY_EVERY_S:
                last = time.monotonic()
                say(f"{name}: {done:,} of {records:,} records")
        if add_segments(store, records) != records // SEGMENT:
            raise BenchmarkError("segments are missing")
        for block, term, members in person_rows(records):
            store.add_terms(block, [(term, members)])
    finally:
        store.close()


def _insert(store: Store, place: StoreLocation, some: list[tuple[list[Entry], TermBlock | None]]) -> None:
    blocks = [block for _, block in some if block is not None]
    transaction = store.begin(deadline_s=60)
    try:
        frontier = transaction.state()
        entries = [entry for leaves, _ in some for entry in leaves]
        frontier.extend([entry.leaf_hash for entry in entries])
        transaction.insert(entries)
        transaction.put_state(frontier)
        transaction.commit()
    finally:
        transaction.rollback()
    if isinstance(store, SqliteStore):
        adding = store.begin(deadline_s=60)
        try:
            for block in blocks:
                adding.put_block(block)
            adding.commit()
        finally:
            adding.rollback()
    elif isinstance(place, DatabaseUrl):
        with contextlib.closing(connect(place, idle_s=0)) as link, link.transaction():
            for block in blocks:
                postgres.put_block(link, block)


@contextlib.contextmanager
def kept(name: str, records: int) -> Iterator[StoreLocation]:
    """A store of so many records: the one in the cache, or one that is made, and kept there.

    Args:
        name: sqlite, or postgresql: then its server runs meanwhile.
        records: how many.

    Raises:
        BenchmarkError: there is no room for it.
    """
    folder = _folder(name, records)
    if name == "sqlite":
        if not folder.exists():
            with _making(name, records, folder) as fresh:
                build_sqlite(fresh / "record.db", records)
        yield folder / "record.db"
        return
    if not folder.exists():
        with _making(name, records, folder) as fresh, running_server(settings=_SERVER + HURRIED) as server:
            server.make_record(_DATABASE)
            with server.admin(_DATABASE) as connection:
                build_postgres(connection, records)
            server.stop()
            shutil.move(server.data, fresh / "data")
    with running_server(settings=_SERVER, data=folder / "data") as server:
        yield server.url(_DATABASE)


def _folder(name: str, records: int) -> Path:
    digest = hashlib.sha256()
    for path in _MAKERS:
        digest.update((ROOT / path).read_bytes())
    return cache_folder() / KEPT / f"{name}-{records}-{digest.hexdigest()[:12]}"


@contextlib.contextmanager
def _making(name: str, records: int, folder: Path) -> Iterator[Path]:
    """A folder to make a store in, which is then the one that is kept, in place of those of other code."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for old in folder.parent.glob(f"{name}-{records}-*"):
        shutil.rmtree(old)
    needed, free = records * _EACH_BYTES[name] + _SPARE_BYTES, shutil.disk_usage(folder.parent).free
    if free < needed:
        raise BenchmarkError(
            f"{records:,} records need {needed >> 30} GiB in {folder.parent}, there are {free >> 30}: "
            "set PLACET_CACHE to another disk, or measure fewer"
        )
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="making-", dir=folder.parent) as fresh:
        yield Path(fresh)
        shutil.copymode(folder.parent, fresh)
        Path(fresh).rename(folder)
        Path(fresh).mkdir()  # for who removes it
    say(f"{name}: made {records:,} records and what they are found by in {time.monotonic() - begun:.0f} s")


def _fill(connection: sqlite3.Connection, records: int, base: int) -> None:
    frontier, last = Frontier(), time.monotonic()
    connection.execute("BEGIN")
    for number, one in enumerate(make_stretches(records, base=base)):
        leaves = ((one.start + at, leaf_hash, raw, *values) for at, (raw, leaf_hash, values) in enumerate(one.rows))
        connection.executemany(INSERT_LEAF, leaves)
        frontier.extend([leaf_hash for _, leaf_hash, _ in one.rows])
        if one.block is not None:
            put_block(connection, one.block)
        if one.segment is not None:
            put_segment(connection, one.segment)
        if number % _BATCH == _BATCH - 1:
            connection.execute("COMMIT")
            connection.execute("BEGIN")
        if time.monotonic() - last > _SAY_EVERY_S:
            last = time.monotonic()
            say(f"sqlite: {frontier.size:,} of {records:,} records")
    for block, term, members in person_rows(records):
        put_terms(connection, block, [(term, members)])
    connection.execute("UPDATE state SET size = ?, frontier = ?", (frontier.size, frontier.render()))
    connection.execute("COMMIT")
