"""The guard of Namespaces: only those who are named may touch the label that says how strictly one is judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from placet.apiserver import ClusterUnavailable
from placet.decide import Deadline
from placet.decision import GUARD, Decision
from placet.errors import ReviewError
from placet.messages import render_message, render_warnings
from placet.namespaces import LABEL, NamespaceError, read_change, read_label
from placet.policy.data import load_policy_data
from placet.residents import Count, NoResidents
from placet.review import parse_review
from tests.simulators.gate import GateDesk, namespace_review

PRODUCTION = {LABEL: "production"}
STAGING = {LABEL: "staging"}
OTHER = {"team": "a"}
MASTER = ("system:masters", "system:authenticated")


@dataclass
class Residents:
    """Answers with a number of workloads, or not at all."""

    answer: Count | ClusterUnavailable
    asked: bool = True
    questions: int = 0

    def count(self, namespace: str, *, time_left_s: Callable[[], float]) -> Count:
        assert namespace == "team-a"
        assert time_left_s() > 0
        self.questions += 1
        if isinstance(self.answer, ClusterUnavailable):
            raise self.answer
        return self.answer


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GateDesk]:
    opened = GateDesk.open(tmp_path_factory.mktemp("gate"))
    yield opened
    opened.log.close()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., GateDesk]]:
    """Opens a gate with an operator's policy data and somebody who counts."""
    desks: list[GateDesk] = []

    def open_desk(text: str = "{}", residents: Residents | None = None) -> GateDesk:
        file = tmp_path / "data.yaml"
        file.write_text(text, encoding="utf-8")
        desks.append(GateDesk.open(tmp_path, data=load_policy_data(file), residents=residents))
        return desks[-1]

    yield open_desk
    for one in desks:
        one.log.close()


def guard(desk: GateDesk, review: dict[str, Any], *, seconds: float = 10) -> Decision:
    request = parse_review(json.dumps(review).encode())
    return desk.gate.decide(request, environment=GUARD, deadline=Deadline(seconds))


def codes(decision: Decision) -> list[str]:
    assert all(item.rule == "gate.namespace" for item in decision.violations)
    return [item.code for item in decision.violations]


CHANGES: list[tuple[dict[str, Any] | None, dict[str, Any] | None, str]] = [
    (None, PRODUCTION, "label_set"),
    ({}, STAGING, "label_set"),
    (OTHER, {**OTHER, LABEL: ""}, "label_set"),
    (PRODUCTION, STAGING, "label_changed"),
    (STAGING, PRODUCTION, "label_changed"),
    (PRODUCTION, {LABEL: "Production"}, "label_changed"),
    (PRODUCTION, {LABEL: "production "}, "label_changed"),
    (PRODUCTION, {LABEL: ""}, "label_changed"),
    ({LABEL: ""}, None, "label_removed"),
    (PRODUCTION, OTHER, "label_removed"),
    (PRODUCTION, None, "label_removed"),
    (PRODUCTION, {"Placet.dev/environment": "production"}, "label_removed"),
    (PRODUCTION, {f" {LABEL}": "production"}, "label_removed"),
]
SAME: list[tuple[dict[str, Any] | None, dict[str, Any] | None]] = [
    (None, None),
    (None, {}),
    ({}, OTHER),
    (OTHER, None),
    (PRODUCTION, {**PRODUCTION, **OTHER}),
    ({LABEL: ""}, {LABEL: ""}),
    ({LABEL: "moon"}, {LABEL: "moon", **OTHER}),
    (None, {"Placet.dev/environment": "development"}),
]


@pytest.mark.parametrize("subresource", ["", "status", "finalize"])
@pytest.mark.parametrize(("before", "after", "kind"), CHANGES)
def test_a_tenant_can_not_touch_the_label(
    desk: GateDesk, before: dict[str, Any] | None, after: dict[str, Any] | None, kind: str, subresource: str
) -> None:
    decision = guard(desk, namespace_review(before, after, subresource=subresource))
    assert not decision.allowed
    assert codes(decision)[0] == "labeller_required"
    assert decision.change == kind


@pytest.mark.parametrize("username", ["tina@example.org", "system:anonymous", "system:masters"])
@pytest.mark.parametrize(("before", "after"), SAME)
def test_what_leaves_the_label_alone_passes_whoever_asks(
    desk: GateDesk, before: dict[str, Any] | None, after: dict[str, Any] | None, username: str
) -> None:
    decision = guard(desk, namespace_review(before, after, username=username, groups=()))
    assert decision.allowed
    assert (decision.change, decision.warnings, decision.violations) == ("unchanged", (), ())


@pytest.mark.parametrize("labels", [None, {}, OTHER])
def test_anybody_may_make_a_namespace_without_the_label(desk: GateDesk, labels: dict[str, Any] | None) -> None:
    assert guard(desk, namespace_review(None, labels, operation="CREATE", groups=())).allowed


def test_a_namespace_is_not_made_with_the_label_by_a_tenant(desk: GateDesk) -> None:
    for value in ("production", "development", ""):
        decision = guard(desk, namespace_review(None, {LABEL: value}, operation="CREATE"))
        assert not decision.allowed
        assert codes(decision)[0] == "labeller_required"


def test_an_old_object_in_a_create_does_not_count(desk: GateDesk) -> None:
    review = namespace_review(PRODUCTION, PRODUCTION)
    review["request"]["operation"] = "CREATE"
    assert codes(guard(desk, review)) == ["labeller_required"]


def test_the_name_of_the_group_is_compared_letter_by_letter(desk: GateDesk) -> None:
    for groups in (("system:master",), ("System:Masters",), ("system:masters ",), ("system:masters,x",), ()):
        assert codes(guard(desk, namespace_review(None, PRODUCTION, groups=groups))) == ["labeller_required"]
    assert guard(desk, namespace_review(None, PRODUCTION, groups=MASTER)).allowed


def test_a_user_that_is_named_may_and_another_of_that_group_name_may_not(opened: Callable[..., GateDesk]) -> None:
    argo = "system:serviceaccount:argocd:argocd-application-controller"
    desk = opened(f"namespaces: {{labellers: {{users: ['{argo}'], groups: []}}}}")
    assert guard(desk, namespace_review(PRODUCTION, STAGING, username=argo, groups=())).allowed
    for username, groups in (("x", (argo,)), (argo.upper(), ()), (f"{argo}2", ()), ("x", MASTER)):
        decision = guard(desk, namespace_review(PRODUCTION, STAGING, username=username, groups=groups))
        assert codes(decision) == ["labeller_required"]


@pytest.mark.parametrize("value", ["moon", "", "Production", "production ", "prodction"])
def test_an_environment_that_is_not_known_is_refused_to_labellers_too(desk: GateDesk, value: str) -> None:
    decision = guard(desk, namespace_review(PRODUCTION, {LABEL: value}, groups=MASTER))
    assert codes(decision) == ["environment_unknown"]
    assert "Known: development, production, staging." in render_message(decision)
    assert f'there is no environment "{value}"' in render_message(decision)


def test_the_refusal_says_who_may_not_what_and_what_to_do(desk: GateDesk) -> None:
    text = render_message(guard(desk, namespace_review(PRODUCTION, {LABEL: "development"})))
    assert text.startswith("placet refuses this change of Namespace/team-a:\n")
    assert f"gate.namespace/labeller_required: tina@example.org may not change the label {LABEL}" in text
    assert "Ask the platform team" in text
    assert "placet audit show" in text


def test_hostile_names_are_harmless_in_the_message(desk: GateDesk) -> None:
    text = render_message(guard(desk, namespace_review(None, {LABEL: "a\u001b[2Jb"}, username="x\u202ey\n- gate" * 40)))
    assert "\u001b" not in text
    assert "\u202e" not in text
    assert max(map(len, text.splitlines())) < 400


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        ({LABEL: None}, "namespace_malformed"),
        ({LABEL: 1}, "namespace_malformed"),
        ({LABEL: ["production"]}, "namespace_malformed"),
        ({LABEL: "x" * 64}, "namespace_malformed"),
        ([LABEL], "namespace_malformed"),
        ("production", "namespace_malformed"),
        (False, "namespace_malformed"),
    ],
)
def test_labels_that_no_api_server_sends_are_refused_on_either_side(desk: GateDesk, labels: Any, code: str) -> None:
    for before, after in ((PRODUCTION, labels), (labels, PRODUCTION), (labels, labels)):
        assert codes(guard(desk, namespace_review(before, after, groups=MASTER))) == [code]


def test_a_label_that_is_given_twice_is_not_read_at_all() -> None:
    raw = json.dumps(namespace_review(None, {LABEL: "production"})).replace(
        f'"{LABEL}": "production"', f'"{LABEL}": "production", "{LABEL}": "development"'
    )
    with pytest.raises(ReviewError) as caught:
        parse_review(raw.encode())
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"object": None}, "object_missing"),
        ({"oldObject": None}, "object_missing"),
        ({"name": "another"}, "name_differs"),
        ({"operation": "CONNECT"}, "operation_unsupported"),
        ({"kind": {"group": "", "version": "v1", "kind": "Pod"}}, "not_a_namespace"),
        ({"kind": {"group": "x", "version": "v1", "kind": "Namespace"}}, "not_a_namespace"),
        ({"object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "team-a"}}}, "kind_differs"),
        ({"object": {"apiVersion": "v1", "kind": "Namespace"}}, "namespace_malformed"),
        ({"object": {"apiVersion": "v1", "kind": "Namespace", "metadata": []}}, "namespace_malformed"),
    ],
)
def test_what_can_not_be_compared_is_refused(desk: GateDesk, change: dict[str, Any], code: str) -> None:
    review = namespace_review(None, None, groups=MASTER)
    review["request"] |= change
    assert codes(guard(desk, review)) == [code]


def test_a_deletion_passes(desk: GateDesk) -> None:
    review = namespace_review(PRODUCTION, None, operation="DELETE")
    review["request"]["object"] = None
    assert guard(desk, review).allowed


# --- modes


def test_in_warn_and_audit_it_passes_and_the_record_has_what_enforce_would_refuse(
    opened: Callable[..., GateDesk],
) -> None:
    for mode, where in (("warn", "warnings"), ("audit", "notes")):
        desk = opened(f"namespaces: {{mode: {mode}}}")
        decision = guard(desk, namespace_review(PRODUCTION, {LABEL: "moon"}))
        assert (decision.allowed, decision.mode, decision.violations) == (True, mode, ())
        found = [item.code for item in getattr(decision, where)]
        assert found[:2] == ["labeller_required", "environment_unknown"]
        assert decision.recorded is not None
        assert decision.recorded.leaf["mode"] == mode
        assert decision.recorded.leaf["approved"] is False


# --- what runs there


@pytest.mark.parametrize(
    ("count", "said"), [(Count(1), "1 workload here"), (Count(500, more=True), "at least 500 workloads here")]
)
def test_a_move_with_workloads_warns_how_many_were_not_judged(
    opened: Callable[..., GateDesk], count: Count, said: str
) -> None:
    decision = guard(opened(residents=Residents(count)), namespace_review(PRODUCTION, STAGING, groups=MASTER))
    assert decision.allowed
    (warning,) = render_warnings(decision)
    assert said in warning
    assert warning.endswith("that nobody judged for staging")


def test_removing_the_label_is_a_move_to_the_default_environment(opened: Callable[..., GateDesk]) -> None:
    decision = guard(opened(residents=Residents(Count(2))), namespace_review(STAGING, None, groups=MASTER))
    (warning,) = render_warnings(decision)
    assert warning.endswith("2 workloads here that nobody judged for the default environment")


def test_an_empty_namespace_moves_without_a_word(opened: Callable[..., GateDesk]) -> None:
    for text in ("{}", "namespaces: {move: refuse}"):
        desk = opened(text, Residents(Count(0)))
        decision = guard(desk, namespace_review(PRODUCTION, STAGING, groups=MASTER))
        assert (decision.allowed, decision.warnings) == (True, ())


def test_a_list_that_was_cut_off_is_never_an_empty_namespace() -> None:
    assert not Count(0, more=True).none


def test_refuse_keeps_a_namespace_with_workloads_where_it_is(opened: Callable[..., GateDesk]) -> None:
    desk = opened("namespaces: {move: refuse}", Residents(Count(3)))
    decision = guard(desk, namespace_review(PRODUCTION, STAGING, groups=MASTER))
    assert codes(decision) == ["namespace_not_empty"]
    assert "Remove the workloads first" in render_message(decision)


def test_without_api_access_the_warning_says_that_nobody_looked_and_refuse_refuses(
    opened: Callable[..., GateDesk],
) -> None:
    moved = namespace_review(PRODUCTION, STAGING, groups=MASTER)
    (warning,) = render_warnings(guard(opened(), moved))
    assert "nobody looked whether workloads here were judged for staging" in warning
    refused = guard(opened("namespaces: {move: refuse}"), namespace_review(PRODUCTION, STAGING, groups=MASTER))
    assert codes(refused) == ["namespace_not_looked_up"]
    with pytest.raises(ClusterUnavailable):
        NoResidents().count("team-a", time_left_s=lambda: 1.0)


def test_an_api_server_that_does_not_answer_warns_or_refuses(opened: Callable[..., GateDesk]) -> None:
    away = Residents(ClusterUnavailable("no connection"))
    warned = guard(opened(residents=away), namespace_review(PRODUCTION, STAGING, groups=MASTER))
    assert (warned.allowed, [item.code for item in warned.warnings]) == (True, ["cluster_unavailable"])
    desk = opened("namespaces: {move: refuse}", away)
    assert codes(guard(desk, namespace_review(PRODUCTION, STAGING, groups=MASTER))) == ["cluster_unavailable"]


def test_a_tenant_that_is_refused_makes_the_gate_ask_nobody(opened: Callable[..., GateDesk]) -> None:
    residents = Residents(Count(3))
    desk = opened(residents=residents)
    assert not guard(desk, namespace_review(PRODUCTION, STAGING)).allowed
    assert guard(desk, namespace_review(PRODUCTION, PRODUCTION)).allowed
    assert guard(desk, namespace_review(None, PRODUCTION, operation="CREATE", groups=MASTER)).allowed
    assert residents.questions == 0


# --- a decision like any other


def test_a_decision_is_a_record_that_says_what_became_of_the_label(opened: Callable[..., GateDesk]) -> None:
    desk = opened()
    decision = guard(desk, namespace_review(PRODUCTION, None, groups=MASTER))
    assert decision.recorded is not None
    leaf = decision.recorded.leaf
    assert leaf["label"] == {"before": "production", "after": None}
    assert (leaf["kind"], leaf["name"], leaf["environment"]) == ("Namespace", "team-a", GUARD)
    assert leaf["change"]["kind"] == "label_removed"
    assert leaf["allowed"] is True
    assert desk.log.size() == decision.recorded.index + 1


def test_the_same_request_again_gets_the_stored_answer_and_no_second_record(opened: Callable[..., GateDesk]) -> None:
    desk = opened()
    review = namespace_review(PRODUCTION, STAGING)
    first, again = guard(desk, review), guard(desk, review)
    assert again.recorded is not None
    assert again.recorded.replayed
    assert render_message(again) == render_message(first)
    review["request"]["object"]["metadata"]["labels"][LABEL] = "development"
    reused = guard(desk, review)
    assert [item.code for item in reused.violations] == ["uid_reused"]


def test_an_answer_of_this_path_is_none_of_another(opened: Callable[..., GateDesk]) -> None:
    desk = opened()
    review = namespace_review(PRODUCTION, PRODUCTION)
    assert guard(desk, review).allowed
    other = desk.decide(review, environment="production")
    assert [item.code for item in other.violations] == ["uid_reused"]


def test_a_dry_run_is_judged_and_leaves_no_record(opened: Callable[..., GateDesk]) -> None:
    desk = opened()
    before = desk.log.size()
    assert not guard(desk, namespace_review(PRODUCTION, STAGING, dry_run=True)).allowed
    assert guard(desk, namespace_review(PRODUCTION, STAGING, dry_run=True, groups=MASTER)).allowed
    assert desk.log.size() == before


def test_no_time_left_refuses(desk: GateDesk) -> None:
    decision = guard(desk, namespace_review(PRODUCTION, PRODUCTION, groups=MASTER), seconds=0)
    assert not decision.allowed
    assert "deadline_exceeded" in {item.code for item in decision.violations}


def test_a_namespace_on_the_path_of_workloads_is_refused(desk: GateDesk) -> None:
    assert not desk.decide(namespace_review(None, None, groups=MASTER)).allowed


# --- the comparison

LABELS = st.one_of(
    st.none(),
    st.dictionaries(
        st.sampled_from([LABEL, LABEL.upper(), f"{LABEL} ", "team", "placet.dev/environments"]),
        st.one_of(st.sampled_from(["production", "Production", " production", "", "x" * 63]), st.text(max_size=63)),
        max_size=4,
    ),
)


@given(before=LABELS, after=LABELS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_tenant_passes_exactly_when_the_label_is_the_same_on_both_sides(
    desk: GateDesk, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> None:
    missing = object()
    same = (before or {}).get(LABEL, missing) == (after or {}).get(LABEL, missing)
    request = parse_review(json.dumps(namespace_review(before, after, dry_run=True)).encode())
    assert (read_change(request).kind == "unchanged") is same
    assert desk.gate.decide(request, environment=GUARD, deadline=Deadline(10)).allowed is same


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=70)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["metadata", "labels", LABEL, "name"]), inner, max_size=3),
    ),
    max_leaves=12,
)


@given(value=st.dictionaries(st.sampled_from(["metadata", "kind"]), JSON, max_size=2))
def test_a_label_is_text_or_none_or_an_error_of_ours(value: dict[str, Any]) -> None:
    try:
        label = read_label(value)
    except NamespaceError as error:
        assert error.code == "namespace_malformed"
    else:
        assert label is None or (isinstance(label, str) and len(label) <= 63)
