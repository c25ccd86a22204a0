"""What the root of the log is said to be at a size, by whom, and whether the leaves bear it out.

Claims are compared while the leaves stream by, in order of size. Where one fails, the leaves since the last one that
held are looked at more closely: the hashes of that window say whether two leaves were exchanged or one was put in.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from placet.audit.checkpoint import verify_checkpoint
from placet.audit.findings import Findings
from placet.audit.merkle import Frontier
from placet.audit.note import VerifierKey
from placet.errors import FormatError, TamperError

_WINDOW: Final = 1024  # hashes kept to explain a failure
_PAIRS_WINDOW: Final = 96  # every pair is tried in a window up to this, neighbours beyond
_MAX_KEPT: Final = 1000


class Source(Enum):
    """Who says so."""

    STORE = "a checkpoint in the store"
    SAVED = "a saved checkpoint"
    WITNESS = "a checkpoint in the API server's log"
    STATE = "the state row"


@dataclass(frozen=True, slots=True)
class Claim:
    """The log has, or had, this root at this size.

    Attributes:
        note: the signed note, where the claim is one.
        name: file name of a saved checkpoint, or where an API server's log has it, else "".
    """

    size: int
    root: bytes
    source: Source
    name: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Failed:
    claim: Claim
    since: int
    kind: str
    index: int


def stored_claims(
    rows: Iterator[tuple[Any, Any, Any, Any]], keys: Sequence[VerifierKey], findings: Findings
) -> Iterator[Claim]:
    """Claims of the checkpoints in a store whose signature is right; the others become findings."""
    for size, root, frontier, note in rows:
        try:
            verified = verify_checkpoint(note.encode(errors="surrogateescape") if isinstance(note, str) else b"", keys)
            folded = Frontier.parse(verified.size, frontier if isinstance(frontier, bytes) else b"").root()
        except (FormatError, TamperError) as exc:
            findings.add("checkpoint_invalid", f"the checkpoint of {size} leaves: {exc}")
            continue
        if (verified.size, verified.root) != (size, root) or folded != verified.root:
            findings.add("checkpoint_invalid", f"the row of the checkpoint of {size} leaves is not what its note says")
            if verified.size != size:
                continue  # out of order
        yield Claim(verified.size, verified.root, Source.STORE, note=verified.note)


class ClaimCheck:
    """Holds every claim against the leaves.

    Args:
        stored: claims of the store in order of size.
        others: saved checkpoints and the state row, in any order.
        witnessed: claims of an API server's log, in order of size.
        start: the tree that the leaves go on from; claims of less are passed over.
    """

    def __init__(
        self,
        stored: Iterator[Claim],
        others: Sequence[Claim],
        witnessed: Iterable[Claim] = (),
        start: Frontier | None = None,
    ) -> None:
        ordered = sorted(others, key=lambda claim: claim.size)
        self._good = Frontier() if start is None else start.copy()
        merged = heapq.merge(stored, ordered, witnessed, key=lambda claim: claim.size)
        self._claims = itertools.dropwhile(lambda claim: claim.size < self._good.size, merged)
        self._before = self._good.size  # ``_good`` is the tree of the last claim that held, this the size before it
        self._window: deque[bytes] = deque(maxlen=_WINDOW)
        self._failed: list[_Failed] = []
        self._explain: list[Claim] = []
        self.held = 0
        self.held_size = self._good.size
        self.held_note = ""
        self.held_saved: list[str] = []
        self._next: Claim | None = next(self._claims, None)

    @property
    def held_tree(self) -> Frontier | None:
        """The tree of the last claim that held, and of which ``held_note`` is the note; None once one has failed."""
        return None if self._failed or self._explain or not self.held_note else self._good.copy()

    def meet(self, computed: Frontier, stored: Frontier, new_hash: bytes | None) -> None:
        """Hold the claims of this size against the tree, once it has it.

        Args:
            computed: tree of the leaves as they are.
            stored: tree of the hashes beside them; another one only where a finding says so already.
            new_hash: of the leaf that was added last; None at size 0.
        """
        if new_hash is not None:
            self._window.append(new_hash)
            if self._explain:
                self._fail(self._explain)
                self._explain = []
        while self._next is not None and self._next.size <= computed.size:
            claim, self._next = self._next, next(self._claims, None)
            if claim.root in (computed.root(), stored.root()):
                self._hold(claim, stored if claim.root == stored.root() else computed)
            else:
                self._explain.append(claim)  # with the next leaf at hand: one that was put in has moved the last one on

    def grow(self, computed: Frontier, stored: Frontier, hashes: Sequence[bytes], *, root: bytes = b"") -> None:
        """Add leaves to the tree, and hold each claim against it at its size: as ``meet`` does leaf by leaf.

        Args:
            computed: tree of the leaves as they are, before these.
            stored: tree of the hashes beside them.
            hashes: of leaves beside which these hashes stand.
            root: of the tree of these leaves alone, where they are a power of two in their place and it is known.
        """
        done = 0
        while done < len(hashes):
            count = len(hashes) - done if self._next is None else max(self._next.size - computed.size, 1)
            part = hashes[done : done + (1 if self._explain else count)]
            for tree in (computed,) if stored is computed else (computed, stored):
                if root and len(part) == len(hashes):
                    tree.append_subtree(root, len(hashes).bit_length() - 1)
                else:
                    tree.extend(part)
            if not self._explain:
                self._window.extend(part[:-1])
            self.meet(computed, stored, part[-1])
            done += len(part)

    def finish(self, size: int, findings: Findings, *, broken: bool) -> None:
        """Report what failed, after the last leaf.

        Args:
            size: leaves that were read.
            findings: where to.
            broken: whether leaves between others are missing, which is why later claims can't hold.
        """
        self._fail(self._explain)
        # One history fails every later claim: it is reported once, and once for each saved checkpoint.
        rewritten = forked = False
        for failed in sorted(self._failed, key=lambda failed: failed.claim.source is Source.STATE):
            source = failed.claim.source
            contradicted = self.held_size >= failed.claim.size
            if contradicted and source is Source.STATE:
                findings.add("state_changed", "its frontier is not that of the leaves, which are signed for")
            elif contradicted and not (source is Source.WITNESS and forked):
                _report_fork(failed, findings)
                forked = forked or source is Source.WITNESS
            elif contradicted:
                continue
            elif not broken and (source is Source.SAVED or not rewritten):
                _report(failed, findings)
                rewritten = True
        if not broken:
            self._report_beyond(size, findings)

    def _hold(self, claim: Claim, tree: Frontier) -> None:
        if claim.source is Source.STATE:
            return
        if tree.size > self._good.size:
            self._before = self._good.size
        self._good = tree.copy()
        self._window.clear()
        self.held_note = claim.note
        self.held += claim.source is Source.STORE
        self.held_size = max(self.held_size, claim.size)
        if claim.source is Source.SAVED:
            self.held_saved.append(claim.name)

    def _fail(self, claims: Sequence[Claim]) -> None:
        for claim in claims[: max(_MAX_KEPT - len(self._failed), 0)]:
            kind, index = "rewritten", self._good.size
            if not self._failed and self._good.size + len(self._window) >= claim.size:
                kind, index = _explanation(self._good, list(self._window), claim) or (kind, index)
            since = self._good.size if self._good.size < claim.size else self._before
            self._failed.append(_Failed(claim, since, kind, index))

    def _report_beyond(self, size: int, findings: Findings) -> None:
        """Claims of more leaves than there are."""
        beyond = list(itertools.chain([self._next] if self._next else [], self._claims))
        elsewhere = (Source.SAVED, Source.WITNESS)
        inside = [claim.size for claim in beyond if claim.source not in elsewhere]
        witnessed = [claim for claim in beyond if claim.source is Source.WITNESS][-1:]
        if inside:
            sentence = f"the store says that it has had {max(inside)} leaves, and has {size}"
            findings.add("truncated", sentence, index=size, end=max(inside))
        for claim in [*(claim for claim in beyond if claim.source is Source.SAVED), *witnessed]:
            sentence = f"{claim.name} was signed over {claim.size} leaves, and the store has {size}"
            findings.add("truncated" if inside else "rolled_back", sentence, index=size, end=claim.size)


def _report_fork(failed: _Failed, findings: Findings) -> None:
    claim, source = failed.claim, failed.claim.name or failed.claim.source.value
    sentence = (
        f"{source} of {claim.size} leaves is of another history than a larger checkpoint that the same log has signed"
    )
    findings.add("fork", sentence, index=failed.since, end=claim.size)


def _report(failed: _Failed, findings: Findings) -> None:
    claim, source = failed.claim, failed.claim.name or failed.claim.source.value
    if failed.kind != "rewritten":
        words = "were it not there" if failed.kind == "inserted" else "were it in its own place"
        sentence = f"{source} of {claim.size} leaves would hold {words}"
        findings.add(failed.kind, sentence, index=failed.index)
    elif claim.source is Source.STATE:
        sentence = "its frontier is not that of the leaves: it was changed, or a leaf that no checkpoint signs for yet"
        findings.add("state_changed", sentence, index=failed.since, end=claim.size)
    else:
        findings.add(
            "rewritten", f"the leaves up to {claim.size} are not those of {source}", index=failed.since, end=claim.size
        )


def _explanation(good: Frontier, window: Sequence[bytes], claim: Claim) -> tuple[str, int] | None:
    """The one exchange or insertion that accounts for the claim, if there is one."""
    count = claim.size - good.size
    signed = list(window[:count])
    for first, second in _pairs(count):
        signed[first], signed[second] = signed[second], signed[first]
        if _root(good, signed) == claim.root:
            return "reordered", good.size + first
        signed[first], signed[second] = signed[second], signed[first]
    if len(window) > count:
        for extra in range(count + 1):
            if _root(good, [*window[:extra], *window[extra + 1 : count + 1]]) == claim.root:
                return "inserted", good.size + extra
    return None


def _pairs(count: int) -> Iterator[tuple[int, int]]:
    if count <= _PAIRS_WINDOW:
        return itertools.combinations(range(count), 2)
    return itertools.pairwise(range(count))


def _root(start: Frontier, hashes: Sequence[bytes]) -> bytes:
    tree = start.copy()
    for leaf_hash in hashes:
        tree.append(leaf_hash)
    return tree.root()
