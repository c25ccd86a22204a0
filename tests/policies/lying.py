"""A small HTTP server that answers as an OPA server never would.

with answering(lambda method, path, body: Reply(200, b"<html>")) as url:
    OpaEngine(url, data).decide(document, deadline_s=1)
"""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server says.

    Attributes:
        status: HTTP status; 0 closes the connection without a word.
        body: sent as it is, unless ``pieces``.
        pieces: sent one by one, each when the waiting one before it is over.
        headers: besides Content-Length.
        cut: bytes that Content-Length promises beyond those that come before the connection ends.
        hold: when given, waited for before the reply and between its pieces; set when the server stops.
    """

    status: int = 200
    body: bytes = b""
    pieces: Callable[[], Iterator[bytes]] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    hold: bool = False


Answer = Callable[[str, str, bytes], Reply]


@contextlib.contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """Address of a server on loopback that gives these answers."""
    stopped = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            reply = answer(self.command, self.path, body)
            if reply.hold:
                stopped.wait(30)
            if reply.status == 0:
                self.close_connection = True
                return
            pieces = list(reply.pieces()) if reply.pieces else [reply.body]
            with contextlib.suppress(OSError):
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.status != http.HTTPStatus.NO_CONTENT:
                    self.send_header("Content-Length", str(sum(map(len, pieces)) + reply.cut))
                self.end_headers()
                self.close_connection = reply.cut > 0 or self.close_connection
                for piece in pieces:
                    self.wfile.write(piece)
                    if len(pieces) > 1:
                        stopped.wait(0.05)

        do_GET = do_POST = do_PUT = reply  # noqa: N815 - names of http.server

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
