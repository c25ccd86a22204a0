"""What a decision costs with a short and with a long record.

    python benchmarks/bench_growth.py [--quick] [--records 1000 100000] [--json FILE]

One gate for each length, each on a record of its own that was filled with copies of a real decision under other uids,
objects and models; all run at once and are sent reviews of one approved workload in turns.

Held in the same run: each record has exactly the decisions that were written and answered.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the servers are started by what the tests start them with

from benchmarks.load import BenchmarkError, Run, Server, ask, drive  # noqa: E402 - after the path is set
from benchmarks.machine import say  # noqa: E402
from benchmarks.results import Spread, bench, parser, render_table, run_command  # noqa: E402
from benchmarks.reviews import Approvers, write_reviews  # noqa: E402
from benchmarks.servers import Gate, Site  # noqa: E402
from placet.assemble import open_own_record  # noqa: E402
from placet.canonical import Digest  # noqa: E402
from placet.config import load_config  # noqa: E402
from tests.simulators.gate import review  # noqa: E402

CALLERS: Final = 8
STEADY_PER_S: Final = 50
_WRITERS: Final = 32
_MODELS: Final = 1000


@dataclass(slots=True)
class Aged:
    """A gate on a record of some length.

    Attributes:
        records: how long it was at the start.
        gate: its folder.
        server: while it runs.
        reviews: what it is sent.
        busy: runs with as many reviews as it can take.
        steady: runs at a fixed rate.
        expected: decisions that have to be in the record.
    """

    records: int
    gate: Gate
    server: Server
    reviews: Path
    busy: list[Run] = field(default_factory=list)
    steady: list[Run] = field(default_factory=list)
    expected: int = 0

    def keep(self, runs: list[Run], run: Run) -> None:
        """Note a run, and hold the record against it.

        Raises:
            BenchmarkError: the record has not exactly one decision for each answer.
        """
        runs.append(run)
        self.expected += run.answered
        if (found := self.gate.records()) != self.expected:
            raise BenchmarkError(f"{self.expected} decisions were to be in a record that has {found}")


def fill(gate: Gate, records: int) -> None:
    """Append copies of the newest decision until there are so many, as fast as the log takes them."""
    with contextlib.closing(sqlite3.connect(f"file:{gate.store}?mode=ro", uri=True)) as reader:
        (leaf,) = reader.execute("SELECT leaf FROM leaves WHERE allowed = 1 ORDER BY idx DESC LIMIT 1").fetchone()
    raw: bytes = leaf
    body: dict[str, Any] = json.loads(raw[raw.index(b"{") :])
    kept = {"input": b"{}", "content": b"{}"}
    body |= {f"{name}_digest": str(Digest.of(content)) for name, content in kept.items()}
    log = open_own_record(load_config(gate.folder / "placet.yaml"))
    failures: list[BaseException] = []

    def write(first: int) -> None:
        try:
            for number in range(first, records - 1, _WRITERS):
                log.append(_another(body, number), uid=str(uuid.UUID(int=number)), attachments=kept)
        except BaseException as exc:  # noqa: BLE001 - told by the main thread
            failures.append(exc)

    writers = [threading.Thread(target=write, args=(first,)) for first in range(_WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    log.checkpoint()
    log.close()
    if failures:
        raise failures[0]


def _another(body: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The decision under another uid; one in ten is of the object and the model that the reviews name."""
    uid = str(uuid.UUID(int=number))
    changed = {**body, "uid": uid, "decision_id": uid}
    if number % 10:
        changed |= {
            "name": f"object-{number}",
            "model": {**body["model"], "name": f"model-{number % _MODELS}"},
        }
    return changed


def open_aged(site: Site, stack: contextlib.ExitStack, records: int) -> Aged:
    """A gate that has let one review in, its record filled, and running again."""
    gate = Gate(site, f"placet-{records}")
    manifest = Approvers(gate.folder).manifest(0)
    reviews = gate.folder / "reviews.jsonl"
    write_reviews(reviews, [manifest])
    with gate.running() as server:
        response = ask(server, review(manifest))
        if not response["allowed"]:
            raise BenchmarkError(f"an approved workload was refused: {response}")
    fill(gate, records)
    say(f"a record of {records:,} decisions is written")
    aged = Aged(records, gate, stack.enter_context(gate.running()), reviews, expected=records)
    drive(aged.server, reviews, callers=CALLERS, seconds=0.3)  # whatever is read once
    aged.expected = gate.records()
    return aged


def collect(gates: list[Aged]) -> list[dict[str, Any]]:
    """The numbers, for the report."""
    return [
        {
            "records": one.records,
            "per_s": Spread.of(run.per_s for run in one.busy).as_json(),
            "cpu_us": Spread.of(run.cpu_us for run in one.busy).as_json(),
            "p50_ms": Spread.of(run.p50_us / 1e3 for run in one.steady).as_json(),
            "p99_ms": Spread.of(run.p99_us / 1e3 for run in one.steady).as_json(),
        }
        for one in gates
    ]


def render(rows: list[dict[str, Any]]) -> str:
    """The table in Markdown."""
    head = ["decisions in the record", "reviews/s", "CPU us", "x the first", "p50 ms", "p99 ms", "p50 x the first"]
    first = rows[0]
    return render_table(
        head,
        [
            [
                f"{row['records']:,}",
                str(Spread(**row["per_s"])),
                f"{row['cpu_us']['median']:,.0f}",
                f"{row['cpu_us']['median'] / first['cpu_us']['median']:.2f}",
                f"{row['p50_ms']['median']:.2f}",
                f"{row['p99_ms']['median']:.2f}",
                f"{row['p50_ms']['median'] / first['p50_ms']['median']:.2f}",
            ]
            for row in rows
        ],
    )


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--records", type=int, nargs="+", help="default: 1000 100000, quick 1000 10000")
    made.add_argument("--rounds", type=int, help="default: 5, quick 2")
    made.add_argument("--seconds", type=float, help="of one run (default: 3, quick 0.7)")
    asked = made.parse_args()
    rounds, seconds = asked.rounds or (2 if asked.quick else 5), asked.seconds or (0.7 if asked.quick else 3.0)
    lengths = asked.records or [1_000, 10_000 if asked.quick else 100_000]
    with bench(asked) as (folder, results), contextlib.ExitStack() as stack:
        site = Site.open(folder / "site")
        gates = [open_aged(site, stack, length) for length in lengths]
        for number in range(rounds):
            for one in gates if number % 2 else reversed(gates):
                one.keep(one.busy, drive(one.server, one.reviews, callers=CALLERS, seconds=seconds))
                steady = drive(one.server, one.reviews, callers=CALLERS, seconds=seconds, rate=STEADY_PER_S)
                one.keep(one.steady, steady)
            say(f"round {number + 1} of {rounds} done")
        results["growth"] = collect(gates)
    print(render(results["growth"]))


if __name__ == "__main__":
    run_command(main)
