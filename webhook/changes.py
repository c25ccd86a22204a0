"""What is in force as a record of its own, and what changed since the last one.

A leaf of type ``configuration``: docs/formats-audit.md. Digests and names of keys stand in the leaf; beside it,
erasable, the settings and the merged policy data. Neither holds a secret: secrets come from the process's environment.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from placet.audit.log import Appended, AuditLog
from placet.audit.record import CONFIGURATION, SCHEMA
from placet.canonical import Digest, render_canonical
from placet.config import Config
from placet.policy.data import PolicyData
from placet.policy.engine import PolicyEngine
from placet.record import render_time
from webhook.loosened import find_looser_kinds, find_lost_canaries

SETTINGS_ATTACHMENT: Final = "settings"
DATA_ATTACHMENT: Final = "data"
_MAX_LISTED: Final = 64
_LONGEST_KEY: Final = 160
_MODES: Final = ("enforce", "warn", "audit")
_ROOTS: Final = "keyring.roots"
_SIGNERS: Final = "policy.bundle_keys"
_NEEDS_RESTART: Final = ("cluster", "record.", "server.", "lookups.")
# Attributes of Config whose keys in the file have other names.
_KEYS: Final = {
    "keyring_file": "keyring.file",
    "root_files": "keyring.roots",
    "root_threshold": "keyring.threshold",
    "revocations": "keyring.revocations",
    "exemptions": "keyring.exemptions",
    "store": "record.store",
    "log_key": "record.log_key",
    "next_log_key": "record.next_log_key",
    "origin": "record.origin",
    "checkpoints": "record.checkpoints",
    "persons.folder": "record.persons.folder",
    "persons.key_file": "record.persons.key_file",
    "spool.folder": "record.spool.folder",
    "spool.max_mebibytes": "record.spool.max_mebibytes",
    "spool.max_denials": "record.spool.max_denials",
    "retention.model_artifacts_days": "record.retention.model_artifacts_days",
    "retention.approval_records_days": "record.retention.approval_records_days",
    "retention.audit_logs_days": "record.retention.audit_logs_days",
    "archive.url": "record.archive.url",
    "archive.endpoint_url": "record.archive.endpoint_url",
    "archive.region": "record.archive.region",
    "archive.ca_file": "record.archive.ca_file",
    "publish.namespace": "record.publish.namespace",
    "publish.events": "record.publish.events",
    "publish.decisions": "record.publish.decisions",
    "publish.max_config_maps": "record.publish.max_config_maps",
    "publish.reports": "record.publish.reports",
    "export.namespace": "record.export.namespace",
    "export.config_map": "record.export.config_map",
    "export.kubeconfig": "record.export.kubeconfig",
    "policy.opa_timeout_s": "policy.opa_timeout_seconds",
    "policy.bundle_poll_s": "policy.bundle_poll_seconds",
    "policy.shadow.max_waiting": "policy.shadow.max_waiting_reviews",
    "policy.shadow.window_s": "policy.shadow.window_seconds",
    "canary.interval_s": "canary.interval_seconds",
    "server.drain_s": "server.drain_seconds",
    "server.max_per_address": "server.max_connections_per_address",
    "server.max_waiting": "server.max_waiting_reviews",
    "server.max_body_mib": "server.max_body_mebibytes",
    "lookups.max_age_s": "lookups.max_age_seconds",
}
_RESTART_FIELDS: Final = (
    "cluster", "store", "log_key", "next_log_key", "origin", "checkpoints", "spool", "persons", "retention",
    "archive", "publish", "export", "server", "lookups",
)  # fmt: skip


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


@dataclass(frozen=True, slots=True)
class Change:
    """What differs from what was recorded last.

    Attributes:
        keys: of the configuration, and ``data.<key>`` of the policy data, sorted.
        downgrades: those that let more through.
        first: whether nothing was recorded before.
        compared: whether what was in force before is still known key by key.
    """

    keys: tuple[str, ...]
    downgrades: tuple[Downgrade, ...]
    first: bool = False
    compared: bool = True


def flatten_config(config: Config) -> dict[str, str | int | list[str]]:
    """Every key of the configuration file with its value in force; no floating point."""
    flat = {}
    for name, value in _leaves(dataclasses.asdict(config), ""):
        if name != "file":
            flat[_KEYS.get(name, name)] = _plain(value)
    return flat


def find_restart_keys(before: Config, after: Config) -> tuple[str, ...]:
    """Keys that differ and take effect at the next start alone."""
    old, new = flatten_config(before), flatten_config(after)
    return tuple(sorted(key for key in {*old, *new} if old.get(key) != new.get(key) and key.startswith(_NEEDS_RESTART)))


def keep_restart_settings(before: Config, after: Config) -> Config:
    """The new configuration, with the settings of before where a running process can't change them."""
    return dataclasses.replace(after, **{name: getattr(before, name) for name in _RESTART_FIELDS})


def find_change(
    log: AuditLog,
    config: Config,
    data: PolicyData,
    engine: PolicyEngine,
    *,
    roots: Iterable[str],
    version: int = 0,
    signers: Iterable[str] = (),
) -> Change | None:
    """Compare with the newest record; None when nothing differs.

    Args:
        log: holds that record.
        config: what is to be in force.
        data: the same.
        engine: the same.
        roots: digests of the files that ``keyring.roots`` names; who may sign a keyring is what they say.
        version: of the signed policies; 0 where nobody has to sign.
        signers: digests of the files that ``policy.bundle_keys`` names.

    Raises:
        AuditError: the record can't be read.
    """
    newest = log.newest(CONFIGURATION)
    if newest is None:
        return Change((), (), first=True)
    settings, rules = flatten_config(config), _policy(engine, version)
    digests = (str(_digest(settings)), str(data.digest))
    given = {_ROOTS: (newest.get("roots"), _roots(roots)), _SIGNERS: (newest.get("bundle_keys", []), _roots(signers))}
    others = [key for key, (before, after) in given.items() if before != after]
    same = (newest.get("settings_digest"), newest.get("data_digest")) == digests and newest.get("policy") == rules
    if same and not others:
        return None
    old_settings = _read(log.newest_attachment(CONFIGURATION, SETTINGS_ATTACHMENT))
    old_data = _read(log.newest_attachment(CONFIGURATION, DATA_ATTACHMENT))
    former = newest.get("policy", {})
    keys = [key for key in ("revision", "version", "engine", "engine_version") if former.get(key) != rules.get(key)]
    changed = [f"policy.{key}" if key in {"revision", "version"} else key for key in keys]
    changed += others
    if old_settings is None or old_data is None:
        return Change(tuple(changed), (), compared=False)
    changed += _differing(old_settings, settings)
    changed += [f"data.{key}" for key in _differing(dict(_leaves(old_data, "")), dict(_leaves(data.value, "")))]
    downgrades = (
        *_older_policies(former.get("version", 0), version),
        *_looser_settings(old_settings, settings),
        *_downgrades(old_data, data.value),
    )
    return Change(tuple(sorted(set(changed))), downgrades)


def record_change(
    log: AuditLog,
    change: Change,
    config: Config,
    data: PolicyData,
    engine: PolicyEngine,
    *,
    roots: Iterable[str],
    moment: datetime,
    cause: str,
    version: int = 0,
    signers: Iterable[str] = (),
    pending: Iterable[str] = (),
) -> Appended:
    """Make the change a record.

    Args:
        log: to append to.
        change: of :func:`find_change`.
        config: what is in force from now on.
        data: the same.
        engine: the same.
        roots: as for :func:`find_change`.
        moment: aware UTC.
        cause: ``start`` or ``reload``.
        version: as for :func:`find_change`.
        signers: as for :func:`find_change`.
        pending: keys that have changed in the file and wait for a restart.

    Raises:
        AuditError: it could not be recorded, and must not count.
    """
    settings = flatten_config(config)
    body = {
        "schema": SCHEMA,
        "type": CONFIGURATION,
        "time": render_time(moment),
        "cluster": config.cluster,
        "cause": cause,
        "settings_digest": str(_digest(settings)),
        "data_digest": str(data.digest),
        "policy": _policy(engine, version),
        "roots": _roots(roots),
        **({"bundle_keys": keys} if (keys := _roots(signers)) else {}),
        "first": change.first,
        "compared": change.compared,
        "changed": _listed(change.keys),
        "downgrades": [
            {"key": one.key[:_LONGEST_KEY], "from": one.before, "to": one.after}
            for one in change.downgrades[:_MAX_LISTED]
        ],
        "pending_restart": _listed(pending),
    }
    kept = {SETTINGS_ATTACHMENT: render_canonical(settings), DATA_ATTACHMENT: render_canonical(data.value)}
    return log.append(body, attachments=kept)


def _looser_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Downgrade]:
    """Settings of the configuration file that let more through."""
    for key, looser in _LOOSER_SETTINGS.items():
        if looser(before.get(key), after[key]):
            yield Downgrade(key, _shown(before.get(key)), _shown(after[key]))
    yield from (Downgrade(*one) for one in find_lost_canaries(before, after))


def _downgrades(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Downgrade]:
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


_VOIDING: Final = frozenset({"companion", "name", "idle", "client", "host", "ends", "template"})
_STRENGTHS: Final = {"off": 0, "accelerated": 1, "hint": 2, "has": 3, "model": 3, "serves": 4, "server": 4}


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


def _weaker(before: Any, after: Any) -> bool:
    return before in _MODES and after in _MODES and _MODES.index(after) > _MODES.index(before)


def _position(order: Sequence[str], value: Any) -> int:
    return order.index(value) if value in order else len(order)


_COVERAGES: Final = ("strict", "detect", "labelled")
_LEVELS: Final = ("low", "medium", "high", "critical")
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


def _roots(digests: Iterable[str]) -> list[str]:
    return sorted(f"sha256:{one}" for one in digests)


def _shown(value: object) -> str:
    return ",".join(sorted(map(str, value))) if isinstance(value, list) else json.dumps(value).strip('"')


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in {*before, *after} if before.get(key) != after.get(key))


def _leaves(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from _leaves(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item


def _plain(value: Any) -> str | int | list[str]:
    match value:
        case bool() | float() | None | Path():
            return "" if value is None else str(value)
        case int() | str():
            return value
        case _:
            return [str(item) for item in value]


def _policy(engine: PolicyEngine, version: int) -> dict[str, str | int]:
    signed = {"version": version} if version else {}
    return {"revision": engine.revision, "engine": engine.name, "engine_version": engine.version, **signed}


def _older_policies(before: int, after: int) -> Iterator[Downgrade]:
    """Signed policies that are older than those of before, or are not signed any more."""
    if after < before:
        yield Downgrade("policy.version", str(before), str(after))


def _digest(settings: Mapping[str, Any]) -> Digest:
    return Digest.of(render_canonical(settings))


def _read(raw: bytes | None) -> dict[str, Any] | None:
    value = None if raw is None else json.loads(raw)
    return value if isinstance(value, dict) else None


def _listed(keys: Iterable[str]) -> list[str]:
    listed = [key[:_LONGEST_KEY] for key in keys]
    return listed if len(listed) <= _MAX_LISTED else [*listed[:_MAX_LISTED], "..."]
