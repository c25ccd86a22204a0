"""What is wrong with policies, and where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One fault.

    Attributes:
        file: as the author calls it.
        line: 1-based.
        code: stable, machine-readable.
        message: a sentence for a person.
    """

    file: str
    line: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.code}: {self.message}"


def of_opa_errors(answer: Mapping[str, Any], shown: Callable[[str], str]) -> list[Finding]:
    """The errors of ``opa check`` or ``opa build``, each once.

    Args:
        answer: JSON of the command: ``{"errors": [...]}``.
        shown: name of a laid-out file -> what the author calls it.
    """
    found = []
    for error in answer.get("errors", ()):
        place = error.get("location") or {}
        message = str(error["message"])
        known = (error.get("details") or {}).get("oneOf")
        if known:
            message = f"{message}; known here: {', '.join(map(str, known))}"
        found.append(
            Finding(
                shown(place.get("file", "")), max(place.get("row", 1), 1), str(error.get("code", "rego_error")), message
            )
        )
    return sorted(set(found))
