"""The projection: the governed fields of a workload as canonical bytes, which is what an approval signs.

``docs/formats.md`` specifies it byte for byte. Kind, name and namespace are no part of it, so that a Pod, a
ReplicaSet and the Deployment that they come from have one projection; an approval binds those in its audience.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from placet.canonical import Digest, render_canonical
from placet.errors import CanonicalError, WorkloadError
from placet.images import ReadImage, parse_image
from placet.model import Image, Projection, Reference
from placet.projection.additions import without_claim_volumes, without_completion_index, without_token_volume
from placet.projection.children import NOTHING, Additions, as_asked_for, find_additions, find_templates
from placet.projection.custom import CustomKind, read_custom
from placet.projection.explain import explain_difference, redact
from placet.projection.kinds import KINDS, Kind, find_kind, require_kind
from placet.projection.metadata import with_apparmor, with_field_values, written_keys
from placet.projection.registry import BUILT_IN, Kinds, parse_kinds
from placet.projection.shapes import MistypedError, join_path, kind_of

__all__ = [
    "BUILT_IN",
    "KINDS",
    "SCHEMA",
    "CustomKind",
    "Kind",
    "Kinds",
    "explain_difference",
    "find_kind",
    "parse_kinds",
    "project",
    "project_child",
    "project_custom",
    "project_made",
    "project_templates",
    "redact",
    "require_kind",
]

SCHEMA: Final = "placet.dev/projection/v1"
MAX_CONTAINERS: Final = 100
_CONTAINER_LISTS: Final = ("containers", "initContainers", "ephemeralContainers")
_ORDINAL: Final = re.compile("0|[1-9][0-9]*", re.ASCII)
_POD_PARENTS: Final = frozenset({"ReplicationController", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"})


def project(obj: Mapping[str, Any], *, kinds: Kinds = BUILT_IN) -> Projection:
    """Project one object.

    Args:
        obj: parsed JSON, as a person wrote it or as the API server holds it: both give the same bytes.
        kinds: the registry, where the object may be a custom resource.

    Raises:
        WorkloadError: a kind that is not known, a governed field of another type than the API's (its message starts
            with the path), no containers, a name that is missing or given twice, or more of something than is read.
    """
    kind = kinds.require(obj)
    if isinstance(kind, CustomKind):
        return project_custom(obj, kind)[0]
    return _render(_read(obj, kind))


def project_custom(
    obj: Mapping[str, Any], kind: CustomKind, *, read_image: ReadImage = parse_image
) -> tuple[Projection, tuple[Image, ...], tuple[Reference, ...]]:
    """The projection of a custom resource, with the images and model references that it names.

    Args:
        obj: parsed JSON.
        kind: its entry in the registry.
        read_image: reads image references.

    Raises:
        WorkloadError: as ``placet.projection.custom.read_custom`` does, or it has no canonical form.
    """
    reading = read_custom(obj, kind, schema=SCHEMA, read_image=read_image)
    return _render(reading.document), reading.images, reading.references


def project_made(obj: Mapping[str, Any], added: Additions) -> Projection:
    """Project an object of a built-in kind with what the controller of a custom resource adds taken off.

    Raises:
        WorkloadError: as ``project`` does.
    """
    return _render(_read(obj, require_kind(obj), added=added))


def project_templates(obj: Mapping[str, Any], kind: CustomKind, *, name: str, namespace: str) -> tuple[Digest, ...]:
    """The pod templates of a custom resource whose children of earlier templates run on, as those would hold them.

    Nothing where one of them can't be read: no child of such an object can pass by it either.
    """
    if kind.children is None or not kind.children.keeps_revisions:
        return ()
    try:
        added = as_asked_for(find_additions(obj, kind.children, name=name, namespace=namespace))
        digests = [
            project_made(found.child, added).digest
            for made in kind.children.made
            for found in find_templates(obj, kind.children, made.kind, by_pods=made.by_pods)
        ]
    except WorkloadError:
        return ()
    return tuple(dict.fromkeys(digests))


def project_child(pod: Mapping[str, Any], parent: Mapping[str, Any], *, added: Additions = NOTHING) -> Projection:
    """Project a Pod as its controller's template, with what that kind of controller adds taken off.

    Equal to ``project(parent)`` if, and only if, the Pod holds what the parent's template asks for.

    Args:
        pod: a ``v1`` ``Pod``.
        parent: the object that its controllerRef names, found by UID. Only what it is called, its volume claim
            templates and a Job's completion mode are read; nothing in the Pod is believed about it.
        added: what the controller of a custom resource above it adds.

    Raises:
        WorkloadError: as ``project`` does; code ``parent_unknown`` for a kind that makes no Pods.
    """
    pod_kind, parent_kind = require_kind(pod), require_kind(parent)
    if pod_kind.name != "Pod" or parent_kind.name not in _POD_PARENTS:
        raise WorkloadError(f"a {parent_kind.name} makes no {pod_kind.name} by itself", code="parent_unknown")
    document = _read(pod, pod_kind, controller=parent_kind.name, added=added)
    (spec,) = document["podTemplates"]
    if parent_kind.name == "StatefulSet":
        claims = _read(parent, parent_kind).get("volumeClaimTemplates", [])
        names = [claim["name"] for claim in claims]
        pod_name = _child_name(pod, parent)
        spec = without_claim_volumes(spec, names, pod_name) if pod_name else spec
        document |= {"volumeClaimTemplates": claims} if claims else {}
    elif parent_kind.name == "Job" and _is_indexed(parent):
        spec = without_completion_index(spec, _read(parent, parent_kind)["podTemplates"][0])
    return _render({**document, "podTemplates": [spec]})


def _read(obj: Mapping[str, Any], kind: Kind, *, controller: str = "", added: Additions = NOTHING) -> dict[str, Any]:
    """The projection as a JSON value; ``controller`` is the kind of a Pod's parent where that is known."""
    try:
        read = kind.record.read(_with_one_service_account(obj, kind)) or {}
    except MistypedError as exc:
        path = join_path(exc.path[::-1])
        raise WorkloadError(f"{path}: {exc}", code=exc.code) from exc
    template = read
    for step in kind.template:
        template = template.get(step, {})
    path = ".".join((*kind.template, "spec"))
    spec = template.get("spec", {})
    _require_containers(spec, path)
    if not kind.template:
        spec = without_token_volume(spec)
    spec = added.without(_with_metadata(spec, obj, kind, controller, added))
    document: dict[str, Any] = {"schema": SCHEMA, "podTemplates": [spec]}
    if claims := read.get("spec", {}).get("volumeClaimTemplates"):
        document["volumeClaimTemplates"] = _read_claims(claims)
    return document


def _with_metadata(
    spec: dict[str, Any], obj: Mapping[str, Any], kind: Kind, controller: str, added: Additions
) -> dict[str, Any]:
    """The pod spec with what its containers get of the metadata that stands beside it."""
    holder = obj
    for step in kind.template:
        holder = holder[step]  # objects: the pod spec was found on this way
    metadata = holder.get("metadata")
    try:
        return with_field_values(
            with_apparmor(spec, metadata),
            metadata,
            written_keys(kind.name, controller=controller) | added.written(metadata),
            in_pod=not kind.template,
        )
    except MistypedError as exc:
        path = join_path([*kind.template, *exc.path[::-1]])
        raise WorkloadError(f"{path}: {exc}", code=exc.code) from exc


def _with_one_service_account(obj: Mapping[str, Any], kind: Kind) -> Mapping[str, Any]:
    """The object with the deprecated ``serviceAccount`` folded into ``serviceAccountName``, which wins."""
    steps = (*kind.template, "spec")
    levels: list[Mapping[str, Any]] = [obj]
    for step in steps:
        child = levels[-1].get(step)
        if not isinstance(child, dict):
            return obj
        levels.append(child)
    spec = levels[-1]
    if spec.get("serviceAccount") is None:
        return obj
    if not isinstance(spec["serviceAccount"], str):
        path = ".".join((*steps, "serviceAccount"))
        raise WorkloadError(f"{path}: must be text, not {kind_of(spec['serviceAccount'])}", code="field_mistyped")
    name = spec.get("serviceAccountName")
    folded: Mapping[str, Any] = {
        **spec,
        "serviceAccountName": spec["serviceAccount"] if name is None or name == "" else name,
        "serviceAccount": None,
    }
    for level, step in zip(reversed(levels[:-1]), reversed(steps), strict=True):
        folded = {**level, step: folded}
    return folded


def _require_containers(spec: Mapping[str, Any], path: str) -> None:
    if not spec.get("containers"):
        raise WorkloadError(f"{path}.containers: a workload without containers can't be judged", code="no_containers")
    names = [container["name"] for kind in _CONTAINER_LISTS for container in spec.get(kind, ())]
    if len(names) > MAX_CONTAINERS:
        raise WorkloadError(f"{path}: more than {MAX_CONTAINERS} containers", code="too_many")
    if len(set(names)) != len(names):
        raise WorkloadError(f"{path}: a container's name is given twice", code="name_duplicate")


def _read_claims(raw_claims: list[dict[str, Any]]) -> list[dict[str, Any]]:
    claims = [{"name": raw.get("metadata", {}).get("name", ""), "spec": raw.get("spec", {})} for raw in raw_claims]
    names = [claim["name"] for claim in claims]
    if not all(names):
        raise WorkloadError("spec.volumeClaimTemplates: a template has no name", code="name_missing")
    if len(set(names)) != len(names):
        raise WorkloadError("spec.volumeClaimTemplates: a name is given twice", code="name_duplicate")
    return claims


def _child_name(pod: Mapping[str, Any], parent: Mapping[str, Any]) -> str:
    """The Pod's name where it is one that the StatefulSet gives: its own and a number."""
    pod_name, parent_name = _name(pod), _name(parent)
    number = pod_name.removeprefix(f"{parent_name}-")
    return pod_name if parent_name and number != pod_name and _ORDINAL.fullmatch(number) else ""


def _name(obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _is_indexed(job: Mapping[str, Any]) -> bool:
    spec = job.get("spec")
    return isinstance(spec, dict) and spec.get("completionMode") == "Indexed"


def _render(document: dict[str, Any]) -> Projection:
    try:
        canonical = render_canonical(document)
    except CanonicalError as exc:
        raise WorkloadError(f"the workload has no canonical form: {exc}", code="not_canonical") from exc
    return Projection(canonical=canonical, digest=Digest.of(canonical))
