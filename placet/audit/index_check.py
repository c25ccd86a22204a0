"""What records are found by, held against the leaves: each block is made again and compared, row by row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from placet.audit.findings import Findings
from placet.audit.stores import Auditable
from placet.audit.terms import BLOCK, BlockMaker, TermBlock

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
        self._findings = findings
        self._skip = first * BLOCK - start
        self._maker = BlockMaker(first)
        self._blocks = (row for row in reader.raw_blocks() if not isinstance(row[0], int) or row[0] >= first)
        self._terms = reader.raw_terms(first)
        self._block = next(self._blocks, None)
        self._term = next(self._terms, None)

    @property
    def is_open(self) -> bool:
        """Whether there is a block that is not made again yet."""
        return self._block is not None

    def add_said(self, said: Iterable[tuple[str, Collection[int]]]) -> None:
        """The next leaves, of which is known what they say: time and terms."""
        for time, terms in said:
            if self._block is None:
                return
            if self._skip:
                self._skip -= 1
                continue
            made = self._maker.add_said(time, terms)
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

    def _compare(self, made: TermBlock) -> None:
        stored = tuple(self._take(made.number))
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

    def _take(self, number: int) -> Iterator[tuple[Any, Any]]:
        while self._term is not None and not (isinstance(self._term[0], int) and self._term[0] > number):
            yield self._term[1], self._term[2]
            self._term = next(self._terms, None)
