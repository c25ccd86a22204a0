"""How much memory a gate takes: idle, with usual reviews, and with callers that send large ones.

    python benchmarks/bench_memory.py [--quick] [--callers 8] [--json FILE]

One gate in one run, from small to large, since a process gives little back: after each kind of load its resident
memory, and the most that it ever was until then, both read from ``/proc``. Large reviews are of an approved workload
with many managed fields: they are read in full, left out of the projection, and the answer is the same.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the servers are started by what the tests start them with

from benchmarks.load import drive  # noqa: E402 - after the path is set
from benchmarks.machine import say  # noqa: E402
from benchmarks.results import bench, parser, render_table, run_command  # noqa: E402
from benchmarks.reviews import Approvers, write_reviews  # noqa: E402
from benchmarks.servers import Gate, Site  # noqa: E402

MIB: Final = 1 << 20
SIZES: Final = (1, 7)


def memory(pid: int) -> dict[str, int]:
    """Resident memory of a process now and at most, bytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {"now": int(found["VmRSS"].split()[0]) * 1024, "most": int(found["VmHWM"].split()[0]) * 1024}


def large(manifest: dict[str, Any], size: int) -> dict[str, Any]:
    """The manifest with managed fields of so many bytes, which a projection leaves out."""
    grown = copy.deepcopy(manifest)
    grown["metadata"]["managedFields"] = [{"manager": "m" * 1000, "operation": "Update"} for _ in range(size // 1040)]
    return grown


def measure(folder: Path, *, callers: int, seconds: float) -> list[dict[str, Any]]:
    """Rows from small to large."""
    gate = Gate(Site.open(folder / "site"))
    manifest = Approvers(gate.folder).manifest(0)

    def loads() -> Iterator[tuple[str, dict[str, Any]]]:
        yield f"usual reviews, {callers} callers", manifest
        for size in SIZES:
            yield f"reviews of {size} MiB, {callers} callers", large(manifest, size * MIB)

    with gate.running() as server:
        rows: list[dict[str, Any]] = [{"load": "idle, ready", **memory(server.pid)}]
        for name, sent in loads():
            reviews = folder / "reviews.jsonl"
            write_reviews(reviews, [sent])
            drive(server, reviews, callers=callers, seconds=seconds)
            rows.append({"load": name, **memory(server.pid)})
            say(f"{name}: done")
    return rows


def render(rows: list[dict[str, Any]]) -> str:
    """The table in Markdown."""
    lines = [[row["load"], f"{row['now'] / MIB:,.0f}", f"{row['most'] / MIB:,.0f}"] for row in rows]
    return render_table(["load", "MiB afterwards", "MiB at most until then"], lines)


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--callers", type=int, default=8)
    made.add_argument("--seconds", type=float, help="of each load (default: 5, quick 1)")
    asked = made.parse_args()
    with bench(asked) as (folder, results):
        results["memory"] = measure(
            folder, callers=asked.callers, seconds=asked.seconds or (1.0 if asked.quick else 5.0)
        )
    print(render(results["memory"]))


if __name__ == "__main__":
    run_command(main)
