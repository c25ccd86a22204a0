"""What became of each part of a case: proved, wrong, or not to be told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

VERDICT_SCHEMA: Final = "placet.dev/audit-proof-verification/v2"


class Outcome(StrEnum):
    """What was found out about one part."""

    PROVED = "proved"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of a case.

    Attributes:
        part: what it is about, such as ``keyring`` or ``approval security``.
        outcome: what was found out.
        code: stable, machine-readable; "" where it is proved.
        sentence: for a person.
    """

    part: str
    outcome: Outcome
    code: str
    sentence: str

    def render(self) -> dict[str, str]:
        """JSON value."""
        return {"part": self.part, "outcome": str(self.outcome), "code": self.code, "sentence": self.sentence}


@dataclass(slots=True)
class Verdict:
    """All findings about a case, in the order in which they were made.

    Attributes:
        findings: of the time of the decision.
        limits: sentences on what such a file can't show at all.
        today: sentences on what no longer holds, by a newer keyring; nothing of the verdict hangs on them.
    """

    findings: list[Finding] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    today: list[str] = field(default_factory=list)

    def prove(self, part: str, sentence: str) -> None:
        """A part holds."""
        self.findings.append(Finding(part, Outcome.PROVED, "", sentence))

    def refute(self, part: str, code: str, sentence: str) -> None:
        """A part does not hold."""
        self.findings.append(Finding(part, Outcome.WRONG, code, sentence))

    def leave_open(self, part: str, code: str, sentence: str) -> None:
        """A part can't be told."""
        self.findings.append(Finding(part, Outcome.UNKNOWN, code, sentence))

    def limit(self, sentence: str) -> None:
        """Say what such a file can't show; once."""
        if sentence not in self.limits:
            self.limits.append(sentence)

    def extend(self, other: Verdict, *, of: str) -> None:
        """Take over what was found about another case that this one rests on."""
        self.findings += [Finding(f"{of}: {one.part}", one.outcome, one.code, one.sentence) for one in other.findings]
        for one in other.limits:
            self.limit(one)
        self.today += [f"{of}: {one}" for one in other.today]

    @property
    def outcome(self) -> Outcome:
        """``wrong`` with one part that is wrong, else ``unknown`` with one that can't be told, else ``proved``."""
        outcomes = {one.outcome for one in self.findings}
        for worst in (Outcome.WRONG, Outcome.UNKNOWN):
            if worst in outcomes:
                return worst
        return Outcome.PROVED if outcomes else Outcome.UNKNOWN

    def of(self, outcome: Outcome) -> Iterator[Finding]:
        """Findings of one outcome."""
        return (one for one in self.findings if one.outcome is outcome)

    def render(self) -> dict[str, Any]:
        """JSON value."""
        return {
            "verified": self.outcome is Outcome.PROVED,
            "outcome": str(self.outcome),
            "findings": [one.render() for one in self.findings],
            "limits": list(self.limits),
            "today": list(self.today),
        }
