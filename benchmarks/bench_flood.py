"""Honest reviews while others flood the gate: every one answered rightly and in time, or exit status 1.

    python benchmarks/bench_flood.py [--quick] [--rate 10] [--json FILE]

A gate with a token in its path is sent honest reviews at a fixed rate from 127.0.0.1, alone and during each flood.
Floods know the token and come from another address, as another API server would, or they are strangers at the honest
caller's own address, as behind a node that hides its Pods. Capacity is measured first, in the same run. All share the
cores, so a part of what an honest review takes longer is the flooder's own work; for the same reason ten times the
capacity are sent to a gate whose reviews wait for an API server that takes 100 ms. Latencies are counted from the
moment that a review was due.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.floods import SCENES, SLOW_LOOKUP_S, SLOW_SCENES, Found, Scene, Stage  # noqa: E402 - after the path is set
from benchmarks.load import BenchmarkError  # noqa: E402
from benchmarks.machine import say  # noqa: E402
from benchmarks.results import bench, parser, render_table, run_command  # noqa: E402

DEADLINE_S: Final = 10.0


def collect(name: str, found: Found, *, alone_ms: float, capacity: float) -> dict[str, Any]:
    """One row."""
    honest = found.honest
    return {
        "name": name,
        "answered": honest.by_status.get("200", 0),
        "failed": honest.failed,
        "late": honest.late,
        "wrong": honest.wrong,
        "p50_ms": honest.at(0.5),
        "p99_ms": honest.at(0.99),
        "slowest_ms": honest.at(1.0),
        "p99_ratio": honest.at(0.99) / alone_ms,
        "flood_sent_per_s": found.flood.sent / found.flood.seconds,
        "times_capacity": found.times(capacity),
        "flood_by_status": found.flood.by_status,
        "peak_mib": found.peak_mib,
    }


def render(rows: list[dict[str, Any]]) -> str:
    """The table in Markdown."""
    head = ["flood", "honest", "failed", "late", "wrong", "p50 ms", "p99 ms", "slowest ms", "p99 x alone",
            "flood/s", "x capacity", "flood's answers", "RSS MiB"]  # fmt: skip
    lines = []
    for row in rows:
        answers = ", ".join(f"{count} x {status}" for status, count in sorted(row["flood_by_status"].items()))
        lines.append([
            row["name"], *(str(row[key]) for key in ("answered", "failed", "late", "wrong")),
            *(f"{row[key]:.1f}" for key in ("p50_ms", "p99_ms", "slowest_ms", "p99_ratio")),
            f"{row['flood_sent_per_s']:.0f}", f"{row['times_capacity']:.1f}", answers or "-", f"{row['peak_mib']:.0f}",
        ])  # fmt: skip
    return render_table(head, lines)


def measure(stage: Stage, scenes: Sequence[Scene], *, rate: float, seconds: float) -> dict[str, Any]:
    """The rows of a gate, and what they are measured against."""
    capacity = stage.measure_capacity(min(seconds, 5.0))
    alone = stage.honest(rate=rate, seconds=seconds, deadline_s=DEADLINE_S)
    say(f"capacity: {capacity:.0f} refused reviews a second; honest p99 alone: {alone.at(0.99):.1f} ms")
    rows = []
    for scene in scenes:
        found = stage.play(scene, capacity=capacity, rate=rate, seconds=seconds, deadline_s=DEADLINE_S)
        rows.append(collect(scene.name, found, alone_ms=alone.at(0.99), capacity=capacity))
        say(f"{scene.name}: done")
    return {"capacity_per_s": capacity, "alone_p99_ms": alone.at(0.99), "rows": rows}


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--rate", type=float, default=10.0, help="honest reviews a second (default: %(default)s)")
    made.add_argument("--seconds", type=float, help="of honest reviews in each flood (default: 20, quick 4)")
    asked = made.parse_args()
    seconds = asked.seconds or (4.0 if asked.quick else 20.0)
    with bench(asked) as (folder, results):
        rows: list[dict[str, Any]] = []
        for name, scenes, terms in (
            ("flood", SCENES, {}),
            ("flood of a gate that waits for its look-ups", SLOW_SCENES, {"lookup_s": SLOW_LOOKUP_S}),
        ):
            with Stage(folder / f"stage-{len(rows)}", **terms).running() as stage:
                results[name] = measure(stage, scenes, rate=asked.rate, seconds=seconds)
            rows += results[name]["rows"]
    print(render(rows))
    bad = [row["name"] for row in rows if row["failed"] or row["late"] or row["wrong"]]
    if bad:
        raise BenchmarkError(f"honest reviews failed, came late or were answered wrongly during: {', '.join(bad)}")


if __name__ == "__main__":
    run_command(main)
