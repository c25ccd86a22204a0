"""The keys of the configuration file for what a cluster is shown of the record, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from placet.config_parts import place, with_defaults

_NAMESPACE: Final = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}

PUBLISH_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["namespace"],
    "properties": {
        "namespace": {
            **_NAMESPACE,
            "description": "Namespace of the ConfigMaps with decisions, and of the Lease that says which replica "
            "publishes; one for each log, and better not the gate's own. Without it nothing is published.",
        },
        "events": {
            "type": "boolean",
            "default": True,
            "description": "Whether refusals and break-glass become Events in the namespace of the workload.",
        },
        "decisions": {
            "type": "integer",
            "minimum": 0,
            "maximum": 50,
            "default": 10,
            "description": "How many of its last decisions the ConfigMap of a workload has; 0 for no ConfigMaps.",
        },
        "max_config_maps": {
            "type": "integer",
            "minimum": 1,
            "maximum": 5000,
            "default": 500,
            "description": "The most of these ConfigMaps; the oldest go.",
        },
        "reports": {
            "type": "boolean",
            "default": True,
            "description": "Whether workloads get reports (openreports.io, wgpolicyk8s.io), where these are installed.",
        },
    },
}

ARCHIVE_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["url"],
    "properties": {
        "url": {
            "type": "string",
            "pattern": "^s3://[^/]+/.+$",
            "description": "Where `placet audit archive` puts the record, s3://BUCKET/PREFIX. `placet audit prune` "
            "removes nothing that this archive does not hold.",
        },
        "endpoint_url": {
            "type": "string",
            "pattern": "^https?://[^@]+$",
            "description": "S3 server; by default AWS_ENDPOINT_URL, else Amazon's.",
        },
        "region": {"type": "string", "minLength": 1, "description": "Region of the bucket; by default AWS_REGION."},
        "ca_file": {
            "type": "string",
            "minLength": 1,
            "description": "Certificates (PEM) of the authority of the server's certificate; by default those of "
            "AWS_CA_BUNDLE.",
        },
    },
}
EXPORT_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["namespace"],
    "properties": {
        "namespace": {
            **_NAMESPACE,
            "description": "Namespace of a ConfigMap with the newest signed checkpoint, with which the record is "
            "compared at the start. Without it none is exported.",
        },
        "config_map": {
            "type": "string",
            "pattern": "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$",
            "default": "placet-checkpoint",
            "description": "Its name; one for each log.",
        },
        "kubeconfig": {
            "type": "string",
            "minLength": 1,
            "description": "Of the cluster that it is exported to, best another one; as `kubeconfig` without it.",
        },
    },
}


@dataclass(frozen=True, slots=True)
class PublishConfig:
    """What is published of the record in the cluster.

    Attributes:
        namespace: of the ConfigMaps and the Lease; "" where nothing is published.
        events: whether Events are written.
        decisions: of one workload that are shown; 0 for none.
        max_config_maps: at once.
        reports: whether reports are written.
    """

    namespace: str
    events: bool
    decisions: int
    max_config_maps: int
    reports: bool


@dataclass(frozen=True, slots=True)
class ExportConfig:
    """Where signed checkpoints are exported to.

    Attributes:
        namespace: of the ConfigMap; "" for none.
        config_map: its name.
        kubeconfig: of the cluster, or None for that of look-ups.
    """

    namespace: str
    config_map: str
    kubeconfig: Path | None


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


def build_publish(value: dict[str, Any]) -> PublishConfig:
    """The section ``record.publish`` as it was written; empty for none."""
    told = with_defaults(PUBLISH_SCHEMA, value)
    return PublishConfig(
        namespace=told.get("namespace", ""),
        events=told["events"],
        decisions=told["decisions"],
        max_config_maps=told["max_config_maps"],
        reports=told["reports"],
    )


def build_export(value: dict[str, Any], folder: Path) -> ExportConfig:
    """The section ``record.export`` as it was written; empty for none. Paths are relative to the folder."""
    told = with_defaults(EXPORT_SCHEMA, value)
    return ExportConfig(
        namespace=told.get("namespace", ""),
        config_map=told["config_map"],
        kubeconfig=place(folder, told.get("kubeconfig")),
    )


def build_archive(value: dict[str, Any], folder: Path) -> ArchiveConfig:
    """The section ``record.archive`` as it was written; empty for none. Paths are relative to the folder."""
    return ArchiveConfig(
        url=value.get("url", ""),
        endpoint_url=value.get("endpoint_url", ""),
        region=value.get("region", ""),
        ca_file=place(folder, value.get("ca_file")),
    )
