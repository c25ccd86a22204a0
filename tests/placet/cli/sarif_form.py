"""The part of SARIF 2.1.0 that placet writes, as a closed schema: what is not listed is a fault.

Written from the standard's text: sections 3.13 (log), 3.14 (run), 3.18 (tool), 3.19 (driver), 3.27 (result), 3.29
(physical location), 3.33 (logical location), 3.49 (rule).
"""

from __future__ import annotations

from typing import Any, Final


def _closed(required: str, optional: str = "", **properties: Any) -> dict[str, Any]:
    assert {*required.split(), *optional.split()} == set(properties)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


_TEXT: Final = {"type": "string", "minLength": 1}
_MESSAGE: Final = _closed("text", text=_TEXT)
_RULE: Final = _closed(
    "id shortDescription",
    "fullDescription help",
    id=_TEXT,
    shortDescription=_MESSAGE,
    fullDescription=_MESSAGE,
    help=_MESSAGE,
)
_DRIVER: Final = _closed(
    "name version semanticVersion rules",
    name=_TEXT,
    version=_TEXT,
    semanticVersion=_TEXT,
    rules={"type": "array", "items": _RULE, "uniqueItems": True},
)
_PHYSICAL: Final = _closed(
    "artifactLocation region",
    artifactLocation=_closed("uri", uri={"type": "string", "format": "uri-reference"}),
    region=_closed("startLine", startLine={"type": "integer", "minimum": 1}),
)
_LOGICAL: Final = _closed("fullyQualifiedName kind", fullyQualifiedName=_TEXT, kind=_TEXT)
_LOCATION: Final = _closed(
    "logicalLocations",
    "physicalLocation",
    physicalLocation=_PHYSICAL,
    logicalLocations={
        "type": "array",
        "items": _closed("fullyQualifiedName kind", fullyQualifiedName=_TEXT, kind=_TEXT),
    },
)
_RESULT: Final = _closed(
    "ruleId ruleIndex level message properties locations",
    ruleId=_TEXT,
    ruleIndex={"type": "integer", "minimum": 0},
    level={"enum": ["none", "note", "warning", "error"]},
    message=_MESSAGE,
    properties={"type": "object"},
    locations={"type": "array", "items": _LOCATION},
)
_RUN: Final = _closed(
    "tool columnKind results",
    tool=_closed("driver", driver=_DRIVER),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    results={"type": "array", "items": _RESULT},
)
_HEAD: Final[dict[str, Any]] = {"$schema": {"type": "string", "format": "uri"}, "version": {"const": "2.1.0"}}
SARIF: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **_closed("$schema version runs", **_HEAD, runs={"type": "array", "items": _RUN}),
}
