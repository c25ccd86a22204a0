"""An API server on loopback that answers as a test tells it, and the file that leads there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.answers import Server


@pytest.fixture
def server() -> Iterator[Server]:
    opened = Server()
    thread = threading.Thread(target=opened.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield opened
    opened.released.set()
    opened.http.shutdown()
    opened.http.server_close()
    thread.join()


@pytest.fixture
def kubeconfig(tmp_path: Path, server: Server) -> str:
    file = tmp_path / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file.write_text(json.dumps(config), encoding="utf-8")
    return str(file)
