"""The approval statement: what is signed when somebody approves, or takes an approval back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from placet.approvals.closed import DNS_LABEL, ClosedObject
from placet.approvals.in_toto import Statement, Subject, parse_in_toto, render_in_toto
from placet.approvals.times import render_time
from placet.canonical import Digest
from placet.errors import FormatError
from placet.model import BREAK_GLASS, LEVELS, ROLES

PREDICATE_TYPE: Final = "https://placet.dev/approval/v1"
MAX_LIFETIME: Final = timedelta(days=90)
# A break-glass token is taken back as an approval is, by its own id.
REVOCABLE: Final = (*ROLES, BREAK_GLASS)
REVOKED_SUBJECT: Final = "approval"
CLUSTER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}", re.ASCII)
# ``Job/train-*`` is a workload whose name the API server will choose; the star is part of the text, not a pattern.
WORKLOAD: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,62}/[a-z0-9][a-z0-9.-]{0,252}\*?", re.ASCII)
# One spelling each: a lower-case UUID or an upper-case ULID.
APPROVAL_ID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII
)
_MAX_AUDIENCE: Final = 64
_MAX_REASON_CHARS: Final = 1024


@dataclass(frozen=True, slots=True)
class Audience:
    """Where an approval holds. Every comparison is equality; there are no patterns and no "everywhere".

    Attributes:
        clusters: cluster names, non-empty.
        namespaces: namespace names, non-empty.
        workload: ``Deployment/llama``.
    """

    clusters: tuple[str, ...]
    namespaces: tuple[str, ...]
    workload: str


@dataclass(frozen=True, slots=True)
class ApprovalStatement:
    """One approval. A value of this type says nothing about who signed it.

    Attributes:
        approval_id: UUID or ULID; names the approval in records and revocations.
        role: one of ``ROLES``.
        model_name: the model's name, non-empty.
        model_version: the model's version, non-empty.
        audience: where it holds.
        environment: which environment it holds for.
        max_risk: the highest level that it covers.
        risk_inputs: digest of the facts that the approver saw.
        policy: digest of the policy data that it holds under, or None for any.
        issued_at: when it was signed; aware UTC, whole seconds.
        not_before: first moment that it holds, never before ``issued_at``.
        expires: first moment that it no longer holds, at most 90 days after ``issued_at``.
        ticket: change ticket, may be "".
        reason: the approver's words, may be "".
        subjects: projection, images, model artifact.
    """

    approval_id: str
    role: str
    model_name: str
    model_version: str
    audience: Audience
    environment: str
    max_risk: str
    risk_inputs: Digest
    policy: Digest | None
    issued_at: datetime
    not_before: datetime
    expires: datetime
    ticket: str
    reason: str
    subjects: tuple[Subject, ...]


@dataclass(frozen=True, slots=True)
class RevocationStatement:
    """The taking back of one approval, or what somebody said about one: unverified until its signature is.

    Attributes:
        approval_id: the approval that no longer holds.
        role: its role.
        environment: its environment.
        issued_at: when the revocation was signed. It holds from that moment and never expires.
        ticket: may be "".
        reason: may be "".
    """

    approval_id: str
    role: str
    environment: str
    issued_at: datetime
    ticket: str
    reason: str


def parse_statement(payload: bytes) -> ApprovalStatement | RevocationStatement:
    """Read the exact signed bytes of an approval or a revocation.

    Raises:
        FormatError: with code ``statement_malformed``, ``statement_type`` or ``predicate_type``.
    """
    statement = parse_in_toto(payload, closed=True)
    if statement.predicate_type != PREDICATE_TYPE:
        raise FormatError(f"the statement's predicate is not of type {PREDICATE_TYPE}", code="predicate_type")
    try:
        predicate = ClosedObject(statement.predicate, "predicate")
        decision = predicate.choice("decision", ("approve", "revoke"))
        read = _read_approval(predicate, statement) if decision == "approve" else _read_revocation(predicate, statement)
        predicate.close()
    except FormatError as exc:
        raise FormatError(f"the statement can't be read: {exc}", code="statement_malformed") from exc
    return read


def _read_approval(predicate: ClosedObject, statement: Statement) -> ApprovalStatement:
    model = predicate.child("model")
    audience = predicate.child("audience")
    approval = ApprovalStatement(
        approval_id=predicate.text("approvalId", pattern=APPROVAL_ID),
        role=predicate.choice("role", ROLES),
        model_name=model.text("name"),
        model_version=model.text("version"),
        audience=Audience(
            clusters=audience.texts("clusters", maximum=_MAX_AUDIENCE, pattern=CLUSTER),
            namespaces=audience.texts("namespaces", maximum=_MAX_AUDIENCE, pattern=DNS_LABEL),
            workload=audience.text("workload", pattern=WORKLOAD, max_chars=320),
        ),
        environment=predicate.text("environment", pattern=DNS_LABEL),
        max_risk=predicate.choice("maxRisk", LEVELS),
        risk_inputs=predicate.digest("riskInputsDigest"),
        policy=predicate.digest("policyDigest") if predicate.has("policyDigest") else None,
        issued_at=predicate.time("issuedAt"),
        not_before=predicate.time("notBefore"),
        expires=predicate.time("expires"),
        ticket=predicate.text("ticket", empty=True),
        reason=predicate.text("reason", max_chars=_MAX_REASON_CHARS, empty=True),
        subjects=statement.subjects,
    )
    model.close()
    audience.close()
    _require_times(approval)
    return approval


def _require_times(approval: ApprovalStatement) -> None:
    if approval.not_before < approval.issued_at:
        raise FormatError("predicate.notBefore is before issuedAt")
    if approval.expires <= approval.not_before:
        raise FormatError("predicate.expires is not after notBefore")
    if approval.expires - approval.issued_at > MAX_LIFETIME:
        raise FormatError(f"predicate.expires is more than {MAX_LIFETIME.days} days after issuedAt")


def _read_revocation(predicate: ClosedObject, statement: Statement) -> RevocationStatement:
    revocation = RevocationStatement(
        approval_id=predicate.text("approvalId", pattern=APPROVAL_ID),
        role=predicate.choice("role", REVOCABLE),
        environment=predicate.text("environment", pattern=DNS_LABEL),
        issued_at=predicate.time("issuedAt"),
        ticket=predicate.text("ticket", empty=True),
        reason=predicate.text("reason", max_chars=_MAX_REASON_CHARS, empty=True),
    )
    if statement.subjects != (_revoked_subject(revocation.approval_id),):
        raise FormatError("statement.subject is not the approval that is revoked")
    return revocation


def _revoked_subject(approval_id: str) -> Subject:
    # in-toto wants a subject with a digest; a revocation must be possible with nothing but the approval's id at hand.
    return Subject(REVOKED_SUBJECT, Digest.of(approval_id.encode("ascii")))


def render_statement(statement: ApprovalStatement | RevocationStatement) -> bytes:
    """Canonical bytes to sign.

    Raises:
        FormatError: the statement would not be accepted by ``parse_statement``; nothing unreadable is ever signed.
    """
    if isinstance(statement, ApprovalStatement):
        payload = render_in_toto(statement.subjects, PREDICATE_TYPE, _approval_predicate(statement))
    else:
        subject = _revoked_subject(statement.approval_id)
        payload = render_in_toto((subject,), PREDICATE_TYPE, _revocation_predicate(statement))
    parse_statement(payload)
    return payload


def _approval_predicate(approval: ApprovalStatement) -> dict[str, Any]:
    predicate: dict[str, Any] = {
        "approvalId": approval.approval_id,
        "decision": "approve",
        "role": approval.role,
        "model": {"name": approval.model_name, "version": approval.model_version},
        "audience": {
            "clusters": list(approval.audience.clusters),
            "namespaces": list(approval.audience.namespaces),
            "workload": approval.audience.workload,
        },
        "environment": approval.environment,
        "maxRisk": approval.max_risk,
        "riskInputsDigest": str(approval.risk_inputs),
        "issuedAt": render_time(approval.issued_at),
        "notBefore": render_time(approval.not_before),
        "expires": render_time(approval.expires),
        "ticket": approval.ticket,
        "reason": approval.reason,
    }
    if approval.policy is not None:
        predicate["policyDigest"] = str(approval.policy)
    return predicate


def _revocation_predicate(revocation: RevocationStatement) -> dict[str, Any]:
    return {
        "approvalId": revocation.approval_id,
        "decision": "revoke",
        "role": revocation.role,
        "environment": revocation.environment,
        "issuedAt": render_time(revocation.issued_at),
        "ticket": revocation.ticket,
        "reason": revocation.reason,
    }
