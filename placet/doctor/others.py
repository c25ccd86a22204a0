"""What else in a cluster makes or changes workloads: mutating admission, and kinds of other people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from placet.doctor.entries import Asked, Entry
from placet.doctor.findings import Code, Finding
from placet.doctor.reading import Object, name_of

_DEPTH: Final = 40
_CONTAINER_FIELDS: Final = frozenset({"image", "name"})


def check_mutators(webhooks: Sequence[Object], policies: Sequence[Object], asked: Sequence[Asked]) -> Iterator[Finding]:
    """Mutating webhooks and MutatingAdmissionPolicies whose rules name what the gate judges."""
    for item in webhooks:
        for raw in item.get("webhooks") or ():
            # Mutating webhooks that come later may have the earlier ones called again; the gate sees the result.
            touched = _touched(raw.get("rules") or (), asked)
            if touched:
                where = f"MutatingWebhookConfiguration/{name_of(item)} {raw.get('name')}"
                again = "; called again after others" if raw.get("reinvocationPolicy") == "IfNeeded" else ""
                yield Finding(Code.MUTATES_WORKLOADS, where, f"it may change {', '.join(touched)}{again}")
    for item in policies:
        constraints = (item.get("spec") or {}).get("matchConstraints") or {}
        touched = _touched(constraints.get("resourceRules") or (), asked)
        if touched:
            where = f"MutatingAdmissionPolicy/{name_of(item)}"
            yield Finding(Code.MUTATES_WORKLOADS, where, f"it may change {', '.join(touched)}")


def _touched(rules: Sequence[Object], asked: Sequence[Asked]) -> list[str]:
    entry = Entry("", "", {"rules": [{**rule, "apiVersions": ["*"]} for rule in rules]})
    return list(dict.fromkeys(one.resource for one in asked if not one.subresource and entry.matches(one, "*", ())))


def check_kinds(definitions: Sequence[Object], entries: Sequence[Entry]) -> Iterator[Finding]:
    """Definitions of kinds with a pod template which no rule names, and of kinds that are named without their scale."""
    for item in definitions:
        spec = item.get("spec") or {}
        group, plural = str(spec.get("group")), str((spec.get("names") or {}).get("plural"))
        served = [one for one in spec.get("versions") or () if one.get("served")]
        versions = [str(one.get("name")) for one in served]
        asked, scaled = Asked(group, plural, "", "CREATE"), Asked(group, plural, "scale", "UPDATE")
        named = _is_named(entries, asked, versions)
        where = f"CustomResourceDefinition/{name_of(item)}"
        has_scale = any((one.get("subresources") or {}).get("scale") for one in served)
        if has_scale and named and not _is_named(entries, scaled, versions):
            yield Finding(Code.RULES_MISSING, where, f"no rule names {scaled.shown}")
        paths = {path for one in served for path in find_templates((one.get("schema") or {}).get("openAPIV3Schema"))}
        if paths and not named:
            shown = ", ".join(sorted(paths)[:3])
            yield Finding(Code.EMBEDS_PODS, where, f"{spec.get('names', {}).get('kind')} holds containers at {shown}")


def _is_named(entries: Sequence[Entry], asked: Asked, versions: Sequence[str]) -> bool:
    return any(entry.matches(asked, version, versions) for entry in entries for version in versions)


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
