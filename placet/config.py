"""The configuration file of a gate: read once at start, every key checked, unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from placet.audit.location import StoreLocation, parse_location
from placet.audit.retention import Retention
from placet.config_bundle import place_source, require_consistent_bundle
from placet.config_publish import ExportConfig, PublishConfig
from placet.config_schema import SCHEMA
from placet.config_server import require_consistent_server
from placet.config_shadow import ShadowConfig, build_shadow
from placet.errors import InputError
from placet.settings_file import Settings, load_settings

CONFIG_VARIABLE: Final = "PLACET_CONFIG"
_NO_SHADOW: Final = ShadowConfig()


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """Where policies are judged.

    Attributes:
        engine: ``embedded`` or ``opa``.
        opa_url: address of the OPA server, "" when embedded.
        opa_ca: authorities of its certificate; None for the system's.
        opa_bundle: ``push`` or ``pull``.
        opa_timeout_s: the longest that one answer may take.
        data: operator's policy data, or None.
        bundle: folder of the policies that judge; None for those that ship with placet.
        bundle_keys: files of the keys that may sign them; empty where no signature is asked for.
        bundle_threshold: how many of these must have signed.
        bundle_rollback_to: the one older version that is taken all the same; 0 for none.
        bundle_source: where newer ones are fetched from into ``bundle``; "" for nowhere.
        bundle_poll_s: seconds between looks there.
        bundle_ca: authorities of the certificate there; None for the system's.
        shadow: what is tried on live reviews beside all that.
    """

    engine: str
    opa_url: str
    opa_ca: Path | None
    opa_bundle: str
    opa_timeout_s: float
    data: Path | None
    bundle: Path | None = None
    bundle_keys: tuple[Path, ...] = ()
    bundle_threshold: int = 1
    bundle_rollback_to: int = 0
    bundle_source: str = ""
    bundle_poll_s: float = 60.0
    bundle_ca: Path | None = None
    shadow: ShadowConfig = _NO_SHADOW

    @property
    def tried(self) -> PolicyConfig:
        """What would be in force, were what ``shadow`` names in its place; fetched from where it says alone."""
        tried = self.shadow
        source = tried.source if tried.wanted else ""
        return replace(self, bundle=tried.bundle or self.bundle, data=tried.data or self.data, bundle_source=source)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How the webhook listens.

    Attributes:
        host: address to listen on.
        port: TCP port, TLS.
        tls_cert: serving certificate, or None when nothing is served.
        tls_key: its key.
        tls_minimum: ``1.2`` or ``1.3``.
        client_ca: authorities of callers' certificates; None when callers need none.
        client_names: names that may ask; empty without ``client_ca``.
        client_sans: alternative names with their kind, of which a caller has to have one; empty for any.
        status_port: plain HTTP port of health and metrics, or None.
        threads: reviews judged at once.
        drain_s: how long to go on serving after SIGTERM, seconds.
        max_connections: open ones.
        max_per_address: open ones of one address that have not proved who they are.
        max_waiting: reviews that wait for a thread.
        max_body_mib: memory for the bodies of all reviews at once, MiB.
    """

    host: str
    port: int
    tls_cert: Path | None
    tls_key: Path | None
    tls_minimum: str
    client_ca: Path | None
    client_names: tuple[str, ...]
    status_port: int | None
    threads: int
    drain_s: float
    client_sans: tuple[str, ...] = ()
    max_connections: int = 1024
    max_per_address: int = 256
    max_waiting: int = 256
    max_body_mib: int = 64


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
class ArchiveConfig:
    """Where the record is archived.

    Attributes:
        url: ``s3://bucket/prefix``; "" where it is not, or somebody else sees to it.
        endpoint_url: of the S3 server; "" for that of the environment.
        region: of the bucket; "" for that of the environment.
        ca_file: certificates of the server's authority, or None for those of the environment.
    """

    url: str
    endpoint_url: str
    region: str
    ca_file: Path | None


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
    # Not resolve(): a ConfigMap volume is made of links into a folder that goes away with the next update.
    folder = file.absolute().parent
    keyring, record = value["keyring"], value["record"]
    policy, server = _section(value, "policy"), _section(value, "server")
    top, log, lookups = {**_defaults(SCHEMA), **value}, _section(value, "log"), _section(value, "lookups")
    canary = _section(value, "canary")
    inner = SCHEMA["properties"]["record"]["properties"]
    spool, publish, export = (
        {**_defaults(inner[name]), **record.get(name, {})} for name in ("spool", "publish", "export")
    )

    persons, archive = record.get("persons", {}), record.get("archive", {})

    def path(text: str | None) -> Path | None:
        return None if text is None else folder / text

    _require_consistent(settings, policy=policy, server=server)
    return Config(
        file=file.absolute(),
        cluster=value["cluster"],
        keyring_file=folder / keyring["file"],
        root_files=tuple(folder / root for root in keyring["roots"]),
        root_threshold=keyring["threshold"],
        revocations=path(keyring.get("revocations")),
        exemptions=path(keyring.get("exemptions")),
        store=_location(settings, folder),
        log_key=folder / record["log_key"],
        next_log_key=path(record.get("next_log_key")),
        origin=record.get("origin", f"placet.dev/log/{value['cluster']}"),
        policy=PolicyConfig(
            engine=policy["engine"],
            opa_url=policy.get("opa_url", ""),
            opa_ca=path(policy.get("opa_ca")),
            opa_bundle=policy["opa_bundle"],
            opa_timeout_s=float(policy["opa_timeout_seconds"]),
            data=path(policy.get("data")),
            bundle=path(policy.get("bundle")),
            bundle_keys=tuple(folder / key for key in policy.get("bundle_keys", ())),
            bundle_threshold=policy["bundle_threshold"],
            bundle_rollback_to=policy.get("bundle_rollback_to", 0),
            bundle_source=place_source(policy.get("bundle_source", ""), folder),
            bundle_poll_s=float(policy["bundle_poll_seconds"]),
            bundle_ca=path(policy.get("bundle_ca")),
            shadow=build_shadow(policy.get("shadow", {}), folder),
        ),
        autoscalers=top["autoscalers"],
        parents=top["parents"],
        namespaces=top["namespaces"],
        environments=top["environments"],
        canary=CanaryConfig(
            namespaces=dict(canary.get("namespaces", {})), interval_s=float(canary["interval_seconds"])
        ),
        lookups=LookupsConfig(cache=lookups["cache"], max_age_s=float(lookups["max_age_seconds"])),
        kubeconfig=path(value.get("kubeconfig")),
        server=ServerConfig(
            host=server["host"],
            port=server["port"],
            tls_cert=path(server.get("tls_cert")),
            tls_key=path(server.get("tls_key")),
            tls_minimum=server["tls_minimum"],
            client_ca=path(server.get("client_ca")),
            client_names=tuple(server.get("client_names", ())),
            status_port=server.get("status_port"),
            threads=server["threads"],
            drain_s=float(server["drain_seconds"]),
            client_sans=tuple(server.get("client_sans", ())),
            max_connections=server["max_connections"],
            max_per_address=server["max_connections_per_address"],
            max_waiting=server["max_waiting_reviews"],
            max_body_mib=server["max_body_mebibytes"],
        ),
        log=LogConfig(level=log["level"], format=log["format"]),
        checkpoints=path(record.get("checkpoints")),
        spool=SpoolConfig(
            folder=path(spool.get("folder")),
            max_mebibytes=spool["max_mebibytes"],
            max_denials=spool["max_denials"],
        ),
        persons=PersonsConfig(folder=path(persons.get("folder")), key_file=path(persons.get("key_file"))),
        retention=Retention(**record.get("retention", {})),
        archive=ArchiveConfig(
            url=archive.get("url", ""),
            endpoint_url=archive.get("endpoint_url", ""),
            region=archive.get("region", ""),
            ca_file=path(archive.get("ca_file")),
        ),
        publish=PublishConfig(
            namespace=publish.get("namespace", ""),
            events=publish["events"],
            decisions=publish["decisions"],
            max_config_maps=publish["max_config_maps"],
            reports=publish["reports"],
        ),
        export=ExportConfig(
            namespace=export.get("namespace", ""),
            config_map=export["config_map"],
            kubeconfig=path(export.get("kubeconfig")),
        ),
    )


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
    top = {**_defaults(SCHEMA), **settings.value}
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
    return {**_defaults(SCHEMA["properties"][name]), **value.get(name, {})}


def _defaults(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: part["default"] for name, part in schema["properties"].items() if "default" in part}
