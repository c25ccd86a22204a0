r"""Leaves of the log: their bytes, and what of them can be searched.

A leaf is the name of its type, a new line, and the canonical JSON of its body::

    decision\n{"allowed":true,...,"type":"decision",...}

The body names its type too, so that a body taken alone can't be passed off as another one. The columns that a store is
searched by are a function of the leaf and nothing else: ``search_columns``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from placet.audit.merkle import hash_leaf
from placet.canonical import MAX_DEPTH, Digest, parse_json, render_canonical
from placet.errors import AuditError, CanonicalError, FormatError
from placet.plainjson import NOT_PLAIN, parse_canonical

SCHEMA: Final = "placet.dev/record/v1"
SEALED_SCHEMA: Final = "placet.dev/record/v2"
"""Of a decision or an erasure in which names of persons are sealed; in everything else the same."""
SEALED_EVENT_SCHEMA: Final = "placet.dev/record/v3"
"""The same of the other types that name persons. A gate reads some of them again, and one that can't open names would
take another's name for another person: such a release has to refuse the leaf, and knows no v3."""
SEALED_SCHEMAS: Final = (SEALED_SCHEMA, SEALED_EVENT_SCHEMA)
_SCHEMAS: Final = (SCHEMA, *SEALED_SCHEMAS)  # no set: what a leaf says may be a list, which has no hash
MAX_LEAF_BYTES: Final = 32 * 1024
DECISION: Final = "decision"
HEARTBEAT: Final = "heartbeat"
KEYRING: Final = "keyring"
POLICY: Final = "policy"
CONFIGURATION: Final = "configuration"
REVOCATION: Final = "revocation"
BREAK_GLASS: Final = "break-glass"
OUTAGE: Final = "outage"
RESTORED: Final = "restored"
SCAN: Final = "scan"
EXEMPTION: Final = "exemption"
ERASURE: Final = "erasure"
HOLD: Final = "hold"
PRUNE: Final = "prune"
SHADOW: Final = "shadow"
LEAF_TYPES: Final = (
    DECISION,
    HEARTBEAT,
    KEYRING,
    POLICY,
    CONFIGURATION,
    REVOCATION,
    BREAK_GLASS,
    OUTAGE,
    RESTORED,
    SCAN,
    EXEMPTION,
    ERASURE,
    HOLD,
    PRUNE,
    SHADOW,
)
PRUNED: Final = "pruned"
"""What stands in place of the type of a leaf whose bytes were removed; no leaf is of this type."""
_TYPE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_TIME: Final = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\.[0-9]{6}Z", re.ASCII)
ATTACHMENT_FIELD: Final = "_digest"
KEPT_BEFORE: Final = "kept_before"
"""Member of a decision: attachments that equal those of an earlier leaf, which has them."""
_KNOWN: Final = frozenset(LEAF_TYPES)
# Members of a decision under the columns from ``cluster`` to ``requester``, in their order.
TEXT_MEMBERS: Final = ("cluster", "environment", "namespace", "kind", "name", "user")
_NOT_SAID: Final = ("", "", "", "", "", "", "", None, None, "")  # the columns after ``cluster`` of other types


@dataclass(frozen=True, slots=True)
class Columns:
    """What a leaf can be found by. Empty text where the leaf does not say; None where the type has no such thing.

    Attributes:
        uid: of the admission request, decisions only; no two leaves have the same.
        decision_id: decisions only; no two leaves have the same.
        request_digest: ``sha256:hex`` of the request that was decided, decisions only.
        approved: 1 where the decision says that it is approved, else 0, also where it says nothing; decisions only.
        projection: digest of the governed fields that were judged; decisions only.
        violations: rule, code and ``rule:code`` of every violation, sorted, each between bars: ``|a|b|``; or empty.
    """

    leaf_type: str
    time: str
    uid: str | None = None
    decision_id: str | None = None
    request_digest: str | None = None
    cluster: str = ""
    environment: str = ""
    namespace: str = ""
    kind: str = ""
    object_name: str = ""
    requester: str = ""
    model: str = ""
    projection: str = ""
    allowed: int | None = None
    approved: int | None = None
    violations: str = ""


PRUNED_COLUMNS: Final = Columns(PRUNED, "")
"""What stands beside the hash of a leaf whose bytes were removed."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One entry of the log, read or about to be written.

    Attributes:
        raw: the bytes that are hashed.
        body: the JSON object in them.
        columns: derived from ``body``.
    """

    raw: bytes
    body: Mapping[str, Any]
    columns: Columns

    @property
    def type(self) -> str:
        """``decision`` and so on."""
        return self.columns.leaf_type

    @property
    def hash(self) -> bytes:
        """The leaf's hash in the tree, 32 bytes."""
        return hash_leaf(self.raw)


def render_leaf(body: Mapping[str, Any]) -> Leaf:
    """Make the leaf of a body.

    Raises:
        AuditError: ``record_invalid`` when the body lacks what its type must have or has no canonical form,
            ``record_too_large`` above 32 KiB.
    """
    leaf_type = body.get("type")
    if leaf_type not in LEAF_TYPES:
        raise AuditError(f"no record is of the type {leaf_type!r}", code="record_invalid")
    try:
        raw = f"{leaf_type}\n".encode() + render_canonical(body)
        columns = search_columns(body)
    except (CanonicalError, FormatError) as exc:
        raise AuditError(f"the record can't be written: {exc}", code="record_invalid") from exc
    if body.get("dry_run") is True:
        raise AuditError("a dry run leaves no record", code="record_invalid")
    if len(raw) > MAX_LEAF_BYTES:
        raise AuditError(f"a record of {len(raw)} bytes, more than {MAX_LEAF_BYTES}", code="record_too_large")
    return Leaf(raw, body, columns)


def parse_leaf(raw: bytes) -> Leaf:
    """Read the bytes of a leaf; whatever its type, so that an older reader reads newer logs.

    Raises:
        FormatError: not a type, a new line and the canonical JSON of a body that says the same type.
    """
    body = parse_body(raw)
    return Leaf(raw, body, search_columns(body))


def parse_body(raw: bytes) -> dict[str, Any]:
    """Read the body of a leaf; what ``search_values`` asks of it is not asked here.

    Raises:
        FormatError: as ``parse_leaf``.
    """
    if len(raw) > MAX_LEAF_BYTES:
        raise FormatError(f"a leaf of {len(raw)} bytes, more than {MAX_LEAF_BYTES}", code="leaf_malformed")
    word, newline, document = raw.partition(b"\n")
    leaf_type = word.decode("ascii", errors="replace")
    if not newline or leaf_type == PRUNED or (leaf_type not in _KNOWN and not _TYPE.fullmatch(leaf_type)):
        raise FormatError("the leaf does not start with its type and a new line", code="leaf_malformed")
    body = parse_canonical(document, max_depth=MAX_DEPTH)
    if body is NOT_PLAIN:
        body = _parse_canonical(document)
    if not isinstance(body, dict) or body.get("type") != leaf_type:
        raise FormatError("the body of the leaf is not of the type that it starts with", code="leaf_malformed")
    return body


def attachment_digests(body: Mapping[str, Any]) -> dict[str, str]:
    """What may be kept beside the leaf: name -> ``sha256:hex``, of the members ``<name>_digest`` of the body."""
    return {name: value for key, name in _digest_members(tuple(body)) if isinstance(value := body[key], str)}


@functools.lru_cache(maxsize=256)  # leaves have few sets of members, and many leaves have the same one
def _digest_members(members: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((key, key.removesuffix(ATTACHMENT_FIELD)) for key in members if key.endswith(ATTACHMENT_FIELD))


def find_attachments(body: Mapping[str, Any], index: int) -> dict[str, tuple[int, str]]:
    """Where the attachments of a leaf are: name -> index of the leaf that has it, and its digest.

    Args:
        body: of the leaf.
        index: of the leaf itself.
    """
    found = {name: (index, digest) for name, digest in attachment_digests(body).items()}
    before = body.get(KEPT_BEFORE)
    for name, entry in before.items() if isinstance(before, Mapping) else ():
        place, digest = (entry.get("index"), entry.get("digest")) if isinstance(entry, Mapping) else (None, None)
        if type(place) is int and 0 <= place < index and isinstance(digest, str) and name not in found:
            found[name] = (place, digest)
    return found


def search_columns(body: Mapping[str, Any]) -> Columns:
    """Derive the columns that a leaf is found by.

    Raises:
        FormatError: the body lacks its schema, type or time, or a decision lacks its uid, id, request digest or answer.
    """
    return Columns(*search_values(body))


def search_values(body: Mapping[str, Any]) -> tuple[Any, ...]:
    """The values of ``search_columns`` in the order of ``Columns``; raises as it does."""
    leaf_type = _require_text(body, "type")
    if body.get("schema") not in _SCHEMAS:
        raise FormatError(f"the body of the leaf is not of the schema {SCHEMA}, v2 or v3", code="leaf_malformed")
    time = _require_text(body, "time")
    if not _TIME.fullmatch(time):
        raise FormatError("the time of the leaf is not of the form 2026-11-22T18:00:00.000000Z", code="leaf_malformed")
    if leaf_type != DECISION:
        return (leaf_type, time, None, None, None, _text(body, "cluster"), *_NOT_SAID)
    allowed = body.get("allowed")
    if not isinstance(allowed, bool):
        raise FormatError("the decision does not say whether it allowed", code="leaf_malformed")
    get = body.get
    said = [found if isinstance(found := get(name), str) else "" for name in TEXT_MEMBERS]
    model = get("model")
    return (
        leaf_type,
        time,
        _require_text(body, "uid"),
        _require_text(body, "decision_id"),
        str(Digest.parse(_require_text(body, "request_digest"))),
        *said,
        _text(model, "name"),
        _text(body, "projection"),
        int(allowed),
        int(get("approved") is True),
        violations_column(get("violations")),
    )


def violations_column(entries: object) -> str:
    """The column ``violations`` of what the member of that name has."""
    if not entries:
        return ""
    words: set[str] = set()
    for entry in entries if isinstance(entries, list | tuple) else ():
        rule, code = _text(entry, "rule"), _text(entry, "code")
        words.update(word for word in (rule, code, f"{rule}:{code}") if word and "|" not in word)
    return f"|{'|'.join(sorted(words))}|" if words else ""


def _text(body: object, key: str) -> str:
    # a dict nearly always, and asking the abstract class takes ten times as long
    value = body.get(key) if isinstance(body, (dict, Mapping)) else None
    return value if isinstance(value, str) else ""


def _require_text(body: Mapping[str, Any], key: str) -> str:
    value = _text(body, key)
    if not value:
        raise FormatError(f"the body of the leaf has no text {key!r}", code="leaf_malformed")
    return value


def _parse_canonical(document: bytes) -> Any:
    """Read JSON that must be canonical: what reads back to the same bytes."""
    try:
        value = parse_json(document, max_bytes=MAX_LEAF_BYTES, max_depth=MAX_DEPTH)
        canonical = render_canonical(value)
    except (FormatError, CanonicalError) as exc:
        raise FormatError("the body of the leaf is not canonical JSON", code="leaf_malformed") from exc
    if canonical != document:
        raise FormatError("the body of the leaf is not canonical JSON", code="leaf_malformed")
    return value
