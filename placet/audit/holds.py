"""Legal holds: while one is in force, nothing that it covers is removed. Their state is what the log says.

A hold is a leaf, and so is its release. What a hold covers are ranges of leaves that were there when it was put in
force, and every leaf after it: whether a later one belongs to the matter could not be told any more once it was gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from placet.audit import spans
from placet.audit.log import render_time
from placet.audit.merkle import MAX_SIZE
from placet.audit.person_keys import Opener
from placet.audit.persons import ERASED_WORD, SEALED_WORD, mask
from placet.audit.query import Query
from placet.audit.record import HOLD, SCHEMA
from placet.audit.spans import Span
from placet.audit.stored import read_stored
from placet.audit.stores import Reader
from placet.errors import FormatError

PLACED: Final = "placed"
RELEASED: Final = "released"
MAX_WORDS: Final = 500
MAX_COVERED: Final = 800
"""Ranges in one leaf, which has 32 KiB."""
_CHUNK: Final = 500
_MEMBERS: Final = ("hold_id", "by", "reason")


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold, whether in force or not.

    Attributes:
        hold_id: what it is called.
        placed: index of its leaf.
        released: index of the leaf that ends it; None while it is in force.
        time: when it was placed, as its leaf says.
        by: who placed it.
        reason: why.
        ticket: of the matter; "" for none.
        scope: what was asked for, in words.
        covered: the leaves that it covers.
    """

    hold_id: str
    placed: int
    released: int | None
    time: str
    by: str
    reason: str
    ticket: str
    scope: str
    covered: tuple[Span, ...]

    def in_force(self, at: int = MAX_SIZE) -> bool:
        """Whether it is in force for what is written at an index."""
        return self.placed < at and (self.released is None or self.released > at)


def render_hold(
    hold_id: str, *, covered: Iterable[Span], scope: str, by: str, reason: str, ticket: str, now: datetime
) -> dict[str, Any]:
    """Body of the leaf that puts a hold in force.

    Args:
        hold_id: not that of another hold in force.
        covered: leaves that are there already and belong to it; a few more where they would be too many ranges.
        scope: what was asked for, in words.
        by: who.
        reason: why.
        ticket: of the matter; "" for none.
        now: aware UTC.
    """
    return {
        "schema": SCHEMA,
        "type": HOLD,
        "time": render_time(now),
        "event": PLACED,
        "hold_id": hold_id,
        "scope": scope,
        "covered": spans.render(spans.coarsen(spans.merge(covered), MAX_COVERED)),
        "by": by,
        "reason": reason,
        "ticket": ticket,
    }


def render_release(hold_id: str, *, by: str, reason: str, ticket: str, now: datetime) -> dict[str, Any]:
    """Body of the leaf that ends a hold; the arguments are those of ``render_hold``."""
    return {
        "schema": SCHEMA,
        "type": HOLD,
        "time": render_time(now),
        "event": RELEASED,
        "hold_id": hold_id,
        "by": by,
        "reason": reason,
        "ticket": ticket,
    }


def read_holds(leaves: Iterable[tuple[int, Mapping[str, Any]]], opener: Opener | None = None) -> list[Hold]:
    """Every hold that some leaves of type ``hold`` tell of, in order.

    A leaf that can't be understood is a hold over everything, called by its index: to keep too much is mended, to
    remove too much is not.

    Args:
        leaves: index and body, in order of index.
        opener: opens names that are sealed; without it, and without a key, a word stands for each.
    """
    found: list[Hold] = []
    for index, raw_body in leaves:
        body = mask(raw_body, SEALED_WORD) if opener is None else mask(opener.open(raw_body), ERASED_WORD)
        words = {name: body.get(name) for name in _MEMBERS}
        if not all(isinstance(text, str) and text for text in words.values()):
            found.append(_unreadable(index))
        elif body.get("event") == RELEASED:
            found = [_released(one, body, index) for one in found]
        elif body.get("event") == PLACED:
            found.append(_placed(index, body))
        else:
            found.append(_unreadable(index))
    return found


def load_holds(reader: Reader, opener: Opener | None = None) -> list[Hold]:
    """Every hold that the record tells of; ``opener`` as for ``read_holds``.

    Raises:
        StoreUnavailable: the store can't be read.
        TamperError: what is stored is not what was hashed.
    """
    leaves = ((stored.index, read_stored(stored).body) for stored in reader.of_type(HOLD, start=0))
    return read_holds(leaves, opener)


def held_by(holds: Iterable[Hold], at: int = MAX_SIZE) -> tuple[Span, ...]:
    """Every leaf that a hold covers which is in force at an index."""
    return spans.merge(span for one in holds if one.in_force(at) for span in one.covered)


def find_covered(reader: Reader, query: Query) -> tuple[Span, ...]:
    """The leaves that a query of columns finds: what a hold over a workload, a model or a time covers.

    Raises:
        StoreUnavailable: the store can't be read.
    """
    indexes: list[int] = []
    before: int | None = None
    while rows := reader.search(query.conditions(), before=before, limit=_CHUNK):
        indexes += [row.index for row in rows if row.raw_leaf]
        before = rows[-1].index
    return spans.of_indexes(indexes)


def _placed(index: int, body: Mapping[str, Any]) -> Hold:
    try:
        covered = spans.parse(body.get("covered"), end=MAX_SIZE)
    except FormatError:
        return _unreadable(index)
    return Hold(
        hold_id=body["hold_id"],
        placed=index,
        released=None,
        time=str(body.get("time", "")),
        by=body["by"],
        reason=body["reason"],
        ticket=str(body.get("ticket", "")),
        scope=str(body.get("scope", "")),
        covered=spans.merge((*covered, (index, MAX_SIZE))),
    )


def _unreadable(index: int) -> Hold:
    words = f"leaf {index} is a hold that can't be understood"
    return Hold(f"leaf {index}", index, None, "", "", words, "", "everything", spans.EVERYTHING)


def _released(one: Hold, body: Mapping[str, Any], index: int) -> Hold:
    if one.hold_id != body["hold_id"] or one.released is not None:
        return one
    return Hold(one.hold_id, one.placed, index, one.time, one.by, one.reason, one.ticket, one.scope, one.covered)
