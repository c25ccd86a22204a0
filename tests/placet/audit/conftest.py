"""One PostgreSQL server for the tests of this folder, started when the first of them wants it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulators.postgres import PostgresServer, running_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server; what a test makes in it has a name of its own."""
    with running_server() as server:
        yield server
