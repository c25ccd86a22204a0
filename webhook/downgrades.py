"""Which settings let more through than those before them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from webhook.loosened import find_looser_kinds, find_lost_canaries

_MODES: Final = ("enforce", "warn", "audit")
_COVERAGES: Final = ("strict", "detect", "labelled")
_LEVELS: Final = ("low", "medium", "high", "critical")
_VOIDING: Final = frozenset({"companion", "name", "idle", "client", "host", "ends", "template"})
_STRENGTHS: Final = {"off": 0, "accelerated": 1, "hint": 2, "has": 3, "model": 3, "serves": 4, "server": 4}


@dataclass(frozen=True, slots=True)
class Downgrade:
    """A setting that lets more through than before.

    Attributes:
        key: as in the policy data, ``environments.production.mode``.
        before: its value before.
        after: its value now.
    """

    key: str
    before: str
    after: str


def find_looser_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Downgrade]:
    """Settings of the configuration file that let more through."""
    for key, looser in _LOOSER_SETTINGS.items():
        if looser(before.get(key), after[key]):
            yield Downgrade(key, _shown(before.get(key)), _shown(after[key]))
    yield from (Downgrade(*one) for one in find_lost_canaries(before, after))


def find_downgrades(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Downgrade]:
    """Settings of environments, levels, Namespaces and rules that let more through; one that is new has no before."""
    for name, old in sorted(before.get("environments", {}).items()):
        new = after["environments"].get(name)
        for key, looser in _LOOSER.items():
            if new is not None and looser(old.get(key), new.get(key)):
                yield Downgrade(f"environments.{name}.{key}", _shown(old.get(key)), _shown(new.get(key)))
    yield from _less_detected(before.get("detection"), after["detection"])
    yield from (Downgrade(*one) for one in find_looser_kinds(before.get("kinds"), after["kinds"]))
    for level, roles in sorted(before.get("risk_approvals", {}).items()):
        if not set(roles) <= set(after["risk_approvals"][level]):
            yield Downgrade(f"risk_approvals.{level}", _shown(roles), _shown(after["risk_approvals"][level]))
    yield from _looser_namespaces(before.get("namespaces", {}), after["namespaces"])
    yield from _looser_exemptions(before.get("exemptions", {}), after["exemptions"])
    for key, value in sorted(after["break_glass"].items()):
        was = before.get("break_glass", {}).get(key)
        if was is not None and value > was:  # a token that holds longer, or a later review
            yield Downgrade(f"break_glass.{key}", _shown(was), _shown(value))
    old_rules, new_rules = before.get("rules", {}), after["rules"]
    # Without a mode of its own a rule has that of the environment, of each at least one now.
    modes = [one["mode"] for one in after["environments"].values()]
    for rule in sorted({*old_rules, *new_rules}):
        old_mode, new_mode = old_rules.get(rule, {}).get("mode", ""), new_rules.get(rule, {}).get("mode", "")
        if old_mode != new_mode and any(_weaker(old_mode or mode, new_mode or mode) for mode in modes):
            yield Downgrade(f"rules.{rule}.mode", old_mode, new_mode)


def _less_detected(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Iterator[Downgrade]:
    """Entries of detection that find less, or void more; a record of a release without detection had no tables."""
    if before is None:
        return
    for table, entries in sorted(after.items()):
        old = before.get(table, {})
        for key in sorted({*old, *entries}):
            was, now = old.get(key, "off"), entries.get(key, "off")
            if _strength(now) < _strength(was):
                yield Downgrade(f"detection.{table}.{key}", was, now)


def _strength(meaning: str) -> int:
    """How much an entry of detection does for finding a model; less than nothing for one that voids."""
    return -1 if meaning in _VOIDING else _STRENGTHS.get(meaning.partition(":")[0], 1)


def _looser_namespaces(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Downgrade]:
    """Settings of the guard of Namespaces that let more through; before it came, nothing was guarded."""
    flat = [{**old, **old.get("labellers", {})}, {**new, **new["labellers"]}]
    for key, looser in _LOOSER_NAMESPACES.items():
        before, after = (one.get(key) for one in flat)
        if old and looser(before, after):
            name = f"labellers.{key}" if key in new["labellers"] else key
            yield Downgrade(f"namespaces.{name}", _shown(before), _shown(after))


def _looser_exemptions(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Downgrade]:
    """Limits of exemptions that let more through; before they came, nothing was exempted."""
    for key, was in sorted(old.items()):
        if (new[key] > was) if key == "max_days" else (new[key] < was):
            yield Downgrade(f"exemptions.{key}", _shown(was), _shown(new[key]))


def find_older_policies(before: int, after: int) -> Iterator[Downgrade]:
    """Signed policies that are older than those of before, or are not signed any more."""
    if after < before:
        yield Downgrade("policy.version", str(before), str(after))


def _shown(value: object) -> str:
    return ",".join(sorted(map(str, value))) if isinstance(value, list) else json.dumps(value).strip('"')


def _weaker(before: Any, after: Any) -> bool:
    return before in _MODES and after in _MODES and _MODES.index(after) > _MODES.index(before)


def _position(order: Sequence[str], value: Any) -> int:
    return order.index(value) if value in order else len(order)


_LOOSER: Final[Mapping[str, Any]] = {
    "mode": _weaker,
    "coverage": lambda before, after: _position(_COVERAGES, after) > _position(_COVERAGES, before),
    "suspected": lambda before, after: before == "govern" and after != before,
    "accept_declared": lambda before, after: after and not before,
    "pin_images": lambda before, after: before and not after,
    "approvals": lambda before, after: not set(before or ()) <= set(after),
    "bindings": lambda before, after: not set(before or ()) <= set(after),
    "max_level": lambda before, after: _LEVELS.index(after) > _LEVELS.index(before),
}


_LOOSER_NAMESPACES: Final[Mapping[str, Any]] = {
    "mode": _weaker,
    "move": lambda before, after: (before, after) == ("refuse", "warn"),
    # Another default judges namespaces without the label by other rules; which are milder is not for us to say.
    "default_environment": lambda before, after: before is not None and after != before,
    "users": lambda before, after: not set(after) <= set(before or ()),
    "groups": lambda before, after: not set(after) <= set(before or ()),
}
_LOOSER_SETTINGS: Final[Mapping[str, Any]] = {
    "autoscalers": lambda before, after: after == "none" and before not in {"none", None},
    "environments": lambda before, after: (before, after) == ("lookup", "none"),
    "canary.interval_seconds": lambda before, after: before is not None and float(after) > float(before),
    "lookups.cache": lambda before, after: after == "informer" != before,
    "keyring.revocations": lambda before, after: before and not after,
    "keyring.exemptions": lambda before, after: after and before != after,
    "record.checkpoints": lambda before, after: before and before != after,
    "record.persons.folder": lambda before, after: before and not after,
    "record.archive.url": lambda before, after: before and not after,
    "record.retention.model_artifacts_days": lambda before, after: before is not None and after < before,
    "record.retention.approval_records_days": lambda before, after: before is not None and after < before,
    "record.retention.audit_logs_days": lambda before, after: before is not None and after < before,
    "record.export.namespace": lambda before, after: before and before != after,
    "keyring.threshold": lambda before, after: before is not None and after < before,
    # From those that ship to those of a folder, which somebody else may write to; and fewer who have to stand for them.
    "policy.bundle": lambda before, after: after and before != after,
    "policy.bundle_keys": lambda before, after: before and (not after or not set(after) <= set(before)),
    "policy.bundle_threshold": lambda before, after: before is not None and after < before,
    "policy.bundle_rollback_to": lambda before, after: after and before != after,
    "server.client_names": lambda before, after: before and not (after and set(after) <= set(before)),
    "server.client_sans": lambda before, after: before and not (after and set(after) <= set(before)),
}
