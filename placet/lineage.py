"""Where an object that a controller made comes from, by content: ADR 24, and ADR 33 for custom resources.

Nothing that the object says about itself is believed. Its controllerRef only tells where to look; what counts is that
the object of that uid is there, and that the object holds what the parent's template asks for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from placet.canonical import Digest
from placet.children import Claimed, compare
from placet.controllers import Astray, Lookup, Parent, Stray, climb, names_controller, pods_between
from placet.errors import WorkloadError
from placet.model import ModelIdentity, Workload
from placet.parents import Parents
from placet.projection import BUILT_IN, Kinds, project_child
from placet.workload import parallel_pods

__all__ = ["Ancestor", "Lineage", "Stray", "names_controller", "trace"]

# Kinds whose children outlive a change of the template, or are made of an earlier revision during a rollout.
_KEEP_REVISIONS: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "CronJob"})
_PERCENT: Final = re.compile(r"(0|[1-9][0-9]{0,2})%", re.ASCII)
_DEFAULT_SURGE: Final = "25%"


@dataclass(frozen=True, slots=True)
class Ancestor:
    """An object that another one comes from.

    Attributes:
        group: API group, "" for core.
        kind: ``ReplicaSet`` and so on.
        name: its name in the cluster.
        names: what it may be called in the record: also by the prefix that its name was made from.
        uid: its uid, found at the API server.
        projection: its content now, or where it is remembered, a moment ago.
        content: the content with which it must have been approved for the child to pass; None where it holds none such.
        template: the pod template that an earlier content of it must have had; None where those count for nothing.
        remembered: whether a memory told of it, and not the API server itself.
    """

    group: str
    kind: str
    name: str
    names: tuple[str, ...]
    uid: str
    projection: Digest
    content: Digest | None
    template: Digest | None = None
    remembered: bool = False

    @property
    def shown(self) -> str:
        """``Deployment/llama``."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Lineage:
    """A child that holds what its parents' templates ask for.

    Attributes:
        ancestors: the parent first, the root last; non-empty.
        model: what the child and those between it and the root say about the model.
    """

    ancestors: tuple[Ancestor, ...]
    model: ModelIdentity

    @property
    def root(self) -> Ancestor:
        """The object that people approve."""
        return self.ancestors[-1]


def trace(
    obj: Mapping[str, Any],
    workload: Workload,
    *,
    asks_more: bool,
    parents: Parents,
    time_left_s: Callable[[], float],
    remembered: Parents | None = None,
    kinds: Kinds = BUILT_IN,
) -> Lineage | Stray:
    """Follow the controllers of an object up to the one that nothing has made, or that nothing we know has made.

    Args:
        obj: an object that names a controller.
        workload: the same as it was read; parents are looked for in its namespace and in no other.
        asks_more: whether it is new, or asks for more replicas than before.
        parents: where they are looked up.
        time_left_s: seconds that a look-up may take now.
        remembered: a memory of those above the nearest; what it does not confirm is looked up.
        kinds: the registry, for controllers of custom resources.

    Raises:
        ParentUnavailable: a look-up was not answered.
    """
    try:
        lookup = Lookup(parents, remembered, workload.namespace, time_left_s, kinds)
        return _trace(obj, workload, asks_more, lookup)
    except Astray as found:
        return found.stray


def _trace(obj: Mapping[str, Any], workload: Workload, asks_more: bool, lookup: Lookup) -> Lineage:
    way = climb(obj, lookup)
    nearest, built_in = way[0], way
    claimed = None
    if way[-1].kind is not None:
        built_in = way[:-1]
        claimed = compare(obj, workload, way, asks_more=asks_more, kinds=lookup.kinds)
    if asks_more and nearest.kind is None:
        _require_room(obj, workload, nearest.obj, nearest.workload)
    content = _content(obj, workload, nearest, claimed) if nearest.kind is None else None
    model = workload.model
    for parent in way[:-1]:
        model = _agree(model, parent.workload.model)
    # Beyond a Pod that controls something lies what that Pod comes of, which says nothing about what is made for it.
    pods = pods_between(way)
    ancestors = [
        _ancestor(parent, None if pods and index >= pods[0] else content) for index, parent in enumerate(built_in)
    ]
    if claimed is not None:
        ancestors.append(_ancestor(way[-1], claimed.content, claimed.template))
    return Lineage(tuple(ancestors), model)


def _ancestor(parent: Parent, content: Digest | None, template: Digest | None = None) -> Ancestor:
    workload, name = parent.workload, parent.obj["metadata"]["name"]
    return Ancestor(
        group=workload.group,
        kind=workload.kind,
        name=name,
        names=tuple(dict.fromkeys((workload.name, name))),
        uid=workload.uid,
        projection=workload.projection.digest,
        content=content,
        template=template,
        remembered=parent.remembered,
    )


def _content(obj: Mapping[str, Any], workload: Workload, parent: Parent, claimed: Claimed | None) -> Digest:
    """The object's content as its parent's template has it."""
    above = parent.workload
    try:
        own = project_child(obj, parent.obj).digest if workload.kind == "Pod" else workload.projection.digest
    except WorkloadError as exc:
        raise Astray("content_differs", f"it can't be compared with {above.resource}: {exc}") from exc
    if claimed is None and own != above.projection.digest and above.kind not in _KEEP_REVISIONS:
        raise Astray("content_differs", f"its governed content is not that of the template of {above.resource}")
    return own


def _require_room(obj: Mapping[str, Any], workload: Workload, parent: Mapping[str, Any], above: Workload) -> None:
    """A child may not ask for more replicas at once than its parent gives it."""
    try:
        if workload.kind == "ReplicaSet":
            asked, most = workload.replicas or 0, (above.replicas or 0) + _surge(parent, above)
        elif workload.kind == "Job":
            asked, most = parallel_pods(obj, "spec"), parallel_pods(parent, "spec", "jobTemplate", "spec")
        else:
            return
    except WorkloadError as exc:
        raise Astray("parent_unreadable", f"its controller can't be read: {exc}") from exc
    if asked > most:
        raise Astray("parent_exceeded", f"it asks for {asked} replicas, and {above.resource} gives it {most} at most")


def _surge(parent: Mapping[str, Any], deployment: Workload) -> int:
    """How many more a rollout may run for a while (pkg/controller/deployment/util: ``MaxSurge``)."""
    strategy = parent["spec"].get("strategy")
    strategy = strategy if isinstance(strategy, dict) else {}
    if strategy.get("type") == "Recreate":
        return 0
    rolling = strategy.get("rollingUpdate")
    surge = rolling.get("maxSurge", _DEFAULT_SURGE) if isinstance(rolling, dict) else _DEFAULT_SURGE
    if isinstance(surge, int) and not isinstance(surge, bool) and surge >= 0:
        return surge
    percent = _PERCENT.fullmatch(surge) if isinstance(surge, str) else None
    if percent is None:
        raise WorkloadError("spec.strategy.rollingUpdate.maxSurge: must be a number or a percentage")
    return -(-(deployment.replicas or 0) * int(percent[1]) // 100)


def _agree(one: ModelIdentity, other: ModelIdentity) -> ModelIdentity:
    """What both say about the model, where they don't contradict each other."""
    for mine, theirs in ((one.name, other.name), (one.version, other.version), (one.digest, other.digest)):
        if mine and theirs and mine != theirs:
            raise Astray("model_differs", "it names another model than its controller")
    return ModelIdentity(one.name or other.name, one.version or other.version, one.digest or other.digest)
