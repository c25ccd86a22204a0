"""Scaling is judged by what is scaled: within the level that was approved, and never by the word of the Scale."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from placet.decision import Decision
from placet.messages import render_message
from placet.parents import NoParents, Parents
from placet.policy.wasm import EmbeddedEngine
from tests.simulators.cluster import LowerHistory, ObjectStore, replica_set, review_of, scale_review
from tests.simulators.gate import GateDesk, example, review

ROLES = ("technical", "security", "business", "executive")
Json = dict[str, Any]


@pytest.fixture
def parents(store: ObjectStore) -> Parents:
    return store


def admit(desk: GateDesk, store: ObjectStore, *, replicas: int = 4) -> Json:
    manifest = example()
    manifest["spec"]["replicas"] = replicas
    signed = desk.approve(manifest, *ROLES)
    assert desk.decide(review(signed)).allowed
    desk.desk.now = desk.desk.now.replace(year=2027, month=6)  # every approval has expired
    return store.put(signed)


def codes(decision: Decision) -> set[str]:
    return {f"{item.rule}/{item.code}" for item in decision.violations}


def test_more_within_the_approved_level_passes_after_the_approvals_have_expired(
    desk: GateDesk, store: ObjectStore
) -> None:
    decision = desk.decide(scale_review(admit(desk, store), 9))
    assert (decision.allowed, decision.change) == (True, "scaled"), decision.violations
    assert decision.recorded is not None
    told = decision.recorded.leaf
    assert (told["kind"], told["subresource"], told["name"]) == ("Deployment", "scale", "llama")
    assert told["change"] == {"kind": "scaled", "scale": "up"}
    assert told["precedent"]["level"] == "critical"


def test_more_beyond_the_approved_level_is_refused_with_what_to_do(desk: GateDesk, store: ObjectStore) -> None:
    deployment = admit(desk, store)
    desk.gate._history = LowerHistory(desk.history, "medium")
    refused = desk.decide(scale_review(deployment, 11))
    assert not refused.allowed
    assert "gate.origin/above_precedent" in codes(refused)
    assert "approvals.required/role_missing" in codes(refused)
    message = render_message(refused)
    assert message.startswith("placet refuses to scale Deployment/llama in namespace ml-serving to 11 replicas")
    assert "placet approve" in message


@pytest.mark.parametrize("replicas", [3, 1, 0])
def test_fewer_always_pass(desk: GateDesk, store: ObjectStore, replicas: int) -> None:
    decision = desk.decide(scale_review(admit(desk, store), replicas))
    assert (decision.allowed, decision.change) == (True, "unchanged")
    assert decision.recorded is not None
    assert decision.recorded.leaf["change"]["scale"] == "down"


def test_more_of_what_was_never_approved_is_refused(desk: GateDesk, store: ObjectStore) -> None:
    deployment = store.put(example())
    refused = desk.decide(scale_review(deployment, 5))
    assert "approvals.required/role_missing" in codes(refused)
    assert desk.decide(scale_review(deployment, 3)).allowed


def test_more_of_what_was_revoked_is_refused(desk: GateDesk, store: ObjectStore) -> None:
    signed = desk.approve(example(), *ROLES)
    decision = desk.decide(review(signed))
    assert decision.recorded is not None
    desk.desk.document["revokedApprovals"] += [decision.recorded.leaf["approvals"][0]["approval_id"]]
    desk.desk.document["version"] += 1
    deployment = store.put(signed)
    assert "approvals.revoked/revoked" in codes(desk.decide(scale_review(deployment, 5)))
    assert desk.decide(scale_review(deployment, 1)).allowed


def test_applying_more_replicas_is_judged_like_scaling(desk: GateDesk, store: ObjectStore) -> None:
    deployment = admit(desk, store)
    more = copy.deepcopy(deployment)
    more["spec"]["replicas"] = 9
    assert desk.decide(review(more, old=deployment)).change == "scaled"
    dropped = copy.deepcopy(more)
    del dropped["metadata"]["annotations"]["placet.dev/approval.security"]
    assert not desk.decide(review(dropped, old=deployment)).allowed


def test_a_replica_set_is_not_scaled_beyond_its_deployment(desk: GateDesk, store: ObjectStore) -> None:
    made = store.put(replica_set(admit(desk, store), replicas=2))
    within = desk.decide(scale_review(made, 5))
    assert (within.allowed, within.change) == (True, "child")
    assert "gate.origin/parent_exceeded" in codes(desk.decide(scale_review(made, 6)))


def of_another(asked: Json) -> None:
    for part in ("object", "oldObject"):
        asked[part]["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"


def without_uid(asked: Json) -> None:
    for part in ("object", "oldObject"):
        del asked[part]["metadata"]["uid"]


def another_old(asked: Json) -> None:
    asked["oldObject"]["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"


def other_name(asked: Json) -> None:
    asked["object"]["metadata"]["name"] = "other"


def other_namespace(asked: Json) -> None:
    asked["object"]["metadata"]["namespace"] = "elsewhere"


def other_replicas(asked: Json) -> None:
    asked["oldObject"]["spec"]["replicas"] = 99


def no_number(asked: Json) -> None:
    asked["object"]["spec"]["replicas"] = True


def too_many(asked: Json) -> None:
    asked["object"]["spec"]["replicas"] = 2**31


def below_zero(asked: Json) -> None:
    asked["object"]["spec"]["replicas"] = -1


def no_object(asked: Json) -> None:
    asked["object"] = None


def no_old(asked: Json) -> None:
    asked["oldObject"] = None


def custom(asked: Json) -> None:
    asked["resource"] = {"group": "example.org", "version": "v1", "resource": "deployments"}


def create(asked: Json) -> None:
    asked["operation"] = "CREATE"


def gone(asked: Json) -> None:
    asked["name"] = "gone"
    for part in ("object", "oldObject"):
        asked[part]["metadata"]["name"] = "gone"


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (of_another, "parent_replaced"),
        (without_uid, "parent_replaced"),
        (another_old, "parent_replaced"),
        (other_name, "name_differs"),
        (other_namespace, "namespace_mismatch"),
        (other_replicas, "scale_differs"),
        (no_number, "scale_malformed"),
        (too_many, "scale_malformed"),
        (below_zero, "scale_malformed"),
        (no_object, "scale_malformed"),
        (no_old, "scale_malformed"),
        (custom, "scale_unsupported"),
        (create, "scale_unsupported"),
        (gone, "parent_not_found"),
    ],
)
def test_a_scale_that_is_not_one_of_the_workload_is_refused(
    desk: GateDesk, store: ObjectStore, spoil: Callable[[Json], None], code: str
) -> None:
    asked = scale_review(admit(desk, store), 5)
    spoil(asked["request"])
    assert codes(desk.decide(asked)) == {f"gate.workload/{code}"}


def test_what_has_changed_meanwhile_is_judged_as_it_is_now(desk: GateDesk, store: ObjectStore) -> None:
    deployment = admit(desk, store, replicas=4)
    asked = scale_review(deployment, 8)
    moved = copy.deepcopy(deployment)
    moved["spec"]["replicas"] = 9
    store.put(moved)
    decision = desk.decide(asked)
    assert (decision.allowed, decision.change) == (True, "unchanged")
    moved["spec"]["template"]["spec"]["containers"][0]["args"] = ["--never-approved"]
    moved["spec"]["replicas"] = 2
    store.put(moved)
    assert not desk.decide(scale_review(deployment, 8)).allowed


def test_a_look_up_that_is_not_answered_refuses(desk: GateDesk, store: ObjectStore) -> None:
    deployment = admit(desk, store)
    store.answering = False
    assert codes(desk.decide(scale_review(deployment, 3))) == {"gate.workload/parent_unavailable"}


def test_without_look_ups_a_scale_is_refused_and_the_setting_named(tmp_path: Path, engine: EmbeddedEngine) -> None:
    desk = GateDesk.open(tmp_path, engine=engine, parents=NoParents())
    store = ObjectStore()
    refused = desk.decide(scale_review(admit(desk, store), 3))
    assert codes(refused) == {"gate.workload/parents_not_looked_up"}
    assert "`parents: lookup`" in render_message(refused)
    desk.log.close()


def test_only_a_scale_is_judged_as_one(desk: GateDesk, store: ObjectStore) -> None:
    deployment = admit(desk, store)
    asked = review_of(deployment, old=deployment, subresource="scale")
    assert codes(desk.decide(asked)) == {"gate.environment/subresource_unsupported"}
