"""A small server that answers as an OPA server never would, byte for byte.

with answering(lambda method, path, body: Reply(200, b"<html>")) as url:
    OpaEngine(url, data).decide(document, deadline_s=1)
"""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from placet.policy.bundle import shipped_bundle
from placet.policy.contents import Contents


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server says.

    Attributes:
        status: HTTP status; 0 closes the connection without a word.
        body: sent as it is, unless ``pieces``.
        pieces: sent one by one, with a pause between them, until they or the test end; without a Content-Length.
        headers: besides Content-Length; those of an OPA by default.
        cut: bytes that Content-Length promises beyond those that come before the connection ends.
        hold: when given, waited for before the reply and between its pieces; set when the server stops.
        raw: pieces of everything that is sent, status line and headers included, instead of all else.
        pause_s: between pieces.
    """

    status: int = 200
    body: bytes = b""
    pieces: Callable[[], Iterator[bytes]] | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    cut: int = 0
    hold: bool = False
    raw: Callable[[], Iterator[bytes]] | None = None
    pause_s: float = 0.05


Answer = Callable[[str, str, bytes], Reply]


def holding(contents: Contents, query: Answer) -> Answer:
    """A server that holds what it must, and lies only when it is asked for a decision."""

    def answer(method: str, path: str, body: bytes) -> Reply:
        if method in {"PUT", "DELETE"}:
            return Reply(204)
        if method == "POST":
            return query(method, path, body)
        return Reply(200, json.dumps({"result": _held(contents, path)}).encode())

    return answer


def _held(contents: Contents, path: str) -> Any:
    if path == "/v1/policies":
        return [
            {"id": name, "raw": raw, "ast": {"package": {"path": [{"value": "data"}, {"value": "admission"}]}}}
            for name, raw in contents._modules.items()
        ]
    if path == "/v1/data/placet":
        return contents._data
    return sorted(rule.id.split(".") for rule in shipped_bundle().rules)


@contextlib.contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """Address of a server on loopback that gives these answers."""
    stopped = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes, and the second need not wait for 40 ms

        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            reply = answer(self.command, self.path, body)
            if reply.hold:
                stopped.wait(30)
            if reply.status == 0:
                self.close_connection = True
                return
            with contextlib.suppress(OSError):
                if reply.raw is not None:
                    self.close_connection = True
                    self.send(reply.raw(), reply.pause_s)
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.pieces is not None:
                    self.close_connection = True
                    self.end_headers()
                    self.send(reply.pieces(), reply.pause_s)
                    return
                if reply.status != http.HTTPStatus.NO_CONTENT:
                    self.send_header("Content-Length", str(len(reply.body) + reply.cut))
                self.end_headers()
                self.close_connection = reply.cut > 0 or self.close_connection
                self.wfile.write(reply.body)

        def send(self, pieces: Iterator[bytes], pause_s: float) -> None:
            for piece in pieces:
                self.wfile.write(piece)
                if pause_s and stopped.wait(pause_s):
                    return

        do_GET = do_POST = do_PUT = do_DELETE = reply  # noqa: N815 - names of http.server

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
