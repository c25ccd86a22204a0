"""What more threads of one process bring: the same reviews judged by gates that differ in ``server.threads`` alone.

    python benchmarks/bench_threads.py [--quick] [--threads 1 2 4 8] [--callers 8 64] [--json FILE]

All gates run at the same time, one at a time is loaded, in turns. A warm review is the same workload again, a cold one
has signatures that the gate has never seen. Ratios are to the first number of threads.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the servers are started by what the tests start them with

from benchmarks.load import drive  # noqa: E402 - after the path is set
from benchmarks.machine import say  # noqa: E402
from benchmarks.results import Spread, bench, parser, render_table, run_command  # noqa: E402
from benchmarks.reviews import Approvers, write_reviews  # noqa: E402
from benchmarks.servers import Gate, Site  # noqa: E402


def measure(
    folder: Path, *, threads: list[int], callers: list[int], seconds: float, rounds: int, pool: int
) -> list[dict[str, Any]]:
    """Rows of threads and callers, each warm and cold."""
    site = Site.open(folder / "site")
    gates = {count: Gate(site, f"threads-{count}") for count in threads}
    found: dict[tuple[int, int, str], list[tuple[float, float]]] = {}
    used = dict.fromkeys(threads, 0)
    with contextlib.ExitStack() as running:
        servers = {}
        for count, gate in gates.items():
            approvers = Approvers(gate.folder)
            write_reviews(folder / f"warm-{count}", [approvers.manifest(0)])
            write_reviews(folder / f"cold-{count}", (approvers.manifest(number) for number in range(1, pool + 1)))
            gate.configure({"server": {"threads": count}})
            servers[count] = running.enter_context(gate.running())
        for number in range(rounds):
            for caller_count in callers:
                for count, server in servers.items():
                    warm = drive(server, folder / f"warm-{count}", callers=caller_count, seconds=seconds)
                    cold = drive(
                        server, folder / f"cold-{count}", callers=caller_count, seconds=seconds, first=used[count]
                    )
                    used[count] += cold.answered
                    for name, run in (("warm", warm), ("cold", cold)):
                        found.setdefault((count, caller_count, name), []).append((run.per_s, run.cpu_us))
            say(f"round {number + 1} of {rounds} done")
    for gate in gates.values():
        gate.verify_record()
    return [
        {
            "threads": count,
            "callers": caller_count,
            "reviews": name,
            "per_s": Spread.of(per_s for per_s, _ in runs).as_json(),
            "cpu_us": Spread.of(cpu_us for _, cpu_us in runs).as_json(),
        }
        for (count, caller_count, name), runs in found.items()
    ]


def render(rows: list[dict[str, Any]]) -> str:
    """The table in Markdown."""
    first = rows[0]["threads"]
    base = {(row["callers"], row["reviews"]): row for row in rows if row["threads"] == first}
    head = ["reviews", "threads", "reviews/s", f"x {first} thread", "CPU us", f"x {first} thread"]
    lines = []
    for row in sorted(rows, key=lambda row: (row["reviews"] != "warm", row["callers"], row["threads"])):
        of = base[row["callers"], row["reviews"]]
        ratios = [f"{row[key]['median'] / of[key]['median']:.2f}" for key in ("per_s", "cpu_us")]
        lines.append(
            [
                f"{row['reviews']}, {row['callers']} callers",
                str(row["threads"]),
                *(str(Spread(**row["per_s"])), ratios[0]),
                *(str(Spread(**row["cpu_us"])), ratios[1]),
            ]
        )
    return render_table(head, lines)


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4, 8])
    made.add_argument("--callers", type=int, nargs="+", default=[8, 64])
    made.add_argument("--rounds", type=int, help="default: 3, quick 1")
    made.add_argument("--seconds", type=float, help="of one run (default: 2, quick 0.6)")
    asked = made.parse_args()
    rounds, seconds = asked.rounds or (1 if asked.quick else 3), asked.seconds or (0.6 if asked.quick else 2.0)
    pool = 400 if asked.quick else 4000
    with bench(asked) as (folder, results):
        results["threads"] = measure(
            folder, threads=asked.threads, callers=asked.callers, seconds=seconds, rounds=rounds, pool=pool
        )
    print(render(results["threads"]))


if __name__ == "__main__":
    run_command(main)
