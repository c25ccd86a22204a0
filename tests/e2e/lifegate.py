"""Replicas of one gate on one record, and the Service before them, as a cluster would run them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sqlite3
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.e2e.authority import Authority
from tests.e2e.gateprocess import Team
from tests.e2e.lifeload import Outcome, write_lines
from tests.e2e.processes import Process, clean_environment, poll_until
from tests.simulators.ports import free_port
from tests.simulators.serving import install

PATIENCE_S: Final = 60.0
DRAIN_S: Final = 5.0
# What endpoints controller, watch and API server take between a Pod that is told to end, or a probe that failed, and a
# Service that knows. All the rest of DRAIN_S is for a busy machine.
LAG_S: Final = 0.5
_PROBE_EVERY_S: Final = 0.1


class Replica:
    """One ``placet serve``."""

    def __init__(self, team: Team, number: int, *, launch: Sequence[str] = (sys.executable, "-m", "placet")) -> None:
        """Start it; ``launch`` is how the command line begins."""
        self.port = free_port()
        config = team.folder / "placet.yaml"
        command: list[str | Path] = [*launch, "serve", "--config", config, "--port", str(self.port)]
        log = team.folder / f"replica-{number}.log"
        self.process = Process(f"replica {number}", command, log, clean_environment(team.folder))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.process.log.read_text(encoding="utf-8", errors="replace")

    def look(self, path: str = "/readyz") -> tuple[int, str]:
        """Status and text; (0, "") when nobody answers."""
        try:
            return self._call("GET", path)
        except (OSError, http.client.HTTPException):
            return 0, ""

    def ask(self, review: Mapping[str, Any]) -> dict[str, Any]:
        """The response to a review."""
        status, text = self._call("POST", "/v1/admit/production?timeout=10s", json.dumps(review))
        assert status == http.client.OK, text
        response: dict[str, Any] = json.loads(text)["response"]
        return response

    def metric(self, sample: str) -> float:
        """The value of a line of /metrics, 0 when there is none; ``sample`` is all before it."""
        lines = [line for line in self.look("/metrics")[1].splitlines() if line.startswith(f"{sample} ")]
        return float(lines[0].rpartition(" ")[2]) if lines else 0.0

    def _call(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        """Like a kubelet's probe, it looks at no certificate."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=context)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    @property
    def ready(self) -> bool:
        return self.look()[0] == http.client.OK

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def wait_until_ready(self) -> None:
        self.process.wait_until(lambda: self.ready, "ready", PATIENCE_S)

    def end(self) -> None:
        """End it as Ctrl-C does, and wait."""
        if self.process.running:
            self.signal(signal.SIGINT)
        self.process.stop(grace_s=15)

    def wait_for_end(self, status: int) -> None:
        assert poll_until(lambda: not self.process.running, PATIENCE_S)
        assert self.process.status == status, self.process.log_tail()


@contextlib.contextmanager
def started(
    team: Team, *, launch: Sequence[str] = (sys.executable, "-m", "placet"), ready: bool = True
) -> Iterator[Replica]:
    """``placet serve`` alone, ready or only live."""
    replica = Replica(team, 1, launch=launch)
    try:
        replica.process.wait_until(lambda: replica.look("/healthz")[0] == http.client.OK, "live", PATIENCE_S)
        if ready:
            replica.wait_until_ready()
        yield replica
    finally:
        replica.end()


class Service:
    """Replicas of one team's gate and the file that says which of them may be called.

    Attributes:
        endpoints: HOST:PORT of each ready replica, one a line.
        ca: whom callers trust.
        authority: signs the serving certificate.
    """

    def __init__(self, team: Team, folder: Path) -> None:
        """Give the team's folder a certificate that can be rotated, and a short drain."""
        self.team = team
        self.folder = folder
        self.endpoints = folder / "endpoints"
        self.ca = folder / "trusted-ca.crt"
        self._tls = folder / "tls"
        self._tls.mkdir()
        self.replicas: list[Replica] = []
        self._started = 0
        self._ending = threading.Event()
        self._gone: dict[str, float] = {}
        self._terminating: set[str] = set()
        self._listing = threading.Lock()
        self._listed: list[str] = []
        self.authority = self.new_authority("first")
        self.issue(self.authority)
        self.trust(self.authority)
        team.configure(
            {
                "server": {
                    "tls_cert": str(self._tls / "tls.crt"),
                    "tls_key": str(self._tls / "tls.key"),
                    "drain_seconds": DRAIN_S,
                }
            }
        )

    def __enter__(self) -> Self:
        write_lines(self.endpoints, [])
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        for replica in self.replicas:
            if replica.process.running:
                replica.signal(signal.SIGINT)
        for replica in self.replicas:
            replica.process.stop(grace_s=15)

    # -- replicas

    def start(self, count: int = 1) -> list[Replica]:
        """Start replicas and wait until callers are led to them."""
        fresh = []
        for _ in range(count):
            self._started += 1
            fresh.append(Replica(self.team, self._started))
        self.replicas += fresh
        for replica in fresh:
            replica.wait_until_ready()
            self.wait_until_listed(replica)
        return fresh

    def wait_until_listed(self, replica: Replica, *, listed: bool = True) -> None:
        """Until callers are, or are no longer, led to it."""
        assert poll_until(lambda: (replica.address in self._listed) is listed, PATIENCE_S), replica.process.log_tail()

    def replace(self, replica: Replica) -> Replica:
        """What a rolling update does to one replica: a new one is ready before the old one is told to end."""
        (fresh,) = self.start()
        replica.signal(signal.SIGTERM)
        time.sleep(LAG_S)
        # The endpoints controller goes by the Pod's deletion, which no slow probe can hold up.
        self._terminating.add(replica.address)
        self._list([one for one in self._listed if one != replica.address])
        replica.wait_for_end(0)
        self.replicas.remove(replica)
        return fresh

    def _follow(self) -> None:
        """Probes, endpoints controller and watch in one: a replica that is not ready is left out after a moment."""
        while not self._ending.wait(_PROBE_EVERY_S):
            now, listed = time.monotonic(), []
            for replica in list(self.replicas):
                if replica.ready:
                    self._gone.pop(replica.address, None)
                    listed.append(replica.address)
                elif replica.address in self._listed and now < self._gone.setdefault(replica.address, now) + LAG_S:
                    listed.append(replica.address)
            self._list(listed)

    def _list(self, addresses: Sequence[str]) -> None:
        """Lead callers to these from now on, unless they are going away."""
        with self._listing:
            listed = [one for one in addresses if one not in self._terminating]
            if listed != self._listed:
                write_lines(self.endpoints, listed)
                self._listed = listed

    # -- certificates

    def new_authority(self, name: str) -> Authority:
        """Another authority, in a folder of its own."""
        folder = self.folder / f"authority-{name}"
        folder.mkdir()
        return Authority(folder, f"lifecycle {name}")

    def issue(self, authority: Authority) -> None:
        """A new serving certificate, put in place as a Secret's volume does."""
        install(self._tls, authority.server(["localhost", "127.0.0.1"]))

    def trust(self, *authorities: Authority) -> None:
        """What callers believe from now on, as a caBundle."""
        write_lines(self.ca, [one.pem.decode() for one in authorities])

    # -- the record

    @property
    def record(self) -> Path:
        return self.team.folder / "record.sqlite"

    def decided(self) -> dict[str, bool]:
        """uid -> allowed, of all decisions in the record."""
        connection = sqlite3.connect(f"file:{self.record}?mode=ro", uri=True)
        try:
            rows = connection.execute("SELECT uid, allowed FROM leaves WHERE leaf_type = 'decision'").fetchall()
        finally:
            connection.close()
        assert len(rows) == len({uid for uid, _ in rows})
        return {uid: bool(allowed) for uid, allowed in rows}

    def verify(self) -> str:
        """``placet audit verify`` of the whole record: what it printed."""
        key = (self.team.folder / "keys" / "log.vkey").read_text(encoding="utf-8").strip()
        return self.team.run("audit", "verify", "--store", "record.sqlite", "--log-key", key).stdout

    def require_clean(self, outcome: Outcome, *, before: dict[str, bool]) -> None:
        """No call failed or was judged wrongly, and the record has grown by exactly the answers."""
        assert (outcome.failed, outcome.wrong) == (0, 0), f"{outcome.told}\n{self.complaints()}"
        grown = {uid: allowed for uid, allowed in self.decided().items() if uid not in before}
        assert {uid for uid, allowed in grown.items() if allowed} == outcome.by_verdict["allowed"]
        assert {uid for uid, allowed in grown.items() if not allowed} == outcome.by_verdict["refused"]
        assert self.complaints() == {}

    def complaints(self) -> dict[str, int]:
        """Lines of the logs that say an error or show a traceback, and how often."""
        found: Counter[str] = Counter()
        for file in sorted(self.team.folder.glob("replica-*.log")):
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                if '"level": "error"' in line or '"level":"error"' in line or "Traceback" in line:
                    found[line] += 1
        return dict(found)
