"""The JSON Schemas that ship with the bundle, compiled once."""

from __future__ import annotations

import functools
import json
from typing import Any

import jsonschema_rs

from placet.errors import EngineError
from placet.policy.bundle import Bundle, shipped_bundle


@functools.cache
def validator_source(name: str) -> dict[str, Any]:
    """A shipped schema as JSON values; not to be changed.

    Raises:
        EngineError: ``bundle_invalid`` when it is missing or is not the one in the manifest.
    """
    schema: dict[str, Any] = json.loads(shipped_bundle().load_file(f"schemas/{name}.json"))
    return schema


@functools.cache
def validator(name: str, definition: str = "") -> Any:
    """Validator of a shipped schema, ``input`` for ``schemas/input.json``, or of one of its definitions.

    Raises:
        EngineError: ``bundle_invalid`` when the schema is missing or is not the one in the manifest.
    """
    schema = validator_source(name)
    if definition:
        schema = {"$schema": schema["$schema"], "$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]}
    return jsonschema_rs.validator_for(schema, offline=True)


def bundle_validator(bundle: Bundle, name: str, definition: str = "") -> Any:
    """As ``validator``, of a schema that a bundle brings along.

    Raises:
        EngineError: ``bundle_invalid``: the schema is missing, is not the one in the manifest, or is none.
    """
    file = f"schemas/{name}.json"
    if bundle.files.get(file) == shipped_bundle().files.get(file):
        return validator(name, definition)
    raw = bundle.load_file(file)
    try:
        return _compiled(raw, definition)
    except (ValueError, KeyError, TypeError) as exc:
        raise EngineError(f"the bundle's {file} is no schema: {type(exc).__name__}", code="bundle_invalid") from exc


@functools.lru_cache(maxsize=8)
def _compiled(raw: bytes, definition: str) -> Any:
    schema = json.loads(raw)
    if definition:
        schema = {"$schema": schema["$schema"], "$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]}
    return jsonschema_rs.validator_for(schema, offline=True)


def describe(error: jsonschema_rs.ValidationError) -> tuple[str, str]:
    """Where in the document an error is (``risk.factors``), and what is wrong there, without the offending value."""
    where = ".".join(str(step) for step in error.instance_path)
    return where, f"fails {error.kind.name}"
