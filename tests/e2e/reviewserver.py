"""A small TLS webhook for the tests: it keeps every review as it came and answers as it is told."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tests.e2e.controlplane import ServingCertificate

    Answer = Callable[[dict[str, Any]], dict[str, Any]]


def allow(_request: dict[str, Any]) -> dict[str, Any]:
    """The answer of a webhook that allows everything."""
    return {"allowed": True}


class ReviewServer:
    """A webhook on loopback, inside a ``with`` block.

    Attributes:
        url: its address, by IP; the certificate has to name 127.0.0.1.
        reviews: the body of every request byte for byte, in the order of their coming.

    Example:
        >>> with ReviewServer(plane.serving_certificate(["127.0.0.1"])) as server:
        ...     plane.install_webhook("recorder", server.url, plane.authority.pem)
    """

    def __init__(self, certificate: ServingCertificate, answer: Answer = allow, *, client_ca: bytes = b"") -> None:
        """Listen, without serving yet.

        Args:
            certificate: certificate to serve with.
            answer: ``request`` of a review to ``response`` of the answer; the uid is filled in.
            client_ca: PEM of the authority whose client certificate a caller must show; empty asks for none.
        """
        self.reviews: list[bytes] = []
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate.cert_path, certificate.key_path)
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=client_ca.decode())
        self._server = _Server(context, _handler(self.reviews, answer))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}/review"

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # the API server keeps its connections open

    def __init__(self, context: ssl.SSLContext, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        # The handshake is left to the connection's own thread, so that a slow caller holds up nobody.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)


def _handler(reviews: list[bytes], answer: Answer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            reviews.append(body)
            review = json.loads(body)
            response = {"uid": review["request"]["uid"], **answer(review["request"])}
            kind = {"apiVersion": review["apiVersion"], "kind": review["kind"]}
            content = json.dumps({**kind, "response": response}).encode()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's signature)
            """Say nothing: the API server has the log that counts."""

    return Handler
