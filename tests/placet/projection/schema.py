"""The schema of the newest Kubernetes release that the development requirements bring, to hold our tables against."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any

_REFERENCE = "#/$defs/"
_PREFIX = "io.k8s."


@functools.cache
def newest_release() -> str:
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema"
    names = [each.name for each in folder.iterdir() if each.name.endswith("-local")]
    return max(names, key=lambda name: [int(part) for part in name.removeprefix("v").removesuffix("-local").split(".")])


@functools.cache
def definitions() -> dict[str, Any]:
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema" / newest_release()
    found: dict[str, Any] = json.loads((folder / "_definitions.json").read_text(encoding="utf-8"))["$defs"]
    return found


def fields(definition: str) -> dict[str, Any]:
    """Field -> schema of a type, named as our tables name it."""
    for name in (f"{_PREFIX}api.{definition}", f"{_PREFIX}{definition}"):
        if name in definitions():
            properties: dict[str, Any] = definitions()[name]["properties"]
            return properties
    message = f"{newest_release()} has no {definition}"
    raise KeyError(message)


def referenced(schema: dict[str, Any]) -> str:
    """The definition that a field's schema points to, as our tables name it; "" where it points to none."""
    _, found, name = schema.get("$ref", "").partition(_REFERENCE)
    return name.removeprefix(_PREFIX).removeprefix("api.") if found else ""


def json_type(schema: dict[str, Any]) -> str:
    types = schema.get("type", "")
    return next((each for each in types if each != "null"), "") if isinstance(types, list) else types
