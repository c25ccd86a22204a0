"""A memory of parents that is behind lets nothing in that the API server would not, but for what is said here.

The store is what the API server answers; the watched server is what the memory hears, late or never.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from placet.decision import Decision
from placet.informer.informer import FOLLOWED, Informer
from placet.lineage import _KEEP_REVISIONS
from placet.policy.wasm import EmbeddedEngine
from tests.simulators.cluster import ObjectStore, pod, replica_set, review_of, scale_review
from tests.simulators.gate import GateDesk, example, review
from tests.simulators.watched import WatchedServer

ROLES = ("technical", "security", "business", "executive")
MAX_AGE_S = 15.0
Json = dict[str, Any]


@dataclass
class World:
    """A gate with a memory, and the cluster that both look at."""

    desk: GateDesk
    store: ObjectStore
    server: WatchedServer
    informer: Informer

    def put(self, obj: Json) -> Json:
        """Stored, and told by the watch once it is heard."""
        stored = self.store.put(obj)
        self.server.put(stored)
        return stored

    def remove(self, obj: Json) -> None:
        self.store.remove(obj)
        self.server.remove(obj["kind"], obj["metadata"]["name"])

    def hear(self) -> None:
        assert self.server.round(self.informer)

    def decide(self, obj: Json, **terms: Any) -> Decision:
        self.store.looked_up.clear()
        return self.desk.decide(review_of(obj, **terms))


@pytest.fixture
def world(tmp_path: Path, engine: EmbeddedEngine) -> Iterator[World]:
    store, server = ObjectStore(), WatchedServer()
    informer = server.informer(max_age_s=MAX_AGE_S)
    desk = GateDesk.open(tmp_path, engine=engine, parents=store, remembered=informer)
    yield World(desk, store, server, informer)
    desk.log.close()


@pytest.fixture
def deployment(world: World) -> Json:
    """Approved, there, and remembered."""
    signed = world.desk.approve(example(), *ROLES)
    assert world.desk.decide(review(signed)).allowed
    stored = world.put(signed)
    world.hear()
    return stored


@pytest.fixture
def made(world: World, deployment: Json) -> Json:
    """Its ReplicaSet."""
    return world.put(replica_set(deployment))


def codes(decision: Decision) -> set[str]:
    return {item.code for item in (*decision.violations, *decision.notes) if item.rule.startswith("gate.")}


def remembered(decision: Decision) -> list[bool]:
    assert decision.recorded is not None
    return [bool(parent.get("remembered")) for parent in decision.recorded.leaf["parents"]]


def test_what_the_nearest_parent_belongs_to_is_remembered_and_the_record_says_so(world: World, made: Json) -> None:
    decision = world.decide(pod(made))
    assert (decision.allowed, decision.change) == (True, "child")
    assert world.store.looked_up == ["ReplicaSet/llama-7d9f"]
    assert remembered(decision) == [False, True]
    assert world.informer.answers() == (1, 0)


def test_a_new_replica_set_is_held_against_the_deployment_as_it_is_now(world: World, deployment: Json) -> None:
    made = replica_set(deployment)
    assert world.decide(made).allowed
    assert world.store.looked_up == ["Deployment/llama"]
    world.store.put({**deployment, "spec": {**deployment["spec"], "replicas": 0}})  # not heard of
    refused = world.decide(replica_set(deployment, name="llama-8c1b"))
    assert (refused.allowed, codes(refused)) == (False, {"parent_exceeded"})


def test_a_deleted_nearest_parent_has_no_children_whatever_is_remembered(world: World, made: Json) -> None:
    world.store.remove(made)
    refused = world.decide(pod(made))
    assert (refused.allowed, codes(refused)) == (False, {"parent_not_found"})


def test_a_changed_nearest_parent_has_no_children_of_before(world: World, made: Json) -> None:
    child = pod(made)
    changed = copy.deepcopy(made)
    changed["spec"]["template"]["spec"]["containers"][0]["args"] = ["--model=/models/other"]
    world.store.put(changed)
    refused = world.decide(child)
    assert (refused.allowed, codes(refused)) == (False, {"content_differs"})


def test_a_deleted_deployment_is_believed_no_longer_than_the_age_allows(
    world: World, deployment: Json, made: Json
) -> None:
    """The one thing that may pass: its ReplicaSet is still there, asks for it, and was approved as it is."""
    proven_s = world.server.now_s
    world.store.remove(deployment)
    world.server.heard = world.server.revision  # the watch goes on, and tells of nothing new
    world.server.remove("Deployment", "llama")
    for now_s in (proven_s, proven_s + 7.0, proven_s + MAX_AGE_S):
        world.server.now_s = now_s
        assert world.decide(pod(made)).allowed
        world.hear()  # asks for the newest version, and never hears of it
    world.server.now_s = proven_s + MAX_AGE_S + 0.1
    refused = world.decide(pod(made))
    assert (refused.allowed, codes(refused)) == (False, {"parent_not_found"})
    assert world.store.looked_up == ["ReplicaSet/llama-7d9f", "Deployment/llama"]


def test_a_deleted_deployment_that_was_heard_of_has_no_children(world: World, deployment: Json, made: Json) -> None:
    world.remove(deployment)
    world.hear()
    refused = world.decide(pod(made))
    assert (refused.allowed, codes(refused)) == (False, {"parent_not_found"})


def test_an_updated_deployment_goes_on_having_the_children_of_its_replica_sets(
    world: World, deployment: Json, made: Json
) -> None:
    """As without a memory: a rollout runs both revisions, and each is approved for itself."""
    changed = copy.deepcopy(deployment)
    changed["spec"]["template"]["spec"]["containers"][0]["args"] = ["--model=/models/other"]
    world.store.put(changed)
    assert world.decide(pod(made)).allowed
    new = world.put(replica_set(changed, name="llama-9e2d"))
    refused = world.decide(pod(new))
    assert (refused.allowed, codes(refused)) == (False, {"parent_unapproved"})


def test_one_of_the_same_name_that_was_not_heard_of_is_asked_for(world: World, deployment: Json) -> None:
    world.store.remove(deployment)
    again = world.store.put({**deployment, "metadata": {**deployment["metadata"], "uid": "another"}})
    decision = world.decide(pod(world.put(replica_set(again))))
    assert (decision.allowed, remembered(decision)) == (True, [False, False])
    assert world.store.looked_up == ["ReplicaSet/llama-7d9f", "Deployment/llama"]


def test_children_of_the_former_one_of_that_name_are_refused_once_it_was_heard_of(
    world: World, deployment: Json, made: Json
) -> None:
    world.remove(deployment)
    world.put({**deployment, "metadata": {**deployment["metadata"], "uid": "another"}})
    world.hear()
    refused = world.decide(pod(made))
    assert (refused.allowed, codes(refused)) == (False, {"parent_replaced"})


def test_what_is_remembered_never_answers_for_a_parent_that_can_not_be_asked_for(world: World, made: Json) -> None:
    world.store.answering = False
    refused = world.decide(pod(made))
    assert (refused.allowed, codes(refused)) == (False, {"parent_unavailable"})


@pytest.mark.parametrize("fault", ["broken", "restarted", "410", "slow"])
def test_a_memory_that_can_not_be_trusted_is_not_asked(world: World, made: Json, fault: str) -> None:
    if fault in {"broken", "restarted"}:
        world.server.away = True
        assert not world.server.round(world.informer)
    elif fault == "410":
        world.server.compacted = world.server.revision + 1
        assert not world.server.round(world.informer)
    else:
        world.server.bookmarks, world.server.now_s = False, world.server.now_s + MAX_AGE_S + 0.1
        world.server.heard = 0
        world.hear()
    decision = world.decide(pod(made))
    assert (decision.allowed, remembered(decision)) == (True, [False, False])
    world.store.answering = False
    assert codes(world.decide(pod(made, suffix="zz9zz"))) == {"parent_unavailable"}
    world.store.answering, world.server.away, world.server.compacted = True, False, 0
    world.server.bookmarks, world.server.heard = True, None
    world.hear()
    assert remembered(world.decide(pod(made, suffix="yy8yy"))) == [False, True]


def test_a_revocation_counts_at_once_for_what_is_remembered(world: World, deployment: Json, made: Json) -> None:
    decision = world.decide(pod(made))
    assert decision.allowed
    approval = next(iter(world.desk.decide(review(deployment, operation="CREATE")).recorded.leaf["approvals"]))  # type: ignore[union-attr]
    world.desk.desk.document["revokedApprovals"] += [approval["approval_id"]]
    world.desk.desk.document["version"] += 1
    refused = world.decide(pod(made, suffix="q4q4q"))
    assert not refused.allowed


def test_a_scale_is_judged_by_the_workload_as_it_is_now(world: World, deployment: Json) -> None:
    world.store.looked_up.clear()
    assert world.desk.decide(scale_review(deployment, 1)).allowed
    assert world.store.looked_up == ["Deployment/llama"]
    assert world.informer.answers() == (0, 0)


def test_a_deployment_that_belongs_to_something_itself_is_asked_for(world: World, deployment: Json, made: Json) -> None:
    reference = {"apiVersion": "x/v1", "kind": "X", "name": "x", "uid": "x", "controller": True}
    owned = {**deployment, "metadata": {**deployment["metadata"], "ownerReferences": [reference]}}
    world.put(owned)
    world.hear()
    assert remembered(world.decide(pod(made))) == [False, False]


def test_only_kinds_are_remembered_whose_template_need_not_be_that_of_now() -> None:
    assert {kind for _, kind in FOLLOWED} <= _KEEP_REVISIONS
