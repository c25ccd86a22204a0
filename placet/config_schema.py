"""The JSON Schema of the configuration file: every key, with what it is for."""

from __future__ import annotations

from typing import Any, Final

from placet.audit.retention import APPROVAL_RECORDS_DAYS, AUDIT_LOGS_DAYS, MAX_DAYS, MIN_DAYS, MODEL_ARTIFACTS_DAYS
from placet.config_bundle import BUNDLE_SCHEMA
from placet.config_publish import ARCHIVE_SCHEMA, EXPORT_SCHEMA, PUBLISH_SCHEMA
from placet.config_server import SERVER_SCHEMA

CLUSTER_PATTERN: Final = "^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"
CANARY_NAMESPACE_PATTERN: Final = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_NAME: Final = {"type": "string", "pattern": CLUSTER_PATTERN}
_PATH: Final = {"type": "string", "minLength": 1}
_TERM: Final = {"type": "integer", "minimum": MIN_DAYS, "maximum": MAX_DAYS}

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
                "exemptions": {**_PATH, "description": "Folder of signed exemptions."},
            },
        },
        "record": {
            "type": "object",
            "additionalProperties": False,
            "required": ["store", "log_key"],
            "properties": {
                "store": {
                    **_PATH,
                    "description": "SQLite file of the log, or the `postgresql://` address of its database; never "
                    "with a password.",
                },
                "log_key": {**_PATH, "description": "Private key (PEM) that signs checkpoints."},
                "next_log_key": {
                    **_PATH,
                    "description": "While keys are changed: the private key that takes over, and signs them as well.",
                },
                "origin": {
                    "type": "string",
                    "minLength": 1,
                    "description": "Origin line of checkpoints; placet.dev/log/<cluster> by default.",
                },
                "checkpoints": {
                    **_PATH,
                    "description": "Folder into which each signed checkpoint is written, and with which the record is "
                    "compared at the start; on another volume than the store.",
                },
                "persons": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["folder", "key_file"],
                    "properties": {
                        "folder": {
                            **_PATH,
                            "description": "Folder with a key for each person; names in decisions are sealed with "
                            "them, and erased by destroying one. Of all replicas the same. Without it names are kept "
                            "as they are.",
                        },
                        "key_file": {
                            **_PATH,
                            "description": "File with the folder's own key: base64 of 32 random bytes.",
                        },
                    },
                },
                "spool": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["folder"],
                    "properties": {
                        "folder": {
                            **_PATH,
                            "description": "Folder in which denials wait while the store is away; on another volume "
                            "than the store. Without it they are logged alone.",
                        },
                        "max_mebibytes": {
                            "type": "integer",
                            "minimum": 1,
                            "maximum": 16384,
                            "default": 64,
                            "description": "The most that the denials of one replica may take, MiB.",
                        },
                        "max_denials": {
                            "type": "integer",
                            "minimum": 1,
                            "maximum": 1000000,
                            "default": 10000,
                            "description": "The most denials of one replica that may wait.",
                        },
                    },
                },
                "retention": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "model_artifacts_days": {
                            **_TERM,
                            "default": MODEL_ARTIFACTS_DAYS,
                            "description": "How long `placet audit prune` leaves what was judged, and the content of "
                            "workloads, beside decisions; days.",
                        },
                        "approval_records_days": {
                            **_TERM,
                            "default": APPROVAL_RECORDS_DAYS,
                            "description": "How long it leaves decisions, and what was signed for them; days.",
                        },
                        "audit_logs_days": {
                            **_TERM,
                            "default": AUDIT_LOGS_DAYS,
                            "description": "How long it leaves what the log says about itself, and keyrings, policies "
                            "and configurations that no decision needs any more; days.",
                        },
                    },
                },
                "archive": ARCHIVE_SCHEMA,
                "publish": PUBLISH_SCHEMA,
                "export": EXPORT_SCHEMA,
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
                **BUNDLE_SCHEMA,
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
        "environments": {
            "enum": ["none", "lookup"],
            "default": "none",
            "description": "Whether the environment of a request's path is held against the one that its Namespace "
            "says at the API server, or the path is believed.",
        },
        "canary": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "namespaces": {
                    "type": "object",
                    "maxProperties": 64,
                    "propertyNames": {"pattern": CANARY_NAMESPACE_PATTERN},
                    "additionalProperties": {"type": "string", "minLength": 1},
                    "description": "Namespaces into which a workload that nobody approved is sent as a dry run, each "
                    "with the environment that it belongs to. None by default.",
                },
                "interval_seconds": {
                    "type": "number",
                    "minimum": 1,
                    "maximum": 86400,
                    "default": 300.0,
                    "description": "How often.",
                },
            },
        },
        "lookups": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "cache": {
                    "enum": ["none", "informer"],
                    "default": "none",
                    "description": "informer: what a controller of a Pod belongs to itself is remembered, kept up by a "
                    "watch, and asked for where that does not confirm it. none: it is asked for each time.",
                },
                "max_age_seconds": {
                    "type": "number",
                    "minimum": 10,
                    "maximum": 60,
                    "default": 15.0,
                    "description": "The oldest that what is remembered may be; the API server is asked beyond it.",
                },
            },
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
