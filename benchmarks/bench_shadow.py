"""What policies that are tried on live reviews take away from answers: gates that differ in ``policy.shadow`` alone.

    python benchmarks/bench_shadow.py [--quick] [--callers 1 8] [--cpu-percent 25] [--json FILE]

All gates run at the same time, one at a time is loaded, in turns. One tries nothing, one a candidate that agrees on
every review, one a candidate that would refuse each. CPU is that of the gate and of the process that judges for it.
Ratios are to the gate that tries nothing.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the servers are started by what the tests start them with

from benchmarks.load import BenchmarkError, drive  # noqa: E402 - after the path is set
from benchmarks.machine import say  # noqa: E402
from benchmarks.results import Spread, bench, parser, render_table, run_command  # noqa: E402
from benchmarks.reviews import Approvers, write_reviews  # noqa: E402
from benchmarks.servers import Gate, Site  # noqa: E402
from placet.audit.record import SHADOW  # noqa: E402
from placet.audit.stored import read_stored  # noqa: E402
from placet.audit.stores.file import open_readonly  # noqa: E402
from placet.shadow.summary import Summary, read_events, summarise  # noqa: E402
from tests.e2e.processes import poll_until  # noqa: E402

NOTHING: Final = "nothing tried"
CANDIDATES: Final = {
    "agrees": "environments: {staging: {max_level: low}}\n",
    "would refuse": "environments: {production: {max_level: low}}\n",
}
MEASURES: Final = ("per_s", "p50_us", "p99_us", "cpu_us")
_BEGIN_S: Final = 120.0


def measure(
    folder: Path, *, callers: list[int], cpu_percent: int, seconds: float, rounds: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of gates and callers, and what became of the reviews that were to be tried."""
    site = Site.open(folder / "site")
    gates = {name: Gate(site, name.replace(" ", "-")) for name in (NOTHING, *CANDIDATES)}
    found: dict[tuple[str, int], list[Any]] = {}
    with contextlib.ExitStack() as running:
        servers = {}
        for name, gate in gates.items():
            write_reviews(folder / name, [Approvers(gate.folder).manifest(0)])
            if name in CANDIDATES:
                _try(gate, CANDIDATES[name], cpu_percent)
            servers[name] = running.enter_context(gate.running())
        for name in CANDIDATES:
            if not poll_until(lambda gate=gates[name]: _has_begun(gate), _BEGIN_S):  # type: ignore[misc]
                raise BenchmarkError(f"the gate whose candidate {name} does not try it")
        for number in range(rounds):
            for caller_count in callers:
                for name, server in servers.items():
                    run = drive(server, folder / name, callers=caller_count, seconds=seconds)
                    found.setdefault((name, caller_count), []).append(run)
            say(f"round {number + 1} of {rounds} done")
    for gate in gates.values():
        gate.verify_record()
    rows = [
        {
            "gate": name,
            "callers": caller_count,
            **{key: Spread.of(getattr(run, key) for run in runs).as_json() for key in MEASURES},
        }
        for (name, caller_count), runs in found.items()
    ]
    return rows, {name: _account(gates[name]) for name in CANDIDATES}


def _try(gate: Gate, data: str, cpu_percent: int) -> None:
    own = (gate.folder / "policy-data.yaml").read_text(encoding="utf-8")
    (gate.folder / "candidate.yaml").write_text(own + data, encoding="utf-8")
    gate.configure({"policy": {"data": "policy-data.yaml"}})
    gate.configure(
        {"policy": {"shadow": {"data": "candidate.yaml", "cpu_percent": cpu_percent, "window_seconds": 3600}}}
    )


def _read(gate: Gate) -> Summary | None:
    with open_readonly(gate.store) as reader:
        bodies = [read_stored(one).body for one in reader.of_type(SHADOW, start=0)]
    return summarise(read_events(bodies)) if bodies else None


def _has_begun(gate: Gate) -> bool:
    return _read(gate) is not None


def _account(gate: Gate) -> dict[str, Any]:
    told = _read(gate)
    if told is None or not told.ended or not told.counts["judged"]:
        raise BenchmarkError(f"{gate.name} has tried nothing")
    return {"counts": told.counts, "leaves": sum(1 for _ in told.groups)}


def render(rows: list[dict[str, Any]]) -> str:
    """The table in Markdown."""
    base = {row["callers"]: row for row in rows if row["gate"] == NOTHING}
    head = ["gate", "callers", "reviews/s", "x", "median us", "x", "1 of 100 us", "x", "CPU us", "x"]
    lines = []
    for row in sorted(rows, key=lambda row: row["callers"]):
        cells = [row["gate"], str(row["callers"])]
        for key in MEASURES:
            of = base[row["callers"]][key]["median"]
            cells += [str(Spread(**row[key])), f"{row[key]['median'] / of:.2f}"]
        lines.append(cells)
    return render_table(head, lines)


def render_accounts(accounts: dict[str, Any]) -> str:
    """What became of the reviews, in Markdown."""
    lines = []
    for name, one in accounts.items():
        counts = one["counts"]
        share = counts["judged"] / (counts["judged"] + counts["shed"])
        lines.append([name, *(str(counts[key]) for key in ("judged", "agreed", "stricter", "shed")), f"{share:.2f}"])
    return render_table(["candidate", "judged", "agreed", "stricter", "left out", "judged of all"], lines)


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--callers", type=int, nargs="+", default=[1, 8])
    made.add_argument("--cpu-percent", type=int, default=25)
    made.add_argument("--rounds", type=int, help="default: 5, quick 1")
    made.add_argument("--seconds", type=float, help="of one run (default: 2, quick 0.6)")
    asked = made.parse_args()
    rounds, seconds = asked.rounds or (1 if asked.quick else 5), asked.seconds or (0.6 if asked.quick else 2.0)
    with bench(asked) as (folder, results):
        rows, accounts = measure(
            folder, callers=asked.callers, cpu_percent=asked.cpu_percent, seconds=seconds, rounds=rounds
        )
        results["shadow"] = {"rows": rows, "accounts": accounts}
    print(render(rows))
    print(render_accounts(accounts))


if __name__ == "__main__":
    run_command(main)
