"""Callers that stall, dawdle, flood or hoard: honest calls are answered in time all the same."""

from __future__ import annotations

import contextlib
import http.client
import resource
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from tests.e2e.processes import poll_until
from tests.simulators.serving import (
    ADMIT,
    HOST,
    PATIENCE_S,
    QUICK,
    Callers,
    Echo,
    Served,
    read_all,
    read_replies,
    read_reply,
    request,
    serving,
)
from webhook.server_ports import fitting_connections
from webhook.server_state import ServerLimits

DEADLINE_S = 5.0
SLOW = b"POST /v1/admit/production HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n{"


def hello() -> bytes:
    """The first bytes of a TLS handshake."""
    outgoing = ssl.MemoryBIO()
    session = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def honest_call_s(served: Served) -> float:
    """How long a call on a connection of its own takes, seconds."""
    begun = time.monotonic()
    with served.connect() as stream:
        stream.sendall(request(body=b"x" * 8000))
        assert read_reply(stream).status == 200
    return time.monotonic() - begun


def test_a_hundred_stalled_connections_leave_honest_calls_their_time(tmp_path: Path) -> None:
    first = hello()
    with serving(tmp_path, limits=ServerLimits()) as served, contextlib.ExitStack() as held:
        for number in range(100):
            if number % 4 < 2:
                raw = held.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_S))
                raw.sendall(first[: len(first) // 2] if number % 4 else b"")
                continue
            stream = held.enter_context(served.connect())
            stream.sendall(b"POST / HTTP/1.1\r\nHost: loc" if number % 4 == 2 else request())
        assert poll_until(lambda: served.server.state.connections == 100, PATIENCE_S)
        with Callers(lambda: [served.port], served.context()) as callers:
            callers.wait_for(500)
        assert callers.failures == []
        assert max(honest_call_s(served) for _ in range(10)) < DEADLINE_S
        assert served.server.state.connections >= 100


def test_a_hundred_slow_bodies_leave_honest_calls_their_time(tmp_path: Path) -> None:
    with serving(tmp_path, limits=replace(ServerLimits(), body_timeout_s=4.0)) as served:
        with contextlib.ExitStack() as held:
            slow = [held.enter_context(served.connect()) for _ in range(100)]
            for stream in slow:
                stream.sendall(SLOW)
            ended = threading.Event()

            def dawdle() -> None:
                while not ended.wait(0.1):
                    for stream in slow:
                        with contextlib.suppress(OSError):
                            stream.sendall(b" ")

            dawdler = threading.Thread(target=dawdle)
            dawdler.start()
            try:
                with Callers(lambda: [served.port], served.context()) as callers:
                    callers.wait_for(500)
                assert callers.failures == []
                assert max(honest_call_s(served) for _ in range(10)) < DEADLINE_S
                assert poll_until(lambda: served.server.state.events["timed_out"] == 100, PATIENCE_S)
            finally:
                ended.set()
                dawdler.join()
        assert poll_until(lambda: served.server.state.connections == 0, PATIENCE_S)
        assert served.server.buffered == 0


@pytest.mark.parametrize(
    "sent",
    [b"POST /v1/admit/production HT", b"POST / HTTP/1.1\r\nHost: localhost\r\nX: 1", SLOW],
    ids=["line", "header", "body"],
)
def test_what_is_not_finished_in_time_is_answered_408(tmp_path: Path, sent: bytes) -> None:
    with serving(tmp_path) as served, served.connect() as stream:
        stream.sendall(sent)
        assert [reply.status for reply in read_replies(read_all(stream))] == [408]


def test_bytes_that_trickle_do_not_extend_the_time(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.connect() as stream:
        stream.sendall(b"GET /")
        stream.settimeout(0.05)
        received, begun = b"", time.monotonic()
        while not received and time.monotonic() - begun < PATIENCE_S:
            with contextlib.suppress(OSError):
                stream.sendall(b"a")
            with contextlib.suppress(TimeoutError):
                received = stream.recv(100)
        assert received.startswith(b"HTTP/1.1 408")


def test_a_handshake_that_is_not_finished_ends(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        for sent in (b"", hello()[:50]):
            with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_S) as raw:
                raw.sendall(sent)
                assert read_all(raw) == b""
        assert poll_until(lambda: served.server.state.events["handshake_failed"] == 2, PATIENCE_S)
        assert honest_call_s(served) < DEADLINE_S


def test_a_caller_that_does_not_read_is_dropped(tmp_path: Path) -> None:
    class Verbose(Echo):
        def _app(self, environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
            start("200 OK", [])
            return [b"x" * 10_000_000]

    with serving(tmp_path, lifecycle=Verbose()) as served, served.connect() as stream:
        stream.sendall(request() * 4)
        assert poll_until(lambda: served.server.state.events["timed_out"] == 1, PATIENCE_S)
        assert poll_until(lambda: served.server.state.connections == 0, PATIENCE_S)


@contextlib.contextmanager
def asking(served: Served, path: str, count: int) -> Iterator[list[ssl.SSLSocket]]:
    with contextlib.ExitStack() as held:
        streams = [held.enter_context(served.connect()) for _ in range(count)]
        for stream in streams:
            stream.sendall(request(path=path))
        yield streams


def test_too_many_waiting_reviews_are_told_to_come_again(tmp_path: Path) -> None:
    with serving(tmp_path, limits=replace(QUICK, max_waiting=3, waiting_s=60.0)) as served:
        served.lifecycle.open.clear()
        with asking(served, "/held", 2) as judged:
            for _ in judged:
                assert served.lifecycle.entered.acquire(timeout=PATIENCE_S)
            with asking(served, "/waits", 3) as waiting:
                assert poll_until(lambda: served.server.state.waiting == 3, PATIENCE_S)
                with asking(served, ADMIT, 1) as (refused,):
                    reply = read_reply(refused)
                    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
                    assert "connection" not in reply.headers
                    assert read_reply_of_probe(served) == 200  # alive, and able to say so
                    served.lifecycle.open.set()
                    assert [read_reply(stream).status for stream in (*judged, *waiting)] == [200] * 5
                    refused.sendall(request())
                    assert read_reply(refused).status == 200
        assert served.server.state.events["overloaded"] == 1


def read_reply_of_probe(served: Served) -> int:
    with served.connect() as stream:
        stream.sendall(request("GET", "/healthz"))
        return read_reply(stream).status


def test_a_review_that_waits_too_long_is_told_to_come_again(tmp_path: Path) -> None:
    with serving(tmp_path, limits=replace(QUICK, waiting_s=0.5)) as served:
        served.lifecycle.open.clear()
        with asking(served, "/held", 2) as judged:
            for _ in judged:
                assert served.lifecycle.entered.acquire(timeout=PATIENCE_S)
            with asking(served, ADMIT, 2) as late:
                assert [read_reply(stream).status for stream in late] == [503, 503]
            served.lifecycle.open.set()
            assert [read_reply(stream).status for stream in judged] == [200, 200]


def test_a_review_whose_caller_has_gone_is_not_judged(tmp_path: Path) -> None:
    with serving(tmp_path, threads=1, limits=replace(QUICK, waiting_s=60.0)) as served:
        served.lifecycle.open.clear()
        with asking(served, "/held", 1) as (judged,):
            assert served.lifecycle.entered.acquire(timeout=PATIENCE_S)
            with asking(served, "/held", 1):
                assert poll_until(lambda: served.server.state.waiting == 1, PATIENCE_S)
            assert poll_until(lambda: served.server.state.waiting == 0, PATIENCE_S)
            served.lifecycle.open.set()
            assert read_reply(judged).status == 200
            judged.sendall(request())
            assert read_reply(judged).status == 200
        assert not served.lifecycle.entered.acquire(timeout=0.01)


def test_connections_beyond_the_cap_take_the_place_of_strangers(tmp_path: Path) -> None:
    with serving(tmp_path, limits=replace(QUICK, max_connections=10, handshake_timeout_s=60.0)) as served:
        with served.connect() as known, contextlib.ExitStack() as held:
            known.sendall(request())
            read_reply(known)
            for _ in range(40):
                held.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_S))
            assert honest_call_s(served) < DEADLINE_S
            assert poll_until(lambda: served.server.state.connections <= 10, PATIENCE_S)
            known.sendall(request())
            assert read_reply(known).status == 200  # who was served before is not the one to go
        assert served.server.state.events["evicted"] >= 30


def test_the_cap_holds_when_all_are_known(tmp_path: Path) -> None:
    with (
        serving(tmp_path, limits=replace(QUICK, max_connections=5)) as served,
        contextlib.ExitStack() as held,
    ):
        streams = [held.enter_context(served.connect()) for _ in range(5)]
        for stream in streams:
            stream.sendall(request())
            read_reply(stream)
        assert honest_call_s(served) < DEADLINE_S
        streams[-1].sendall(request())
        assert read_reply(streams[-1]).status == 200
        assert read_all(streams[0]) == b""  # the one that was idle for longest


def test_bodies_of_all_together_are_bounded(tmp_path: Path) -> None:
    limits = replace(QUICK, max_buffered_bytes=1_000_000, body_timeout_s=60.0)
    with serving(tmp_path, limits=limits) as served, served.connect() as large, served.connect() as small:
        head = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 900000\r\n\r\n"
        large.sendall(head + b"x" * 800_000)
        assert poll_until(lambda: served.server.buffered == 800_000, PATIENCE_S)
        small.sendall(head + b"x" * 300_000)
        reply = read_reply(large)
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        small.sendall(b"x" * 600_000)
        assert read_reply(small).heard["bytes"] == 900_000
        assert served.server.buffered == 0


def test_the_plain_port_takes_no_large_bodies(tmp_path: Path) -> None:
    with serving(tmp_path, status_port=0) as served:
        assert served.server.status_port is not None
        with socket.create_connection(("127.0.0.1", served.server.status_port), timeout=PATIENCE_S) as stream:
            stream.sendall(b"POST /healthz HTTP/1.1\r\n" + HOST + b"Content-Length: 7000000\r\n\r\nx")
            assert read_reply(stream).status == 413
        assert served.server.buffered == 0


def test_open_files_bound_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert fitting_connections(1024) == 128
    monkeypatch.setattr(resource, "getrlimit", lambda _: (65536, 65536))
    assert fitting_connections(1024) == 1024


def test_running_out_of_files_is_survived(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving(tmp_path, limits=replace(QUICK, handshake_timeout_s=60.0)) as served:
        assert honest_call_s(served) < DEADLINE_S
        with contextlib.ExitStack() as held:
            used = max(int(name.name) for name in Path("/proc/self/fd").iterdir())
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
            try:
                with contextlib.suppress(OSError):
                    for _ in range(40):
                        held.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_S))
                held.close()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert honest_call_s(served) < DEADLINE_S


def test_http_client_of_the_standard_library_is_served(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        connection = http.client.HTTPSConnection("localhost", served.port, timeout=PATIENCE_S, context=served.context())
        for method, body in (("GET", None), ("POST", b"{}"), ("HEAD", None)):
            connection.request(method, "/x", body)
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (200, method != "HEAD")
        connection.close()
