"""Callers that stall: in the handshake, after it, in the head of a request, and in its body."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from types import TracebackType
from typing import Final, Self

from tests.e2e.processes import poll_until

PATIENCE_S: Final = 60.0
_THREADS: Final = 4


class SlowCallers:
    """Connections that stall in handshake, head or body, or after the handshake; new ones for those that ended."""

    def __init__(self, host: str, ports: list[int], each: int) -> None:
        """So many stalled connections, and as many slow bodies, spread over the ports.

        There are some more, because the server ends them after ten seconds and it takes a moment to see that.
        """
        self._host = host
        self._ports = ports
        self._enough = 2 * each
        self._each = each * 3 // 2
        self._ended = threading.Event()
        self._held: dict[tuple[str, int], socket.socket] = {}
        self.opened = 0
        self._threads = [threading.Thread(target=self._run, args=(first,), daemon=True) for first in range(_THREADS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        assert poll_until(lambda: self.held >= self._enough, PATIENCE_S), self.held
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        for stream in self._held.values():
            stream.close()

    def _run(self, first: int) -> None:
        while True:
            for number in range(first, self._each, _THREADS):
                for kind in ("stalled", "body"):
                    self._keep(kind, number)
            if self._ended.wait(0.5):
                return

    def _keep(self, kind: str, number: int) -> None:
        stream = self._held.get((kind, number))
        try:
            if stream is None:
                self._held[kind, number] = self._open(kind, number)
                self.opened += 1
            elif kind == "body":
                stream.sendall(b" ")
            else:
                stream.settimeout(0)
                with contextlib.suppress(ssl.SSLWantReadError, BlockingIOError):
                    if stream.recv(4096) == b"":
                        raise ConnectionResetError
        except OSError:
            if (gone := self._held.pop((kind, number), None)) is not None:
                gone.close()
                self._keep(kind, number)

    def _open(self, kind: str, number: int) -> socket.socket:
        raw = socket.create_connection((self._host, self._ports[number % len(self._ports)]), timeout=5)
        if kind == "stalled" and number % 3 == 0:
            return raw  # never says hello
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        stream = context.wrap_socket(raw, server_hostname="localhost")
        if kind == "body":
            stream.sendall(
                b"POST /v1/admit/production HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 8000\r\n\r\n{"
            )
        elif number % 3 == 1:
            stream.sendall(b"POST /v1/admit/production HTTP/1.1\r\nHost:")
        return stream

    @property
    def held(self) -> int:
        """How many are open now."""
        return len(self._held)

    def wait_for_renewal(self) -> None:
        """Until the server has ended half of one kind, and others have come in their place."""
        wanted = self.opened + self._each // 2
        assert poll_until(lambda: self.opened >= wanted and self.held >= self._enough, PATIENCE_S), self.held
