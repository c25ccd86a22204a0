"""Find records by what they say; newest first, page by page.

A store says block by block, and segment by segment, which leaves have which terms. What it says is where to look: each
leaf is read and judged by itself before it is shown, so that a wrong term can hide a record (``placet audit verify``
finds that), and can't show one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol

from placet.audit.log import render_time
from placet.audit.merkle import MAX_SIZE, hash_leaf
from placet.audit.naming import Narrowing, named_by, words_in_names
from placet.audit.person_keys import Opener
from placet.audit.person_terms import FIELDS
from placet.audit.persons import ERASED_WORD, SEALED_WORD, mask
from placet.audit.record import DECISION, LEAF_TYPES, PRUNED, parse_leaf, search_values
from placet.audit.stores import Key, StoredLeaf, require_bytes
from placet.audit.stores.places import Wanted
from placet.audit.stores.reader import COLUMNS
from placet.audit.terms import BLOCK, image_terms, image_words, said_in, term_of, text_words
from placet.errors import FormatError, InputError, TamperError

_INDEX_DIGITS: Final = len(str(MAX_SIZE))
_OPENED: Final = frozenset({"user", "person"})
_CHUNK: Final = 200  # records in memory at once while one after the other is looked at
_COLUMNS: Final = ("type", "kind", "name", "namespace", "environment", "model", "user", "projection")
_TERMS: Final = (
    "approval",
    "projection",
    "name",
    "person",
    "user",
    "model",
    "role",
    "namespace",
    "kind",
    "environment",
)
_MOST_TERMS: Final = 120  # what more is asked is seen when a record is looked at
_LISTED: Final = ("role", "person", "approval")


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
        image: words of an image's reference that stand one behind the other: ``vllm``, ``serving/vllm-openai``.
        text: words of the message, the advice, or the reason that was given, in any order and in any case.
        since: aware, included.
        until: aware, not included.
        opened: where names are opened, those words of ``text`` that may stand in one; None where they stay as they are.
            Sealed names stand in no column and no index, and each record itself is asked. ``find`` puts them here.
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
    opened: frozenset[str] | None = None

    def conditions(self) -> dict[str, Any]:
        """As ``Reader.search`` takes them."""
        asked: dict[str, Any] = {name: getattr(self, name) for name in (*_COLUMNS, "violation") if self._kept(name)}
        if self.allowed is not None:
            asked["allowed"] = int(self.allowed)
        if self.since is not None:
            asked["since"] = render_time(self.since)
        if self.until is not None:
            asked["until"] = render_time(self.until)
        if not self.type:
            asked["pruned"] = PRUNED  # what is left of a leaf says nothing
        return asked

    def terms(self) -> list[int]:
        """The terms that a record must have."""
        found = [term_of(field, getattr(self, field)) for field in _TERMS if self._kept(field)]
        if self.violation:
            found.append(term_of("violation", self.violation))
        found += sorted(image_terms(self.image))
        found += sorted(term_of("text", word) for word in self._words())
        if self.allowed is not None:
            found.append(term_of("allowed", str(int(self.allowed))))
        if self.type:
            found.append(term_of("type", self.type))
        return list(dict.fromkeys(found))[:_MOST_TERMS]

    def types(self) -> list[int]:
        """Terms of which a record must have one, where nothing else is asked: what was pruned has none."""
        return [] if self.terms() else [term_of("type", one) for one in LEAF_TYPES]

    @property
    def names(self) -> frozenset[str]:
        """Names of which a record must have one at least."""
        return frozenset(filter(None, (self.person, self.user)))

    def _kept(self, name: str) -> str:
        """What is asked of a column or an index; "" where a name may be sealed there."""
        return "" if self.opened is not None and name in _OPENED else str(getattr(self, name))

    def _words(self) -> set[str]:
        """Words of the text that stand in what is stored too."""
        return text_words(self.text) - (self.opened or frozenset())

    def matches(self, columns: Sequence[Any], body: Mapping[str, Any]) -> bool:
        """Whether a record is what is looked for.

        Args:
            columns: of ``search_values``.
            body: of the leaf.
        """
        kept = dict(zip(COLUMNS, columns, strict=True))
        return (
            all(not getattr(self, name) or getattr(self, name) == kept[_COLUMN_OF.get(name, name)] for name in _COLUMNS)
            and (self.allowed is None or kept["allowed"] == int(self.allowed))
            and (self.since is None or kept["time"] >= render_time(self.since))
            and (self.until is None or kept["time"] < render_time(self.until))
            and (not self.violation or self.violation in kept["violations"].split("|"))
            and all(not getattr(self, name) or getattr(self, name) in said_in(body, name) for name in _LISTED)
            and (not self.image or any(_has_run(image_words(one), self.image) for one in said_in(body, "image")))
            and (not self.text or _has_words(body, self.text))
        )

    def pieces(self) -> Pieces:
        """What the bytes of a leaf must contain if they are ASCII."""
        words = image_words(self.image)
        plain = [self.role, self._kept("person"), self.approval, *words]
        exact = [one.encode() for one in plain if _PLAIN.fullmatch(one)]
        run = re.compile(rb"\W+".join(word.encode() for word in words)) if len(words) > 1 else None
        return Pieces(exact, [word.encode() for word in self._words() if word.isascii()], run)


@dataclass(frozen=True, slots=True)
class Pieces:
    """What the bytes of a leaf must contain where they are ASCII, or else it is not what is looked for.

    Attributes:
        exact: as they are.
        folded: in lower case.
        run: of words of an image, where nothing in the leaf is escaped.
    """

    exact: Sequence[bytes]
    folded: Sequence[bytes]
    run: re.Pattern[bytes] | None

    def may_match(self, raw: bytes) -> bool:
        """False where the bytes of a leaf show that it is something else, without reading it.

        Canonical JSON writes plain ASCII as it is. What is not ASCII may be equal in other letters, once case is left
        out, and a letter behind a backslash is none.
        """
        if not raw.isascii():
            return True
        if not all(piece in raw for piece in self.exact):
            return False
        if self.run is not None and b"\\" not in raw and self.run.search(raw) is None:
            return False
        low = raw.lower() if self.folded else raw
        return all(piece in low for piece in self.folded)


_PLAIN: Final = re.compile(r"[ !#-\[\]-~]+")  # what JSON writes as it is
_COLUMN_OF: Final = {"type": "leaf_type", "name": "object_name", "user": "requester"}


def _has_run(words: list[str], wanted: str) -> bool:
    """Whether the words of what is wanted stand there one behind the other."""
    run = image_words(wanted)
    return any(words[start : start + len(run)] == run for start in range(len(words) - len(run) + 1))


def _has_words(body: Mapping[str, Any], wanted: str) -> bool:
    there: set[str] = set().union(*(text_words(text) for text in said_in(body, "text")))
    return text_words(wanted) <= there


@dataclass(frozen=True, slots=True)
class Found:
    """One record.

    Attributes:
        body: of the leaf, whose hash was checked against the one beside it and against nothing else; with names that
            were opened, where they were asked for.
        keys_at_hand: whether they were: what is sealed still has no key any longer.
    """

    index: int
    leaf_hash: bytes
    body: Mapping[str, Any]
    keys_at_hand: bool = False

    @property
    def shown(self) -> Mapping[str, Any]:
        """The body for people: a word instead of each name that is sealed."""
        return mask(self.body, ERASED_WORD if self.keys_at_hand else SEALED_WORD)


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
    """What records are found in: a view of a store, or a folder of tiles. See ``placet.audit.stores.Reader``."""

    def blocks(self) -> int:
        """How many blocks say by what their leaves are found."""

    def find_places(self, wanted: Wanted) -> Iterator[int]:
        """Indexes of leaves in blocks that may be what is wanted, newest first."""

    def leaves_at(self, indexes: Sequence[int]) -> list[StoredLeaf]:
        """Leaves by their indexes, newest first."""

    def members_at(self, keys: Sequence[Key]) -> Mapping[Key, bytes]:
        """Members of those terms that are there, by number and term: of a block, or of its persons' terms."""

    def search(
        self, conditions: Mapping[str, Any], *, before: int | None, limit: int, start: int = 0
    ) -> list[StoredLeaf]:
        """Leaves that meet every condition, newest first."""


def find(reader: Searchable, query: Query, *, limit: int, after: str = "", opener: Opener | None = None) -> Page:
    """One page of what the query finds.

    Args:
        reader: a view of the store, or published tiles.
        query: what is looked for.
        limit: most records of a page, at least 1.
        after: cursor of the page before, or "" for the first.
        opener: opens sealed names, in what is asked and in what is found; None to leave them sealed.

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
    if opener is not None:
        names = (one.name for one in opener.persons)
        query = replace(query, opened=words_in_names(text_words(query.text), names))
    for name, words in (("image", image_words(query.image)), ("text", text_words(query.text))):
        if getattr(query, name) and not words:
            raise InputError(
                f"{getattr(query, name)!r} has no word to look for in {_SAID[name]}",
                hint="A word is made of letters, digits and underscores.",
            )
    found = tuple(itertools.islice(_find_all(reader, query, before, limit + 1, opener), limit + 1))
    return Page(found[:limit], str(found[limit - 1].index) if len(found) > limit else "")


_SAID: Final = {"image": "the references of images", "text": "what was said"}


def _find_all(
    reader: Searchable, query: Query, before: int | None, limit: int, opener: Opener | None
) -> Iterator[Found]:
    """What matches, newest first: of the leaves that are in no block yet all that the columns leave, then by block."""
    indexed = reader.blocks() * BLOCK
    asked, pieces = query.conditions(), query.pieces()
    if before is None or before > indexed:
        at = before
        while rows := reader.search(asked, before=at, start=indexed, limit=_CHUNK):
            yield from _matching([row for row in rows if pieces.may_match(row.raw_leaf)], query, pieces, opener)
            at = rows[-1].index
    pending: list[int] = []
    named = {name: said for name in FIELDS if (said := getattr(query, name))}
    naming = [] if opener is None else named_by(named, query.opened or (), opener.persons)[:_MOST_TERMS]
    wanted = Wanted(
        terms=query.terms(),
        one_of=query.types(),
        before=indexed if before is None else min(before, indexed),
        since=asked.get("since"),
        until=asked.get("until"),
        narrow=Narrowing(reader, naming).bits if naming else None,
        plain=[one.term for one in naming],
    )
    for index in reader.find_places(wanted):
        pending.append(index)
        if len(pending) >= min(limit, _CHUNK):
            yield from _matching(reader.leaves_at(pending), query, pieces, opener)
            pending = []
    yield from _matching(reader.leaves_at(pending), query, pieces, opener)


def _matching(rows: Sequence[StoredLeaf], query: Query, pieces: Pieces, opener: Opener | None) -> Iterator[Found]:
    """Those that are what is looked for: a term may be that of another value, a block more than the time asked for.

    An image may have all pairs of words that are asked for and not one behind the other: many such leaves may come.
    """
    for row in rows:
        if not row.raw_leaf:
            continue  # pruned: what is left of it says nothing
        if opener is not None and query.names and not opener.may_name(row.raw_leaf, query.names):
            continue
        if not pieces.may_match(row.raw_leaf) and hash_leaf(row.raw_leaf) == row.leaf_hash:
            continue  # one that was changed is said to be
        found = read_found(row, opener)
        if query.matches(search_values(found.body), found.body):
            yield found


def is_index(text: str) -> bool:
    """Whether the text is the index of a leaf in decimal."""
    return text.isascii() and text.isdigit() and len(text) <= _INDEX_DIGITS and int(text) <= MAX_SIZE


def read_found(stored: StoredLeaf, opener: Opener | None = None) -> Found:
    """Read a stored leaf.

    Args:
        stored: the leaf.
        opener: opens the names that are sealed in it; None to leave them so.

    Raises:
        AuditError: ``pruned``: its bytes are not there any more.
        TamperError: it is not the one whose hash stands beside it, or is malformed.
    """
    require_bytes(stored)
    hint = "Run `placet audit verify` on this store."
    if hash_leaf(stored.raw_leaf) != stored.leaf_hash:
        raise TamperError(f"leaf {stored.index} was changed", index=stored.index, code="leaf_changed", hint=hint)
    try:
        body = parse_leaf(stored.raw_leaf).body
    except FormatError as exc:
        raise TamperError(f"leaf {stored.index}: {exc}", index=stored.index, code="leaf_malformed", hint=hint) from exc
    if opener is None:
        return Found(stored.index, stored.leaf_hash, body)
    return Found(stored.index, stored.leaf_hash, opener.open(body), keys_at_hand=True)
