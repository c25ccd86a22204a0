"""One connection of a caller: bytes to requests by httptools, with a limit to everything (RFC 9112).

Nothing here blocks, and nothing waits without an end: ``deadline`` says when the server's clock calls ``expire``. A
request goes to a thread when its last byte has come; until then it costs no more than its bytes.
"""

from __future__ import annotations

import asyncio
import enum
import ssl
import time
from collections import deque
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

import httptools

from webhook.server_callers import STRANGER_BODY_BYTES, Door, Lane, Standing
from webhook.server_framing import Refusal, origin_form, read_framing
from webhook.server_room import Guest
from webhook.server_state import ServerLimits, ServerState
from webhook.server_work import Answer, Exchange, common_environ, render_error
from webhook.tls import find_caller, find_sans

NEVER: Final = float("inf")
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Hub(Protocol):
    """The server as its connections see it."""

    limits: ServerLimits
    state: ServerState
    door: Door
    buffered: int
    date: bytes

    def opened(self, connection: Connection) -> None:
        """A handshake is done."""
        ...

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        ...

    def proved(self, connection: Connection) -> None:
        """It has shown that it is known."""
        ...

    def dispatch(self, exchange: Exchange) -> None:
        """Find a thread; where too many wait, somebody is told to come again at once."""
        ...

    def come_again(self, exchange: Exchange, reason: str) -> None:
        """Answer 503 for one of ``OVERLOADS``."""
        ...

    def may_stay(self, connection: Connection) -> bool:
        """Whether the connection may have another request after this answer."""
        ...

    def relieve(self, connection: Connection) -> None:
        """Bodies take too much memory: let others make room, or raise the refusal of what this one reads."""
        ...


class Phase(enum.Enum):
    """What the next byte belongs to."""

    IDLE = "between requests"
    HEAD = "request line and headers"
    BODY = "body"
    REFUSED = "nothing that is read any more"
    CLOSING = "nothing: the last answer has been sent"


class Connection(asyncio.Protocol):
    """Reads requests, one after the other, and sends their answers in order.

    Attributes:
        context: the TLS context that it was accepted with; None for plain HTTP.
        guest: how it is counted: what it has proved, how often it was served, since when it is idle.
        greeting: the task that accepted it.
        deadline: loop time at which ``expire`` is called.
        lane: whose requests these are.
        unfinished: bytes of the body that is being read.
        held: bytes of all bodies that are kept for it.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        context: ssl.SSLContext | None,
        guest: Guest | None = None,
        greeting: asyncio.Task[None] | None = None,
    ) -> None:
        self._hub = hub
        self.context = context
        self.guest = guest or Guest("", plain=context is None, since=0.0)
        self.greeting = greeting
        self.deadline = NEVER
        self.lane = Lane("", self.guest.address)
        self.unfinished = 0
        self.held = 0
        self._loop = asyncio.get_running_loop()
        self._phase = Phase.IDLE
        self._active: Exchange | None = None
        self._ahead: deque[Exchange] = deque()
        self._refusal: Refusal | None = None
        self._stalled = False
        self._paused = False
        self._environ: dict[str, Any] = {}
        self._environ_until = NEVER
        self._begin()

    # -- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done: who is it?"""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own do not derive from it
        self._parser = httptools.HttpRequestParser(self)
        peer = transport.get_extra_info("peercert")
        (names, until), sans = find_caller(peer), find_sans(peer)
        if names or sans:
            self._environ_until = until
        self._environ = self._describe(names, sans)
        self._certified = self._hub.door.certifies(names, sans)
        if self._certified:
            self.lane = Lane((names or sans)[0], self.guest.address)
        self.guest.since = time.monotonic()
        self.deadline = self._loop.time() + self._hub.limits.keep_alive_s
        self._hub.opened(self)
        if self._certified:
            self._hub.proved(self)

    def _describe(self, names: tuple[str, ...] = (), sans: tuple[str, ...] = ()) -> dict[str, Any]:
        local = self._transport.get_extra_info("sockname") or ("", 0)
        remote = self._transport.get_extra_info("peername") or ("", 0)
        return common_environ(
            scheme="http" if self.context is None else "https",
            server=(str(local[0]), int(local[1])),
            remote=str(remote[0]),
            state=self._hub.state,
            caller_names=names,
            caller_sans=sans,
        )

    def data_received(self, data: bytes) -> None:
        """Bytes came; requests that are complete go to the threads."""
        if self._phase in {Phase.REFUSED, Phase.CLOSING}:
            return  # discarded, so that the last answer is not lost to a reset
        before = self._heads
        try:
            self._parser.feed_data(data)
            if self._phase is Phase.HEAD:
                # A head that began in this very chunk is bounded by the chunk.
                self._head_raw += len(data) if self._heads == before else 0
                if self._head_raw > self._hub.limits.max_head_bytes:
                    self._refuse(Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large"))
        except httptools.HttpParserUpgrade:
            self._refuse(Refusal(HTTPStatus.BAD_REQUEST, "upgrade_refused"))
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, Refusal):
                raise
            self._refuse(cause)
        except httptools.HttpParserError:
            self._refuse(Refusal(HTTPStatus.BAD_REQUEST, "request_invalid"))
        self._advance()

    def eof_received(self) -> bool:
        """Keep a half-closed connection while it has an answer to come (TLS closes it in any case)."""
        return self._active is not None and self.context is None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why is of no interest
        """Nobody is there any more: free what is held."""
        self.deadline = NEVER
        self._phase = Phase.CLOSING
        if self._active is not None:
            self._active.take()  # nobody is left to be told, if no thread has begun
            self._active = None
        self._ahead.clear()
        self._hub.buffered -= self.held
        self.held = self.unfinished = 0
        self._hub.closed(self)

    def pause_writing(self) -> None:
        """The caller does not take its answer: it has some time, and gets no other meanwhile."""
        self._stalled = True
        self.deadline = self._loop.time() + self._hub.limits.write_timeout_s

    def resume_writing(self) -> None:
        """The caller reads again."""
        self._stalled = False
        self._rest()
        self._advance()

    # -- the parser's side; a Refusal raised here comes out of feed_data()

    def _begin(self) -> None:
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._head_raw = 0
        self._heads = 0
        self._received = 0.0
        self._next: Exchange | None = None
        self._chunks: list[bytes] = []
        self._length = 0

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if len(self._ahead) >= self._hub.limits.max_pipelined:
            raise Refusal(HTTPStatus.BAD_REQUEST, "pipelined_too_far")
        self._target, self._headers, self._head_bytes, self._head_raw = b"", [], 0, 0
        self._heads += 1
        self._received = time.monotonic()
        self._phase = Phase.HEAD
        if self._active is None:
            self.deadline = self._loop.time() + self._hub.limits.head_timeout_s
        elif not self._paused:
            self._paused = True  # one at a time: what is sent ahead waits in the kernel
            self._transport.pause_reading()

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        headers, limits = self._headers, self._hub.limits
        headers.append((name.lower(), value))
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > limits.max_head_bytes or len(headers) > limits.max_headers:
            raise Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large")

    def on_headers_complete(self) -> None:
        """Everything that can be refused without the body is refused here."""
        parser, limits = self._parser, self._hub.limits
        if len(self._target) > limits.max_head_bytes:
            raise Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, "target_too_long")
        method = parser.get_method().decode("ascii")
        if parser.should_upgrade() or method == "CONNECT":
            raise Refusal(HTTPStatus.BAD_REQUEST, "upgrade_refused")
        version = parser.get_http_version()
        if version not in {"1.1", "1.0"}:
            raise Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "version_not_supported")
        self._length, continues = read_framing(self._headers, method=method, version=version)
        target = origin_form(self._target)
        standing = self._find_standing(method, target)
        self._next = Exchange(
            self,
            method=method,
            target=target,
            headers=self._headers,
            environ=self._environ,
            received=self._received,
            keep_alive=version == "1.1" and parser.should_keep_alive(),
            lane=self.lane,
            review=method == "POST" and standing is not Standing.STRANGER,
        )
        self._chunks, self._phase = [], Phase.BODY
        if self._active is None and self._length:
            self.deadline = self._loop.time() + limits.body_timeout_s
        if continues and self._active is None:
            self._transport.write(_CONTINUE)

    def _find_standing(self, method: str, target: bytes) -> Standing:
        """What the caller may ask for, and how much it may send, before anything of it is read."""
        if self.context is None:  # nothing that is served in plain HTTP reads a body, nor asks who it is
            standing = Standing.STRANGER
        else:
            self._forget_expired()
            standing = self._hub.door.judge(method, target, certified=self._certified)
        most = STRANGER_BODY_BYTES if standing is Standing.STRANGER else self._hub.limits.max_body_bytes
        if self._length > most:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "review_too_large")
        if standing is Standing.KNOWN:
            self._hub.proved(self)
        return standing

    def _forget_expired(self) -> None:
        """A name counts until its certificate ends, which may be while the connection is open."""
        if self._environ_until < time.time():
            self._environ_until, self._certified = NEVER, False
            self._environ = self._describe()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._chunks.append(body)
        size = len(body)
        self.unfinished += size
        self.held += size
        hub = self._hub
        hub.buffered += size
        if hub.buffered > hub.limits.max_buffered_bytes:
            hub.relieve(self)

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        exchange, chunks = self._next, self._chunks
        if exchange is None:
            return
        exchange.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._next, self._chunks, self.unfinished = None, [], 0
        self._phase = Phase.IDLE if exchange.keep_alive else Phase.REFUSED
        if self._active is None and not self._stalled and not self._ahead:
            self._judge(exchange)
        else:
            self._ahead.append(exchange)

    # -- requests in, answers out

    def _judge(self, exchange: Exchange) -> None:
        self._forget_expired()
        exchange.environ = self._environ
        self._active, self.deadline = exchange, NEVER
        self.guest.busy = True
        self._hub.dispatch(exchange)

    def answered(self, exchange: Exchange, answer: Answer) -> None:
        """Send the answer; loop only."""
        if self._active is not exchange:
            return  # the caller has gone
        self._active = None
        self.guest.busy = bool(self._ahead)
        size = len(exchange.body)
        self.held -= size
        self._hub.buffered -= size
        stay = exchange.keep_alive and not answer.close and self._hub.may_stay(self)
        self._write(answer, stay=stay)
        self.guest.served += 1
        if not stay:
            self.close()
            return
        self._rest()
        if self._ahead or self._refusal is not None or self._paused:
            self._loop.call_soon(self._advance)  # not a call from here: a long line would be a deep stack

    def _write(self, answer: Answer, *, stay: bool) -> None:
        end = b"\r\n" if stay else b"Connection: close\r\n\r\n"
        self._transport.write(b"".join((answer.head, self._hub.date, end, answer.body)))

    def _rest(self) -> None:
        """Set the clock for whatever comes next."""
        if self._stalled or self._active is not None or self._phase in {Phase.REFUSED, Phase.CLOSING}:
            return
        limits, self.guest.since = self._hub.limits, time.monotonic()
        self.deadline = self._loop.time() + {
            Phase.IDLE: limits.keep_alive_s, Phase.HEAD: limits.head_timeout_s, Phase.BODY: limits.body_timeout_s
        }[self._phase]  # fmt: skip

    def _advance(self) -> None:
        """Begin the next request, or send the refusal once everything before it is answered."""
        if self._active is not None or self._stalled or self._phase is Phase.CLOSING:
            return
        if self._ahead:
            self._judge(self._ahead.popleft())
        elif self._refusal is not None:
            self._send_refusal(self._refusal)
        elif self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _refuse(self, refusal: Refusal) -> None:
        if self._phase is Phase.REFUSED:
            return  # what follows the last request of a connection is nobody's business
        self._refusal, self._phase = refusal, Phase.REFUSED
        self._next, self._chunks = None, []
        self._hub.buffered -= self.unfinished
        self.held -= self.unfinished
        self.unfinished = 0

    def refuse(self, status: HTTPStatus, code: str, *, retry: bool = False) -> None:
        """Refuse what is being read, after what came before it is answered."""
        self._refuse(Refusal(status, code, retry=retry))
        self._advance()

    def _send_refusal(self, refusal: Refusal) -> None:
        self._refusal = None
        self._hub.state.count_refusal(refusal.code, overload="bodies" if refusal.retry else "")
        self._write(render_error(refusal.status, refusal.code, close=True, retry=refusal.retry), stay=False)
        if self.context is not None:
            self.close()  # the TLS layer discards what still comes until both sides have said goodbye
            return
        self._phase = Phase.CLOSING
        self.deadline = self._loop.time() + self._hub.limits.linger_s
        if self._transport.can_write_eof():
            self._transport.write_eof()

    # -- the server's side

    @property
    def busy(self) -> bool:
        """Whether an answer is owed."""
        return self._active is not None or bool(self._ahead)

    @property
    def known(self) -> bool:
        """Whether it has proved who it is."""
        return self.guest.known

    @property
    def waits(self) -> bool:
        """Whether its request waits in the line, so that it can be taken back."""
        return self._active is not None and not self._active.taken

    def give_way(self) -> None:
        """Refuse the body that is being read, or take back the one that waits: memory is needed."""
        if self.unfinished:
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", retry=True)
        elif (exchange := self._active) is not None and exchange.take():
            self._hub.come_again(exchange, "bodies")

    @property
    def quiet(self) -> bool:
        """Whether no request has begun."""
        return not self.busy and self._phase is Phase.IDLE

    def expire(self) -> None:
        """The deadline has passed."""
        self._hub.state.events["timed_out"] += self._stalled or self._phase is not Phase.IDLE
        if self._stalled or self._phase in {Phase.REFUSED, Phase.CLOSING}:
            self._transport.abort()
        elif self._phase is Phase.IDLE:
            self.close()
        else:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, "request_timeout")

    def close(self) -> None:
        """Send what is written, then end; not longer than a caller may take to read."""
        self._phase = Phase.CLOSING
        self.deadline = self._loop.time() + self._hub.limits.write_timeout_s
        self._transport.close()

    def abort(self) -> None:
        """End at once."""
        self._transport.abort()
