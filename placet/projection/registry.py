"""Which kinds are workloads: the built-in ones, and those that the ``kinds`` of the policy data describe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from placet.errors import FormatError, WorkloadError
from placet.projection.children import Children, Copied, Made, Surge, Variable
from placet.projection.custom import (
    CONTAINERS,
    IMAGES,
    MODELS,
    NOT_GOVERNED,
    SHAPES,
    SIZES,
    SPECS,
    TEMPLATES,
    UNGOVERNED,
    WHOLE,
    CustomKind,
    ReplicaCount,
)
from placet.projection.kinds import KINDS, Kind, find_kind
from placet.projection.paths import ANY, EACH, Node, Steps, parse_path, render_path
from placet.projection.shapes import kind_of

USES: Final = (TEMPLATES, SPECS, CONTAINERS, SIZES, IMAGES, MODELS, WHOLE, UNGOVERNED)
_UNKNOWN: Final = "unknown"
_BUILT_IN_GROUPS: Final = frozenset(kind.group for kind in KINDS)
_SHORTEST_UNGOVERNED: Final = 2


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds that are read as workloads.

    Attributes:
        custom: those of the registry, in the order of their keys.
    """

    custom: tuple[CustomKind, ...] = ()
    _by_name: Mapping[tuple[str, str], CustomKind] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name = {(version, kind.name): kind for kind in self.custom for version in kind.api_versions}
        object.__setattr__(self, "_by_name", by_name)

    def find(self, obj: Mapping[str, Any]) -> Kind | CustomKind | None:
        """The object's kind where it is one of these; apiVersion and kind must match exactly."""
        api_version, name = obj.get("apiVersion"), obj.get("kind")
        if not isinstance(api_version, str) or not isinstance(name, str):
            return None
        return find_kind(obj) or self._by_name.get((api_version, name))

    def require(self, obj: Mapping[str, Any]) -> Kind | CustomKind:
        """The object's kind.

        Raises:
            WorkloadError: code ``kind_unknown``.
        """
        if not isinstance(obj, dict):
            raise WorkloadError(f"the object must be an object, not {kind_of(obj)}", code="object_mistyped")
        kind = self.find(obj)
        if kind is None:
            api_version, name = _clipped(obj.get("apiVersion")), _clipped(obj.get("kind"))
            raise WorkloadError(
                f"apiVersion {api_version} with kind {name} is no workload that is known",
                code="kind_unknown",
                hint=self._hint(obj.get("kind")),
            )
        return kind

    def find_resource(self, group: str, version: str, resource: str) -> CustomKind | None:
        """The custom kind of that plural."""
        same = (kind for kind in self.custom if (kind.group, kind.resource) == (group, resource))
        return next((kind for kind in same if version in kind.versions), None)

    def may_be_workload(self, obj: Mapping[str, Any]) -> bool:
        """Whether to judge it: an object of one of these kinds, also in an API version that is not known.

        A kind of the registry counts in its own API group alone: others have a Service and a Model too.
        """
        api_version, name = obj.get("apiVersion"), obj.get("kind")
        group = api_version.rpartition("/")[0] if isinstance(api_version, str) else ""
        return any(kind.name == name for kind in KINDS) or any(
            (kind.group, kind.name) == (group, name) for kind in self.custom
        )

    def _hint(self, name: Any) -> str:
        same = [version for kind in self.custom if kind.name == name for version in kind.api_versions]
        if same:
            return f"This kind is known in {', '.join(same)}; other versions are entries of `kinds` in the policy data."
        known = ", ".join(f"{kind.api_version} {kind.name}" for kind in KINDS)
        custom = ", ".join(kind.form for kind in self.custom)
        return f"Workloads are: {known}{'; by the registry: ' if custom else ''}{custom}."


BUILT_IN: Final = Kinds()


def parse_kinds(registry: Mapping[str, Any]) -> Kinds:
    """Read the ``kinds`` of policy data that fit their schema.

    Raises:
        FormatError: a path that is no path, that contradicts another one, or that leads into what a shape reads; two
            entries for one kind. The message starts with the place.
    """
    kinds = tuple(_parse_entry(key, registry[key]) for key in sorted(registry))
    seen: dict[tuple[str, str], str] = {}
    for kind in kinds:
        for version in kind.api_versions:
            for what in (f"kind {kind.name}", f"resource {kind.resource}"):
                other = seen.setdefault((version, what), kind.key)
                if other != kind.key:
                    raise _fault(kind.key, "versions", f"{version} {what} is that of {other} too")
    return Kinds(kinds)


def _parse_entry(key: str, entry: Mapping[str, Any]) -> CustomKind:
    if entry["group"] in _BUILT_IN_GROUPS:
        raise _fault(key, "group", f"{entry['group']!r} is a group of built-in kinds, which need no entry")
    tree = Node()
    for use in USES:
        for text in entry.get(use, ()):
            _place(tree, use, _parse(key, use, text), key)
    for item in entry.get("defaults", ()):
        steps = _parse(key, "defaults", item["path"])
        if steps[-1] in {EACH, ANY}:
            raise _fault(key, "defaults", f"{item['path']} names no member")
        _make(tree, steps, key, "defaults").defaults.append(item["value"])
    _require_consistent(tree, (), key)
    return CustomKind(
        key=key,
        group=entry["group"],
        name=entry["kind"],
        resource=entry["resource"],
        versions=tuple(entry["versions"]),
        tree=tree,
        metadata=tuple(entry.get("metadata", ())),
        replicas=tuple(_parse_count(key, item) for item in entry.get("replicas", ())),
        images_elsewhere=entry.get("images_elsewhere", False),
        children=_parse_children(key, entry["children"], tree) if "children" in entry else None,
        scale=_parse_scale(key, entry["scale"]) if "scale" in entry else (),
    )


def _parse(key: str, use: str, text: str) -> Steps:
    try:
        steps = parse_path(text)
    except FormatError as exc:
        raise _fault(key, use, f"{text!r} {exc}") from exc
    if steps[0] in NOT_GOVERNED:
        raise _fault(key, use, f"{text} lies in {steps[0]}, which is never governed")
    return steps


def _place(tree: Node, use: str, steps: Steps, key: str) -> None:
    if use == UNGOVERNED and len(steps) < _SHORTEST_UNGOVERNED:
        raise _fault(key, use, f"{render_path(steps)} would leave out everything")
    node = _make(tree, steps, key, use)
    if node.use:
        raise _fault(key, use, f"{render_path(steps)} is named in {node.use} too")
    node.use = use


def _make(tree: Node, steps: Steps, key: str, use: str) -> Node:
    try:
        return tree.make(steps)
    except FormatError as exc:
        raise _fault(key, use, f"{render_path(steps)}: {exc}") from exc


def _require_consistent(node: Node, steps: Steps, key: str) -> None:
    if node.children and node.use and node.use not in SHAPES:
        inside = render_path((*steps, next(iter(node.children))))
        raise _fault(key, node.use, f"{render_path(steps)} is read as a whole, and {inside} lies inside of it")
    shape = SHAPES.get(node.use)
    for step, child in node.children.items():
        here = (*steps, step)
        if shape is not None:
            known = step in shape.governed or step in shape.ungoverned
            if step in {EACH, ANY} or (known and (node.use == TEMPLATES or not _adds_alone(child))):
                raise _fault(key, node.use, f"{render_path(here)} is read with {render_path(steps)} already")
        _require_consistent(child, here, key)


def _adds_alone(node: Node) -> bool:
    """Whether all that is said about a place and those below it has more of it governed than a shape would."""
    if node.use not in {"", WHOLE, IMAGES} or node.defaults:
        return False
    return all(_adds_alone(child) for child in node.children.values())


def _parse_count(key: str, item: Mapping[str, Any]) -> ReplicaCount:
    absent = item.get("absent", _UNKNOWN)

    def below(name: str) -> tuple[Steps, ...]:
        return tuple(_parse(key, "replicas", text) for text in item.get(name, ()))

    return ReplicaCount(
        at=_parse(key, "replicas", item["at"]),
        count=below("count"),
        bound=_parse(key, "replicas", item["bound"]) if "bound" in item else (),
        absent=None if absent == _UNKNOWN else absent,
        times=below("times"),
    )


def _parse_children(key: str, children: Mapping[str, Any], tree: Node) -> Children:
    made = tuple(_parse_made(key, item) for item in children.get("made", ()))
    copied = tuple(Copied(item["kind"], _parse(key, "children", item["at"])) for item in children.get("copied", ()))
    claims = _parse(key, "children", children["claims"]) if "claims" in children else ()
    for one in made:
        for steps in one.templates:
            if (node := tree.find((*one.at, *steps))) is None or node.use != TEMPLATES:
                raise _fault(key, "children", f"{render_path((*one.at, *steps))} is not one of its pod_templates")
    for steps in (claims, *(one.claims for one in made), *(one.at for one in copied)):
        if any(place.use == UNGOVERNED for place in tree.passed(steps)):
            raise _fault(key, "children", f"{render_path(steps)} is not governed")
    return Children(
        made=made,
        copied=copied,
        written=tuple(children.get("written", ())),
        variables=tuple(
            Variable(item["name"], tuple(item["forms"]), item.get("separator", ""))
            for item in children.get("variables", ())
        ),
        claims=claims,
        keeps_revisions=children.get("keeps_revisions", False),
    )


def _parse_made(key: str, item: Mapping[str, Any]) -> Made:
    def read(text: str) -> Steps:
        return _parse(key, "children", text)

    surge = item.get("surge")
    return Made(
        kind=item["kind"],
        at=read(item["at"]) if "at" in item else (),
        templates=tuple(map(read, item["templates"])),
        count=tuple(map(read, item["count"])),
        absent=item["absent"],
        less=item.get("less", 0),
        surge=None if surge is None else Surge(read(surge["at"]), surge["member"], surge["absent"]),
        claims=read(item["claims"]) if "claims" in item else (),
        by_pods=item.get("by_pods", False),
    )


def _parse_scale(key: str, text: str) -> Steps:
    steps = _parse(key, "scale", text)
    if {EACH, ANY} & set(steps):
        raise _fault(key, "scale", f"{text} names no single member")
    return steps


def _fault(key: str, where: str, what: str) -> FormatError:
    return FormatError(f"kinds.{key}.{where}: {what}", code="kind_invalid")


def _clipped(value: Any) -> str:
    return repr(value[:64]) if isinstance(value, str) else kind_of(value)
