"""What a verification has found, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from placet.audit.doubts import CrossCheck

MAX_FINDINGS: Final = 100

# kind of tampering -> what it means
KINDS: Final[Mapping[str, str]] = {
    "leaf_changed": "the bytes of a leaf are not those that were hashed when it was written",
    "leaf_malformed": "the bytes of a leaf are not of the form that placet writes",
    "missing": "a leaf between others is not there",
    "inserted": "a leaf is there that the log never had",
    "reordered": "leaves stand in each other's places",
    "truncated": "leaves at the end are not there",
    "rewritten": "the leaves agree with each other but are not those that were signed",
    "fork": "the log's key has signed two histories, of which this is one",
    "rolled_back": "the store is older than a checkpoint that was saved from it",
    "column_changed": "a row can be found by something that its leaf does not say",
    "index_changed": "what records are found by is not what their leaves say: some may be missing from a list",
    "state_changed": "the state row is not that of the leaves",
    "checkpoint_invalid": "a checkpoint in the store is not one that the log's key signed",
    "attachment_changed": "what is kept beside a leaf is not what the leaf has the digest of",
    "schema_changed": "tables, indexes or triggers are not those that placet made",
    "store_corrupt": "the file is damaged",
    "unasked": "the API server admitted a workload of which the record has no leaf",
    "unrecorded": "the API server admitted a workload on an answer that has no leaf",
    "refused_admitted": "the API server admitted what the record refused",
    "unwitnessed": "a leaf allows what the API server was never asked",
    "leaf_missing": "a leaf that the API server's log names is not there",
    "leaf_differs": "a leaf is not the one whose hash the API server's log has",
    "leaf_reused": "two requests in the API server's log have the same leaf",
    "admission_differs": "the API server's log has the leaf of another request beside a request",
    "annotation_invalid": "annotations in the API server's log are not of the form that placet writes, or not signed",
    "witness_damaged": "the API server's log has lines that are no audit events",
    "tile_changed": "a tile has a hash that is not that of what is below it",
    "tile_missing": "a tile that a checkpoint needs is not there",
    "file_added": "a file is in the folder that the log did not write",
    "checkpoint_missing": "a checkpoint that was published is not there",
    "manifest_missing": "the archive lacks a manifest between others",
    "manifest_changed": "a manifest of the archive is not one that placet wrote, or does not follow the one before",
    "object_hidden": "an object of the archive is hidden behind a delete marker",
    "object_overwritten": "a newer version lies over an object of the archive",
    "attachment_missing": "the archive lacks an attachment that is never erased",
    "lock_missing": "an object of the archive is not locked for as long as its manifest says",
    "witness_missing": "fewer witnesses than were asked for have cosigned a checkpoint that holds",
    "cosignature_invalid": "a line by a known witness is not a cosignature of the checkpoint",
    "prune_unexplained": "the contents of a leaf are gone, and no signed leaf says that they were pruned",
    "hold_broken": "something was pruned while a hold covered it",
    "proof_invalid": "the proof does not show that the leaf is in the log",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: of ``KINDS``.
        index: the first leaf that is concerned, or None where no leaf is.
        end: index after the last leaf that may be concerned, or None where it is one leaf or none.
        sentence: for a person.
    """

    kind: str
    index: int | None
    end: int | None
    sentence: str

    @property
    def where(self) -> str:
        """`` at 7``, `` in 7..9`` with both ends included, or nothing."""
        if self.index is None:
            return ""
        return f" at {self.index}" if self.end is None else f" in {self.index}..{self.end - 1}"

    def render(self) -> dict[str, Any]:
        """JSON value."""
        return {"kind": self.kind, "index": self.index, "end": self.end, "sentence": self.sentence}


@dataclass(slots=True)
class Findings:
    """Collects findings; the first ``MAX_FINDINGS`` with their words, the rest by number."""

    listed: list[Finding] = field(default_factory=list)
    total: int = 0
    first_index: int | None = None

    def add(self, kind: str, sentence: str, *, index: int | None = None, end: int | None = None) -> None:
        """Note one."""
        self.total += 1
        if index is not None and (self.first_index is None or index < self.first_index):
            self.first_index = index
        if len(self.listed) < MAX_FINDINGS:
            self.listed.append(Finding(kind, index, end, sentence))


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of verifying a store.

    Attributes:
        origin: of the log.
        size: leaves that were read.
        root: of the tree of these leaves, 32 bytes.
        by_type: leaf type -> number of leaves.
        allowed: decisions that allowed.
        denied: decisions that denied; None, as ``allowed``, where leaves were not read.
        checkpoints: checkpoints in the store whose signature and root are right.
        saved: names of the saved checkpoints that the store extends.
        saved_given: how many saved checkpoints there were to compare with.
        signed_size: leaves under the largest checkpoint that is right; those after it are not yet signed for.
        findings: what is wrong, the first of them; empty means that the store is what was signed.
        findings_total: how many there are.
        first_bad_index: smallest index of a leaf that is concerned, or None.
        notes: what is not wrong but worth knowing.
        resumed_at: leaves at the beginning that were not read, since an earlier run had verified them.
        crosscheck: what came of holding it against an API server's log; None where none was given.
        depth: what was verified, a value of ``placet.audit.depth.Depth``.
    """

    origin: str
    size: int
    root: bytes
    by_type: Mapping[str, int]
    allowed: int | None
    denied: int | None
    checkpoints: int
    saved: tuple[str, ...]
    saved_given: int
    signed_size: int
    findings: tuple[Finding, ...]
    findings_total: int
    first_bad_index: int | None
    notes: tuple[str, ...]
    resumed_at: int = 0
    crosscheck: CrossCheck | None = None
    depth: str = "all"

    @property
    def verified(self) -> bool:
        """Whether nothing is wrong."""
        return self.findings_total == 0 and (self.crosscheck is None or not self.crosscheck.counts)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of tampering, each once, in the order in which they were found."""
        crossed = () if self.crosscheck is None else self.crosscheck.counts
        return tuple(dict.fromkeys([*(finding.kind for finding in self.findings), *crossed]))

    def render(self) -> dict[str, Any]:
        """JSON value."""
        return {
            "schema": "placet.dev/audit-verification/v1",
            "verified": self.verified,
            "depth": self.depth,
            "origin": self.origin,
            "size": self.size,
            "resumed_at": self.resumed_at,
            "root": self.root.hex(),
            "signed_size": self.signed_size,
            "leaves": dict(self.by_type),
            "allowed": self.allowed,
            "denied": self.denied,
            "checkpoints": self.checkpoints,
            "saved_checkpoints": list(self.saved),
            "saved_given": self.saved_given,
            "first_bad_index": self.first_bad_index,
            "kinds": list(self.kinds),
            "findings": [finding.render() for finding in self.findings],
            "findings_total": self.findings_total,
            "notes": list(self.notes),
            "apiserver": None if self.crosscheck is None else self.crosscheck.render(),
        }

    def lines(self) -> Iterator[str]:
        """The same for a person, unstyled; text from the store is in it, so show it through ``safe``."""
        yield f"log          {self.origin}"
        kinds = ", ".join(f"{count} {name}" for name, count in sorted(self.by_type.items())) or "none"
        yield f"leaves       {self.size} ({kinds})"
        if self.allowed is not None:
            yield f"decisions    {self.allowed} allowed, {self.denied} denied"
        yield f"root         {self.root.hex()}"
        signed = f"{self.signed_size} of {self.size} leaves signed for"
        yield f"checkpoints  {self.checkpoints} in the store, {self._saved_words()}; {signed}"
        for note in self.notes:
            yield f"note         {note}"
        for finding in self.findings:
            yield f"{finding.kind}{finding.where}: {finding.sentence}"
        if self.findings_total > len(self.findings):
            yield f"and {self.findings_total - len(self.findings)} more"
        if self.crosscheck is not None:
            yield from self.crosscheck.lines()

    def _saved_words(self) -> str:
        """What was given, and how much of it holds: what does not is among the findings."""
        given, held = self.saved_given, len(self.saved)
        if not given:
            return "no saved one to compare with"
        ones = "1 saved one" if given == 1 else f"{given} saved ones"
        if held == given:
            return f"{ones} given, which {'holds' if given == 1 else 'hold'}"
        if not held:
            return f"{ones} given, which {'does' if given == 1 else 'do'} not hold"
        return f"{ones} given, of which {held} {'holds' if held == 1 else 'hold'}"
