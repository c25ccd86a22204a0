"""The whole gate beside OPA, Gatekeeper and a webhook that always allows, answering the same review on the same cores.

    python benchmarks/bench_peers.py [--quick] [--callers 1 8 64] [--json FILE]

Every server is a process of its own, reached by TLS 1.3 and HTTP/1.1 on keep-alive connections, as an API server calls
a Service. All run from the start; one at a time is sent reviews, in turns, so that whatever else the machine does
hits all alike. The load generator shares the cores. Shown are the median of the rounds and its least and most.

* ``placet, cold``: each review is of another workload with three signatures that were never seen before, taken from a
  pool larger than any cache of them;
* ``placet, warm``: the same workload under new uids, as in a retry, a roll-out or a controller's updates;
* ``two replicas``: the same, callers shared out between two processes that write one record;
* OPA and Gatekeeper judge eleven rules in Rego over the same object (benchmarks/peers/guard.rego). They verify no
  signature and keep no durable record.

Held in the same run: every review is answered, and allowed; a forbidden image is refused by each that looks, an
approval with one bit of its signature turned by placet; and placet's record grew by exactly the answers, and verifies.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the servers are started by what the tests start them with

from benchmarks.gatekeeper import running_gatekeeper, wait_until_refusing  # noqa: E402 - after the path is set
from benchmarks.load import BenchmarkError, Run, Server, drive, require  # noqa: E402
from benchmarks.machine import say  # noqa: E402
from benchmarks.results import Spread, bench, parser, render_table, run_command  # noqa: E402
from benchmarks.reviews import APPROVERS, NAMESPACE, Approvers, altered, with_foreign_image, write_reviews  # noqa: E402
from benchmarks.servers import Gate, Site, running_allow, running_opa  # noqa: E402
from placet.approvals.remembered import MAX_ENTRIES  # noqa: E402
from tests.e2e.controlplane import ControlPlane  # noqa: E402
from tests.simulators.gate import review  # noqa: E402

COLD: Final = "placet, cold"
WARM: Final = "placet, warm"
# Two processes on one record, as the chart installs it: one process judges on little more than one core.
COLD_TWICE: Final = "placet, cold, two replicas"
WARM_TWICE: Final = "placet, warm, two replicas"
OURS: Final = frozenset({COLD, WARM, COLD_TWICE, WARM_TWICE})
GATEKEEPER: Final = "Gatekeeper"
STEADY_PER_S: Final = 50
STEADY_CALLERS: Final = 8
EVIDENCE_CALLERS: Final = 8


@dataclass(frozen=True, slots=True)
class Contender:
    """A row of the table: a server, and the reviews that it is sent."""

    name: str
    server: Server
    reviews: Path
    evidence: Path


@dataclass(slots=True)
class Arena:
    """All that runs.

    Attributes:
        contenders: in the order of the table.
        gate: placet's folder and record.
        sizes: bytes of the review, and of the one with evidence.
        expected: decisions that have to be in placet's record.
        asked: how many reviews of a file placet has been sent.
        runs: row and column -> what each round measured.
    """

    contenders: list[Contender]
    gate: Gate
    sizes: tuple[int, int]
    expected: int = 0
    asked: dict[Path, int] = field(default_factory=dict)
    runs: dict[tuple[str, str], list[Run]] = field(default_factory=dict)

    def run(self, contender: Contender, key: str, reviews: Path, **how: Any) -> None:
        """One run of one row; placet's record must have grown by exactly its answers."""
        # Each run goes on where the last one ended, or a cache would know the first workloads again.
        found = drive(contender.server, reviews, first=self.asked.get(reviews, 0), **how)
        self.runs.setdefault((contender.name, key), []).append(found)
        if contender.name in OURS:
            self.asked[reviews] = self.asked.get(reviews, 0) + found.answered
            self.expected += found.answered
            self.require_recorded()

    def require_recorded(self) -> None:
        """Hold the record against the answers.

        Raises:
            BenchmarkError: an answer has no record, or a record no answer.
        """
        found = self.gate.records()
        if found != self.expected:
            raise BenchmarkError(f"placet allowed {self.expected} reviews, and its record has {found}")

    def spread(self, name: str, key: str, value: Callable[[Run], float]) -> Spread:
        """One number of all the rounds."""
        return Spread.of(value(found) for found in self.runs[name, key])


def require_cold(pool: int) -> None:
    """Hold the pool of workloads against what the gate remembers of signatures.

    Raises:
        BenchmarkError: a workload would come again while its signatures are still known.
    """
    if pool * len(APPROVERS) <= MAX_ENTRIES:
        fewest = MAX_ENTRIES // len(APPROVERS) + 1
        raise BenchmarkError(f"{pool} workloads are too few to be new to the gate each time: --pool {fewest} or more")


def open_arena(folder: Path, stack: contextlib.ExitStack, *, pool: int, evidence_pool: int) -> Arena:
    """Sign the reviews and start every server."""
    site = Site.open(folder / "site")
    gate = Gate(site)
    approvers = Approvers(gate.folder)
    one, with_evidence = approvers.manifest(0), approvers.manifest(0, evidence=True)
    files = {name: folder / f"{name}.jsonl" for name in ("warm", "cold", "warm-evidence", "cold-evidence")}
    sizes = (write_reviews(files["warm"], [one]), write_reviews(files["warm-evidence"], [with_evidence]))
    say(f"signing {pool} + {evidence_pool} workloads")
    write_reviews(files["cold"], (approvers.manifest(number) for number in range(1, pool + 1)))
    write_reviews(
        files["cold-evidence"],
        (approvers.manifest(-number, evidence=True) for number in range(1, evidence_pool + 1)),
    )
    say("starting the servers")
    plane = stack.enter_context(ControlPlane())
    plane.create_namespace(NAMESPACE)
    others = [
        stack.enter_context(running_allow(site)),
        stack.enter_context(running_opa(site, decision_log=False)),
        stack.enter_context(running_opa(site, decision_log=True)),
        stack.enter_context(running_gatekeeper(site, plane)),
    ]
    placet = stack.enter_context(gate.running())
    twice = replace(placet, others=(stack.enter_context(gate.running(replica="-second")),))
    contenders = [Contender(one.name, one, files["warm"], files["warm-evidence"]) for one in others]
    contenders += [
        Contender(COLD, placet, files["cold"], files["cold-evidence"]),
        Contender(WARM, placet, files["warm"], files["warm-evidence"]),
        Contender(COLD_TWICE, twice, files["cold"], files["cold-evidence"]),
        Contender(WARM_TWICE, twice, files["warm"], files["warm-evidence"]),
    ]
    arena = Arena(contenders, gate, sizes)
    require_judged(arena, one, with_evidence)
    return arena


def require_judged(arena: Arena, *manifests: dict[str, Any]) -> None:
    """Show that each server looks at what it is sent."""
    for contender in arena.contenders[1 : -len(OURS) + 1]:
        server = contender.server
        if contender.name == GATEKEEPER:
            wait_until_refusing(server, review(with_foreign_image(manifests[0])))
        for manifest in manifests:
            require(server, review(manifest), allowed=True)
            because = "digest" if contender.name == COLD else "not from an allowed registry"
            require(server, review(with_foreign_image(manifest)), allowed=False, because=because)
            if contender.name == COLD:
                arena.expected += 1
                require(server, review(altered(manifest)), allowed=False, because="security approval on it does not")
    arena.require_recorded()


def in_turns(contenders: Sequence[Contender], round_: int) -> list[Contender]:
    """The rows in another order each round, so that none always follows the same one."""
    turn = round_ % len(contenders)
    return [*contenders[turn:], *contenders[:turn]]


def measure(arena: Arena, asked: argparse.Namespace) -> None:
    """All rounds."""
    for number in range(asked.rounds):
        for callers in asked.callers:
            for one in in_turns(arena.contenders, number):
                arena.run(one, str(callers), one.reviews, callers=callers, seconds=asked.seconds)
            say(f"round {number + 1} of {asked.rounds}: {callers} callers done")
        for one in in_turns(arena.contenders, number):
            arena.run(
                one, "steady", one.reviews, callers=STEADY_CALLERS, seconds=asked.steady_seconds, rate=STEADY_PER_S
            )
        say(f"round {number + 1} of {asked.rounds}: {STEADY_PER_S} a second done")
        for one in in_turns(arena.contenders, number):
            arena.run(one, "evidence", one.evidence, callers=EVIDENCE_CALLERS, seconds=asked.seconds)
        say(f"round {number + 1} of {asked.rounds}: reviews with evidence done")


def collect(arena: Arena, asked: argparse.Namespace) -> dict[str, Any]:
    """The numbers, for the report."""
    rows = []
    for one in arena.contenders:
        row: dict[str, Any] = {"name": one.name, "tls": arena.runs[one.name, "steady"][0].tls}
        for key in (*map(str, asked.callers), "evidence"):
            row[key] = {
                "per_s": arena.spread(one.name, key, lambda run: run.per_s).as_json(),
                "cpu_us": arena.spread(one.name, key, lambda run: run.cpu_us).as_json(),
            }
        row["steady"] = {
            "p50_ms": arena.spread(one.name, "steady", lambda run: run.p50_us / 1e3).as_json(),
            "p99_ms": arena.spread(one.name, "steady", lambda run: run.p99_us / 1e3).as_json(),
            "cpu_us": arena.spread(one.name, "steady", lambda run: run.cpu_us).as_json(),
        }
        rows.append(row)
    return {
        "callers": asked.callers,
        "rounds": asked.rounds,
        "seconds": asked.seconds,
        "steady_per_s": STEADY_PER_S,
        "review_bytes": arena.sizes[0],
        "evidence_bytes": arena.sizes[1],
        "evidence_callers": EVIDENCE_CALLERS,
        "pool": asked.pool,
        "rows": rows,
    }


def render(peers: dict[str, Any]) -> str:
    """The tables in Markdown."""
    rows = peers["rows"]
    yardstick = next(row for row in rows if row["name"] == GATEKEEPER)
    columns = [(str(count), f"{count} caller{'s' if count > 1 else ''}") for count in peers["callers"]]
    evidence = [("evidence", f"{peers['evidence_callers']} callers")]
    title = f"review of {peers['review_bytes'] / 1000:.1f} KB: three approvals"
    more = f"review of {peers['evidence_bytes'] / 1000:.1f} KB: three approvals and four attestations"
    return "\n".join(
        [
            _throughput(title, rows, columns, yardstick),
            _cpu(title, rows, columns, yardstick),
            _steady(f"{peers['steady_per_s']} reviews/s", rows, yardstick),
            _throughput(more, rows, evidence, yardstick),
            _cpu(more, rows, evidence, yardstick),
        ]
    )


def _throughput(
    title: str, rows: Sequence[dict[str, Any]], columns: Sequence[tuple[str, str]], yardstick: dict[str, Any]
) -> str:
    """Reviews a second, and the ratio to the yardstick's."""
    head = [title]
    for _, shown in columns:
        head += [f"{shown}: reviews/s", f"x {GATEKEEPER}"]
    lines = []
    for row in rows:
        cells = [row["name"]]
        for key, _ in columns:
            cells += [str(Spread(**row[key]["per_s"])), _ratio(row[key]["per_s"], yardstick[key]["per_s"])]
        lines.append(cells)
    return render_table(head, lines)


def _cpu(
    title: str, rows: Sequence[dict[str, Any]], columns: Sequence[tuple[str, str]], yardstick: dict[str, Any]
) -> str:
    """CPU of the server for a review, and the ratio to the yardstick's."""
    head = [title]
    for _, shown in columns:
        head += [f"{shown}: CPU us", f"x {GATEKEEPER}"]
    lines = []
    for row in rows:
        cells = [row["name"]]
        for key, _ in columns:
            cells += [f"{row[key]['cpu_us']['median']:,.0f}", _ratio(row[key]["cpu_us"], yardstick[key]["cpu_us"])]
        lines.append(cells)
    return render_table(head, lines)


def _steady(title: str, rows: Sequence[dict[str, Any]], yardstick: dict[str, Any]) -> str:
    """Latencies at a fixed rate."""
    head = [title, "p50 ms", "p99 ms", "CPU us", f"p50 x {GATEKEEPER}", f"p99 x {GATEKEEPER}"]
    lines = []
    for row in rows:
        found, other = row["steady"], yardstick["steady"]
        latencies = [f"{found[key]['median']:.2f}" for key in ("p50_ms", "p99_ms")]
        ratios = [_ratio(found[key], other[key]) for key in ("p50_ms", "p99_ms")]
        lines.append([row["name"], *latencies, f"{found['cpu_us']['median']:,.0f}", *ratios])
    return render_table(head, lines)


def _ratio(value: dict[str, float], other: dict[str, float]) -> str:
    return f"{value['median'] / other['median']:.2f}"


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--callers", type=int, nargs="+", default=[1, 8, 64])
    made.add_argument("--rounds", type=int, help="default: 3, quick 1")
    made.add_argument("--seconds", type=float, help="of one run (default: 3, quick 0.5)")
    made.add_argument("--steady-seconds", type=float, help="of one run at a fixed rate (default: 6, quick 1)")
    made.add_argument("--pool", type=int, help="workloads of the cold reviews (default: 6000, quick 1500)")
    asked = made.parse_args()
    asked.rounds = asked.rounds or (1 if asked.quick else 3)
    asked.seconds = asked.seconds or (0.5 if asked.quick else 3.0)
    asked.steady_seconds = asked.steady_seconds or (1.0 if asked.quick else 6.0)
    asked.pool = asked.pool or (1500 if asked.quick else 6000)
    require_cold(asked.pool)
    with bench(asked) as (folder, results), contextlib.ExitStack() as stack:
        arena = open_arena(folder, stack, pool=asked.pool, evidence_pool=asked.pool // 2)
        measure(arena, asked)
        results["peers"] = collect(arena, asked)
        arena.gate.verify_record()
    print(render(results["peers"]))


if __name__ == "__main__":
    run_command(main)
