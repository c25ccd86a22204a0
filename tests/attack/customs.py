"""Custom resources that were admitted, and what their controllers ask for."""

from __future__ import annotations

from typing import Any

from placet.decision import Decision
from tests.simulators.cluster import ObjectStore, review_of
from tests.simulators.gate import GateDesk
from tests.simulators.kinds import CASES, KINDS

ROLES = ("technical", "security", "business", "executive")
CONTROLLER = "system:serviceaccount:argo-rollouts:argo-rollouts"
Json = dict[str, Any]


def load(name: str) -> Json:
    return next(one for one in CASES if one.name == name).load()


def ask(desk: GateDesk, obj: Json, *, old: Json | None = None, username: str = CONTROLLER) -> Decision:
    asked = review_of(obj, old=old, username=username)
    resource = getattr(KINDS.find(obj), "resource", None)
    if resource is not None:
        asked["request"]["resource"]["resource"] = resource
    return desk.decide(asked)


def admit(desk: GateDesk, store: ObjectStore, manifest: Json, *, old: Json | None = None) -> Json:
    """A custom resource that was approved and is there."""
    signed = desk.approve(manifest, *ROLES)
    decision = ask(desk, signed, old=old, username="dora@example.org")
    assert decision.allowed, decision.violations
    return store.put(signed)


def codes(decision: Decision) -> set[str]:
    return {item.code for item in (*decision.violations, *decision.notes) if item.rule == "gate.origin"}


def leaf(decision: Decision) -> Json:
    assert decision.recorded is not None
    return dict(decision.recorded.leaf)


def passes(decision: Decision) -> bool:
    assert decision.allowed, decision.violations
    return decision.change == "child"


def other_uid(child: Json) -> None:
    child["metadata"]["ownerReferences"][0]["uid"] = "00000000-0000-0000-0000-000000000000"
