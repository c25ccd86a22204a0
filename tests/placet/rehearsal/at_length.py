"""The same as the tests with as many decisions as are asked for, and how long it takes.

    python -m tests.placet.rehearsal.at_length [--decisions 100000] [--seed 1] [--jobs 2] [--folder DIR]

The real gate makes the decisions on a record; every ten thousand it is given other policy data. They are replayed
against a candidate, and every change is compared with what follows from who had signed. It exits with 1 where one
decision is not reproduced or one change is not told, or told though there is none.

With --folder the record stays there. Where the process was killed, the same command goes on, to as many decisions as
are asked for then; a record that has them is replayed again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.revocations import Revocations
from placet.audit.location import open_reader
from placet.decide import Deadline, Gate
from placet.decision import Decision
from placet.policy.data import PolicyData, load_policy_data, merge_policy_data
from placet.review import parse_review
from tests.placet.rehearsal.conftest import LATER
from tests.simulators.cases import CaseDesk
from tests.simulators.gate import PATIENCE_S, DeskTrust
from tests.simulators.traffic import ALL, THREE, TWO, Known, expected_changes, find_standing, make_traffic

CANDIDATE: Final = "risk_approvals: {critical: [technical, security, business]}\n"
JOURNAL: Final = "known.jsonl"
SHIPPED: Final = "shipped"
CHANGED: Final = "changed"
TURN: Final = 10_000  # decisions until there are other policy data
APART: Final = timedelta(seconds=40)
_VERIFIED_AGAIN: Final = 1000
_TELL: Final = 1000


def say(text: str) -> None:
    """A line, at once: this takes its time."""
    print(text, flush=True)  # noqa: T201 - a program


@dataclass
class KeptTrust(DeskTrust):
    """The desk's keyring, verified once in a while, as a served gate has it."""

    loads: int = 0
    kept: VerifiedKeyring | None = None

    def load(self, now: datetime) -> tuple[VerifiedKeyring, Revocations]:
        if self.kept is None or self.loads % _VERIFIED_AGAIN == 0:
            self.kept = super().load(now)[0]
        self.loads += 1
        return self.kept, self.revocations


class QuickDesk(CaseDesk):
    """The gate alone: nobody beside it holds each allow against what was signed."""

    def send(self, review: dict[str, Any]) -> Decision:
        request = parse_review(json.dumps(review).encode())
        self.spaces.select(request.namespace, "production")
        return Gate.decide(self.gate, request, environment="production", deadline=Deadline(PATIENCE_S))


def make(
    folder: Path, data: PolicyData, count: int, begin: datetime | None, seed: int, *, name: str = SHIPPED
) -> tuple[list[Known], datetime]:
    """Decisions by some policy data; when the next begin. Each is in the folder's journal before the gate is asked."""
    desk = QuickDesk.start(folder, data=data)
    desk.gate._trust = KeptTrust(desk.desk, Revocations.none())
    try:
        desk.desk.now = begin or desk.desk.now
        desk.configure()
        started = time.monotonic()

        def tell(done: int) -> None:
            if done % _TELL == 0:
                say(f"{done} decisions made after {time.monotonic() - started:.0f} s")

        with (folder / JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write("\n")  # whatever an earlier process left of its last line

            def note(known: Known) -> None:
                line = {**asdict(known), "roles": sorted(known.roles), "time": desk.desk.now.isoformat(), "data": name}
                journal.write(json.dumps(line) + "\n")
                journal.flush()

            made = make_traffic(desk, count, seed=seed, every=APART, tell=tell, note=note)
        return made, desk.desk.now
    finally:
        desk.log.close()


def read_journal(folder: Path) -> tuple[list[tuple[str, Known]], datetime | None]:
    """The decisions in the record, each with the name of its policy data; when the next begin.

    The last one that a killed process wrote down may not have been made: it is left out.
    """
    journal, store = folder / JOURNAL, folder / "record.sqlite"
    if not journal.exists():
        return [], None
    lines = [json.loads(line) for line in journal.read_text("utf-8").splitlines() if line[:1] + line[-1:] == "{}"]
    recorded = set(read_uids(store).values())
    begin = datetime.fromisoformat(lines[-1]["time"]) + APART if lines else None
    found = [(line["data"], _read_known(line)) for line in lines if line["uid"] in recorded]
    return found, begin


def _read_known(line: dict[str, Any]) -> Known:
    names = {field.name for field in fields(Known)}
    return Known(**{**{key: line[key] for key in names}, "roles": frozenset(line["roles"])})


def make_all(folder: Path, count: int, seed: int) -> list[tuple[str, Known]]:
    """So many decisions, from wherever the folder stands."""
    known, begin = read_journal(folder)
    sets = (SHIPPED, load_policy_data(None)), (CHANGED, merge_policy_data(LATER, name="later"))
    while len(known) < count:
        name, data = sets[len(known) // TURN % 2]
        most = min(count, (len(known) // TURN + 1) * TURN) - len(known)
        # Another seed after each stop, so that nothing is asked for twice in the same order.
        made, begin = make(folder, data, most, begin, seed * 1_000_000 + len(known), name=name)
        known += [(name, one) for one in made]
        say(f"{len(known)} of {count} decisions made")
    return known[:count]


def read_uids(store: Path) -> dict[str, str]:
    """Decision id -> uid of the request."""
    with open_reader(store) as reader:
        leaves = (one.raw_leaf for one in reader.leaves(0, reader.state().size) if one.raw_leaf.startswith(b"decision"))
        return {body["decision_id"]: body["uid"] for body in (json.loads(raw.split(b"\n", 1)[1]) for raw in leaves)}


def replay(store: Path, folder: Path, jobs: int) -> tuple[list[dict[str, Any]], float]:
    """The lines of the command, and the seconds that it took."""
    data = folder / "candidate.yaml"
    data.write_text(CANDIDATE, encoding="utf-8")
    options = ["--store", str(store), "--data", str(data), "-o", "json", "--jobs", str(jobs)]
    started = time.monotonic()
    command = [sys.executable, "-m", "placet", "policy", "replay", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    taken = time.monotonic() - started
    if done.returncode != 1:
        raise SystemExit(f"the replay ended with {done.returncode}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()], taken


def find_faults(store: Path, known: list[tuple[str, Known]], lines: list[dict[str, Any]]) -> list[str]:
    """What the command says otherwise than what follows from who had signed."""
    required = {SHIPPED: ALL, CHANGED: TWO}
    expected = dict(change for name, one in known for change in expected_changes([one], required[name], THREE))
    uids = read_uids(store)
    told = {uids[one["decision_id"]]: one["code"] for one in lines if one["type"] == "change"}
    summary, count = lines[-1], len(known)
    found = [
        f"{uid}: told {told.get(uid, 'nothing')}, and it is {expected.get(uid, 'the same')}"
        for uid in sorted(expected.keys() | told.keys())
        if expected.get(uid) != told.get(uid)
    ]
    if (summary["decisions"], summary["reproduced"], summary["not_reproduced"]) != (count, count, 0):
        found.append(f"reproduced {summary['reproduced']} of {summary['decisions']}, and there are {count}")
    standing = find_standing([one for _, one in known], {one.uid: required[name] for name, one in known})
    refused = {key for key, one in standing.items() if not one.carried and not one.roles >= THREE}
    if (named := {(one["namespace"], one["name"]) for one in lines if one["type"] == "workload"}) != refused:
        found.append(f"workloads: {sorted(named ^ refused)}")
    return found


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the record is made and kept; a temporary folder without it")
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        known = make_all(folder, asked.decisions, asked.seed)
        store = folder / "record.sqlite"
        lines, taken = replay(store, folder, asked.jobs)
        faults = find_faults(store, known, lines)
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
        say(json.dumps({**lines[-1], "candidate": None}, indent=2))
        say(f"{asked.decisions / taken:,.0f} decisions a second with {asked.jobs} processes, {taken:.1f} s")
        say(f"{most} MiB at most in one process; {store.stat().st_size >> 20} MiB of record")
        for fault in faults[:20]:
            say(f"WRONG {fault}")
        say(f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
