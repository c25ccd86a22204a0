"""The configuration file of a gate: read once at start, every key checked, unknown keys refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from placet.config_server import SERVER_SCHEMA, require_consistent_server
from placet.settings_file import Settings, load_settings

CONFIG_VARIABLE: Final = "PLACET_CONFIG"
CLUSTER_PATTERN: Final = "^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"
_NAME: Final = {"type": "string", "pattern": CLUSTER_PATTERN}
_PATH: Final = {"type": "string", "minLength": 1}

SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "placet configuration",
    "type": "object",
    "additionalProperties": False,
    "required": ["cluster", "keyring", "record"],
    "properties": {
        "cluster": {**_NAME, "description": "The cluster's name, as approvals' audiences write it."},
        "keyring": {
            "type": "object",
            "additionalProperties": False,
            "required": ["file", "roots", "threshold"],
            "properties": {
                "file": {**_PATH, "description": "The signed keyring."},
                "roots": {
                    "type": "array",
                    "minItems": 1,
                    "uniqueItems": True,
                    "items": _PATH,
                    "description": "Public key files (PEM) of the roots that may sign a keyring.",
                },
                "threshold": {"type": "integer", "minimum": 1, "description": "How many must have signed."},
                "revocations": {**_PATH, "description": "Folder of signed revocations."},
            },
        },
        "record": {
            "type": "object",
            "additionalProperties": False,
            "required": ["store", "log_key"],
            "properties": {
                "store": {**_PATH, "description": "SQLite file of the log."},
                "log_key": {**_PATH, "description": "Private key (PEM) that signs checkpoints."},
                "origin": {
                    "type": "string",
                    "minLength": 1,
                    "description": "Origin line of checkpoints; placet.dev/log/<cluster> by default.",
                },
            },
        },
        "policy": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "engine": {
                    "enum": ["embedded", "opa"],
                    "default": "embedded",
                    "description": "embedded (Wasm, in process) or opa (a server).",
                },
                "opa_url": {"type": "string", "pattern": "^https?://", "description": "Address of the OPA server."},
                "opa_ca": {**_PATH, "description": "Authorities (PEM) of OPA's certificate; the system's without it."},
                "opa_bundle": {
                    "enum": ["push", "pull"],
                    "default": "pull",
                    "description": "push: the gate gives OPA its policies and data; pull: OPA has the bundle from "
                    "elsewhere, and the gate gives it the data and compares.",
                },
                "opa_timeout_seconds": {
                    "type": "number",
                    "minimum": 0.05,
                    "maximum": 10,
                    "default": 2.0,
                    "description": "The longest that one answer of OPA may take.",
                },
                "data": {**_PATH, "description": "Your policy data, merged over the defaults."},
            },
        },
        "autoscalers": {
            "enum": ["none", "unknown", "lookup"],
            "default": "unknown",
            "description": "Where replica ceilings come from: no autoscaler is used, unknown (the worst is assumed), "
            "or a look-up at the API server.",
        },
        "parents": {
            "enum": ["none", "lookup"],
            "default": "none",
            "description": "Whether what belongs to another object (a controller's Pod, a scale) is judged by that "
            "object, looked up at the API server, or like any other object.",
        },
        "namespaces": {
            "enum": ["none", "lookup"],
            "default": "none",
            "description": "Whether the workloads of a namespace that is moved to another environment are counted, at "
            "the API server.",
        },
        "kubeconfig": {**_PATH, "description": "For look-ups at the API server; the service account without it."},
        "server": SERVER_SCHEMA,
        "log": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "level": {
                    "enum": ["debug", "info", "warning", "error"],
                    "default": "info",
                    "description": "The least that is logged.",
                },
                "format": {
                    "enum": ["json", "text"],
                    "default": "json",
                    "description": "One JSON object a line, or plain text.",
                },
            },
        },
    },
}


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
    """

    engine: str
    opa_url: str
    opa_ca: Path | None
    opa_bundle: str
    opa_timeout_s: float
    data: Path | None


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
        store: SQLite file of the record.
        log_key: private key that signs checkpoints.
        origin: origin line of checkpoints.
        policy: where policies are judged.
        autoscalers: ``none`` | ``unknown`` | ``lookup``.
        parents: ``none`` | ``lookup``.
        namespaces: ``none`` | ``lookup``.
        kubeconfig: for look-ups; None means the Pod's service account.
        server: how the webhook listens.
        log: what is logged.
    """

    file: Path
    cluster: str
    keyring_file: Path
    root_files: tuple[Path, ...]
    root_threshold: int
    revocations: Path | None
    store: Path
    log_key: Path
    origin: str
    policy: PolicyConfig
    autoscalers: str
    parents: str
    namespaces: str
    kubeconfig: Path | None
    server: ServerConfig
    log: LogConfig


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
    top, log = {**_defaults(SCHEMA), **value}, _section(value, "log")

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
        store=folder / record["store"],
        log_key=folder / record["log_key"],
        origin=record.get("origin", f"placet.dev/log/{value['cluster']}"),
        policy=PolicyConfig(
            engine=policy["engine"],
            opa_url=policy.get("opa_url", ""),
            opa_ca=path(policy.get("opa_ca")),
            opa_bundle=policy["opa_bundle"],
            opa_timeout_s=float(policy["opa_timeout_seconds"]),
            data=path(policy.get("data")),
        ),
        autoscalers=top["autoscalers"],
        parents=top["parents"],
        namespaces=top["namespaces"],
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
    require_consistent_server(settings, server)


def _section(value: dict[str, Any], name: str) -> dict[str, Any]:
    """A section as it was written, over the defaults that the schema names."""
    return {**_defaults(SCHEMA["properties"][name]), **value.get(name, {})}


def _defaults(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: part["default"] for name, part in schema["properties"].items() if "default" in part}
