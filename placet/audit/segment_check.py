"""Segments, held against the blocks that were made again from the leaves: each is made too, and compared by parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from placet.audit.findings import Findings
from placet.audit.segments import BLOCKS, SEGMENT, Segment, SegmentMaker
from placet.audit.stores import Auditable
from placet.audit.terms import BLOCK, TermBlock
from placet.errors import FormatError

KIND: Final = "index_changed"


class SegmentCheck:
    """Walks segments and their parts beside the blocks, all in order.

    Args:
        reader: of the record.
        findings: where what is wrong goes.
        first: number of the first block that is given. Those before it that are in the same segment were verified
            before, and are taken as they are stored.
    """

    def __init__(self, reader: Auditable, findings: Findings, *, first: int) -> None:
        number = first // BLOCKS
        self._findings = findings
        self._maker: SegmentMaker | None = SegmentMaker(number)
        self._segments = (row for row in reader.raw_segments() if not isinstance(row[0], int) or row[0] >= number)
        self._parts = reader.raw_postings(number)
        self._segment = next(self._segments, None)
        self._part = next(self._parts, None)
        if self._segment is None and self._part is None:
            self._maker = None  # nothing to compare
            return
        for earlier in range(number * BLOCKS, first):
            block = reader.block(earlier)
            self._feed(TermBlock(earlier, "", "", ()) if block is None else block)

    def add(self, block: TermBlock) -> None:
        """The next block, as it must be."""
        self._feed(block)

    def finish(self) -> None:
        """What is left belongs to no blocks that are there, or not all of them."""
        if self._segment is not None or self._part is not None:
            at = 0 if self._maker is None else self._maker.number * SEGMENT
            self._findings.add(KIND, "records are to be found by terms of blocks that are not all there", index=at)

    def _feed(self, block: TermBlock) -> None:
        if self._maker is None:
            return
        try:
            made = self._maker.add(block)
        except FormatError:  # a stored one, from before what is verified now
            made, self._maker = None, SegmentMaker(block.number // BLOCKS + 1)
        if made is not None:
            self._compare(made)

    def _compare(self, made: Segment) -> None:
        named, stored = tuple(self._take_named(made.number)), tuple(self._take(made.number))
        if not named and not stored:
            return  # it is not there yet
        if named == ((made.number, made.earliest, made.latest, len(made.rows)),) and stored == made.rows:
            return
        start = made.number * SEGMENT
        words = f"what {SEGMENT} records are found by together is not what each {BLOCK} of them are found by"
        self._findings.add(KIND, words, index=start, end=start + SEGMENT)

    def _take_named(self, number: int) -> Iterator[tuple[Any, ...]]:
        while self._segment is not None and not (isinstance(self._segment[0], int) and self._segment[0] > number):
            yield tuple(self._segment)
            self._segment = next(self._segments, None)

    def _take(self, number: int) -> Iterator[tuple[Any, Any]]:
        while self._part is not None and not (isinstance(self._part[0], int) and self._part[0] > number):
            yield self._part[1], self._part[2]
            self._part = next(self._parts, None)
