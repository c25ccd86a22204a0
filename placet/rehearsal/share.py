"""One stretch of a record, judged again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from placet.audit.location import StoreLocation, open_reader
from placet.audit.record import DECISION, find_attachments
from placet.audit.stored import read_stored
from placet.audit.stores import StoredLeaf
from placet.canonical import MAX_DEPTH, parse_json
from placet.decision import GUARD
from placet.dossier.claims import find_ground, find_input_differences
from placet.dossier.leaves import Held, StoreLeaves
from placet.errors import EngineError, FormatError, TamperError
from placet.kept import INPUT
from placet.plainjson import NOT_PLAIN, parse_canonical
from placet.rehearsal.candidate import Candidate, CandidateJudge
from placet.rehearsal.outcome import Outcome, Verdict, compare, describe_subject
from placet.rehearsal.past import Catalogue, Past, UnfoundError
from placet.replay import Answer, Difference, find_differences

MAX_INPUT_BYTES: Final = 1024 * 1024
REFUSED: Final = "refused"
ADMITTED: Final = "admitted"
UNKNOWN: Final = "unknown"
_MOST_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Task:
    """What a rehearsal does, for any process that has a part in it.

    Attributes:
        location: of the record.
        catalogue: what its decisions were judged by.
        candidate: what is tried.
        baseline: what the candidate is compared with; None for what each decision was judged by.
        since: decisions before it are not judged again; RFC 3339 as records have it, or "".
        until: nor those at it or later; likewise.
    """

    location: StoreLocation
    catalogue: Catalogue
    candidate: Candidate
    baseline: Candidate | None
    since: str
    until: str

    def includes(self, time: str) -> bool:
        """Whether decisions of a time are judged again."""
        return time >= self.since and (not self.until or time < self.until)


@dataclass(frozen=True, slots=True)
class Standing:
    """A decision by which a workload is admitted, or gone.

    Attributes:
        key: which workload.
        index: of the decision.
        admitted: whether it is; else it was deleted.
        carried: whether it rests on what was judged before: unchanged, or scaled.
        projection: digest of what was admitted.
        outcome: of the decision, as JSON; None where it has not been judged again.
    """

    key: tuple[str, ...]
    index: int
    admitted: bool
    carried: bool = False
    projection: str = ""
    outcome: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Judged:
    """What came of a stretch.

    Attributes:
        decisions: that are in the time that is asked for.
        reproduced: of these, the ones that the policies of then decide as the record says.
        counts: verdict or verdict and code -> decisions.
        outcomes: those that are shown one by one.
        standing: what they say of workloads, in order.
        pruned_first: leaves without bytes before the first one that says a time.
        in_time: whether the last leaf that says a time is in the time that is asked for; None where none says one.
        sealed: decisions with names that are sealed.
        anchor: hash of the last leaf.
    """

    decisions: int = 0
    reproduced: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    standing: list[Standing] = field(default_factory=list)
    pruned_first: list[int] = field(default_factory=list)
    in_time: bool | None = None
    sealed: int = 0
    anchor: str = ""

    def count(self, outcome: Outcome) -> None:
        """Take an outcome into the counts, and among those that are shown."""
        self.decisions += 1
        self.reproduced += outcome.verdict not in {Verdict.FAULT, Verdict.UNJUDGED}
        for name in {outcome.verdict.value, f"{outcome.verdict.value}:{outcome.code}"}:
            self.counts[name] = self.counts.get(name, 0) + 1
        if outcome.verdict in {Verdict.CHANGED, Verdict.FAULT, Verdict.INCOMPARABLE}:
            self.outcomes.append(outcome)


class Bench:
    """Where stretches are judged: a candidate, and the policies of then, ready in this process."""

    def __init__(self, task: Task) -> None:
        """Compile the candidate.

        Raises:
            EngineError: it can't be run.
        """
        self.task = task
        self._past = Past(task.catalogue)
        self._candidate = CandidateJudge(task.candidate)
        self._baseline = None if task.baseline is None else CandidateJudge(task.baseline)

    def judge_stretch(self, start: int, end: int) -> Judged:
        """Judge the decisions of a stretch again.

        Raises:
            StoreUnavailable: the record can't be read.
        """
        with open_reader(self.task.location) as reader:
            leaves, made = StoreLeaves(reader), Judged()
            for stored in reader.leaves(start, end):
                made.anchor = stored.leaf_hash.hex()
                self._take(leaves, stored, made)
        return made

    def judge_leaves(self, indexes: Iterable[int]) -> list[Outcome]:
        """Judge single decisions again, whatever their time.

        Raises:
            StoreUnavailable: the record can't be read.
        """
        with open_reader(self.task.location) as reader:
            leaves = StoreLeaves(reader)
            found = reader.leaves_at(sorted(indexes, reverse=True))
            return [self._judge(leaves, Held(one.index, read_stored(one).body)) for one in reversed(found)]

    def _take(self, leaves: StoreLeaves, stored: StoredLeaf, made: Judged) -> None:
        if not stored.raw_leaf:
            if made.in_time is None:
                made.pruned_first.append(stored.index)
            elif made.in_time:
                made.count(pruned_leaf(stored.index))
            return
        try:
            held = Held(stored.index, read_stored(stored).body)
        except TamperError as exc:
            made.count(Outcome(stored.index, Verdict.FAULT, {}, exc.code, str(exc)))
            return
        made.in_time = self.task.includes(str(held.body["time"]))
        if held.type != DECISION:
            return
        outcome = None
        if made.in_time:
            made.sealed += "person_nonce" in held.body
            outcome = self._judge(leaves, held)
            made.count(outcome)
        if (standing := find_standing(held, outcome)) is not None:
            made.standing.append(standing)

    def _judge(self, leaves: StoreLeaves, held: Held) -> Outcome:
        try:
            return self._judge_input(leaves, held)
        except UnfoundError as exc:
            return Outcome(held.index, Verdict.FAULT, describe_subject(held), exc.code, exc.sentence)
        except TamperError as exc:
            return Outcome(held.index, Verdict.FAULT, describe_subject(held), exc.code, str(exc))

    def _judge_input(self, leaves: StoreLeaves, held: Held) -> Outcome:
        body = held.body
        if INPUT not in find_attachments(body, held.index):
            return _without_input(held)
        raw = self._past.input_of(leaves, held)
        document = parse_input(raw)
        if document is None:
            said = "what was judged is not a JSON object with a uid"
            return Outcome(held.index, Verdict.FAULT, describe_subject(held), "input_unreadable", said)
        if different := find_input_differences(body, document):
            said = f"the input that was judged is not the decision's: {', '.join(different)}"
            return Outcome(held.index, Verdict.FAULT, describe_subject(held), "input_differs", said)
        replayer = self._past.policies_of(leaves, held)
        try:
            answer = replayer.judge(raw, uid=document["uid"])
        except EngineError as exc:
            said = f"the policies that were kept give no decision on the input: {exc}"
            return Outcome(held.index, Verdict.FAULT, describe_subject(held), exc.code, said)
        if differences := find_differences(body, answer):
            said = "; ".join(_say(one) for one in differences)
            return Outcome(held.index, Verdict.FAULT, describe_subject(held), "differs", said)
        return self._compare(held, raw, document, answer)

    def _compare(self, held: Held, raw: bytes, document: Mapping[str, Any], answer: Answer) -> Outcome:
        baseline = answer if self._baseline is None else self._baseline.judge(raw, document)
        return compare(held, baseline, self._candidate.judge(raw, document))


def parse_input(raw: bytes) -> dict[str, Any] | None:
    """A recorded input; None where it is no object with a uid."""
    value = parse_canonical(raw, max_depth=MAX_DEPTH)
    if value is NOT_PLAIN:
        try:
            value = parse_json(raw, max_bytes=MAX_INPUT_BYTES)
        except FormatError:
            return None
    return value if isinstance(value, dict) and isinstance(value.get("uid"), str) and value["uid"] else None


def pruned_leaf(index: int) -> Outcome:
    """What is left of a leaf without bytes."""
    said = "its contents were pruned: whether it was a decision, and which, is not known any more"
    return Outcome(index, Verdict.FAULT, {}, "pruned", said)


def find_standing(held: Held, outcome: Outcome | None) -> Standing | None:
    """What a decision says of whether a workload is admitted; None where it says nothing.

    What a controller made of a workload stands and falls with it, and what is not governed is not admitted by anybody.
    """
    body = held.body
    subject = describe_subject(held)
    governed = coverage.get("governed") if isinstance(coverage := body.get("coverage"), Mapping) else None
    if body.get("allowed") is not True or governed is False or subject["change"] == "child":
        return None
    if subject["environment"] == GUARD:
        return None
    key = tuple(subject[name] for name in ("cluster", "environment", "namespace", "group", "kind", "name"))
    if body.get("operation") == "DELETE":
        return Standing(key, held.index, admitted=False)
    carried = subject["change"] in {"unchanged", "scaled"}
    told = None if outcome is None else tell_standing(outcome)
    projection = str(body.get("projection", ""))
    return Standing(key, held.index, admitted=True, carried=carried, projection=projection, outcome=told)


def tell_standing(outcome: Outcome) -> dict[str, Any]:
    """Whether the candidate would admit a workload again, as JSON: ``answer`` beside the outcome of its decision."""
    after = outcome.after
    if outcome.verdict is Verdict.UNJUDGED:
        answer = outcome.code
    elif outcome.verdict in {Verdict.FAULT, Verdict.INCOMPARABLE} or after is None:
        answer = UNKNOWN
    elif after["allowed"]:
        answer = ADMITTED
    else:
        answer = "break_glass" if outcome.subject.get("break_glass") else REFUSED
    return {"answer": answer, **outcome.render()}


def _without_input(held: Held) -> Outcome:
    """Nothing was put to the policies: the gate refused before, or there is a ground that it needed none."""
    ground = find_ground(held.body)
    if held.body.get("allowed") is True and not ground:
        said = "it was allowed, and the record has nothing that it was allowed on"
        return Outcome(held.index, Verdict.FAULT, describe_subject(held), "no_ground", said)
    code = ground if held.body.get("allowed") is True else "refused_before"
    return Outcome(held.index, Verdict.UNJUDGED, describe_subject(held), code)


def _say(one: Difference) -> str:
    recorded, replayed = (str(value)[:_MOST_SHOWN] for value in (one.recorded, one.replayed))
    return f"{one.member}: the record has {recorded}, and its policies give {replayed}"
