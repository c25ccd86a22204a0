"""Sets of indexes as ranges: ``(start, end)`` with the end excluded, ascending, and none touching the next."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, Final

from placet.audit.merkle import MAX_SIZE
from placet.errors import FormatError

Span = tuple[int, int]
EVERYTHING: Final[tuple[Span, ...]] = ((0, MAX_SIZE),)


def merge(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The set that any ranges make up; empty ones are left out."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return tuple(found)


def of_indexes(indexes: Iterable[int]) -> tuple[Span, ...]:
    """The set of some indexes."""
    return merge((index, index + 1) for index in indexes)


def coarsen(spans: Sequence[Span], most: int) -> tuple[Span, ...]:
    """A set with at most so many ranges that has everything in ``spans``: the narrowest gaps are filled first."""
    if len(spans) <= most:
        return tuple(spans)
    gaps = sorted(after[0] - before[1] for before, after in itertools.pairwise(spans))
    widest = gaps[len(spans) - most - 1]
    found = [spans[0]]
    for start, end in spans[1:]:
        if start - found[-1][1] <= widest:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return tuple(found)


def covers(spans: Sequence[Span], index: int) -> bool:
    """Whether the index is in the set."""
    place = bisect_right(spans, (index, MAX_SIZE)) - 1
    return place >= 0 and spans[place][0] <= index < spans[place][1]


def subtract(spans: Sequence[Span], taken: Sequence[Span]) -> tuple[Span, ...]:
    """What is in the first set and not in the second."""
    found: list[Span] = []
    for first, end in spans:
        start = first
        for low, high in taken:
            if high <= start or low >= end:
                continue
            if low > start:
                found.append((start, low))
            start = max(start, high)
        if start < end:
            found.append((start, end))
    return tuple(found)


def count(spans: Iterable[Span]) -> int:
    """How many indexes the set has."""
    return sum(end - start for start, end in spans)


def render(spans: Iterable[Span]) -> list[list[int]]:
    """As leaves have it."""
    return [[start, end] for start, end in spans]


def parse(value: Any, *, end: int) -> tuple[Span, ...]:
    """Read a set from a leaf.

    Args:
        value: of the leaf's member.
        end: no index of it or beyond may be in the set.

    Raises:
        FormatError: it is no list of ascending ranges before ``end``.
    """
    found: list[Span] = []
    for entry in value if isinstance(value, list) else [None]:
        if not isinstance(entry, list) or [type(one) for one in entry] != [int, int]:
            raise FormatError("not a list of ranges", code="spans_malformed")
        low = found[-1][1] + 1 if found else 0
        if not low <= entry[0] < entry[1] <= end:
            raise FormatError("the ranges do not ascend, or are of leaves to come", code="spans_malformed")
        found.append((entry[0], entry[1]))
    return tuple(found)
