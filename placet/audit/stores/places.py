"""Where leaves that have every one of some terms are: newest first, by segments, and by blocks where there is none.

Of a term that is on every leaf and of one that is on none a segment costs the same: one look-up by key. So the longest
search is one over all segments, whatever is asked and whatever a planner thinks of how many rows there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from placet.audit.segments import BLOCKS, SEGMENT, descending, find_entry, read_places
from placet.audit.terms import BLOCK, read_members
from placet.errors import FormatError, TamperError

# Rows that are asked for at once: a page is often full after the first, and what is far back comes in few answers.
_SEGMENTS_AT_ONCE: Final = 32
_BLOCKS_AT_ONCE: Final = 256
_MEMBERS: Final = "SELECT members FROM terms WHERE block = b.block AND term ="
_ENTRIES: Final = "SELECT entries FROM postings WHERE segment = s.segment AND first <="
_NEAREST: Final = "ORDER BY first DESC LIMIT 1"
_KNOWN: Final = (
    "SELECT segment, earliest, latest, parts FROM segments WHERE segment < :end AND (parts > 0 OR earliest = '') "
    "ORDER BY segment DESC"
)
_TIMES: Final = "SELECT block, earliest, latest FROM blocks WHERE block >= :first AND block < :end"


class Rows(Protocol):
    """Asks a store."""

    def __call__(self, statement: str, **values: Any) -> Iterator[Any]:
        """A few rows."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What leaves are looked for.

    Attributes:
        terms: each of which a leaf must have.
        one_of: terms of which it must have one; none for any.
        before: its index must be smaller.
        since: the smallest time, as leaves say it; None for any.
        until: the smallest time that is too late; None for any.
        narrow: gives of a block, by its number, the places that can be meant, as bits; None where every one can.
    """

    terms: Sequence[int]
    one_of: Sequence[int]
    before: int
    since: str | None
    until: str | None
    narrow: Callable[[int], int] | None = None

    @property
    def looked_up(self) -> tuple[int, ...]:
        """Every term that is asked for."""
        return (*self.terms, *self.one_of)

    def overlaps(self, earliest: str, latest: str) -> bool:
        """Whether a leaf of these times can be wanted."""
        return not ((self.since and latest < self.since) or (self.until and earliest >= self.until))

    def covers(self, earliest: str, latest: str) -> bool:
        """Whether every leaf of these times is of the time that is wanted."""
        return not ((self.since and earliest < self.since) or (self.until and latest >= self.until))

    def meet(self, found: Sequence[int | None], every: int) -> int:
        """Of what each of the terms that were looked up says, the leaves that have what is wanted, as bits."""
        bits, count = every, len(self.terms)
        for one in found[:count]:
            bits &= one or 0
        if self.one_of:
            some = 0
            for one in found[count:]:
                some |= one or 0
            bits &= some
        return bits


class PlaceSearch:
    """One search in one view of a store.

    Args:
        rows: asks the store.
        conditions: how it is asked for leaves; see ``placet.audit.stores.reader``.
        wanted: what is looked for.
    """

    def __init__(self, rows: Rows, conditions: Mapping[str, str], wanted: Wanted) -> None:
        self._rows = rows
        self._conditions = conditions
        self._wanted = wanted
        self._values = {f"t{_letters(place)}": term for place, term in enumerate(wanted.looked_up)}

    def indexes(self, *, with_segments: bool) -> Iterator[int]:
        """Of the leaves in blocks that are wanted, newest first.

        Raises:
            TamperError: what is stored is no such thing.
        """
        for start, bits in self._found(with_segments=with_segments):
            left = self._wanted.before - start
            bits = self._narrowed(start, bits)  # noqa: PLW2901 - those that can be meant
            for place in descending(bits if left >= SEGMENT else bits & ((1 << max(left, 0)) - 1)):
                yield start + place

    def _narrowed(self, start: int, bits: int) -> int:
        narrow = self._wanted.narrow
        if narrow is None:
            return bits
        kept = 0
        for shift in range(0, bits.bit_length(), BLOCK):
            if there := bits >> shift & _EVERY_OF_BLOCK:
                kept |= (there & narrow((start + shift) // BLOCK)) << shift
        return kept

    def _found(self, *, with_segments: bool) -> Iterator[tuple[int, int]]:
        top = -(-self._wanted.before // BLOCK)
        known = list(self._rows(_KNOWN, end=-(-top // BLOCKS))) if with_segments else []
        together: list[int] = []
        for number, earliest, latest, parts in known:
            end = (number + 1) * BLOCKS
            if end < top:
                yield from self._by_segments(together)
                together = []
                yield from self._by_blocks(end, top)
            if parts and self._wanted.overlaps(earliest, latest):
                together.append(number)
            top = min(top, number * BLOCKS)
        yield from self._by_segments(together)
        yield from self._by_blocks(0, top)

    def _by_segments(self, numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
        asked = "".join(f", ({_ENTRIES} :{name} {_NEAREST})" for name in self._values)
        where = "segment >= :first AND segment <= :last ORDER BY segment DESC"
        statement = f"SELECT segment, earliest, latest{asked} FROM segments s WHERE {where}"  # noqa: S608 - our own words
        at, step = 0, 1
        while at < len(numbers):
            some = numbers[at : at + step]
            at, step = at + step, min(2 * step, _SEGMENTS_AT_ONCE)
            for number, earliest, latest, *found in self._rows(statement, first=some[-1], last=some[0], **self._values):
                if number in some:
                    bits = self._read(found, _of_segment, (1 << SEGMENT) - 1)
                    if bits and not self._wanted.covers(earliest, latest):
                        bits = self._in_time(number, bits)
                    if bits:
                        yield number * SEGMENT, bits

    def _in_time(self, number: int, bits: int) -> int:
        """Of leaves of a segment those that are of the time."""
        kept = 0
        for block, earliest, latest in self._rows(_TIMES, first=number * BLOCKS, end=(number + 1) * BLOCKS):
            shift = (block - number * BLOCKS) * BLOCK
            kept |= self._of_block_in_time(block, earliest, latest, bits >> shift & _EVERY_OF_BLOCK) << shift
        return kept

    def _by_blocks(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        asked = "".join(f", ({_MEMBERS} :{name})" for name in self._values)
        where = "block >= :first AND block < :end ORDER BY block DESC"
        statement = f"SELECT block, earliest, latest{asked} FROM blocks b WHERE {where}"  # noqa: S608 - our own words
        step = BLOCKS
        while first < end:
            start = max(first, end - step)
            for number, earliest, latest, *found in self._rows(statement, first=start, end=end, **self._values):
                bits = self._read(found, _of_block, _EVERY_OF_BLOCK)
                if bits := self._of_block_in_time(number, earliest, latest, bits):
                    yield number * BLOCK, bits
            end, step = start, min(2 * step, _BLOCKS_AT_ONCE)

    def _of_block_in_time(self, number: int, earliest: str, latest: str, bits: int) -> int:
        if not bits or not self._wanted.overlaps(earliest, latest):
            return 0
        if self._wanted.covers(earliest, latest):
            return bits
        asked = {"start": number * BLOCK, "before": (number + 1) * BLOCK}
        times = {name: value for name in ("since", "until") if (value := getattr(self._wanted, name))}
        where = " AND ".join(self._conditions[name] for name in (*asked, *times))
        there = 0
        for (index,) in self._rows(f"SELECT idx FROM leaves WHERE {where}", **asked, **times):  # noqa: S608 - our own words
            there |= 1 << (index - number * BLOCK)
        return bits & there

    def _read(self, found: Sequence[Any], read: Callable[[Any, int], int | None], every: int) -> int:
        """Which leaves have what is wanted; the terms that nothing says anything of are looked at first."""
        if None in found[: len(self._wanted.terms)]:
            return 0
        try:
            terms = self._values.values()
            places = [None if one is None else read(one, term) for one, term in zip(found, terms, strict=True)]
        except (FormatError, TypeError) as exc:
            hint = "Run `placet audit verify`; `placet audit upgrade-store --rebuild` makes it anew."
            raise TamperError("what records are found by was changed", code="index_changed", hint=hint) from exc
        return self._wanted.meet(places, every)


_EVERY_OF_BLOCK: Final = (1 << BLOCK) - 1


def _of_block(members: Any, _term: int) -> int:
    return read_members(members)


def _of_segment(entries: Any, term: int) -> int | None:
    found = find_entry(entries, term)
    return None if found is None else read_places(found)


def _letters(number: int) -> str:
    """A name of letters alone, as values of statements have."""
    return chr(ord("a") + number // 26) + chr(ord("a") + number % 26)
