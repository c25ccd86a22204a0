"""The kind registry and the cluster: entries without a kind, kinds without an entry, versions that no entry names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from placet.doctor.entries import Asked, Entry
from placet.doctor.findings import Code, Finding
from placet.doctor.reading import Object, name_of
from placet.doctor.running import Form
from placet.projection.custom import CustomKind
from placet.projection.registry import Kinds
from placet.scaling import SUBRESOURCE as SCALE

_DEPTH: Final = 40
_CONTAINER_FIELDS: Final = frozenset({"image", "name"})
_OPERATIONS: Final = ("CREATE", "UPDATE")
_PRESERVES: Final = "x-kubernetes-preserve-unknown-fields"
# Where Pods are kept, as far as a name tells: an object without a schema elsewhere is some setting or another.
_POD_WORDS: Final = ("template", "pod", "container", "workload")


@dataclass(frozen=True, slots=True)
class Definition:
    """A CustomResourceDefinition.

    Attributes:
        value: as the API gives it.
    """

    value: Object

    @property
    def where(self) -> str:
        """``CustomResourceDefinition/rollouts.argoproj.io``."""
        return f"CustomResourceDefinition/{name_of(self.value)}"

    @property
    def key(self) -> tuple[str, str]:
        """Group and plural."""
        spec = self.value.get("spec") or {}
        return str(spec.get("group")), str((spec.get("names") or {}).get("plural"))

    @property
    def kind(self) -> str:
        """The kind's name."""
        return str(((self.value.get("spec") or {}).get("names") or {}).get("kind"))

    @property
    def served(self) -> Mapping[str, Any]:
        """Served version -> its schema, None where it has none."""
        versions = [one for one in (self.value.get("spec") or {}).get("versions") or () if one.get("served")]
        return {str(one.get("name")): (one.get("schema") or {}).get("openAPIV3Schema") for one in versions}

    @property
    def scaled(self) -> list[str]:
        """Served versions with a /scale."""
        versions = [one for one in (self.value.get("spec") or {}).get("versions") or () if one.get("served")]
        return [str(one.get("name")) for one in versions if (one.get("subresources") or {}).get("scale")]

    def is_asked_about(self, entries: Sequence[Entry], version: str, operation: str, *, subresource: str = "") -> bool:
        """Whether a rule of an entry names it."""
        asked = Asked(*self.key, subresource, operation)
        return any(entry.matches(asked, version, list(self.served)) for entry in entries)


def check_registry(
    kinds: Kinds, definitions: Sequence[Object], entries: Sequence[Entry], *, accepted: Collection[str] = ()
) -> Iterator[Finding]:
    """Every way in which the registry and the cluster do not fit.

    Args:
        kinds: the registry.
        definitions: CustomResourceDefinitions of the cluster.
        entries: of placet.
        accepted: names of definitions that are meant to have no entry.
    """
    found = {one.key: one for one in map(Definition, definitions)}
    registered = _by_resource(kinds)
    for key, one in found.items():
        if key in registered:
            yield from _check_registered(registered[key], one, entries)
        elif name_of(one.value) not in accepted:
            yield from _check_unregistered(one, entries)
    absent = sorted(f"{resource}.{group}" for group, resource in registered if (group, resource) not in found)
    if absent:
        yield Finding(Code.KIND_ABSENT, "kinds of the policy data", f"not in this cluster: {', '.join(absent)}")


def _by_resource(kinds: Kinds) -> dict[tuple[str, str], list[CustomKind]]:
    """Entries by group and plural; a kind whose versions have other paths has several."""
    found: dict[tuple[str, str], list[CustomKind]] = {}
    for kind in kinds.custom:
        found.setdefault((kind.group, kind.resource), []).append(kind)
    return found


def _check_registered(kinds: Sequence[CustomKind], one: Definition, entries: Sequence[Entry]) -> Iterator[Finding]:
    if one.kind not in {kind.name for kind in kinds}:
        said = f"its kind is {one.kind}, and the entry {kinds[0].key} says {kinds[0].name}"
        yield Finding(Code.KIND_VERSION_UNKNOWN, one.where, said)
        return
    known = [version for kind in kinds for version in kind.versions]
    if unknown := sorted(set(one.served) - set(known)):
        said = f"serves {', '.join(unknown)}; `kinds` names {', '.join(known)}"
        yield Finding(Code.KIND_VERSION_UNKNOWN, one.where, said)
    lacking = [
        f"{operation} in {version}"
        for operation in _OPERATIONS
        for version in one.served
        if not one.is_asked_about(entries, version, operation)
    ]
    if lacking:
        yield Finding(Code.RULES_MISSING, one.where, f"no rule names {one.kind}: {', '.join(lacking)}")
    unscaled = [
        version for version in one.scaled if not one.is_asked_about(entries, version, "UPDATE", subresource=SCALE)
    ]
    if unscaled:
        sentence = f"no rule names {one.key[1]}/{SCALE}, by which it is scaled: UPDATE in {', '.join(unscaled)}"
        yield Finding(Code.RULES_MISSING, one.where, sentence)


def _check_unregistered(one: Definition, entries: Sequence[Entry]) -> Iterator[Finding]:
    paths = sorted({path for schema in one.served.values() for path in find_templates(schema)})
    opaque = sorted({path for schema in one.served.values() for path in find_opaque(schema)})
    if paths:
        if any(one.is_asked_about(entries, version, "CREATE") for version in one.served):
            yield Finding(Code.KIND_VERSION_UNKNOWN, one.where, f"a rule names {one.kind}, which has no entry")
            return
        yield Finding(Code.KIND_UNREGISTERED, one.where, f"{one.kind} holds containers at {', '.join(paths[:3])}")
    elif opaque:
        yield Finding(Code.KIND_OPAQUE, one.where, f"{one.kind} describes nothing at {', '.join(opaque[:3])}")


def find_forms(kinds: Kinds, definitions: Sequence[Object]) -> list[Form]:
    """Kinds of the registry that the cluster has, each in a version that both know."""
    found = {one.key: one for one in map(Definition, definitions)}
    forms: list[Form] = []
    for key, entries in _by_resource(kinds).items():
        served = found[key].served if key in found else {}
        both = [(kind.name, version) for kind in entries for version in kind.versions if version in served]
        forms += [Form(key[0], version, name, key[1]) for name, version in both[:1]]
    return forms


def find_opaque(schema: Any, path: str = "", depth: int = 0) -> Iterator[str]:
    """Paths at which a schema keeps what it does not describe, where Pods may be kept."""
    if not isinstance(schema, Mapping):
        if not path:
            yield "."
        return
    properties = schema.get("properties")
    if schema.get(_PRESERVES) is True and not properties and _may_hold_pods(path):
        yield path or "."
        return
    if depth > _DEPTH or not isinstance(properties, Mapping):
        return
    for name, below in properties.items():
        if path or name not in {"metadata", "status"}:
            yield from find_opaque(below, f"{path}.{name}" if path else str(name), depth + 1)


def _may_hold_pods(path: str) -> bool:
    last = path.rpartition(".")[2].lower()
    return path in {"", "spec"} or any(word in last for word in _POD_WORDS)


def find_templates(schema: Any, path: str = "", depth: int = 0) -> Iterator[str]:
    """Paths of objects in an OpenAPI schema that hold a list of containers: ``spec.template.spec``."""
    if not isinstance(schema, Mapping) or depth > _DEPTH:
        return
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    if _is_containers(properties.get("containers")):
        yield path or "."
        return
    for name, below in properties.items():
        yield from find_templates(below, f"{path}.{name}" if path else str(name), depth + 1)
    for key, mark in (("items", "[*]"), ("additionalProperties", ".*")):
        yield from find_templates(schema.get(key), f"{path}{mark}", depth + 1)
    for key in ("allOf", "anyOf", "oneOf"):
        for below in schema.get(key) or ():
            yield from find_templates(below, path, depth + 1)


def _is_containers(schema: Any) -> bool:
    """A list of what has an image and a name; a schema that keeps unknown fields of its items counts as well."""
    if not isinstance(schema, Mapping) or schema.get("type") != "array":
        return False
    items = schema.get("items")
    if not isinstance(items, Mapping):
        return False
    properties = items.get("properties")
    if isinstance(properties, Mapping) and set(properties) >= _CONTAINER_FIELDS:
        return True
    return items.get("x-kubernetes-preserve-unknown-fields") is True
