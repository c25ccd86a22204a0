"""Whether this gate can decide rightly now: looked at once a second in the background, answered from memory.

A problem takes readiness away. A warning does not: a newer file was refused, and the older one stays in force and holds
(ADR 21). Nothing here blocks a probe, however the store or the engine hangs: an old look is a problem of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from placet.text import clip, safe

PROCESS: Final = "process"
PARTS: Final = (
    PROCESS, "configuration", "keyring", "record", "checkpoint", "engine", "lookups", "certificate", "client_ca",
    "publishing", "policies", "shadow",
)  # fmt: skip
OLD_LOOK_S: Final = 15.0
_LONGEST: Final = 400


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a part.

    Attributes:
        code: stable, machine-readable.
        detail: a sentence for a person.
        also: what else is wrong with the part.
    """

    code: str
    detail: str
    also: Finding | None = None

    def __str__(self) -> str:
        return f"{self.code}: {clip(safe(self.detail), _LONGEST)}"

    def __iter__(self) -> Iterator[Finding]:
        """This, and what else is wrong."""
        yield self
        if self.also is not None:
            yield from self.also


@dataclass(frozen=True, slots=True)
class Report:
    """One look at everything.

    Attributes:
        problems: part -> what keeps this gate from deciding rightly.
        warnings: part -> what does not, and has to be mended all the same.
    """

    problems: Mapping[str, Finding] = field(default_factory=lambda: MappingProxyType({}))
    warnings: Mapping[str, Finding] = field(default_factory=lambda: MappingProxyType({}))

    def lines(self) -> str:
        """As /readyz answers it."""
        wrong = [f"{part}: {one}\n" for part in sorted(self.problems) for one in self.problems[part]]
        mind = [f"warning {part}: {one}\n" for part in sorted(self.warnings) for one in self.warnings[part]]
        return "".join(wrong or ["ok\n"]) + "".join(mind)


def add_finding(findings: dict[str, Finding], part: str, found: Finding) -> None:
    """Put a finding with those of its part; a fault that two looks met is told once."""
    former = findings.get(part)
    if former is None:
        findings[part] = found
    elif all(one.code != found.code for one in former):
        findings[part] = replace(found, also=former)


class Readiness:
    """Keeps the last report. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._report = Report(problems={PROCESS: Finding("starting", "nothing was looked at yet")})
        self._looked_s = float("-inf")
        self._draining = False

    def update(self, report: Report, *, at_s: float) -> None:
        """Take a report.

        Args:
            report: the newest.
            at_s: when its look began, on the monotonic clock.
        """
        with self._lock:
            self._report, self._looked_s = report, at_s

    def drain(self) -> None:
        """From now on, not ready."""
        self._draining = True

    def report(self, *, now_s: float) -> Report:
        """The report of this moment, on the monotonic clock. Never blocks."""
        with self._lock:
            report, looked_s = self._report, self._looked_s
        process = None
        if self._draining:
            process = Finding("draining", "this replica is going away")
        elif now_s - looked_s > OLD_LOOK_S and PROCESS not in report.problems:
            process = Finding("look_overdue", "the store, the engine or a file has not answered for a while")
        if process is None:
            return report
        return Report({**report.problems, PROCESS: process}, report.warnings)
