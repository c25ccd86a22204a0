"""What the controllers of custom resources make, as the real ones do it; the tests play them.

Sources: argo-rollouts (rollout/sync.go), jobset (pkg/controllers), lws (pkg/controllers, pkg/webhooks/pod_webhook.go).
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from typing import Any, Final

from tests.simulators.cluster import owned

Json = dict[str, Any]
_LWS: Final = "leaderworkerset.sigs.k8s.io"
_JOBSET: Final = "jobset.sigs.k8s.io"


def replica_set_of(rollout: Json, *, revision: str = "6c4f", replicas: int | None = None) -> Json:
    """The ReplicaSet of a revision of a Rollout."""
    spec = rollout["spec"]
    template = copy.deepcopy(spec["template"])
    labels = {**template["metadata"].get("labels", {}), "rollouts-pod-template-hash": revision}
    template["metadata"]["labels"] = labels
    template["spec"]["affinity"] = {"podAntiAffinity": {}}
    metadata = {
        "name": f"{rollout['metadata']['name']}-{revision}",
        "namespace": rollout["metadata"]["namespace"],
        "labels": labels,
        "annotations": {
            **rollout["metadata"].get("annotations", {}),
            "rollout.argoproj.io/revision": "1",
            "rollout.argoproj.io/desired-replicas": str(spec["replicas"]),
        },
    }
    made = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": metadata,
        "spec": {
            "replicas": spec["replicas"] if replicas is None else replicas,
            "selector": {"matchLabels": labels},
            "template": template,
        },
    }
    return owned(made, rollout)


def job_of(jobset: Json, *, part: int = 0, index: int = 0) -> Json:
    """A Job of one of a JobSet's replicated jobs."""
    name, replicated = jobset["metadata"]["name"], jobset["spec"]["replicatedJobs"][part]
    job_name = f"{name}-{replicated['name']}-{index}"
    words = {
        f"{_JOBSET}/jobset-name": name,
        f"{_JOBSET}/replicatedjob-name": replicated["name"],
        f"{_JOBSET}/restart-attempt": "0",
        f"{_JOBSET}/replicatedjob-replicas": str(replicated["replicas"]),
        f"{_JOBSET}/job-index": str(index),
        f"{_JOBSET}/job-key": hashlib.sha1(job_name.encode(), usedforsecurity=False).hexdigest(),
    }
    spec = copy.deepcopy(replicated["template"]["spec"])
    template = spec["template"]
    metadata = template.setdefault("metadata", {})
    for field in ("labels", "annotations"):
        metadata[field] = {**metadata.get(field, {}), **words}
    template["spec"]["subdomain"] = name
    template["spec"].setdefault("restartPolicy", "OnFailure")  # as its webhook fills it in
    for claim in _claims(jobset):
        volume = {"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}"}}
        template["spec"].setdefault("volumes", []).append(volume)
    made = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name,
            "namespace": jobset["metadata"]["namespace"],
            "labels": dict(words),
            "annotations": dict(words),
        },
        "spec": {"completionMode": "Indexed", **spec, "suspend": False},
    }
    return owned(made, jobset)


def _claims(jobset: Json) -> Iterator[str]:
    for policy in jobset["spec"].get("volumeClaimPolicies", ()):
        yield from (claim["metadata"]["name"] for claim in policy["templates"])


def leaders_of(lws: Json, *, replicas: int | None = None) -> Json:
    """The StatefulSet of a LeaderWorkerSet's leaders."""
    parts = lws["spec"]["leaderWorkerTemplate"]
    template = copy.deepcopy(parts.get("leaderTemplate") or parts["workerTemplate"])
    name = lws["metadata"]["name"]
    labels = {f"{_LWS}/name": name, f"{_LWS}/worker-index": "0", f"{_LWS}/template-revision-hash": "5f6d"}
    _write(template, labels, {f"{_LWS}/size": str(parts["size"])})
    return owned(_set(lws, name, template, lws["spec"]["replicas"] if replicas is None else replicas), lws)


def workers_of(lws: Json, leader: Json) -> Json:
    """The StatefulSet of the workers of one leader, which is that leader's Pod's."""
    parts = lws["spec"]["leaderWorkerTemplate"]
    template = copy.deepcopy(parts["workerTemplate"])
    labels = {
        key: value for key, value in leader["metadata"]["labels"].items() if key.startswith(_LWS) and "index" not in key
    }
    annotations = {f"{_LWS}/size": str(parts["size"]), f"{_LWS}/leader-name": leader["metadata"]["name"]}
    _write(template, {**labels, f"{_LWS}/group-index": leader["metadata"]["name"].rpartition("-")[2]}, annotations)
    made = _set(lws, leader["metadata"]["name"], template, parts["size"] - 1)
    made["spec"]["ordinals"] = {"start": 1}
    return owned(made, leader)


def group_pod(lws: Json, parent: Json, *, ordinal: int) -> Json:
    """A Pod of one of the StatefulSets, with what the webhook of LeaderWorkerSet puts into it."""
    template = copy.deepcopy(parent["spec"]["template"])
    name, namespace = lws["metadata"]["name"], lws["metadata"]["namespace"]
    is_leader = parent["metadata"]["name"] == name
    group = ordinal if is_leader else int(parent["metadata"]["name"].rpartition("-")[2])
    metadata = {
        **template["metadata"],
        "name": f"{parent['metadata']['name']}-{ordinal}",
        "generateName": f"{parent['metadata']['name']}-",
        "namespace": namespace,
    }
    metadata["labels"] = {
        **metadata["labels"],
        f"{_LWS}/group-index": str(group),
        f"{_LWS}/worker-index": "0" if is_leader else str(ordinal),
        "apps.kubernetes.io/pod-index": str(ordinal),
    }
    variables = [
        {"name": "LWS_LEADER_ADDRESS", "value": f"{name}-{group}.{name}.{namespace}"},
        {"name": "LWS_GROUP_SIZE", "value": str(lws["spec"]["leaderWorkerTemplate"]["size"])},
        {"name": "LWS_WORKER_INDEX", "value": "0" if is_leader else str(ordinal)},
    ]
    spec = {**template["spec"], "subdomain": name}
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        container["env"] = copy.deepcopy(variables) + container.get("env", [])
    return owned({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, parent)


def _write(template: Json, labels: Json, annotations: Json) -> None:
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**metadata.get("labels", {}), **labels}
    metadata["annotations"] = {**metadata.get("annotations", {}), **annotations}


def _set(lws: Json, name: str, template: Json, replicas: int) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": lws["metadata"]["namespace"], "labels": template["metadata"]["labels"]},
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": template["metadata"]["labels"]},
            "template": template,
        },
    }
