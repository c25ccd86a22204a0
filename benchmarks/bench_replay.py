"""Decisions a second that `placet policy replay` judges again, beside a gate that judges them once.

    python benchmarks/bench_replay.py [--quick] [--decisions 4000] [--json FILE]

In one run, of one record that the real gate made. By CPU time of one thread of one process, a decision each:

* gate: a whole decision of the gate about one of its reviews, but for the record. It verifies signatures as well;
* engine: the policies alone, asked as the gate asks them: one decision, where replaying takes two;
* single: the recorded policies, asked as `placet audit replay` asks: made ready for this one decision;
* replay: all of a replay of another candidate: reading the record, hashes and digests, the recorded policies, the
  comparison with the record, the candidate;
* same: the recorded decisions reproduced and the candidate being what was judged by, at which nothing is spared.

Then the whole on the wall clock, with one process and with two, once they have begun to answer. The kinds of steps are
interleaved in each round.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # decisions are those of the tests

from benchmarks.machine import say  # noqa: E402 - after the path is set
from benchmarks.results import Spread, bench, parser, render_table, run_command  # noqa: E402
from placet.audit.location import open_reader  # noqa: E402
from placet.decide import Deadline, Gate  # noqa: E402
from placet.policy.bundle import shipped_bundle  # noqa: E402
from placet.policy.data import load_policy_data, merge_policy_data  # noqa: E402
from placet.policy.wasm import EmbeddedEngine  # noqa: E402
from placet.rehearsal.candidate import Candidate  # noqa: E402
from placet.rehearsal.notebook import open_notebook  # noqa: E402
from placet.rehearsal.past import Catalogue  # noqa: E402
from placet.rehearsal.run import STRETCH, rehearse  # noqa: E402
from placet.rehearsal.share import Bench, Judged, Task  # noqa: E402
from placet.replay import Policies, replay  # noqa: E402
from placet.review import parse_review  # noqa: E402
from tests.placet.rehearsal.at_length import CANDIDATE, KeptTrust, QuickDesk, make  # noqa: E402
from tests.simulators.gate import example, review  # noqa: E402
from tests.simulators.traffic import ALL  # noqa: E402

JOBS: Final = (1, 2)
STEPS: Final = ("gate", "engine", "single", "replay", "same")
AIM: Final = 2000
_SINGLE: Final = 10  # one costs as much as a hundred of the others
_PATIENCE_S: Final = 60.0


def measure(folder: Path, decisions: int, rounds: int) -> dict[str, Any]:
    """All rates."""
    made, _ = make(folder, load_policy_data(None), decisions, None, 1)
    store = folder / "record.sqlite"
    say(f"made {len(made)} decisions")
    with open_reader(store) as reader:
        catalogue, size = Catalogue.of(reader), reader.state().size
        first = next(one.index for one in reader.leaves(0, size) if one.raw_leaf.startswith(b"decision\n"))
        document = reader.attachment(first, "input") or b""
    present = Candidate.of(shipped_bundle(), load_policy_data(None))
    other = Candidate.of(shipped_bundle(), merge_policy_data(CANDIDATE.encode(), name="candidate"))
    tasks = {
        "same": Task(store, catalogue, present, None, "", ""),
        "replay": Task(store, catalogue, other, None, "", ""),
    }
    benches = {name: Bench(task) for name, task in tasks.items()}
    steps = {
        "gate": _gate_step(folder, min(decisions, STRETCH)),
        "engine": _engine_step(document, min(decisions, STRETCH)),
        "single": _single_step(document, present),
        **{name: _replay_step(one, size) for name, one in benches.items()},
    }
    taken: dict[str, list[float]] = {name: [] for name in (*STEPS, *(f"jobs_{jobs}" for jobs in JOBS))}
    for step in steps.values():
        step()  # what is compiled, is compiled now
    for number in range(rounds):
        for name, step in steps.items():
            started = time.process_time()
            count = step()
            taken[name].append(count / (time.process_time() - started))
        for jobs in JOBS:
            taken[f"jobs_{jobs}"].append(_wall(tasks["replay"], size, decisions, jobs))
        say(f"round {number + 1} of {rounds} done")
    rates = {f"{name}_per_s": Spread.of(found).as_json() for name, found in taken.items()}
    return {"decisions": decisions, "input_bytes": len(document), **rates}


def _gate_step(folder: Path, count: int) -> Callable[[], int]:
    inner = folder / "gate"
    inner.mkdir()
    desk = QuickDesk.start(inner)
    desk.gate._trust = KeptTrust(desk.desk, desk.trust.revocations)  # noqa: SLF001 - a gate is made by its parts
    planner = copy.copy(desk.gate)
    planner._recorder = None  # noqa: SLF001 - as above
    raw = json.dumps(review(desk.approve(example(), *sorted(ALL)))).encode()
    request = parse_review(raw)
    desk.spaces.select(request.namespace, "production")

    def step() -> int:
        for _ in range(count):
            asked = parse_review(raw)
            decision = Gate.decide(planner, asked, environment="production", deadline=Deadline(_PATIENCE_S))
            if not decision.allowed:
                raise SystemExit(f"the gate refuses: {decision.violations}")
        return count

    return step


def _engine_step(document: bytes, count: int) -> Callable[[], int]:
    engine, value = EmbeddedEngine.default(load_policy_data(None)), json.loads(document)

    def step() -> int:
        for _ in range(count):
            engine.decide(value, deadline_s=_PATIENCE_S)
        return count

    return step


def _single_step(document: bytes, present: Candidate) -> Callable[[], int]:
    policies = Policies(present.manifest, present.wasm, present.data, "placet.dev/policy-evaluation/v1")

    def step() -> int:
        for _ in range(_SINGLE):
            replay(document, policies)
        return _SINGLE

    return step


def _replay_step(one: Bench, size: int) -> Callable[[], int]:
    def step() -> int:
        found = [one.judge_stretch(start, min(start + STRETCH, size)) for start in range(0, size, STRETCH)]
        return _require(found)

    return step


def _require(found: list[Judged]) -> int:
    decisions, reproduced = sum(one.decisions for one in found), sum(one.reproduced for one in found)
    if decisions != reproduced:
        raise SystemExit(f"{reproduced} of {decisions} decisions were reproduced")
    return decisions


def _wall(task: Task, size: int, decisions: int, jobs: int) -> float:
    """Decisions a second after the first stretch is done: until then processes start, and policies are compiled."""
    told: list[tuple[float, int]] = []
    with open_notebook(None, {"size": str(size)}) as notebook:
        rehearse(task, notebook, size=size, jobs=jobs, progress=lambda done, _: told.append((time.monotonic(), done)))
        if notebook.counts().get("reproduced") != decisions:
            raise SystemExit("not every decision was reproduced")
    if len(told) < 2:  # noqa: PLR2004 - a beginning and an end
        return 0.0
    return (told[-1][1] - told[0][1]) / (told[-1][0] - told[0][0])


def render(row: dict[str, Any]) -> str:
    """The table in Markdown."""
    rates = {name: Spread(**row[f"{name}_per_s"]) for name in (*STEPS, *(f"jobs_{jobs}" for jobs in JOBS))}
    lines = [[name, str(rates[name]), f"{rates[name].median / rates['gate'].median:.2f}"] for name in STEPS]
    head = [f"decisions/s and core ({row['input_bytes']} bytes of input)", "", "x gate"]
    clocks = [[f"--jobs {jobs}", str(rates[f"jobs_{jobs}"])] for jobs in JOBS]
    return render_table(head, lines) + "\n" + render_table(["decisions/s on the wall clock", ""], clocks)


def render_aim(row: dict[str, Any]) -> str:
    """What was aimed at, and what came out."""
    rate = row[f"jobs_{JOBS[-1]}_per_s"]["median"]
    said = f"replay: at least {AIM:,} decisions a second on two cores"
    verdict = "met" if rate >= AIM else "missed"
    return render_table(["aim", "came out", ""], [[said, f"{rate:,.0f}", verdict]], text=True)


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--decisions", type=int, help="of the record (default: 4000, quick 600)")
    made.add_argument("--rounds", type=int, help="default: 3, quick 1")
    asked = made.parse_args()
    decisions, rounds = asked.decisions or (600 if asked.quick else 4000), asked.rounds or (1 if asked.quick else 3)
    with bench(asked) as (folder, results):
        results["replay"] = measure(folder, decisions, rounds)
    print(render(results["replay"]))


if __name__ == "__main__":
    run_command(main)
