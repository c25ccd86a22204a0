"""An API server on loopback that answers as a test tells it, and the file that leads there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.answers import Server


@pytest.fixture
def server() -> Iterator[Server]:
    with Server().serving() as opened:
        yield opened


@pytest.fixture
def kubeconfig(tmp_path: Path, server: Server) -> str:
    return str(server.write_kubeconfig(tmp_path / "kubeconfig"))
