"""Going back to what was admitted needs no new approval; going anywhere else, or back to what was taken back, does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from placet.decision import Decision
from placet.messages import render_warnings
from tests.simulators.cluster import LowerHistory
from tests.simulators.gate import GateDesk, example, review

ROLES = ("technical", "security", "business", "executive")
Json = dict[str, Any]


def variant(number: int, base: Json | None = None) -> Json:
    manifest = copy.deepcopy(base or example())
    manifest["spec"]["template"]["spec"]["containers"][0]["args"].append(f"--seed={number}")
    return manifest


def admit(desk: GateDesk, manifest: Json, *, old: Json | None = None, **terms: Any) -> tuple[Json, Decision]:
    signed = desk.approve(manifest, *ROLES, **terms)
    decision = desk.decide(review(signed, old=old))
    assert decision.allowed, decision.violations
    return signed, decision


def two_revisions(desk: GateDesk) -> tuple[Json, Decision, Json, Decision]:
    first, admitted = admit(desk, example())
    second, changed = admit(desk, variant(2), old=first)
    return first, admitted, second, changed


def undone(first: Json, second: Json) -> Json:
    """``kubectl rollout undo`` of a StatefulSet: the template comes back, the annotations stay."""
    return {**copy.deepcopy(second), "spec": copy.deepcopy(first["spec"])}


def restored(first: Json, _second: Json) -> Json:
    """``kubectl rollout undo`` of a Deployment, or ``helm rollback``: all comes back."""
    return copy.deepcopy(first)


def stripped(first: Json, _second: Json) -> Json:
    """What comes back has no approval at all."""
    bare = copy.deepcopy(first)
    for role in ROLES:
        del bare["metadata"]["annotations"][f"placet.dev/approval.{role}"]
    return bare


def codes(decision: Decision) -> set[str]:
    return {f"{item.rule}/{item.code}" for item in decision.violations}


def expire(desk: GateDesk) -> None:
    desk.desk.now = desk.desk.now.replace(year=2027, month=6)


def take_back(desk: GateDesk, decision: Decision, role: str = "security") -> None:
    assert decision.recorded is not None
    approvals = decision.recorded.leaf["approvals"]
    desk.desk.document["revokedApprovals"] += [one["approval_id"] for one in approvals if one["role"] == role]
    desk.desk.document["version"] += 1


@pytest.mark.parametrize("back", [undone, restored, stripped])
def test_an_earlier_revision_comes_back_after_its_approvals_have_expired(
    desk: GateDesk, back: Callable[[Json, Json], Json]
) -> None:
    first, admitted, second, _ = two_revisions(desk)
    expire(desk)
    decision = desk.decide(review(back(first, second), old=second, username="dora@example.org"))
    assert (decision.allowed, decision.change) == (True, "rollback"), decision.violations
    assert decision.recorded is not None
    told = decision.recorded.leaf
    assert told["change"]["kind"] == "rollback"
    assert told["precedent"]["decision_id"] == admitted.decision_id
    assert told["approved"] is False
    (warning,) = render_warnings(decision)
    assert "rolled back to what was admitted on 2026-11-22" in warning
    assert len(warning) <= 120


def test_evidence_that_has_expired_does_not_stop_a_rollback(desk: GateDesk) -> None:
    first, admitted, second, _ = two_revisions(desk)
    expire(desk)
    decision = desk.decide(review(stripped(first, second), old=second))
    assert decision.findings is not None
    assert admitted.findings is not None
    assert decision.findings.assessment.score <= admitted.findings.assessment.score


def test_a_revision_that_was_never_admitted_does_not_come_back(desk: GateDesk) -> None:
    _, _, second, _ = two_revisions(desk)
    refused = desk.decide(review(variant(3, second), old=second))
    assert not refused.allowed
    assert refused.change == "changed"


def test_a_revision_that_was_refused_does_not_come_back(desk: GateDesk) -> None:
    first, _ = admit(desk, example())
    bare = variant(2)
    assert not desk.decide(review(bare, old=first)).allowed
    assert not desk.decide(review(bare, old=first)).allowed


def test_a_revision_of_another_workload_does_not_come_back(desk: GateDesk) -> None:
    _, _, second, _ = two_revisions(desk)
    for field, value in (("name", "other"), ("namespace", "elsewhere")):
        new, old = copy.deepcopy(example()), copy.deepcopy(second)
        new["metadata"][field] = old["metadata"][field] = value
        assert not desk.decide(review(new, old=old)).allowed
    assert not desk.decide(review(example(), old=second), environment="staging").allowed


def test_creating_anew_is_no_rollback(desk: GateDesk) -> None:
    first, *_ = two_revisions(desk)
    expire(desk)
    decision = desk.decide(review(first))
    assert (decision.allowed, decision.change) == (False, "new")


@pytest.mark.parametrize("role", ROLES[:3])
@pytest.mark.parametrize("back", [undone, restored, stripped])
def test_what_was_taken_back_does_not_come_back(desk: GateDesk, back: Callable[[Json, Json], Json], role: str) -> None:
    first, admitted, second, _ = two_revisions(desk)
    take_back(desk, admitted, role)
    refused = desk.decide(review(back(first, second), old=second))
    assert not refused.allowed
    assert "gate.origin/precedent_withdrawn" in codes(refused)


def test_what_a_compromised_key_approved_does_not_come_back(desk: GateDesk) -> None:
    first, _, second, _ = two_revisions(desk)
    key = desk.desk.identity("bob")["keys"][0]
    key |= {"revokedAt": "2026-11-22T18:00:00Z", "revocation": "compromised"}
    desk.desk.document["version"] += 1
    refused = desk.decide(review(stripped(first, second), old=second))
    assert "gate.origin/precedent_withdrawn" in codes(refused)


@pytest.mark.parametrize("back", [undone, restored, stripped])
def test_one_can_go_back_from_what_was_taken_back(desk: GateDesk, back: Callable[[Json, Json], Json]) -> None:
    first, _, second, bad = two_revisions(desk)
    take_back(desk, bad)
    decision = desk.decide(review(back(first, second), old=second))
    assert (decision.allowed, decision.change) == (True, "rollback"), decision.violations


def test_what_was_taken_back_comes_back_when_it_is_approved_again(desk: GateDesk) -> None:
    first, admitted, second, _ = two_revisions(desk)
    take_back(desk, admitted)
    again = desk.approve(stripped(first, second), *ROLES)
    decision = desk.decide(review(again, old=second))
    assert (decision.allowed, decision.change) == (True, "changed")
    # ... and stays: the newest approval of a content is the one that counts.
    third, _ = admit(desk, variant(3), old=again)
    assert desk.decide(review(stripped(first, third), old=third)).change == "rollback"


def test_a_revocation_is_found_where_a_rollback_left_no_approval(desk: GateDesk) -> None:
    first, admitted, second, _ = two_revisions(desk)
    back = stripped(first, second)
    assert desk.decide(review(back, old=second)).allowed
    take_back(desk, admitted)
    touched = copy.deepcopy(back)
    touched["metadata"]["labels"]["team"] = "serving"
    refused = desk.decide(review(touched, old=back))
    assert "approvals.revoked/revoked" in codes(refused)


def test_a_rollback_to_more_risk_than_was_approved_is_judged_anew(desk: GateDesk) -> None:
    first, _, second, _ = two_revisions(desk)
    back = stripped(first, second)
    for level in ("low", "medium"):
        desk.gate._history = LowerHistory(desk.history, level)
        refused = desk.decide(review(back, old=second))
        assert not refused.allowed
        assert "gate.origin/above_precedent" in codes(refused)
        approved = desk.decide(review(desk.approve(back, *ROLES), old=second))
        assert (approved.allowed, approved.change) == (True, "changed")


@pytest.mark.parametrize("what", ["name", "version", "digest"])
def test_the_content_of_an_earlier_revision_as_another_model_is_judged_anew(desk: GateDesk, what: str) -> None:
    first, _, second, _ = two_revisions(desk)
    new = stripped(first, second)
    match what:
        case "name":
            new["metadata"]["labels"]["placet.dev/model"] = "another-model"
        case "version":
            new["metadata"]["annotations"]["placet.dev/model-version"] = "9.9.9"
        case "digest":
            new["metadata"]["annotations"]["placet.dev/model-digest"] = "sha256:" + "9" * 64
    refused = desk.decide(review(new, old=second))
    assert not refused.allowed
    assert "gate.origin/precedent_of_another_model" in codes(refused)


def test_another_strategy_alone_is_no_rollback(desk: GateDesk) -> None:
    first, _ = admit(desk, example())
    expire(desk)
    new = copy.deepcopy(first)
    new["spec"]["strategy"] = {"type": "Recreate"}
    decision = desk.decide(review(new, old=first))
    assert (decision.allowed, decision.change) == (False, "changed")


def test_renewed_approvals_stand_for_what_runs(desk: GateDesk) -> None:
    first, admitted, second, _ = two_revisions(desk)
    assert desk.decide(review(stripped(first, second), old=second)).change == "rollback"
    desk.desk.now += timedelta(days=20)
    renewed = desk.approve(stripped(first, second), *ROLES)
    assert desk.decide(review(renewed, old=stripped(first, second))).change == "adopted"
    take_back(desk, admitted)
    third, _ = admit(desk, variant(3), old=renewed)
    assert desk.decide(review(stripped(first, third), old=third)).change == "rollback"


def test_a_revoked_approval_can_be_replaced_where_it_stands(desk: GateDesk) -> None:
    first, admitted = admit(desk, example())
    take_back(desk, admitted)
    replaced = desk.approve(stripped(first, first), *ROLES)
    decision = desk.decide(review(replaced, old=first))
    assert (decision.allowed, decision.change) == (True, "adopted"), decision.violations
    bare = desk.decide(review(stripped(first, first), old=first))
    assert not bare.allowed


def test_fewer_of_what_was_revoked_may_run(desk: GateDesk) -> None:
    first, admitted = admit(desk, example())
    take_back(desk, admitted)
    for replicas, allowed in ((1, True), (0, True), (4, False), (5, False)):
        new = copy.deepcopy(first)
        new["spec"]["replicas"] = replicas
        assert desk.decide(review(new, old=first)).allowed == allowed
    sneaky = copy.deepcopy(first)
    sneaky["spec"]["replicas"] = 1
    del sneaky["metadata"]["annotations"]["placet.dev/approval.security"]
    assert not desk.decide(review(sneaky, old=first)).allowed
