"""A flood from one caller takes nothing from another: threads, places in the line, memory and connections."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.authority import Authority, CertificateFiles
from tests.e2e.processes import poll_until
from tests.simulators.serving import (
    ADMIT,
    HOST,
    PATIENCE_S,
    QUICK,
    Callers,
    Served,
    read_all,
    read_reply,
    request,
    serving,
)
from webhook.app import GUARD_PATH
from webhook.server_state import ServerLimits
from webhook.settings import Access

HOME, FLOOD = "127.0.0.1", "127.0.0.2"
TOKEN = "kQ7-fW_0.e~nR5tY2uI9oP"
NAME = "kube-apiserver"
PATIENT = replace(QUICK, waiting_s=60.0, body_timeout_s=60.0, handshake_timeout_s=60.0)


@pytest.fixture
def callers(tmp_path: Path) -> Authority:
    (tmp_path / "callers").mkdir()
    return Authority(tmp_path / "callers", "callers")


@contextlib.contextmanager
def guarded(
    folder: Path, callers: Authority, *, limits: ServerLimits = PATIENT, token: bytes | None = None
) -> Iterator[Served]:
    """A server whose API server has a certificate."""
    access = Access(names=frozenset({NAME}), token=token)
    with serving(
        folder, limits=limits, access=access, client_ca=callers.path, client_names=(NAME,), threads=2
    ) as served:
        yield served


def overloads(served: Served) -> dict[str, int]:
    return dict(served.server.state.overloads)


# -- strangers, where callers can be told apart


@pytest.mark.parametrize("length", [2, 8_000_000])
def test_a_stranger_is_answered_before_its_body_is_read(tmp_path: Path, callers: Authority, length: int) -> None:
    with guarded(tmp_path, callers) as served:
        for client in (None, callers.client("system:node:n1")):  # the same authority signs for many
            with served.connect(client) as stream:
                stream.sendall(b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (ADMIT.encode(), HOST, length))
                reply = read_reply(stream)  # of the body, nothing was sent
                assert (reply.status, b'"caller_unknown"' in reply.body) == (403, True)
                assert read_all(stream) == b""
        assert served.server.state.refusals == {"caller_unknown": 2}
        assert served.server.buffered == 0


@pytest.mark.parametrize(
    "path",
    [
        ADMIT,
        f"{ADMIT}/",
        f"{ADMIT}/{TOKEN[:-1]}",
        f"{ADMIT}/{TOKEN}x",
        f"{ADMIT}/{TOKEN}/",
        f"{ADMIT}/{TOKEN.lower()}",
        GUARD_PATH,
        f"{GUARD_PATH}/{TOKEN[1:]}",
        f"/v1/%61dmit/production/{TOKEN[:-1]}",
    ],
)
def test_a_path_without_the_token_is_answered_before_the_body_is_read(tmp_path: Path, path: str) -> None:
    with serving(tmp_path, access=Access(token=TOKEN.encode())) as served, served.connect() as stream:
        stream.sendall(b"POST %b HTTP/1.1\r\n%bContent-Length: 8000000\r\n\r\n" % (path.encode(), HOST))
        reply = read_reply(stream)
        assert (reply.status, b'"http_404"' in reply.body) == (404, True)
        assert served.server.state.refusals == {"http_404": 1}


@pytest.mark.parametrize("path", [f"{ADMIT}/{TOKEN}", f"/v1/%61dmit/production/{TOKEN}?x=1", f"{GUARD_PATH}/{TOKEN}"])
def test_the_token_opens_the_door(tmp_path: Path, path: str) -> None:
    with serving(tmp_path, access=Access(token=TOKEN.encode())) as served, served.connect() as stream:
        stream.sendall(request(path=path, body=b"x" * 100_000))
        assert read_reply(stream).heard["bytes"] == 100_000


def test_certificate_and_token_are_both_asked_for(tmp_path: Path, callers: Authority) -> None:
    with guarded(tmp_path, callers, token=TOKEN.encode()) as served:
        for client, path, status in (
            (None, f"{ADMIT}/{TOKEN}", 403),
            (callers.client(NAME), ADMIT, 404),
            (callers.client(NAME), f"{ADMIT}/{TOKEN}", 200),
        ):
            with served.connect(client) as stream:
                stream.sendall(request(path=path))
                assert read_reply(stream).status == status


def test_a_stranger_may_send_next_to_nothing_to_any_other_path(tmp_path: Path, callers: Authority) -> None:
    with guarded(tmp_path, callers) as served:
        for size, status in ((1024, 200), (1025, 413)):
            with served.connect() as stream:
                stream.sendall(request(path="/elsewhere", body=b"x" * size))
                assert read_reply(stream).status == status


def test_a_hundred_strangers_that_ask_without_end_cost_the_api_server_nothing(
    tmp_path: Path, callers: Authority
) -> None:
    with guarded(tmp_path, callers) as served, contextlib.ExitStack() as held:
        known = served.context(callers.client(NAME))
        streams = [held.enter_context(served.connect()) for _ in range(100)]  # of the very address of the API server
        for stream in streams:
            stream.sendall(request(body=b"x" * 1000))
        with Callers(lambda: [served.port], known) as honest:
            honest.wait_for(200)
        assert honest.failures == []
        assert [read_reply(stream).status for stream in streams] == [403] * 100
        assert overloads(served) == {}


# -- the line, where nobody can be told apart but by address


@contextlib.contextmanager
def held_streams(
    served: Served, count: int, *, source: str, client: CertificateFiles | None = None
) -> Iterator[list[ssl.SSLSocket]]:
    with contextlib.ExitStack() as held:
        streams = [held.enter_context(served.connect(client, source=source)) for _ in range(count)]
        for stream in streams:
            stream.sendall(request(path="/held"))
        yield streams


def test_a_full_line_makes_room_for_whoever_asks_less(tmp_path: Path) -> None:
    limits = replace(PATIENT, max_waiting=8)
    with serving(tmp_path, threads=2, limits=limits) as served:
        served.lifecycle.open.clear()
        with (
            served.connect() as honest,
            held_streams(served, 10, source=FLOOD) as flood,
        ):
            assert poll_until(lambda: served.server.state.waiting == 8, PATIENCE_S)
            honest.sendall(request())
            assert poll_until(lambda: overloads(served) == {"line": 1}, PATIENCE_S)
            served.lifecycle.open.set()
            assert read_reply(honest).status == 200
            replies = [read_reply(stream) for stream in flood]
            assert sorted(reply.status for reply in replies) == [200] * 9 + [503]
            assert [one.headers["retry-after"] for one in replies if one.status == 503] == ["1"]
            assert served.server.state.events["overloaded"] == 1


def test_a_flood_that_holds_its_threads_leaves_one_to_others(tmp_path: Path) -> None:
    with serving(tmp_path, threads=2, limits=PATIENT) as served, served.connect() as honest:
        honest.sendall(request())  # somebody else is about
        assert read_reply(honest).status == 200
        served.lifecycle.open.clear()
        with held_streams(served, 6, source=FLOOD) as flood:
            assert served.lifecycle.entered.acquire(timeout=PATIENCE_S)
            assert poll_until(lambda: served.server.state.waiting == 5, PATIENCE_S)
            for _ in range(20):
                honest.sendall(request())
                assert read_reply(honest).status == 200  # while none of the flood is answered
            served.lifecycle.open.set()
            assert [read_reply(stream).status for stream in flood] == [200] * 6


def test_two_api_servers_of_one_name_have_lanes_of_their_own(tmp_path: Path, callers: Authority) -> None:
    client = callers.client(NAME)
    with guarded(tmp_path, callers) as served, served.connect(client) as honest:
        honest.sendall(request())
        assert read_reply(honest).status == 200
        served.lifecycle.open.clear()
        with contextlib.ExitStack() as held:
            flood = [held.enter_context(served.connect(client, source=FLOOD)) for _ in range(6)]
            for stream in flood:
                stream.sendall(request(path=f"{ADMIT}?held"))
            assert served.lifecycle.entered.acquire(timeout=PATIENCE_S)
            assert poll_until(lambda: served.server.state.waiting == 5, PATIENCE_S)
            honest.sendall(request())
            assert read_reply(honest).status == 200  # while none of the flood is answered
            served.lifecycle.open.set()
            assert [read_reply(stream).status for stream in flood] == [200] * 6


# -- memory


def body_head(length: int) -> bytes:
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (ADMIT.encode(), HOST, length)


def test_many_small_bodies_of_one_caller_take_no_room_from_a_large_one_of_another(tmp_path: Path) -> None:
    limits = replace(PATIENT, max_buffered_bytes=1_000_000)
    with serving(tmp_path, limits=limits) as served, contextlib.ExitStack() as held:
        small = [held.enter_context(served.connect(source=FLOOD)) for _ in range(19)]
        for stream in small:
            stream.sendall(body_head(60_000) + b"x" * 50_000)
        assert poll_until(lambda: served.server.buffered == 950_000, PATIENCE_S)
        honest = held.enter_context(served.connect())
        honest.sendall(request(body=b"x" * 400_000))
        assert read_reply(honest).status == 200
        assert overloads(served) == {"bodies": 7}
        assert served.server.state.events["overloaded"] == 7


def test_bodies_that_wait_for_a_thread_make_room_too(tmp_path: Path) -> None:
    limits = replace(PATIENT, max_buffered_bytes=1_000_000)
    with serving(tmp_path, threads=1, limits=limits) as served, served.connect() as honest:
        served.lifecycle.open.clear()
        with contextlib.ExitStack() as held:
            flood = [held.enter_context(served.connect(source=FLOOD)) for _ in range(9)]
            flood[0].sendall(request(path="/held", body=b"x" * 100_000))
            assert served.lifecycle.entered.acquire(timeout=PATIENCE_S)
            for stream in flood[1:]:
                stream.sendall(request(body=b"x" * 100_000))
            assert poll_until(lambda: served.server.state.waiting == 8, PATIENCE_S)
            assert served.server.buffered == 900_000
            honest.sendall(request(body=b"x" * 300_000))
            assert poll_until(lambda: served.server.buffered == 1_000_000, PATIENCE_S)
            served.lifecycle.open.set()
            assert read_reply(honest).status == 200
            assert sorted(read_reply(stream).status for stream in flood) == [200] * 7 + [503] * 2
        assert poll_until(lambda: served.server.buffered == 0, PATIENCE_S)


def test_bodies_that_are_being_judged_leave_room_to_callers_that_hold_little(tmp_path: Path) -> None:
    limits = replace(PATIENT, max_buffered_bytes=800_000)
    with serving(tmp_path, threads=9, limits=limits) as served, contextlib.ExitStack() as held:
        served.lifecycle.open.clear()
        flood = [held.enter_context(served.connect(source=FLOOD)) for _ in range(8)]
        for stream in flood:
            stream.sendall(request(path="/held", body=b"x" * 100_000))
        for _ in flood:
            assert served.lifecycle.entered.acquire(timeout=PATIENCE_S)
        assert served.server.buffered == 800_000  # and none of it can be taken back
        others = [held.enter_context(served.connect(source=f"127.0.0.{number}")) for number in (1, 3, 5)]
        for stream in others:
            stream.sendall(body_head(30_000) + b"x" * 29_999)
        assert poll_until(lambda: served.server.buffered == 800_000 + 3 * 29_999, PATIENCE_S)
        late = held.enter_context(served.connect(source=FLOOD))
        late.sendall(body_head(1000) + b"x" * 999)
        assert read_reply(late).status == 503  # its caller holds the most
        greedy = held.enter_context(served.connect(source="127.0.0.4"))
        greedy.sendall(body_head(40_000) + b"x" * 30_000)
        assert read_reply(greedy).status == 503  # the reserve is used up
        for stream in others:
            stream.sendall(b"x")
            assert read_reply(stream).status == 200
        served.lifecycle.open.set()
        assert [read_reply(stream).status for stream in flood] == [200] * 8
        assert overloads(served) == {"bodies": 2}


def test_bodies_never_take_more_memory_than_is_allowed(tmp_path: Path) -> None:
    limits = replace(PATIENT, max_buffered_bytes=2_000_000, max_body_bytes=1_000_000)
    with serving(tmp_path, threads=1, limits=limits) as served, contextlib.ExitStack() as held:
        served.lifecycle.open.clear()
        judged = held.enter_context(served.connect())
        judged.sendall(request(path="/held", body=b"x" * 1_000_000))
        assert served.lifecycle.entered.acquire(timeout=PATIENCE_S)
        most = 0
        for number in range(30):
            stream = held.enter_context(served.connect(source=f"127.0.0.{number + 2}"))
            with contextlib.suppress(OSError):  # who is turned away meanwhile
                stream.sendall(body_head(1_000_000) + b"x" * 999_999)
            most = max(most, served.server.buffered)
        assert 1_000_000 < most <= 2_000_000 + 256 * 1024  # what one read of the socket brings
        assert served.server.state.overloads["bodies"] >= 27
        served.lifecycle.open.set()
        assert read_reply(judged).status == 200  # what is being judged is never taken back


# -- connections


def test_connections_of_one_address_are_bounded_and_its_api_server_keeps_its_own(
    tmp_path: Path, callers: Authority
) -> None:
    limits = replace(PATIENT, max_per_address=10)
    with guarded(tmp_path, callers, limits=limits) as served, contextlib.ExitStack() as held:
        known = [held.enter_context(served.connect(callers.client(NAME))) for _ in range(12)]
        for _ in range(60):  # behind the same address, as when a node hides its Pods behind its own
            held.enter_context(served.connect())
        assert poll_until(lambda: served.server.state.connections <= 12 + 10, PATIENCE_S)
        assert overloads(served)["connections"] >= 50
        for stream in known:
            stream.sendall(request())
            assert read_reply(stream).status == 200


def test_a_caller_known_by_its_token_is_not_displaced_either(tmp_path: Path) -> None:
    limits = replace(PATIENT, max_connections=20, max_per_address=100)
    with (
        serving(tmp_path, limits=limits, access=Access(token=TOKEN.encode())) as served,
        contextlib.ExitStack() as held,
        served.connect() as known,
    ):
        known.sendall(request(path=f"{ADMIT}/{TOKEN}"))
        assert read_reply(known).status == 200
        strangers = [held.enter_context(served.connect(source=FLOOD)) for _ in range(10)]
        for stream in strangers:
            stream.sendall(request("GET", "/healthz"))  # served, lately, and strangers all the same
            assert read_reply(stream).status == 200
        for _ in range(60):
            held.enter_context(served.connect(source=FLOOD))
        known.sendall(request(path=f"{ADMIT}/{TOKEN}"))
        assert read_reply(known).status == 200


def test_handshakes_that_stall_make_room_for_those_that_do_not(tmp_path: Path) -> None:
    limits = replace(PATIENT, max_handshakes=10)
    with serving(tmp_path, limits=limits) as served, contextlib.ExitStack() as held:
        for _ in range(40):
            held.enter_context(socket.create_connection(("127.0.0.1", served.port), source_address=(FLOOD, 0)))
        with Callers(lambda: [served.port], served.context()) as honest:
            honest.wait_for(50)
        assert honest.failures == []
        assert overloads(served)["handshakes"] >= 30
        assert poll_until(lambda: served.server.state.connections <= 10, PATIENCE_S)
