"""What was pruned, as the log itself says: leaves of type ``prune``, and what they explain.

A pruned leaf leaves its hash behind. So the tree, every checkpoint and every proof stay as they were, and what is gone
is told from what was taken away by the leaves that say so: each names the very leaves and attachments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from placet.audit import spans
from placet.audit.holds import Hold, held_by, read_holds
from placet.audit.log import render_time
from placet.audit.persons import SEALED_WORD, mask
from placet.audit.record import HOLD, PRUNE, SCHEMA, parse_leaf
from placet.audit.retention import Retention, RetentionClass
from placet.audit.spans import Span
from placet.errors import FormatError

MAX_RANGES: Final = 800
"""Ranges in one leaf, which has 32 KiB; what has more is told by several leaves."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What goes, or went.

    Attributes:
        leaves: indexes of leaves whose bytes and search columns go, with what is kept beside them.
        attachments: name -> indexes of leaves whose attachment of that name goes while they stay.
    """

    leaves: tuple[Span, ...]
    attachments: Mapping[str, tuple[Span, ...]]

    def __bool__(self) -> bool:
        return bool(self.leaves or any(self.attachments.values()))

    def without(self, held: Sequence[Span]) -> Removal:
        """The same but for what is held."""
        return Removal(
            spans.subtract(self.leaves, held),
            {name: left for name, found in self.attachments.items() if (left := spans.subtract(found, held))},
        )

    def beyond(self, other: Removal) -> Removal:
        """What another one does not name."""
        left = {
            name: spans.subtract(found, other.attachments.get(name, ())) for name, found in self.attachments.items()
        }
        return Removal(
            spans.subtract(self.leaves, other.leaves), {name: found for name, found in left.items() if found}
        )

    def parts(self) -> Iterator[Removal]:
        """The same in pieces that fit into a leaf each."""
        ranges = [("", span) for span in self.leaves]
        ranges += [(name, span) for name, found in sorted(self.attachments.items()) for span in found]
        for start in range(0, len(ranges), MAX_RANGES):
            piece = ranges[start : start + MAX_RANGES]
            names = dict.fromkeys(name for name, _ in piece if name)
            yield Removal(
                tuple(span for name, span in piece if not name),
                {wanted: tuple(span for name, span in piece if name == wanted) for wanted in names},
            )


@dataclass(frozen=True, slots=True)
class Prune:
    """A leaf that says what was pruned.

    Attributes:
        index: of the leaf.
        time: when, as it says.
        by: who.
        reason: why.
        before: every leaf before this one has had its time, or is of a type that is kept for good.
        size: of the signed tree that it was decided on.
        removal: what went.
    """

    index: int
    time: str
    by: str
    reason: str
    before: int
    size: int
    removal: Removal


def render_prune(
    removal: Removal,
    *,
    before: int,
    size: int,
    root: bytes,
    retention: Retention,
    cutoffs: Mapping[RetentionClass, datetime],
    by: str,
    reason: str,
    now: datetime,
) -> dict[str, Any]:
    """Body of the leaf that is appended before anything is removed.

    Args:
        removal: one of the ``parts`` of what goes.
        before: the first leaf whose own time has not run out, or that is held.
        size: of the signed tree that it was decided on; nothing at or after it goes.
        root: of that tree.
        retention: the terms.
        cutoffs: what they come to, by class.
        by: who.
        reason: why; "" where the terms are all there is to say.
        now: aware UTC.
    """
    return {
        "schema": SCHEMA,
        "type": PRUNE,
        "time": render_time(now),
        "before": before,
        "size": size,
        "root": root.hex(),
        "days": {one.value: getattr(retention, f"{one.value}_days") for one in RetentionClass},
        "cutoffs": {one.value: render_time(moment) for one, moment in cutoffs.items()},
        "leaves": spans.render(removal.leaves),
        "attachments": {name: spans.render(found) for name, found in removal.attachments.items()},
        "by": by,
        "reason": reason,
    }


def parse_prune(index: int, body: Mapping[str, Any]) -> Prune:
    """Read the body of a leaf of type ``prune``.

    Raises:
        FormatError: it is not of that form, or names leaves that were not signed when it was written.
    """
    size, before = body.get("size"), body.get("before")
    if type(size) is not int or type(before) is not int or not 0 <= before <= size <= index:
        raise FormatError("a prune is of leaves that were signed before it", code="prune_malformed")
    named = body.get("attachments")
    if not isinstance(named, dict):
        raise FormatError("a prune has attachments, or none", code="prune_malformed")
    removal = Removal(
        spans.parse(body.get("leaves"), end=size),
        {name: spans.parse(found, end=size) for name, found in named.items()},
    )
    told = mask(body, SEALED_WORD)
    words = [told.get(name) for name in ("time", "by", "reason")]
    if not all(isinstance(text, str) for text in words):
        raise FormatError("a prune says when, who and why", code="prune_malformed")
    return Prune(index, str(words[0]), str(words[1]), str(words[2]), before, size, removal)


class Ledger:
    """What the leaves of type ``prune`` and ``hold`` of a record say together.

    Nothing here is verified: whoever uses it sees to it that these leaves are in the signed tree.

    Args:
        leaves: index and raw bytes of every leaf of either type, in order of index.
    """

    def __init__(self, leaves: Iterable[tuple[int, bytes]]) -> None:
        self.raw = {index: raw for index, raw in leaves if isinstance(raw, bytes)}
        self.prunes: list[Prune] = []
        self.malformed: list[int] = []
        holds: list[tuple[int, Mapping[str, Any]]] = []
        for index, raw in sorted(self.raw.items()):
            try:
                leaf = parse_leaf(raw)
                if leaf.type == PRUNE:
                    self.prunes.append(parse_prune(index, leaf.body))
                elif leaf.type == HOLD:
                    holds.append((index, leaf.body))
            except FormatError:
                self.malformed.append(index)
        self.holds: list[Hold] = read_holds(holds)
        self._held = {one.index: held_by(self.holds, one.index) for one in self.prunes}

    @property
    def before(self) -> int:
        """Every leaf before this one has had its time, or is kept for good."""
        return max((one.before for one in self.prunes), default=0)

    def find_leaf(self, index: int) -> Prune | None:
        """The prune that took a leaf; None where none says so."""
        return self._best([one for one in self.prunes if spans.covers(one.removal.leaves, index)], index)

    def find_attachment(self, index: int, name: str) -> Prune | None:
        """The prune that took an attachment; None where none says so."""
        found = [one for one in self.prunes if spans.covers(one.removal.attachments.get(name, ()), index)]
        return self._best(found, index)

    def is_held(self, prune: Prune, index: int) -> bool:
        """Whether a hold that was in force when the prune was written covers the leaf."""
        return spans.covers(self._held[prune.index], index)

    def _best(self, found: Sequence[Prune], index: int) -> Prune | None:
        """Of several that name the same, one that was free to."""
        return min(found, key=lambda one: self.is_held(one, index), default=None)
