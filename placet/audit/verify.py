"""Verify a store: is it, leaf for leaf, what the log's key has signed?

One pass in constant memory. In this order:

1. the file is sound and its tables, indexes and triggers are ours;
2. there is one state row, of this log;
3. each leaf, in order of index without a gap: its stored hash, its form, its search columns, its attachments;
4. each checkpoint in the store, each saved one and the state row: signature, and the root of the leaves at its size.

Nothing that the store says is believed; only its leaves and the signatures of the given keys are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from placet.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from placet.audit.claims import Claim, ClaimCheck, Source, stored_claims
from placet.audit.findings import Findings, Verification
from placet.audit.location import StoreLocation, open_reader
from placet.audit.merkle import Frontier, hash_leaf
from placet.audit.note import VerifierKey
from placet.audit.pace import Pace
from placet.audit.record import DECISION, Leaf, attachment_digests, parse_leaf
from placet.audit.stores import Auditable, RawRow
from placet.audit.stores.reader import COLUMNS, values_of
from placet.audit.stores.schema import TABLES
from placet.canonical import Digest
from placet.errors import FormatError, InputError, StoreUnavailable, TamperError

Progress = Callable[[int, int], None]
_MAX_MISMATCHES: Final = 10_000
_KEPT: Final = ("input", "content", "envelope")  # beside a decision or a revocation until it is erased
_PROGRESS_EVERY: Final = 256


def verify_file(
    path: StoreLocation,
    keys: Sequence[VerifierKey],
    *,
    saved: Sequence[tuple[str, bytes]] = (),
    progress: Progress = lambda _done, _total: None,
) -> Verification:
    """Verify a store, live or a copy, without changing it.

    Args:
        path: of the file, or the address of the database.
        keys: verifier keys of the log: the present one first, then those from before a change of keys; non-empty.
        saved: (name, signed note) of checkpoints that were kept elsewhere, unverified.
        progress: told leaves done and leaves there are.

    Raises:
        InputError: there is no such file, or a saved checkpoint is not one of this log.
        AuditError: the file is no record of this version.
    """
    verifier = _Verifier(keys, _saved_claims(saved, keys), progress)
    try:
        with open_reader(path) as reader:
            verifier.run(reader)
    except StoreUnavailable as exc:
        if exc.code == "store_locked":
            raise
        verifier.findings.add("store_corrupt", str(exc))
    return verifier.result()


def verify_store(
    reader: Auditable, keys: Sequence[VerifierKey], *, saved: Sequence[tuple[str, bytes]] = ()
) -> Verification:
    """Verify a store that is open already; see ``verify_file``."""
    verifier = _Verifier(keys, _saved_claims(saved, keys), lambda _done, _total: None)
    verifier.run(reader)
    return verifier.result()


def _saved_claims(saved: Sequence[tuple[str, bytes]], keys: Sequence[VerifierKey]) -> list[Claim]:
    claims = []
    for name, raw in saved:
        try:
            checkpoint: VerifiedCheckpoint = verify_checkpoint(raw, keys)
        except (FormatError, TamperError) as exc:
            raise InputError(
                f"{name} can't be held against the store: {exc}", code="checkpoint_invalid", hint=exc.hint
            ) from exc
        claims.append(Claim(checkpoint.size, checkpoint.root, Source.SAVED, name))
    return claims


class _Verifier:
    """The state of one pass."""

    def __init__(self, keys: Sequence[VerifierKey], saved: Sequence[Claim], progress: Progress) -> None:
        self._keys = keys
        self._saved = list(saved)
        self._progress = progress
        self.findings = Findings()
        self._tree = Frontier()  # of the leaves as they are
        self._stored_tree = Frontier()  # of the hashes that stand beside them
        self._rows = 0
        self._broken = False
        self._mismatches: list[tuple[int, bytes, Any]] = []
        self._types: Counter[str] = Counter()
        self._answers: Counter[int] = Counter()
        self._erased = 0
        self._pace = Pace()
        self._claims = ClaimCheck(iter(()), [])
        self._state_size: int | None = None

    def run(self, reader: Auditable) -> None:
        """Steps 1 to 4."""
        for sentence in reader.damage():
            self.findings.add("store_corrupt", sentence)
        changed = reader.schema_differences()
        for name in changed:
            self.findings.add("schema_changed", f"{name!r} is not what placet made, is missing, or is not placet's")
        if TABLES.intersection(changed):
            return  # what is called so now could be anything
        claims = [*self._saved, *self._read_state(reader)]
        self._claims = ClaimCheck(stored_claims(reader.raw_checkpoints(), self._keys, self.findings), claims)
        self._claims.meet(self._tree, self._stored_tree, None)
        attachments = _Attachments(reader.raw_blobs(), self.findings)
        for row in reader.raw_rows():
            self._row(row, attachments)
            if self._rows % _PROGRESS_EVERY == 0:
                self._progress(self._rows, max(self._rows, self._state_size or 0))
        attachments.finish()
        self._report_mismatches()
        self._claims.finish(self._rows, self.findings, broken=self._broken)
        self._report_surplus()
        self._progress(self._rows, self._rows)

    def result(self) -> Verification:
        """What was found so far."""
        return Verification(
            origin=self._keys[0].name,
            size=self._rows,
            root=self._tree.root(),
            by_type=dict(sorted(self._types.items())),
            allowed=self._answers[1],
            denied=self._answers[0],
            checkpoints=self._claims.held,
            saved=tuple(self._claims.held_saved),
            saved_given=len(self._saved),
            signed_size=self._claims.held_size,
            findings=tuple(self.findings.listed),
            findings_total=self.findings.total,
            first_bad_index=self.findings.first_index,
            notes=tuple(self._notes()),
        )

    def _read_state(self, reader: Auditable) -> list[Claim]:
        states = reader.raw_states()
        if len(states) != 1:
            self.findings.add("state_changed", f"there are {len(states)} state rows where one should be")
            return []
        origin, size, frontier = states[0]
        if origin != self._keys[0].name:
            self.findings.add(
                "state_changed", f"the store says that it is of the log {origin}, the key is of {self._keys[0].name}"
            )
        try:
            tree = Frontier.parse(size, frontier) if isinstance(size, int) and isinstance(frontier, bytes) else None
        except FormatError:
            tree = None
        if tree is None:
            self.findings.add("state_changed", "the state row has no frontier of its size")
            return []
        self._state_size = tree.size
        return [Claim(tree.size, tree.root(), Source.STATE)]

    def _row(self, row: RawRow, attachments: _Attachments) -> None:
        if row.index != self._rows and not self._broken:
            self._broken = True  # from here on every index and every root is another
            kind, words = (
                ("missing", "is missing") if row.index > self._rows else ("inserted", "stands before the first")
            )
            first, end = min(self._rows, row.index), max(self._rows, row.index)
            self.findings.add(kind, f"leaf {first} {words}", index=first, end=end if end - first > 1 else None)
        self._rows += 1
        raw_leaf = row.raw_leaf if isinstance(row.raw_leaf, bytes) else b""
        leaf_hash = hash_leaf(raw_leaf)
        if leaf_hash != row.raw_hash and len(self._mismatches) < _MAX_MISMATCHES:
            self._mismatches.append((row.index, leaf_hash, row.raw_hash))
        self._tree.append(leaf_hash)
        self._stored_tree.append(row.raw_hash if isinstance(row.raw_hash, bytes) else b"")
        try:
            leaf = parse_leaf(raw_leaf)
        except FormatError as exc:
            self.findings.add("leaf_malformed", str(exc), index=row.index)
            leaf = None
        if leaf is not None:
            self._count(row.index, leaf)
            self._compare_columns(row, leaf)
        self._erased += attachments.check(row.index, leaf)
        if not self._broken:
            self._claims.meet(self._tree, self._stored_tree, leaf_hash)

    def _count(self, index: int, leaf: Leaf) -> None:
        self._types[leaf.type] += 1
        if leaf.type == DECISION and leaf.columns.allowed is not None:
            self._answers[leaf.columns.allowed] += 1
        self._pace.add(index, leaf)

    def _compare_columns(self, row: RawRow, leaf: Leaf) -> None:
        said = values_of(leaf.columns)
        if said != row.raw_columns:
            names = ", ".join(
                name for name, ours, theirs in zip(COLUMNS, said, row.raw_columns, strict=True) if ours != theirs
            )
            self.findings.add(
                "column_changed", f"the leaf does not say what stands beside it: {names}", index=row.index
            )

    def _report_mismatches(self) -> None:
        """A leaf whose hash stands beside another one that does not fit either was moved, not changed."""
        moved = {computed for _, computed, _ in self._mismatches} & {
            stored for _, _, stored in self._mismatches if isinstance(stored, bytes)
        }
        for index, computed, stored in self._mismatches:
            if computed in moved and stored in moved:
                self.findings.add("reordered", "the leaf is another one of this log, in this one's place", index=index)
            else:
                self.findings.add("leaf_changed", "the leaf is not the one whose hash stands beside it", index=index)

    def _report_surplus(self) -> None:
        size = self._state_size
        if size is None or self._broken or self._rows <= size:
            return
        if self._claims.held_size > size:
            self.findings.add("state_changed", f"it says {size} leaves, and {self._claims.held_size} are signed for")
        else:
            self.findings.add(
                "inserted", f"the store says {size} leaves and has {self._rows}", index=size, end=self._rows
            )

    def _notes(self) -> Iterator[str]:
        if self._rows and not self._claims.held_size:
            yield "no checkpoint signs for these leaves: only that they agree with each other was checked"
        elif not self._broken and (unsigned := self._rows - self._claims.held_size):
            yield f"the last {unsigned} leaves are not signed for yet: keep the next checkpoint and verify again"
        if self._erased:
            yield f"{self._erased} attachments were erased or never kept; the leaves still have their digests"
        yield from self._pace.notes()


class _Attachments:
    """Walks the attachments beside the leaves, both in order of index."""

    def __init__(self, rows: Iterator[tuple[Any, Any, Any, Any]], findings: Findings) -> None:
        self._rows = rows
        self._findings = findings
        self._next: tuple[int, Any, Any, Any] | None = None
        self._advance()

    def check(self, index: int, leaf: Leaf | None) -> int:
        """Compare those of one leaf with the digests in it.

        Returns:
            How many that could be there are not.
        """
        digests = attachment_digests(leaf.body) if leaf is not None else {}
        expected = {name for name in _KEPT if name in digests}
        while self._next is not None and self._next[0] <= index:
            at, name, sha256, content = self._next
            self._advance()
            self._compare(at, name, sha256, content, digests if at == index else {})
            if at == index:
                expected.discard(name)
        return len(expected)

    def finish(self) -> None:
        """What is left stands beside no leaf."""
        while self._next is not None:
            self._compare(*self._next, {})
            self._advance()

    def _advance(self) -> None:
        for row in self._rows:
            if isinstance(row[0], int):
                self._next = row
                return
            self._findings.add("attachment_changed", "an attachment stands beside no leaf")
        self._next = None

    def _compare(self, index: int, name: Any, sha256: Any, content: Any, digests: dict[str, str]) -> None:
        found = Digest.of(content) if isinstance(content, bytes) else None
        if found is None or digests.get(name) != str(found) or sha256 != bytes.fromhex(found.hex):
            where = index if isinstance(index, int) else None
            self._findings.add(
                "attachment_changed", f"the attachment {name!r} is not what the leaf has the digest of", index=where
            )
