"""The configuration file of a gate: read once at start, every key checked, unknown keys refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import yaml

from placet.errors import ConfigError

CONFIG_VARIABLE: Final = "PLACET_CONFIG"
DEFAULT_PORT: Final = 8443
_NAME: Final = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"}
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
                    "description": "embedded (Wasm, in process) or opa (a server).",
                },
                "opa_url": {"type": "string", "pattern": "^https?://", "description": "Address of the OPA server."},
                "data": {**_PATH, "description": "Your policy data, merged over the defaults."},
            },
        },
        "autoscalers": {
            "enum": ["none", "unknown", "lookup"],
            "description": "Where replica ceilings come from: no autoscaler is used, unknown (the worst is assumed), "
            "or a look-up at the API server.",
        },
        "kubeconfig": {**_PATH, "description": "For autoscalers: lookup; the service account is used without it."},
        "server": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "host": {"type": "string", "description": "Address to listen on."},
                "port": {"type": "integer", "minimum": 1, "maximum": 65535},
                "tls_cert": {**_PATH, "description": "Serving certificate (PEM, with its chain)."},
                "tls_key": {**_PATH, "description": "Its private key (PEM)."},
                "threads": {"type": "integer", "minimum": 1, "maximum": 64, "description": "Reviews judged at once."},
            },
        },
    },
}


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
        engine: ``embedded`` or ``opa``.
        opa_url: address of the OPA server, "" when embedded.
        policy_data: operator's policy data, or None.
        autoscalers: ``none`` | ``unknown`` | ``lookup``.
        kubeconfig: for ``lookup``; None means the Pod's service account.
        host: address to listen on.
        port: TCP port.
        tls_cert: serving certificate, or None when nothing is served.
        tls_key: its key.
        threads: reviews judged at once.
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
    engine: str
    opa_url: str
    policy_data: Path | None
    autoscalers: str
    kubeconfig: Path | None
    host: str
    port: int
    tls_cert: Path | None
    tls_key: Path | None
    threads: int


def load_config(file: Path) -> Config:
    """Read and check a configuration file. Paths in it are relative to its folder.

    Raises:
        ConfigError: unreadable, not YAML, an unknown key, a wrong value, or a threshold that no keyring can meet.
    """
    try:
        value = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(
            f"{file}: can't be read: {exc.strerror}", hint="placet init writes a configuration to start from."
        ) from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{file}: not YAML: {str(exc).splitlines()[-1].strip()}") from exc
    problems = [_describe(error) for error in jsonschema_rs.validator_for(SCHEMA).iter_errors(value)]
    if problems:
        raise ConfigError(f"{file}: {'; '.join(problems)}", hint="docs/formats.md lists every key.")
    return _build(file, value)


def _describe(error: jsonschema_rs.ValidationError) -> str:
    where = ".".join(str(part) for part in error.instance_path)
    return f"{where}: {error.message}" if where else error.message


def _build(file: Path, value: dict[str, Any]) -> Config:
    folder = file.resolve().parent
    keyring, record = value["keyring"], value["record"]
    policy, server = value.get("policy", {}), value.get("server", {})

    def path(text: str | None) -> Path | None:
        return None if text is None else folder / text

    if keyring["threshold"] > len(keyring["roots"]):
        roots = len(keyring["roots"])
        raise ConfigError(
            f"{file}: keyring.threshold: {keyring['threshold']} signatures can't come from {roots} roots",
            hint="Name more roots or lower the threshold.",
        )
    engine = policy.get("engine", "embedded")
    if (engine == "opa") != ("opa_url" in policy):
        raise ConfigError(f"{file}: policy: engine opa and opa_url go together", hint="Give both, or neither.")
    if ("tls_cert" in server) != ("tls_key" in server):
        raise ConfigError(f"{file}: server: tls_cert goes with tls_key")
    return Config(
        file=file.resolve(),
        cluster=value["cluster"],
        keyring_file=folder / keyring["file"],
        root_files=tuple(folder / root for root in keyring["roots"]),
        root_threshold=keyring["threshold"],
        revocations=path(keyring.get("revocations")),
        store=folder / record["store"],
        log_key=folder / record["log_key"],
        origin=record.get("origin", f"placet.dev/log/{value['cluster']}"),
        engine=engine,
        opa_url=policy.get("opa_url", ""),
        policy_data=path(policy.get("data")),
        autoscalers=value.get("autoscalers", "unknown"),
        kubeconfig=path(value.get("kubeconfig")),
        host=server.get("host", "127.0.0.1"),
        port=server.get("port", DEFAULT_PORT),
        tls_cert=path(server.get("tls_cert")),
        tls_key=path(server.get("tls_key")),
        threads=server.get("threads", 4),
    )
