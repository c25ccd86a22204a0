"""The configuration file of a gate: read once at start, every key checked, unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from placet.audit.location import StoreLocation, parse_location
from placet.audit.retention import Retention
from placet.config_bundle import require_consistent_bundle
from placet.config_parts import place, with_defaults
from placet.config_policy import PolicyConfig, build_policy
from placet.config_publish import (
    ArchiveConfig,
    ExportConfig,
    PublishConfig,
    build_archive,
    build_export,
    build_publish,
)
from placet.config_schema import SCHEMA
from placet.config_server import ServerConfig, build_server, require_consistent_server
from placet.errors import InputError
from placet.settings_file import Settings, load_settings

CONFIG_VARIABLE: Final = "PLACET_CONFIG"


@dataclass(frozen=True, slots=True)
class CanaryConfig:
    """What the gate sends to see that it is asked.

    Attributes:
        namespaces: namespace -> the environment that it belongs to; empty for no canary.
        interval_s: how often, seconds.
    """

    namespaces: Mapping[str, str]
    interval_s: float


@dataclass(frozen=True, slots=True)
class LookupsConfig:
    """What is remembered of look-ups.

    Attributes:
        cache: ``none`` or ``informer``.
        max_age_s: the oldest that what is remembered may be, seconds.
    """

    cache: str
    max_age_s: float


@dataclass(frozen=True, slots=True)
class SpoolConfig:
    """Where denials wait while the record's store is away.

    Attributes:
        folder: of the spool, or None for none.
        max_mebibytes: that the denials of one replica may take.
        max_denials: of one replica that may wait.
    """

    folder: Path | None
    max_mebibytes: int
    max_denials: int


@dataclass(frozen=True, slots=True)
class PersonsConfig:
    """What names of persons are sealed with; neither, or both.

    Attributes:
        folder: of the persons' keys, or None to keep names as they are.
        key_file: the folder's own key.
    """

    folder: Path | None
    key_file: Path | None


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is logged, and how.

    Attributes:
        level: ``debug`` | ``info`` | ``warning`` | ``error``.
        format: ``json`` or ``text``.
    """

    level: str
    format: str


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that has been checked; every path is absolute.

    Attributes:
        file: the file that it was read from.
        cluster: this cluster's name.
        keyring_file: the signed keyring.
        root_files: public keys of the roots.
        root_threshold: how many of them must have signed, 1 to ``len(root_files)``.
        revocations: folder of signed revocations, or None.
        exemptions: folder of signed exemptions, or None.
        store: SQLite file of the record, or the address of its database.
        log_key: private key that signs checkpoints.
        next_log_key: the one that is to take over and signs them too, or None.
        origin: origin line of checkpoints.
        policy: where policies are judged.
        autoscalers: ``none`` | ``unknown`` | ``lookup``.
        parents: ``none`` | ``lookup``.
        namespaces: ``none`` | ``lookup``.
        environments: ``none`` | ``lookup``.
        canary: what the gate sends to see that it is asked.
        kubeconfig: for look-ups and canaries; None means the Pod's service account.
        lookups: what is remembered of look-ups.
        server: how the webhook listens.
        log: what is logged.
        checkpoints: folder of saved checkpoints, or None.
        spool: where denials wait while the store is away.
        persons: what names in the record are sealed with.
        retention: how long what is in the record is kept, where it is pruned.
        archive: where the record is archived.
        publish: what is published of the record in the cluster.
        export: where signed checkpoints are exported to.
    """

    file: Path
    cluster: str
    keyring_file: Path
    root_files: tuple[Path, ...]
    root_threshold: int
    revocations: Path | None
    exemptions: Path | None
    store: StoreLocation
    log_key: Path
    next_log_key: Path | None
    origin: str
    policy: PolicyConfig
    autoscalers: str
    parents: str
    namespaces: str
    environments: str
    canary: CanaryConfig
    lookups: LookupsConfig
    kubeconfig: Path | None
    server: ServerConfig
    log: LogConfig
    checkpoints: Path | None
    spool: SpoolConfig
    persons: PersonsConfig
    retention: Retention
    archive: ArchiveConfig
    publish: PublishConfig
    export: ExportConfig


def load_config(file: Path) -> Config:
    """Read and check a configuration file. Paths in it are relative to its folder.

    Raises:
        ConfigError: unreadable, not YAML, a key twice, an unknown key, a wrong value, or a threshold that no keyring
            can meet; the message names the file and the line.
    """
    return build_config(load_settings(file, SCHEMA))


def build_config(settings: Settings) -> Config:
    """The configuration that checked settings mean.

    Raises:
        ConfigError: keys that do not go together, with file and line.
    """
    file, value = settings.file, settings.value
    folder = file.absolute().parent
    keyring, record, top = value["keyring"], value["record"], with_defaults(SCHEMA, value)
    policy, server = _section(value, "policy"), _section(value, "server")
    log, lookups, canary = (_section(value, name) for name in ("log", "lookups", "canary"))
    _require_consistent(settings, policy=policy, server=server)
    return Config(
        file=file.absolute(),
        cluster=value["cluster"],
        keyring_file=folder / keyring["file"],
        root_files=tuple(folder / root for root in keyring["roots"]),
        root_threshold=keyring["threshold"],
        revocations=place(folder, keyring.get("revocations")),
        exemptions=place(folder, keyring.get("exemptions")),
        store=_location(settings, folder),
        log_key=folder / record["log_key"],
        next_log_key=place(folder, record.get("next_log_key")),
        origin=record.get("origin", f"placet.dev/log/{value['cluster']}"),
        policy=build_policy(policy, folder),
        autoscalers=top["autoscalers"],
        parents=top["parents"],
        namespaces=top["namespaces"],
        environments=top["environments"],
        canary=CanaryConfig(dict(canary.get("namespaces", {})), interval_s=float(canary["interval_seconds"])),
        lookups=LookupsConfig(cache=lookups["cache"], max_age_s=float(lookups["max_age_seconds"])),
        kubeconfig=place(folder, value.get("kubeconfig")),
        server=build_server(server, folder),
        log=LogConfig(level=log["level"], format=log["format"]),
        checkpoints=place(folder, record.get("checkpoints")),
        spool=_build_spool(record.get("spool", {}), folder),
        persons=_build_persons(record.get("persons", {}), folder),
        retention=Retention(**record.get("retention", {})),
        archive=build_archive(record.get("archive", {}), folder),
        publish=build_publish(record.get("publish", {})),
        export=build_export(record.get("export", {}), folder),
    )


def _build_spool(value: dict[str, Any], folder: Path) -> SpoolConfig:
    told = with_defaults(SCHEMA["properties"]["record"]["properties"]["spool"], value)
    return SpoolConfig(
        folder=place(folder, told.get("folder")),
        max_mebibytes=told["max_mebibytes"],
        max_denials=told["max_denials"],
    )


def _build_persons(value: dict[str, Any], folder: Path) -> PersonsConfig:
    return PersonsConfig(folder=place(folder, value.get("folder")), key_file=place(folder, value.get("key_file")))


def _require_consistent(settings: Settings, *, policy: dict[str, Any], server: dict[str, Any]) -> None:
    """Keys that only go together, or only in certain numbers."""
    keyring = settings.value["keyring"]
    if keyring["threshold"] > len(keyring["roots"]):
        roots = len(keyring["roots"])
        raise settings.error(
            ("keyring", "threshold"),
            f"{keyring['threshold']} signatures can't come from {roots} roots",
            hint="Name more roots or lower the threshold.",
        )
    if (policy["engine"] == "opa") != ("opa_url" in policy):
        raise settings.error(
            ("policy", "opa_url" if "opa_url" in policy else "engine"),
            "engine opa and opa_url go together",
            hint="Give both, or neither.",
        )
    require_consistent_bundle(settings, policy)
    top = with_defaults(SCHEMA, settings.value)
    if _section(settings.value, "lookups")["cache"] != "none" and top["parents"] != "lookup":
        raise settings.error(
            ("lookups", "cache"),
            "nothing is looked up that could be remembered",
            hint="Set `parents: lookup`, or `lookups.cache: none`.",
        )
    require_consistent_server(settings, server)


def _location(settings: Settings, folder: Path) -> StoreLocation:
    try:
        return parse_location(settings.value["record"]["store"], folder=folder)
    except InputError as exc:
        raise settings.error(("record", "store"), str(exc), hint=exc.hint) from exc


def _section(value: dict[str, Any], name: str) -> dict[str, Any]:
    """A section as it was written, over the defaults that the schema names."""
    return with_defaults(SCHEMA["properties"][name], value.get(name, {}))
