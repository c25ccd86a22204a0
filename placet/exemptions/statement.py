"""The statement of an exemption: what somebody signs who says that a workload needs no approval."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from placet.approvals.closed import DNS_LABEL, ClosedObject
from placet.approvals.statement import APPROVAL_ID, CLUSTER, WORKLOAD
from placet.approvals.times import render_time
from placet.canonical import Digest, parse_json, render_canonical
from placet.errors import FormatError

PAYLOAD_TYPE: Final = "application/vnd.placet.exemption.v1+json"
SCHEMA: Final = "placet.dev/exemption/v1"
GRADES: Final = ("no", "suspected", "serves_model")
"""What detection makes of a workload, in rising order; a signed one covers those before it."""
IMAGES: Final = ("pinned", "as_named")
LONGEST: Final = timedelta(days=365)
MAX_PROJECTIONS: Final = 16
MAX_BYTES: Final = 16 * 1024
_MAX_CLUSTERS: Final = 64
_MAX_DEPTH: Final = 3
_MAX_REASON_CHARS: Final = 1024


@dataclass(frozen=True, slots=True)
class ExemptionStatement:
    """One exemption. A value of this type says nothing about who signed it.

    Attributes:
        exemption_id: UUID or ULID; names it in records, and where it is taken back.
        clusters: where it holds, non-empty.
        environment: the one that it holds in.
        namespace: of the workload.
        workload: ``Deployment/nginx``; a star at its end is part of a name that the API server completes.
        projections: contents that it covers, non-empty, distinct.
        detection: one of ``GRADES``: what the signers knew that detection makes of the workload.
        images: ``pinned`` where each image must be named by its digest, ``as_named`` where a tag is good enough.
        issued_at: when it was signed; aware UTC, whole seconds.
        not_before: first moment that it holds, never before ``issued_at``.
        expires: first moment that it no longer holds, at most ``LONGEST`` after ``issued_at``.
        ticket: may be "".
        reason: the signer's words, non-empty.
    """

    exemption_id: str
    clusters: tuple[str, ...]
    environment: str
    namespace: str
    workload: str
    projections: tuple[Digest, ...]
    detection: str
    images: str
    issued_at: datetime
    not_before: datetime
    expires: datetime
    ticket: str
    reason: str


def parse_exemption(payload: bytes) -> ExemptionStatement:
    """Read the exact signed bytes of an exemption.

    Raises:
        FormatError: with code ``exemption_malformed``.
    """
    try:
        return _read(ClosedObject(parse_json(payload, max_bytes=MAX_BYTES, max_depth=_MAX_DEPTH), "exemption"))
    except FormatError as exc:
        raise FormatError(f"the exemption can't be read: {exc}", code="exemption_malformed") from exc


def _read(members: ClosedObject) -> ExemptionStatement:
    if members.take("schema") != SCHEMA:
        raise FormatError(f"exemption.schema is not {SCHEMA}")
    listed = members.texts("projections", maximum=MAX_PROJECTIONS)
    statement = ExemptionStatement(
        exemption_id=members.text("exemptionId", pattern=APPROVAL_ID),
        clusters=members.texts("clusters", maximum=_MAX_CLUSTERS, pattern=CLUSTER),
        environment=members.text("environment", pattern=DNS_LABEL),
        namespace=members.text("namespace", pattern=DNS_LABEL),
        workload=members.text("workload", pattern=WORKLOAD, max_chars=320),
        projections=tuple(Digest.parse(text) for text in listed),
        detection=members.choice("detection", GRADES),
        images=members.choice("images", IMAGES),
        issued_at=members.time("issuedAt"),
        not_before=members.time("notBefore"),
        expires=members.time("expires"),
        ticket=members.text("ticket", empty=True),
        reason=members.text("reason", max_chars=_MAX_REASON_CHARS),
    )
    members.close()
    _require_times(statement)
    return statement


def _require_times(statement: ExemptionStatement) -> None:
    if statement.not_before < statement.issued_at:
        raise FormatError("exemption.notBefore is before issuedAt")
    if statement.expires <= statement.not_before:
        raise FormatError("exemption.expires is not after notBefore")
    if statement.expires - statement.issued_at > LONGEST:
        raise FormatError(f"exemption.expires is more than {LONGEST.days} days after issuedAt")


def render_exemption(statement: ExemptionStatement) -> bytes:
    """Canonical bytes to sign.

    Raises:
        FormatError: ``parse_exemption`` would not accept them; nothing unreadable is ever signed.
    """
    value: dict[str, Any] = {
        "schema": SCHEMA,
        "exemptionId": statement.exemption_id,
        "clusters": list(statement.clusters),
        "environment": statement.environment,
        "namespace": statement.namespace,
        "workload": statement.workload,
        "projections": [str(one) for one in statement.projections],
        "detection": statement.detection,
        "images": statement.images,
        "issuedAt": render_time(statement.issued_at),
        "notBefore": render_time(statement.not_before),
        "expires": render_time(statement.expires),
        "ticket": statement.ticket,
        "reason": statement.reason,
    }
    payload = render_canonical(value)
    parse_exemption(payload)
    return payload
