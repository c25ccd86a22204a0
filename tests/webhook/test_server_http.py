"""Bytes on the wire: what is a request, what is refused, and how a connection ends (RFC 9112)."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.e2e.processes import poll_until
from tests.simulators.serving import (
    ADMIT,
    HOST,
    PATIENCE_S,
    QUICK,
    Reply,
    Served,
    read_all,
    read_replies,
    read_reply,
    request,
    serving,
)

POST = f"POST {ADMIT} HTTP/1.1\r\n".encode()
CLOSE = b"Connection: close\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), status_port=0) as running:
        yield running


def send(served: Served, *parts: bytes) -> list[Reply]:
    """Send over TLS, and read until the server ends the connection."""
    with served.connect() as stream:
        for part in parts:
            stream.sendall(part)
        return read_replies(read_all(stream))


def test_a_request_reaches_the_application_whole(served: Served) -> None:
    (reply,) = send(served, request(path=f"{ADMIT}?timeout=10s", body=b"x" * 100_000, extra=CLOSE))
    assert reply.status == 200
    assert reply.heard["bytes"] == 100_000
    assert (reply.heard["path"], reply.heard["query"]) == (ADMIT, "timeout=10s")
    assert "date" in reply.headers


def test_a_connection_serves_many_requests(served: Served) -> None:
    with served.connect() as stream:
        for size in (0, 1, 9000, 70_000):
            stream.sendall(request(body=b"x" * size))
            reply = read_reply(stream)
            assert reply.heard["bytes"] == size
            assert "connection" not in reply.headers


def test_a_request_may_come_byte_by_byte(served: Served) -> None:
    raw = request(extra=CLOSE, body=b'{"a": 1}')
    (reply,) = send(served, *(raw[place : place + 1] for place in range(len(raw))))
    assert reply.heard["bytes"] == 8


# Whatever two parsers could read differently is refused by this one, and nothing after it is looked at.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
REFUSED = {
    "length and chunks": (
        400,
        POST + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    ),
    "chunks and length": (
        400,
        POST + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED,
    ),
    "two lengths": (400, POST + HOST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" + SMUGGLED),
    "the same length twice": (400, POST + HOST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" + SMUGGLED),
    "a list of lengths": (400, POST + HOST + b"Content-Length: 2, 2\r\n\r\n{}" + SMUGGLED),
    "a signed length": (400, POST + HOST + b"Content-Length: +2\r\n\r\n{}"),
    "a negative length": (400, POST + HOST + b"Content-Length: -2\r\n\r\n{}"),
    "a hexadecimal length": (400, POST + HOST + b"Content-Length: 0x2\r\n\r\n{}"),
    "an empty length": (400, POST + HOST + b"Content-Length: \r\n\r\n{}"),
    "an endless length": (400, POST + HOST + b"Content-Length: 99999999999999999999999\r\n\r\n{}"),
    "an odd coding": (400, POST + HOST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED),
    "a space before the colon": (400, POST + HOST + b"Content-Length : 2\r\n\r\n{}"),
    "a folded header": (400, POST + HOST + b"X: 1\r\n Content-Length: 2\r\n\r\n{}"),
    "a bare carriage return": (400, POST + HOST + b"X: 1\rContent-Length: 2\r\n\r\n{}"),
    "a bare line feed": (400, b"POST / HTTP/1.1\nHost: localhost\nContent-Length: 0\n\n"),
    "a zero byte": (400, POST + HOST + b"X: a\x00b\r\nContent-Length: 2\r\n\r\n{}"),
    "no host": (400, POST + b"Content-Length: 2\r\n\r\n{}"),
    "two hosts": (400, POST + HOST + HOST + b"Content-Length: 2\r\n\r\n{}"),
    "an upgrade": (400, POST + HOST + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}"),
    "a tunnel": (400, b"CONNECT localhost:443 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "the preface of HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "a TLS hello inside": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "words": (400, b"hello, is anybody there?\r\n\r\n"),
    "a fragment": (400, b"GET /healthz#x HTTP/1.1\r\n" + HOST + b"\r\n"),
    "letters that are not ASCII": (400, b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "no path": (400, b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n"),
    "chunks": (411, POST + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
    "chunks to read": (411, b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "no length": (411, POST + HOST + b"\r\n"),
    "a large body": (413, POST + HOST + b"Content-Length: 8388609\r\n\r\n"),
    "an unknown expectation": (417, POST + HOST + b"Expect: wonders\r\nContent-Length: 2\r\n\r\n{}"),
    "a long header": (431, POST + HOST + b"X: " + b"a" * 40_000 + b"\r\n\r\n"),
    "many headers": (431, POST + HOST + b"X: 1\r\n" * 200 + b"\r\n"),
    "an endless target": (431, b"GET /" + b"a" * 400_000),
    "a long target": (414, b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
    "another version": (505, b"GET / HTTP/2.0\r\n" + HOST + b"\r\n"),
}


@pytest.mark.parametrize(("status", "raw"), REFUSED.values(), ids=REFUSED)
def test_what_could_be_read_in_two_ways_is_refused_once(served: Served, status: int, raw: bytes) -> None:
    replies = send(served, raw)
    assert [reply.status for reply in replies] == [status]
    assert replies[0].headers["connection"] == "close"
    assert set(replies[0].heard) == {"error", "code"}


def test_a_large_body_is_refused_while_it_is_being_sent(served: Served) -> None:
    with served.connect() as stream:
        stream.sendall(POST + HOST + b"Content-Length: 9000000\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(9):
                stream.sendall(b"x" * 1_000_000)
        stream.settimeout(PATIENCE_S)
        assert read_reply(stream).status == 413


def test_a_body_of_the_largest_size_is_taken(served: Served) -> None:
    (reply,) = send(served, request(body=b"x" * QUICK.max_body_bytes, extra=CLOSE))
    assert reply.heard["bytes"] == QUICK.max_body_bytes


def test_a_truncated_body_is_never_judged(served: Served) -> None:
    before = served.server.state.connections
    with served.connect() as stream:
        stream.sendall(POST + HOST + b"Content-Length: 100\r\n\r\n{")
    assert poll_until(lambda: served.server.state.connections <= before, PATIENCE_S)
    assert poll_until(lambda: served.server.buffered == 0, PATIENCE_S)
    (reply,) = send(served, request(extra=CLOSE))
    assert reply.status == 200


def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    raw = b"".join(request(path=f"/{number}") for number in range(5)) + request(path="/last", extra=CLOSE)
    assert [reply.heard["path"] for reply in send(served, raw)] == ["/0", "/1", "/2", "/3", "/4", "/last"]


def test_what_was_asked_before_something_refused_is_answered_first(served: Served) -> None:
    replies = send(served, request(path="/first") + request(path="/second") + b"nonsense\r\n\r\n")
    assert [reply.status for reply in replies] == [200, 200, 400]


def test_what_follows_the_last_request_is_not_looked_at(served: Served) -> None:
    assert [reply.status for reply in send(served, request(extra=CLOSE) + SMUGGLED)] == [200]


def test_nobody_may_send_far_ahead(served: Served) -> None:
    replies = send(served, request() * 500)
    assert [reply.status for reply in replies] == [200] * (len(replies) - 1) + [400]
    assert replies[-1].heard["code"] == "pipelined_too_far"


def test_a_caller_that_waits_for_a_100_gets_it(served: Served) -> None:
    with served.connect() as stream:
        stream.sendall(POST + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert stream.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        stream.sendall(b"{}")
        assert read_reply(stream).heard["bytes"] == 2


def test_http_1_0_is_answered_and_closed(served: Served) -> None:
    (reply,) = send(served, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (reply.status, reply.headers["connection"]) == (200, "close")


def test_an_absolute_target_is_understood(served: Served) -> None:
    (reply,) = send(served, b"GET https://localhost/healthz?x=1 HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
    assert (reply.heard["path"], reply.heard["query"]) == ("/healthz", "x=1")


def test_an_underscore_can_not_pass_for_a_hyphen(served: Served) -> None:
    (reply,) = send(served, request(extra=b"X_Forwarded-For: 1\r\nX-Real: 1\r\n" + CLOSE))
    assert "HTTP_X_REAL" in reply.heard["headers"]
    assert "HTTP_X_FORWARDED_FOR" not in reply.heard["headers"]


def test_a_crash_is_a_500_and_a_trace_in_the_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    (reply,) = send(served, request(path="/crash"))
    assert (reply.status, reply.heard["code"]) == (500, "http_500")
    assert b"a bug" not in reply.body
    assert "LookupError: a bug" in caplog.text


@pytest.mark.parametrize(
    ("path", "status"), [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), (ADMIT, 404), ("/", 404)]
)
def test_the_plain_port_serves_health_alone(served: Served, path: str, status: int) -> None:
    with plain(served) as stream:
        stream.sendall(request("GET", path, extra=CLOSE))
        assert [reply.status for reply in read_replies(read_all(stream))] == [status]


def test_the_plain_port_judges_nothing(served: Served) -> None:
    with plain(served) as stream:
        stream.sendall(request(path="/healthz", extra=CLOSE))
        assert [reply.status for reply in read_replies(read_all(stream))] == [404]


def test_metrics_leave_the_tls_port_when_there_is_a_plain_one(served: Served) -> None:
    assert [reply.status for reply in send(served, request("GET", "/metrics", extra=CLOSE))] == [404]
    assert [reply.status for reply in send(served, request("GET", "/readyz", extra=CLOSE))] == [200]


def test_plain_text_on_the_tls_port_ends_that_connection_alone(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_S) as stream:
        stream.sendall(request("GET", "/healthz"))
        assert b"HTTP" not in read_all(stream)
    assert send(served, request(extra=CLOSE))[0].status == 200


def plain(served: Served) -> socket.socket:
    port = served.server.status_port
    assert port is not None
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


PIECES = st.sampled_from(
    [
        b"GET", b"POST", b"PRI", b" ", b"/", b"/healthz", b"*", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r",
        b"Host: localhost\r\n", b"Host:", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n",
        b"Content-Length: 7777777",
        b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Upgrade: h2c\r\n",
        b"Connection: upgrade\r\n", b"{}", b"abc", b"\x00", b"\x80\xff", b"0\r\n\r\n", b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"POST / HTTP/1.1\r\nHost: localhost\r\n",
    ]
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(
    parts=st.lists(
        st.one_of(st.lists(PIECES, max_size=12).map(b"".join), st.binary(max_size=200)), min_size=1, max_size=4
    )
)
def test_no_bytes_hang_or_break_it(served: Served, parts: list[bytes]) -> None:
    heard: list[str] = []
    listener = logging.Handler(logging.ERROR)
    listener.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(listener)
    try:
        with plain(served) as stream:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for part in parts:
                    stream.sendall(part)
                stream.shutdown(socket.SHUT_WR)
            replies = read_replies(read_all(stream))  # its time-out would fail
        assert all(100 < reply.status < 600 and reply.status != 500 for reply in replies)
        with plain(served) as stream:
            stream.sendall(request("GET", "/healthz", extra=CLOSE))
            assert read_replies(read_all(stream))[0].status == 200
    finally:
        logging.getLogger().removeHandler(listener)
    assert heard == []
    assert served.server.buffered == 0
