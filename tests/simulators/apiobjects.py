"""An API server in this process that keeps JSON objects, and fails as it is told to: what no real one does on demand.

>>> with ObjectServer() as server:
...     objects = server.connect()
...     server.fail = lambda method, path: 429 if method == "POST" else None
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

from placet.publish.api import ClusterObjects

COLLECTIONS: Final = ("events", "configmaps", "leases", "reports", "policyreports")


class ObjectServer:
    """Objects by their path, with versions that grow.

    Attributes:
        objects: path -> object.
        calls: method and collection -> how often.
        fail: status with which a call is answered instead; None to answer it.
        served: paths of the API groups that are there.
    """

    def __init__(self, folder: Path) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.calls: Counter[tuple[str, str]] = Counter()
        self.fail: Callable[[str, str], int | None] = lambda _method, _path: None
        self.served: dict[str, str] = {}
        self._folder = folder
        self._lock = threading.Lock()
        self._version = 0

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 64 * 1024  # an answer in pieces waits for the other side's acknowledgement of the first

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                with outer._lock:
                    status, value = outer.answer(self.command, self.path, body)
                raw = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the names of http.server

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def kubeconfig(self) -> Path:
        """Of this server."""
        file = self._folder / "kubeconfig.json"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "a", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}],
            "users": [{"name": "a", "user": {}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "current-context": "a",
        }
        file.write_text(json.dumps(config), encoding="utf-8")
        return file

    def connect(self) -> ClusterObjects:
        """As the gate does, without the pauses between writes."""
        return ClusterObjects(str(self.kubeconfig), pause=lambda _seconds: None, timeout_s=5.0)

    def of(self, plural: str) -> list[dict[str, Any]]:
        """The objects of a collection, in every namespace."""
        return [one for path, one in sorted(self.objects.items()) if path.split("/")[-2] == plural]

    def answer(self, method: str, url: str, body: Any) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        parts = urlsplit(url)
        path = parts.path
        last = path.rsplit("/", 2)[1:]
        collection = last[1] if last[-1] in COLLECTIONS else last[0]
        self.calls[method, collection] += 1
        if (status := self.fail(method, path)) is not None:
            return status, {"kind": "Status", "code": status, "message": "as it was told"}
        if path in self.served:
            return 200, {"kind": "APIResourceList", "resources": [{"name": self.served[path]}]}
        if method == "GET" and last[-1] in COLLECTIONS:
            return 200, {"items": self._select(path, parse_qs(parts.query))}
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            return (409, {"reason": "AlreadyExists"}) if path in self.objects else (201, self._put(path, body))
        there = self.objects.get(path)
        if there is None:
            return 404, {"reason": "NotFound"}
        if method == "DELETE":
            return 200, self.objects.pop(path)
        if method == "PUT":
            same = body["metadata"].get("resourceVersion") == there["metadata"]["resourceVersion"]
            return (200, self._put(path, body)) if same else (409, {"reason": "Conflict"})
        return 200, there

    def _select(self, path: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        asked = dict(term.split("=") for term in query.get("labelSelector", [""])[0].split(",") if term)
        return [
            one
            for name, one in self.objects.items()
            if name.startswith(f"{path}/") and asked.items() <= (one["metadata"].get("labels") or {}).items()
        ]

    def _put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        self.objects[path] = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self._version)}}
        return self.objects[path]
