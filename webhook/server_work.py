"""From a request that has been read completely to its answer: the threads, and the WSGI call (PEP 3333)."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from http import HTTPStatus
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication

from webhook.server_line import FairLine
from webhook.server_state import CALLER_KEY, RECEIVED_KEY, SANS_KEY, STATE_KEY, ServerState

_LOG: Final = logging.getLogger("placet.webhook.server")
_KNOWN_NAMES_MAX: Final = 256
_HEAVY_BYTES: Final = 512 * 1024


class Answer(NamedTuple):
    """A response without its last header and the empty line: whether the connection ends is known when it is sent.

    Attributes:
        head: status line and headers, each with its line end.
        body: bytes after the head; empty for HEAD.
        close: the application wants the connection closed.
    """

    head: bytes
    body: bytes
    close: bool = False


class Caller(Protocol):
    """The connection that asked."""

    def answered(self, exchange: Exchange, answer: Answer) -> None:
        """Called in the event loop, once, unless the exchange was given up before a thread took it."""
        ...


class Exchange:
    """One request, complete.

    Attributes:
        caller: gets the answer.
        method: upper case.
        target: path and query as sent; begins with a slash.
        headers: names in lower case.
        body: exactly Content-Length bytes.
        environ: what every request of its connection has in common.
        received: ``time.monotonic()`` when its first byte came.
        keep_alive: the caller allows another request on this connection.
        submitted: ``time.monotonic()`` when it was put in the line.
        lane: whose it is, in the line.
        review: it asks for one, as far as its caller may; else it is a probe or the like.
        claim: whoever pops its one item owns the answer: a thread that judges, or the loop that gives it up.
    """

    __slots__ = (
        "body", "caller", "claim", "environ", "headers", "keep_alive", "lane", "method", "received", "review",
        "submitted", "target",
    )  # fmt: skip

    def __init__(
        self,
        caller: Caller,
        *,
        method: str,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        environ: dict[str, Any],
        received: float,
        keep_alive: bool,
        lane: Hashable = None,
        review: bool = True,
    ) -> None:
        self.caller = caller
        self.method = method
        self.target = target
        self.headers = headers
        self.body = b""
        self.environ = environ
        self.received = received
        self.submitted = received
        self.keep_alive = keep_alive
        self.lane = lane
        self.review = review
        self.claim = [None]

    @property
    def heavy(self) -> bool:
        """Whether it keeps a thread much longer than others do."""
        return len(self.body) > _HEAVY_BYTES

    @property
    def taken(self) -> bool:
        """Whether somebody owns the answer already."""
        return not self.claim

    def take(self) -> bool:
        """Become the one who answers; False when another is. Atomic between threads."""
        try:
            self.claim.pop()
        except IndexError:
            return False
        return True


class Workers:
    """A fixed number of threads with a bounded line before them, in which callers have their turns.

    They are daemons, and not a ``ThreadPoolExecutor``: a review that hangs must not keep the process from ending, and
    an executor's futures cost more than the hand-over itself.
    """

    def __init__(self, app: WSGIApplication, *, threads: int, waiting: int, name: str) -> None:
        self._app = app
        self._line: FairLine[Exchange] = FairLine(longest=waiting, threads=threads)
        self._tickets: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(threads)
        ]
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run; answers are handed to ``loop``."""
        self._loop = loop
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the threads end after what they are doing; does not wait."""
        self._stopping = True
        for _ in self._threads:
            self._tickets.put(False)  # noqa: FBT003 - a queue's item

    @property
    def waiting(self) -> int:
        """Requests in the line."""
        return self._line.sweep()

    def submit(self, exchange: Exchange) -> Exchange | None:
        """Put a request in the line; whom to tell to come again, if anybody: itself or another. Loop only."""
        exchange.submitted = time.monotonic()
        turned_away = self._line.put(exchange)
        if turned_away is not exchange:
            self._tickets.put(True)  # noqa: FBT003 - a queue's item
        return turned_away

    def give_up(self, before: float) -> list[Exchange]:
        """Take those out of the line that joined it before this ``time.monotonic()``. Loop only."""
        return self._line.give_up(before)

    def _work(self) -> None:
        loop, line = self._loop, self._line
        assert loop is not None  # noqa: S101 - start() has set it
        # A ticket wakes a thread, which then works for as long as there is something: a request that had to wait
        # because its lane held enough threads is begun by the next of them, without a ticket of its own.
        while self._tickets.get():
            while not self._stopping and (exchange := line.take()) is not None:
                answer = call_app(self._app, exchange)
                line.done(exchange)
                with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits for this answer any more
                    loop.call_soon_threadsafe(exchange.caller.answered, exchange, answer)
                del exchange, answer  # not kept until the next one comes


def common_environ(
    *,
    scheme: str,
    server: tuple[str, int],
    remote: str,
    state: ServerState,
    caller_names: tuple[str, ...],
    caller_sans: tuple[str, ...] = (),
) -> dict[str, Any]:
    """What all requests of one connection have in common."""
    environ: dict[str, Any] = {
        "SCRIPT_NAME": "",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "REMOTE_ADDR": remote,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        STATE_KEY: state,
    }
    if caller_names:
        environ[CALLER_KEY] = caller_names
    if caller_sans:
        environ[SANS_KEY] = caller_sans
    return environ


_known_names: Final[dict[bytes, str]] = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}


def _variable(name: bytes) -> str:
    """The environ's name of a header; "" for one that could pass for another."""
    known = _known_names.get(name)
    if known is None:
        known = "" if b"_" in name else "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        if len(_known_names) < _KNOWN_NAMES_MAX:  # callers choose names
            _known_names[name] = known
    return known


def build_environ(exchange: Exchange) -> dict[str, Any]:
    """The WSGI environ of a request."""
    environ = exchange.environ.copy()
    path, _, query = exchange.target.partition(b"?")
    if b"%" in path:
        path = unquote_to_bytes(path)
    environ["REQUEST_METHOD"] = exchange.method
    environ["PATH_INFO"] = path.decode("latin-1")
    environ["QUERY_STRING"] = query.decode("latin-1")
    environ["SERVER_PROTOCOL"] = "HTTP/1.1"
    environ["wsgi.input"] = io.BytesIO(exchange.body)
    environ[RECEIVED_KEY] = exchange.received
    for name, value in exchange.headers:
        variable = _variable(name)
        if not variable:
            continue
        text = value.decode("latin-1")
        environ[variable] = f"{environ[variable]},{text}" if variable in environ else text
    return environ


def call_app(app: WSGIApplication, exchange: Exchange) -> Answer:
    """Call the application; whatever goes wrong in it is a 500, and the trace goes to the log."""
    started: list[tuple[str, list[tuple[str, str]]]] = []
    chunks: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        if started and exc_info is None:
            raise AssertionError("start_response was called twice")
        started[:] = [(status, headers)]
        return chunks.append

    try:
        result: Iterable[bytes] = app(build_environ(exchange), start_response)
        try:
            chunks.extend(result)
        finally:
            if (close := getattr(result, "close", None)) is not None:
                close()
        return _render(*started[0], b"".join(chunks), exchange.method)
    except Exception:  # noqa: BLE001 - the one catch: a thread must outlive what it runs
        _LOG.exception("crashed method=%s", exchange.method)
        exchange.environ[STATE_KEY].events["crashed"] += 1
        return render_error(HTTPStatus.INTERNAL_SERVER_ERROR, "http_500", close=True)


def _render(status: str, headers: list[tuple[str, str]], body: bytes, method: str) -> Answer:
    close, sized, lines = False, False, [f"HTTP/1.1 {status}\r\n"]
    for name, value in headers:
        lowered = name.lower()
        if lowered == "connection":
            close = close or "close" in value.lower()
            continue
        sized = sized or lowered == "content-length"
        lines.append(f"{name}: {value}\r\n")
    bodiless = status[:3] in {"204", "304"}
    if not sized and not bodiless:
        lines.append(f"Content-Length: {len(body)}\r\n")
    head = "".join(lines)
    if head.count("\n") != len(lines) or head.count("\r") != len(lines):
        raise ValueError("a line end in a response header")
    return Answer(head.encode("latin-1"), b"" if bodiless or method == "HEAD" else body, close)


def render_error(status: HTTPStatus, code: str, *, close: bool, retry: bool = False) -> Answer:
    """What the server itself answers, in the form of the application's errors."""
    body = json.dumps({"error": status.phrase, "code": code}).encode() + b"\n"
    after = "Retry-After: 1\r\n" if retry else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{after}"
    )
    return Answer(head.encode("ascii"), body, close)
