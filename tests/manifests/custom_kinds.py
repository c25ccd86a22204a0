"""Schemas for the kinds of other projects that the chart writes: the fields that it uses, and no others.

Sources: cert-manager.io/v1 (Certificate, Issuer) and monitoring.coreos.com/v1 (ServiceMonitor, PrometheusRule).
"""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final = {"type": "string", "minLength": 1}
_TEXTS: Final = {"type": "array", "minItems": 1, "items": _TEXT}
_DURATION: Final = {"type": "string", "pattern": "^([0-9]+(h|m|s))+$"}
_LABELS: Final = {"type": "object", "additionalProperties": {"type": "string"}}


def _exact(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": required}


def _kind(api_version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = _exact({"name": _TEXT, "namespace": _TEXT, "labels": _LABELS})
    fields = {"apiVersion": {"const": api_version}, "kind": {"const": kind}, "metadata": metadata, "spec": spec}
    return _exact(fields)


_ALERT: Final = _exact(
    {
        "alert": _TEXT,
        "expr": _TEXT,
        "for": _DURATION,
        "labels": _exact({"severity": {"enum": ["critical", "warning"]}}),
        "annotations": _exact({"summary": _TEXT}),
    },
    "for",
)
_ALERTS: Final = {"type": "array", "minItems": 1, "items": _ALERT}

SCHEMAS: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("cert-manager.io/v1", "Issuer"): _kind("cert-manager.io/v1", "Issuer", _exact({"selfSigned": _exact({})})),
    ("cert-manager.io/v1", "Certificate"): _kind(
        "cert-manager.io/v1",
        "Certificate",
        _exact(
            {
                "secretName": _TEXT,
                "duration": _DURATION,
                "renewBefore": _DURATION,
                "dnsNames": _TEXTS,
                "privateKey": _exact(
                    {
                        "algorithm": {"enum": ["RSA", "ECDSA", "Ed25519"]},
                        "size": {"type": "integer"},
                        "rotationPolicy": {"enum": ["Never", "Always"]},
                    }
                ),
                "usages": {"type": "array", "items": {"enum": ["digital signature", "server auth"]}},
                "issuerRef": _exact({"name": _TEXT, "kind": {"enum": ["Issuer", "ClusterIssuer"]}}),
            }
        ),
    ),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): _kind(
        "monitoring.coreos.com/v1",
        "ServiceMonitor",
        _exact(
            {
                "selector": _exact({"matchLabels": _LABELS}),
                "endpoints": {
                    "type": "array",
                    "minItems": 1,
                    "items": _exact({"port": _TEXT, "path": _TEXT, "interval": _DURATION}),
                },
            }
        ),
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _kind(
        "monitoring.coreos.com/v1",
        "PrometheusRule",
        _exact(
            {"groups": {"type": "array", "items": _exact({"name": _TEXT, "rules": {"type": "array", "items": _ALERT}})}}
        ),
    ),
}
