"""One workload of every built-in kind, with what may and may not be changed in it, for a real API server."""

from __future__ import annotations

import copy
from typing import Any, Final

from placet.apiserver import api_root
from placet.projection import find_kind

Json = dict[str, Any]
NAMESPACE: Final = "ml-serving"
IMAGE: Final = f"registry.example.com/serving/vllm-openai@sha256:{'8' * 64}"
OTHER: Final = f"registry.example.com/other@sha256:{'0' * 64}"
MODEL: Final = {"placet.dev/model": "llama-3.1-70b"}
VERSION: Final = {
    "placet.dev/model-version": "1.4.0",
    "placet.dev/model-digest": "sha256:3f1d6a0c9c1be55d7e2ad0c2f6a9e5b7d4c8f0a1b2c3d4e5f60718293a4b5c6d",
}
KINDS: Final = (
    "Pod",
    "ReplicaSet",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicationController",
    "Job",
    "CronJob",
)
SCALED: Final = ("ReplicaSet", "Deployment", "StatefulSet", "ReplicationController")
_GROUPS: Final = {"Pod": "v1", "ReplicationController": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}


def workload(kind: str, name: str, *, namespace: str = NAMESPACE) -> Json:
    """An unapproved workload that serves a model."""
    pod: Json = {"containers": [{"name": "server", "image": IMAGE}]}
    labels = {"app": name}
    template: Json = {"metadata": {"labels": labels}, "spec": pod}
    if kind in {"Job", "CronJob"}:
        pod["restartPolicy"] = "Never"
    job: Json = {"completions": 2, "parallelism": 1, "template": {"spec": pod}}
    spec: Json = {
        "Pod": pod,
        "Job": job,
        "CronJob": {"schedule": "0 3 1 1 *", "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": job}},
    }.get(kind, {"selector": {"matchLabels": labels}, "template": template})
    if kind in SCALED:
        spec["replicas"] = 1
    if kind == "ReplicationController":
        spec["selector"] = labels
    if kind == "StatefulSet":
        spec |= {"serviceName": name, "podManagementPolicy": "Parallel"}  # there is nobody who makes a pod ready
    metadata = {"name": name, "namespace": namespace, "labels": {**labels, **MODEL}, "annotations": dict(VERSION)}
    return {"apiVersion": _GROUPS.get(kind, "apps/v1"), "kind": kind, "metadata": metadata, "spec": spec}


def containers(obj: Json) -> list[Json]:
    """The containers of the object's pod template."""
    kind = find_kind(obj)
    assert kind is not None
    holder = obj
    for step in kind.template:
        holder = holder[step]
    found: list[Json] = holder["spec"]["containers"]
    return found


def with_image(obj: Json, image: str = OTHER) -> Json:
    """The object with another image in its first container: a governed change."""
    changed = copy.deepcopy(obj)
    containers(changed)[0]["image"] = image
    return changed


def path(obj: Json, *more: str) -> str:
    """Where the object is at the API server."""
    metadata = obj["metadata"]
    plural = f"{obj['kind'].lower()}s"
    return "/".join((api_root(obj["apiVersion"]), "namespaces", metadata["namespace"], plural, *more))
