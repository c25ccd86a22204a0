"""A web server on loopback that keeps one file: GET with an ETag, PUT, a token if it asks for one."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class FileServer:
    """What it keeps and how it answers.

    Attributes:
        url: of the file.
        content: None while there is none.
        token: what it asks for; "" for nothing.
        status: answered instead of anything else; 0 for nothing.
        location: where a redirect leads.
        asked: methods, in order.
        answered: statuses, in order.
        preferred: what callers said in `Prefer`, in order.
    """

    url: str = ""
    content: bytes | None = None
    token: str = ""
    status: int = 0
    location: str = ""
    asked: list[str] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    preferred: list[str] = field(default_factory=list)


@contextlib.contextmanager
def serving_file(certificate: tuple[Path, Path] | None = None) -> Iterator[FileServer]:
    """Serve until the block ends; over TLS with a certificate and its key."""
    kept = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _refuse(self) -> int:
            kept.asked.append(self.command)
            kept.preferred.append(self.headers.get("Prefer", ""))
            if kept.status:
                return kept.status
            if kept.token and self.headers.get("Authorization") != f"Bearer {kept.token}":
                return 401
            return 0

        def _answer(self, status: int, content: bytes = b"", tag: str = "") -> None:
            kept.answered.append(status)
            self.send_response(status)
            if kept.location:
                self.send_header("Location", kept.location)
            if tag:
                self.send_header("ETag", tag)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            if status := self._refuse():
                return self._answer(status)
            if kept.content is None:
                return self._answer(404)
            tag = '"' + hashlib.sha256(kept.content).hexdigest()[:16] + '"'
            if self.headers.get("If-None-Match") == tag:
                return self._answer(304, tag=tag)
            return self._answer(200, kept.content, tag)

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if status := self._refuse():
                return self._answer(status)
            kept.content = body
            return self._answer(201)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    kept.url = f"{scheme}://127.0.0.1:{server.server_address[1]}/policies.tar.gz"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
