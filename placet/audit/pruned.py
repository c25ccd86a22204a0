"""Hold what is gone from a record against what its leaves say was pruned.

A leaf whose bytes are gone is explained by a leaf of type ``prune`` that names it, comes after it, and is in the signed
tree; and that was written while no hold covered it. The leaves that explain are read before the pass over the record
and believed by nobody: the pass must meet each of them, byte for byte, in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from placet.audit.findings import Findings
from placet.audit.pruning import Ledger, Prune
from placet.audit.record import HOLD, PRUNE


class PrunedLeaves:
    """What one verification finds gone.

    Args:
        leaves: index and raw bytes of leaves of type ``hold`` and ``prune``, unverified.
        findings: where to report.
    """

    def __init__(self, leaves: Iterable[tuple[int, bytes]], findings: Findings) -> None:
        self._ledger = Ledger(leaves)
        self._findings = findings
        self._met: set[int] = set()
        self._leaves: Counter[int] = Counter()  # prune -> leaves that it explains
        self._attachments: Counter[int] = Counter()

    @property
    def tells_of_prunes(self) -> bool:
        """Whether any leaf says that something was pruned: what is not there may be explained, or under a hold."""
        return bool(self._ledger.prunes)

    def explains(self, index: int) -> bool:
        """Whether a leaf says that this one was pruned."""
        return self._ledger.find_leaf(index) is not None

    def take_leaf(self, index: Any) -> None:
        """A leaf has no bytes: report it unless a prune took them."""
        prune = self._ledger.find_leaf(index) if isinstance(index, int) else None
        if prune is None:
            words = "its contents are gone, and no leaf says that they were pruned"
            self._findings.add("prune_unexplained", words, index=index)
        else:
            self._take(prune, index, self._leaves)

    def take_attachment(self, index: int, name: str) -> bool:
        """An attachment of a leaf is not there: say whether a prune took it."""
        prune = self._ledger.find_attachment(index, name)
        if prune is None:
            return False
        self._take(prune, index, self._attachments)
        return True

    def meet(self, index: Any, leaf_type: str, raw_leaf: Any) -> None:
        """A leaf is in its place in the record."""
        if leaf_type in {HOLD, PRUNE} and self._ledger.raw.get(index) == raw_leaf:
            self._met.add(index)

    def finish(self, signed_size: int, *, start: int = 0) -> None:
        """Report what can't explain anything, after the last leaf.

        Args:
            signed_size: leaves under the largest checkpoint that holds.
            start: leaves that an earlier run has met.
        """
        for index in sorted({*self._leaves, *self._attachments}):
            first = min(
                (span[0] for prune in self._ledger.prunes if prune.index == index for span in prune.removal.leaves),
                default=index,
            )
            if index >= start and index not in self._met:
                sentence = f"leaf {index}, which is to explain what was pruned, is not in the record like that"
                self._findings.add("prune_unexplained", sentence, index=first)
            elif index >= signed_size:
                sentence = f"leaf {index}, which is to explain what was pruned, is not signed for"
                self._findings.add("prune_unexplained", sentence, index=first)

    def notes(self) -> Iterator[str]:
        """What was pruned, by which leaf; and which holds are in force."""
        for prune in self._ledger.prunes:
            leaves, attachments = self._leaves[prune.index], self._attachments[prune.index]
            if leaves or attachments:
                words = f" ({prune.reason})" if prune.reason else ""
                yield (
                    f"leaf {prune.index} of {prune.time}, by {prune.by}{words}, explains that {leaves} leaves and "
                    f"{attachments} attachments were pruned; their hashes are in the signed tree"
                )
        for hold in self._ledger.holds:
            if hold.released is None:
                yield f"hold {hold.hold_id} is in force since leaf {hold.placed} ({hold.scope}): {hold.reason}"

    def _take(self, prune: Prune, index: int, where: Counter[int]) -> None:
        where[prune.index] += 1
        if self._ledger.is_held(prune, index):
            self._findings.add("hold_broken", f"leaf {prune.index} pruned it while a hold covered it", index=index)
