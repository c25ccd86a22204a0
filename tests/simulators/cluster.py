"""Objects as an API server would keep them, for the gate to look up, and reviews of what controllers make of them."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from placet.canonical import Digest
from placet.history import History
from placet.parents import RESOURCES, ParentUnavailable
from placet.precedent import Precedent
from placet.promotion import AdmittedElsewhere

Json = dict[str, Any]
_GROUPS = {kind: version for version, kind in RESOURCES} | {"Pod": "v1"}


class ObjectStore:
    """What is stored, by kind, namespace and name; a :class:`placet.parents.Parents`.

    Attributes:
        asked: see there.
        answering: whether look-ups are answered.
        looked_up: what was asked for, oldest first.
    """

    def __init__(self, *, asked: bool = True) -> None:
        self.asked = asked
        self.answering = True
        self.looked_up: list[str] = []
        self._objects: dict[tuple[str, str, str], Json] = {}

    def find(
        self, *, api_version: str, kind: str, namespace: str, name: str, timeout_s: float, resource: str = ""
    ) -> Mapping[str, Any] | None:
        assert resource or (api_version, kind) in RESOURCES
        assert timeout_s > 0
        self.looked_up.append(f"{kind}/{name}")
        if not self.answering:
            raise ParentUnavailable(f"{kind}/{name} could not be looked up", hint="Wait.")
        return copy.deepcopy(self._objects.get((kind, namespace, name)))

    def put(self, obj: Json) -> Json:
        """Store an object, with a uid if it has none; a new version each time. Gives what is stored."""
        stored = copy.deepcopy(obj)
        metadata = stored["metadata"]
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata.setdefault("namespace", "ml-serving")
        metadata["resourceVersion"] = str(int(metadata.get("resourceVersion", "1")) + 1)
        self._objects[stored["kind"], metadata["namespace"], metadata["name"]] = stored
        return copy.deepcopy(stored)

    def remove(self, obj: Json) -> None:
        metadata = obj["metadata"]
        del self._objects[obj["kind"], metadata["namespace"], metadata["name"]]


@dataclass(frozen=True, slots=True)
class LowerHistory:
    """A record in which every decision had approved a lower risk level than it did."""

    history: History
    level: str

    def model_seen(self, *, environment: str, model: str) -> bool | None:
        return self.history.model_seen(environment=environment, model=model)

    def admitted(
        self, *, environment: str, namespace: str, kind: str, name: str, projection: Digest
    ) -> Sequence[Precedent] | None:
        found = self.history.admitted(
            environment=environment, namespace=namespace, kind=kind, name=name, projection=projection
        )
        return None if found is None else [replace(one, level=self.level) for one in found]

    def admitted_with(
        self, *, environment: str, namespace: str, group: str, kind: str, name: str, template: Digest
    ) -> Sequence[Precedent] | None:
        found = self.history.admitted_with(
            environment=environment, namespace=namespace, group=group, kind=kind, name=name, template=template
        )
        return None if found is None else [replace(one, level=self.level) for one in found]

    def admitted_elsewhere(self, *, environment: str, projection: Digest) -> Sequence[AdmittedElsewhere] | None:
        return self.history.admitted_elsewhere(environment=environment, projection=projection)


def owned(obj: Json, parent: Json) -> Json:
    """The object as its controller would mark it."""
    reference = {
        "apiVersion": parent["apiVersion"],
        "kind": parent["kind"],
        "name": parent["metadata"]["name"],
        "uid": parent["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": [reference]}}


def template_of(parent: Json) -> Json:
    spec = parent["spec"]
    template: Json = spec["jobTemplate"]["spec"]["template"] if parent["kind"] == "CronJob" else spec["template"]
    return copy.deepcopy(template)


def replica_set(deployment: Json, *, name: str = "llama-7d9f", replicas: int | None = None) -> Json:
    """What the Deployment controller makes: annotations of the Deployment, labels of its template."""
    template = template_of(deployment)
    labels = {**template["metadata"].get("labels", {}), "pod-template-hash": name.rpartition("-")[2]}
    template["metadata"]["labels"] = labels
    made = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": deployment["metadata"]["namespace"],
            "labels": labels,
            "annotations": {
                **deployment["metadata"].get("annotations", {}),
                "deployment.kubernetes.io/revision": "1",
            },
        },
        "spec": {
            "replicas": deployment["spec"]["replicas"] if replicas is None else replicas,
            "selector": {"matchLabels": labels},
            "template": template,
        },
    }
    return owned(made, deployment)


def pod(parent: Json, *, suffix: str = "x7k2p") -> Json:
    """What a controller makes of its template."""
    template = template_of(parent)
    prefix = f"{parent['metadata']['name']}-"
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **template.get("metadata", {}),
            "name": f"{prefix}{suffix}",
            "generateName": prefix,
            "namespace": parent["metadata"]["namespace"],
        },
        "spec": template["spec"],
    }
    return owned(made, parent)


def review_of(
    obj: Json,
    *,
    old: Json | None = None,
    operation: str | None = None,
    subresource: str = "",
    username: str = "system:serviceaccount:kube-system:replicaset-controller",
) -> Json:
    """The review that an API server would send about an object of any kind."""
    group, _, version = str(obj["apiVersion"]).rpartition("/")
    kind, name = obj["kind"], obj["metadata"].get("name", "")
    operation = operation or ("CREATE" if old is None else "UPDATE")
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": str(uuid.uuid4()),
            "kind": {"group": group, "version": version, "kind": kind},
            "resource": {"group": group, "version": version, "resource": f"{kind.lower()}s"},
            "subResource": subresource,
            "name": "" if operation == "CREATE" and "generateName" in obj["metadata"] else name,
            "namespace": obj["metadata"].get("namespace", ""),
            "operation": operation,
            "userInfo": {"username": username, "groups": []},
            "object": obj,
            "oldObject": old,
            "dryRun": False,
        },
    }


def scale_of(workload: Json, replicas: int) -> Json:
    metadata = {key: workload["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    spec = {"replicas": replicas} if replicas else {}
    return {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": spec}


def scale_review(
    workload: Json, replicas: int, *, username: str = "dora@example.org", resource: str | None = None
) -> Json:
    """``kubectl scale`` of what is stored; ``resource`` is the plural of a custom one."""
    asked = review_of(
        scale_of(workload, replicas),
        old=scale_of(workload, workload["spec"].get("replicas", 0)),  # as an API server says
        subresource="scale",
        username=username,
    )
    group, _, version = str(workload["apiVersion"]).rpartition("/")
    asked["request"]["resource"] = {
        "group": group,
        "version": version,
        "resource": resource or RESOURCES[workload["apiVersion"], workload["kind"]],
    }
    apart: Json = json.loads(json.dumps(asked))  # no part is shared by two places
    return apart
