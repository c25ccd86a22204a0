"""Durable records a second through the whole gate, beside what the log and the disk reach alone.

    python benchmarks/bench_records.py [--quick] [--callers 1 8 64] [--json FILE]

Three rates of one file system, in one run:

* bare commits: one thread writes a page and syncs it, again and again. No log that commits each record by itself is
  faster;
* the log alone: callers append records in this process, which share commits (bench_append.py);
* through the gate: reviews over TLS, each with three signatures verified, judged, and answered when its record is
  durable. Only one workload is sent, so that the record is the most of the work that it can be.

Held in the same run: the record has exactly one decision for each answer, and verifies.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the servers are started by what the tests start them with

from benchmarks.bench_append import appends  # noqa: E402 - after the path is set
from benchmarks.load import BenchmarkError, drive  # noqa: E402
from benchmarks.machine import bare_commits_per_s, say  # noqa: E402
from benchmarks.results import Spread, bench, parser, render_table, run_command  # noqa: E402
from benchmarks.reviews import Approvers, write_reviews  # noqa: E402
from benchmarks.servers import Gate, Site  # noqa: E402


def measure(folder: Path, callers: list[int], seconds: float, rounds: int) -> dict[str, Any]:
    """All three rates, in turns."""
    gate = Gate(Site.open(folder / "site"))
    reviews = folder / "reviews.jsonl"
    write_reviews(reviews, [Approvers(gate.folder).manifest(0)])
    bare: list[float] = []
    alone: dict[int, list[float]] = {count: [] for count in callers}
    through: dict[int, list[float]] = {count: [] for count in callers}
    answered = 0
    with gate.running() as server:
        for number in range(rounds):
            bare.append(bare_commits_per_s(folder, seconds / 2))
            for count in callers:
                place = folder / f"alone-{number}-{count}"
                place.mkdir()
                alone[count].append(appends(place, count, seconds / 2)["per_s"])
                run = drive(server, reviews, callers=count, seconds=seconds)
                answered += run.answered
                through[count].append(run.per_s)
                if (found := gate.records()) != answered:
                    raise BenchmarkError(f"{answered} reviews were allowed, and the record has {found}")
            say(f"round {number + 1} of {rounds} done")
    gate.verify_record()
    return {
        "bare_commits_per_s": Spread.of(bare).as_json(),
        "verified_records": answered,
        "rows": [
            {
                "callers": count,
                "alone_per_s": Spread.of(alone[count]).as_json(),
                "gate_per_s": Spread.of(through[count]).as_json(),
            }
            for count in callers
        ],
    }


def render(records: dict[str, Any]) -> str:
    """The table in Markdown."""
    bare = records["bare_commits_per_s"]
    head = ["durable records/s", "the log alone", "through the gate", "log: x bare commits", "gate: x bare commits"]
    rows = [["bare commits of one thread", str(Spread(**bare)), "", "1.00", ""]]
    for row in records["rows"]:
        ratios = [f"{row[key]['median'] / bare['median']:.2f}" for key in ("alone_per_s", "gate_per_s")]
        rates = [str(Spread(**row[key])) for key in ("alone_per_s", "gate_per_s")]
        rows.append([f"{row['callers']} callers", *rates, *ratios])
    return render_table(head, rows)


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--callers", type=int, nargs="+", default=[1, 8, 64])
    made.add_argument("--rounds", type=int, help="default: 3, quick 1")
    made.add_argument("--seconds", type=float, help="of one run (default: 2, quick 0.6)")
    asked = made.parse_args()
    rounds, seconds = asked.rounds or (1 if asked.quick else 3), asked.seconds or (0.6 if asked.quick else 2.0)
    with bench(asked) as (folder, results):
        results["records"] = measure(folder, asked.callers, seconds, rounds)
    print(render(results["records"]))


if __name__ == "__main__":
    run_command(main)
