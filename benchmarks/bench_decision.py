"""CPU of one whole decision, in this process, without HTTP: from the bytes of a review to those of its answer.

    python benchmarks/bench_decision.py [--reviews 300] [--rounds 5] [--signatures 3 7] [--profile] [-o json]
    python benchmarks/bench_decision.py --namespaces

Every review is let in and leaves a durable record. It carries three signatures (three approvals, in an environment that
believes declared facts) or seven (with signed evidence for every fact of the risk). Modes:

* ``cold``: each review is another workload with signatures of its own, so that nothing of one helps the next;
* ``warm``: one workload again and again under new uids, as in a retry or a roll-out over many replicas;
* ``update``: the same workload as old and new object, as every controller sends it after a change of replicas.

``--namespaces`` measures another thing instead: a warm decision that believes the path of the request beside one that
reads the Namespace of each review from a real API server (``environments: lookup``), in turns.

CPU is that of the whole process, kernel included, the best of several rounds; the columns of one run may be compared
with each other, not with those of another machine. ``--profile`` names the steps that the time went to.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the people who sign are those of the tests

from benchmarks.steps import STEPS, Steps  # noqa: E402 - after the path is set
from benchmarks.team import Team  # noqa: E402
from placet.environments import KubernetesNamespaces  # noqa: E402
from tests.e2e.controlplane import ControlPlane  # noqa: E402

MODES: Final = ("cold", "warm", "update")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one decision takes: microseconds of CPU, and of wall time as its caller sees it."""

    cpu_us: float
    wall_us: float


def cost(team: Team, bodies: Sequence[bytes], threads: int) -> Cost:
    """Send the bodies from so many threads, each its share."""
    start = threading.Barrier(threads + 1)
    failures: list[BaseException] = []

    def call(share: Sequence[bytes]) -> None:
        start.wait()
        try:
            for body in share:
                team.admit(body)
        except BaseException as exc:  # noqa: BLE001 - told by the main thread
            failures.append(exc)

    callers = [threading.Thread(target=call, args=(bodies[number::threads],)) for number in range(threads)]
    for caller in callers:
        caller.start()
    start.wait()
    cpu, wall = time.process_time(), time.perf_counter()
    for caller in callers:
        caller.join()
    taken = Cost((time.process_time() - cpu) / len(bodies) * 1e6, (time.perf_counter() - wall) / len(bodies) * 1e6)
    if failures:
        raise failures[0]
    return taken


def measure_mode(folder: Path, asked: argparse.Namespace, signatures: int, mode: str, threads: int) -> dict[str, Any]:
    """One row of the table, in a record of its own."""
    with Team.open(folder / f"{signatures}-{mode}-{threads}", signatures=signatures) as team:
        bodies = [team.bodies(mode, asked.reviews) for _ in range(asked.rounds + 1)]
        cost(team, bodies.pop(), threads)  # whatever is made once
        kib = len(bodies[0][0]) / 1024
        taken = min((cost(team, share, threads) for share in bodies), key=lambda one: one.cpu_us)
    print(f"{signatures} signatures, {mode}, {threads} threads done", file=sys.stderr)
    return {"signatures": signatures, "mode": mode, "threads": threads, "kib": kib, **asdict(taken)}


def measure_records(folder: Path, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """A warm decision with so many records in the store, the sizes taken in turns."""
    with contextlib.ExitStack() as stack:
        teams: dict[int, Team] = {}
        for size in asked.records:
            teams[size] = stack.enter_context(Team.open(folder / f"records-{size}", signatures=7))
            teams[size].fill(size)
            cost(teams[size], teams[size].bodies("warm", asked.reviews), 1)
            print(f"{size} records written", file=sys.stderr)
        found: dict[int, list[Cost]] = {size: [] for size in asked.records}
        for _ in range(asked.rounds):
            for size, team in teams.items():
                found[size].append(cost(team, team.bodies("warm", asked.reviews), 1))
    return [{"records": size, "cpu_us": min(one.cpu_us for one in costs)} for size, costs in found.items()]


def measure_namespaces(folder: Path, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each number of threads: the medians of both kinds of decision, and of their ratios round by round."""
    rows = []
    with ControlPlane() as plane, contextlib.ExitStack() as stack:
        plane.create_namespace("ml-serving", {"placet.dev/environment": "production"})
        looking = KubernetesNamespaces(str(plane.kubeconfig_path()))
        teams = {
            name: stack.enter_context(Team.open(folder / name, signatures=7, namespaces=namespaces))
            for name, namespaces in (("believed", None), ("looked_up", looking))
        }
        for threads in asked.threads:
            costs: dict[str, list[Cost]] = {name: [] for name in teams}
            for turn in range(asked.rounds + 1):
                # whoever comes first in one turn comes last in the next
                for name, team in list(teams.items())[:: 1 if turn % 2 else -1]:
                    found = cost(team, team.bodies("warm", asked.reviews), threads)
                    if turn:  # connections are opened once
                        costs[name].append(found)
            pairs = list(zip(costs["believed"], costs["looked_up"], strict=True))
            rows.append(
                {
                    "threads": threads,
                    **{f"{name}_us": statistics.median(one.wall_us for one in each) for name, each in costs.items()},
                    "wall_ratio": statistics.median(after.wall_us / before.wall_us for before, after in pairs),
                    "cpu_ratio": statistics.median(after.cpu_us / before.cpu_us for before, after in pairs),
                }
            )
            print(f"{threads} threads done", file=sys.stderr)
    return rows


def print_namespaces(rows: list[dict[str, Any]]) -> None:
    """The rows as a table."""
    print(f"{'threads':<9}{'path believed, us':>19}{'looked up, us':>15}{'wall ratio':>12}{'CPU ratio':>11}")
    for row in rows:
        print(
            f"{row['threads']:<9}{row['believed_us']:>19.0f}{row['looked_up_us']:>15.0f}"
            f"{row['wall_ratio']:>12.2f}{row['cpu_ratio']:>11.2f}"
        )


def measure_steps(folder: Path, reviews: int, signatures: int) -> dict[str, dict[str, float]]:
    """Mode -> step -> microseconds of CPU of one decision in that step alone, without the steps inside it."""
    found: dict[str, dict[str, float]] = {}
    for mode in MODES:
        with Team.open(folder / f"steps-{mode}", signatures=signatures) as team:
            cost(team, team.bodies(mode, reviews), 1)
            bodies = team.bodies(mode, reviews)
            with Steps.watched() as steps:
                for body in bodies:
                    with steps.step("the rest"):
                        team.admit(body)
        found[mode] = {name: spent / reviews / 1000 for name, spent in steps.spent_ns.items()}
    return found


def print_steps(found: dict[str, dict[str, float]]) -> None:
    """The profile as a table, in the order of the steps."""
    print(f"\n{'step':<44}" + "".join(f"{mode:>9}" for mode in MODES))
    for name in (*STEPS, "the rest"):
        print(f"{name:<44}" + "".join(f"{found[mode].get(name, 0):>9.0f}" for mode in MODES))
    print(f"{'all, watched':<44}" + "".join(f"{sum(found[mode].values()):>9.0f}" for mode in MODES))


def print_table(modes: list[dict[str, Any]], records: list[dict[str, Any]]) -> None:
    """Costs, each beside the cold one of the same signatures and threads."""
    print(f"{'signatures':<12}{'mode':<8}{'threads':>8}{'KiB':>7}{'CPU us':>9}{'beside cold':>13}{'wall us':>9}")
    cold = {(row["signatures"], row["threads"]): row["cpu_us"] for row in modes if row["mode"] == "cold"}
    for row in modes:
        ratio = row["cpu_us"] / cold[row["signatures"], row["threads"]]
        print(
            f"{row['signatures']:<12}{row['mode']:<8}{row['threads']:>8}{row['kib']:>7.1f}{row['cpu_us']:>9.0f}"
            f"{ratio:>13.2f}{row['wall_us']:>9.0f}"
        )
    for row in records:
        ratio = row["cpu_us"] / records[0]["cpu_us"]
        print(f"with {row['records']:>7,} records {row['cpu_us']:>6.0f} us CPU, {ratio:.2f} x the first")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CPU of one whole decision, without HTTP.")
    parser.add_argument("--folder", type=Path, help="where to write the records")
    parser.add_argument("--reviews", type=int, default=300, help="decisions of one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--signatures", type=int, nargs="+", choices=[3, 7], default=[3, 7])
    parser.add_argument("--records", type=int, nargs="*", default=[1_000, 100_000])
    parser.add_argument("--profile", action="store_true", help="by step, instead of the whole")
    parser.add_argument("--namespaces", action="store_true", help="with and without a look-up of the Namespace")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        if asked.profile:
            steps = measure_steps(folder, asked.reviews, asked.signatures[-1])
            print(json.dumps(steps, indent=2)) if asked.output == "json" else print_steps(steps)
            return
        if asked.namespaces:
            rows = measure_namespaces(folder, asked)
            print(json.dumps(rows, indent=2)) if asked.output == "json" else print_namespaces(rows)
            return
        modes = [
            measure_mode(folder, asked, signatures, mode, threads)
            for signatures in asked.signatures
            for mode in MODES
            for threads in asked.threads
        ]
        records = measure_records(folder, asked) if asked.records else []
    if asked.output == "json":
        print(json.dumps({"modes": modes, "records": records}, indent=2))
        return
    print_table(modes, records)


if __name__ == "__main__":
    main()
