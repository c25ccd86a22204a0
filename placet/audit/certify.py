"""The quick way through leaves with nothing wrong: all or nothing for a stretch of them.

Here nothing is found out about what is wrong. A stretch in which every leaf has the next index, its hash, its form, its
search columns and its attachments is certified. Of any other one it is only known that it is not, and the strict way
of ``placet.audit.verify`` then reads it from its start, with its own checks and its own words. So a fault that is not
recognised here costs time, and what is certified has passed each check that the strict way makes.

What was pruned, and the leaves by which it is explained, are told from tampering by the strict way alone: a stretch
with a leaf whose bytes are gone, or with one of ``STRICT_TYPES``, is not certified. Attachments that are not there are
counted here, and where the record has a prune that might have taken them, ``placet.audit.verify`` reads it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256 as sha256_of
from typing import Any, Final

from placet.audit.attachments import KEPT
from placet.audit.forms import TOGETHER, Column, Fitted, Forms
from placet.audit.gathering import Gathering
from placet.audit.merkle import hash_leaves
from placet.audit.record import (
    ERASURE,
    HEARTBEAT,
    HOLD,
    LEAF_TYPES,
    PRUNE,
    attachment_digests,
    parse_body,
    search_values,
)
from placet.audit.stores import Auditable, past
from placet.audit.stores.reader import COLUMNS
from placet.audit.terms import BLOCK, Gathered
from placet.errors import FormatError

STRETCH: Final = 512  # leaves in memory at once, at most 16 MiB
STRICT_TYPES: Final = frozenset({HOLD, PRUNE, ERASURE})
"""Leaves that say something of other leaves, which is held against those."""
PLAIN_TYPES: Final = frozenset(kind.encode() for kind in LEAF_TYPES if kind not in STRICT_TYPES)
_INDEX, _HASH, _LEAF, _FIRST_COLUMN = range(4)
_TYPE, _TIME, _ALLOWED = (COLUMNS.index(name) for name in ("leaf_type", "time", "allowed"))

_Blob = tuple[Any, Any, Any, Any]


@dataclass(slots=True)
class Certified:
    """Consecutive leaves with nothing wrong.

    Attributes:
        hashes: of the leaves.
        times: of the leaves, "" for one that was decided while the store was away.
        intervals: place of a heartbeat among them -> the interval that it says, whatever it is.
        types: leaf type -> how many.
        answers: value of the column ``allowed`` -> how many.
        erased: attachments that could be there and are not.
        said: what they are found by, part by part; of none in a store that has no terms.
    """

    hashes: list[bytes] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    intervals: dict[int, Any] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    answers: dict[int | None, int] = field(default_factory=dict)
    erased: int = 0
    said: list[Gathered] = field(default_factory=list)

    def add(self, stretch: _Stretch) -> None:
        """Add leaves of which all but their attachments is right."""
        for place, interval in stretch.intervals.items():
            self.intervals[len(self.hashes) + place] = interval
        self.hashes += stretch.columns[_HASH]
        self.times += stretch.times
        kinds, allowed = (stretch.columns[_FIRST_COLUMN + number] for number in (_TYPE, _ALLOWED))
        for kind, count in Counter(kinds).items():
            self.types[kind] = self.types.get(kind, 0) + count
        for answer, count in Counter(allowed).items():
            self.answers[answer] = self.answers.get(answer, 0) + count


def certify(reader: Auditable, start: int, end: int, forms: Forms, *, with_terms: bool = False) -> Certified | None:
    """Certify the leaves with ``start`` <= index < ``end``, and what stands beside them.

    Args:
        reader: one view of the store.
        start: the first index.
        end: the index after the last.
        forms: what was met before.
        with_terms: whether to tell what the leaves are found by.

    Returns:
        None where the strict way must answer.

    Raises:
        StoreUnavailable: the store can't be read.
    """
    made = Certified()
    beside = _Beside(reader.raw_blobs(start, end))
    first = start
    while first < end:
        last = min(first + STRETCH, end, (first // BLOCK + 1) * BLOCK)  # terms are of one block
        stretch = _Stretch(reader.stretch(first, last), first, last)
        if not (stretch.is_whole() and stretch.reads(forms, with_terms=with_terms)):
            return None
        if not beside.agrees(first, last, stretch.digests):
            return None
        made.add(stretch)
        if stretch.gathering is not None:
            made.said.append(stretch.gathering.gathered(stretch.columns[_FIRST_COLUMN + _TIME]))
        first = last
    if not beside.is_empty:
        return None
    made.erased = beside.missing
    return made


def certify_leaves(reader: Auditable, start: int, end: int) -> Certified | None:
    """The same of the bytes of leaves alone: that each is there, in its place, and has the hash beside it."""
    made = Certified()
    kinds: Counter[bytes] = Counter()
    first = start
    while first < end:
        last = min(first + STRETCH, end)
        stretch = _Stretch(reader.leaf_stretch(first, last), first, last)
        if not stretch.is_whole():
            return None
        made.hashes += stretch.columns[_HASH]
        kinds.update([leaf.partition(b"\n")[0] for leaf in stretch.columns[_LEAF]])
        first = last
    if not kinds.keys() <= PLAIN_TYPES:
        return None
    made.types = {kind.decode(): count for kind, count in kinds.items()}
    return made


class _Stretch:
    """Leaves that follow on each other, one column after the other: a call for all takes what one for each takes.

    Attributes:
        columns: index, hash, leaf and search columns, a value of each leaf in each.
        times: as ``Certified`` has them, once they were read.
        intervals: likewise.
        digests: name of an attachment -> its digest in each leaf, None where a leaf has none of that name.
        gathering: of their terms, where they are asked for.
    """

    def __init__(self, columns: Sequence[Column], first: int, last: int) -> None:
        self.columns = columns
        self._first = first
        self._last = last
        self._count = last - first
        self.times: list[str] = []
        self.intervals: dict[int, Any] = {}
        self.digests: dict[str, list[str | None]] = {}
        self.gathering: Gathering | None = None

    def is_whole(self) -> bool:
        """Whether each leaf is there with its index and its hash."""
        if not self.columns or self.columns[_INDEX] != tuple(range(self._first, self._last)):
            return False
        leaves = self.columns[_LEAF]
        return set(map(type, leaves)) == {bytes} and tuple(hash_leaves(leaves)) == self.columns[_HASH]

    def reads(self, forms: Forms, *, with_terms: bool) -> bool:
        """Whether each leaf is of the form that placet writes and says what stands beside it."""
        stored = self.columns[_FIRST_COLUMN:]
        self.times = list(stored[_TIME])
        if with_terms:
            if any(column[0] is past.NOT_KEPT for column in stored):
                return False
            self.gathering = Gathering(self._first, self._count)
            try:
                self.gathering.add_columns(stored)
            except (TypeError, UnicodeError, AttributeError):
                return False  # something of another type, which no leaf says
        leaves = self.columns[_LEAF]
        for start in range(0, self._count, TOGETHER):
            fitted, left = forms.fit(leaves[start : start + TOGETHER])
            if not all(self._take(one, start, stored) for one in fitted):
                return False
            if not all(self._read_strictly(start + place, forms, stored) for place in left):
                return False
        return True

    def _take(self, fitted: Fitted, start: int, stored: Sequence[Column]) -> bool:
        """Leaves of one form."""
        form, groups = fitted.form, fitted.by_group()
        first, last = start + fitted.places[0], start + fitted.places[-1] + 1
        beside = [column[first:last] for column in stored]
        if last - first != len(fitted.places):
            beside = [tuple(column[start + place] for place in fitted.places) for column in stored]
        if form.columns(groups, len(fitted.places)) != beside:
            return False
        places = [start + place for place in fitted.places]
        for name, number in form.digests:
            column = self._digests_of(name)
            for place, digest in zip(places, groups[number], strict=True):
                column[place] = digest
        if form.spooled:
            for place in places:
                self.times[place] = ""
        if self.gathering is not None:
            for member, number in form.terms:
                self.gathering.add_fragments(member, places, groups[number])
        return True

    def _digests_of(self, name: str) -> list[str | None]:
        column = self.digests.get(name)
        if column is None:
            column = self.digests[name] = [None] * self._count
        return column

    def _read_strictly(self, place: int, forms: Forms, stored: Sequence[Column]) -> bool:
        """One leaf that no form fits."""
        try:
            body = parse_body(self.columns[_LEAF][place])
            values = search_values(body)
        except FormatError:
            return False  # none of its bytes are there, too: it was pruned
        if values[_TYPE] in STRICT_TYPES or values != tuple(column[place] for column in stored):
            return False
        forms.learn(body)
        if values[_TYPE] == HEARTBEAT:
            self.intervals[place] = body.get("interval_s")
        for name, digest in attachment_digests(body).items():
            self._digests_of(name)[place] = digest
        if "spooled" in body:
            self.times[place] = ""
        if self.gathering is not None:
            self.gathering.add_body(place, body)
        return True


class _Beside:
    """The attachments of leaves, in order of index and name.

    Attributes:
        missing: how many could have been there and were not, so far.
    """

    __slots__ = ("_next", "_rows", "missing")

    def __init__(self, rows: Iterator[_Blob]) -> None:
        self._rows = rows
        self._next = next(rows, None)
        self.missing = 0

    @property
    def is_empty(self) -> bool:
        """Whether none is left."""
        return self._next is None

    def agrees(self, first: int, last: int, digests: dict[str, list[str | None]]) -> bool:
        """Whether the attachments of leaves are what these have the digests of.

        Args:
            first: index of the first leaf.
            last: index after the last.
            digests: name -> digest in each leaf, or None.
        """
        kept = sum(len(column) - column.count(None) for name, column in digests.items() if name in KEPT)
        blob, before = self._next, None
        while blob is not None:
            at, name, sha256, content = blob
            if type(at) is not int or at < first:
                return False  # beside no leaf
            if at >= last:
                break
            column = digests.get(name)
            if column is None or (at, name) == before or type(content) is not bytes:
                return False
            found = sha256_of(content).digest()
            if found != sha256 or column[at - first] != "sha256:" + found.hex():
                return False
            kept -= name in KEPT
            before = (at, name)
            blob = next(self._rows, None)
        self._next = blob
        self.missing += kept
        return True
