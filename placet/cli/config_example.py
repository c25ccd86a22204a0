"""The example configuration, made from the schema: every key is in it, with its meaning and its default."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

_HEAD: Final = """\
# The configuration of a gate. Paths are relative to the folder of this file.
# What begins with # and no space may be left out; where there is a default, it is written.
# Secrets come from the environment alone: PLACET_LOG_KEY_PASSPHRASE,
# PLACET_NEXT_LOG_KEY_PASSPHRASE, PLACET_OPA_TOKEN, PLACET_PATH_TOKEN.
"""
# What a person would write where the schema knows no default. A test holds that nothing is missing.
_EXAMPLES: Final[Mapping[str, Any]] = {
    "cluster": "prod-eu-1",
    "keyring.file": "keyring.dsse.json",
    "keyring.roots": ["roots/root-1.pub", "roots/root-2.pub", "roots/root-3.pub"],
    "keyring.threshold": 2,
    "keyring.revocations": "revocations",
    "keyring.exemptions": "exemptions",
    "record.store": "record.sqlite",
    "record.log_key": "keys/log.key",
    "record.next_log_key": "keys/next-log.key",
    "record.origin": "placet.dev/log/prod-eu-1",
    "record.checkpoints": "/mnt/other-disk/checkpoints",
    "record.persons.folder": "/var/lib/placet/persons",
    "record.persons.key_file": "/etc/placet/persons.key",
    "record.spool.folder": "/mnt/other-disk/spool",
    "record.archive.url": "s3://records/prod-eu-1",
    "record.archive.endpoint_url": "https://s3.example.org",
    "record.archive.region": "eu-central-1",
    "record.archive.ca_file": "tls/s3-ca.crt",
    "record.publish.namespace": "placet-decisions",
    "record.export.namespace": "placet-witness",
    "record.export.kubeconfig": "other-cluster.kubeconfig",
    "policy.opa_url": "http://127.0.0.1:8181",
    "policy.opa_ca": "tls/opa-ca.crt",
    "policy.data": "policy-data.yaml",
    "policy.bundle": "policies.d",
    "policy.bundle_keys": ["release.pub"],
    "policy.bundle_rollback_to": 6,
    "policy.bundle_source": "oci://registry.example.org/team/policies:stable",
    "policy.bundle_ca": "tls/registry-ca.crt",
    "policy.shadow.bundle": "candidate.d",
    "policy.shadow.source": "oci://registry.example.org/team/policies:next",
    "policy.shadow.data": "candidate-data.yaml",
    "canary.namespaces": {"placet-canary-production": "production"},
    "kubeconfig": "kubeconfig",
    "server.tls_cert": "tls/server.crt",
    "server.tls_key": "tls/server.key",
    "server.client_ca": "tls/apiserver-ca.crt",
    "server.client_names": ["kube-apiserver"],
    "server.client_sans": ["DNS:kube-apiserver.example.org"],
    "server.status_port": 8080,
}
_WIDTH: Final = 110


def render_example(schema: Mapping[str, Any]) -> str:
    """A YAML text that is a valid configuration as it stands; each key that may be left out is a comment, ``#key:``.

    Args:
        schema: of the configuration.
    """
    return _HEAD + "\n" + "\n".join(_render(schema, "", "")) + "\n"


def _render(schema: Mapping[str, Any], prefix: str, indent: str, *, optional: bool = False) -> Iterator[str]:
    required = set() if optional else set(schema.get("required", ()))
    for name, part in schema["properties"].items():
        path = f"{prefix}{name}"
        if "properties" in part:
            # A section without a key is null, which no configuration may hold: all of it is a comment then.
            yield f"{indent}{'' if name in required else '#'}{name}:"
            yield from _render(part, f"{path}.", f"{indent}  ", optional=name not in required)
            yield ""
            continue
        yield from (
            f"{indent}# {line}" for line in textwrap.wrap(str(part.get("description", "")), _WIDTH - len(indent))
        )
        value = part["default"] if "default" in part else _EXAMPLES[path]
        yield f"{indent}{'' if name in required else '#'}{name}: {_scalar(value)}"


def _scalar(value: Any) -> str:
    """A value as YAML, in the style of JSON where that is needed."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_scalar(key)}: {_scalar(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(_scalar(one) for one in value)}]"
    if isinstance(value, str) and not value.replace(".", "", 1).isdigit() and ": " not in value:
        return value
    return json.dumps(value)
