r"""Finding a person in records whose names are sealed: terms that only who holds the person's key can name.

    term = the first 64 bits of HMAC-SHA-256(the person's key, "placet.dev/person-term/v1" 0x0A || field 0x00 || block)

One for each field and block of 1,024 leaves: nobody who lacks the key finds the person, guesses a name, or links two
blocks; erased, with the key and with the rows. They stand in the table of terms under numbers that no block has, -1 for
block 0, and are made behind the appends by a gate, which has the keys. They say where to look and nothing more: each
record is opened and judged by itself. What they leave out can't be seen without keys, so that ``placet audit verify``
says nothing of them; a block without them is read through.
"""

from __future__ import annotations

import functools
import hmac
import operator
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from placet.audit.person_keys import Opener, Person, PersonKeys
from placet.audit.persons import SEALED, find_nonce, find_sealed
from placet.audit.record import DECISION, parse_body
from placet.audit.stores import Key, Reader, Store
from placet.audit.terms import BLOCK, read_members, render_members, said_in, term_of, text_words
from placet.errors import FormatError, TamperError
from placet.text import safe

FIELDS: Final = ("user", "person")
TEXT: Final = "text"
"""Of whom a sentence names."""
_EACH_FIELD: Final = (*FIELDS, TEXT)
_DOMAIN: Final = b"placet.dev/person-term/v1\n"
UNOPENED: Final = term_of("persons", "unopened")
"""Of leaves with a sealed name that no key opened. That it is there says that the block was gone through."""
UNOPENED_IN_TEXTS: Final = term_of("persons", "unopened in texts")
"""The same of names within sentences, which blocks of earlier releases were not gone through for."""
NAMED_IN_TEXTS: Final = term_of("persons", "named in texts")
"""Of leaves with any sealed name within a sentence."""
_UNOPENED: Final = {**dict.fromkeys(FIELDS, UNOPENED), TEXT: UNOPENED_IN_TEXTS}
_ALWAYS: Final = (*_UNOPENED.values(), NAMED_IN_TEXTS)
_MANY_PERSONS: Final = 8
_BLOCKS_AT_ONCE: Final = 256
_ALL: Final = (1 << BLOCK) - 1
_WORD_CHARACTER: Final = re.compile(r"\w")
_JOINING: Final = "\u0345".casefold()
_HINT: Final = "`placet audit upgrade-store --rebuild` makes what records are found by anew."

Rows = tuple[tuple[int, bytes], ...]


class HasTerms(Protocol):
    """Where terms are kept; see ``placet.audit.stores.Reader``."""

    def members_at(self, keys: Sequence[Key]) -> Mapping[Key, bytes]:
        """Members of those terms that are there."""


def number_of(block: int) -> int:
    """Under which number a block's terms of persons stand."""
    return -1 - block


def is_members(raw: object) -> bool:
    """Whether it is what a term of persons may have."""
    try:
        return isinstance(raw, bytes) and read_members(raw) >= 0
    except FormatError:
        return False


def person_term(key: bytes, field: str, block: int) -> int:
    """The term of a person in a block.

    Args:
        key: the person's, 32 bytes.
        field: one of ``FIELDS``, or ``TEXT``.
        block: its number, from 0.
    """
    said = b"%s%s\0%d" % (_DOMAIN, field.encode(), block)
    return int.from_bytes(hmac.digest(key, said, "sha256")[:8], "big", signed=True)


def make_rows(block: int, leaves: Iterable[bytes], opener: Opener) -> Rows:
    """Term and members of every person in a block, and of what could not be opened; sorted.

    Args:
        block: its number.
        leaves: all of it, in order; of a pruned one no bytes.
        opener: with the keys that there are.
    """
    found: defaultdict[int, set[int]] = defaultdict(set)
    for always in _ALWAYS:
        found[always] = set()
    for place, raw in enumerate(leaves):
        try:
            body = parse_body(raw)
        except FormatError:  # pruned, or what verifying names; nobody is found there
            continue
        nonce = find_nonce(body)
        for field, text in () if nonce is None else _sealed_in(body, nonce):
            person = opener.find_person(text, nonce or b"")
            found[_UNOPENED[field] if person is None else person_term(person.key, field, block)].add(place)
            if field == TEXT:
                found[NAMED_IN_TEXTS].add(place)
    return tuple((term, render_members(sorted(places))) for term, places in sorted(found.items()))


def _sealed_in(body: Mapping[str, Any], nonce: bytes) -> Iterator[tuple[str, str]]:
    said = [("person", text) for text in said_in(body, "person")]
    if body["type"] == DECISION and isinstance(body.get("user"), str):
        said.append(("user", body["user"]))
    for field, text in said:
        form = SEALED.fullmatch(text)
        if form is not None and form[1] == nonce.hex():
            yield field, text
    for text in said_in(body, TEXT):
        yield from ((TEXT, sealed) for sealed in dict.fromkeys(find_sealed(text, nonce)))


def add_person_terms(store: Store, keys: PersonKeys, most: int) -> int:
    """Go through so many blocks at most that were not gone through yet; gives how many that were.

    Where another process does the same, one of the two does nothing.

    Raises:
        StoreUnavailable: the store can't be read or written.
        AuditError: the keys can't be read.
    """
    with store.reading() as reader:
        missing = reader.blocks_without(UNOPENED_IN_TEXTS, most)
    if not missing:
        return 0
    opener = keys.opener()
    for block in missing:
        with store.reading() as reader:
            leaves = [one.raw_leaf for one in reader.leaves(block * BLOCK, (block + 1) * BLOCK)]
        store.add_terms(number_of(block), make_rows(block, leaves, opener))
    return len(missing)


def find_rows(reader: Reader, persons: Sequence[Person]) -> list[tuple[int, int]]:
    """Number and term of every row that some persons are found by: what goes when they are erased.

    Raises:
        StoreUnavailable: the store can't be read.
    """
    found: list[Key] = []
    blocks = reader.blocks() if persons else 0
    for start in range(0, blocks, _BLOCKS_AT_ONCE):
        asked = [
            (number_of(block), person_term(*of, block))
            for block in range(start, min(start + _BLOCKS_AT_ONCE, blocks))
            for of in _each(persons)
        ]
        found += sorted(reader.members_at(asked), key=lambda key: (-key[0], key[1]))
    return found


def _each(persons: Sequence[Person]) -> list[tuple[bytes, str]]:
    return [(one.key, field) for one in persons for field in _EACH_FIELD]


def words_in_names(words: Collection[str], names: Iterable[str]) -> frozenset[str]:
    """Of the words of a text those that may stand there in a name that was opened; the others stand in what is stored.

    A name is sealed where it stands as a whole word, so that the words around it are the same with it and without it.
    That can't be said of one that begins or ends with something else, nor of the one character that becomes a part of
    its neighbours' word when case is left out.

    Args:
        words: as ``text_words`` gives them.
        names: of everybody whose name may be opened.
    """
    if not words:
        return frozenset()
    found: set[str] = {word for word in words if _JOINING in word}
    for name in names:
        if not _is_bounded(name):
            return frozenset(words)
        found |= text_words(name).intersection(words)
    return frozenset(found)


def _is_bounded(name: str) -> bool:
    """Whether what stands before and behind a name, where it is sealed, is no part of a word."""
    return all(_WORD_CHARACTER.match(one[:1]) and _WORD_CHARACTER.match(one[-1:]) for one in (name, safe(name)))


@dataclass(frozen=True, slots=True)
class Named:
    """One thing that is looked for, and who may be meant where it stands sealed.

    Attributes:
        field: one of ``FIELDS``, or ``TEXT``.
        term: of what stands plain.
        keys: of the persons.
        anybody: whether anybody may be, whom a sentence names.
    """

    field: str
    term: int
    keys: tuple[bytes, ...]
    anybody: bool = False


def named_by(names: Mapping[str, str], words: Iterable[str], persons: Sequence[Person]) -> list[Named]:
    """What is looked for by who is named.

    Args:
        names: field -> the name in it; of ``FIELDS``.
        words: of a text, those of ``words_in_names``. Of one that many persons have in their names, or of which can't
            be said whose it is, everybody who is named is looked at.
        persons: whose keys there are.
    """
    found = [
        Named(field, term_of(field, name), tuple(one.key for one in persons if one.name == name))
        for field, name in names.items()
    ]
    keys: dict[str, list[bytes]] = {word: [] for word in words}
    for one in persons if keys else ():
        for word in text_words(one.name) & keys.keys():
            keys[word].append(one.key)
    plain = all(_is_bounded(one.name) for one in persons) if keys else True
    for word, some in keys.items():
        anybody = not plain or _JOINING in word or len(some) > _MANY_PERSONS
        found.append(Named(TEXT, term_of(TEXT, word), () if anybody else tuple(some), anybody))
    return found


class Narrowing:
    """Which leaves of some blocks may name who is looked for, sealed or plain.

    Args:
        reader: one view of the store.
        asked: each of which a leaf must have.
    """

    def __init__(self, reader: HasTerms, asked: Sequence[Named]) -> None:
        self._reader = reader
        self._asked = asked
        self._unopened = {one.field: _UNOPENED[one.field] for one in asked}

    def bits(self, blocks: Mapping[int, Sequence[int]]) -> dict[int, int]:
        """Block -> places in it that may name them all; every place where that can't be told.

        The store is asked once, for some rows of each block.

        Args:
            blocks: number -> of each that is looked for the places where it stands plain.

        Raises:
            TamperError: what is stored is no such thing.
        """
        asked = {block: [self._keys_of(one, block) for one in self._asked] for block in blocks}
        there = self._reader.members_at(list({key: None for sets in asked.values() for keys in sets for key in keys}))
        try:
            return {block: self._bits(there, sets, blocks[block]) for block, sets in asked.items()}
        except (FormatError, TypeError) as exc:
            raise TamperError("what records are found by was changed", code="index_changed", hint=_HINT) from exc

    def _keys_of(self, one: Named, block: int) -> list[Key]:
        """Of those that no key opened, which are there once the block was gone through; and where it is sealed."""
        number = number_of(block)
        sealed = [(number, person_term(key, one.field, block)) for key in one.keys]
        anybody = [(number, NAMED_IN_TEXTS)] if one.anybody else []
        return [(number, self._unopened[one.field]), *anybody, *sealed]

    @staticmethod
    def _bits(there: Mapping[Key, bytes], sets: Sequence[Sequence[Key]], plain: Sequence[int]) -> int:
        bits = _ALL
        for keys, places in zip(sets, plain, strict=True):
            if keys[0] in there:
                bits &= functools.reduce(
                    operator.or_, (read_members(there[key]) for key in keys if key in there), places
                )
        return bits
