"""Segments: what 16 blocks of terms say, term by term, so that one look-up answers for 16,384 leaves.

A segment follows from its blocks alone, as they do from the leaves. Its entries stand sorted by term, in parts of less
than 2 KB: the last part that begins at or before a term has what there is of it.
"""

from __future__ import annotations

import functools
import itertools
import struct
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
        try:
            self._add(block)
            return self._close() if self._count == BLOCKS else None
        except OverflowError:
            raise FormatError("a block names a place beyond it", code="index_malformed") from None

    def _add(self, block: TermBlock) -> None:
        place, listed = self._count, self._listed
        start = place * BLOCK
        if block.earliest:
            self._earliest = min(self._earliest or block.earliest, block.earliest)
            self._latest = max(self._latest, block.latest)
        for term, members in block.rows if self._bytes <= MAX_BYTES else ():
            size = len(members)
            if size > _BLOCK_DENSE or size % 2:
                raise FormatError("what a term is found by is neither a bitmap nor a list", code="index_malformed")
            if size == _BLOCK_DENSE:
                self._bytes += size
                self._dense.setdefault(term, []).append((place, members))
                continue
            moved = (int.from_bytes(members, "big") + start * _each(size // 2)).to_bytes(size, "big")
            there = listed.get(term)
            self._bytes += size if there else size + _ENTRY
            listed[term] = there + moved if there else moved
        self._count += 1

    def _close(self) -> Segment:
        rows: tuple[tuple[int, bytes], ...] = ()
        if self._bytes <= MAX_BYTES:
            found = [(term, self._members(term)) for term in sorted(self._listed.keys() | self._dense.keys())]
            rows = tuple(_render_parts(found))
        done = Segment(self.number, self._earliest, self._latest, rows)
        self.number += 1
        self._begin()
        return done

    def _members(self, term: int) -> bytes:
        """Places in the segment: a list, or a bitmap where that is no longer."""
        listed = self._listed.get(term, b"")
        dense = self._dense.get(term)
        if dense is None and len(listed) < _DENSE:
            return listed
        bits = sum(int.from_bytes(members, "little") << place * BLOCK for place, members in dense or ())
        for (place,) in _ONE.iter_unpack(listed):
            bits |= 1 << place
        if bits.bit_count() * 2 >= _DENSE:
            return bits.to_bytes(_DENSE, "little")
        places = sorted(_places(bits))
        return struct.pack(f">{len(places)}H", *places)


@functools.cache
def _each(count: int) -> int:
    """What adds 1 to each of so many numbers of two bytes at once."""
    return int.from_bytes(b"\0\1" * count, "big")


def _render_parts(found: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Entries in parts; one that is too long for a part has one of its own."""
    part: list[tuple[int, bytes]] = []
    size = _HEAD
    for term, members in found:
        added = _ENTRY + len(members)
        if part and size + added > PART_BYTES:
            yield part[0][0], _render_part(part)
            part, size = [], _HEAD
        part.append((term, members))
        size += added
    if part:
        yield part[0][0], _render_part(part)


def _render_part(part: Sequence[tuple[int, bytes]]) -> bytes:
    count = len(part)
    ends = itertools.accumulate(len(members) for _, members in part)
    head = struct.pack(f">H{count}q{count}H", count, *(term for term, _ in part), *ends)
    return head + b"".join(members for _, members in part)


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
