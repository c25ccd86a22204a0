"""Find records: by object, person, model, environment, answer, violation and time; newest first, page by page."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from placet.audit.log import render_time
from placet.audit.merkle import MAX_SIZE, hash_leaf
from placet.audit.record import DECISION, parse_leaf
from placet.audit.stores import StoredLeaf
from placet.errors import FormatError, InputError, TamperError

_INDEX_DIGITS: Final = len(str(MAX_SIZE))
_CHUNK: Final = 200  # records in memory at once while one after the other is looked at

# Where leaves of every type say such things.
_ROLES: Final = (("approvals", "role"), ("rejected", "role"), ("role",))
_PERSONS: Final = (("approvals", "person"), ("exemption", "persons"), ("signers", "person"), ("person",))
_APPROVALS: Final = (("approvals", "approval_id"), ("rejected", "approval_id"), ("approval_id",))
_IMAGES: Final = (("images",),)
_WORDS: Final = (("message",), ("advice",), ("reason",), ("ticket",), ("conclusion",))


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; empty text and None mean "any".

    Attributes:
        type: of leaf; the default finds decisions.
        violation: a rule, a code, or ``rule:code``.
        role: of an approval that counted or did not.
        person: who approved, exempted, revoked, or broke the glass.
        approval: id of an approval that counted, did not, or was revoked.
        projection: digest of what was judged.
        image: part of an image's reference.
        text: part of the message, the advice, or the reason that was given, in any case.
        since: aware, included.
        until: aware, not included.
    """

    type: str = DECISION
    kind: str = ""
    name: str = ""
    namespace: str = ""
    environment: str = ""
    model: str = ""
    user: str = ""
    allowed: bool | None = None
    violation: str = ""
    role: str = ""
    person: str = ""
    approval: str = ""
    projection: str = ""
    image: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> dict[str, Any]:
        """As ``Reader.search`` takes them."""
        texts = ("type", "kind", "name", "namespace", "environment", "model", "user", "violation", "projection")
        asked: dict[str, Any] = {name: getattr(self, name) for name in texts if getattr(self, name)}
        if self.allowed is not None:
            asked["allowed"] = int(self.allowed)
        if self.since is not None:
            asked["since"] = render_time(self.since)
        if self.until is not None:
            asked["until"] = render_time(self.until)
        return asked

    @property
    def scans(self) -> bool:
        """Whether something is asked that no column has, so that records are read to see."""
        return any((self.role, self.person, self.approval, self.image, self.text))

    def matches(self, body: Mapping[str, Any]) -> bool:
        """Whether a record is what is looked for, of what ``conditions`` does not ask."""
        wanted = self.text.casefold()
        return (
            (not self.role or self.role in _said(body, _ROLES))
            and (not self.person or self.person in _said(body, _PERSONS))
            and (not self.approval or self.approval in _said(body, _APPROVALS))
            and (not self.image or any(self.image in image for image in _said(body, _IMAGES)))
            and (not wanted or any(wanted in text.casefold() for text in _said(body, _WORDS)))
        )


@dataclass(frozen=True, slots=True)
class Found:
    """One record.

    Attributes:
        body: of the leaf, whose hash was checked against the one beside it and against nothing else.
    """

    index: int
    leaf_hash: bytes
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what was found.

    Attributes:
        found: newest first.
        cursor: where the next page goes on, or "" after the last. Records that are written meanwhile don't move it.
    """

    found: tuple[Found, ...]
    cursor: str


class Searchable(Protocol):
    """What records are found in: a view of a store, or a folder of tiles."""

    def search(self, conditions: Mapping[str, Any], *, before: int | None, limit: int) -> list[StoredLeaf]:
        """Leaves that meet every condition, newest first."""


def find(reader: Searchable, query: Query, *, limit: int, after: str = "") -> Page:
    """One page of what the query finds.

    Args:
        reader: a view of the store, or published tiles.
        query: what is looked for.
        limit: most records of a page, at least 1.
        after: cursor of the page before, or "" for the first.

    Raises:
        InputError: the cursor is none.
        TamperError: a leaf is not the one whose hash stands beside it.
    """
    before = None
    if after:
        if not is_index(after):
            raise InputError(
                f"{after!r} is not the cursor of a page", hint="Use the cursor that the page before ended with."
            )
        before = int(after)
    if query.scans:
        found = tuple(itertools.islice(_scan(reader, query, before), limit + 1))
    else:
        rows = reader.search(query.conditions(), before=before, limit=limit + 1)
        found = tuple(read_found(row) for row in rows)
    return Page(found[:limit], str(found[limit - 1].index) if len(found) > limit else "")


def _scan(reader: Searchable, query: Query, before: int | None) -> Iterator[Found]:
    """Read what the columns leave, a few at a time, and give what matches."""
    while rows := reader.search(query.conditions(), before=before, limit=_CHUNK):
        for row in rows:
            found = read_found(row)
            if query.matches(found.body):
                yield found
        before = rows[-1].index


def _said(body: Mapping[str, Any], places: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Every text in these places of a body; a list stands for each of its elements."""
    for first, *rest in places:
        values = _elements(body.get(first))
        for name in rest:
            values = [inner for value in values if isinstance(value, Mapping) for inner in _elements(value.get(name))]
        yield from (value for value in values if isinstance(value, str))


def _elements(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def is_index(text: str) -> bool:
    """Whether the text is the index of a leaf in decimal."""
    return text.isascii() and text.isdigit() and len(text) <= _INDEX_DIGITS and int(text) <= MAX_SIZE


def read_found(stored: StoredLeaf) -> Found:
    """Read a stored leaf.

    Raises:
        TamperError: it is not the one whose hash stands beside it, or is malformed.
    """
    hint = "Run `placet audit verify` on this store."
    if hash_leaf(stored.raw_leaf) != stored.leaf_hash:
        raise TamperError(f"leaf {stored.index} was changed", index=stored.index, code="leaf_changed", hint=hint)
    try:
        body = parse_leaf(stored.raw_leaf).body
    except FormatError as exc:
        raise TamperError(f"leaf {stored.index}: {exc}", index=stored.index, code="leaf_malformed", hint=hint) from exc
    return Found(stored.index, stored.leaf_hash, body)
