"""Segments: what 16 blocks of terms say, term by term, so that one look-up answers for 16,384 leaves.

A segment follows from its blocks alone, as they do from the leaves. Its entries stand sorted by term, in parts of less
than 2 KB: the last part that begins at or before a term has what there is of it.
"""

from __future__ import annotations

import itertools
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from placet.audit.terms import BLOCK, TermBlock
from placet.errors import FormatError

BLOCKS: Final = 16
SEGMENT: Final = BLOCKS * BLOCK
EVERY: Final = (1 << SEGMENT) - 1
PART_BYTES: Final = 1900  # two rows of that size stand on a page of either store
MAX_BYTES: Final = 4 << 20
_DENSE: Final = SEGMENT // 8  # bytes of a bitmap; a list of two bytes each is always shorter
_BLOCK_DENSE: Final = BLOCK // 8
_ENTRY: Final = 10  # bytes of an entry beside its members: the term, and where they end
_HEAD: Final = 2
_TERM: Final = struct.Struct(">q")
_ONE: Final = struct.Struct(">H")
_LIST_SIZES: Final = frozenset(range(0, _BLOCK_DENSE, 2))
_HIGH: Final = tuple(bytes(range(place * BLOCK >> 8, (place + 1) * BLOCK >> 8)) for place in range(BLOCKS))
"""The first bytes of the places of each block: the second ones are the same in all."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What the blocks of a segment say.

    Attributes:
        number: of the segment; its leaves are those from ``SEGMENT * number`` on.
        earliest: the smallest time that one of them says; "" where none can be read.
        latest: the greatest.
        rows: (first term, entries) of every part, sorted. None at all where the blocks say too much to be merged, or
            nothing: the blocks themselves are asked then.
    """

    number: int
    earliest: str
    latest: str
    rows: tuple[tuple[int, bytes], ...]


class SegmentMaker:
    """Makes one segment after the other; give it every block in order."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._begin()

    def _begin(self) -> None:
        self._count = 0
        self._bytes = 0
        self._listed: dict[int, bytes] = {}
        self._dense: dict[int, list[tuple[int, bytes]]] = {}
        self._earliest = ""
        self._latest = ""

    def add(self, block: TermBlock) -> Segment | None:
        """Add the next block; gives the segment that it completes.

        Raises:
            FormatError: the block is none.
        """
        self._add(block)
        return self._close() if self._count == BLOCKS else None

    def _add(self, block: TermBlock) -> None:
        place, listed = self._count, self._listed
        if block.earliest:
            self._earliest = min(self._earliest or block.earliest, block.earliest)
            self._latest = max(self._latest, block.latest)
        terms: list[int] = []
        lists: list[bytes] = []
        for term, members in block.rows if self._bytes <= MAX_BYTES else ():
            if len(members) == _BLOCK_DENSE:
                self._bytes += _BLOCK_DENSE
                self._dense.setdefault(term, []).append((place, members))
            else:
                terms.append(term)
                lists.append(members)
        moved = dict(zip(terms, _move(lists, place), strict=True))
        again = listed.keys() & moved.keys()
        self._bytes += sum(map(len, lists)) + _ENTRY * (len(moved) - len(again))
        for term in again:
            moved[term] = listed[term] + moved[term]
        listed.update(moved)
        self._count += 1

    def _close(self) -> Segment:
        rows: tuple[tuple[int, bytes], ...] = ()
        if self._bytes <= MAX_BYTES:
            found = self._listed
            for term in [*self._dense, *(term for term, listed in found.items() if len(listed) >= _DENSE)]:
                found[term] = self._members(term)
            terms = sorted(found)
            rows = tuple(_render_parts(terms, list(map(found.__getitem__, terms))))
        done = Segment(self.number, self._earliest, self._latest, rows)
        self.number += 1
        self._begin()
        return done

    def _members(self, term: int) -> bytes:
        """Places in the segment of a term that has many: a list, or a bitmap where that is no longer."""
        listed = self._listed.get(term, b"")
        dense = self._dense.get(term)
        bits = sum(int.from_bytes(members, "little") << place * BLOCK for place, members in dense or ())
        for (place,) in _ONE.iter_unpack(listed):
            bits |= 1 << place
        if bits.bit_count() * 2 >= _DENSE:
            return bits.to_bytes(_DENSE, "little")
        places = sorted(_places(bits))
        return struct.pack(f">{len(places)}H", *places)


def _move(lists: Sequence[bytes], place: int) -> list[bytes]:
    """Lists of places in a block as places in its segment, all at once.

    Raises:
        FormatError: one of them is none, or names a place beyond the block.
    """
    sizes = list(map(len, lists))
    if not _LIST_SIZES.issuperset(sizes):
        raise FormatError("what a term is found by is neither a bitmap nor a list", code="index_malformed")
    moved = bytearray().join(lists)
    high = bytes(moved[::2])
    if high.translate(None, _HIGH[0]):
        raise FormatError("a block names a place beyond it", code="index_malformed")
    moved[::2] = high.translate(bytes.maketrans(_HIGH[0], _HIGH[place]))
    raw, start = bytes(moved), 0
    return [raw[start : (start := start + size)] for size in sizes]


def _render_parts(terms: Sequence[int], members: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Entries in parts; one that is too long for a part has one of its own."""
    ends = list(itertools.accumulate(map(len, members), initial=0))
    sizes = [end + _ENTRY * count for count, end in enumerate(ends)]  # of all entries before
    first = 0
    while first < len(terms):
        last = max(bisect_right(sizes, sizes[first] + PART_BYTES - _HEAD) - 1, first + 1)
        begin = ends[first]
        count = last - first
        within = [end - begin for end in ends[first + 1 : last + 1]]
        head = struct.pack(f">H{count}q{count}H", count, *terms[first:last], *within)
        yield terms[first], head + b"".join(members[first:last])
        first = last


def find_entry(entries: bytes, term: int) -> bytes | None:
    """What a part says of a term; None where it does not have it.

    Raises:
        FormatError: it is no part.
    """
    count = _ONE.unpack_from(entries)[0] if len(entries) >= _HEAD else 0
    ends = _HEAD + _TERM.size * count
    start = ends + _ONE.size * count
    if not count or len(entries) < start:
        raise FormatError("a part of a segment is cut off", code="index_malformed")
    wanted = _TERM.pack(term)
    at = entries.find(wanted, _HEAD, ends)
    while at >= 0 and (at - _HEAD) % _TERM.size:  # the end of one term and the beginning of the next
        at = entries.find(wanted, at + 1, ends)
    if at < 0:
        return None
    place = (at - _HEAD) // _TERM.size
    end = start + _ONE.unpack_from(entries, ends + _ONE.size * place)[0]
    begin = start + (_ONE.unpack_from(entries, ends + _ONE.size * (place - 1))[0] if place else 0)
    if not begin < end <= len(entries):
        raise FormatError("a part of a segment says less than it announces", code="index_malformed")
    return entries[begin:end]


def read_places(raw: bytes) -> int:
    """Places in a segment as bits, the first the lowest.

    Raises:
        FormatError: it is neither a bitmap nor a list of places.
    """
    if len(raw) == _DENSE:
        return int.from_bytes(raw, "little")
    if len(raw) > _DENSE or len(raw) % 2:
        raise FormatError("what a term is found by is neither a bitmap nor a list", code="index_malformed")
    bits = bytearray(_DENSE)
    for (place,) in _ONE.iter_unpack(raw):
        if place >= SEGMENT:
            raise FormatError("a place is beyond its segment", code="index_malformed")
        bits[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(bits, "little")


_BITS: Final = tuple(tuple(bit for bit in range(7, -1, -1) if byte >> bit & 1) for byte in range(256))


def _places(bits: int) -> Iterator[int]:
    """Which bits are set, the highest first."""
    raw = bits.to_bytes((bits.bit_length() + 7) // 8, "little")
    for at in range(len(raw) - 1, -1, -1):
        for bit in _BITS[raw[at]]:
            yield 8 * at + bit


descending = _places
