"""Documents that somebody vouches for, in the form of in-toto: only one whose content is pinned counts.

https://github.com/in-toto/attestation/blob/main/spec/predicates/reference.md
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from placet.approvals.closed import ClosedObject
from placet.errors import FormatError

MAX_REFERENCES: Final = 256
ISSUED_AT: Final = "issuedAt"
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def read_references(predicate: ClosedObject) -> tuple[tuple[str, ...], datetime]:
    """Names of the documents, sorted, and when the oldest of them was vouched for.

    The predicate knows no time of its own: each document that counts has it in its annotations. A document without a
    name or a SHA-256 digest is passed over, as if it stood in a statement of its own.

    Raises:
        FormatError: it is not of its form, or no document in it counts.
    """
    predicate.child("attester").text("id")
    found: dict[str, datetime] = {}
    for entry in predicate.children("references", maximum=MAX_REFERENCES):
        if not entry.has("name") or not _is_pinned(entry):
            continue
        name, issued_at = entry.text("name"), entry.child("annotations").time(ISSUED_AT)
        found[name] = min(issued_at, found.get(name, issued_at))
    if not found:
        raise FormatError("predicate.references has no document with a name and a SHA-256 digest")
    return tuple(sorted(found)), min(found.values())


def _is_pinned(entry: ClosedObject) -> bool:
    if not entry.has("digest"):
        return False
    digest = entry.child("digest")
    if not digest.has("sha256"):
        return False
    digest.text("sha256", pattern=_SHA256)
    return True
