"""The servers of the comparison, each a real process with a certificate of one authority, reached by one host name."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.load import BenchmarkError, Server
from benchmarks.machine import say
from tests.e2e.authority import Authority, CertificateFiles
from tests.e2e.gateprocess import Team
from tests.e2e.processes import Process, clean_environment, program_path
from tests.simulators.ports import free_port

PEERS: Final = Path(__file__).resolve().parent / "peers"
START_TIMEOUT_S: Final = 60.0
_GRACE_S: Final = 30.0
_CLUSTER_DATA: Final = """\
# Without evidence every unknown fact scores worst, and critical would ask for a fourth approval.
risk_approvals:
  critical: [technical, security, business]
"""


@dataclass(frozen=True, slots=True)
class Site:
    """Where the servers of one benchmark run.

    Attributes:
        folder: their files.
        host: name of this machine, in certificates and addresses; an API server speaks HTTP/1.1 to it as to a Service.
        address: where that name leads, and where they listen.
        files: the certificate that all serve with.
        ca_file: who signed it.
    """

    folder: Path
    host: str
    address: str
    files: CertificateFiles
    ca_file: Path

    @classmethod
    def open(cls, folder: Path) -> Site:
        """A site in an empty folder.

        Raises:
            BenchmarkError: this machine's name leads nowhere.
        """
        host = socket.gethostname()
        try:
            address = socket.gethostbyname(host)
        except OSError as exc:
            message = f"this machine's name, {host}, has no address: add it to /etc/hosts ({exc})"
            raise BenchmarkError(message) from exc
        folder.mkdir(parents=True, exist_ok=True)
        authority = Authority(folder, "benchmarks")
        return cls(folder, host, address, authority.server([host]), authority.path)

    def server(self, name: str, process: Process, port: int, path: str) -> Server:
        """A server of this site that listens."""
        return Server(name, f"https://{self.host}:{port}{path}", process.pid, self.ca_file)


def listens(address: str, port: int) -> bool:
    """Whether a connection is taken."""
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def running(
    site: Site, name: str, command: list[str | Path], ready: Callable[[], bool], *, environment: dict[str, str] | None
) -> Iterator[Process]:
    """A program until the block ends."""
    log = site.folder / f"{name.replace(' ', '-')}.log"
    process = Process(name, command, log, environment or clean_environment(site.folder))
    try:
        process.wait_until(ready, "ready", START_TIMEOUT_S)
        yield process
    finally:
        process.stop(_GRACE_S)


@contextlib.contextmanager
def running_allow(site: Site) -> Iterator[Server]:
    """The Go webhook that allows everything."""
    port = free_port(site.address)
    command: list[str | Path] = [
        *(program_path("load"), "allow", "-address", f"{site.address}:{port}"),
        *("-cert", site.files.certificate, "-key", site.files.key),
    ]
    with running(site, "go-allow", command, lambda: listens(site.address, port), environment=None) as process:
        yield site.server("Go, always allows", process, port, "/")


@contextlib.contextmanager
def running_opa(site: Site, *, decision_log: bool) -> Iterator[Server]:
    """An OPA server that is the webhook itself, with or without its decision log on the console."""
    port = free_port(site.address)
    name = "opa-log" if decision_log else "opa"
    policies = site.folder / f"{name}-policies"
    policies.mkdir()
    # Gatekeeper has the request elsewhere; the rules are the same to the byte.
    guard = (PEERS / "guard.rego").read_text(encoding="utf-8").replace("input.review\n", "input.request\n")
    (policies / "guard.rego").write_text(guard, encoding="utf-8")
    shutil.copy(PEERS / "main.rego", policies)
    command: list[str | Path] = [
        *(program_path("opa"), "run", "--server", "--addr", f"https://{site.address}:{port}"),
        *("--tls-cert-file", site.files.certificate, "--tls-private-key-file", site.files.key),
        *("--log-level", "error", "--skip-version-check"),
        *(("--set", "decision_logs.console=true") if decision_log else ()),
        policies,
    ]
    with running(site, name, command, lambda: listens(site.address, port), environment=None) as process:
        shown = "OPA, decision log" if decision_log else "OPA, no decision log"
        yield site.server(shown, process, port, "/")


class Gate:
    """A team's folder made by ``placet init``, and ``placet serve`` on top of it.

    Attributes:
        name: in tables, and of its folder.
        folder: what ``placet init`` made.
        store: the record.
    """

    def __init__(self, site: Site, name: str = "placet") -> None:
        """Make the folder; nothing runs yet."""
        self._site = site
        self.name = name
        self.folder = site.folder / name
        self.folder.mkdir()
        self._team = Team.found(self.folder)
        self.store = self.folder / "record.sqlite"
        self._counted, self._counted_to = 0, -1
        (self.folder / "policy-data.yaml").write_text(_CLUSTER_DATA, encoding="utf-8")
        self._team.configure(
            {
                "autoscalers": "none",
                "server": {
                    "host": site.address,
                    "tls_cert": str(site.files.certificate),
                    "tls_key": str(site.files.key),
                    "drain_seconds": 0,  # nobody looks for another replica when a benchmark ends
                },
            }
        )

    def configure(self, changes: dict[str, Any]) -> None:
        """Change keys of its configuration; before it runs."""
        self._team.configure(changes)

    @contextlib.contextmanager
    def running(self, replica: str = "", **environment: str) -> Iterator[Server]:
        """``placet serve`` as it comes, until the block ends; several at once share the record.

        Args:
            replica: tells it from others, in the name of its log.
            environment: variables that it has beside those of this process.
        """
        port = free_port(self._site.address)
        command: list[str | Path] = [
            *(sys.executable, "-m", "placet", "serve", "--config", self.folder / "placet.yaml", "--port", str(port)),
        ]
        ready = partial(is_ready, self._site, port)
        with running(
            self._site, f"{self.name}{replica}", command, ready, environment={**os.environ, **environment}
        ) as process:
            yield self._site.server(self.name, process, port, "/v1/admit/production")

    def records(self) -> int:
        """Decisions in the record that let something in, refusals left out."""
        # Plain SQL by the documented format, so that the record is not counted by what wrote it; only what is new since
        # the last time is read, for a long record takes a while.
        asked = "SELECT count(*) FILTER (WHERE allowed = 1), coalesce(max(idx), ?1) FROM leaves WHERE idx > ?1"
        with contextlib.closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=10)) as reader:
            found, self._counted_to = reader.execute(asked, [self._counted_to]).fetchone()
        self._counted += int(found)
        return self._counted

    def verify_record(self) -> None:
        """Let ``placet audit verify`` verify the record.

        Raises:
            BenchmarkError: it does not verify.
        """
        say(f"verifying a record of {self.records():,} decisions")
        key = (self.folder / "keys" / "log.vkey").read_text(encoding="utf-8").strip()
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "placet",
            "audit",
            "verify",
            "--store",
            self.store,
            "--log-key",
            key,
        ]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            raise BenchmarkError(f"the record of {self.name} does not verify: {ran.stdout}{ran.stderr}")


def is_ready(site: Site, port: int, *, path: str = "/readyz", tls: bool = True) -> bool:
    """Whether a server says that it is ready; one that does not listen yet is not."""
    connection: http.client.HTTPConnection
    if tls:
        context = ssl.create_default_context(cafile=site.ca_file)
        connection = http.client.HTTPSConnection(site.host, port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection(site.host, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
