"""Reviews that come by the path of another environment than their namespace's, and workloads that change places."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from placet.decision import Decision
from placet.policy.wasm import EmbeddedEngine
from tests.simulators.cluster import ObjectStore, pod, replica_set, review_of, scale_review
from tests.simulators.gate import GateDesk, example, namespace_review, review
from tests.simulators.spaces import LABEL

ROLES = ("technical", "security", "business", "executive")
HOME = "ml-serving"
Json = dict[str, Any]


def codes(decision: Decision) -> set[str]:
    assert decision.violations
    return {f"{item.rule}/{item.code}" for item in decision.violations}


def plain() -> Json:
    """A workload that does not say that it serves a model: development lets it in, production does not."""
    manifest = example()
    for part in (manifest, manifest["spec"]["template"]):
        part["metadata"]["labels"].pop("placet.dev/model", None)
    return manifest


def anew(asked: Json) -> Json:
    """The same under another uid."""
    return {**asked, "request": {**asked["request"], "uid": str(uuid.uuid4())}}


def ask_with(desk: GateDesk, answer: Json) -> Decision:
    """The decision on what development lets in, when the API server answers this."""
    desk.spaces.answer(HOME, answer)
    return desk.decide(review(plain()), environment="development")


def in_namespace(manifest: Json, name: str) -> Json:
    moved = copy.deepcopy(manifest)
    moved["metadata"]["namespace"] = name
    moved["metadata"].pop("uid", None)
    return moved


@pytest.mark.parametrize(
    ("label", "path", "same"),
    [
        ("production", "production", True),
        ("production", "development", False),
        ("production", "staging", False),
        ("staging", "development", False),
        ("development", "production", False),
        ("development", "development", True),
        (None, "production", True),
        (None, "development", False),
        ("", "production", True),
        ("", "development", False),
        ("prod", "production", True),
        ("prod", "development", False),
        ("Development", "development", False),
        ("development.", "development", False),
    ],
)
def test_only_the_path_of_the_namespaces_own_environment_decides(
    desk: GateDesk, label: str | None, path: str, same: bool
) -> None:
    desk.spaces.put(HOME, label)
    for manifest in (plain(), desk.approve(example(), *ROLES, environment=path)):
        decision = desk.decide(review(manifest), environment=path)
        told = {item.code for item in decision.violations}
        assert ("environment_disagrees" in told) is not same
        assert same or (not decision.allowed and codes(decision) == {"gate.environment/environment_disagrees"})


def test_what_its_own_path_lets_in_another_path_lets_in_nowhere(desk: GateDesk) -> None:
    """The allow is the honest path's alone, for every kind of request that would pass there."""
    desk.spaces.put(HOME, "production")
    signed = desk.approve(example(), *ROLES)
    assert desk.decide(review(signed)).allowed
    touched = copy.deepcopy(signed)
    touched["metadata"]["labels"]["team"] = "serving"
    for asked in (review(signed), review(touched, old=signed), review(signed, dry_run=True)):
        for path in ("development", "staging"):
            assert codes(desk.decide(anew(asked), environment=path)) == {"gate.environment/environment_disagrees"}
    assert desk.decide(review(signed, operation="DELETE"), environment="development").allowed


@pytest.mark.parametrize("mode", ["warn", "audit"])
def test_a_path_that_only_warns_lets_nothing_of_a_stricter_environment_in(
    tmp_path: Path, engine: EmbeddedEngine, mode: str
) -> None:
    desk = GateDesk.open(tmp_path, engine=engine)
    desk.data.value["environments"]["development"]["mode"] = mode
    desk.spaces.put(HOME, "production")
    try:
        decision = desk.decide(review(example()), environment="development")
        assert codes(decision) == {"gate.environment/environment_disagrees"}
        assert not decision.allowed
    finally:
        desk.log.close()


def test_the_person_and_the_operator_are_told_and_the_record_knows_both_environments(desk: GateDesk) -> None:
    desk.spaces.put(HOME, None)
    decision = desk.decide(review(plain()), environment="development")
    (violation,) = decision.violations
    assert violation.details["sentence"] == (
        "the namespace ml-serving belongs to production (it has no label placet.dev/environment, so "
        "`namespaces.default_environment` counts), and the request came by the path of development"
    )
    assert "`placet doctor` names that entry" in violation.details["hint"]
    assert decision.recorded is not None
    leaf = decision.recorded.leaf
    assert (leaf["environment"], leaf["allowed"]) == ("development", False)
    assert leaf["place"] == {"environment": "production", "label": None, "uid": decision.place and decision.place.uid}
    assert leaf["place"]["uid"]


def test_what_can_not_be_looked_up_is_denied_and_may_come_again(desk: GateDesk) -> None:
    signed = desk.approve(example(), *ROLES)
    desk.spaces.answering = False
    assert codes(desk.decide(review(signed))) == {"gate.environment/namespace_unavailable"}
    desk.spaces.answering = True
    assert desk.decide(review(signed)).allowed


def test_a_namespace_that_is_not_there_has_no_environment(desk: GateDesk) -> None:
    desk.spaces.answer(HOME, None)
    assert codes(desk.decide(review(desk.approve(example(), *ROLES)))) == {"gate.environment/namespace_not_found"}


@pytest.mark.parametrize("name", ["..", ".", "a/../b", "A", "-a", "a-", "a.b", "a?x=y", "a%2fb", "ä", "a" * 64, "a\n"])
def test_a_name_that_no_namespace_has_is_never_asked_for(desk: GateDesk, name: str) -> None:
    decision = desk.decide(review(in_namespace(plain(), name)), environment="development")
    assert codes(decision) == {"gate.environment/namespace_not_found"}
    assert desk.spaces.looked_up == []


@pytest.mark.parametrize(
    "answer",
    [
        {"apiVersion": "v1", "kind": "Status", "metadata": {"name": HOME}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other", "labels": {LABEL: "development"}}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"labels": {LABEL: "development"}}},
        {"apiVersion": "v1", "kind": "Namespace"},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": [LABEL]},
        {"apiVersion": "v2", "kind": "Namespace", "metadata": {"name": HOME, "labels": {LABEL: "development"}}},
        {},
    ],
)
def test_an_answer_that_is_not_that_namespace_is_no_answer(desk: GateDesk, answer: Json) -> None:
    assert codes(ask_with(desk, answer)) == {"gate.environment/namespace_unavailable"}


@pytest.mark.parametrize("labels", [[], "x", {LABEL: 1}, {LABEL: None}, {LABEL: ["development"]}, {LABEL: "d" * 64}])
def test_labels_that_no_api_server_stores_are_no_environment(desk: GateDesk, labels: Any) -> None:
    answer = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME, "labels": labels}}
    assert codes(ask_with(desk, answer)) == {"gate.environment/namespace_malformed"}


def test_the_label_of_the_moment_counts_for_each_request(desk: GateDesk) -> None:
    """Nothing is remembered: a namespace that is moved between two requests is judged by where it is."""
    desk.spaces.put(HOME, "development")
    assert desk.decide(review(plain()), environment="development").allowed
    desk.spaces.put(HOME, "production")
    assert codes(desk.decide(review(plain()), environment="development")) == {"gate.environment/environment_disagrees"}
    assert not desk.decide(review(plain())).allowed
    desk.spaces.put(HOME, "development")
    assert desk.decide(review(plain()), environment="development").allowed
    assert desk.spaces.looked_up == [HOME] * 4


def test_a_namespace_that_is_being_deleted_belongs_where_it_belonged(desk: GateDesk) -> None:
    desk.spaces.put(HOME, "development", deletionTimestamp="2026-11-22T12:00:00Z")
    manifest = plain()
    assert desk.decide(review(manifest, old=manifest), environment="development").allowed
    assert codes(desk.decide(review(manifest, old=manifest))) == {"gate.environment/environment_disagrees"}


@pytest.mark.parametrize("name", ["kube-system", "placet-system"])
def test_no_name_makes_an_exception(desk: GateDesk, name: str) -> None:
    desk.spaces.put(name, None)
    found = codes(desk.decide(review(in_namespace(plain(), name)), environment="development"))
    assert found == {"gate.environment/environment_disagrees"}


def test_what_is_in_no_namespace_is_of_the_default_environment_and_is_refused_all_the_same(desk: GateDesk) -> None:
    asked = review(plain())
    asked["request"]["namespace"] = ""
    del asked["request"]["object"]["metadata"]["namespace"]
    assert codes(desk.decide(asked, environment="development")) == {"gate.environment/environment_disagrees"}
    assert desk.spaces.looked_up == []


def test_the_guard_of_namespaces_is_asked_on_its_own_path_and_looks_nothing_up(desk: GateDesk) -> None:
    desk.spaces.put("team-a", "production")
    refused = desk.decide(namespace_review({}, {LABEL: "development"}), environment="guard/namespaces")
    assert codes(refused) == {"gate.namespace/labeller_required"}
    sent = desk.decide(namespace_review({}, {LABEL: "development"}), environment="development")
    assert codes(sent) == {"gate.environment/environment_disagrees"}
    assert desk.spaces.looked_up == ["team-a"]


# --- workloads that change environments


@pytest.fixture
def store() -> ObjectStore:
    return ObjectStore()


@pytest.fixture
def moved(tmp_path: Path, engine: EmbeddedEngine, store: ObjectStore) -> Iterator[GateDesk]:
    """``staging`` has an approved workload in ``ml-serving``, which then is moved to production."""
    desk = GateDesk.open(tmp_path, engine=engine, parents=store)
    desk.spaces.put(HOME, "staging")
    desk.desk.environment = "staging"
    yield desk
    desk.log.close()


def deploy(desk: GateDesk, store: ObjectStore) -> Json:
    signed = desk.approve(example(), *ROLES)
    decision = desk.decide(review(signed), environment="staging")
    assert decision.allowed, decision.violations
    return store.put(signed)


def test_a_workload_that_is_made_again_elsewhere_needs_the_approvals_of_there(
    moved: GateDesk, store: ObjectStore
) -> None:
    signed = deploy(moved, store)
    moved.spaces.put("ml-production", "production")
    moved.spaces.put("ml-other", "staging")
    for name, environment, code in (
        ("ml-production", "production", "wrong_environment"),
        ("ml-other", "staging", "wrong_namespace"),
    ):
        other = in_namespace(signed, name)
        refused = moved.decide(review(other), environment=environment)
        assert not refused.allowed
        assert refused.findings is not None
        rejected = {item.code for item in refused.findings.approvals.rejected}
        assert code in rejected, rejected
        assert not refused.findings.approvals.verified


def test_in_a_namespace_that_was_moved_nothing_new_starts_of_what_was_approved_before(
    moved: GateDesk, store: ObjectStore
) -> None:
    deployment = deploy(moved, store)
    made = store.put(replica_set(deployment))
    assert moved.decide(review_of(made), environment="staging").allowed
    assert moved.decide(review_of(pod(made)), environment="staging").allowed
    moved.spaces.put(HOME, "production")
    other = copy.deepcopy(deployment)
    other["spec"]["template"]["spec"]["containers"][0]["workingDir"] = "/srv"
    for asked in (
        review(deployment),
        review_of(pod(made, suffix="y8l3q")),
        review_of(replica_set(deployment, name="llama-8e0f")),
        scale_review(deployment, deployment["spec"]["replicas"] + 1),
        review(deployment, old=other),  # a rollback
    ):
        assert codes(moved.decide(asked, environment="staging")) == {"gate.environment/environment_disagrees"}
        refused = moved.decide(anew(asked))
        assert not refused.allowed, asked["request"]["kind"]
        assert "gate.environment/environment_disagrees" not in codes(refused)
