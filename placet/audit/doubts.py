"""What does not fit together between the record and an API server's audit log, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

EXAMPLES: Final = 10


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something of the two logs that does not fit together.

    Attributes:
        kind: of ``placet.audit.findings.KINDS``.
        sentence: for a person.
        index: of the leaf that is concerned, or None.
    """

    kind: str
    sentence: str
    index: int | None = None


@dataclass(slots=True)
class Doubts:
    """All of them counted, the first of each kind kept."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: list[Doubt] = field(default_factory=list)
    first_index: int | None = None

    def add(self, kind: str, sentence: str, *, index: int | None = None) -> None:
        """Note one."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if index is not None and (self.first_index is None or index < self.first_index):
            self.first_index = index
        if self.counts[kind] <= EXAMPLES:
            self.examples.append(Doubt(kind, sentence, index))


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """What came of it.

    Attributes:
        files: as given.
        requests: writes to workloads in them that the gate could have been asked about, dry runs included.
        first: when the audit log begins, as text.
        last: when it ends.
        namespaces: those that were taken as governed, sorted.
        admitted: requests of governed workloads that were admitted, dry runs not among them.
        leaves: what became of the leaves that allow: ``admitted``, ``refused_later`` (by another plugin, a conflict, or
            cancelled), ``asked_again`` within one request, ``outside`` of the time that the log covers.
        dry_runs: requests that kept nothing.
        counts: kind of finding -> how many.
        findings: the first few of each kind.
        first_bad_index: smallest index that a finding names, or None.
        notes: what is not wrong but worth knowing.
    """

    files: tuple[str, ...]
    requests: int
    first: str
    last: str
    namespaces: tuple[str, ...]
    admitted: int
    leaves: Mapping[str, int]
    dry_runs: int
    counts: Mapping[str, int]
    findings: tuple[Doubt, ...]
    first_bad_index: int | None
    notes: tuple[str, ...]

    def render(self) -> dict[str, Any]:
        """JSON value."""
        return {
            "files": list(self.files),
            "requests": self.requests,
            "from": self.first,
            "to": self.last,
            "namespaces": list(self.namespaces),
            "admitted": self.admitted,
            "dry_runs": self.dry_runs,
            "leaves": dict(self.leaves),
            "counts": dict(self.counts),
            "findings": [{"kind": one.kind, "index": one.index, "sentence": one.sentence} for one in self.findings],
            "notes": list(self.notes),
        }

    def lines(self) -> Iterator[str]:
        """The same for a person, unstyled."""
        files = "1 file" if len(self.files) == 1 else f"{len(self.files)} files"
        where = ", ".join(self.namespaces) or "no namespace"
        asked = f"{self.requests} requests, {self.dry_runs} dry runs"
        yield f"apiserver    {files} from {self.first} to {self.last}: {asked}"
        yield f"             {self.admitted} admissions of workloads in {where}"
        yield "             leaves that allow: " + ", ".join(
            f"{count} {name.replace('_', ' ')}" for name, count in self.leaves.items()
        )
        for note in self.notes:
            yield f"note         {note}"
        for one in self.findings:
            at = "" if one.index is None else f" at {one.index}"
            yield f"{one.kind}{at}: {one.sentence}"
        for kind, count in self.counts.items():
            if more := count - sum(1 for one in self.findings if one.kind == kind):
                yield f"and {more} more of {kind}"
