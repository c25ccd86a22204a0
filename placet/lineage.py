"""Where an object that a controller made comes from, by content: ADR 24.

Nothing that the object says about itself is believed. Its controllerRef only tells where to look; what counts is that
the object of that uid is there, and that the object holds what the parent's template asks for.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from placet.canonical import Digest
from placet.errors import WorkloadError
from placet.model import ModelIdentity, Workload
from placet.parents import Parents, ParentUnavailable
from placet.projection import project_child
from placet.workload import parallel_pods, read_workload

# kind -> (apiVersion, kind) of the controllers that make it
MAKERS: Final[Mapping[str, frozenset[tuple[str, str]]]] = {
    "Pod": frozenset(
        {
            ("apps/v1", "ReplicaSet"),
            ("apps/v1", "StatefulSet"),
            ("apps/v1", "DaemonSet"),
            ("batch/v1", "Job"),
            ("v1", "ReplicationController"),
        }
    ),
    "ReplicaSet": frozenset({("apps/v1", "Deployment")}),
    "Job": frozenset({("batch/v1", "CronJob")}),
}
# Kinds whose children outlive a change of the template, or are made of an earlier revision during a rollout.
_KEEP_REVISIONS: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "CronJob"})
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
_PERCENT: Final = re.compile(r"(0|[1-9][0-9]{0,2})%", re.ASCII)
_DEFAULT_SURGE: Final = "25%"


@dataclass(frozen=True, slots=True)
class Ancestor:
    """An object that another one comes from.

    Attributes:
        kind: ``ReplicaSet`` and so on.
        name: its name in the cluster.
        names: what it may be called in the record: also by the prefix that its name was made from.
        uid: its uid, found at the API server.
        projection: its content now, or where it is remembered, a moment ago.
        remembered: whether a memory told of it, and not the API server itself.
    """

    kind: str
    name: str
    names: tuple[str, ...]
    uid: str
    projection: Digest
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
        content: the child's projection as its parent's template.
        model: what the child and those between it and the root say about the model.
    """

    ancestors: tuple[Ancestor, ...]
    content: Digest
    model: ModelIdentity

    @property
    def root(self) -> Ancestor:
        """The object that people approve."""
        return self.ancestors[-1]


@dataclass(frozen=True, slots=True)
class Stray:
    """Why an object that names a controller is judged by itself.

    Attributes:
        code: ``content_differs`` and so on.
        sentence: why, for a person, safe but for names out of objects.
        hint: what to do about it.
    """

    code: str
    sentence: str
    hint: str = "It is judged like any other object. Leave making it to its controller, or have it approved itself."


@dataclass(frozen=True, slots=True)
class _Reference:
    api_version: str
    kind: str
    name: str
    uid: str


class _Astray(Exception):
    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.stray = Stray(code, sentence)


def names_controller(obj: Mapping[str, Any]) -> bool:
    """Whether the object is of a kind that controllers make and says that one has made it."""
    return obj.get("kind") in MAKERS and bool(_controllers(obj))


def trace(
    obj: Mapping[str, Any],
    workload: Workload,
    *,
    asks_more: bool,
    parents: Parents,
    time_left_s: Callable[[], float],
    remembered: Parents | None = None,
) -> Lineage | Stray:
    """Follow the controllers of an object up to the one that nothing has made, or that nothing we know has made.

    Args:
        obj: a Pod, ReplicaSet or Job that names a controller.
        workload: the same as it was read; parents are looked for in its namespace and in no other.
        asks_more: whether it is new, or asks for more replicas than before.
        parents: where they are looked up.
        time_left_s: seconds that a look-up may take now.
        remembered: a memory of those above the nearest; what it does not confirm is looked up.

    Raises:
        ParentUnavailable: a look-up was not answered.
    """
    try:
        return _trace(obj, workload, asks_more, _Lookup(parents, remembered, workload.namespace, time_left_s))
    except _Astray as found:
        return found.stray


def _trace(obj: Mapping[str, Any], workload: Workload, asks_more: bool, lookup: _Lookup) -> Lineage:
    reference = _reference(obj)
    if not _is_followed(obj, reference):
        maker = f"{reference.kind[:64]} of {reference.api_version[:64]}"
        raise _Astray("parent_kind_unknown", f"its controller is a {maker}, which is not followed")
    parent = lookup.find(reference)
    above = _read(parent, workload.namespace)
    content = _content(obj, workload, parent, above)
    if asks_more:
        _require_room(obj, workload, parent, above)
    ancestors, model = [_ancestor(parent, above)], workload.model
    while reference.kind in MAKERS and _controllers(parent):
        reference = _reference(parent)
        if not _is_followed(parent, reference):
            break
        model = _agree(model, above.model)
        parent, above, remembered = lookup.find_above(reference)
        if above.projection.digest != content and reference.kind not in _KEEP_REVISIONS:
            raise _Astray("content_differs", f"its content is not that of the template of {above.resource}")
        ancestors.append(_ancestor(parent, above, remembered=remembered))
    return Lineage(tuple(ancestors), content, model)


def _ancestor(obj: Mapping[str, Any], workload: Workload, *, remembered: bool = False) -> Ancestor:
    name = obj["metadata"]["name"]
    names = tuple(dict.fromkeys((workload.name, name)))
    return Ancestor(workload.kind, name, names, workload.uid, workload.projection.digest, remembered)


def _controllers(obj: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    metadata = obj.get("metadata")
    listed = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
    if not isinstance(listed, list):
        return []
    return [one for one in listed if isinstance(one, dict) and one.get("controller") is True]


def _reference(obj: Mapping[str, Any]) -> _Reference:
    listed = _controllers(obj)
    if len(listed) != 1:
        raise _Astray("controllers_ambiguous", f"it names {len(listed)} controllers, and can have one")
    (one,) = listed
    fields = [one.get(field) for field in ("apiVersion", "kind", "name", "uid")]
    if not all(isinstance(field, str) and field for field in fields):
        raise _Astray("controller_malformed", "its controller is not named by apiVersion, kind, name and uid")
    return _Reference(*(str(field) for field in fields))


def _is_followed(child: Mapping[str, Any], reference: _Reference) -> bool:
    return (reference.api_version, reference.kind) in MAKERS[str(child["kind"])]


@dataclass(frozen=True, slots=True)
class _Lookup:
    parents: Parents
    remembered: Parents | None
    namespace: str
    time_left_s: Callable[[], float]

    def find(self, reference: _Reference) -> Mapping[str, Any]:
        """The object that a reference names, if it has the uid that the reference says, as it is now."""
        return self._find(self.parents, reference)

    def find_above(self, reference: _Reference) -> tuple[Mapping[str, Any], Workload, bool]:
        """The same of what the nearest parent belongs to, read, and whether it was remembered.

        The nearest one decides on content, number and whether it is there, and is always looked up. Of what is above it
        only the uid counts, which belongs to one name for ever: a memory may confirm it, and refuses nothing (ADR 36).
        """
        if self.remembered is not None:
            with contextlib.suppress(_Astray, ParentUnavailable):
                found = self._find(self.remembered, reference)
                return found, _read(found, self.namespace), True
        found = self._find(self.parents, reference)
        return found, _read(found, self.namespace), False

    def _find(self, parents: Parents, reference: _Reference) -> Mapping[str, Any]:
        shown = f"{reference.kind}/{reference.name[:253]}"
        found = None
        if _NAME.fullmatch(reference.name):
            found = parents.find(
                api_version=reference.api_version,
                kind=reference.kind,
                namespace=self.namespace,
                name=reference.name,
                timeout_s=self.time_left_s(),
            )
        metadata = None if found is None else found.get("metadata")
        if found is None or not isinstance(metadata, dict) or metadata.get("name") != reference.name:
            raise _Astray("parent_not_found", f"its controller {shown} is not in namespace {self.namespace}")
        if metadata.get("namespace") != self.namespace or metadata.get("uid") != reference.uid:
            raise _Astray("parent_replaced", f"its controller {shown} has another uid than it says")
        return found


def _read(parent: Mapping[str, Any], namespace: str) -> Workload:
    try:
        return read_workload(parent, namespace=namespace)
    except WorkloadError as exc:
        raise _Astray("parent_unreadable", f"its controller can't be read: {exc}") from exc


def _content(obj: Mapping[str, Any], workload: Workload, parent: Mapping[str, Any], above: Workload) -> Digest:
    """The object's content as its parent's template has it."""
    try:
        own = project_child(obj, parent).digest if workload.kind == "Pod" else workload.projection.digest
    except WorkloadError as exc:
        raise _Astray("content_differs", f"it can't be compared with {above.resource}: {exc}") from exc
    if own != above.projection.digest and above.kind not in _KEEP_REVISIONS:
        raise _Astray("content_differs", f"its governed content is not that of the template of {above.resource}")
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
        raise _Astray("parent_unreadable", f"its controller can't be read: {exc}") from exc
    if asked > most:
        raise _Astray("parent_exceeded", f"it asks for {asked} replicas, and {above.resource} gives it {most} at most")


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
            raise _Astray("model_differs", "it names another model than its controller")
    return ModelIdentity(one.name or other.name, one.version or other.version, one.digest or other.digest)
