"""Find records: by object, person, model, environment, answer, violation and time; newest first, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from placet.audit.log import render_time
from placet.audit.merkle import MAX_SIZE, hash_leaf
from placet.audit.record import DECISION, parse_leaf
from placet.audit.stores import Reader, StoredLeaf
from placet.errors import FormatError, InputError, TamperError

_INDEX_DIGITS: Final = len(str(MAX_SIZE))


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; empty text and None mean "any".

    Attributes:
        type: of leaf; the default finds decisions.
        violation: a rule, a code, or ``rule:code``.
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
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> dict[str, Any]:
        """As ``Reader.search`` takes them."""
        texts = ("type", "kind", "name", "namespace", "environment", "model", "user", "violation")
        asked: dict[str, Any] = {name: getattr(self, name) for name in texts if getattr(self, name)}
        if self.allowed is not None:
            asked["allowed"] = int(self.allowed)
        if self.since is not None:
            asked["since"] = render_time(self.since)
        if self.until is not None:
            asked["until"] = render_time(self.until)
        return asked


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


def find(reader: Reader, query: Query, *, limit: int, after: str = "") -> Page:
    """One page of what the query finds.

    Args:
        reader: a view of the store.
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
    rows = reader.search(query.conditions(), before=before, limit=limit + 1)
    found = tuple(read_found(row) for row in rows[:limit])
    return Page(found, str(found[-1].index) if len(rows) > limit else "")


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
