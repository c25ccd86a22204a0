"""What ``bench_servers.py`` tries on each HTTP server: one probe a need, each on a fresh server."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self

HERE: Final = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benchmarks.server_candidates import RELOADS_BY_HANGUP  # noqa: E402 - after the path is set
from tests.e2e.authority import Authority, CertificateFiles  # noqa: E402
from tests.simulators.ports import free_port  # noqa: E402
from tests.simulators.serving import read_reply  # noqa: E402

KEEP_ALIVE_S: Final = 101.0
DEADLINE_S: Final = 2.0
PATIENCE_S: Final = 20.0
BODY: Final = json.dumps({"uid": "u" * 36, "object": {f"key-{number}": "v" * 40 for number in range(150)}}).encode()
REQUEST: Final = (
    b"POST /v1/admit/production?timeout=10s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: kube-apiserver-admission\r\n"
    b"Content-Length: %d\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\n"
    b"Accept-Encoding: gzip\r\n\r\n" % len(BODY)
) + BODY


class Candidate:
    """One server that runs, and the ways to call it."""

    def __init__(self, name: str, folder: Path, authority: Authority, client: CertificateFiles) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self._authority = authority
        (self.folder / "ca.crt").write_bytes(authority.pem)
        self.install()
        self.port = free_port()
        self.context = ssl.create_default_context(cadata=authority.pem.decode())
        self.shown = ssl.create_default_context(cadata=authority.pem.decode())
        self.shown.load_cert_chain(client.certificate, client.key)
        self.process: subprocess.Popen[bytes]

    def install(self) -> None:
        """A new certificate, in place of the one there is."""
        files = self._authority.server(["localhost"])
        for source, name in ((files.key, "tls.key"), (files.certificate, "tls.crt")):
            shutil.copyfile(source, self.folder / "next")
            (self.folder / "next").rename(self.folder / name)

    def __enter__(self) -> Self:
        command = [sys.executable, str(HERE / "server_candidates.py"), self.name, str(self.port), str(self.folder)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        end = time.monotonic() + 15
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.call("GET", "/healthz")[0] == http.HTTPStatus.OK:
                    return self
            time.sleep(0.05)
        raise SystemExit(f"{self.name} did not start")

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def connect(self, *, shown: bool = False) -> ssl.SSLSocket:
        """A TLS connection."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return (self.shown if shown else self.context).wrap_socket(raw, server_hostname="localhost")

    def call(self, method: str = "POST", path: str = "/", *, shown: bool = False) -> tuple[int, dict[str, Any]]:
        """One call on a connection of its own."""
        context = self.shown if shown else self.context
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=10, context=context)
        with contextlib.closing(connection):
            connection.request(method, path, BODY if method == "POST" else None, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            raw = answer.read()
            return answer.status, json.loads(raw) if answer.status == http.HTTPStatus.OK else {}

    def cpu_s(self) -> float:
        """CPU seconds of the process and all that it started."""
        total = 0.0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
                if int(fields[3]) == self.process.pid:  # the session
                    total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return total


# -- needs: each probe gives what it found; True means met


@contextlib.contextmanager
def constant_load(candidate: Candidate, spare: Candidate | None = None) -> Iterator[list[str]]:
    """Four callers on keep-alive connections, and their failed calls so far. Told to close, they go to ``spare``."""
    failed: list[str] = []
    ended = threading.Event()

    def call() -> None:
        target, connection = candidate, None
        while not ended.is_set():
            if connection is None:
                connection = http.client.HTTPSConnection("localhost", target.port, timeout=5, context=target.context)
            try:
                connection.request("POST", "/", BODY, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                failed.append(repr(error))
                connection.close()
                connection = None
                target = spare or target
                continue
            if (answer.getheader("Connection") or "").lower() == "close":
                connection.close()
                connection = None
                target = spare or target

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        yield failed
    finally:
        ended.set()
        for caller in callers:
            caller.join()


def probe_rotation(candidate: Candidate, _: Candidate) -> bool | str:
    """A new certificate is served, and no call fails meanwhile."""

    def serial() -> str:
        with candidate.connect() as stream:
            return str((stream.getpeercert() or {})["serialNumber"])

    before, served = serial(), False
    with constant_load(candidate) as failed:
        time.sleep(0.3)
        candidate.install()
        if candidate.name in RELOADS_BY_HANGUP:
            candidate.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 5
        while not served and time.monotonic() < end:
            with contextlib.suppress(OSError):
                served = serial() != before
        time.sleep(4)  # busy connections of the old certificate may be cut late
    if not served:
        return "the old one stays"
    return f"{len(failed)} failed calls" if failed else True


def probe_stalled(candidate: Candidate, _: Candidate) -> bool | str:
    """100 connections that stall in the handshake, in the headers, or between requests."""
    with contextlib.ExitStack() as held:
        for number in range(100):
            if number % 3 == 0:
                held.enter_context(socket.create_connection(("127.0.0.1", candidate.port), timeout=10))
                continue
            try:
                stream = held.enter_context(candidate.connect())
                stream.sendall(b"POST / HTTP/1.1\r\nHost: lo" if number % 3 == 1 else REQUEST)
            except OSError:
                return f"frozen by {number} of them"
        return in_time(candidate)


def probe_slow_bodies(candidate: Candidate, _: Candidate) -> bool | str:
    """100 bodies that never end."""
    with contextlib.ExitStack() as held:
        for number in range(100):
            try:
                stream = held.enter_context(candidate.connect())
                stream.sendall(REQUEST[:-100])
            except OSError:
                return f"frozen by {number} of them"
        return in_time(candidate)


def in_time(candidate: Candidate) -> bool | str:
    """Whether ten honest calls are answered within the deadline each."""
    for _ in range(10):
        begun = time.monotonic()
        try:
            candidate.call()
        except OSError:
            return "honest calls get no answer"
        if (took := time.monotonic() - begun) > DEADLINE_S:
            return f"an honest call takes {took:.1f} s"
    return True


def probe_peer(candidate: Candidate, _: Candidate) -> bool | str:
    """The application sees the name in the caller's certificate, and serves callers without one."""
    try:
        return candidate.call("GET", "/peer", shown=True)[1]["peer"] == "bench" or "not visible"
    except OSError as error:
        return repr(error)


def first_line(candidate: Candidate, raw: bytes) -> str:
    """The status line that these bytes get."""
    with candidate.connect() as stream:
        stream.sendall(raw)
        try:
            return stream.recv(100).split(b"\r\n")[0].decode("latin-1") or "closed"
        except TimeoutError:
            return "no answer"


def probe_chunked(candidate: Candidate, _: Candidate) -> bool | str:
    """A body without a length is refused by the server."""
    raw = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    line = first_line(candidate, raw)
    return " 411 " in line or line


def probe_smuggling(candidate: Candidate, _: Candidate) -> bool | str:
    """A length and chunks in one request are refused."""
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    line = first_line(candidate, head + b"0\r\n\r\n")
    return " 400 " in line or line


def probe_large(candidate: Candidate, _: Candidate) -> bool | str:
    """A body above the cap is refused by its header."""
    line = first_line(candidate, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000000\r\n\r\n")
    return " 413 " in line or line


def probe_overload(candidate: Candidate, _: Candidate) -> bool | str:
    """With 300 calls waiting, the next one is told to come again."""
    end = time.monotonic() + PATIENCE_S
    with contextlib.ExitStack() as held:
        for number in range(300):
            try:
                if time.monotonic() > end:
                    return f"no more connections after {number}"
                held.enter_context(candidate.connect()).sendall(REQUEST.replace(b"/v1/admit/production", b"/hold"))
            except OSError:
                return f"frozen by {number} of them"
        time.sleep(0.5)
        begun = time.monotonic()
        try:
            status = candidate.call()[0]
        except OSError:
            return "no answer"
        took = time.monotonic() - begun
        return status == http.HTTPStatus.SERVICE_UNAVAILABLE or f"{status} after {took:.1f} s"


def probe_drain(candidate: Candidate, spare: Candidate) -> bool | str:
    """SIGTERM under load, one connection idle for a while: no call fails, and the process ends by itself with 0."""
    with candidate.connect() as idle, constant_load(candidate, spare) as failed:
        idle.sendall(REQUEST)
        read_reply(idle)
        candidate.process.send_signal(signal.SIGTERM)
        time.sleep(1.0)
        try:
            idle.sendall(REQUEST)
            used = read_reply(idle).status == http.HTTPStatus.OK
        except OSError:
            used = False
        try:
            code: int | None = candidate.process.wait(20)
        except subprocess.TimeoutExpired:
            code = None
    lost = len(failed) + (not used)
    if lost:
        return f"{lost} failed calls"
    return True if code == 0 else f"exit code {code}"


PROBES: Final[dict[str, Callable[[Candidate, Candidate], bool | str]]] = {
    "certificate reload, no failed call": probe_rotation,
    "100 stalled connections": probe_stalled,
    "100 slow bodies": probe_slow_bodies,
    "caller's certificate visible": probe_peer,
    "no Content-Length: 411": probe_chunked,
    "length and chunks: 400": probe_smuggling,
    "body above the cap: 413": probe_large,
    "overload: 503 at once": probe_overload,
    "SIGTERM drain, no failed call": probe_drain,
}


def probe_keep_alive(candidate: Candidate) -> bool | str:
    """An idle connection serves a call after 101 s."""
    with candidate.connect() as stream:
        stream.sendall(REQUEST)
        read_reply(stream)
        time.sleep(KEEP_ALIVE_S)
        try:
            stream.sendall(REQUEST)
            return read_reply(stream).status == http.HTTPStatus.OK
        except OSError:
            return "closed"
