"""The digest of a file is the digest of what a real API server makes of it, and of what becomes of that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from placet.manifests import load_manifests
from placet.projection import explain_difference, find_kind, project, project_child
from tests.e2e.controlplane import ControlPlane
from tests.e2e.processes import poll_until

WORKLOADS = Path(__file__).resolve().parents[1] / "data" / "workloads"
FILES = sorted(WORKLOADS.glob("*.yaml"))
PODS_TIMEOUT_S = 60
CANNOT_RESTART = {"Pod", "Job", "ReplicaSet", "ReplicationController", "CronJob"}

# What the API server writes where nothing is said: the table of defaults, as it shows in volumes.yaml.
FILLED_IN = {
    "spec.dnsPolicy": "ClusterFirst",
    "spec.enableServiceLinks": True,
    "spec.securityContext": {},
    "spec.serviceAccount": "default",
    "spec.serviceAccountName": "default",
    "spec.containers.server.env.FROM_FIELD.valueFrom.fieldRef.apiVersion": "v1",
    "spec.containers.server.env.FROM_RESOURCE.valueFrom.resourceFieldRef.divisor": "0",
    "spec.containers.server.lifecycle.postStart.httpGet.path": "/",
    "spec.containers.server.lifecycle.postStart.httpGet.scheme": "HTTP",
    "spec.volumes.azure-disk.azureDisk.cachingMode": "ReadWrite",
    "spec.volumes.azure-disk.azureDisk.fsType": "ext4",
    "spec.volumes.azure-disk.azureDisk.kind": "Shared",
    "spec.volumes.azure-disk.azureDisk.readOnly": False,
    "spec.volumes.config.configMap.defaultMode": 420,
    "spec.volumes.downward.downwardAPI.defaultMode": 420,
    "spec.volumes.empty.emptyDir": {},
    "spec.volumes.ephemeral.ephemeral.volumeClaimTemplate.spec.volumeMode": "Filesystem",
    "spec.volumes.host.hostPath.type": "",
    "spec.volumes.iscsi.iscsi.iscsiInterface": "default",
    "spec.volumes.projected.projected.defaultMode": 420,
    "spec.volumes.projected.projected.sources.0.serviceAccountToken.expirationSeconds": 3600,
    "spec.volumes.rbd.rbd.keyring": "/etc/ceph/keyring",
    "spec.volumes.rbd.rbd.pool": "rbd",
    "spec.volumes.rbd.rbd.user": "admin",
    "spec.volumes.scale.scaleIO.fsType": "xfs",
    "spec.volumes.scale.scaleIO.storageMode": "ThinProvisioned",
    "spec.volumes.secret.secret.defaultMode": 420,
}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        yield plane


def read(file: Path) -> dict[str, Any]:
    (manifest,) = load_manifests([str(file)])
    return manifest.object


def assert_same(written: dict[str, Any], held: dict[str, Any]) -> None:
    before, after = project(written), project(held)
    assert explain_difference(before.canonical, after.canonical) == ()
    assert before.digest == after.digest


def kubectl(plane: ControlPlane, *arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(plane.kubectl(*arguments, "-o", "json").stdout)
    return answer


def at(obj: Any, path: str) -> Any:
    """The value at a dotted path, elements of lists by name or number."""
    for step in path.split("."):
        if isinstance(obj, list):
            obj = obj[int(step)] if step.isdigit() else next(each for each in obj if each["name"] == step)
        else:
            obj = obj[step]
    return obj


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_digest_outlives_dry_run_create_update_and_restart(file: Path, plane: ControlPlane) -> None:
    written = read(file)
    assert_same(written, kubectl(plane, "apply", "--dry-run=server", "-f", str(file)))
    created = kubectl(plane, "create", "-f", str(file))
    kind, name = created["kind"], created["metadata"]["name"]
    try:
        assert_same(written, created)
        assert_same(written, kubectl(plane, "label", kind, name, "seen=yes"))
        # The object has no annotation of an earlier apply: this is the patch that differs most.
        applied = plane.kubectl("apply", "-f", str(file), "-o", "json")
        assert_same(written, json.loads(applied.stdout))
        if "replicas" in created["spec"]:
            plane.kubectl("scale", kind, name, "--replicas=5")
        if kind not in CANNOT_RESTART:
            plane.kubectl("rollout", "restart", f"{kind}/{name}")
        held = kubectl(plane, "get", kind, name)
        assert held["metadata"]["labels"]["seen"] == "yes"
        assert_same(written, held)
    finally:
        plane.kubectl("delete", kind, name, "--wait=false", "--grace-period=0", "--force")


def test_every_built_in_kind_is_held() -> None:
    kinds = {kind.name for file in FILES if (kind := find_kind(read(file))) is not None}
    assert kinds == {
        "CronJob",
        "DaemonSet",
        "Deployment",
        "Job",
        "Pod",
        "ReplicaSet",
        "ReplicationController",
        "StatefulSet",
    }


def test_api_server_fills_in_what_the_table_of_defaults_says(plane: ControlPlane) -> None:
    held = kubectl(plane, "create", "--dry-run=server", "-f", str(WORKLOADS / "volumes.yaml"))
    assert {path: at(held, path) for path in FILLED_IN} == FILLED_IN


def test_digest_is_that_of_the_values_the_api_server_fills_in(plane: ControlPlane) -> None:
    held = kubectl(plane, "create", "--dry-run=server", "-f", str(WORKLOADS / "volumes.yaml"))
    assert_same(read(WORKLOADS / "volumes.yaml"), held)


def test_digest_outlives_an_api_server_with_every_feature_on() -> None:
    features = ["--feature-gates=AllAlpha=true,AllBeta=true", "--runtime-config=api/all=true"]
    with ControlPlane(apiserver_arguments=features) as plane:
        for file in FILES:
            held = kubectl(plane, "create", "--dry-run=server", "-f", str(file))
            assert_same(read(file), held)
            if file.stem == "volumes":
                assert at(held, "spec.containers.server.lifecycle.postStart.httpGet.protocol") == "HTTP1"


Family = dict[str, tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture(scope="module")
def family() -> Iterator[Family]:
    """Kind of parent -> the parent as held, and a Pod that its controller made."""
    wanted = {"DaemonSet", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"}
    with ControlPlane(controllers=True) as plane:
        plane.kubectl("create", "serviceaccount", "old-account")
        # A DaemonSet makes a Pod for each node; this one has no kubelet, so the Pod stays pending like the others.
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "nowhere"}}
        plane.kubectl("create", "-f", "-", stdin=json.dumps(node))
        for kind in sorted(wanted):
            plane.kubectl("create", "-f", str(WORKLOADS / f"{kind.lower()}.yaml"))
        found: Family = {}
        assert poll_until(lambda: wanted <= collect(plane, found), PODS_TIMEOUT_S), f"no Pods but of {sorted(found)}"
        yield found


def collect(plane: ControlPlane, found: Family) -> set[str]:
    """Add every Pod that has a parent to what was found, and name the kinds of parents."""
    objects = kubectl(plane, "get", "pods,replicasets,statefulsets,jobs,replicationcontrollers,daemonsets")["items"]
    by_uid = {obj["metadata"]["uid"]: obj for obj in objects}
    for pod in objects:
        owners = pod["metadata"].get("ownerReferences", []) if pod["kind"] == "Pod" else []
        if owners and owners[0]["uid"] in by_uid:
            parent = by_uid[owners[0]["uid"]]
            found[parent["kind"]] = (parent, pod)
    return set(found)


@pytest.mark.parametrize("kind", ["DaemonSet", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"])
def test_pod_of_a_controller_projects_as_its_parent(kind: str, family: Family) -> None:
    parent, pod = family[kind]
    child, approved = project_child(pod, parent), project(read(WORKLOADS / f"{kind.lower()}.yaml"))
    assert explain_difference(approved.canonical, child.canonical) == ()
    assert child.digest == approved.digest


@pytest.mark.parametrize("kind", ["DaemonSet", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"])
def test_pod_that_is_not_what_its_parent_asks_for_projects_otherwise(kind: str, family: Family) -> None:
    parent, pod = family[kind]
    changed = json.loads(json.dumps(pod))
    changed["spec"]["containers"][0]["args"] = ["--model=other"]
    assert project_child(changed, parent).digest != project(parent).digest


def test_job_of_a_cron_job_and_replica_set_of_a_deployment_project_as_their_parents(plane: ControlPlane) -> None:
    plane.kubectl("create", "-f", str(WORKLOADS / "cronjob.yaml"))
    job = kubectl(plane, "create", "job", "by-hand", "--from=cronjob/refresh")
    assert_same(read(WORKLOADS / "cronjob.yaml"), job)
    deployment = read(WORKLOADS / "deployment.yaml")
    replica_set = {**deployment, "kind": "ReplicaSet", "spec": {**deployment["spec"], "replicas": 1}}
    assert project(deployment).digest == project(replica_set).digest
