"""What the cluster serves of what the gate judges: resources, subresources and versions, from the API's discovery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from placet.apiserver import api_root
from placet.decide import JUDGED_OPERATIONS, JUDGED_SUBRESOURCES
from placet.doctor.entries import Asked
from placet.doctor.findings import Code, Finding
from placet.doctor.reading import Object, Reader
from placet.projection.kinds import KINDS
from placet.scaling import SUBRESOURCE as SCALE


@dataclass(frozen=True, slots=True)
class Served:
    """What the gate judges and the cluster serves.

    Attributes:
        asked: every kind of request that has to reach the gate, with the versions that have it; empty when not known.
        unread: findings about what could not be read.
        plurals: group and kind -> resource.
    """

    asked: Mapping[Asked, Sequence[str]]
    unread: Sequence[Finding] = ()
    plurals: Mapping[tuple[str, str], str] = field(default_factory=dict)


def load_served(reader: Reader) -> Served:
    """Ask discovery, which every user that is logged in may read."""
    groups: dict[str, set[str]] = {}
    for kind in KINDS:
        groups.setdefault(kind.group, set()).add(kind.name)
    asked: dict[Asked, list[str]] = {}
    unread: list[Finding] = []
    plurals: dict[tuple[str, str], str] = {}
    for group, kinds in groups.items():
        versions, faults = _versions(reader, group)
        unread += faults
        for version in versions:
            base = api_root(f"{group}/{version}" if group else version)
            found, faults = reader.load_one(base, f"discovery {base}", "whether rules name everything is not known")
            unread += faults
            resources = (found or {}).get("resources") or ()
            plurals |= {(group, str(one["kind"])): str(one["name"]) for one in resources if _is_judged(one, kinds)}
            for one in find_asked(group, kinds, resources):
                asked.setdefault(one, []).append(version)
    lacking = [kind.name for kind in KINDS if (kind.group, kind.name) not in plurals]
    if lacking and not unread:
        unread.append(Finding(Code.NOT_READ, "discovery", f"it names no resource for {', '.join(lacking)}"))
    return Served({} if unread else asked, unread, plurals)


def _is_judged(resource: Object, kinds: set[str]) -> bool:
    return resource.get("kind") in kinds and "/" not in str(resource.get("name"))


def _versions(reader: Reader, group: str) -> tuple[list[str], list[Finding]]:
    path = f"/apis/{group}" if group else "/api"
    found, faults = reader.load_one(path, f"discovery {path}", "which versions are served is not known")
    listed = (found or {}).get("versions") or ()
    versions = [str(one["version"] if isinstance(one, dict) else one) for one in listed]
    if not versions and not faults:
        faults = [Finding(Code.NOT_READ, f"discovery {path}", "it names no version")]
    return versions, faults


def find_asked(group: str, kinds: set[str], resources: Sequence[Object]) -> list[Asked]:
    """Kinds of request about judged resources among those of one group and version."""
    names = {str(one.get("name")): one for one in resources}
    judged = sorted((JUDGED_SUBRESOURCES | {SCALE}) - {""})
    found: list[Asked] = []
    for name, one in names.items():
        if not _is_judged(one, kinds):
            continue
        found += [Asked(group, name, "", operation) for operation in sorted(JUDGED_OPERATIONS)]
        found += [Asked(group, name, sub, "UPDATE") for sub in judged if f"{name}/{sub}" in names]
    return found


def plain_names(asked: Mapping[Asked, Any]) -> list[tuple[str, str]]:
    """Group and resource of each judged kind, once."""
    return list(dict.fromkeys((one.group, one.resource) for one in asked if not one.subresource))
