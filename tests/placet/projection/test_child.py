"""A Pod is its parent's template where it holds that and what its makers add, exactly."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from placet.errors import WorkloadError
from placet.projection import project, project_child

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
NAME = "kube-api-access-x7k2p"
MOUNT = {"name": NAME, "mountPath": TOKEN_PATH, "readOnly": True}
VOLUME = {
    "name": NAME,
    "projected": {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ],
    },
}
INDEX = {
    "name": "JOB_COMPLETION_INDEX",
    "valueFrom": {
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']"}
    },
}


def template(**spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "server", "image": "a"}], **copy.deepcopy(spec)}}


def workload(kind: str, api_version: str = "apps/v1", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "web"},
        "spec": {"template": template(), **spec},
    }


def pod(name: str = "web-0", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, **template(**spec)}


def with_token(found: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(found)
    for container in [*changed["spec"]["containers"], *changed["spec"].get("initContainers", [])]:
        container.setdefault("volumeMounts", []).append(dict(MOUNT))
    changed["spec"].setdefault("volumes", []).append(copy.deepcopy(VOLUME))
    return changed


def test_token_of_the_api_server_is_taken_off() -> None:
    assert project(with_token(pod())) == project(pod())
    init = pod(initContainers=[{"name": "i"}])
    assert project(with_token(init)) == project(init)


@pytest.mark.parametrize(
    ("step", "value"),
    [
        (("name",), "kube-api-access-x7k2"),
        (("name",), "api-access-x7k2p"),
        (("projected", "defaultMode"), 511),
        (("projected", "sources", 0, "serviceAccountToken", "expirationSeconds"), 86400),
        (("projected", "sources", 0, "serviceAccountToken", "audience"), "vault"),
        (("projected", "sources", 1, "configMap", "name"), "other"),
        (("projected", "sources", 2, "downwardAPI", "items", 0, "path"), "elsewhere"),
        (("secret",), {"secretName": "s"}),
    ],
)
def test_volume_that_is_not_exactly_that_counts(step: tuple[Any, ...], value: Any) -> None:
    changed = with_token(pod())
    current = changed["spec"]["volumes"][0]
    for key in step[:-1]:
        current = current[key]
    current[step[-1]] = value
    assert project(changed) != project(pod())


@pytest.mark.parametrize("change", [{"readOnly": False}, {"subPath": "x"}, {"mountPath": "/token"}])
def test_mount_that_is_not_exactly_that_counts(change: dict[str, Any]) -> None:
    changed = with_token(pod())
    changed["spec"]["containers"][0]["volumeMounts"][0] |= change
    assert project(changed) != project(pod())


def test_token_counts_where_the_pod_asks_for_none() -> None:
    declined = pod(automountServiceAccountToken=False)
    assert project(with_token(declined)) != project(declined)


def test_token_counts_where_it_is_mounted_once_more() -> None:
    changed = with_token(pod())
    changed["spec"]["containers"][0]["volumeMounts"].insert(0, {**MOUNT, "mountPath": "/copy"})
    assert project(changed) != project(pod())


def test_token_in_a_template_counts_because_somebody_wrote_it() -> None:
    written = workload("Deployment")
    written["spec"]["template"]["spec"] = with_token(pod())["spec"]
    assert project(written) != project(workload("Deployment"))


@pytest.mark.parametrize(
    ("kind", "api_version"),
    [
        ("ReplicaSet", "apps/v1"),
        ("DaemonSet", "apps/v1"),
        ("StatefulSet", "apps/v1"),
        ("ReplicationController", "v1"),
        ("Job", "batch/v1"),
    ],
)
def test_pod_projects_as_its_parent_and_a_changed_one_does_not(kind: str, api_version: str) -> None:
    parent = workload(kind, api_version)
    made = with_token(pod())
    assert project_child(made, parent) == project(parent)
    made["spec"]["containers"][0]["image"] = "b"
    assert project_child(made, parent) != project(parent)


@pytest.mark.parametrize(("kind", "api_version"), [("Deployment", "apps/v1"), ("CronJob", "batch/v1")])
def test_refuses_a_parent_that_makes_no_pods(kind: str, api_version: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        project_child(pod(), workload(kind, api_version))
    assert caught.value.code == "parent_unknown"


def test_refuses_a_child_that_is_no_pod() -> None:
    with pytest.raises(WorkloadError) as caught:
        project_child(workload("ReplicaSet"), workload("ReplicaSet"))
    assert caught.value.code == "parent_unknown"


CLAIMS = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]


def claim(name: str = "data", claim_name: str = "data-web-0", **more: Any) -> dict[str, Any]:
    return {"name": name, "persistentVolumeClaim": {"claimName": claim_name, **more}}


def test_claims_of_a_stateful_set_are_taken_off() -> None:
    parent = workload("StatefulSet", volumeClaimTemplates=CLAIMS)
    assert project_child(with_token(pod(volumes=[claim()])), parent) == project(parent)


@pytest.mark.parametrize(
    ("name", "volume"),
    [
        ("web-0", claim(claim_name="data-web-1")),
        ("web-0", claim(claim_name="secrets-web-0")),
        ("web-0", claim(readOnly=True)),
        ("web-0", claim(name="other", claim_name="other-web-0")),
        ("web-x", claim(claim_name="data-web-x")),
        ("webb-0", claim(claim_name="data-webb-0")),
        ("web-", claim(claim_name="data-web-")),
        ("web-00", claim(claim_name="data-web-00")),
        ("web-0\n", claim(claim_name="data-web-0\n")),
    ],
)
def test_claim_that_the_stateful_set_would_not_make_counts(name: str, volume: dict[str, Any]) -> None:
    parent = workload("StatefulSet", volumeClaimTemplates=CLAIMS)
    assert project_child(pod(name, volumes=[volume]), parent) != project(parent)


@pytest.mark.parametrize("metadata", [None, [], ["x"], "web-0", {}, {"name": 5}])
def test_claim_counts_where_either_has_no_name(metadata: Any) -> None:
    parent = workload("StatefulSet", volumeClaimTemplates=CLAIMS)
    assert project_child({**pod(volumes=[claim()]), "metadata": metadata}, parent) != project(parent)
    assert project_child(pod(volumes=[claim()]), {**parent, "metadata": metadata}) != project(parent)


def test_claim_counts_in_a_pod_of_another_kind_of_parent() -> None:
    assert project_child(pod(volumes=[claim()]), workload("ReplicaSet")) != project(workload("ReplicaSet"))


def indexed_pod(*env: dict[str, Any]) -> dict[str, Any]:
    found = pod()
    found["spec"]["containers"][0]["env"] = list(env)
    return found


def test_completion_index_of_an_indexed_job_is_taken_off() -> None:
    parent = workload("Job", "batch/v1", completionMode="Indexed")
    assert project_child(indexed_pod(INDEX), parent) == project(parent)
    assert project_child(indexed_pod(INDEX, {"name": "A"}), parent) != project(parent)
    assert project_child(indexed_pod({**INDEX, "name": "OTHER"}), parent) != project(parent)
    assert project_child(indexed_pod({"name": INDEX["name"], "value": "0"}), parent) != project(parent)


def test_completion_index_counts_without_an_indexed_job() -> None:
    parent = workload("Job", "batch/v1")
    assert project_child(indexed_pod(INDEX), parent) != project(parent)


def test_completion_index_that_the_template_has_stays() -> None:
    parent = workload("Job", "batch/v1", completionMode="Indexed")
    parent["spec"]["template"]["spec"]["containers"][0]["env"] = [INDEX]
    assert project_child(indexed_pod(INDEX), parent) == project(parent)
    assert project_child(indexed_pod(), parent) != project(parent)
