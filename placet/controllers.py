"""The way from an object up to the one that nothing has made: by controllerRefs, each believed by the uid it leads to.

Which kinds make which is fixed for built-in controllers, and data of the kind registry for those of custom resources.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from placet.errors import WorkloadError
from placet.model import Workload
from placet.parents import Parents, ParentUnavailable
from placet.projection import BUILT_IN, CustomKind, Kinds
from placet.workload import read_workload

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
POD: Final = ("v1", "Pod")
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
# Pod, StatefulSet of workers, Pod of a leader, StatefulSet of leaders, LeaderWorkerSet: the longest known way.
_MOST_STEPS: Final = 6


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


class Astray(Exception):
    """The object is judged by itself."""

    def __init__(self, code: str, sentence: str, *hint: str) -> None:
        super().__init__(sentence)
        self.stray = Stray(code, sentence, *hint)


@dataclass(frozen=True, slots=True)
class Parent:
    """A controller, as it is stored now.

    Attributes:
        obj: the object.
        workload: the same, read.
        kind: its entry in the registry; None for a built-in kind.
        remembered: whether a memory told of it, and not the API server itself.
    """

    obj: Mapping[str, Any]
    workload: Workload
    kind: CustomKind | None = None
    remembered: bool = False

    @property
    def is_pod(self) -> bool:
        """Whether it is a Pod, which controls what is made for it."""
        return self.kind is None and self.workload.kind == "Pod"


@dataclass(frozen=True, slots=True)
class Reference:
    """A controllerRef as an object says it."""

    api_version: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """Where controllers are looked for.

    Attributes:
        parents: who is asked.
        remembered: a memory of built-in controllers above the nearest; None for none.
        namespace: of the object; they are looked for in no other.
        time_left_s: seconds that a look-up may take now.
        kinds: the registry.
    """

    parents: Parents
    remembered: Parents | None
    namespace: str
    time_left_s: Callable[[], float]
    kinds: Kinds

    def find(self, reference: Reference) -> Parent:
        """The object that a reference names, if it has the uid that the reference says, as it is now.

        Raises:
            Astray: it has not, or can't be read.
            ParentUnavailable: the look-up was not answered.
        """
        return self._find(self.parents, reference)

    def find_above(self, reference: Reference) -> Parent:
        """The same of what the nearest one belongs to.

        The nearest one decides on content, number and whether it is there, and is always looked up. Of a built-in one
        above it only the uid counts, which belongs to one name for ever: a memory may confirm it, and refuses nothing
        (ADR 36). A custom resource decides on content, and is always looked up too.
        """
        built_in = find_custom(self.kinds, reference) is None and (reference.api_version, reference.kind) != POD
        if self.remembered is not None and built_in:
            with contextlib.suppress(Astray, ParentUnavailable):
                return replace(self._find(self.remembered, reference), remembered=True)
        return self._find(self.parents, reference)

    def _find(self, parents: Parents, reference: Reference) -> Parent:
        shown = f"{reference.kind}/{reference.name[:253]}"
        custom = find_custom(self.kinds, reference)
        is_pod = (reference.api_version, reference.kind) == POD
        found = None
        if _NAME.fullmatch(reference.name):
            found = parents.find(
                api_version=reference.api_version,
                kind=reference.kind,
                namespace=self.namespace,
                name=reference.name,
                timeout_s=self.time_left_s(),
                **({"resource": "pods" if custom is None else custom.resource} if custom is not None or is_pod else {}),
            )
        metadata = None if found is None else found.get("metadata")
        if found is None or not isinstance(metadata, dict) or metadata.get("name") != reference.name:
            raise Astray("parent_not_found", f"its controller {shown} is not in namespace {self.namespace}")
        if metadata.get("namespace") != self.namespace or metadata.get("uid") != reference.uid:
            raise Astray("parent_replaced", f"its controller {shown} has another uid than it says")
        try:
            return Parent(found, read_workload(found, namespace=self.namespace, kinds=self.kinds), custom)
        except WorkloadError as exc:
            raise Astray("parent_unreadable", f"its controller can't be read: {exc}") from exc


def names_controller(obj: Mapping[str, Any], kinds: Kinds = BUILT_IN) -> bool:
    """Whether the object says that a controller has made it that is followed, or of which it is known why not.

    Any controller counts where built-in ones make such an object; elsewhere one of the registry, or a Pod.
    """
    listed = _controllers(obj)
    if obj.get("kind") in MAKERS:
        return bool(listed)
    named = [(one.get("apiVersion"), one.get("kind")) for one in listed]
    return any(
        each == POD or isinstance(kinds.find({"apiVersion": each[0], "kind": each[1]}), CustomKind) for each in named
    )


def climb(obj: Mapping[str, Any], lookup: Lookup) -> tuple[Parent, ...]:
    """The controllers of an object, the nearest first; non-empty.

    Raises:
        Astray: it names none that is followed, or one that is not what it says.
        ParentUnavailable: a look-up was not answered.
    """
    found: list[Parent] = []
    child = obj
    while len(found) < _MOST_STEPS:
        reference = _reference(child)
        if not _is_followed(child, reference, lookup.kinds):
            if not found:
                raise _unknown(reference, lookup.kinds)
            break
        found.append(lookup.find_above(reference) if found else lookup.find(reference))
        child = found[-1].obj
        if found[-1].kind is not None or not _controllers(child):
            break
    return _without_foreign_pods(obj, tuple(found))


def find_custom(kinds: Kinds, reference: Reference) -> CustomKind | None:
    """The registry's entry of the kind that a reference names."""
    found = kinds.find({"apiVersion": reference.api_version, "kind": reference.kind})
    return found if isinstance(found, CustomKind) else None


def pods_between(parents: tuple[Parent, ...]) -> list[int]:
    """Where in the way a Pod controls what was made for it."""
    return [index for index, parent in enumerate(parents) if parent.is_pod]


def _without_foreign_pods(obj: Mapping[str, Any], parents: tuple[Parent, ...]) -> tuple[Parent, ...]:
    """The way as far as it is one: a Pod controls something only where the entry of the root says so."""
    pods = pods_between(parents)
    root = parents[-1].kind
    children = None if root is None else root.children
    if not pods or (len(pods) == 1 and children is not None and any(made.by_pods for made in children.made)):
        return parents
    if pods[0] == 0:
        raise Astray("parent_kind_unknown", f"its controller is a Pod, and no {obj.get('kind')} of one is followed")
    return parents[: pods[0]]


def _is_followed(child: Mapping[str, Any], reference: Reference, kinds: Kinds) -> bool:
    kind = str(child.get("kind"))
    if (reference.api_version, reference.kind) in MAKERS.get(kind, frozenset()):
        return True
    if (reference.api_version, reference.kind) == POD:
        return kind == "StatefulSet"
    custom = find_custom(kinds, reference)
    children = None if custom is None else custom.children
    if custom is None or children is None:
        return False
    if str(child.get("apiVersion")).startswith(f"{custom.group}/"):
        return any(copied.kind == kind for copied in children.copied)
    return any(made.kind == kind and not made.by_pods for made in children.made)


def _unknown(reference: Reference, kinds: Kinds) -> Astray:
    custom = find_custom(kinds, reference)
    if custom is not None and (custom.children is None or not custom.children.made):
        shown = f"{custom.name}/{reference.name[:253]}"
        return Astray(
            "content_underivable",
            f"its controller {shown} makes it of more than {shown} says, so that nothing shows what was approved",
            "Have it approved itself, or leave its namespace to an environment with another coverage: docs/lookups.md, "
            "custom resources.",
        )
    maker = f"{reference.kind[:64]} of {reference.api_version[:64]}"
    return Astray("parent_kind_unknown", f"its controller is a {maker}, which is not followed")


def _controllers(obj: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    metadata = obj.get("metadata")
    listed = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
    if not isinstance(listed, list):
        return []
    return [one for one in listed if isinstance(one, dict) and one.get("controller") is True]


def _reference(obj: Mapping[str, Any]) -> Reference:
    listed = _controllers(obj)
    if len(listed) != 1:
        raise Astray("controllers_ambiguous", f"it names {len(listed)} controllers, and can have one")
    (one,) = listed
    fields = [one.get(field) for field in ("apiVersion", "kind", "name", "uid")]
    if not all(isinstance(field, str) and field for field in fields):
        raise Astray("controller_malformed", "its controller is not named by apiVersion, kind, name and uid")
    return Reference(*(str(field) for field in fields))
