"""A request for more or fewer replicas, as the update of its workload that it is.

``/scale`` carries an ``autoscaling/v1`` Scale (Kubernetes API: autoscaling.v1.Scale), which says nothing of what is
scaled. The workload is looked up, and judged with the replicas that are asked for. Of a custom resource the registry
says where those stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from placet.errors import PlacetError, WorkloadError
from placet.parents import SETTING, Parents
from placet.projection import BUILT_IN, Kinds
from placet.review import AdmissionRequest, GroupVersionKind

SCALE: Final = GroupVersionKind("autoscaling", "v1", "Scale")
SUBRESOURCE: Final = "scale"
# (group, version, resource) -> kind, of every built-in kind that has a /scale
SCALED: Final[Mapping[tuple[str, str, str], str]] = {
    ("apps", "v1", "deployments"): "Deployment",
    ("apps", "v1", "statefulsets"): "StatefulSet",
    ("apps", "v1", "replicasets"): "ReplicaSet",
    ("", "v1", "replicationcontrollers"): "ReplicationController",
}
_REPLICAS: Final = ("spec", "replicas")
_MOST: Final = 2**31 - 1


class ScaleRefused(PlacetError):
    """A scale that can't be judged."""

    code = "scale_refused"


def is_scale(request: AdmissionRequest) -> bool:
    """Whether the request asks for replicas alone."""
    return request.subresource == SUBRESOURCE and request.kind == SCALE


def find_scaled(
    request: AdmissionRequest, *, parents: Parents, timeout_s: float, kinds: Kinds = BUILT_IN
) -> AdmissionRequest:
    """The update of the workload that a scale comes to.

    The answer keeps the uid, the digest and the subresource of the request. Should the workload have changed since the
    API server read it, then the API server's own write fails, and it asks again about what is there by then.

    Raises:
        ScaleRefused: the scale is not one of the workload that it names.
        ParentUnavailable: the workload could not be looked up.
    """
    resource = request.resource
    kind = SCALED.get((resource.group, resource.version, resource.resource))
    custom = None if kind else kinds.find_resource(resource.group, resource.version, resource.resource)
    path: tuple[str, ...] = _REPLICAS
    if custom is not None and custom.scale:
        kind, path = custom.name, custom.scale
    if request.operation != "UPDATE" or kind is None:
        raise ScaleRefused(
            "only built-in workloads, and custom resources whose entry of the kind registry says where their replicas "
            "stand, can be scaled, by an update",
            code="scale_unsupported",
        )
    if not parents.asked:
        raise ScaleRefused(
            "what is scaled is not looked up, so nobody knows what more of it would run",
            code="parents_not_looked_up",
            hint=f"{SETTING} Until then change spec.replicas in the manifest and apply that.",
        )
    new, old = _Scale(request.object, request), _Scale(request.old_object, request)
    group = f"{resource.group}/{resource.version}" if resource.group else resource.version
    found = parents.find(
        api_version=group,
        kind=kind,
        namespace=request.namespace,
        name=request.name,
        timeout_s=timeout_s,
        **({} if custom is None else {"resource": custom.resource}),
    )
    if found is None:
        raise ScaleRefused(f"{kind}/{request.name} is not there", code="parent_not_found")
    _require_same(new, old, found, path, shown=f"{kind}/{request.name}")
    return replace(
        request,
        kind=GroupVersionKind(resource.group, resource.version, kind),
        object=_with(found, path, new.replicas),
        old_object=found,
    )


def _require_same(new: _Scale, old: _Scale, found: Mapping[str, Any], path: tuple[str, ...], *, shown: str) -> None:
    metadata = _object(found, "metadata")
    if not (new.uid and new.uid == old.uid == metadata.get("uid")):
        raise ScaleRefused(f"the scale is not one of the {shown} that is there", code="parent_replaced")
    holder = found
    for step in path[:-1]:
        holder = _object(holder, step)
    same = old.version == metadata.get("resourceVersion")
    # Of a custom resource that names no number the API server says 0 (k8s.io/apiextensions-apiserver).
    if same and old.replicas != holder.get(path[-1], 0):
        raise ScaleRefused(f"the scale says other replicas than {shown} has", code="scale_differs")


def _with(holder: Mapping[str, Any], path: tuple[str, ...], replicas: int) -> dict[str, Any]:
    step, rest = path[0], path[1:]
    return {**holder, step: _with(_object(holder, step), rest, replicas) if rest else replicas}


class _Scale:
    """What is believed of a Scale: it must name the workload of the request."""

    def __init__(self, scale: Mapping[str, Any] | None, request: AdmissionRequest) -> None:
        if scale is None or (scale.get("apiVersion"), scale.get("kind")) != ("autoscaling/v1", "Scale"):
            raise ScaleRefused("the request carries no autoscaling/v1 Scale", code="scale_malformed")
        metadata, replicas = _object(scale, "metadata"), _object(scale, "spec").get("replicas", 0)
        if not request.name or metadata.get("name") != request.name:
            raise ScaleRefused("the scale is not named as the request is", code="name_differs")
        if metadata.get("namespace") != request.namespace:
            raise ScaleRefused("the scale is not in the request's namespace", code="namespace_mismatch")
        if type(replicas) is not int or not 0 <= replicas <= _MOST:
            raise ScaleRefused("the scale's replicas are no number from 0 to 2**31 - 1", code="scale_malformed")
        self.replicas = replicas
        self.uid = metadata.get("uid")
        self.version = metadata.get("resourceVersion")


def _object(holder: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = holder.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise WorkloadError(f"{field}: must be an object", code="field_mistyped")
    return value
