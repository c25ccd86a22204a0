"""The HTTP server of ``placet serve``: one process, one event loop for all connections, a few threads that judge.

Life of the process: ``run_server`` listens; SIGHUP reads everything again; SIGTERM drains: for ``drain_s`` every answer
closes its connection and /readyz says 503, while new connections are still welcome, because callers learn only slowly
that this replica goes away. After that idle connections end, what is being judged is answered, and the process ends. A
second signal ends the waiting, a third one the judging. SIGINT is somebody at a terminal: it drains without waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import gc
import logging
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, Protocol, Self
from wsgiref.types import WSGIApplication

import uvloop

from placet.config_server import ServerConfig
from placet.errors import ConfigError
from webhook.server_callers import Door
from webhook.server_connection import Connection
from webhook.server_framing import Refusal
from webhook.server_ports import begin_listening, fitting_connections, only_status, open_listener, without_metrics
from webhook.server_room import RESERVE, Guest, Room, find_heaviest, weigh
from webhook.server_state import ServerLimits, ServerState, limits_of
from webhook.server_work import Exchange, Workers, render_error
from webhook.settings import Access
from webhook.tls import Certificates

_LOG: Final = logging.getLogger("placet.webhook.server")
_ACCEPT_AT_ONCE: Final = 32
_ACCEPT_PAUSE_S: Final = 0.1
_TICK_S: Final = 0.25
_FRESH_S: Final = 1.0
_TLS_GOODBYE_S: Final = 2.0
_SWITCH_S: Final = 0.0005
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Lifecycle(Protocol):
    """What the server serves, and tells what happens to the process."""

    @property
    def app(self) -> WSGIApplication:
        """Stays the same object; its insides are swapped on reload."""
        ...

    def drain(self) -> None:
        """SIGTERM came: /readyz answers 503 from now on. Must not block."""
        ...

    def reload(self) -> None:
        """SIGHUP came: read everything again. May block; called in a thread of its own."""
        ...

    def close(self) -> None:
        """The last answer has been given."""
        ...


def run_server(
    lifecycle: Lifecycle, settings: ServerConfig, *, port: int | None = None, access: Access | None = None
) -> None:
    """Serve until a signal has been worked off; closes ``lifecycle`` in any case.

    Args:
        lifecycle: what is served.
        settings: addresses, certificates, threads, ``drain_s``.
        port: instead of ``settings.port``.
        access: who may ask for a review; others are turned away before their bodies are read.

    Raises:
        ConfigError: a certificate can't be used, or nothing can listen there.
    """
    try:
        with Server(lifecycle, settings, port=port, access=access) as server:
            # What is there now stays: the collector need not walk it again and again.
            gc.collect()
            gc.freeze()
            # The loop gives up the interpreter at each record of TLS that it reads, and waits for it so long: with the
            # 5 ms that are usual, a few large bodies beside a busy thread would stop it for seconds.
            sys.setswitchinterval(_SWITCH_S)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(server.serve(signals=True))
    finally:
        lifecycle.close()


class Server:
    """Listeners, connections, threads and the clock that watches them.

    Attributes:
        limits: how much, and for how long.
        state: what the application may know of the server.
        door: knows callers from strangers.
        buffered: bytes of all bodies that are held.
        date: the Date header of this second.

    Example::

        with Server(lifecycle, config.server) as server:
            uvloop.run(server.serve(signals=True))
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        settings: ServerConfig,
        *,
        port: int | None = None,
        limits: ServerLimits | None = None,
        access: Access | None = None,
    ) -> None:
        """Check the certificates and take the ports; nothing is served yet.

        Args:
            lifecycle: what is served.
            settings: addresses, certificates, threads, ``drain_s``, limits.
            port: instead of ``settings.port``.
            limits: instead of those of ``settings``.
            access: who may ask for a review; None tells nobody apart, and the application alone refuses.

        Raises:
            ConfigError: a certificate can't be used, or nothing can listen there.
        """
        self.limits = limits or limits_of(settings)
        self.state = ServerState()
        self.door = Door(access or Access())
        self.buffered = 0
        self.date = b""
        self._lifecycle = lifecycle
        self._drain_s = settings.drain_s
        self._certificates = Certificates.load(settings, events=self.state.events)
        self.state.certificates = self._certificates
        self._connections: set[Connection] = set()
        self._greeted: set[asyncio.Task[None]] = set()
        most = fitting_connections(self.limits.max_connections + self.limits.max_plain) - self.limits.max_plain
        self._room = Room(self.state, self.limits, most=max(most, 1))
        app = without_metrics(lifecycle.app) if settings.status_port is not None else lifecycle.app
        self._reviews = Workers(app, threads=settings.threads, waiting=self.limits.max_waiting, name="review")
        self._probes = Workers(app, threads=1, waiting=self.limits.max_waiting, name="probe")
        self._status = Workers(only_status(lifecycle.app), threads=1, waiting=16, name="status")
        self._main = open_listener(settings.host, settings.port if port is None else port)
        self._plain: socket.socket | None = None
        if settings.status_port is not None:
            try:
                self._plain = open_listener(settings.host, settings.status_port)
            except ConfigError:
                self._main.close()
                raise
        self._background: set[asyncio.Task[None]] = set()
        self._signals = 0
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._main.close()
        if self._plain is not None:
            self._plain.close()

    @property
    def port(self) -> int:
        """Of the TLS listener."""
        return int(self._main.getsockname()[1])

    @property
    def status_port(self) -> int | None:
        """Of the plain listener."""
        return None if self._plain is None else int(self._plain.getsockname()[1])

    # -- life

    async def serve(self, *, signals: bool = False, started: Callable[[], None] | None = None) -> None:
        """Serve until ``ask_to_stop`` (or a signal) has been worked off.

        Args:
            signals: handle SIGTERM, SIGINT and SIGHUP; main thread only.
            started: called once connections are accepted.
        """
        self._loop = loop = asyncio.get_running_loop()
        loop.set_exception_handler(_log_unexpected)
        self._stopping, self._hurried, self._gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        if signals:
            loop.add_signal_handler(signal.SIGTERM, self.ask_to_stop)
            loop.add_signal_handler(signal.SIGINT, functools.partial(self.ask_to_stop, at_once=True))
            loop.add_signal_handler(signal.SIGHUP, self.ask_to_reload)
        for workers in (self._reviews, self._probes, self._status):
            workers.start(loop)
        self._tick()
        watching = threading.Event()
        threading.Thread(target=self._watch, args=(watching,), name="certificates", daemon=True).start()
        self._listen(self._main)
        if self._plain is not None:
            self._listen(self._plain)
        host, port = self._main.getsockname()[:2]
        _LOG.info("listening on %s port %s", host, port)
        if started is not None:
            started()
        try:
            await self._stopping.wait()
            await self._drain()
        finally:
            watching.set()
            self._ended = True
            for workers in (self._reviews, self._probes, self._status):
                workers.stop()

    def ask_to_stop(self, *, at_once: bool = False) -> None:
        """Begin to drain; again: wait no more; once more: leave what is being judged. Loop only."""
        self._signals += 1 + (at_once and self._signals == 0)
        self._stopping.set()
        if self._signals > 1:
            self._hurried.set()

    def ask_to_reload(self) -> None:
        """Read configuration, data and certificates again, in a thread. Loop only."""

        def reload() -> None:
            self._certificates.refresh()
            try:
                self._lifecycle.reload()
            except Exception:  # noqa: BLE001 - whatever it is, what was in force stays so
                _LOG.exception("reload failed, what was in force stays so")

        threading.Thread(target=reload, name="reload", daemon=True).start()

    async def _drain(self) -> None:
        self.state.draining = True
        self._lifecycle.drain()
        wait_s = 0.0 if self._hurried.is_set() else self._drain_s
        _LOG.info("draining for %g s, %d connections are open", wait_s, self.state.connections)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurried.wait(), wait_s)
        self._stop_listening(self._main)
        begun = self._loop.time()
        while self._connections or self._greeted:
            waited = self._loop.time() - begun
            for connection in list(self._connections):
                # A connection that has just been made is about to carry its first request.
                if connection.quiet and (connection.guest.served or waited > _FRESH_S):
                    connection.close()
            if waited > self.limits.finish_s or self._signals > 2:  # noqa: PLR2004 - the third signal
                _LOG.error("gave up %d connections that did not end", len(self._connections))
                break
            self._gone.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), _TICK_S)
        if self._plain is not None:
            self._stop_listening(self._plain)
        for connection in list(self._connections):
            connection.abort()
        for task in self._greeted:
            task.cancel()

    def _watch(self, ended: threading.Event) -> None:
        """Look at the certificate files now and then: their content, because mounted Secrets change by links."""
        while not ended.wait(self.limits.poll_s):
            try:
                self._certificates.refresh()
            except Exception:  # noqa: BLE001 - the watch must go on
                _LOG.exception("the certificates could not be looked at")

    def _tick(self) -> None:
        """The one timer: all deadlines are looked at together, which costs less than a timer a request."""
        if self._ended:
            return
        moment = self._loop.time()
        for connection in [one for one in self._connections if one.deadline <= moment]:
            connection.expire()
        for workers in (self._reviews, self._probes, self._status):
            for exchange in workers.give_up(time.monotonic() - self.limits.waiting_s):
                self.come_again(exchange, "late")
        self.state.waiting = self._reviews.waiting
        self.date = f"Date: {formatdate(usegmt=True)}\r\n".encode("ascii")
        self._loop.call_later(_TICK_S, self._tick)

    # -- connections

    def _listen(self, listener: socket.socket) -> None:
        begin_listening(listener)
        self._loop.add_reader(listener, self._accept, listener)

    def _stop_listening(self, listener: socket.socket) -> None:
        self._loop.remove_reader(listener)
        while self._accept(listener, again=False):
            pass  # those who connected before this moment are served
        listener.close()

    def _accept(self, listener: socket.socket, *, again: bool = True) -> bool:
        """Take what has connected; whether there may be more."""
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                accepted, remote = listener.accept()
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as exc:
                if exc.errno in _EXHAUSTED:
                    self._room.make_room()
                    if again:
                        self._loop.remove_reader(listener)
                        self._loop.call_later(_ACCEPT_PAUSE_S, self._accept_again, listener)
                    return False
                continue  # that caller has gone already
            self._welcome(accepted, str(remote[0]), plain=listener is self._plain)
        return True

    def _accept_again(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:  # draining may have closed it
            self._loop.add_reader(listener, self._accept, listener)

    def _welcome(self, accepted: socket.socket, remote: str, *, plain: bool) -> None:
        guest = self._room.welcome(remote, plain=plain, since=time.monotonic())
        if guest is None:
            accepted.close()
            return
        accepted.setblocking(False)  # noqa: FBT003 - the standard library's
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = None if plain else self._certificates.context
        task = self._loop.create_task(self._greet(accepted, guest, context))
        guest.end = task.cancel
        self._greeted.add(task)
        task.add_done_callback(functools.partial(self._met, accepted, guest))
        self.state.connections = self._open

    async def _greet(self, accepted: socket.socket, guest: Guest, context: ssl.SSLContext | None) -> None:
        """The handshake; a failed one is the caller's affair, counted and no more."""
        task = asyncio.current_task()

        def made() -> Connection:
            return Connection(self, context=context, guest=guest, greeting=task)

        kinds: dict[str, Any] = {}
        if context is not None:
            kinds = {
                "ssl": context,
                "ssl_handshake_timeout": self.limits.handshake_timeout_s,
                "ssl_shutdown_timeout": _TLS_GOODBYE_S,
            }
        try:
            await self._loop.connect_accepted_socket(made, accepted, **kinds)
        except (OSError, asyncio.CancelledError):
            self._room.leave(guest)
            self.state.events["handshake_failed"] += 1

    def _met(self, accepted: socket.socket, guest: Guest, task: asyncio.Task[None]) -> None:
        self._greeted.discard(task)
        if task.cancelled():
            accepted.close()  # it made room before its first step: nobody else knows of it
            self._room.leave(guest)
        self.state.connections = self._open
        self._gone.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._room.leave(guest)
            _LOG.error("a connection could not be made", exc_info=error)

    @property
    def _open(self) -> int:
        return len(self._connections) + len(self._greeted)

    # -- what connections ask

    def opened(self, connection: Connection) -> None:
        """A handshake is done."""
        if connection.greeting is not None:
            self._greeted.discard(connection.greeting)
        self._room.met(connection.guest)
        connection.guest.end = connection.abort
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        self._room.leave(connection.guest)
        self.state.connections = self._open
        self._gone.set()

    def may_stay(self, connection: Connection) -> bool:
        """Not while draining, and not with the certificates of before: its caller was verified by older authorities."""
        if self.state.draining:
            return False
        return connection.context is None or connection.context is self._certificates.context

    def proved(self, connection: Connection) -> None:
        """It makes room for no stranger any more."""
        self._room.proved(connection.guest)

    def relieve(self, connection: Connection) -> None:
        """Bodies take too much memory: whoever holds the most makes room, which may be who sent the last bytes.

        What is being judged can't make room, so a flood may hold all of it for a while. Callers that hold little have
        a reserve beyond the limit for that time.
        """
        most = self.limits.max_buffered_bytes
        reserve = int(most * RESERVE)
        while self.buffered > most:
            heaviest = find_heaviest(self._connections)
            little = max(weigh(self._connections, one) for one in (heaviest or connection, connection))
            if little <= reserve and self.buffered <= most + reserve:
                return
            if heaviest is None or heaviest is connection:
                raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", retry=True)
            heaviest.give_way()

    def dispatch(self, exchange: Exchange) -> None:
        """Find a thread, or tell somebody to come again. Probes have one of their own: a gate full of work is alive."""
        if exchange.environ["wsgi.url_scheme"] == "http":
            workers = self._status
        else:
            workers = self._reviews if exchange.review else self._probes
        if (turned_away := workers.submit(exchange)) is not None:
            self.come_again(turned_away, "line")

    def come_again(self, exchange: Exchange, reason: str) -> None:
        """Answer 503; the API server tries again after ``Retry-After``, and refuses when it has no time for it."""
        self.state.count_refusal("overloaded", overload=reason)
        answer = render_error(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", close=False, retry=True)
        exchange.caller.answered(exchange, answer)


def _log_unexpected(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What the event loop can't give to anybody; broken connections are none of it."""
    error = context.get("exception")
    if isinstance(error, OSError):
        _LOG.debug("%s: %r", context.get("message"), error)
        return
    _LOG.error("%s", context.get("message"), exc_info=error)
