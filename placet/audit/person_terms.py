r"""Finding a person in records whose names are sealed: terms that only who holds the person's key can name.

    term = the first 64 bits of HMAC-SHA-256(the person's key, "placet.dev/person-term/v1" 0x0A || field 0x00 || block)

One for each field and block of 1,024 leaves: nobody who lacks the key finds the person, guesses a name, or links two
blocks; erased, with the key and with the rows. They stand in the table of terms under numbers that no block has, -1 for
block 0, and are made behind the appends by a gate, which has the keys. They say where to look and nothing more: each
record is opened and judged by itself. What they leave out can't be seen without keys, so that ``placet audit verify``
says nothing of them; a block without them is read through.
"""

from __future__ import annotations

import hmac
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from placet.audit.person_keys import Opener, Person, PersonKeys
from placet.audit.persons import SEALED, find_nonce
from placet.audit.record import DECISION, parse_body
from placet.audit.stores import Key, Reader, Store
from placet.audit.terms import BLOCK, read_members, render_members, said_in, term_of, text_words
from placet.errors import FormatError, TamperError
from placet.text import safe

FIELDS: Final = ("user", "person")
_DOMAIN: Final = b"placet.dev/person-term/v1\n"
UNOPENED: Final = term_of("persons", "unopened")
"""Of leaves with a sealed name that no key opened. That it is there says that the block was gone through."""
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
        field: one of ``FIELDS``.
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
    found[UNOPENED] = set()
    for place, raw in enumerate(leaves):
        try:
            body = parse_body(raw)
        except FormatError:  # pruned, or what verifying names; nobody is found there
            continue
        nonce = find_nonce(body)
        for field, text in () if nonce is None else _sealed_in(body, nonce):
            person = opener.find_person(text, nonce or b"")
            found[UNOPENED if person is None else person_term(person.key, field, block)].add(place)
    return tuple((term, render_members(sorted(places))) for term, places in sorted(found.items()))


def _sealed_in(body: Mapping[str, Any], nonce: bytes) -> Iterator[tuple[str, str]]:
    said = [("person", text) for text in said_in(body, "person")]
    if body["type"] == DECISION and isinstance(body.get("user"), str):
        said.append(("user", body["user"]))
    for field, text in said:
        form = SEALED.fullmatch(text)
        if form is not None and form[1] == nonce.hex():
            yield field, text


def add_person_terms(store: Store, keys: PersonKeys, most: int) -> int:
    """Go through so many blocks at most that were not gone through yet; gives how many that were.

    Where another process does the same, one of the two does nothing.

    Raises:
        StoreUnavailable: the store can't be read or written.
        AuditError: the keys can't be read.
    """
    with store.reading() as reader:
        missing = reader.blocks_without(UNOPENED, most)
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
    return [(one.key, field) for one in persons for field in FIELDS]


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
        if not all(_WORD_CHARACTER.match(one[:1]) and _WORD_CHARACTER.match(one[-1:]) for one in (name, safe(name))):
            return frozenset(words)
        found |= text_words(name).intersection(words)
    return frozenset(found)


class Narrowing:
    """Which leaves of some blocks may name who is looked for, sealed or plain.

    Args:
        reader: one view of the store.
        names: field -> the name in it; of ``FIELDS``.
        persons: whose keys there are.
    """

    def __init__(self, reader: HasTerms, names: Mapping[str, str], persons: Iterable[Person]) -> None:
        self._reader = reader
        keys = {one.name: one.key for one in persons}
        self._asked = [(field, term_of(field, name), keys.get(name)) for field, name in names.items()]

    def bits(self, blocks: Sequence[int]) -> dict[int, int]:
        """Block -> places in it that may name them all; every place where that can't be told.

        The store is asked once, for some rows of each block.

        Raises:
            TamperError: what is stored is no such thing.
        """
        asked = {block: self._keys_of(block) for block in blocks}
        unopened = [(number_of(block), UNOPENED) for block in blocks]
        there = self._reader.members_at(
            [*unopened, *(key for pairs in asked.values() for pair in pairs for key in pair)]
        )
        try:
            return {block: self._bits(there, gone, asked[block]) for block, gone in zip(blocks, unopened, strict=True)}
        except (FormatError, TypeError) as exc:
            raise TamperError("what records are found by was changed", code="index_changed", hint=_HINT) from exc

    def _keys_of(self, block: int) -> list[tuple[Key, ...]]:
        """Of each name where it stands plain, and where it does sealed if there is its key."""
        return [
            ((block, plain),) if key is None else ((block, plain), (number_of(block), person_term(key, field, block)))
            for field, plain, key in self._asked
        ]

    @staticmethod
    def _bits(there: Mapping[Key, bytes], gone_through: Key, asked: Sequence[tuple[Key, ...]]) -> int:
        if gone_through not in there:
            return _ALL
        bits = _ALL
        for pair in asked:
            some = read_members(there[gone_through])
            for key in pair:
                some |= read_members(there.get(key, b""))
            bits &= some
        return bits
