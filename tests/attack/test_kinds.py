"""Custom resources: refused unapproved, admitted approved, and no way to change what runs behind an approval."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from placet.decision import Decision
from placet.messages import render_message
from tests.simulators.gate import GateDesk, review
from tests.simulators.kinds import CASES, KINDS, OTHER_IMAGE, Case, Json, changed

ROLES = ("technical", "security", "business", "executive")


def named(case: Any) -> str:
    return case.name if isinstance(case, Case) else str(case)


def case(name: str) -> Case:
    return next(one for one in CASES if one.name == name)


def review_custom(manifest: Json, *, old: Json | None = None, as_kind: str | None = None) -> Json:
    """The review that an API server would send about a custom resource."""
    found = review(manifest, old=old)
    group, _, version = manifest["apiVersion"].rpartition("/")
    entry = KINDS.find(manifest)
    resource = getattr(entry, "resource", "things")
    request = found["request"]
    request["kind"] = request["requestKind"] = {"group": group, "version": version, "kind": as_kind or manifest["kind"]}
    request["resource"] = request["requestResource"] = {"group": group, "version": version, "resource": resource}
    return found


def codes(decision: Decision) -> set[str]:
    return {item.code for item in decision.violations}


@pytest.mark.parametrize("one", CASES, ids=named)
def test_each_kind_is_refused_unapproved_and_admitted_approved(desk: GateDesk, one: Case) -> None:
    manifest = one.load()
    refused = desk.decide(review_custom(manifest))
    assert not refused.allowed
    assert codes(refused) == {"missing"} or "no valid" in render_message(refused)
    signed = desk.approve(manifest, *ROLES)
    admitted = desk.decide(review_custom(signed))
    assert admitted.allowed, admitted.violations
    assert admitted.recorded is not None
    assert admitted.recorded.leaf["kind"] == manifest["kind"]


@pytest.mark.parametrize("one", CASES, ids=named)
def test_a_governed_change_is_refused_new_and_as_an_update_and_an_ungoverned_one_admitted(
    desk: GateDesk, one: Case
) -> None:
    signed = desk.approve(one.load(), *ROLES)
    assert desk.decide(review_custom(signed)).allowed
    for change in one.governed:
        after = changed(signed, change)
        for answer in (desk.decide(review_custom(after)), desk.decide(review_custom(after, old=signed))):
            assert not answer.allowed, change
            assert "projection_differs" in render_message(answer), change
    for change in one.ungoverned:
        desk.ledger.permit(changed(signed, change), "an ungoverned field of a custom resource")
        answer = desk.decide(review_custom(changed(signed, change), old=signed))
        assert answer.allowed, (change, answer.violations)


SMUGGLED: dict[str, tuple[str, str, Any]] = {
    "a pod at an ungoverned place": ("rayservice", "spec.rayClusterConfig.suspend", {"template": {"spec": {}}}),
    "containers in a list at an ungoverned place": ("rollout", "spec.paused", [{"image": OTHER_IMAGE}]),
    "an unknown member beside the template": ("rollout", "spec.otherTemplate", {"spec": {"image": OTHER_IMAGE}}),
    "an unknown member of the pod": ("jobset", "spec.replicatedJobs[0].template.spec.template.spec.evil", True),
    "an unknown member of a container": ("rollout", "spec.template.spec.containers[0].evil", {}),
    "an unknown member of a container's variables": ("rollout", "spec.template.spec.containers[0].env[0].evil", 1),
    "null where nothing was": ("llminferenceservice", "spec.worker", None),
    "an empty part where none was": ("llminferenceservice", "spec.worker", {}),
    "an empty prefill, which runs pods": ("llminferenceservice", "spec.prefill", {}),
    "a part that is only counted": ("llminferenceservice", "spec.prefill", {"replicas": 1}),
    "one more worker group": (
        "rayservice",
        "spec.rayClusterConfig.workerGroupSpecs",
        [{"groupName": "gpu", "template": {"spec": {"containers": [{"name": "x", "image": OTHER_IMAGE}]}}}] * 3,
    ),
    "the image of the autoscaler": ("raycluster", "spec.autoscalerOptions", {"image": OTHER_IMAGE}),
    "an annotation that the controller obeys": (
        "raycluster",
        "metadata.annotations.ray.io/overwrite-container-cmd",
        "true",
    ),
    "a submitter of one's own": ("rayjob", "spec.submitterPodTemplate", {"spec": {"containers": []}}),
    "a runtime patch": ("trainjob", "spec.runtimePatches", [{"manager": "x"}]),
    "a canary": ("inferenceservice", "spec.canary", [{"predictor": {"model": {"storageUri": "s3://x"}}}]),
    "a member at the top of the object": ("rollout", "extra", {"template": {}}),
    "a number as text": ("mpijob", "spec.slotsPerWorker", "1"),
    "a number as a boolean": ("mpijob", "spec.slotsPerWorker", True),
    "a number with a fraction": ("mpijob", "spec.slotsPerWorker", 1.5),
}


@pytest.mark.parametrize(("name", "path", "value"), SMUGGLED.values(), ids=list(SMUGGLED))
def test_what_is_smuggled_in_is_refused(desk: GateDesk, name: str, path: str, value: Any) -> None:
    signed = desk.approve(case(name).load(), *ROLES)
    assert desk.decide(review_custom(signed)).allowed
    smuggled = copy.deepcopy(signed)
    if path.startswith("metadata.annotations."):
        smuggled["metadata"]["annotations"][path.removeprefix("metadata.annotations.")] = value
    else:
        smuggled = changed(signed, (path, value))
    for answer in (desk.decide(review_custom(smuggled)), desk.decide(review_custom(smuggled, old=signed))):
        assert not answer.allowed
        assert codes(answer) & {"projection_differs", "missing", "field_mistyped"} or "projection_differs" in (
            render_message(answer)
        )


REFUSED: dict[str, tuple[str, str, Any, str]] = {
    "a list given as an object with indexes": ("jobset", "spec.replicatedJobs", {"0": {}}, "field_mistyped"),
    "an object given as a list": ("rollout", "spec.template", [{"spec": {}}], "field_mistyped"),
    "one container twice": (
        "rollout",
        "spec.template.spec.containers",
        [{"name": "a", "image": OTHER_IMAGE}] * 2,
        "name_duplicate",
    ),
    "replicas as text": ("rollout", "spec.replicas", "2", "replicas_invalid"),
    "replicas with an exponent": ("rollout", "spec.replicas", 2e9, "replicas_invalid"),
    "replicas below zero": ("leaderworkerset", "spec.replicas", -1, "replicas_invalid"),
    "a mark of our own": ("mpijob", "spec.slotsPerWorker", {"$number": "1.5"}, "field_invalid"),
    "an image that is none": ("trainjob", "spec.trainer.image", "a b", "image_invalid"),
    "a model reference that is no text": ("inferenceservice", "spec.predictor.model.storageUri", 5, "field_mistyped"),
}


@pytest.mark.parametrize(("name", "path", "value", "code"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_read_is_refused_with_its_code(
    desk: GateDesk, name: str, path: str, value: Any, code: str
) -> None:
    signed = desk.approve(case(name).load(), *ROLES)
    answer = desk.decide(review_custom(changed(signed, (path, value))))
    assert not answer.allowed
    assert codes(answer) == {code}


def test_an_approval_holds_for_one_kind_and_group(desk: GateDesk) -> None:
    signed = desk.approve(case("raycluster").load(), *ROLES)
    for kind, api_version in (("RayService", "ray.io/v1"), ("Rollout", "argoproj.io/v1alpha1")):
        other = {**signed, "kind": kind, "apiVersion": api_version}
        assert not desk.decide(review_custom(other)).allowed


def test_the_same_content_in_another_version_of_the_entry_passes_and_in_an_unknown_one_does_not(
    desk: GateDesk,
) -> None:
    signed = desk.approve(case("raycluster").load(), *ROLES)
    assert desk.decide(review_custom({**signed, "apiVersion": "ray.io/v1alpha1"})).allowed
    unknown = desk.decide(review_custom({**signed, "apiVersion": "ray.io/v2"}))
    assert codes(unknown) == {"kind_unknown"}
    assert "ray.io/v1, ray.io/v1alpha1" in render_message(unknown)


def test_a_review_that_names_another_kind_than_its_object_is_refused(desk: GateDesk) -> None:
    signed = desk.approve(case("raycluster").load(), *ROLES)
    assert codes(desk.decide(review_custom(signed, as_kind="RayService"))) == {"kind_differs"}


def test_more_pods_than_were_approved_for_are_scored_again(desk: GateDesk) -> None:
    signed = desk.approve(case("leaderworkerset").load(), *ROLES, max_risk="high")
    few = desk.decide(review_custom(signed))
    many = desk.decide(review_custom(changed(signed, ("spec.leaderWorkerTemplate.size", 500))))
    assert few.findings is not None
    assert many.findings is not None
    assert many.findings.assessment.score > few.findings.assessment.score


def test_what_a_registered_kind_makes_is_judged_by_itself(desk: GateDesk) -> None:
    rollout = desk.approve(case("rollout").load(), *ROLES)
    assert desk.decide(review_custom(rollout)).allowed
    made = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": "llama-abc",
            "namespace": "ml-serving",
            "ownerReferences": [
                {
                    "apiVersion": "argoproj.io/v1alpha1",
                    "kind": "Rollout",
                    "name": "llama",
                    "uid": "u",
                    "controller": True,
                }
            ],
        },
        "spec": {"replicas": 1, "selector": rollout["spec"]["selector"], "template": rollout["spec"]["template"]},
    }
    found = review_custom(made)
    found["request"]["resource"] = {"group": "apps", "version": "v1", "resource": "replicasets"}
    answer = desk.decide(found)
    assert not answer.allowed
    assert "judged by itself" in render_message(answer)
