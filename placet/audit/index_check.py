"""What records are found by, held against the leaves: each block is made again and compared, row by row."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from placet.audit.findings import Findings
from placet.audit.person_terms import UNOPENED, is_members, number_of
from placet.audit.segment_check import SegmentCheck
from placet.audit.stores import Auditable
from placet.audit.terms import BLOCK, BlockMaker, Gathered, TermBlock

KIND: Final = "index_changed"


class IndexCheck:
    """Walks blocks and terms beside the leaves, all in order.

    Args:
        reader: of the record.
        findings: where what is wrong goes.
        start: index of the first leaf that is given; blocks that begin before it are not looked at.
    """

    def __init__(self, reader: Auditable, findings: Findings, *, start: int = 0) -> None:
        first = -(-start // BLOCK)
        self._reader = reader
        self._findings = findings
        self._skip = first * BLOCK - start
        self._maker = BlockMaker(first)
        self._blocks = (row for row in reader.raw_blocks() if not isinstance(row[0], int) or row[0] >= first)
        self._terms: Iterator[tuple[Any, Any, Any]] = reader.raw_terms(first)
        self._block = next(self._blocks, None)
        self._term = next(self._terms, None)
        self._segments = SegmentCheck(reader, findings, first=first)

    @property
    def is_open(self) -> bool:
        """Whether there is a block that is not made again yet."""
        return self._block is not None

    def add_gathered(self, parts: Iterable[Gathered]) -> None:
        """The next leaves, of which is known what they say."""
        for part in parts:
            if self._block is None:
                return
            if self._skip:
                self._skip -= part.count  # a part is of one block, and so are those to skip
                continue
            made = self._maker.add_gathered(part)
            if made is not None:
                self._compare(made)

    def add(self, columns: Sequence[Any] | None, body: Mapping[str, Any] | None) -> None:
        """The next leaf; None and None for one that can't be read."""
        if self._block is None:
            return  # what comes is in no block yet, or is not found by terms in a version before them
        if self._skip:
            self._skip -= 1
            return
        made = self._maker.add(columns, body)
        if made is not None:
            self._compare(made)

    def finish(self) -> None:
        """What is left belongs to no leaves that are there."""
        if self._block is not None or self._term is not None:
            at = self._maker.number * BLOCK
            words = "records are to be found by terms of leaves that are not there, or not all of them"
            self._findings.add(KIND, words, index=at)
        self._segments.finish()
        self._check_persons()

    def _check_persons(self) -> None:
        """What sealed names are found by follows from keys that nobody needs for verifying: that it is of its form."""
        end = number_of(self._reader.blocks())
        for number, rows in itertools.groupby(self._reader.raw_person_terms(), key=itemgetter(0)):
            terms = [term for _, term, members in rows if is_members(members)]
            if UNOPENED not in terms or number <= end:
                words = "persons are to be found by terms that are none, or of leaves that are not there"
                self._findings.add(KIND, words, index=max(-1 - number, 0) * BLOCK)

    def _compare(self, made: TermBlock) -> None:
        self._segments.add(made)
        stored = self._take(made.number, len(made.rows))
        named = (made.number, made.earliest, made.latest)
        if self._block == named and stored == made.rows:
            self._block = next(self._blocks, None)
            return
        if self._block is None or self._block[0] == made.number:
            self._block = next(self._blocks, None)
        said, there = dict(made.rows), dict(stored)
        wrong = sum(said.get(term) != there.get(term) for term in said.keys() | there.keys())
        start = made.number * BLOCK
        words = f"of {BLOCK} records {wrong} terms that they are found by, or their times, are not what they say"
        self._findings.add(KIND, words, index=start, end=start + BLOCK)

    def _take(self, number: int, expected: int) -> tuple[tuple[Any, Any], ...]:
        """Terms and members of a block, of which so many are expected, and of what stands before it."""
        if self._term is None or self._is_behind(self._term, number):
            return ()
        rows = [self._term, *itertools.islice(self._terms, expected - 1)]
        while rows and self._is_behind(rows[-1], number):
            self._terms = itertools.chain([rows.pop()], self._terms)
        self._term = next(self._terms, None)
        while self._term is not None and not self._is_behind(self._term, number):
            rows.append(self._term)
            self._term = next(self._terms, None)
        return tuple([row[1:] for row in rows])

    @staticmethod
    def _is_behind(row: tuple[Any, Any, Any], number: int) -> bool:
        return isinstance(row[0], int) and row[0] > number
