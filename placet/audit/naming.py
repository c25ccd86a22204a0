"""Who is named in what is looked for: which words of it may stand in names that are sealed, and where such names stand.

What is sealed has the terms of ``placet.audit.person_terms``; what stands plain has those of ``placet.audit.terms``.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from placet.audit.person_keys import Person
from placet.audit.person_terms import NAMED_IN_TEXTS, TEXT, UNOPENED_OF, number_of, person_term
from placet.audit.stores import Key
from placet.audit.terms import BLOCK, read_members, term_of, text_words
from placet.errors import FormatError, TamperError
from placet.text import safe

_MANY_PERSONS: Final = 8
_ALL: Final = (1 << BLOCK) - 1
_WORD_CHARACTER: Final = re.compile(r"\w")
_JOINING: Final = "\u0345".casefold()
_HINT: Final = "`placet audit upgrade-store --rebuild` makes what records are found by anew."


class HasTerms(Protocol):
    """Where terms are kept; see ``placet.audit.stores.Reader``."""

    def members_at(self, keys: Sequence[Key]) -> Mapping[Key, bytes]:
        """Members of those terms that are there."""


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
        self._unopened = {one.field: UNOPENED_OF[one.field] for one in asked}

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
