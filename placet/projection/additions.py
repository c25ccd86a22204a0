"""What the API server and controllers put into a Pod that nobody wrote, taken off exactly.

A Pod is compared with the workload that was approved, so what its makers add must not count; anything that differs
from their addition by one character stays and counts. Works on pod specs in projected form, where defaults are gone.
Sources: kubernetes 1.37, plugin/pkg/admission/serviceaccount (``mountServiceAccountToken``),
pkg/controller/statefulset (``updateStorage``), pkg/controller/job (``addCompletionIndexEnvVariable``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

_CHANGED_LISTS: Final = ("containers", "initContainers")
_TOKEN_VOLUME_NAME: Final = re.compile(r"kube-api-access-[a-z0-9]{5}", re.ASCII)
_TOKEN_MOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path, not a secret
_TOKEN_SOURCES: Final = [
    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
    {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
    {"downwardAPI": {"items": [{"fieldRef": {"fieldPath": "metadata.namespace"}, "path": "namespace"}]}},
]
_COMPLETION_INDEX: Final = {
    "name": "JOB_COMPLETION_INDEX",
    "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']"}},
}


def without_token_volume(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The pod spec without the service account's token, as the API server mounts it into every container.

    It stays where the pod asks for no token, because then the API server has not put it there, and where a container
    mounts it in any other way.
    """
    names = [volume["name"] for volume in spec.get("volumes", ()) if _is_token_volume(volume)]
    if len(names) != 1 or spec.get("automountServiceAccountToken") is False:
        return dict(spec)
    (name,) = names
    mount = {"mountPath": _TOKEN_MOUNT_PATH, "name": name, "readOnly": True}
    stripped = _in_containers(spec, lambda container: _without(container, "volumeMounts", lambda each: each == mount))
    stripped = _without(stripped, "volumes", lambda volume: volume["name"] == name)
    still_used = any(
        used["name"] == name for container in _containers(stripped) for used in container.get("volumeMounts", ())
    )
    return dict(spec) if still_used else stripped


def without_claim_volumes(spec: Mapping[str, Any], claim_names: Sequence[str], pod_name: str) -> dict[str, Any]:
    """The pod spec without the volumes that a StatefulSet makes of its volume claim templates."""
    added = [{"name": name, "persistentVolumeClaim": {"claimName": f"{name}-{pod_name}"}} for name in claim_names]
    return _without(spec, "volumes", lambda volume: volume in added)


def without_completion_index(spec: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """The pod spec without the variable that an indexed Job appends to containers and init containers.

    Args:
        spec: of the Pod.
        template: of the Job; a container that has the variable there was given none.
    """
    own = {container["name"] for container in _containers(template) if _has_completion_index(container)}

    def strip(container: Mapping[str, Any]) -> dict[str, Any]:
        last = container.get("env", [None])[-1]
        if container["name"] in own or last != _COMPLETION_INDEX:
            return dict(container)
        return _without(container, "env", lambda variable: variable is last)

    return _in_containers(spec, strip)


def _has_completion_index(container: Mapping[str, Any]) -> bool:
    return any(variable["name"] == _COMPLETION_INDEX["name"] for variable in container.get("env", ()))


def _is_token_volume(volume: Mapping[str, Any]) -> bool:
    return (
        volume.keys() == {"name", "projected"}
        and _TOKEN_VOLUME_NAME.fullmatch(volume["name"]) is not None
        and volume["projected"] == {"sources": _TOKEN_SOURCES}
    )


def _containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for field in (*_CHANGED_LISTS, "ephemeralContainers"):
        yield from spec.get(field, ())


def _in_containers(spec: Mapping[str, Any], change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """With a change to every container and init container; nothing is added to ephemeral ones."""
    lists = {field: [change(container) for container in spec[field]] for field in _CHANGED_LISTS if field in spec}
    return {**spec, **lists}


def _without(record: Mapping[str, Any], field: str, is_added: Callable[[Any], bool]) -> dict[str, Any]:
    """Without those elements of a list, and without the list where nothing is left of it."""
    kept = [element for element in record.get(field, ()) if not is_added(element)]
    result = {name: value for name, value in record.items() if name != field}
    return {**result, field: kept} if kept else result
