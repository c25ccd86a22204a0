"""Stores that are made quickly are those that appends make, and are made once."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from benchmarks import found_stores
from benchmarks.found_postgres import build_postgres
from benchmarks.found_stores import build_by_appends, build_sqlite, kept
from benchmarks.load import BenchmarkError
from placet.audit.location import open_reader
from placet.audit.segments import SEGMENT
from placet.audit.stores.postgres.schema import TABLES, read_inventory
from placet.audit.terms import BLOCK
from placet.audit.verify import verify_file
from tests.simulators.postgres import PostgresServer, running_server
from tests.simulators.tampering import LOG_KEY


def content(path: Path) -> bytes:
    """Everything that is in a store, page by page in the order of its tables and keys."""
    copy = path.with_suffix(".copy")
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.execute("VACUUM INTO ?", (str(copy),))
    finally:
        connection.close()
    return copy.read_bytes()


def test_a_store_that_is_made_quickly_is_byte_for_byte_the_one_of_appends(tmp_path: Path) -> None:
    size = 2 * SEGMENT + 3 * BLOCK + 100  # what was said is said again from the second segment on
    build_sqlite(tmp_path / "quick.db", size, base=SEGMENT)
    build_by_appends("appends", tmp_path / "appends.db", size, base=SEGMENT)
    quick, appended = content(tmp_path / "quick.db"), content(tmp_path / "appends.db")
    assert len(quick) > size * 1000
    assert quick == appended
    result = verify_file(tmp_path / "quick.db", [LOG_KEY.verifier])
    assert (result.kinds, result.size) == ((), size)


def rows_of(server: PostgresServer, name: str) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Every row of a record in order, and everything else that is in its schema."""
    with server.admin(name) as connection:
        asked = {
            table: sql.SQL("SELECT * FROM placet.{} ORDER BY 1, 2").format(sql.Identifier(table)) for table in TABLES
        }
        rows = {table: connection.execute(statement).fetchall() for table, statement in asked.items()}
        return rows, read_inventory(connection)


def test_a_database_that_is_made_quickly_has_the_rows_and_definitions_of_appends() -> None:
    size = SEGMENT + 17 * BLOCK + 100
    with running_server() as server:
        build_by_appends("appended", server.make_record("appended"), size, base=SEGMENT)
        server.make_record("quick")
        with server.admin("quick") as connection:
            build_postgres(connection, size, base=SEGMENT)
        quick, appended = rows_of(server, "quick"), rows_of(server, "appended")
    assert len(quick[0]["leaves"]) == size
    assert len(quick[0]["segments"]) == 2
    assert quick == appended


@pytest.mark.parametrize("name", ["sqlite", "postgresql"])
def test_a_store_is_made_once_and_found_again(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACET_CACHE", str(tmp_path))
    old = tmp_path / "found" / f"{name}-1200-0123456789ab"
    old.mkdir(parents=True)
    made = []
    for _ in range(2):
        with kept(name, 1200) as place, open_reader(place) as reader:
            assert (reader.state().size, reader.blocks()) == (1200, 1)
        (folder,) = (tmp_path / "found").iterdir()
        made.append((folder.name, folder.stat().st_ino))
    assert made[0] == made[1]
    assert not old.exists(), "of other code, and large"


def test_a_disk_that_is_too_small_is_said_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACET_CACHE", str(tmp_path))
    monkeypatch.setitem(found_stores._EACH_BYTES, "sqlite", 1 << 50)
    with pytest.raises(BenchmarkError, match="set PLACET_CACHE to another disk"), kept("sqlite", 10):
        pass
    assert list((tmp_path / "found").iterdir()) == []
