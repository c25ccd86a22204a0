"""Certifying stretches of a store in several processes, so that an auditor waits for less.

Each process opens the store for itself and reads stretches of it. What comes back is only that a stretch is right, with
the hashes of its leaves, from which the one process that answers makes the tree; everything else it finds out itself,
so that findings and their words do not hang on how many processes there were. Leaves never change, and only those that
the first view has are asked for: that other views are younger makes no difference but to attachments that are being
erased, which are counted and no more. What is pruned meanwhile is gone in a younger view, which can't certify it then.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
from array import array
from collections import deque
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from placet.audit.certify import Certified, certify, certify_leaves
from placet.audit.depth import Depth, fewer_collections
from placet.audit.forms import Forms
from placet.audit.location import StoreLocation, open_reader
from placet.audit.merkle import HASH_BYTES
from placet.audit.terms import Gathered
from placet.errors import PlacetError
from placet.orphans import end_with_parent

SHARE: Final = 4096  # leaves that a process certifies at a time
_AHEAD: Final = 2  # shares for each process that are asked for and not yet taken, 2 MB of terms each

_PackedTerms = tuple[tuple[int, str, str], bytes, bytes, bytes]
"""``Gathered`` but for its places, then its terms, how many places each has, and all places."""

_forms = Forms()  # of a process: what it has met before


@dataclass(frozen=True, slots=True)
class _Packed:
    """``Certified`` in few objects: thousands of small ones would take longer to send than to make."""

    hashes: bytes
    times: str
    intervals: dict[int, Any]
    types: dict[str, int]
    answers: dict[int | None, int]
    erased: int
    said: list[_PackedTerms]

    @classmethod
    def of(cls, made: Certified) -> _Packed:
        return cls(
            b"".join(made.hashes),
            "\n".join(made.times),
            made.intervals,
            made.types,
            made.answers,
            made.erased,
            [_pack(part) for part in made.said],
        )

    def unpack(self) -> Certified:
        hashes = [self.hashes[start : start + HASH_BYTES] for start in range(0, len(self.hashes), HASH_BYTES)]
        return Certified(
            hashes,
            self.times.split("\n") if self.times else [],
            self.intervals,
            self.types,
            self.answers,
            self.erased,
            [_unpack(part) for part in self.said],
        )


def _pack(part: Gathered) -> _PackedTerms:
    places = part.places
    return (
        (part.count, part.earliest, part.latest),
        array("q", places).tobytes(),
        array("H", map(len, places.values())).tobytes(),
        array("H", itertools.chain.from_iterable(places.values())).tobytes(),
    )


def _unpack(packed: _PackedTerms) -> Gathered:
    named, *raws = packed
    terms, counts, places = (array(kind, raw) for kind, raw in zip("qHH", raws, strict=True))
    ends = list(itertools.accumulate(counts))
    parts = (places[start:end].tolist() for start, end in zip([0, *ends], ends, strict=False))
    return Gathered(*named, dict(zip(terms, parts, strict=True)))


class Workers:
    """Processes that certify shares of one store, in order, some way ahead of who asks.

    Args:
        pool: the processes.
        location: of the store.
        start: index of the first leaf that will be asked for.
        size: leaves that there are.
        jobs: how many there are.
        share: leaves in each share.
        depth: what is verified of them.
    """

    def __init__(
        self,
        pool: ProcessPoolExecutor,
        location: StoreLocation,
        start: int,
        size: int,
        *,
        jobs: int,
        share: int = SHARE,
        depth: Depth = Depth.ALL,
    ) -> None:
        self._depth = depth
        self.step = share
        self._ahead = _AHEAD * jobs
        self._pool = pool
        self._location = location
        self._size = size
        self._next = start
        self._asked: deque[tuple[int, int, Future[_Packed | None]]] = deque()
        self._ask()

    def certify(self, start: int, end: int) -> Certified | None:
        """The certificate of a share; None where the caller must read it strictly."""
        while self._asked and self._asked[0][0] <= start:
            first, last, answer = self._asked.popleft()
            self._ask()
            if (first, last) != (start, end):
                continue
            try:
                packed = answer.result()
            except BrokenExecutor:  # a process was killed: what it would have answered is read here
                return None
            return None if packed is None else packed.unpack()
        return None

    def _ask(self) -> None:
        while len(self._asked) < self._ahead and self._next < self._size:
            end = min(self._next + self.step, self._size)
            try:
                answer = self._pool.submit(_certify, self._location, self._next, end, self._depth)
            except BrokenExecutor:
                return
            self._asked.append((self._next, end, answer))
            self._next = end


@contextlib.contextmanager
def open_workers(
    location: StoreLocation, *, jobs: int, start: int, size: int, share: int = SHARE, depth: Depth = Depth.ALL
) -> Iterator[Workers | None]:
    """So many processes until the end; None where there is too little to share.

    Args:
        location: of the store.
        jobs: processes.
        start: index of the first leaf that will be asked for.
        size: leaves that the store says it has, unverified.
        share: leaves in each share.
        depth: what is verified of them.
    """
    if jobs < 2 or size - start <= share:  # noqa: PLR2004 - one process is this one
        yield None
        return
    # A process of its own from the start: a fork would inherit SQLite's idea of which locks it holds.
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent)
    try:
        yield Workers(pool, location, start, size, jobs=jobs, share=share, depth=depth)
    finally:
        pool.shutdown(cancel_futures=True)


def _certify(location: StoreLocation, start: int, end: int, depth: Depth) -> _Packed | None:
    """One share, in a process of the pool."""
    try:
        with fewer_collections(), open_reader(location) as reader:
            if depth is Depth.LEAVES:
                made = certify_leaves(reader, start, end)
            else:
                with_terms = depth is Depth.ALL and next(reader.raw_blocks(), None) is not None
                made = certify(reader, start, end, _forms, with_terms=with_terms)
    except PlacetError:
        return None  # the process that answers will meet it, and says what it is
    return None if made is None else _Packed.of(made)
