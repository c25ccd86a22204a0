"""Members of a leaf that have terms beside those of the search columns, and the texts that stand in them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

# Where leaves of every type say such things.
_ROLES: Final = (("approvals", "role"), ("rejected", "role"), ("role",))
_PERSONS: Final = (("approvals", "person"), ("exemption", "persons"), ("signers", "person"), ("person",))
_APPROVALS: Final = (("approvals", "approval_id"), ("rejected", "approval_id"), ("approval_id",))
_IMAGES: Final = (("images",),)
_TEXTS: Final = (("message",), ("advice",), ("reason",), ("ticket",), ("conclusion",))
FIELDS: Final = {"role": _ROLES, "person": _PERSONS, "approval": _APPROVALS, "image": _IMAGES, "text": _TEXTS}
# The same by where it stands, so that a body is gone through once: member -> (field, its member), and member -> field.
_SAID: Final = tuple((field, place) for field, places in FIELDS.items() for place in places)
_INNER: Final = {
    key: tuple((field, place[-1]) for field, place in _SAID if place[0] == key and len(place) > 1)
    for key in sorted({place[0] for _, place in _SAID if len(place) > 1})
}
_OUTER: Final = {place[0]: field for field, place in _SAID if len(place) == 1}
IN_ORDER: Final = (*_INNER, *_OUTER)
MEMBERS: Final = frozenset(IN_ORDER)
"""Members of a body that have terms beside those of the search columns."""
_LIST: Final = frozenset({list})
_TEXT: Final = frozenset({str})


def member_texts(
    key: str, values: Sequence[Any], places: Sequence[int]
) -> list[tuple[str, Sequence[str], Sequence[int]]]:
    """What one of ``MEMBERS`` says in some leaves: of each field its texts, and beside each the place that says it.

    Args:
        key: the member.
        values: what stands in it, of each leaf.
        places: of the leaves.
    """
    outer = _OUTER.get(key)
    if outer is not None:
        return [(outer, *_flatten(values, places))]
    entries, where = [], []
    for value, place in zip(values, places, strict=True):
        for entry in value if isinstance(value, list) else (value,):
            if isinstance(entry, (dict, Mapping)):  # a dict nearly always, and asking the abstract class takes long
                entries.append(entry)
                where.append(place)
    return [(field, *_flatten([entry.get(name) for entry in entries], where)) for field, name in _INNER[key]]


def _flatten(values: Sequence[Any], places: Sequence[int]) -> tuple[Sequence[str], Sequence[int]]:
    """Every text in some values, and the places of these."""
    found: Sequence[Any] = values
    where = places
    if _LIST.issuperset(map(type, values)):
        found = list(itertools.chain.from_iterable(values))
        where = list(itertools.chain.from_iterable(map(itertools.repeat, places, map(len, values))))
    if _TEXT.issuperset(map(type, found)) and "" not in found:
        return found, where
    said = [(text, place) for value, place in zip(values, places, strict=True) for text in _texts(value)]
    return [text for text, _ in said], [place for _, place in said]


def _texts(value: object) -> list[str]:
    """A text, or each text in a list, but for empty ones."""
    return [one for one in (value if isinstance(value, list) else (value,)) if isinstance(one, str) and one]
