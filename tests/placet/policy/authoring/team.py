"""The overlay of a team, and what may be done to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Team:
    """An overlay with the rule ``scale.modest``."""

    root: Path

    @property
    def rule(self) -> Path:
        return self.root / "rules" / "scale" / "modest" / "modest.rego"

    @property
    def tests(self) -> Path:
        return self.rule.with_name("modest_test.rego")

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def replace(self, path: Path, old: str, new: str) -> None:
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def append(self, path: Path, text: str) -> None:
        path.write_text(path.read_text("utf-8") + text, encoding="utf-8")

    def line(self, path: Path, part: str) -> int:
        """1-based line of the first text that holds this part."""
        return 1 + next(at for at, text in enumerate(path.read_text("utf-8").splitlines()) if part in text)
