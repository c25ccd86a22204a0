"""The terms of many leaves at once, for a verifier: from their columns and from pieces of their JSON.

What a block of the index must say follows from each leaf alone (``placet.audit.terms``). Leaves that follow on each
other say mostly the same, so a value is looked at once for all that say it, and a piece of JSON is parsed once. What
one member of a leaf says depends on no other one: its terms are those of its columns and those of each member.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import orjson

from placet.audit.members import MEMBERS, member_texts
from placet.audit.terms import (
    BLOCK,
    PLACES,
    UNSAID,
    VIOLATIONS,
    Gathered,
    digest_terms,
    gather_member,
    hash_values,
    named_terms,
    split_image,
    term_of,
    text_terms,
    violation_terms,
)

_MAX_REMEMBERED: Final = 2048  # characters


class Gathering:
    """Gathers the terms of leaves of one block.

    Args:
        first: index of the first leaf.
        count: how many there are; none of another block.
    """

    def __init__(self, first: int, count: int) -> None:
        self._base = first % BLOCK
        self._count = count
        self._every = list(range(self._base, self._base + count))
        self._found: dict[int, Sequence[int]] = {}
        self._twice: set[int] = set()
        # member -> what no other leaf says in it, as JSON or read, and the places that do
        self._fragments: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        self._values: defaultdict[str, list[tuple[Any, int]]] = defaultdict(list)

    def add_columns(self, columns: Sequence[Sequence[Any]]) -> None:
        """The search columns of all leaves: for each column one value of each leaf."""
        for field, place in PLACES:
            self._add_values(field, columns[place])
        for violations, places in self._where(columns[VIOLATIONS], self._every).items():
            if violations:
                self._add_all(violation_terms(violations), places)

    def add_fragments(self, member: str, places: Sequence[int], fragments: Sequence[str]) -> None:
        """What stands in a member of some leaves.

        Args:
            member: one of ``MEMBERS``.
            places: of the leaves among these.
            fragments: the canonical JSON of its value in each.
        """
        every, lone = self._every, self._fragments[member]
        for fragment, where in self._where(fragments, [every[place] for place in places]).items():
            if len(where) > 1 and len(fragment) <= _MAX_REMEMBERED:
                self._add_all(_fragment_terms(member, fragment), where)
            else:
                lone += [(fragment, place) for place in where]

    def add_body(self, place: int, body: Mapping[str, Any]) -> None:
        """The body of one leaf, of which there are no fragments."""
        for member in MEMBERS.intersection(body):
            self._values[member].append((body[member], self._base + place))

    def gathered(self, times: Sequence[str]) -> Gathered:
        """All of it, with the times of the leaves."""
        for member, lone in self._fragments.items():
            values = orjson.loads(f"[{','.join([fragment for fragment, _ in lone])}]")  # one call for all of them
            self._values[member] += zip(values, (place for _, place in lone), strict=True)
        for member, alone in self._values.items():
            alone.sort(key=itemgetter(1))
            values, places = [value for value, _ in alone], [place for _, place in alone]
            for field, texts, where in member_texts(member, values, places):
                if texts:
                    self._add_texts(field, self._where(texts, where))
        found = self._found
        for term in self._twice:
            found[term] = sorted(set(found[term]))
        return Gathered(self._count, min(times), max(times), found)

    def _add_texts(self, field: str, texts: Mapping[str, Sequence[int]]) -> None:
        """Texts of a field that one member says, with the places that do."""
        if field == "image":
            self._add_images(texts)
        elif field == "text":
            for text, places in texts.items():
                self._add_all(text_terms(text), places)
        else:
            self._add_each(hash_values(field, list(texts)), list(texts.values()))

    def _add_images(self, images: Mapping[str, Sequence[int]]) -> None:
        names: defaultdict[str, list[int]] = defaultdict(list)
        digests: defaultdict[str, list[int]] = defaultdict(list)
        for image, places in images.items():
            name, digest = split_image(image)
            names[name] += places
            if digest is not None:
                digests[digest] += places
        for name, places in names.items():
            self._add_all(named_terms(name), _in_order(places))
        where = list(map(_in_order, digests.values()))
        for terms in zip(*digest_terms(list(digests)), strict=True):
            self._add_each(terms, where)

    def _add_values(self, field: str, values: Sequence[Any]) -> None:
        distinct = set(values)
        if len(distinct) == len(values) and distinct.isdisjoint(UNSAID):
            self._add_each(hash_values(field, list(map(str, values))), [(place,) for place in self._every])
            return
        for value, places in self._where(values, self._every).items():
            if value not in UNSAID:
                self._add(term_of(field, str(value)), places)

    @staticmethod
    def _where(values: Sequence[Any], places: Sequence[int]) -> dict[Any, Sequence[int]]:
        """Value -> places of the leaves that have it, ascending and each once; the places given are ascending."""
        first = values[0]
        if values.count(first) == len(values):
            return {first: places if len(set(places)) == len(places) else list(dict.fromkeys(places))}
        lists: dict[Any, list[int]] = {}
        for value, place in zip(values, places, strict=True):
            there = lists.get(value)
            if there is None:
                lists[value] = [place]
            elif there[-1] != place:
                there.append(place)
        return {**lists}

    def _add_all(self, terms: Iterable[int], places: Sequence[int]) -> None:
        for term in terms:
            self._add(term, places)

    def _add_each(self, terms: Sequence[int], places: Sequence[Sequence[int]]) -> None:
        """One term for each of many places, mostly terms that nothing else has."""
        made = dict(zip(terms, places, strict=True))
        if len(made) == len(terms) and self._found.keys().isdisjoint(made):
            self._found.update(made)
            return
        for term, where in zip(terms, places, strict=True):
            self._add(term, where)

    def _add(self, term: int, places: Sequence[int]) -> None:
        there = self._found.setdefault(term, places)
        if there is not places:
            self._found[term] = [*there, *places]
            self._twice.add(term)


def _in_order(places: Sequence[int]) -> Sequence[int]:
    return places if len(places) == 1 else sorted(set(places))


@functools.lru_cache(maxsize=512)
def _fragment_terms(member: str, fragment: str) -> frozenset[int]:
    alone: set[int] = set()
    together: set[frozenset[int]] = set()
    if value := orjson.loads(fragment):
        gather_member(member, value, alone, together)
    return frozenset(alone.union(*together))
