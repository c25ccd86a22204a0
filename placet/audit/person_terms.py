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
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from placet.audit.person_keys import Opener, Person, PersonKeys
from placet.audit.persons import SEALED, find_nonce, find_sealed
from placet.audit.record import DECISION, parse_body
from placet.audit.stores import Key, Reader, Store
from placet.audit.terms import BLOCK, read_members, render_members, said_in, term_of
from placet.errors import FormatError

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
UNOPENED_OF: Final = {**dict.fromkeys(FIELDS, UNOPENED), TEXT: UNOPENED_IN_TEXTS}
"""Field -> of what no key opened there."""
_ALWAYS: Final = (*UNOPENED_OF.values(), NAMED_IN_TEXTS)
_BLOCKS_AT_ONCE: Final = 256

Rows = tuple[tuple[int, bytes], ...]


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
            found[UNOPENED_OF[field] if person is None else person_term(person.key, field, block)].add(place)
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
