"""The terms of many leaves at once, for a verifier: from their columns and from pieces of their JSON.

What a block of the index must say follows from each leaf alone (``placet.audit.terms``). Leaves that follow on each
other say mostly the same, so a value is looked at once for all that say it, and a piece of JSON is parsed once. What
one member of a leaf says depends on no other one: its terms are those of its columns and those of each member.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from placet.audit.terms import (
    BLOCK,
    MEMBERS,
    PLACES,
    UNSAID,
    VIOLATIONS,
    Gathered,
    gather_member,
    hash_values,
    term_of,
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
        self._alone: defaultdict[int, list[int]] = defaultdict(list)
        self._together: defaultdict[frozenset[int], list[int]] = defaultdict(list)
        self._twice: set[int] = set()

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
        every = self._every
        for fragment, where in self._where(fragments, [every[place] for place in places]).items():
            if len(where) > 1 and len(fragment) <= _MAX_REMEMBERED:
                self._add_all(_fragment_terms(member, fragment), where)
            elif value := orjson.loads(fragment):
                for place in where:
                    self._add_value(place, member, value)

    def add_body(self, place: int, body: Mapping[str, Any]) -> None:
        """The body of one leaf, of which there are no fragments."""
        for member in MEMBERS.intersection(body):
            self._add_value(self._base + place, member, body[member])

    def gathered(self, times: Sequence[str]) -> Gathered:
        """All of it, with the times of the leaves."""
        for term, places in self._alone.items():
            self._add(term, places if len(places) == 1 else sorted(set(places)))
        for terms, places in self._together.items():
            self._add_all(terms, places if len(places) == 1 else sorted(set(places)))
        found = self._found
        for term in self._twice:
            found[term] = sorted(set(found[term]))
        return Gathered(self._count, min(times), max(times), found)

    def _add_value(self, place: int, member: str, value: Any) -> None:
        alone: set[int] = set()
        together: set[frozenset[int]] = set()
        gather_member(member, value, alone, together)
        for term in alone:
            self._alone[term].append(place)
        for terms in together:
            self._together[terms].append(place)

    def _add_values(self, field: str, values: Sequence[Any]) -> None:
        distinct = set(values)
        if len(distinct) == len(values) and distinct.isdisjoint(UNSAID):
            terms = hash_values(field, [str(value) for value in values])
            for term, place in zip(terms, self._every, strict=True):
                self._alone[term].append(place)
            return
        for value, places in self._where(values, self._every).items():
            if value not in UNSAID:
                self._add(term_of(field, str(value)), places)

    @staticmethod
    def _where(values: Sequence[Any], places: Sequence[int]) -> dict[Any, Sequence[int]]:
        """Value -> places of the leaves that have it."""
        first = values[0]
        if values.count(first) == len(values):
            return {first: places}
        found: dict[Any, list[int]] = {}
        for value, place in zip(values, places, strict=True):
            if value in found:
                found[value].append(place)
            else:
                found[value] = [place]
        return {**found}

    def _add_all(self, terms: Iterable[int], places: Sequence[int]) -> None:
        for term in terms:
            self._add(term, places)

    def _add(self, term: int, places: Sequence[int]) -> None:
        there = self._found.setdefault(term, places)
        if there is not places:
            self._found[term] = [*there, *places]
            self._twice.add(term)


@functools.lru_cache(maxsize=512)
def _fragment_terms(member: str, fragment: str) -> frozenset[int]:
    alone: set[int] = set()
    together: set[frozenset[int]] = set()
    if value := orjson.loads(fragment):
        gather_member(member, value, alone, together)
    return frozenset(alone.union(*together))
