"""The real HTTP server in a thread, an application that says what it was given, and callers of several manners."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import uvloop

from placet.config_server import ServerConfig
from tests.e2e.authority import Authority, CertificateFiles
from tests.e2e.processes import poll_until
from webhook.server import Server, run_server
from webhook.server_state import CALLER_KEY, ServerLimits
from webhook.settings import Access

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE_S: Final = 10.0
_LOG: Final = logging.getLogger("placet.serving")
ADMIT: Final = "/v1/admit/production"
HOST: Final = b"Host: localhost\r\n"
QUICK: Final = ServerLimits(
    handshake_timeout_s=1.0, head_timeout_s=1.0, body_timeout_s=1.0, linger_s=0.5, write_timeout_s=1.0, poll_s=0.05
)


class Echo:
    """A lifecycle whose application answers what it was given, and may be held."""

    def __init__(self) -> None:
        self.app: WSGIApplication = self._app
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Semaphore(0)
        self.told: list[str] = []

    def drain(self) -> None:
        self.told.append("drain")

    def reload(self) -> None:
        self.told.append("reload")

    def close(self) -> None:
        self.told.append("close")

    def _app(self, environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        path = environ["PATH_INFO"]
        if path == "/crash":
            raise LookupError("a bug")
        if path == "/readyz" and "drain" in self.told:
            start("503 Service Unavailable", [("Content-Length", "0")])
            return []
        if path == "/held" or environ["QUERY_STRING"] == "held":
            self.entered.release()
            assert self.open.wait(PATIENCE_S)
        raw = environ["wsgi.input"].read()
        heard = {
            "method": environ["REQUEST_METHOD"],
            "path": path,
            "query": environ["QUERY_STRING"],
            "bytes": len(raw),
            "callers": list(environ.get(CALLER_KEY, ["unverified"])),
            "headers": sorted(name for name in environ if name.startswith("HTTP_")),
        }
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(heard).encode()]


@dataclass
class Served:
    """A server that runs.

    Attributes:
        folder: has ``tls.crt``, ``tls.key`` and, with mTLS, ``client-ca.crt``.
        authority: of the serving certificate.
    """

    server: Server
    lifecycle: Echo
    folder: Path
    authority: Authority
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    failed: list[BaseException] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.server.port

    def stop(self) -> None:
        """As a signal would."""
        self.loop.call_soon_threadsafe(self.server.ask_to_stop)

    def context(self, client: CertificateFiles | None = None) -> ssl.SSLContext:
        """What an honest caller trusts, and shows."""
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        if client is not None:
            context.load_cert_chain(client.certificate, client.key)
        return context

    def connect(self, client: CertificateFiles | None = None, *, source: str = "127.0.0.1") -> ssl.SSLSocket:
        """A TLS connection, from one of the addresses that loopback has."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S, source_address=(source, 0))
        return self.context(client).wrap_socket(raw, server_hostname="localhost")

    def install(self, files: CertificateFiles) -> None:
        """Put another pair in place, as a Secret's volume does: both at once, by renaming a link."""
        install(self.folder, files)


def install(folder: Path, files: CertificateFiles) -> None:
    """Let ``tls.crt`` and ``tls.key`` be these, atomically."""
    for number in range(1000):
        version = folder / f"..version-{number}"
        if not version.exists():
            break
    version.mkdir()
    shutil.copyfile(files.certificate, version / "tls.crt")
    shutil.copyfile(files.key, version / "tls.key")
    link = folder / "..next"
    link.symlink_to(version.name)
    link.rename(folder / "..data")
    for name in ("tls.crt", "tls.key"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


def server_settings(folder: Path, **changes: Any) -> ServerConfig:
    """Settings for files in this folder; a free port, no draining."""
    settings = ServerConfig(
        host="127.0.0.1", port=0, tls_cert=folder / "tls.crt", tls_key=folder / "tls.key", tls_minimum="1.3",
        client_ca=None, client_names=(), status_port=None, threads=2, drain_s=0.0,
    )  # fmt: skip
    return replace(settings, **changes)


@contextlib.contextmanager
def serving(
    folder: Path,
    *,
    limits: ServerLimits = QUICK,
    lifecycle: Echo | None = None,
    access: Access | None = None,
    **changes: Any,
) -> Iterator[Served]:
    """Serve until the block is left; whatever the server raised is raised here."""
    authority = Authority(folder, "serving tests")
    install(folder, authority.server(["localhost", "127.0.0.1"]))
    echo = lifecycle or Echo()
    ready = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    failed: list[BaseException] = []
    with Server(echo, server_settings(folder, **changes), limits=limits, access=access) as server:

        def run() -> None:
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    loops.append(runner.get_loop())
                    runner.run(server.serve(started=ready.set))
            except BaseException as error:  # noqa: BLE001 - raised again below
                failed.append(error)
                ready.set()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert ready.wait(PATIENCE_S)
        if failed:
            raise failed[0]
        served = Served(server, echo, folder, authority, loops[0], thread, failed)
        try:
            yield served
        finally:
            echo.open.set()
            with contextlib.suppress(RuntimeError):  # the loop may have ended
                for _ in range(2):
                    served.stop()
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
            assert not failed, failed


class Reply(NamedTuple):
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def heard(self) -> dict[str, Any]:
        """What the application was given."""
        value: dict[str, Any] = json.loads(self.body)
        return value


def request(method: str = "POST", path: str = ADMIT, body: bytes = b"{}", extra: bytes = b"") -> bytes:
    """The bytes of an honest request."""
    line = f"{method} {path} HTTP/1.1\r\n".encode()
    length = b"Content-Length: %d\r\n" % len(body) if method == "POST" else b""
    return line + HOST + b"Content-Type: application/json\r\n" + length + extra + b"\r\n" + body


def read_replies(raw: bytes) -> list[Reply]:
    """All responses in what a connection gave; fails when there is anything else."""
    replies: list[Reply] = []
    while raw:
        head, _, rest = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, *_ = first.split(" ")
        assert version == "HTTP/1.1"
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if int(status) == 100:
            raw = rest
            continue
        length = int(headers["content-length"])
        assert len(rest) >= length
        replies.append(Reply(int(status), headers, rest[:length]))
        raw = rest[length:]
    return replies


def read_all(stream: socket.socket) -> bytes:
    """What comes until the other side ends; a time-out fails."""
    received = b""
    while True:
        try:
            part = stream.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError):
            return received
        if not part:
            return received
        received += part


def read_reply(stream: socket.socket) -> Reply:
    """One response, of a connection that stays."""
    raw = b""
    while True:
        head, found, rest = raw.partition(b"\r\n\r\n")
        if found:
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if len(rest) >= int(lengths[0].partition(b":")[2]):
                return read_replies(raw)[0]
        part = stream.recv(65536)
        if not part:
            raise ConnectionError(f"ended after {raw!r}")
        raw += part


class Callers:
    """Honest callers on keep-alive connections: a call that gets no answer is a failure, none is tried again.

    Attributes:
        answered: calls with status 200.
        failures: what went wrong, in words; a connection that ended without an answer that said so is one.
        by_port: calls answered by each server.
    """

    def __init__(self, served_ports: Callable[[], list[int]], context: ssl.SSLContext, *, threads: int = 6) -> None:
        self._ports = served_ports
        self._context = context
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(threads)]
        self.answered = 0
        self.failures: list[str] = []
        self.by_port: Counter[int] = Counter()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def wait_for(self, calls: int) -> None:
        """Until so many more have been answered."""
        aim = self.answered + calls
        assert poll_until(lambda: self.answered >= aim or bool(self.failures), PATIENCE_S), self.answered
        assert self.failures == []

    def _call(self, number: int) -> None:
        connection: http.client.HTTPSConnection | None = None
        while not self._ended.is_set():
            if connection is None:
                ports = self._ports()
                port = ports[number % len(ports)]
                connection = http.client.HTTPSConnection("localhost", port, timeout=PATIENCE_S, context=self._context)
            try:
                connection.request("POST", f"{ADMIT}?timeout=5s", b"x" * 8000, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{port}: {error!r}")
                return
            if answer.status != http.HTTPStatus.OK:
                self.failures.append(f"{port}: {answer.status}")
            self.answered += 1
            self.by_port[port] += 1
            if answer.getheader("Connection") == "close":
                connection.close()
                connection = None
        if connection is not None:
            connection.close()


def main() -> None:
    """A process of its own: ``python -m tests.simulators.serving FOLDER SETTINGS``; it writes what it is told."""
    folder, changes = Path(sys.argv[1]), json.loads(sys.argv[2])
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run_server(Told(), server_settings(folder, **changes))


class Told(Echo):
    """Writes down what it is told."""

    def drain(self) -> None:
        super().drain()
        _LOG.info("told to drain")

    def reload(self) -> None:
        _LOG.info("told to reload")

    def close(self) -> None:
        _LOG.info("told to close")

    def _app(self, environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        if environ["PATH_INFO"] == "/held":
            _LOG.info("held")
            self.open.clear()
            self.open.wait(float(environ["QUERY_STRING"] or 3600))
            environ["PATH_INFO"] = "/was-held"
        return super()._app(environ, start)


class Apart:
    """The server in a process of its own, with signals."""

    def __init__(self, folder: Path, authority: Authority, **changes: Any) -> None:
        self.authority = authority
        self._log = folder / "server.log"
        install(folder, authority.server(["localhost", "127.0.0.1"]))
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.simulators.serving", str(folder), json.dumps(changes)],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.wait_for("listening on")
        found = re.search(r"listening on 127\.0\.0\.1 port (\d+)", self.log)
        assert found is not None
        self.port = int(found[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        """All that it wrote."""
        return self._log.read_text(encoding="utf-8")

    def wait_for(self, text: str) -> None:
        """Until it wrote this."""
        assert poll_until(lambda: text in self.log or self.process.poll() is not None, PATIENCE_S), self.log
        assert text in self.log, self.log

    def context(self) -> ssl.SSLContext:
        """What an honest caller trusts."""
        return ssl.create_default_context(cadata=self.authority.pem.decode())

    def connect(self) -> ssl.SSLSocket:
        """A TLS connection."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        return self.context().wrap_socket(raw, server_hostname="localhost")

    def is_ready(self) -> bool:
        """As a kubelet's probe finds it."""
        with contextlib.suppress(OSError), self.connect() as stream:
            stream.sendall(request("GET", "/readyz"))
            return read_reply(stream).status == http.HTTPStatus.OK
        return False


if __name__ == "__main__":
    main()
