"""Verify a store: is it, leaf for leaf, what the log's key has signed?

One pass in constant memory, in one process or several. In this order:

1. the file is sound and its tables, indexes and triggers are ours;
2. there is one state row, of this log;
3. each leaf, in order of index without a gap: its stored hash, its form, its search columns, its attachments, and block
   by block the terms that it is found by;
4. each checkpoint in the store, each saved one and the state row: signature, and the root of the leaves at its size.

Nothing that the store says is believed; only its leaves and the signatures of the given keys are. Step 3 is done
quickly for stretches of leaves with nothing wrong (``placet.audit.certify``), and strictly here for every other one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from placet.audit.attachments import Attachments
from placet.audit.certify import STRETCH, Certified, certify, certify_leaves
from placet.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from placet.audit.claims import Claim, ClaimCheck, Source, stored_claims
from placet.audit.crosscheck import check_witness
from placet.audit.depth import Depth, NoIndex, fewer_collections
from placet.audit.findings import Findings, Verification
from placet.audit.forms import Forms
from placet.audit.index_check import IndexCheck
from placet.audit.location import StoreLocation, open_reader
from placet.audit.merkle import Frontier, hash_leaf
from placet.audit.note import VerifierKey
from placet.audit.pace import Pace
from placet.audit.patterns import ask_all, ask_columns
from placet.audit.pruned import PrunedLeaves
from placet.audit.record import HEARTBEAT, HOLD, PRUNE, PRUNED, PRUNED_COLUMNS, parse_body, search_values
from placet.audit.resume import Prefix
from placet.audit.stores import Auditable, RawRow
from placet.audit.stores.reader import COLUMNS, values_of
from placet.audit.stores.schema import TABLES
from placet.audit.witness import Witness
from placet.audit.workers import Workers, open_workers
from placet.errors import AuditError, FormatError, InputError, StoreUnavailable, TamperError

Progress = Callable[[int, int], None]
Keep = Callable[[Prefix], None]
_MAX_MISMATCHES: Final = 10_000
_PROGRESS_EVERY: Final = 256
_KEEP_EVERY: Final = 65_536
PRUNED_VALUES: Final = values_of(PRUNED_COLUMNS)
_ALLOWED: Final = COLUMNS.index("allowed")


def verify_file(
    path: StoreLocation,
    keys: Sequence[VerifierKey],
    *,
    saved: Sequence[tuple[str, bytes]] = (),
    progress: Progress = lambda _done, _total: None,
    witness: Witness | None = None,
    governed: Sequence[str] = (),
    prefix: Prefix | None = None,
    keep: Keep | None = None,
    jobs: int = 1,
    depth: Depth = Depth.ALL,
) -> Verification:
    """Verify a store, live or a copy, without changing it.

    Args:
        path: of the file, or the address of the database.
        keys: verifier keys of the log: the present one first, then those from before a change of keys; non-empty.
        saved: (name, signed note) of checkpoints that were kept elsewhere, unverified.
        progress: told leaves done and leaves there are.
        witness: an API server's audit log that was loaded before this; the record is held against it.
        governed: namespaces that it is held against; see ``check_witness``.
        prefix: of leaves that an earlier run has verified and that are not read again; not together with a witness.
        keep: told how far a later run need not begin before, now and then while nothing was found.
        jobs: processes that read leaves; this one alone with a witness, which is told of every leaf in order.
        depth: what is verified; less than all of it goes with neither a witness nor a prefix.

    Raises:
        InputError: there is no such file, or a saved checkpoint is not one of this log.
        AuditError: the file is no record of this version.
    """
    verifier = _Verifier(
        keys, _saved_claims(saved, keys), progress, witness=witness, prefix=prefix, keep=keep, depth=depth
    )
    try:
        with (
            fewer_collections(),
            open_reader(path) as reader,
            _open_workers(path, reader, verifier, jobs) as workers,
        ):
            verifier.run(reader, workers)
    except StoreUnavailable as exc:
        if exc.code == "store_locked":
            raise
        verifier.findings.add("store_corrupt", str(exc))
    return verifier.result(governed)


def _open_workers(
    path: StoreLocation, reader: Auditable, verifier: _Verifier, jobs: int
) -> AbstractContextManager[Workers | None]:
    try:
        size = max((row[1] for row in reader.raw_states() if isinstance(row[1], int)), default=0) if jobs > 1 else 0
    except AuditError:
        size = 0  # there is no such table: the verifier says so
    jobs = 1 if verifier.is_told_in_order else jobs
    return open_workers(path, jobs=jobs, start=verifier.start, size=size, depth=verifier.depth)


def verify_store(
    reader: Auditable,
    keys: Sequence[VerifierKey],
    *,
    saved: Sequence[tuple[str, bytes]] = (),
    depth: Depth = Depth.ALL,
) -> Verification:
    """Verify a store that is open already; see ``verify_file``."""
    verifier = _Verifier(keys, _saved_claims(saved, keys), lambda _done, _total: None, depth=depth)
    with fewer_collections():
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

    def __init__(
        self,
        keys: Sequence[VerifierKey],
        saved: Sequence[Claim],
        progress: Progress,
        *,
        witness: Witness | None = None,
        prefix: Prefix | None = None,
        keep: Keep | None = None,
        depth: Depth = Depth.ALL,
    ) -> None:
        self.depth = depth
        self._keys = keys
        self._witness = witness
        self._keep = keep
        self._start = Frontier() if prefix is None else prefix.tree
        self._kept = self._start.size
        self._saved = list(saved)
        self._progress = progress
        self.findings = Findings()
        self._tree = self._start.copy()  # of the leaves as they are
        self._stored_tree = self._tree  # of the hashes that stand beside them: another one from the first that differs
        self._rows = self._start.size
        self._broken = False
        self._mismatches: list[tuple[int, bytes, Any]] = []
        self._types: Counter[str] = Counter()
        self._answers: Counter[int | None] = Counter()
        self._erased = 0
        self._pace = Pace()
        self._pruned = PrunedLeaves((), self.findings)
        self._claims = ClaimCheck(iter(()), [])
        self._state_size: int | None = None
        self._index: IndexCheck | NoIndex = NoIndex()

    @property
    def start(self) -> int:
        """Index of the first leaf that is read."""
        return self._start.size

    @property
    def is_told_in_order(self) -> bool:
        """Whether somebody has to be told of every leaf, so that each is read strictly."""
        return self._witness is not None

    def run(self, reader: Auditable, workers: Workers | None = None) -> None:
        """Steps 1 to 4."""
        for sentence in reader.damage() if self.depth is not Depth.LEAVES else ():
            self.findings.add("store_corrupt", sentence)
        changed = reader.schema_differences()
        for name in changed:
            self.findings.add("schema_changed", f"{name!r} is not what placet made, is missing, or is not placet's")
        if TABLES.intersection(changed):
            return  # what is called so now could be anything
        claims = [*self._saved, *self._read_state(reader)]
        stored = stored_claims(reader.raw_checkpoints(), self._keys, self.findings)
        witnessed = () if self._witness is None else self._witness.claims()
        self._claims = ClaimCheck(stored, claims, witnessed, start=self._start)
        self._claims.meet(self._tree, self._stored_tree, None)
        self._require_prefix(reader)
        self._pruned = PrunedLeaves(
            ((stored.index, stored.raw_leaf) for kind in (HOLD, PRUNE) for stored in reader.of_type(kind, start=0)),
            self.findings,
        )
        if self.depth is Depth.ALL:
            self._index = IndexCheck(reader, self.findings, start=self._rows)
        self._read_leaves(reader, workers)
        self._index.finish()
        self._report_mismatches()
        self._claims.finish(self._rows, self.findings, broken=self._broken)
        self._pruned.finish(self._claims.held_size, start=self._start.size)
        self._report_surplus()
        self._keep_now(at_least=1)
        self._progress(self._rows, self._rows)

    def _read_leaves(self, reader: Auditable, workers: Workers | None) -> None:
        """Step 3: by stretches as long as leaves follow on each other, and strictly what is left then."""
        start, forms = self._rows, Forms(asked=ask_all if self._index.is_open else ask_columns)
        step = STRETCH if workers is None else workers.step
        while start < (self._state_size or 0) and not self._broken and not self.is_told_in_order:
            end = min(start + step, self._state_size or 0)
            try:
                made = self._certify(reader, start, end, forms) if workers is None else workers.certify(start, end)
            except StoreUnavailable:
                made = None  # what can be read of it still is, before the same error comes again
            if made is not None and self._is_whole(made):
                self._take(made)
            else:
                self._read_strictly(reader, start, end)
            start = end
            if self._rows != end:
                break  # one is missing or too many: from here on a leaf's index is not its place
            if end < (self._state_size or 0):  # the end itself is told once, after all that is asked of it
                self._said_so_far()
        self._read_strictly(reader, start, None)

    def _certify(self, reader: Auditable, start: int, end: int, forms: Forms) -> Certified | None:
        if self.depth is Depth.LEAVES:
            return certify_leaves(reader, start, end)
        return certify(reader, start, end, forms, with_terms=self._index.is_open)

    def _is_whole(self, made: Certified) -> bool:
        """Whether nothing is left to ask of leaves that were certified."""
        if self._index.is_open and sum(part.count for part in made.said) != len(made.hashes):
            return False  # by another view, in which there was no block yet
        return not (made.erased and self._pruned.tells_of_prunes)  # each that is not there may have been pruned

    def _take(self, made: Certified) -> None:
        """Leaves that were certified: what the strict way would have noted of each."""
        if made.times:
            self._pace.add_all(self._rows, made.times, made.intervals)
        self._rows += len(made.hashes)
        self._types.update(made.types)
        self._answers.update(made.answers)
        self._erased += made.erased
        self._index.add_gathered(made.said)
        self._claims.grow(self._tree, self._stored_tree, made.hashes)

    def _read_strictly(self, reader: Auditable, start: int, end: int | None) -> None:
        attachments = Attachments(reader.raw_blobs(start, end), self.findings, self._pruned)
        for row in reader.raw_rows(start, end):
            self._row(row, attachments)
            if self._rows % _PROGRESS_EVERY == 0:
                self._said_so_far()
        attachments.finish()

    def _said_so_far(self) -> None:
        self._progress(self._rows, max(self._rows, self._state_size or 0))
        self._keep_now(at_least=_KEEP_EVERY)

    def _require_prefix(self, reader: Auditable) -> None:
        """That the store still has as many leaves as were verified before; what they are is not read again."""
        size = self._start.size
        if size and (self._state_size or 0) < size:
            words = (
                f"the first {size} leaves were verified before, and the store says that it has {self._state_size or 0}"
            )
            self.findings.add("rolled_back", words, index=self._state_size or 0, end=size)
        elif size and next(reader.leaves(size - 1, size), None) is None:
            words = f"the first {size} leaves were verified before, and the last of them is not there"
            self.findings.add("missing", words, index=size - 1)

    def _keep_now(self, *, at_least: int) -> None:
        """Say how far the leaves are signed for, as long as nothing is wrong with any of them."""
        if self._keep is None or self.findings.total or self._mismatches:
            return
        tree = self._claims.held_tree
        if tree is not None and tree.size - self._kept >= at_least:
            self._kept = tree.size
            self._keep(Prefix(tree, self._claims.held_note))

    def result(self, governed: Sequence[str] = ()) -> Verification:
        """What was found so far."""
        crosscheck = None if self._witness is None else check_witness(self._witness, governed=governed)
        indexes = [self.findings.first_index, None if crosscheck is None else crosscheck.first_bad_index]
        return Verification(
            origin=self._keys[0].name,
            size=self._rows,
            root=self._tree.root(),
            by_type=dict(sorted(self._types.items())),
            allowed=None if self.depth is Depth.LEAVES else self._answers[1],
            denied=None if self.depth is Depth.LEAVES else self._answers[0],
            checkpoints=self._claims.held,
            saved=tuple(self._claims.held_saved),
            saved_given=len(self._saved),
            signed_size=self._claims.held_size,
            findings=tuple(self.findings.listed),
            findings_total=self.findings.total,
            first_bad_index=min((index for index in indexes if index is not None), default=None),
            resumed_at=self._start.size,
            crosscheck=crosscheck,
            notes=tuple(self._notes()),
            depth=self.depth.value,
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

    def _row(self, row: RawRow, attachments: Attachments) -> None:
        index, raw_hash, raw_columns, raw_leaf = row
        if index != self._rows and not self._broken:
            self._break_at(index)
        self._rows += 1
        if (raw_leaf, raw_columns[0]) == (b"", PRUNED) and isinstance(raw_hash, bytes):
            self._pruned.take_leaf(index)
            self._pruned_row(row, attachments)
            return
        leaf_hash = self._hash(index, raw_leaf if isinstance(raw_leaf, bytes) else b"", raw_hash)
        body: Mapping[str, Any] | None
        try:
            body = parse_body(raw_leaf if isinstance(raw_leaf, bytes) else b"")
            columns = search_values(body)
        except FormatError as exc:
            self.findings.add("leaf_malformed", str(exc), index=index)
            body = None
            self._index.add(None, None)
        else:
            self._pruned.meet(index, columns[0], raw_leaf)
            self._index.add(columns, body)
            self._types[columns[0]] += 1
            self._answers[columns[_ALLOWED]] += 1
            if "spooled" not in body:  # it is dated when it was decided, while the store was away
                self._pace.add(index, columns[1], body.get("interval_s") if columns[0] == HEARTBEAT else None)
            if columns != raw_columns:
                self._report_columns(index, columns, raw_columns)
        if self._witness is not None:
            self._witness.add_leaf(index, leaf_hash, body)
        self._erased += attachments.check(index, body)
        if not self._broken:
            self._claims.meet(self._tree, self._stored_tree, leaf_hash)

    def _pruned_row(self, row: RawRow, attachments: Attachments) -> None:
        """What is left of a leaf: its hash, which the signed tree vouches for like any other's."""
        self._tree.append(row.raw_hash)
        if self._stored_tree is not self._tree:
            self._stored_tree.append(row.raw_hash)
        if row.raw_columns != PRUNED_VALUES:
            self._report_columns(row.index, PRUNED_VALUES, row.raw_columns)
        if self._witness is not None:
            self._witness.add_pruned(row.index, row.raw_hash)
        self._index.add(None, None)
        attachments.check(row.index, None)
        if not self._broken:
            self._claims.meet(self._tree, self._stored_tree, row.raw_hash)

    def _hash(self, index: Any, raw_leaf: bytes, raw_hash: Any) -> bytes:
        """Add the leaf to both trees, which are one until a stored hash is wrong."""
        leaf_hash = hash_leaf(raw_leaf)
        if leaf_hash != raw_hash:
            if len(self._mismatches) < _MAX_MISMATCHES:
                self._mismatches.append((index, leaf_hash, raw_hash))
            if self._stored_tree is self._tree:
                self._stored_tree = self._tree.copy()
        if self._stored_tree is not self._tree:
            self._stored_tree.append(raw_hash if isinstance(raw_hash, bytes) else b"")
        self._tree.append(leaf_hash)
        return leaf_hash

    def _break_at(self, index: int) -> None:
        self._broken = True  # from here on every index and every root is another
        kind, words = ("missing", "is missing") if index > self._rows else ("inserted", "stands before the first")
        first, end = min(self._rows, index), max(self._rows, index)
        self.findings.add(kind, f"leaf {first} {words}", index=first, end=end if end - first > 1 else None)

    def _report_columns(self, index: int, said: tuple[Any, ...], stored: tuple[Any, ...]) -> None:
        names = ", ".join(name for name, ours, theirs in zip(COLUMNS, said, stored, strict=True) if ours != theirs)
        self.findings.add("column_changed", f"the leaf does not say what stands beside it: {names}", index=index)

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
        if self.depth.note:
            yield self.depth.note
        if self._rows and not self._claims.held_size:
            yield "no checkpoint signs for these leaves: only that they agree with each other was checked"
        elif not self._broken and (unsigned := self._rows - self._claims.held_size):
            yield f"the last {unsigned} leaves are not signed for yet: keep the next checkpoint and verify again"
        if self._start.size:
            yield f"the first {self._start.size} leaves were verified before and were not read again"
        yield from self._pruned.notes()
        if self._erased:
            yield f"{self._erased} attachments were erased or never kept; the leaves still have their digests"
        if self.depth is not Depth.LEAVES:  # where some are read here and there, each step between them is a silence
            yield from self._pace.notes()
