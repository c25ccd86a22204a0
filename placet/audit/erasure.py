"""Erasing a person from a record: which keys, which attachments, what stays; and the leaf that says that it was done.

Sealed names need no more than that their keys are destroyed. Attachments that have a name in them as it is, such as a
keyring, are deleted; their digests stay, and with them every proof of the leaves. A leaf that has a name in it as it is
can't be changed by anybody.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from placet.audit.log import render_time
from placet.audit.person_keys import Opener, Person, PersonKeys
from placet.audit.person_terms import find_rows
from placet.audit.persons import NONCE, NONCE_BYTES, is_person, seal
from placet.audit.record import CONFIGURATION, ERASURE, KEYRING, SEALED_SCHEMA
from placet.audit.stores import Auditable
from placet.errors import FormatError, InputError

MAX_REASON: Final = 500
MAX_LISTED: Final = 128
_IN_FORCE: Final = (KEYRING, CONFIGURATION)
# Nobody's words: the policies, compiled and as sources.
_NAMELESS: Final = frozenset({"wasm", "sources", "package"})
_BASE64: Final = re.compile(r'"([A-Za-z0-9+/_-]{8,}={0,2})"')
_MAX_DEPTH: Final = 3  # an envelope, its payload, an envelope in that


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """An attachment.

    Attributes:
        index: of the leaf that it is kept beside.
        name: of the attachment.
    """

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class Traces:
    """Where a person is in a record.

    Attributes:
        persons: whose keys open the names; empty where none is sealed.
        attachments: that have a name in them as it is, in order.
        leaves: type -> how many leaves have one so; nothing can be done about these.
        named: index of each leaf that the person is in, sealed or not, or that has such an attachment; in order.
        rows: number and term of what the person is found by.
        in_force: types of leaf of which the newest has one beside it: the gate uses it, and would keep it again.
    """

    persons: tuple[Person, ...]
    attachments: tuple[Place, ...]
    leaves: Mapping[str, int]
    in_force: tuple[str, ...]
    named: tuple[int, ...] = ()
    rows: tuple[tuple[int, int], ...] = ()


class NameFinder:
    """Looks for names in bytes that somebody kept: as they are, as JSON spells them, and within base64."""

    def __init__(self, names: Iterable[str]) -> None:
        spellings = {
            spelled.casefold()
            for name in names
            for spelled in (name, json.dumps(name)[1:-1], json.dumps(name, ensure_ascii=False)[1:-1])
        }
        ordered = sorted(spellings, key=len, reverse=True)
        self._pattern = re.compile("|".join(rf"(?<!\w){re.escape(one)}(?!\w)" for one in ordered))

    def finds(self, raw: bytes, *, depth: int = _MAX_DEPTH) -> bool:
        """Whether one of the names is in it, as a word of its own, in any letter case."""
        text = raw.decode("utf-8", "replace")
        if self._pattern.search(text.casefold()):
            return True
        return depth > 0 and any(self.finds(inner, depth=depth - 1) for inner in _decoded(text))


def _decoded(text: str) -> Iterator[bytes]:
    for found in _BASE64.finditer(text):
        try:
            plain = found[1].replace("-", "+").replace("_", "/").rstrip("=")
            yield base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        except (binascii.Error, ValueError):
            continue


def find_traces(reader: Auditable, keys: PersonKeys, names: Sequence[str]) -> Traces:
    """Look through a whole record for a person.

    Args:
        reader: one view of the store.
        keys: of the persons in it.
        names: all that the person is called; letter case does not matter. Non-empty.

    Raises:
        AuditError: the record or a key can't be read.
        InputError: a name is not a person's.
    """
    for name in names:
        if not is_person(name):
            raise InputError(f"{name!r} is not the name of a person", hint="Accounts of the cluster are never sealed.")
    finder = NameFinder(names)
    folded = {name.casefold() for name in names}
    persons = tuple(sorted((one for one in keys.all() if one.name.casefold() in folded), key=_by_id))
    opener, spelled = Opener(list(persons)), frozenset(one.name for one in persons)
    named: set[int] = set()
    leaves: Counter[str] = Counter()
    newest: dict[str, int] = {}
    for index, _, columns, raw_leaf in reader.raw_rows():
        if finder.finds(bytes(raw_leaf), depth=0):
            leaves[str(columns[0])] += 1
            named.add(index)
        elif opener.may_name(bytes(raw_leaf), spelled):
            named.add(index)
        if columns[0] in _IN_FORCE:
            newest[str(columns[0])] = index
    places = tuple(
        Place(index, name)
        for index, name, _, content in reader.raw_blobs()
        if name not in _NAMELESS and finder.finds(bytes(content))
    )
    beside = {place.index for place in places}
    return Traces(
        persons=persons,
        attachments=places,
        leaves=dict(sorted(leaves.items())),
        in_force=tuple(sorted(kind for kind, index in newest.items() if index in beside)),
        named=tuple(sorted(named | beside)),
        rows=tuple(find_rows(reader, persons)),
    )


def _by_id(person: Person) -> str:
    return person.key_id


def render_erasure(
    traces: Traces, keys: PersonKeys, *, cluster: str, moment: datetime, by: str, reason: str, ticket: str
) -> dict[str, Any]:
    """The body of the leaf that says what is erased; appended before anything is.

    Args:
        traces: what is erased.
        keys: seal the name of who did it.
        cluster: of the gate.
        moment: aware UTC.
        by: who does it.
        reason: their words.
        ticket: where it was asked for, or "".

    Raises:
        InputError: the words name who is erased, or are too long.
        AuditError: the key of ``by`` can't be had.
    """
    if not reason.strip() or len(reason) > MAX_REASON or len(ticket) > MAX_REASON:
        raise InputError(f"a reason has 1 to {MAX_REASON} characters, and a ticket no more")
    nonce = secrets.token_bytes(NONCE_BYTES)
    return {
        "schema": SEALED_SCHEMA,
        "type": ERASURE,
        "time": render_time(moment),
        NONCE: nonce.hex(),
        "cluster": cluster,
        "by": seal(keys.key_of(by), nonce, by) if is_person(by) else by,
        "reason": reason,
        "ticket": ticket,
        "keys": [person.key_id for person in traces.persons[:MAX_LISTED]],
        "attachments": [{"index": one.index, "name": one.name} for one in traces.attachments[:MAX_LISTED]],
        "attachments_total": len(traces.attachments),
    }


def require_nameless(names: Sequence[str], *texts: str) -> None:
    """That what stands in the record for ever does not say who was erased from it.

    Raises:
        InputError: a text has one of the names in it.
    """
    finder = NameFinder(names)
    if any(finder.finds(text.encode("utf-8", "surrogatepass"), depth=0) for text in texts):
        raise InputError(
            "who asks, the reason or the ticket names the person that is erased",
            hint="The leaf of an erasure stays for ever: name a ticket instead.",
        )


def render_statements(places: Sequence[Place], rows: Sequence[tuple[int, int]] = ()) -> list[str]:
    """What deletes attachments, and what a person is found by, from a database, for its owner: the gate may not delete.

    ``VACUUM FULL`` writes the table anew: without it the bytes stay on its pages.
    """
    made = []
    if rows:
        values = ", ".join(f"({number}, {term})" for number, term in rows)
        made.append(f"DELETE FROM placet.terms WHERE (block, term) IN (VALUES {values})")  # noqa: S608 - numbers
    if places:
        values = ", ".join(f"({place.index}, '{_quoted(place.name)}')" for place in places)
        made.append(f"DELETE FROM placet.blobs WHERE (idx, name) IN (VALUES {values})")  # noqa: S608 - quoted
        made.append("VACUUM (FULL) placet.blobs")
    return made


def _quoted(name: str) -> str:
    if "\0" in name:
        raise FormatError("an attachment's name that no database holds")
    return name.replace("'", "''")
