"""What became of one recorded decision: reproduced or not, and what a candidate makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from placet.dossier.leaves import Held
from placet.rehearsal.candidate import Opinion
from placet.replay import Answer

_GATES_OWN: Final = "gate."


class Change(StrEnum):
    """How the candidate's answer differs, the gravest first."""

    NEWLY_REFUSED = "newly_refused"
    NO_DECISION = "no_decision"
    NEWLY_ADMITTED = "newly_admitted"
    TOKEN_NEEDLESS = "token_needless"  # noqa: S105 - break-glass let it in, and it needs none
    ROLES = "roles"
    REASONS = "reasons"
    WARNINGS = "warnings"


class Verdict(StrEnum):
    """What is said of a decision as a whole."""

    SAME = "same"
    CHANGED = "changed"
    INCOMPARABLE = "incomparable"
    GATES_OWN = "gates_own"
    FAULT = "fault"
    UNJUDGED = "unjudged"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one decision.

    Attributes:
        index: of the leaf.
        verdict: what is said of it.
        subject: which decision and which workload, as JSON.
        code: of a change, a fault, of what makes it incomparable, or the ground of what was not judged; or "".
        sentence: why, for a person; or "".
        before: what the baseline says, as JSON; None where nothing was judged.
        after: what the candidate says.
    """

    index: int
    verdict: Verdict
    subject: Mapping[str, Any]
    code: str = ""
    sentence: str = ""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None

    def render(self) -> dict[str, Any]:
        """JSON value."""
        return {
            "index": self.index,
            "verdict": self.verdict.value,
            "code": self.code,
            **({"sentence": self.sentence} if self.sentence else {}),
            **self.subject,
            **({} if self.before is None else {"before": self.before, "after": self.after}),
        }


def describe_subject(held: Held) -> dict[str, Any]:
    """Which decision, which workload, whose model."""
    body = held.body
    model = body.get("model")
    texts = ("decision_id", "time", "cluster", "environment", "namespace", "group", "kind", "name")
    return {
        **{name: str(body.get(name, "")) for name in texts},
        "model": str(model.get("name", "")) if isinstance(model, Mapping) else "",
        **({"break_glass": True} if body.get("break_glass") is not None else {}),
        "change": str(change.get("kind", "")) if isinstance(change := body.get("change"), Mapping) else "",
    }


def compare(held: Held, baseline: Answer | Opinion, opinion: Opinion) -> Outcome:
    """What a candidate makes of a decision that was reproduced.

    Args:
        held: the decision.
        baseline: what the candidate is compared with: the policies of then, or those in force.
        opinion: the candidate's.
    """
    subject = describe_subject(held)
    before, after = _told(baseline), _told(opinion)
    if isinstance(baseline, Opinion) and baseline.incomparable:
        code, said = baseline.incomparable, "the policies in force can't judge this input"
        return Outcome(held.index, Verdict.INCOMPARABLE, subject, code, said, before, after)
    if opinion.incomparable:
        said = describe_incomparable(opinion)
        return Outcome(held.index, Verdict.INCOMPARABLE, subject, opinion.incomparable, said, before, after)
    if _refused_by_gate(held.body):
        return Outcome(held.index, Verdict.GATES_OWN, subject)
    change = _find_change(held.body, before, after)
    if change is None:
        return Outcome(held.index, Verdict.SAME, subject, before=before, after=after)
    return Outcome(held.index, Verdict.CHANGED, subject, change.value, opinion.fault, before, after)


def describe_incomparable(opinion: Opinion) -> str:
    """Why an answer of the candidate is none to what was recorded, for a person."""
    match opinion.incomparable:
        case "older_input":
            return f"the recorded input does not say {', '.join(opinion.unknown)}, which the candidate may read"
        case "schema_unknown":
            return "the candidate does not know the version of the recorded input"
        case "data_unknown":
            return "the candidate's policies do not know the policy data"
        case _:
            return "the candidate did not judge by all of its rules"


def _find_change(body: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> Change | None:
    if after["fault"]:
        return Change.NO_DECISION if not before["fault"] else None
    if before["allowed"] and not after["allowed"]:
        return Change.NEWLY_REFUSED
    if not before["allowed"] and after["allowed"]:
        by_token = body.get("break_glass") is not None and body.get("allowed") is True
        return Change.TOKEN_NEEDLESS if by_token else Change.NEWLY_ADMITTED
    for names, change in (
        (("required_roles",), Change.ROLES),
        (("violations", "fault"), Change.REASONS),
        (("tolerated",), Change.WARNINGS),
    ):
        if any(before[name] != after[name] for name in names):
            return change
    return None


def _told(one: Answer | Opinion) -> dict[str, Any]:
    if isinstance(one, Answer):
        codes = sorted({f"{rule}/{code}" for rule, code in one.violations})
        return _plain(codes, one.required_roles, one.granted_roles, one.tolerated, allowed=one.allowed)
    decision = one.decision
    if decision is None:
        return _plain((), (), (), (), allowed=False, fault=one.fault)
    roles = decision.required_roles, decision.granted_roles
    return _plain(one.codes, *roles, one.tolerated, allowed=one.allowed)


def _plain(
    codes: Sequence[str],
    required: Sequence[str],
    granted: Sequence[str],
    tolerated: Sequence[str],
    *,
    allowed: bool,
    fault: str = "",
) -> dict[str, Any]:
    return {
        "allowed": allowed,
        "violations": list(codes),
        "required_roles": list(required),
        "missing_roles": [role for role in required if role not in granted],
        "tolerated": list(tolerated),
        "fault": fault,
    }


def _refused_by_gate(body: Mapping[str, Any]) -> bool:
    """Whether the gate refused what the policies may have let in: no policies change that."""
    violations = body.get("violations")
    rules = [one.get("rule") for one in violations if isinstance(one, Mapping)] if isinstance(violations, list) else []
    return body.get("allowed") is False and bool(rules) and all(str(rule).startswith(_GATES_OWN) for rule in rules)
