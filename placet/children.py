"""Whether what a custom controller made holds one of the pod templates of its custom resource: ADR 33.

The templates are those of the object that is stored now, read as the child would hold them; the child is read without
what the registry says that the controller adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from placet.canonical import Digest
from placet.controllers import Astray, Parent, pods_between
from placet.errors import WorkloadError
from placet.model import Workload
from placet.projection import CustomKind, Kinds, project_child, project_custom, project_made
from placet.projection.children import (
    Additions,
    Children,
    as_asked_for,
    find_additions,
    find_copied,
    find_templates,
    without_written,
)
from placet.workload import parallel_pods


@dataclass(frozen=True, slots=True)
class Claimed:
    """How the record is asked about a custom resource, so that a child of it may pass.

    Attributes:
        content: its content now; None where the child holds none of its templates of now.
        template: the child's content, as one of its templates; None where its children are never of an earlier content.
    """

    content: Digest | None
    template: Digest | None


def compare(
    obj: Mapping[str, Any], workload: Workload, way: tuple[Parent, ...], *, asks_more: bool, kinds: Kinds
) -> Claimed:
    """Hold an object against the templates of the custom resource that it comes from.

    Args:
        obj: the object.
        workload: the same, read.
        way: its controllers; the last is the custom resource.
        asks_more: whether it is new, or asks for more replicas than before.
        kinds: the registry.

    Raises:
        Astray: it holds none of them and can pass by nothing else, or asks for too much.
    """
    root = way[-1]
    children = None if root.kind is None else root.kind.children
    if children is None:
        raise Astray("parent_kind_unknown", f"{root.workload.resource} makes nothing that is followed")
    entry = kinds.find(obj)
    if isinstance(entry, CustomKind):
        return _compare_copied(obj, workload, entry, root, children, asks_more=asks_more)
    pods = pods_between(way)
    place = pods[0] if pods else len(way) - 1
    made = obj if place == 0 else way[place - 1].obj
    try:
        added = _additions(root, children)
        templates = [
            (project_made(found.child, as_asked_for(added)).digest, found.most)
            for found in find_templates(root.obj, children, str(made.get("kind")), by_pods=bool(pods))
        ]
    except WorkloadError as exc:
        raise Astray("parent_unreadable", f"its controller can't be read: {exc}") from exc
    if not templates:
        raise Astray(
            "content_underivable",
            f"{root.workload.resource} holds no pod template that it could be compared with",
            "Put the template into the object itself, or have what is made of it approved: docs/lookups.md.",
        )
    own = _own(obj, workload, way[0], root, added)
    current = [most for digest, most in templates if digest == own]
    if not current and len(way) == 1 and not children.keeps_revisions:
        raise Astray("content_differs", f"its governed content is none of the templates of {root.workload.resource}")
    if asks_more and place == 0:
        _require_room(obj, workload, root, max(current or [most for _, most in templates]))
    return Claimed(
        content=root.workload.projection.digest if current else None,
        template=own if children.keeps_revisions else None,
    )


def _compare_copied(
    obj: Mapping[str, Any],
    workload: Workload,
    entry: CustomKind,
    root: Parent,
    children: Children,
    *,
    asks_more: bool,
) -> Claimed:
    """Hold a custom resource against the part of another one that its spec is a copy of."""
    try:
        asked = [
            project_custom(one, entry)[0].digest
            for one in find_copied(root.obj, children, api_version=str(obj["apiVersion"]), kind=entry.name)
        ]
        bare = {**obj, "metadata": without_written(obj.get("metadata"), children)}
        own = project_custom(bare, entry)[0].digest
    except WorkloadError as exc:
        raise Astray("parent_unreadable", f"its controller can't be read: {exc}") from exc
    if own not in asked:
        raise Astray("content_differs", f"its governed content is not the part of {root.workload.resource} for it")
    most = root.workload.replicas
    if asks_more and most is not None and (workload.replicas is None or workload.replicas > most):
        sentence = f"it asks for {workload.replicas or 'any number of'} Pods, and {root.workload.resource} for {most}"
        raise Astray("parent_exceeded", sentence)
    return Claimed(content=root.workload.projection.digest, template=None)


def _additions(root: Parent, children: Children) -> Additions:
    name = root.obj["metadata"]["name"]
    return find_additions(root.obj, children, name=name, namespace=root.workload.namespace)


def _own(obj: Mapping[str, Any], workload: Workload, nearest: Parent, root: Parent, added: Additions) -> Digest:
    """The object's content without what was added; that of a Pod is also its nearest controller's."""
    try:
        if workload.kind != "Pod":
            return project_made(obj, added).digest
        own = project_child(obj, nearest.obj, added=added).digest
        if nearest.workload.kind in {"ReplicaSet", "Job"} and own != project_made(nearest.obj, added).digest:
            raise Astray(
                "content_differs",
                f"its governed content is not that of the template of {nearest.workload.resource}",
            )
    except WorkloadError as exc:
        raise Astray("content_differs", f"it can't be compared with {root.workload.resource}: {exc}") from exc
    return own


def _require_room(obj: Mapping[str, Any], workload: Workload, root: Parent, most: int) -> None:
    """A child may not ask for more replicas at once than its custom resource gives one of its kind."""
    asked = parallel_pods(obj, "spec") if workload.kind == "Job" else workload.replicas or 0
    if asked > most:
        sentence = f"it asks for {asked} replicas, and {root.workload.resource} gives it {most} at most"
        raise Astray("parent_exceeded", sentence)
