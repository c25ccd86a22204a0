"""Floods at a webhook while honest reviews go on: started, measured, held against what must never happen."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.flooder import Caller, Outcome
from benchmarks.load import BenchmarkError, Server
from benchmarks.reviews import Approvers, write_reviews
from benchmarks.servers import Gate, Site
from tests.e2e.authority import Authority
from tests.e2e.processes import program_path
from tests.simulators.answers import Server as Cluster
from tests.simulators.answers import found, later
from tests.simulators.gate import review

HOME: Final = "127.0.0.1"
ELSEWHERE: Final = "127.0.0.2"
TOKEN: Final = "token-of-a-path-that-nobody-guesses"  # noqa: S105 - of this benchmark alone
ADMIT: Final = "/v1/admit/production"
LARGEST_BYTES: Final = 8 * 1024 * 1024
_START_S: Final = 60.0
_SAMPLE_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Scene:
    """One flood.

    Attributes:
        name: in the table.
        kind: see :class:`Caller`.
        connections: at once.
        reviews: ``small``, ``largest`` or ``larger`` ones.
        times: so many times the capacity are meant to be sent; 0 for as many as are answered.
        stranger: comes from the honest caller's own address, without its token.
    """

    name: str
    kind: str
    connections: int
    reviews: str = "small"
    times: float = 0.0
    stranger: bool = False


# Machines on which flooder and gate share the cores can't send ten times what the gate can judge, unless each review
# waits for something else: here for an API server that takes this long to say what a Namespace is.
SLOW_LOOKUP_S: Final = 0.1

SCENES: Final = (
    Scene("100 stalled connections", "stalled", 100),
    Scene("100 slow bodies", "slow", 100),
    Scene("16 callers with bodies of 8 MiB", "reviews", 16, "largest"),
    Scene("16 callers with bodies of 8 MiB + 1", "reviews", 16, "larger"),
    Scene("300 callers without end, another API server", "reviews", 300, times=10),
    Scene("200 strangers without end, the same address", "reviews", 200, times=10, stranger=True),
    Scene("8 MiB of strangers at the same address", "reviews", 16, "largest", stranger=True),
    Scene("handshakes without end, another address", "handshakes", 32),
)
# A caller that waits in the line sends nothing else meanwhile: what is aimed at is above what comes of it.
SLOW_SCENES: Final = (Scene("600 callers, ten times the capacity, another API server", "reviews", 600, times=20),)


@dataclass(frozen=True, slots=True)
class Found:
    """One scene.

    Attributes:
        honest: what became of the honest reviews.
        flood: what became of the others.
        peak_mib: the most memory that the gate held, resident.
    """

    honest: Outcome
    flood: Outcome
    peak_mib: float

    def times(self, capacity: float) -> float:
        """How many times the capacity the flood sent."""
        return self.flood.sent / self.flood.seconds / capacity


class Stage:
    """A gate with a token, reviews that it has to allow, and some that it has to refuse."""

    def __init__(self, folder: Path, *, lookup_s: float | None = None) -> None:
        """Sign the reviews; nothing runs yet.

        Args:
            folder: for all files; made.
            lookup_s: the gate reads the Namespace of each review, and is answered after so many seconds; None for a
                gate that reads nothing.
        """
        site_folder = folder / "site"
        site_folder.mkdir(parents=True)
        authority = Authority(site_folder, "benchmarks")
        self._site = Site(site_folder, "localhost", HOME, authority.server(["localhost", HOME]), authority.path)
        self.gate = Gate(self._site)
        approvers = Approvers(self.gate.folder)
        self._files = {name: str(folder / f"{name}.jsonl") for name in ("honest", "small", "largest", "larger")}
        write_reviews(Path(self._files["honest"]), (approvers.manifest(number) for number in range(20)))
        unapproved = approvers.manifest(0, name="flood")
        unapproved["metadata"]["annotations"] = {}
        write_reviews(Path(self._files["small"]), [unapproved])
        for name, size in (("largest", LARGEST_BYTES), ("larger", LARGEST_BYTES + 1)):
            Path(self._files[name]).write_bytes(_padded(unapproved, size))
        self._server: Server | None = None
        self._cluster = None if lookup_s is None else _slow_cluster(lookup_s)
        if self._cluster is not None:
            kubeconfig = self._cluster.write_kubeconfig(folder / "kubeconfig")
            room = {"max_connections": 2048, "max_connections_per_address": 1024}  # so that every review is read
            self.gate.configure({"environments": "lookup", "kubeconfig": str(kubeconfig), "server": room})

    @contextlib.contextmanager
    def running(self) -> Iterator[Stage]:
        """The gate, until the block ends."""
        cluster = contextlib.nullcontext() if self._cluster is None else self._cluster.serving()
        with cluster, self.gate.running(PLACET_PATH_TOKEN=TOKEN) as self._server:
            yield self

    @property
    def pid(self) -> int:
        """Of the gate."""
        if self._server is None:
            raise BenchmarkError("the gate does not run")
        return self._server.pid

    def _caller(self, kind: str, *, reviews: str, stranger: bool = False, source: str = HOME, **terms: Any) -> Caller:
        if self._server is None:
            raise BenchmarkError("the gate does not run")
        port = int(self._server.url.partition("localhost:")[2].partition("/")[0])
        path = ADMIT if stranger else f"{ADMIT}/{TOKEN}"
        return Caller(kind, port, str(self._site.ca_file), path, source=source, reviews=self._files[reviews], **terms)

    def measure_capacity(self, seconds: float) -> float:
        """Reviews a second that are answered when as many are asked, of refused ones like those of the floods."""
        caller = self._caller("reviews", reviews="small", source=ELSEWHERE, connections=8, seconds=seconds)
        outcome = _finish(_start(caller))
        if outcome.failed:
            raise BenchmarkError(f"the gate answered {outcome.by_status} when its capacity was measured")
        return outcome.by_status.get("200", 0) / outcome.seconds

    def honest(self, *, rate: float, seconds: float, deadline_s: float) -> Outcome:
        """Honest reviews at a rate, on as many connections as an API server may open, each to be allowed."""
        terms: dict[str, Any] = {"connections": 16, "rate": rate, "seconds": seconds, "deadline_s": deadline_s}
        return _finish(_start(self._caller("honest", reviews="honest", expect="allowed", **terms)))

    def play(self, scene: Scene, *, capacity: float, rate: float, seconds: float, deadline_s: float) -> Found:
        """One flood, and honest reviews while it stands."""
        caller = self._caller(
            scene.kind,
            reviews=scene.reviews,
            stranger=scene.stranger,
            source=HOME if scene.stranger else ELSEWHERE,
            connections=scene.connections,
            rate=scene.times * capacity,
        )
        flood = _start(caller)
        try:
            _wait_until_standing(flood)
            with _watching_memory(self.pid) as peak:
                honest = self.honest(rate=rate, seconds=seconds, deadline_s=deadline_s)
        finally:
            flood.terminate()
        return Found(honest, _finish(flood), peak[0])


def _slow_cluster(seconds: float) -> Cluster:
    """What stands for an API server that says of every Namespace that it belongs to production, after a while."""
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "ml-serving", "uid": "n", "labels": {"placet.dev/environment": "production"}},
    }
    cluster = Cluster()
    cluster.answers = [later(seconds, found(namespace))]
    return cluster


def _padded(manifest: dict[str, Any], size: int) -> bytes:
    """A review of exactly so many bytes, which is read to its end before it is refused."""
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": f"PADDING_{number}", "value": "x" * 1000} for number in range(size // 1100)]
    body = json.dumps(review(manifest, uid="00000000-0000-0000-0000-000000000000"), separators=(",", ":")).encode()
    container["env"].append({"name": "REST", "value": "x" * (size - len(body) - len(',{"name":"REST","value":""}'))})
    body = json.dumps(review(manifest, uid="00000000-0000-0000-0000-000000000000"), separators=(",", ":")).encode()
    if len(body) != size:
        raise BenchmarkError(f"a review of {len(body)} bytes, not {size}")
    return body + b"\n"


def _start(caller: Caller) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.flooder", json.dumps(dataclasses.asdict(caller))]
    if caller.kind == "reviews" and caller.rate:  # at a rate that Python can't send
        url = f"https://localhost:{caller.port}{caller.path}?timeout={caller.deadline_s:g}s"
        where = ["-url", url, "-ca", caller.ca_file, "-reviews", caller.reviews, "-source", caller.source]
        terms = ["-callers", str(caller.connections), "-rate", str(caller.rate)]
        command = [str(program_path("load")), "flood", *where, *terms]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[1])


def _wait_until_standing(flood: subprocess.Popen[str]) -> None:
    output = flood.stdout
    impatient = threading.Timer(_START_S, flood.kill)
    impatient.start()
    try:
        line = "" if output is None else output.readline()
    finally:
        impatient.cancel()
    if line != "standing\n":
        raise BenchmarkError(f"a flood never stood: {line!r}")


def _finish(process: subprocess.Popen[str]) -> Outcome:
    try:
        written, _ = process.communicate(timeout=_START_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise BenchmarkError("a caller did not end") from None
    if process.returncode != 0:
        raise BenchmarkError(f"a caller failed: {written}")
    return Outcome(**json.loads(written.splitlines()[-1]))


@contextlib.contextmanager
def _watching_memory(pid: int) -> Iterator[list[float]]:
    """The most resident memory of a process until the block ends, MiB, in a list of one."""
    peak, ended = [resident_mib(pid)], threading.Event()

    def watch() -> None:
        while not ended.wait(_SAMPLE_S):
            peak[0] = max(peak[0], resident_mib(pid))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


def resident_mib(pid: int) -> float:
    """Resident memory of a process, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise BenchmarkError(f"process {pid} has ended")
