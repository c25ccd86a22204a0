"""Reviews sent to a server by our load generator, and the CPU that the server took for them."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.e2e.processes import program_path

WARMUP_S: Final = 0.3
UID_PLACE: Final = "00000000-0000-0000-0000-000000000000"
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")


class BenchmarkError(Exception):
    """What was to be measured did not happen."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running webhook.

    Attributes:
        name: in tables.
        url: where reviews go.
        pid: its process; its children belong to it.
        ca_file: who signed its certificate.
        others: further processes of the same server; callers are shared out among them all.
    """

    name: str
    url: str
    pid: int
    ca_file: Path
    others: tuple[Server, ...] = ()

    @property
    def urls(self) -> list[str]:
        """Of all its processes."""
        return [self.url, *(other.url for other in self.others)]

    def cpu_seconds(self) -> float:
        """CPU that all its processes have taken since they started."""
        return sum(cpu_seconds(pid) for pid in (self.pid, *(other.pid for other in self.others)))


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of the load generator measured.

    Attributes:
        answered: answers, those of the warm-up among them.
        per_s: answers a second after the warm-up.
        cpu_us: CPU of the server and its children for an answer, kernel included, microseconds.
        p50_us: median latency, microseconds.
        p99_us: of a hundred answers, one took longer.
        tls: version and cipher.
    """

    answered: int
    per_s: float
    cpu_us: float
    p50_us: float
    p99_us: float
    tls: str


def drive(
    server: Server,
    reviews: Path,
    *,
    callers: int,
    seconds: float,
    rate: float = 0,
    first: int = 0,
    expect: str = "allowed",
) -> Run:
    """Send reviews for so long, and require that each is answered as expected.

    Args:
        server: where to.
        reviews: file with one review a line, ``UID_PLACE`` where the uid goes.
        callers: connections, each with one review at a time.
        seconds: after a short warm-up.
        rate: so many reviews a second; 0 for as many as the callers get answered.
        first: line of the file to begin with.
        expect: ``allowed`` or ``refused``.

    Raises:
        BenchmarkError: a review was not answered, or otherwise than expected.
    """
    command: list[str | Path] = [
        *(program_path("load"), "drive", "-ca", server.ca_file, "-reviews", reviews),
        *(part for url in server.urls for part in ("-url", url)),
        *("-callers", str(callers), "-seconds", str(seconds), "-warmup", str(WARMUP_S), "-rate", str(rate)),
        *("-first", str(first), "-expect", expect),
    ]
    before = server.cpu_seconds()
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    spent = server.cpu_seconds() - before
    if ran.returncode != 0:
        raise BenchmarkError(f"{server.name}: {ran.stderr.strip()}")
    found: dict[str, Any] = json.loads(ran.stdout)
    if found["failed"] or found["unexpected"] or not found["measured"]:
        raise BenchmarkError(
            f"{server.name}, {callers} callers: of {found['sent']} reviews {found['failed']} were not answered and "
            f"{found['unexpected']} not {expect}. {found['first_failure']}"
        )
    answered = int(found["answered"])
    return Run(
        answered=answered,
        per_s=found["per_s"],
        cpu_us=spent / answered * 1e6,
        p50_us=found["p50_us"],
        p99_us=found["p99_us"],
        tls=found["tls"],
    )


def ask(server: Server, review: Mapping[str, Any]) -> dict[str, Any]:
    """The ``response`` to one review."""
    parts = urlsplit(server.url)
    context = ssl.create_default_context(cafile=server.ca_file)
    connection = http.client.HTTPSConnection(str(parts.hostname), parts.port, timeout=30, context=context)
    try:
        connection.request("POST", parts.path, json.dumps(review), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise BenchmarkError(f"{server.name} answered HTTP {answer.status}: {content[:300]!r}")
    response: dict[str, Any] = json.loads(content)["response"]
    return response


def require(server: Server, review: Mapping[str, Any], *, allowed: bool, because: str = "") -> None:
    """Hold one answer against what it must be, so that a server that does not look is not measured.

    Raises:
        BenchmarkError: it is another one, or its message does not contain ``because``.
    """
    response = ask(server, review)
    message = str((response.get("status") or {}).get("message", ""))
    if response["allowed"] is not allowed or because not in message:
        wanted = "allow" if allowed else f"refuse ({because})"
        raise BenchmarkError(f"{server.name} was to {wanted} a review and answered {json.dumps(response)[:600]}")


def cpu_seconds(pid: int) -> float:
    """CPU that a process and its descendants have taken since they started, user and kernel, ended children too."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # it has ended
            continue
        fields = text.rpartition(")")[2].split()
        parents[int(entry.name)] = int(fields[1])
        spent[int(entry.name)] = sum(int(ticks) for ticks in fields[11:15]) * _TICK_S
    if pid not in spent:
        raise BenchmarkError(f"process {pid} has ended")
    return sum(seconds for each, seconds in spent.items() if _descends(each, pid, parents))


def _descends(pid: int, ancestor: int, parents: Mapping[int, int]) -> bool:
    while pid != ancestor:
        if pid not in parents:
            return False
        pid = parents[pid]
    return True
