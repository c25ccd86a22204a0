"""``/scale`` of a custom resource is judged by the object that is there, where the registry says how it is read."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest

from placet.decision import Decision
from placet.messages import render_message
from placet.parents import NoParents, Parents
from placet.policy.wasm import EmbeddedEngine
from tests.attack.customs import Json, admit, load
from tests.simulators.cluster import LowerHistory, ObjectStore, scale_review
from tests.simulators.gate import GateDesk
from tests.simulators.kinds import OTHER_IMAGE, changed

PLURALS = {"rollout": "rollouts", "leaderworkerset": "leaderworkersets"}


@pytest.fixture
def parents(store: ObjectStore) -> Parents:
    return store


def codes(decision: Decision) -> set[str]:
    return {f"{item.rule}/{item.code}" for item in decision.violations}


@pytest.mark.parametrize("name", PLURALS)
def test_more_within_the_approved_level_passes_and_fewer_always_do(
    desk: GateDesk, store: ObjectStore, name: str
) -> None:
    obj = admit(desk, store, load(name))
    desk.desk.now = desk.desk.now.replace(year=2027, month=6)  # every approval has expired
    for replicas, change in ((3, "scaled"), (1, "unchanged"), (0, "unchanged")):
        decision = desk.decide(scale_review(obj, replicas, resource=PLURALS[name]))
        assert (decision.allowed, decision.change) == (True, change), decision.violations
        assert decision.recorded is not None
        told = decision.recorded.leaf
        assert (told["kind"], told["subresource"], told["name"]) == (obj["kind"], "scale", "llama")


@pytest.mark.parametrize("name", PLURALS)
def test_more_beyond_the_approved_level_is_refused(desk: GateDesk, store: ObjectStore, name: str) -> None:
    obj = admit(desk, store, load(name))
    desk.desk.now = desk.desk.now.replace(year=2027, month=6)  # every approval has expired
    desk.gate._history = LowerHistory(desk.history, "low")
    refused = desk.decide(scale_review(obj, 400, resource=PLURALS[name]))
    assert not refused.allowed
    assert "gate.origin/above_precedent" in codes(refused)
    pods = 800 if name == "leaderworkerset" else 400
    message = render_message(refused)
    assert message.startswith(f"placet refuses to scale {obj['kind']}/llama in namespace ml-serving to {pods} Pods")


@pytest.mark.parametrize("name", PLURALS)
def test_more_of_what_was_never_approved_or_changed_since_is_refused(
    desk: GateDesk, store: ObjectStore, name: str
) -> None:
    obj = store.put(load(name))
    assert not desk.decide(scale_review(obj, 5, resource=PLURALS[name])).allowed
    path = "spec.template" if name == "rollout" else "spec.leaderWorkerTemplate.workerTemplate"
    admitted = admit(desk, store, load(name))
    stored = store.put(changed(admitted, (f"{path}.spec.containers[0].image", OTHER_IMAGE)))
    assert not desk.decide(scale_review(stored, 5, resource=PLURALS[name])).allowed


def test_a_custom_resource_that_names_no_number_of_replicas_can_be_scaled(desk: GateDesk, store: ObjectStore) -> None:
    obj = admit(desk, store, load("kubeai-model"))
    assert "replicas" not in obj["spec"]
    asked = scale_review(obj, 1, resource="models")
    assert asked["request"]["oldObject"]["spec"] == {}  # of 0 replicas: as an API server says it
    assert desk.decide(copy.deepcopy(asked)).allowed
    asked["request"]["uid"] += "x"
    asked["request"]["oldObject"]["spec"]["replicas"] = 1
    assert codes(desk.decide(asked)) == {"gate.workload/scale_differs"}


def of_another(asked: Json) -> None:
    for part in ("object", "oldObject"):
        asked[part]["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"


def other_replicas(asked: Json) -> None:
    asked["oldObject"]["spec"]["replicas"] = 99


def other_version(asked: Json) -> None:
    asked["resource"]["version"] = "v9"


def no_scale_of_its_own(asked: Json) -> None:
    asked["resource"] = {"group": "ray.io", "version": "v1", "resource": "rayclusters"}


def unknown(asked: Json) -> None:
    asked["resource"] = {"group": "example.org", "version": "v1", "resource": "rollouts"}


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
        (other_replicas, "scale_differs"),
        (other_version, "scale_unsupported"),
        (no_scale_of_its_own, "scale_unsupported"),
        (unknown, "scale_unsupported"),
        (create, "scale_unsupported"),
        (gone, "parent_not_found"),
    ],
)
def test_a_scale_that_is_not_one_of_the_object_is_refused(
    desk: GateDesk, store: ObjectStore, spoil: Callable[[Json], None], code: str
) -> None:
    asked = scale_review(admit(desk, store, load("rollout")), 3, resource="rollouts")
    assert desk.decide(copy.deepcopy(asked)).allowed
    asked["request"]["uid"] += "x"
    spoil(asked["request"])
    assert codes(desk.decide(asked)) == {f"gate.workload/{code}"}


def test_without_look_ups_or_an_answer_a_scale_is_refused(tmp_path: Path, engine: EmbeddedEngine) -> None:
    desk = GateDesk.open(tmp_path, engine=engine, parents=NoParents())
    store = ObjectStore()
    asked = scale_review(admit(desk, store, load("rollout")), 1, resource="rollouts")
    assert codes(desk.decide(asked)) == {"gate.workload/parents_not_looked_up"}
    store.answering = False
    desk.gate._subject._parents = store
    asked["request"]["uid"] += "x"
    assert codes(desk.decide(asked)) == {"gate.workload/parent_unavailable"}
    desk.log.close()
