"""What the sections of the configuration file have in common: defaults that the schema names, and paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def with_defaults(schema: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """A section as it was written, over the defaults of its keys."""
    return {name: part["default"] for name, part in schema["properties"].items() if "default" in part} | value


def place(folder: Path, text: str | None) -> Path | None:
    """A path that may be left out, relative to the folder of the file.

    Not resolved: a ConfigMap volume is made of links into a folder that goes away with the next update.
    """
    return None if text is None else folder / text
