"""What happens to calls while certificates change and processes end: nothing."""

from __future__ import annotations

import asyncio
import datetime as dt
import signal
import ssl
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from placet.errors import ConfigError
from tests.e2e.authority import Authority
from tests.e2e.processes import poll_until
from tests.simulators.serving import (
    PATIENCE_S,
    QUICK,
    Apart,
    Callers,
    Echo,
    Served,
    install,
    read_all,
    read_reply,
    request,
    server_settings,
    serving,
)
from webhook.server import Server
from webhook.server_state import ServerLimits


def serial(served: Served) -> str:
    with served.connect() as stream:
        certificate = stream.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


def test_certificates_change_under_load_without_a_failed_call(tmp_path: Path) -> None:
    with serving(tmp_path) as served, Callers(lambda: [served.port], served.context()) as callers:
        callers.wait_for(300)
        for _ in range(4):
            before = serial(served)
            served.install(served.authority.server(["localhost", "127.0.0.1"]))
            assert poll_until(lambda before=before: serial(served) != before, PATIENCE_S)  # type: ignore[misc]
            callers.wait_for(500)
    assert callers.failures == []
    assert callers.answered >= 2300
    assert served.server.state.events["certificate_reloaded"] == 4
    assert served.server.state.events["handshake_failed"] == 0


def test_a_connection_of_the_old_certificate_is_retired_by_its_next_answer(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.connect() as stream:
        stream.sendall(request())
        assert "connection" not in read_reply(stream).headers
        before = serial(served)
        served.install(served.authority.server(["localhost"]))
        assert poll_until(lambda: serial(served) != before, PATIENCE_S)
        stream.sendall(request())
        reply = read_reply(stream)
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert read_all(stream) == b""


@pytest.mark.parametrize("broken", ["garbage", "empty", "another key", "expired", "missing"])
def test_a_broken_pair_leaves_the_old_one_in_force_and_is_reported(tmp_path: Path, broken: str) -> None:
    with serving(tmp_path) as served:
        before = serial(served)
        fresh = served.authority.server(["localhost"], lifetime=dt.timedelta(minutes=-1 if broken == "expired" else 5))
        if broken == "another key":
            fresh = type(fresh)(fresh.certificate, served.authority.server(["localhost"]).key)
        elif broken == "garbage":
            fresh.certificate.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        elif broken == "empty":
            fresh.certificate.write_bytes(b"")
        if broken == "missing":
            (tmp_path / "..data" / "tls.crt").unlink()
        else:
            served.install(fresh)
        state = served.server.state
        assert poll_until(lambda: state.events["certificate_reload_failed"] == 1, PATIENCE_S)
        assert serial(served) == before
        assert state.certificates is not None
        assert state.certificates.last_problem.startswith("certificate_")
        assert state.find_problems(dt.datetime.now(dt.UTC)) == {}  # the old one is as good as it was
        served.install(served.authority.server(["localhost"]))
        assert poll_until(lambda: serial(served) != before, PATIENCE_S)
        assert state.certificates.last_problem == ""


def test_authorities_of_callers_change_without_a_failed_call(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    old, new = (Authority(tmp_path / name, name) for name in ("old", "new"))
    trusted = tmp_path / "client-ca.crt"
    trusted.write_bytes(old.pem)
    before, after = old.client("kube-apiserver"), new.client("kube-apiserver")
    with serving(tmp_path, client_ca=trusted, client_names=("kube-apiserver",)) as served:
        assert callers_heard(served, before) == ["kube-apiserver"]
        assert callers_heard(served, None) == ["unverified"]
        with pytest.raises((ssl.SSLError, ConnectionError)):
            callers_heard(served, after)
        with Callers(lambda: [served.port], served.context(before)) as callers:
            callers.wait_for(100)
            trusted.write_bytes(old.pem + new.pem)
            assert poll_until(lambda: served.server.state.events["certificate_reloaded"] == 1, PATIENCE_S)
            assert callers_heard(served, after) == ["kube-apiserver"]
            callers.wait_for(300)
        assert callers.failures == []
        with Callers(lambda: [served.port], served.context(after)) as callers:
            callers.wait_for(100)
            trusted.write_bytes(new.pem)
            assert poll_until(lambda: served.server.state.events["certificate_reloaded"] == 2, PATIENCE_S)
            callers.wait_for(300)
        assert callers.failures == []
        with pytest.raises((ssl.SSLError, ConnectionError)):
            callers_heard(served, before)


def callers_heard(served: Served, client: object) -> list[str]:
    with served.connect(client) as stream:  # type: ignore[arg-type]
        stream.sendall(request())
        heard: list[str] = read_reply(stream).heard["callers"]
        return heard


def test_a_replica_goes_away_under_load_without_a_failed_call(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    authority = Authority(tmp_path, "both")
    with Apart(folders[0], authority, drain_s=2.5) as leaves, Apart(folders[1], authority, drain_s=0.5) as stays:
        endpoints = [leaves.port, stays.port]
        watched = threading.Event()

        def watch() -> None:  # a kubelet's probe, and the endpoints controller behind it
            while not watched.wait(0.1):
                if not leaves.is_ready():
                    endpoints[:] = [stays.port]
                    return

        threading.Thread(target=watch).start()
        with (
            leaves.connect() as idle,
            leaves.connect() as forever_idle,
            leaves.connect() as held,
            Callers(lambda: list(endpoints), authority_context(authority)) as callers,
        ):
            for stream in (idle, forever_idle):
                stream.sendall(request())
                assert "connection" not in read_reply(stream).headers
            callers.wait_for(200)
            leaves.process.send_signal(signal.SIGTERM)
            leaves.wait_for("told to drain")
            held.sendall(request(path="/held?4"))  # longer than the draining
            idle.sendall(request())
            reply = read_reply(idle)
            assert (reply.status, reply.headers["connection"]) == (200, "close")
            callers.wait_for(500)
            assert read_all(forever_idle) == b""  # a clean end, after the draining
            assert leaves.process.poll() is None
            reply = read_reply(held)
            assert (reply.status, reply.heard["path"], reply.headers["connection"]) == (200, "/was-held", "close")
            assert leaves.process.wait(PATIENCE_S) == 0
            callers.wait_for(200)
        watched.set()
        assert callers.failures == []
        assert min(callers.by_port[port] for port in (leaves.port, stays.port)) > 50
        assert "told to close" in leaves.log
        assert "Traceback" not in leaves.log


def authority_context(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.pem.decode())


def test_a_second_signal_ends_the_draining_and_a_third_what_is_judged(tmp_path: Path) -> None:
    with Apart(tmp_path, Authority(tmp_path, "signals"), drain_s=3600) as server, server.connect() as held:
        held.sendall(request(path="/held"))
        server.wait_for("held")
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("told to drain")
        with server.connect() as stream:  # still welcome
            stream.sendall(request())
            assert read_reply(stream).headers["connection"] == "close"
        server.process.send_signal(signal.SIGTERM)
        assert poll_until(lambda: not accepts(server), PATIENCE_S)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE_S) == 0
        assert "told to close" in server.log


def accepts(server: Apart) -> bool:
    try:
        server.connect().close()
    except OSError:
        return False
    return True


def test_an_interrupt_from_a_terminal_does_not_wait(tmp_path: Path) -> None:
    with Apart(tmp_path, Authority(tmp_path, "interrupt"), drain_s=3600) as server:
        begun = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE_S) == 0
        assert time.monotonic() - begun < PATIENCE_S
        assert "told to drain" in server.log


def test_a_hangup_reloads_and_serves_on(tmp_path: Path) -> None:
    with Apart(tmp_path, Authority(tmp_path, "hangup")) as server, server.connect() as stream:
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("told to reload")
        stream.sendall(request())
        assert read_reply(stream).status == 200


def test_an_idle_connection_is_kept_longer_than_the_api_server_keeps_it() -> None:
    assert ServerLimits().keep_alive_s > 100  # benchmarks/bench_servers.py waits that long


def test_an_idle_connection_ends_in_the_end(tmp_path: Path) -> None:
    with serving(tmp_path, limits=replace(QUICK, keep_alive_s=2.0)) as served, served.connect() as stream:
        stream.sendall(request())
        read_reply(stream)
        begun = time.monotonic()
        assert read_all(stream) == b""
        assert time.monotonic() - begun > 1.0


def test_a_port_that_is_taken_is_a_sentence(tmp_path: Path) -> None:
    with serving(tmp_path) as served, pytest.raises(ConfigError, match="Address already in use"):
        Server(Echo(), server_settings(tmp_path, port=served.port))


def test_of_two_that_start_at_once_the_later_one_is_told(tmp_path: Path) -> None:
    install(tmp_path, Authority(tmp_path, "x").server(["localhost"]))
    with (
        Server(Echo(), server_settings(tmp_path)) as first,
        Server(Echo(), server_settings(tmp_path, port=first.port)) as second,
    ):
        first._main.listen()
        with pytest.raises(ConfigError, match="Address already in use"):
            asyncio.run(second.serve())


def test_install_is_what_a_secret_volume_does(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "x")
    install(tmp_path, authority.server(["localhost"]))
    first = (tmp_path / "tls.crt").read_bytes()
    install(tmp_path, authority.server(["localhost"]))
    assert (tmp_path / "tls.crt").read_bytes() != first
