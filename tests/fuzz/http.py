"""Target: the bytes of a connection, as the server reads them.

The same bytes arrive once in one piece, once cut where the input says: what is asked and what is answered may not
depend on how a network cuts. An independent look at the answers finds a broken one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

from tests.fuzz.target import BrokenPromiseError, require
from webhook.server_callers import Door
from webhook.server_connection import Connection
from webhook.server_state import ServerLimits, ServerState
from webhook.server_work import Answer, Exchange, build_environ
from webhook.settings import Access

_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z ]+\r\n((?:[A-Za-z-]+: [^\r\n]*\r\n)+)\r\n")
_LENGTH: Final = re.compile(rb"Content-Length: (\d+)\r\n")
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_Asked = tuple[str, bytes, tuple[tuple[bytes, bytes], ...], bytes]


class _Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.closed = False

    def get_extra_info(self, _name: str) -> Any:
        return None

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.sent += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        """The bytes are here already."""

    resume_reading = pause_reading


class _Hub:
    """A server that answers at once with what it was asked."""

    def __init__(self) -> None:
        self.limits = ServerLimits(max_head_bytes=64 * 1024, max_headers=10_000)
        self.state = ServerState()
        self.door = Door(Access())
        self.buffered = 0
        self.date = b"Date: Mon, 23 Nov 2026 00:00:00 GMT\r\n"
        self.asked: list[_Asked] = []
        self.open: list[Connection] = []

    def opened(self, connection: Connection) -> None:
        self.open.append(connection)

    def closed(self, connection: Connection) -> None:
        self.open.remove(connection)

    def proved(self, connection: Connection) -> None:
        raise BrokenPromiseError("nothing can be proved here")

    def dispatch(self, exchange: Exchange) -> None:
        self.asked.append((exchange.method, exchange.target, tuple(exchange.headers), exchange.body))
        environ = build_environ(exchange)
        require(environ["PATH_INFO"].startswith("/"), "a path begins with a slash")
        require(environ["wsgi.input"].read() == exchange.body, "the body is what was sent")
        lengths = [int(value) for name, value in exchange.headers if name == b"content-length"]
        require(lengths in ([], [len(exchange.body)]), "a body is as long as it is said to be, and is said once")
        require(all(name != b"transfer-encoding" for name, _ in exchange.headers), "no coded body is read")
        exchange.take()
        answer = Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", b"ok")
        asyncio.get_running_loop().call_soon(exchange.caller.answered, exchange, answer)

    def may_stay(self, _connection: Connection) -> bool:
        return True

    def relieve(self, _connection: Connection) -> None:
        raise BrokenPromiseError("an input is never that large")

    def come_again(self, _exchange: Exchange, _reason: str) -> None:
        raise BrokenPromiseError("there is no line here")


async def _serve(pieces: list[bytes]) -> tuple[list[_Asked], bytes]:
    hub, wire = _Hub(), _Wire()
    connection = Connection(cast("Any", hub), context=cast("Any", object()))
    connection.connection_made(cast("Any", wire))
    for piece in pieces:
        if wire.closed:
            break
        connection.data_received(piece)
        for _ in range(4):  # answers, and requests that waited behind them
            await asyncio.sleep(0)
    for _ in range(2 * hub.limits.max_pipelined):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    require(hub.buffered == 0, "no byte stays counted when the connection has gone")
    require(not hub.open, "no connection stays counted either")
    return hub.asked, bytes(wire.sent)


def _require_answers(sent: bytes, asked: int) -> None:
    """What was written is a row of whole answers, no more than requests and one refusal."""
    rest, count = sent, 0
    while rest:
        if rest.startswith(_CONTINUE):
            rest = rest.removeprefix(_CONTINUE)
            continue
        head = _STATUS.match(rest)
        length = None if head is None else _LENGTH.search(head[0])
        if head is None or length is None:
            raise BrokenPromiseError("an answer begins with its status and headers, and says how long it is")
        end = head.end() + int(length[1])
        require(len(rest) >= end, "an answer is whole")
        rest, count = rest[end:], count + 1
    require(count <= asked + 1, "no more answers than requests and one refusal")


def run_http(raw: bytes) -> None:
    """The first byte cuts the rest."""
    cut, stream = raw[:1], raw[1:]
    step = 1 + (cut[0] if cut else 0)
    loop = asyncio.new_event_loop()
    try:
        whole, answered = loop.run_until_complete(_serve([stream]))
        pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
        parts, answered_parts = loop.run_until_complete(_serve(pieces))
    finally:
        loop.close()
    _require_answers(answered, len(whole))
    _require_answers(answered_parts, len(parts))
    require(whole == parts[: len(whole)] or parts == whole[: len(parts)], "what is asked does not depend on the cuts")


def streams() -> Iterator[bytes]:
    """Requests as the API server sends them, and those that mean to confuse."""
    host = b"Host: gate\r\n"
    post = b"POST /v1/admit/production?timeout=10s HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\n"
    yield b"\x20" + post + b"Content-Length: 2\r\n\r\n{}"
    yield b"\x03" + (post + b"Content-Length: 2\r\n\r\n{}") * 3
    yield b"\x00" + post + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    yield b"\x07" + post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}}"
    yield b"\x05" + post + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    yield b"\x40" + post + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}"
    yield b"\xff" + b"GET /healthz HTTP/1.0\r\n\r\n" + b"GET http://a/%2e%2e HTTP/1.1\r\n" + host + b"\r\n"
    yield b"\x01" + b"GET / HTTP/1.1\r\n" + host + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    yield b"\x02" + b"CONNECT a:1 HTTP/1.1\r\n" + host + b"\r\n" + b"GET / HTTP/1.1\r\n" + host + host + b"\r\n"
    yield b"\x10" + b"GET /a?b#c HTTP/1.1\r\n" + host + b"X_Y: z\r\n A: folded\r\n\r\n"


RUNS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]]]]] = {"http": (run_http, streams)}
