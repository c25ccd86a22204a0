r"""One denial that waits for the record, as a file.

    placet.dev/spool/v1\n
    sha256:<64 hexadecimal digits>\n     of all that follows
    {"attachments":{<name>:<base64>},"leaf":{...}}

The leaf is the one that the record gets, to the byte: it was made when the answer was, so that a denial which is
drained twice is one leaf. Nothing but a denial has this form; what says that it allows is no file of ours.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from placet.audit.record import DECISION, attachment_digests, render_leaf
from placet.canonical import Digest, parse_json, render_canonical
from placet.errors import AuditError, CanonicalError, FormatError

MAGIC: Final = b"placet.dev/spool/v1\n"
MAX_FILE_BYTES: Final = 3 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Denial:
    """A denial that was answered, or is about to be, and is not in the record.

    Attributes:
        leaf: body of the decision, with its own time and the member ``spooled``.
        attachments: name -> bytes to keep beside the leaf.
    """

    leaf: Mapping[str, Any]
    attachments: Mapping[str, bytes]

    @property
    def uid(self) -> str:
        """Of the admission request."""
        return str(self.leaf["uid"])

    @property
    def request_digest(self) -> Digest:
        """Of the request."""
        return Digest.parse(str(self.leaf["request_digest"]))


def render_denial(denial: Denial) -> bytes:
    """The bytes of the file.

    Raises:
        AuditError: ``not_a_denial``; ``record_invalid`` or ``record_too_large``: the record would never take it.
    """
    try:
        _require_denial(denial)
    except FormatError as exc:
        raise AuditError(str(exc), code="not_a_denial") from exc
    body = render_canonical(
        {
            "attachments": {name: base64.b64encode(raw).decode() for name, raw in denial.attachments.items()},
            "leaf": denial.leaf,
        }
    )
    raw = b"%s%s\n%s" % (MAGIC, str(Digest.of(body)).encode(), body)
    if len(raw) > MAX_FILE_BYTES:
        raise AuditError(f"a denial of {len(raw)} bytes, more than {MAX_FILE_BYTES}", code="record_too_large")
    return raw


def parse_denial(raw: bytes) -> Denial:
    """Read a file back.

    Raises:
        FormatError: ``spool_damaged``: torn, changed, or no denial.
    """
    if len(raw) > MAX_FILE_BYTES or not raw.startswith(MAGIC):
        raise FormatError("not a file of the spool", code="spool_damaged")
    checksum, newline, body = raw[len(MAGIC) :].partition(b"\n")
    if not newline or checksum != str(Digest.of(body)).encode():
        raise FormatError("torn or changed: its checksum is that of something else", code="spool_damaged")
    try:
        value = parse_json(body, max_bytes=MAX_FILE_BYTES)
        members = _mapping(value)
        attachments = {name: _bytes(text) for name, text in _mapping(members.get("attachments")).items()}
        denial = Denial(_mapping(members.get("leaf")), attachments)
        _require_denial(denial)
    except (AuditError, CanonicalError, FormatError) as exc:
        raise FormatError(f"no denial: {exc}", code="spool_damaged") from exc
    return denial


def _require_denial(denial: Denial) -> None:
    """Whether the record would take it, and it lets nothing in.

    Raises:
        FormatError: it is no denial, or its attachments are not those of its leaf.
        AuditError: the record would not take it.
    """
    leaf = denial.leaf
    if leaf.get("type") != DECISION or leaf.get("allowed") is not False:
        raise FormatError("only denials wait for the record")
    if not isinstance(leaf.get("spooled"), Mapping):
        raise FormatError("it does not say that it was spooled")
    render_leaf(leaf)
    digests = attachment_digests(leaf)
    for name, content in denial.attachments.items():
        if digests.get(name) != str(Digest.of(content)):
            raise FormatError(f"the attachment {name[:40]!r} is not that of its leaf")


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise FormatError("a member is no object")
    return value


def _bytes(value: object) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise FormatError("an attachment is not base64") from exc
