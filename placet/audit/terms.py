"""Terms: what a leaf can be found by, and the blocks in which a store keeps which leaf says which term.

A term is 64 bits of the hash of a field and a value. A block is 1,024 leaves, and is written once all of them are
there. Both follow from the leaves alone: ``placet audit verify`` makes them again and compares.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from placet.audit.record import Columns, parse_body, search_values
from placet.errors import FormatError

BLOCK: Final = 1024
_DENSE: Final = BLOCK // 8  # bytes of a bitmap; a list of two bytes each is always shorter
_WORD: Final = re.compile(r"\w+")

# Where leaves of every type say such things.
_ROLES: Final = (("approvals", "role"), ("rejected", "role"), ("role",))
_PERSONS: Final = (("approvals", "person"), ("exemption", "persons"), ("signers", "person"), ("person",))
_APPROVALS: Final = (("approvals", "approval_id"), ("rejected", "approval_id"), ("approval_id",))
_IMAGES: Final = (("images",),)
_TEXTS: Final = (("message",), ("advice",), ("reason",), ("ticket",), ("conclusion",))
# field -> column; other types than decisions have none but the first
_COLUMNS: Final = {
    "type": "leaf_type",
    "environment": "environment",
    "namespace": "namespace",
    "kind": "kind",
    "name": "object_name",
    "user": "requester",
    "model": "model",
    "projection": "projection",
    "allowed": "allowed",
}
_FIELDS: Final = {"role": _ROLES, "person": _PERSONS, "approval": _APPROVALS, "image": _IMAGES, "text": _TEXTS}
# The same by where it stands, so that a body is gone through once: member -> (field, its member), and member -> field.
_SAID: Final = tuple((field, place) for field, places in _FIELDS.items() for place in places)
_INNER: Final = tuple(
    (key, tuple((field, place[-1]) for field, place in _SAID if place[0] == key and len(place) > 1))
    for key in sorted({place[0] for _, place in _SAID if len(place) > 1})
)
_OUTER: Final = tuple((place[0], field) for field, place in _SAID if len(place) == 1)
_UNSAID: Final = ("", None)
_NAMES: Final = tuple(Columns.__dataclass_fields__)
_PLACES: Final = tuple((field, _NAMES.index(column)) for field, column in _COLUMNS.items())
_VIOLATIONS: Final = _NAMES.index("violations")
_TIME: Final = _NAMES.index("time")


@dataclass(frozen=True, slots=True)
class TermBlock:
    """Which of 1,024 leaves say which terms.

    Attributes:
        number: of the block; its leaves are those from ``BLOCK * number`` on.
        earliest: the smallest time that one of them says; "" where none can be read.
        latest: the greatest.
        rows: (term, members), sorted; members are places in the block, see ``read_members``.
    """

    number: int
    earliest: str
    latest: str
    rows: tuple[tuple[int, bytes], ...]


class BlockMaker:
    """Makes one block after the other; give it every leaf in order of index."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._begin()

    def _begin(self) -> None:
        self._place = 0
        self._terms: defaultdict[int, list[int]] = defaultdict(list)
        self._together: defaultdict[frozenset[int], list[int]] = defaultdict(list)
        self._earliest = ""
        self._latest = ""

    def add(self, columns: Sequence[Any] | None, body: Mapping[str, Any] | None) -> TermBlock | None:
        """Add the next leaf; gives the block that it completes.

        Args:
            columns: of ``search_values``; None, as for the body, where the leaf can't be read: it has no terms.
            body: of the leaf.
        """
        if columns is None or body is None:
            return self._close()
        place, there = self._place, self._terms
        alone, together = gather_terms(columns, body)
        for term in alone:
            there[term].append(place)
        for terms in together:
            self._together[terms].append(place)
        self._span(columns[_TIME])
        return self._close()

    def add_said(self, time: str, terms: Iterable[int]) -> TermBlock | None:
        """The same for a leaf of which its time and its terms are known."""
        place, there = self._place, self._terms
        for term in terms:
            there[term].append(place)
        self._span(time)
        return self._close()

    def _span(self, time: str) -> None:
        self._earliest = min(self._earliest or time, time)
        self._latest = max(self._latest, time)

    def _close(self) -> TermBlock | None:
        """Go on to the next place; the block, where that was the last one."""
        self._place += 1
        if self._place < BLOCK:
            return None
        rows = tuple((term, _render_members(places)) for term, places in sorted(self._places().items()))
        done = TermBlock(self.number, self._earliest, self._latest, rows)
        self.number += 1
        self._begin()
        return done

    def _places(self) -> dict[int, list[int]]:
        """Term -> places, ascending, each once."""
        found, twice = self._terms, set()
        for terms, places in self._together.items():
            for term in terms:
                if there := found.get(term):
                    there.extend(places)
                    twice.add(term)
                else:
                    found[term] = list(places)
        return found | {term: sorted(set(found[term])) for term in twice}


def make_block(number: int, leaves: Iterable[bytes]) -> TermBlock | None:
    """The block of these leaves; None where they are fewer than it has."""
    maker = BlockMaker(number)
    done = None
    for raw in leaves:
        try:
            body = parse_body(raw)
            done = maker.add(search_values(body), body)
        except FormatError:
            done = maker.add(None, None)
    return done


def read_members(raw: bytes) -> int:
    """Places in a block as bits, the first the lowest.

    Raises:
        FormatError: it is neither a bitmap nor a list of places.
    """
    if len(raw) == _DENSE:
        return int.from_bytes(raw, "little")
    if len(raw) > _DENSE or len(raw) % 2:
        raise FormatError("what a term is found by is neither a bitmap nor a list", code="index_malformed")
    bits = 0
    for (place,) in struct.iter_unpack(">H", raw):
        if place >= BLOCK:
            raise FormatError("a place is beyond its block", code="index_malformed")
        bits |= 1 << place
    return bits


def _render_members(places: Sequence[int]) -> bytes:
    if 2 * len(places) < _DENSE:
        return struct.pack(f">{len(places)}H", *places)
    bits = 0
    for place in places:
        bits |= 1 << place
    return bits.to_bytes(_DENSE, "little")


def term_of(field: str, value: str) -> int:
    """The term of a field and a value: 64 bits, with a sign since databases have no other."""
    return _hashed(field, value)


@functools.lru_cache(maxsize=16_384)
def _hashed(field: str, value: str) -> int:
    digest = hashlib.sha256(f"{field}\0{value}".encode("utf-8", errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def terms_of(columns: Sequence[Any], body: Mapping[str, Any]) -> set[int]:
    """Every term of a leaf; as ``gather_terms``."""
    alone, together = gather_terms(columns, body)
    return alone.union(*together)


def gather_terms(columns: Sequence[Any], body: Mapping[str, Any]) -> tuple[set[int], set[frozenset[int]]]:
    """The terms of a leaf, those of a text or an image together: many leaves say the same one.

    Args:
        columns: of ``search_values``.
        body: of the leaf.
    """
    alone = {_hashed(field, str(columns[place])) for field, place in _PLACES if columns[place] not in _UNSAID}
    together: set[frozenset[int]] = set()
    if columns[_VIOLATIONS]:
        alone.update(_hashed("violation", word) for word in columns[_VIOLATIONS].split("|") if word)
    get = body.get
    for key, fields in _INNER:
        if value := get(key):
            for entry in value if isinstance(value, list) else (value,):
                if isinstance(entry, (dict, Mapping)):  # a dict nearly always, and asking the abstract class takes long
                    for field, name in fields:
                        if type(inner := entry.get(name)) is str and inner:
                            alone.add(_hashed(field, inner))
                        elif inner:
                            alone.update(_hashed(field, one) for one in _texts(inner))
    for key, field in _OUTER:
        if value := get(key):
            terms = _WORDS_OF.get(field)
            if terms is None:
                alone.update(_hashed(field, one) for one in _texts(value))
            else:
                together.update(terms(one) for one in _texts(value))
    return alone, together


def _texts(value: object) -> list[str]:
    """A text, or each text in a list, but for empty ones."""
    return [one for one in (value if isinstance(value, list) else (value,)) if isinstance(one, str) and one]


@functools.lru_cache(maxsize=1024)
def image_terms(image: str) -> frozenset[int]:
    """Of the words of a reference, and of each two that stand side by side."""
    words = image_words(image)
    pairs = (" ".join(pair) for pair in itertools.pairwise(words))
    return frozenset(_hashed("image", word) for word in (*words, *pairs))


@functools.lru_cache(maxsize=1024)
def text_terms(text: str) -> frozenset[int]:
    """Of the words of a text."""
    return frozenset(_hashed("text", word) for word in text_words(text))


_WORDS_OF: Final[Mapping[str, Callable[[str], frozenset[int]]]] = {"image": image_terms, "text": text_terms}


def image_words(image: str) -> list[str]:
    """Runs of letters, digits and underscores, in order."""
    return _WORD.findall(image)


def text_words(text: str) -> set[str]:
    """The same, upper and lower case alike."""
    return set(_WORD.findall(text.casefold()))


def said_in(body: Mapping[str, Any], field: str) -> Iterator[str]:
    """Every text that a body says in a field: ``role``, ``person``, ``approval``, ``image``, ``text``."""
    return said(body, _FIELDS[field])


def said(body: Mapping[str, Any], places: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Every text in these places of a body; a list stands for each of its elements."""
    for first, *rest in places:
        if first not in body:
            continue
        values = _elements(body[first])
        for name in rest:
            values = [inner for value in values if isinstance(value, Mapping) for inner in _elements(value.get(name))]
        yield from (value for value in values if isinstance(value, str))


def _elements(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]
