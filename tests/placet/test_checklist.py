"""The sixteen items follow the rules: met with all evidence, lacking each by what is taken away, never ticked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from placet.canonical import Digest
from placet.checklist import AREAS, ITEMS, Answer, State, answer, is_complete, render_answers, require_checklist
from placet.decision import Decision
from placet.judge import Findings
from placet.policy.bundle import shipped_bundle
from placet.policy.data import load_policy_data
from placet.policy.wasm import EmbeddedEngine
from placet.review import AdmissionRequest, GroupVersionKind
from tests.policies.documents import Json, governed_request

REQUEST = AdmissionRequest(
    uid="u",
    kind=GroupVersionKind("apps", "v1", "Deployment"),
    subresource="",
    operation="CREATE",
    name="llama",
    namespace="ml",
    username="",
    groups=(),
    object={},
    old_object=None,
    dry_run=True,
    digest=Digest.of(b""),
)
Judge = Callable[[Json], Decision]


@pytest.fixture(scope="module")
def judge() -> Judge:
    """A decision by the shipped data with the list required: no environment there requires anything itself."""
    engine = EmbeddedEngine.default(require_checklist(load_policy_data(None)), guests=1)
    engine.prepare()

    def decide(document: Json) -> Decision:
        policy = engine.decide(document, deadline_s=5)
        known = SimpleNamespace(document=document, assessment=SimpleNamespace(shown="6.65", level="high"))
        return Decision(
            request=REQUEST,
            environment="production",
            time=datetime.now(UTC),
            allowed=policy.allowed,
            policy=policy,
            violations=policy.violations,
            findings=cast("Findings", known),
        )

    return decide


def states(answers: tuple[Answer, ...]) -> dict[str, str]:
    return {one.item.name: one.state.value for one in answers}


def lacking(answers: tuple[Answer, ...]) -> set[str]:
    return {one.item.name for one in answers if one.state is not State.MET}


def without(kind: str) -> Json:
    request = governed_request()
    return request | {"evidence": [one for one in request["evidence"] if one["kind"] != kind]}


def test_there_are_sixteen_items_in_four_groups_and_each_rule_of_them_exists() -> None:
    assert len(ITEMS) == len({item.name for item in ITEMS}) == 16
    groups = [item.group for item in ITEMS]
    assert [groups.count(group) for group in dict.fromkeys(groups)] == [4, 4, 4, 4]
    known = {rule.id for rule in shipped_bundle().rules}
    assert {rule for item in ITEMS for rule in item.rules} <= known
    assert all(item.rules or item.recorded for item in ITEMS)


def test_each_rule_has_exactly_one_place_on_the_map() -> None:
    starts = [start for parts in AREAS.values() for part in parts.values() for start in part]
    for rule in shipped_bundle().rules:
        assert sum(rule.id.startswith(start) for start in starts) == 1, rule.id
    assert [len(parts) for parts in AREAS.values()] == [3, 3, 3, 3]


def test_everything_is_met_with_all_evidence_and_names_what_answers_it(judge: Judge) -> None:
    answers = answer(judge(governed_request()), recorded=True)
    assert lacking(answers) == set()
    assert is_complete(answers)
    assert all(one.by for one in answers if one.item.name != "change" or one.by)
    by = {one.item.name: one.by for one in answers}
    assert by["coverage"] == ("coverage by ci, 2026-09-21 (sha256:666666666666)",)
    assert by["risk"] == ("score 6.65, high",)
    assert by["technical_approval"] == ("approval a-technical-p-1 by p-1",)


@pytest.mark.parametrize(
    ("kind", "items"),
    [
        ("performance", {"performance"}),
        ("slo", {"performance"}),
        ("vulnerability_scan", {"security_scan"}),
        ("documentation", {"documentation"}),
        ("coverage", {"coverage"}),
        ("monitoring", {"monitoring", "alerting"}),
        ("rollback_drill", {"rollback"}),
        ("incident_plan", {"incident_plan"}),
        ("lineage", {"lineage"}),
        ("retention", {"retention"}),
        ("change_ticket", {"change"}),
    ],
)
def test_an_item_is_lacking_without_its_evidence_and_no_other_is(judge: Judge, kind: str, items: set[str]) -> None:
    answers = answer(judge(without(kind)), recorded=True)
    assert lacking(answers) == items
    assert not is_complete(answers)
    for one in answers:
        if one.item.name in items:
            assert one.state is State.LACKING
            assert one.why
            assert {each.rule for each in one.lacking} <= set(one.item.rules)


def altered(kind: str, **claims: Any) -> Json:
    request = governed_request()
    for one in request["evidence"]:
        if one["kind"] == kind:
            one["claims"] |= claims
    return request


def test_monitors_and_alert_rules_are_answered_apart(judge: Judge) -> None:
    assert lacking(answer(judge(altered("monitoring", monitors=[])), recorded=True)) == {"monitoring"}
    assert lacking(answer(judge(altered("monitoring", alert_rules=0)), recorded=True)) == {"alerting"}


def test_a_closed_window_is_a_change_process_that_was_not_followed(judge: Judge) -> None:
    closed = governed_request() | {"calendar": {"windows": [], "freezes": []}}
    assert lacking(answer(judge(closed), recorded=True)) == {"change"}


@pytest.mark.parametrize("role", ["technical", "security", "business"])
def test_each_approval_answers_for_its_own_role(judge: Judge, role: str) -> None:
    request = governed_request()
    request["approvals"] = [one for one in request["approvals"] if one["role"] != role]
    assert lacking(answer(judge(request), recorded=True)) == {f"{role}_approval"}


def test_an_approval_that_is_not_bound_or_of_one_person_for_two_roles_is_none(judge: Judge) -> None:
    loose = governed_request()
    loose["approvals"][1]["bindings"] = []
    assert lacking(answer(judge(loose), recorded=True)) == {"security_approval"}
    twice = governed_request()
    twice["approvals"][1]["person"] = "p-1"
    assert lacking(answer(judge(twice), recorded=True)) == {"technical_approval", "security_approval"}
    revoked = governed_request()
    revoked["rejected"] = [{"role": "security", "code": "revoked", "approval_id": "a-2"}]
    assert lacking(answer(judge(revoked), recorded=True)) == {"security_approval"}


def test_a_role_that_the_environment_does_not_ask_for_is_said_to_be_not_asked(judge: Judge) -> None:
    request = governed_request() | {"environment": "development"}
    low = dict.fromkeys(request["risk"]["factors"], 2) | {"change_magnitude": 3}
    request["risk"] |= {"factors": low, "score": 220, "level": "low"}
    found = states(answer(judge(request), recorded=True))
    assert (found["technical_approval"], found["business_approval"]) == ("met", "not_asked")
    assert "lacking" not in {found[name] for name in found if name.endswith("approval")}


def test_nothing_is_met_that_the_gate_could_not_judge(judge: Judge) -> None:
    unknown = judge(governed_request() | {"environment": "moon"})
    unjudged = Decision(
        request=REQUEST, environment="production", time=datetime.now(UTC), allowed=True, findings=None, policy=None
    )
    for decision in (unknown, unjudged):
        found = answer(decision, recorded=False)
        assert {one.state for one in found} == {State.UNKNOWN}
        assert all(one.why for one in found)
        assert not is_complete(found)


def test_machines_are_told_every_item_by_its_group(judge: Judge) -> None:
    told = render_answers(answer(judge(without("slo")), recorded=True))
    assert [len(group["items"]) for group in told] == [4, 4, 4, 4]
    first = told[0]["items"][0]
    assert (first["item"], first["state"]) == ("performance", "lacking")
    assert {(each["rule"], each["code"]) for each in first["lacking"]} == {("slo.declared", "evidence_missing")}
