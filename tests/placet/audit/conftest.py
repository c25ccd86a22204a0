"""One PostgreSQL server for the tests of this folder, started when the first of them wants it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from placet.audit.location import StoreLocation
from tests.simulators.postgres import PostgresServer, running_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server; what a test makes in it has a name of its own."""
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreLocation]:
    """Where a record can be made, one after the other: a file that is not there yet, and an empty record."""
    if request.param == "sqlite":
        yield tmp_path / "record.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.own_record() as url:
        yield url
