"""The production checklist: sixteen items in four groups, each answered by a rule, never by a box that somebody ticked.

The answers come from one decision of the gate, made with every rule of the list required. ``ITEMS`` is the list, and
``AREAS`` the map of the governance framework that it belongs to; both are printed in docs/policy-authors.md.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from placet.canonical import Digest, render_canonical
from placet.decision import Decision
from placet.messages import render_violation
from placet.policy.data import PolicyData
from placet.policy.decision import Violation

_GUARD: Final = "admission.main"
_APPROVALS: Final = ("approvals.required", "approvals.separation", "approvals.binding", "approvals.revoked")
_TOO_FEW: Final = "persons_too_few"
_RECORDED: Final = "an allow is answered only once it is in the record"


class State(StrEnum):
    """How an item stands."""

    MET = "met"
    LACKING = "lacking"
    UNKNOWN = "unknown"
    NOT_ASKED = "not_asked"


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the checklist.

    Attributes:
        name: for machines.
        group: that it stands in.
        title: for people.
        rules: that answer it; all of them must pass.
        kinds: of evidence that they judge, shown beside the answer.
        role: whose approval it is; "" for none.
        others: codes of these rules that are the business of another item.
        recorded: whether it is the record that answers.
    """

    name: str
    group: str
    title: str
    rules: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    role: str = ""
    others: tuple[str, ...] = ()
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """How one item stands.

    Attributes:
        item: the line.
        state: whether it is met.
        by: what answers it: statements, approvals, the score.
        lacking: what is missing; empty unless the state is ``lacking`` or ``unknown``.
    """

    item: Item
    state: State
    by: tuple[str, ...]
    lacking: tuple[Violation, ...]
    why: tuple[str, ...]


TECHNICAL: Final = "technical validation"
GOVERNANCE: Final = "governance approval"
OPERATIONS: Final = "operational readiness"
COMPLIANCE: Final = "compliance requirements"

ITEMS: Final = (
    Item(
        "performance",
        TECHNICAL,
        "performance benchmarks meet the SLOs",
        ("checks.performance_validation", "quality.performance", "slo.declared"),
        ("performance", "slo"),
    ),
    Item(
        "security_scan",
        TECHNICAL,
        "security vulnerability scan passed",
        ("checks.security_scan", "quality.vulnerabilities"),
        ("vulnerability_scan",),
    ),
    Item(
        "documentation",
        TECHNICAL,
        "documentation complete: model card, API docs, deployment guide",
        ("checks.documentation_review", "quality.documents"),
        ("documentation",),
    ),
    Item("coverage", TECHNICAL, "test coverage high enough", ("quality.coverage",), ("coverage",)),
    Item("technical_approval", GOVERNANCE, "technical team approval", _APPROVALS, role="technical"),
    Item("security_approval", GOVERNANCE, "security team approval", _APPROVALS, role="security"),
    Item("business_approval", GOVERNANCE, "business stakeholder approval", _APPROVALS, role="business"),
    Item("risk", GOVERNANCE, "risk assessment completed", ("risk.assessed", "risk.ceiling")),
    Item(
        "monitoring",
        OPERATIONS,
        "monitoring configured",
        ("monitoring.configured",),
        ("monitoring",),
        others=("alert_rules_few",),
    ),
    Item(
        "alerting",
        OPERATIONS,
        "alerting rules defined",
        ("monitoring.configured",),
        ("monitoring",),
        others=("monitors_few",),
    ),
    Item("rollback", OPERATIONS, "rollback procedure tested", ("rollback.authority",), ("rollback_drill",)),
    Item("incident_plan", OPERATIONS, "incident response plan updated", ("incident.plan",), ("incident_plan",)),
    Item("audit_trail", COMPLIANCE, "audit trail enabled", recorded=True),
    Item("lineage", COMPLIANCE, "data lineage documented", ("lineage.declared",), ("lineage",)),
    Item("retention", COMPLIANCE, "retention policies configured", ("retention.declared",), ("retention",)),
    Item(
        "change",
        COMPLIANCE,
        "change management process followed",
        ("change.ticket", "change.window"),
        ("change_ticket",),
    ),
)

# Area and part of the framework's map -> what holds it: beginnings of rule ids, and pages where it is no rule.
AREAS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "model governance": {
        "approval workflow": ("approvals.", "model."),
        "risk assessment": ("risk.",),
        "quality gates": ("checks.", "quality.", "images."),
    },
    "deployment governance": {
        "environment promotion": ("promotion.",),
        "change management": ("change.",),
        "rollback authority": ("rollback.",),
    },
    "data governance": {
        "data lineage": ("lineage.",),
        "privacy controls": ("privacy.",),
        "retention policies": ("retention.",),
    },
    "operational governance": {
        "SLO compliance": ("slo.", "monitoring.", "capacity."),
        "incident response": ("incident.",),
        "audit trail": (),
    },
}


def require_checklist(data: PolicyData) -> PolicyData:
    """The same data with every rule of the checklist required, in every environment."""
    value = copy.deepcopy(dict(data.value))
    asked = {rule for item in ITEMS if item.kinds or item.name == "change" for rule in item.rules}
    for environment in value["environments"].values():
        environment["requires"] = sorted(asked.union(environment["requires"]))
    return replace(data, value=value, digest=Digest.of(render_canonical(value)))


def answer(decision: Decision, *, recorded: bool) -> tuple[Answer, ...]:
    """How each item stands, in order.

    Args:
        decision: made with the data of :func:`require_checklist`.
        recorded: whether the record is there that the decision would be kept in.
    """
    return tuple(_answer(item, decision, recorded=recorded) for item in ITEMS)


def _answer(item: Item, decision: Decision, *, recorded: bool) -> Answer:
    if item.recorded:
        why = () if recorded else ("no record was named, so nothing shows that there is one (--record)",)
        return Answer(item, State.MET if recorded else State.UNKNOWN, (_RECORDED,) if recorded else (), (), why)
    policy = decision.policy
    if policy is None or decision.findings is None or any(one.rule == _GUARD for one in policy.violations):
        return Answer(item, State.UNKNOWN, (), (), _undecided(decision))
    if item.role and item.role not in policy.required_roles:
        return Answer(item, State.NOT_ASKED, (), (), ())
    against = tuple(one for one in _against(decision) if _concerns(one, item))
    by = tuple(_answered_by(item, decision))
    if against or (item.role and item.role not in policy.granted_roles):
        sentences = tuple(dict.fromkeys(f"{one.rule}: {render_violation(one, decision)}" for one in against))
        return Answer(item, State.LACKING, by, against, sentences or (f"no {item.role} approval counts",))
    return Answer(item, State.MET, by, (), ())


def _undecided(decision: Decision) -> tuple[str, ...]:
    told = tuple(f"{one.rule}: {render_violation(one, decision)}" for one in decision.violations)
    return told or ("the gate does not judge this workload by the policies",)


def _against(decision: Decision) -> Iterator[Violation]:
    """What speaks against it, whether the environment refuses for that or only warns."""
    policy = decision.policy
    if policy is None:
        return
    softened = (one for one in (*policy.warnings, *policy.notes) if one.rule in policy.tolerated)
    found = (*policy.violations, *softened)
    short = [frozenset(one.details["roles"]) for one in found if one.code == _TOO_FEW]
    for one in found:
        # Two roles that share a person lack one in every larger set of roles as well: that says nothing of the others.
        if one.code != _TOO_FEW or not any(roles < frozenset(one.details["roles"]) for roles in short):
            yield one


def _concerns(one: Violation, item: Item) -> bool:
    if one.rule not in item.rules or one.code in item.others:
        return False
    if not item.role:
        return True
    named = {str(one.details.get("role", "")), *map(str, one.details.get("roles", ()))} - {""}
    # That a role is missing at all is told of that role by approvals.required.
    return item.role in named or (not named and one.code != "approvals_missing")


def _answered_by(item: Item, decision: Decision) -> Iterator[str]:
    findings = decision.findings
    if findings is None:
        return
    document = findings.document
    for one in document["evidence"]:
        if one["kind"] in item.kinds:
            day = datetime.fromtimestamp(one["issued_s"], UTC)
            yield f"{one['kind']} by {one['attester']}, {day:%Y-%m-%d} ({one['statement'][:19]})"
    if item.role:
        yield from (
            f"approval {one['approval_id']} by {one['person']}"
            for one in document["approvals"]
            if one["role"] == item.role
        )
    if item.name == "risk":
        yield f"score {findings.assessment.shown}, {findings.assessment.level}"


def is_complete(answers: Sequence[Answer]) -> bool:
    """Whether nothing is lacking and nothing is unknown."""
    return all(one.state in {State.MET, State.NOT_ASKED} for one in answers)


def render_answers(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """The groups with their items, for machines."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in answers:
        groups.setdefault(one.item.group, []).append(
            {
                "item": one.item.name,
                "title": one.item.title,
                "state": one.state.value,
                "rules": list(one.item.rules),
                "answered_by": list(one.by),
                "lacking": [{"rule": each.rule, "code": each.code, "details": each.details} for each in one.lacking],
                "why": list(one.why),
            }
        )
    return [{"group": name, "items": items} for name, items in groups.items()]
