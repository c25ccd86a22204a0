"""The in-toto Statement v1 around every predicate, and its subjects.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from placet.approvals.closed import ClosedObject
from placet.canonical import Digest, parse_json, render_canonical
from placet.errors import FormatError
from placet.model import Image, ModelIdentity

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
MAX_PAYLOAD_BYTES: Final = 48 * 1024
PROJECTION_SUBJECT: Final = "projection"
IMAGE_PREFIX: Final = "image:"
MODEL_PREFIX: Final = "model:"
_MAX_SUBJECTS: Final = 256
_MAX_NAME_CHARS: Final = 512
_MAX_DEPTH: Final = 32
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """What a statement is about.

    Attributes:
        name: ``projection``, ``image:<name>``, ``model:<name>``, or what another tool wrote; "" when absent.
        digest: SHA-256 of its content.
    """

    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement whose predicate has not been read yet.

    Attributes:
        subjects: distinct, non-empty.
        predicate_type: its URI.
        predicate: parsed JSON, unread.
    """

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Any


def workload_subjects(projection: Digest, images: Iterable[Image], model: ModelIdentity) -> tuple[Subject, ...]:
    """What a statement about a workload names: the projection, each pinned image, the model's artifact.

    An image without a digest and a model without one give no subject: what can't be pinned can't be signed.
    """
    pinned = {Subject(IMAGE_PREFIX + image.name, image.digest) for image in images if image.digest is not None}
    artifact = (Subject(MODEL_PREFIX + model.name, model.digest),) if model.name and model.digest else ()
    return (Subject(PROJECTION_SUBJECT, projection), *sorted(pinned), *artifact)


def parse_in_toto(payload: bytes, *, closed: bool, allow_floats: bool = False) -> Statement:
    """Read the statement around a predicate.

    Args:
        payload: the exact signed bytes.
        closed: whether subjects hold a name and a SHA-256 digest and nothing else. Statements of other tools may
            carry more, which in-toto tells readers to skip.
        allow_floats: whether numbers with a fraction may stand in the predicate. A reader of the predicate must
            then take integers by their exact type.

    Raises:
        FormatError: with code ``statement_malformed`` or ``statement_type``.
    """
    try:
        value = parse_json(payload, max_bytes=MAX_PAYLOAD_BYTES, max_depth=_MAX_DEPTH, allow_floats=allow_floats)
        members = ClosedObject(value, "statement")
        kind = members.take("_type")
        subjects = _read_subjects(members, closed=closed)
        predicate_type = members.text("predicateType")
        predicate = members.take("predicate")
        members.close()
    except FormatError as exc:
        raise FormatError(f"the statement can't be read: {exc}", code="statement_malformed") from exc
    if kind != STATEMENT_TYPE:
        raise FormatError(f"the statement is not of type {STATEMENT_TYPE}", code="statement_type")
    return Statement(subjects, predicate_type, predicate)


def _read_subjects(members: ClosedObject, *, closed: bool) -> tuple[Subject, ...]:
    entries = members.children("subject", maximum=_MAX_SUBJECTS)
    subjects = tuple(_read_subject(entry, closed=closed) for entry in entries)
    if len(set(subjects)) != len(subjects):
        raise FormatError("statement.subject names the same thing twice")
    return subjects


def _read_subject(entry: ClosedObject, *, closed: bool) -> Subject:
    name = entry.text("name", max_chars=_MAX_NAME_CHARS) if closed or entry.has("name") else ""
    digests = entry.child("digest")
    sha256 = digests.text("sha256", pattern=_SHA256)
    if closed:
        digests.close()
        entry.close()
    return Subject(name, Digest(sha256))


def render_in_toto(subjects: Iterable[Subject], predicate_type: str, predicate: Any) -> bytes:
    """Canonical bytes of a statement."""
    return render_canonical(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": subject.name, "digest": {"sha256": subject.digest.hex}} for subject in subjects],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )
