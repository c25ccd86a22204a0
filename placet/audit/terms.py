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

from placet.audit.members import FIELDS, IN_ORDER, member_texts
from placet.audit.record import Columns, parse_body, search_values
from placet.errors import FormatError

BLOCK: Final = 1024
_DENSE: Final = BLOCK // 8  # bytes of a bitmap; a list of two bytes each is always shorter
_WORD: Final = re.compile(r"\w+")
_ALGORITHM: Final = "sha256"
_PINNED: Final = f"@{_ALGORITHM}:"

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
UNSAID: Final = ("", None)
_NAMES: Final = tuple(Columns.__dataclass_fields__)
# field -> where its column stands
PLACES: Final = tuple((field, _NAMES.index(column)) for field, column in _COLUMNS.items())
VIOLATIONS: Final = _NAMES.index("violations")
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


@dataclass(frozen=True, slots=True)
class Gathered:
    """What leaves of one block that follow on each other are found by; see ``placet.audit.gathering``.

    Attributes:
        count: how many they are.
        earliest: the smallest time that one of them says.
        latest: the greatest.
        places: term -> places in the block, ascending and each once.
    """

    count: int
    earliest: str
    latest: str
    places: Mapping[int, Sequence[int]]


class BlockMaker:
    """Makes one block after the other; give it every leaf in order of index."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._begin()

    def _begin(self) -> None:
        self._place = 0
        self._terms: defaultdict[int, list[int]] = defaultdict(list)
        self._together: defaultdict[frozenset[int], list[int]] = defaultdict(list)
        self._gathered: list[Mapping[int, Sequence[int]]] = []
        self._earliest = ""
        self._latest = ""

    def add(self, columns: Sequence[Any] | None, body: Mapping[str, Any] | None) -> TermBlock | None:
        """Add the next leaf; gives the block that it completes.

        Args:
            columns: of ``search_values``; None, as for the body, where the leaf can't be read: it has no terms.
            body: of the leaf.
        """
        if columns is None or body is None:
            self._place += 1
            return self._close()
        place, there = self._place, self._terms
        alone, together = gather_terms(columns, body)
        for term in alone:
            there[term].append(place)
        for terms in together:
            self._together[terms].append(place)
        self._span(columns[_TIME])
        self._place += 1
        return self._close()

    def add_gathered(self, gathered: Gathered) -> TermBlock | None:
        """The same for leaves of which is known what they say."""
        self._gathered.append(gathered.places)
        self._span(gathered.earliest)
        self._span(gathered.latest)
        self._place += gathered.count
        return self._close()

    def _span(self, time: str) -> None:
        self._earliest = min(self._earliest or time, time)
        self._latest = max(self._latest, time)

    def _close(self) -> TermBlock | None:
        """The block, where its last place is taken."""
        if self._place < BLOCK:
            return None
        there = self._places()
        terms = sorted(there)
        rows = tuple(zip(terms, _render_each(map(there.__getitem__, terms)), strict=True))
        done = TermBlock(self.number, self._earliest, self._latest, rows)
        self.number += 1
        self._begin()
        return done

    def _places(self) -> Mapping[int, Sequence[int]]:
        """Term -> places, ascending, each once."""
        found: dict[int, Sequence[int]] = {**self._terms}
        twice = set()
        together = (dict.fromkeys(terms, places) for terms, places in self._together.items())
        for part in (*together, *self._gathered):
            before = {term: found[term] for term in found.keys() & part.keys()}
            found.update(part)
            for term, there in before.items():
                places = part[term]
                if there is not places:
                    found[term] = [*there, *places]
                    if there[-1] >= places[0]:
                        twice.add(term)
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


def render_members(places: Sequence[int]) -> bytes:
    """Places in a block as ``read_members`` reads them; of none a bitmap, since a store keeps no empty bytes."""
    if not places:
        return bytes(_DENSE)
    if len(places) == 1:
        return _ALONE[places[0]]
    if 2 * len(places) < _DENSE:
        return struct.pack(f">{len(places)}H", *places)
    return _ALL if len(places) == BLOCK else _render_bits(tuple(places))


def _render_each(lists: Iterable[Sequence[int]]) -> list[bytes]:
    """``render_members`` of each; most terms of a block are those of one leaf."""
    alone = _ALONE
    return [alone[places[0]] if len(places) == 1 else render_members(places) for places in lists]


_ALONE: Final = tuple(struct.pack(">H", place) for place in range(BLOCK))
_ALL: Final = b"\xff" * _DENSE


@functools.lru_cache(maxsize=64)  # of the words of one text each is in the same places
def _render_bits(places: tuple[int, ...]) -> bytes:
    digits = bytearray(b"0" * BLOCK)
    for place in places:
        digits[-1 - place] = ord("1")
    return int(digits, 2).to_bytes(_DENSE, "little")


def term_of(field: str, value: str) -> int:
    """The term of a field and a value: 64 bits, with a sign since databases have no other."""
    return _hashed(field, value)


@functools.lru_cache(maxsize=16_384)
def _hashed(field: str, value: str) -> int:
    digest = hashlib.sha256(f"{field}\0{value}".encode("utf-8", errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def hash_values(field: str, values: Sequence[str]) -> tuple[int, ...]:
    """``term_of`` each value; not remembered, as for values that do not come again."""
    sha256, start = hashlib.sha256, f"{field}\0".encode()
    digests = [sha256(start + value.encode("utf-8", errors="surrogatepass")).digest() for value in values]
    return struct.unpack(f">{'q24x' * len(digests)}", b"".join(digests))


def gather_terms(columns: Sequence[Any], body: Mapping[str, Any]) -> tuple[set[int], set[frozenset[int]]]:
    """The terms of a leaf, those of a text or an image together: many leaves say the same one.

    Args:
        columns: of ``search_values``.
        body: of the leaf.
    """
    alone = {_hashed(field, str(columns[place])) for field, place in PLACES if columns[place] not in UNSAID}
    together: set[frozenset[int]] = set()
    if columns[VIOLATIONS]:
        alone.update(violation_terms(columns[VIOLATIONS]))
    for key in IN_ORDER:
        if value := body.get(key):
            gather_member(key, value, alone, together)
    return alone, together


def gather_member(key: str, value: Any, alone: set[int], together: set[frozenset[int]]) -> None:
    """The same of what one of ``MEMBERS`` says, added to what was gathered before."""
    for field, texts, _ in member_texts(key, (value,), (0,)):
        if terms := _WORDS_OF.get(field):
            together.update(itertools.chain.from_iterable(map(terms, texts)))
        else:
            alone.update(_hashed(field, text) for text in texts)


def violation_terms(column: str) -> set[int]:
    """The terms of what stands in the column ``violations``."""
    return {_hashed("violation", word) for word in column.split("|") if word}


def image_terms(image: str) -> frozenset[int]:
    """Of the words of a reference, and of each two that stand side by side."""
    return frozenset().union(*_image_parts(image))


def _image_parts(image: str) -> tuple[frozenset[int], ...]:
    """The same, of what comes before a digest apart: many leaves say that."""
    name, digest = split_image(image)
    return (named_terms(name),) if digest is None else (named_terms(name), _digest_terms(digest))


def split_image(image: str) -> tuple[str, str | None]:
    """What comes before the digest of a reference, and the digest; whose terms are together those of the reference."""
    name, pinned, digest = image.rpartition(_PINNED)
    if not (pinned and digest.isalnum()):
        return image, None
    return f"{name} {_ALGORITHM}", digest


def digest_terms(digests: Sequence[str]) -> list[tuple[int, int]]:
    """Of each digest the terms that say it."""
    words, pairs = hash_values("image", digests), hash_values("image", [f"{_ALGORITHM} {one}" for one in digests])
    return list(zip(words, pairs, strict=True))


@functools.lru_cache(maxsize=1024)
def named_terms(image: str) -> frozenset[int]:
    """Of the words of a reference without its digest, and of each two that stand side by side."""
    words = image_words(image)
    pairs = (" ".join(pair) for pair in itertools.pairwise(words))
    return frozenset(_hashed("image", word) for word in (*words, *pairs))


@functools.lru_cache(maxsize=1024)
def _digest_terms(digest: str) -> frozenset[int]:
    return frozenset(digest_terms([digest])[0])


@functools.lru_cache(maxsize=1024)
def text_terms(text: str) -> frozenset[int]:
    """Of the words of a text."""
    return frozenset(_hashed("text", word) for word in text_words(text))


_WORDS_OF: Final[Mapping[str, Callable[[str], tuple[frozenset[int], ...]]]] = {
    "image": _image_parts,
    "text": lambda text: (text_terms(text),),
}


def image_words(image: str) -> list[str]:
    """Runs of letters, digits and underscores, in order."""
    return _WORD.findall(image)


def text_words(text: str) -> set[str]:
    """The same, upper and lower case alike."""
    return set(_WORD.findall(text.casefold()))


def said_in(body: Mapping[str, Any], field: str) -> Iterator[str]:
    """Every text that a body says in a field: ``role``, ``person``, ``approval``, ``image``, ``text``."""
    return said(body, FIELDS[field])


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
