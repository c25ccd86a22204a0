"""Where leaves that have every one of some terms are: newest first, by segments, and by blocks where there is none.

Of a term that is on every leaf and of one that is on none a segment costs the same: one look-up by key. So the longest
search is one over all segments, whatever is asked and whatever a planner thinks of how many rows there are.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from placet.audit.segments import BLOCKS, EVERY, SEGMENT, descending, find_entry, read_places
from placet.audit.terms import BLOCK, read_members
from placet.errors import FormatError, TamperError

# Rows that are asked for at once: a page is often full after the first, and what is far back comes in few answers.
_SEGMENTS_AT_ONCE: Final = 32
_TERMS_AT_ONCE: Final = 8
_BLOCKS_AT_ONCE: Final = 256
_MEMBERS: Final = "SELECT members FROM terms WHERE block = b.block AND term ="
_ENTRIES: Final = "SELECT entries FROM postings WHERE segment = s.segment AND first <="
_NEAREST: Final = "ORDER BY first DESC LIMIT 1"
_KNOWN: Final = (
    "SELECT segment, earliest, latest, parts FROM segments WHERE segment < :end AND (parts > 0 OR earliest = '') "
    "ORDER BY segment DESC"
)
_TIMES: Final = "SELECT block, earliest, latest FROM blocks WHERE block >= :first AND block < :end"


_Places = list[tuple[int, int]]  # index of the first leaf of a block or a segment, and places in it as bits
_Reads = Callable[[Any, int], int | None]  # of what stands of a term, the places


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
        narrow: gives of each of some blocks, by their numbers, the places that can be meant, as bits; None where every
            one can. It is told the places in each that have each of ``plain``.
        plain: terms of which ``narrow`` is told.
    """

    terms: Sequence[int]
    one_of: Sequence[int]
    before: int
    since: str | None
    until: str | None
    narrow: Callable[[Mapping[int, Sequence[int]]], Mapping[int, int]] | None = None
    plain: Sequence[int] = ()

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


class PlaceSearch:
    """One search in one view of a store.

    Args:
        rows: asks the store.
        conditions: how it is asked for leaves; see ``placet.audit.stores.reader``.
        listed: numbers as one value of a statement.
        wanted: what is looked for.
    """

    def __init__(
        self, rows: Rows, conditions: Mapping[str, str], listed: Callable[[Sequence[int]], Any], wanted: Wanted
    ) -> None:
        self._rows = rows
        self._conditions = conditions
        self._listed = listed
        self._wanted = wanted
        self._values = {f"t{_letters(place)}": term for place, term in enumerate(wanted.looked_up)}
        self._plain = {f"p{_letters(place)}": term for place, term in enumerate(wanted.plain)}
        self._one_of = list(self._values)[len(wanted.terms) :]

    def indexes(self, *, with_segments: bool) -> Iterator[int]:
        """Of the leaves in blocks that are wanted, newest first.

        Raises:
            TamperError: what is stored is no such thing.
        """
        for some in self._found(with_segments=with_segments):
            for start, bits in some:
                left = self._wanted.before - start
                for place in descending(bits if left >= SEGMENT else bits & ((1 << max(left, 0)) - 1)):
                    yield start + place

    def _narrowed(self, some: _Places, plain_in: Callable[[Sequence[int]], Mapping[int, Sequence[int]]]) -> _Places:
        """Of what was found together, what can be meant: asked for at once.

        Args:
            some: what was found, by the first leaf of a block or of a segment.
            plain_in: gives of each of these the places that have each of the plain terms.
        """
        if self._wanted.narrow is None or not some:
            return some
        plain = plain_in([start for start, _ in some])
        blocks = {
            (start + shift) // BLOCK: [one >> shift & _EVERY_OF_BLOCK for one in plain.get(start, ())]
            for start, bits in some
            for shift in range(0, bits.bit_length(), BLOCK)
            if bits >> shift & _EVERY_OF_BLOCK
        }
        kept = self._wanted.narrow(blocks)
        return [(start, _meet(start, bits, kept)) for start, bits in some]

    def _plain_in_segments(self, starts: Sequence[int]) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {start: [] for start in starts}
        for at in range(0, len(self._plain), _TERMS_AT_ONCE):
            some = dict(itertools.islice(self._plain.items(), at, at + _TERMS_AT_ONCE))
            for number, _, _, *entries in self._ask_segments(some, [start // SEGMENT for start in starts]):
                found[number * SEGMENT] += self._read_each(entries, some.values(), _of_segment)
        return found

    def _plain_in_blocks(self, starts: Sequence[int]) -> dict[int, list[int]]:
        asked = "".join(f", ({_MEMBERS} :{name})" for name in self._plain)
        statement = f"SELECT block{asked} FROM blocks b WHERE block >= :first AND block < :end"  # noqa: S608 - our own words
        bounds = {"first": min(starts) // BLOCK, "end": max(starts) // BLOCK + 1}
        return {
            number * BLOCK: self._read_each(members, self._plain.values(), _of_block)
            for number, *members in self._rows(statement, **bounds, **self._plain)
        }

    def _found(self, *, with_segments: bool) -> Iterator[_Places]:
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

    def _by_segments(self, numbers: Sequence[int]) -> Iterator[_Places]:
        at, step = 0, 1
        while at < len(numbers):
            some = numbers[at : at + step]
            at, step = at + step, min(2 * step, _SEGMENTS_AT_ONCE)
            places = [(number * SEGMENT, bits) for number, bits in self._in_segments(some) if bits]
            yield self._narrowed(places, self._plain_in_segments)

    def _in_segments(self, numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Places in some segments: a few terms at a time, and the next ones only where those before meet."""
        left = dict.fromkeys(numbers, EVERY)
        times: dict[int, tuple[str, str]] = {}
        for some in self._together():
            if not left:
                break
            rows = list(self._ask_segments({name: self._values[name] for name in some}, list(left)))
            left = {
                number: bits
                for number, _, _, *found in rows
                if (bits := left[number] & self._read(found, some, _of_segment, EVERY))
            }
            times |= {number: (earliest, latest) for number, earliest, latest, *_ in rows}
        for number, bits in left.items():
            yield number, bits if self._wanted.covers(*times[number]) else self._in_time(number, bits)

    def _ask_segments(self, terms: Mapping[str, int], numbers: Sequence[int]) -> Iterator[Any]:
        """Number, times, and the part that each term is in, of some segments; newest first."""
        asked = "".join(f", ({_ENTRIES} :{name} {_NEAREST})" for name in terms)
        where = f"segment >= :first AND segment <= :last AND {self._conditions['segments']}"
        statement = f"SELECT segment, earliest, latest{asked} FROM segments s WHERE {where} ORDER BY segment DESC"  # noqa: S608 - our own words
        bounds = {"first": min(numbers), "last": max(numbers), "segments": self._listed(numbers)}
        return self._rows(statement, **bounds, **terms)

    def _in_time(self, number: int, bits: int) -> int:
        """Of leaves of a segment those that are of the time."""
        kept = 0
        for block, earliest, latest in self._rows(_TIMES, first=number * BLOCKS, end=(number + 1) * BLOCKS):
            shift = (block - number * BLOCKS) * BLOCK
            kept |= self._of_block_in_time(block, earliest, latest, bits >> shift & _EVERY_OF_BLOCK) << shift
        return kept

    def _by_blocks(self, first: int, end: int) -> Iterator[_Places]:
        asked = "".join(f", ({_MEMBERS} :{name})" for name in self._values)
        where = "block >= :first AND block < :end ORDER BY block DESC"
        statement = f"SELECT block, earliest, latest{asked} FROM blocks b WHERE {where}"  # noqa: S608 - our own words
        step = BLOCKS
        while first < end:
            start = max(first, end - step)
            together: _Places = []
            for number, earliest, latest, *found in self._rows(statement, first=start, end=end, **self._values):
                bits = self._read(found, list(self._values), _of_block, _EVERY_OF_BLOCK)
                if bits := self._of_block_in_time(number, earliest, latest, bits):
                    together.append((number * BLOCK, bits))
            yield self._narrowed(together, self._plain_in_blocks)
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

    def _read(self, found: Sequence[Any], names: Sequence[str], read: _Reads, every: int) -> int:
        """Which leaves have what was asked by these names; the terms that nothing says anything of come first."""
        asked = [(self._values[name], one) for name, one in zip(names, found, strict=True)]
        each = [pair for pair, name in zip(asked, names, strict=True) if name not in self._one_of]
        if any(one is None for _, one in each):
            return 0
        with _reading():
            bits = every
            for term, one in each:
                bits &= read(one, term) or 0
            if len(each) < len(asked):
                some = [read(one, term) or 0 for term, one in asked[len(each) :] if one is not None]
                bits &= functools.reduce(operator.or_, some, 0)
        return bits

    @staticmethod
    def _read_each(found: Iterable[Any], terms: Iterable[int], read: _Reads) -> list[int]:
        """Which leaves have each term."""
        with _reading():
            return [0 if one is None else read(one, term) or 0 for term, one in zip(terms, found, strict=True)]

    def _together(self) -> Iterator[list[str]]:
        """Names of the terms that are looked up together: a few at a time, and those of which one is enough at last."""
        each = [name for name in self._values if name not in self._one_of]
        for at in range(0, len(each), _TERMS_AT_ONCE):
            yield each[at : at + _TERMS_AT_ONCE]
        if self._one_of:
            yield list(self._one_of)


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Says of what can't be read that it was changed."""
    try:
        yield
    except (FormatError, TypeError) as exc:
        hint = "Run `placet audit verify`; `placet audit upgrade-store --rebuild` makes it anew."
        raise TamperError("what records are found by was changed", code="index_changed", hint=hint) from exc


def _meet(start: int, bits: int, kept: Mapping[int, int]) -> int:
    """Of places in a segment or a block those that its blocks keep."""
    first = start // BLOCK
    return sum(
        (bits >> shift & kept[first + shift // BLOCK]) << shift
        for shift in range(0, bits.bit_length(), BLOCK)
        if bits >> shift & _EVERY_OF_BLOCK
    )


_EVERY_OF_BLOCK: Final = (1 << BLOCK) - 1


def _of_block(members: Any, _term: int) -> int:
    return read_members(members)


def _of_segment(entries: Any, term: int) -> int | None:
    found = find_entry(entries, term)
    return None if found is None else read_places(found)


def _letters(number: int) -> str:
    """A name of letters alone, as values of statements have."""
    return chr(ord("a") + number // 26) + chr(ord("a") + number % 26)
