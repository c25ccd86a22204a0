"""Connections that keep to one deadline: look-up, connect, handshake, each byte sent, each byte of head and body read.

A socket's time-out starts anew with each byte that arrives, so a server that sends one a second is never late. Here
what is left of the whole exchange is set before each of them.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import math
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from placet.policy.failures import failure

_PIECE_BYTES: Final = 1 << 14
_Address = tuple[Any, ...]


class Deadline:
    """A point on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + (seconds if math.isfinite(seconds) else 0.0)

    def remaining_s(self) -> float:
        """Seconds that are left, more than 0.

        Raises:
            EngineTimeout: none are.
        """
        if (left := self._end - time.monotonic()) <= 0:
            raise failure("engine_timeout", "the policy engine did not answer in time")
        return left


class _Exchange(threading.local):
    """The exchange that a thread is in; it blocks there, so there is one at most."""

    deadline = Deadline(0)


_exchange: Final = _Exchange()


def begin_exchange(deadline: Deadline) -> None:
    """What this thread does on its connections from now on ends by then."""
    _exchange.deadline = deadline


class _DeadlineReader(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_exchange.deadline.remaining_s())
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock))


class _DeadlineConnection(HTTPConnection):
    response_class = _DeadlineResponse

    def _new_conn(self) -> socket.socket:
        deadline = _exchange.deadline
        fault: OSError = OSError("no address")
        for family, kind, protocol, address in _find_addresses(self.host, self.port or 0, deadline):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(deadline.remaining_s())
                sock.connect(address)
                sock.settimeout(deadline.remaining_s())  # for the handshake
            except OSError as exc:
                sock.close()
                fault = exc
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise fault

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        for start in range(0, len(data), _PIECE_BYTES):
            self.sock.settimeout(_exchange.deadline.remaining_s())
            super().send(data[start : start + _PIECE_BYTES])


class _DeadlineTlsConnection(_DeadlineConnection, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _DeadlineConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _DeadlineTlsConnection


POOLS: Final = {"http": _Pool, "https": _TlsPool}
"""For ``PoolManager.pool_classes_by_scheme``."""


def _find_addresses(host: str, port: int, deadline: Deadline) -> Iterator[tuple[int, int, int, _Address]]:
    host = host.strip("[]")
    if _is_literal(host):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    else:
        found = _look_up(host, port, deadline)
    for family, kind, protocol, _, address in found:
        yield family, kind, protocol, address


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _look_up(host: str, port: int, deadline: Deadline) -> list[Any]:
    """The resolver has no time-out of its own, and nothing can interrupt it: it is left behind when it is late."""
    answer: Future[list[Any]] = Future()

    def ask() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as exc:
            answer.set_exception(exc)

    threading.Thread(target=ask, name="placet-opa-name", daemon=True).start()
    return answer.result(deadline.remaining_s())
