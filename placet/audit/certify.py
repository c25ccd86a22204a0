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

import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256 as sha256_of
from typing import Any, Final

import orjson

from placet.audit.attachments import KEPT
from placet.audit.forms import Forms, Said
from placet.audit.merkle import hash_leaf
from placet.audit.record import ERASURE, HEARTBEAT, HOLD, PRUNE, attachment_digests, parse_body, search_values
from placet.audit.stores import Auditable
from placet.audit.stores.reader import COLUMNS
from placet.audit.terms import terms_of
from placet.errors import FormatError

STRETCH: Final = 512  # leaves in memory at once, at most 16 MiB
STRICT_TYPES: Final = frozenset({HOLD, PRUNE, ERASURE})
"""Leaves that say something of other leaves, which is held against those."""
_FIRST_COLUMN: Final = 3
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
        said: time and terms of each leaf; of none in a store that has no terms.
    """

    hashes: list[bytes] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    intervals: dict[int, Any] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    answers: dict[int | None, int] = field(default_factory=dict)
    erased: int = 0
    said: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)


def certify(reader: Auditable, start: int, end: int, forms: Forms, *, with_terms: bool = False) -> Certified | None:
    """Certify the leaves with ``start`` <= index < ``end``, and what stands beside them.

    Args:
        reader: one view of the store.
        start: the first index.
        end: the index after the last.
        forms: what was met before.
        with_terms: whether to tell what the leaves are found by, which takes longer than all the rest.

    Returns:
        None where the strict way must answer.

    Raises:
        StoreUnavailable: the store can't be read.
    """
    made = Certified()
    beside = _Beside(reader.raw_blobs(start, end))
    # Names of this function alone: a hundred thousand times a second an attribute costs what a check costs.
    read, agrees, times = forms.read, beside.agrees, made.times
    answers: list[tuple[str, int | None]] = []
    for first in range(start, end, STRETCH):
        last = min(first + STRETCH, end)
        rows = reader.stretch(first, last)
        if len(rows) != last - first:
            return None
        for index, row in enumerate(rows, first):
            raw, leaf_hash = row[2], row[1]
            if row[0] != index or type(raw) is not bytes or hash_leaf(raw) != leaf_hash:
                return None
            said = read(raw) or _read_strictly(raw, index - start, forms, made)
            if said is None:
                return None
            values, digests, spooled = said
            if values != row[_FIRST_COLUMN:] or not agrees(index, digests):
                return None
            times.append("" if spooled else values[_TIME])
            if with_terms:  # a leaf that a form fits is JSON, and canonical
                body = orjson.loads(raw[raw.index(b"\n") + 1 :])
                made.said.append((values[_TIME], tuple(terms_of(values, body))))
            answers.append((values[_TYPE], values[_ALLOWED]))
        made.hashes += [row[1] for row in rows]
        _count(made, answers)
        answers.clear()
    if not beside.is_empty:
        return None
    made.erased = beside.missing
    return made


def _count(made: Certified, answers: list[tuple[str, int | None]]) -> None:
    for (leaf_type, allowed), count in Counter(answers).items():
        made.types[leaf_type] = made.types.get(leaf_type, 0) + count
        made.answers[allowed] = made.answers.get(allowed, 0) + count


def _read_strictly(raw: bytes, place: int, forms: Forms, made: Certified) -> Said | None:
    try:
        body = parse_body(raw)
        values = search_values(body)
    except FormatError:
        return None  # none of its bytes are there, too: it was pruned
    if values[_TYPE] in STRICT_TYPES:
        return None
    forms.learn(body)
    if values[0] == HEARTBEAT:
        made.intervals[place] = body.get("interval_s")
    return Said(values, attachment_digests(body), "spooled" in body)


class _Beside:
    """The attachments of a stretch, in order of index and name.

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

    def agrees(self, index: int, digests: Mapping[str, str]) -> bool:
        """Whether the attachments of the leaf are what it has the digests of."""
        kept = _kept(tuple(digests))
        blob, before = self._next, None
        if blob is None or blob[0] > index:
            self.missing += kept
            return True
        while blob is not None and blob[0] <= index:
            at, name, sha256, content = blob
            if at != index or type(content) is not bytes or name == before:
                return False
            found = sha256_of(content).digest()
            if found != sha256 or digests.get(name) != f"sha256:{found.hex()}":
                return False
            kept -= name in KEPT
            before = name
            blob = next(self._rows, None)
        self._next = blob
        self.missing += kept
        return True


@functools.lru_cache(maxsize=256)
def _kept(names: tuple[str, ...]) -> int:
    """How many of the names are of what is kept until it is erased."""
    return len(KEPT.intersection(names))
