"""The kinds of report as this project uses them: which fields there are, of which type, and with which words.

Source: the reference of openreports.io/v1alpha1 and wgpolicyk8s.io/v1alpha2. What is not listed, an API server drops.
"""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "integer"}
_REFERENCE: Final = {
    "type": "object",
    "properties": dict.fromkeys(("apiVersion", "kind", "namespace", "name", "uid"), _TEXT),
}
_RESULT: Final = {
    "type": "object",
    "required": ["policy"],
    "properties": {
        **dict.fromkeys(("policy", "rule", "category", "source", "message"), _TEXT),
        "result": {"type": "string", "enum": ["pass", "fail", "warn", "error", "skip"]},
        "severity": {"type": "string", "enum": ["critical", "high", "medium", "low", "info"]},
        "scored": {"type": "boolean"},
        "timestamp": {
            "type": "object",
            "required": ["seconds", "nanos"],
            "properties": {
                "seconds": {"type": "integer", "format": "int64"},
                "nanos": {"type": "integer", "format": "int32"},
            },
        },
        "properties": {"type": "object", "additionalProperties": _TEXT},
        "resources": {"type": "array", "items": _REFERENCE},
    },
}
_SUMMARY: Final = {
    "type": "object",
    "properties": dict.fromkeys(("pass", "fail", "warn", "error", "skip"), _NUMBER),
}


def definition(group: str, version: str, kind: str, *, has_source: bool) -> dict[str, Any]:
    """A CustomResourceDefinition."""
    plural = f"{kind.lower()}s"
    fields = {"scope": _REFERENCE, "summary": _SUMMARY, "results": {"type": "array", "items": _RESULT}}
    schema = {"type": "object", "properties": {**fields, **({"source": _TEXT} if has_source else {})}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "versions": [
                {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}},
            ],
        },
    }


DEFINITIONS: Final = (
    definition("openreports.io", "v1alpha1", "Report", has_source=True),
    definition("wgpolicyk8s.io", "v1alpha2", "PolicyReport", has_source=False),
)
