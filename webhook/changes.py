"""What is in force as a record of its own, and what changed since the last one.

A leaf of type ``configuration``: docs/formats-audit.md. Digests and names of keys stand in the leaf; beside it,
erasable, the settings and the merged policy data. Neither holds a secret: secrets come from the process's environment.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
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
from webhook.downgrades import Downgrade, find_downgrades, find_looser_settings, find_older_policies

SETTINGS_ATTACHMENT: Final = "settings"
DATA_ATTACHMENT: Final = "data"
_MAX_LISTED: Final = 64
_LONGEST_KEY: Final = 160
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
        *find_older_policies(former.get("version", 0), version),
        *find_looser_settings(old_settings, settings),
        *find_downgrades(old_data, data.value),
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


def _roots(digests: Iterable[str]) -> list[str]:
    return sorted(f"sha256:{one}" for one in digests)


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


def _digest(settings: Mapping[str, Any]) -> Digest:
    return Digest.of(render_canonical(settings))


def _read(raw: bytes | None) -> dict[str, Any] | None:
    value = None if raw is None else json.loads(raw)
    return value if isinstance(value, dict) else None


def _listed(keys: Iterable[str]) -> list[str]:
    listed = [key[:_LONGEST_KEY] for key in keys]
    return listed if len(listed) <= _MAX_LISTED else [*listed[:_MAX_LISTED], "..."]
