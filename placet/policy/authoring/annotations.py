"""What packages say of themselves in their METADATA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from placet.policy.authoring.opa import Opa


def read_annotations(opa: Opa, folder: Path) -> dict[str, dict[str, Any]]:
    """Package -> its METADATA, of everything that was laid out.

    Raises:
        InputError: opa can't read them.
    """
    inspected = opa.run("inspect", "--annotations", "--format", "json", "admission", folder=folder).value()
    found = {}
    for entry in inspected.get("annotations") or ():
        notes = entry["annotations"]
        if notes.get("scope") == "package":
            found[".".join(str(part["value"]) for part in entry["path"][1:])] = notes
    return found
