"""The two statements of break-glass: the token that lets one workload in, and the review that closes what it did.

Both are in-toto statements in DSSE envelopes, each with a payload type and a predicate type of its own: the payload
type is under the signature, so neither can be passed off as the other, as an approval or as evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from placet.approvals.closed import DNS_LABEL, ClosedObject
from placet.approvals.in_toto import Statement, Subject, parse_in_toto, render_in_toto
from placet.approvals.statement import APPROVAL_ID, CLUSTER, WORKLOAD
from placet.approvals.times import render_time
from placet.canonical import Digest
from placet.errors import FormatError

TOKEN_PAYLOAD_TYPE: Final = "application/vnd.placet.break-glass.v1+json"  # noqa: S105 - a media type
REVIEW_PAYLOAD_TYPE: Final = "application/vnd.placet.break-glass-review.v1+json"
TOKEN_TYPE: Final = "https://placet.dev/break-glass/v1"  # noqa: S105 - a URI
REVIEW_TYPE: Final = "https://placet.dev/break-glass-review/v1"
LONGEST: Final = timedelta(hours=24)  # whatever the policy data says
MAX_REPLICAS: Final = 1_000_000
MAX_REVIEWED: Final = 16
MAX_REASON_CHARS: Final = 1024
_PREFIX: Final = "break-glass:"
_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class TokenStatement:
    """What two persons sign to let one workload in. A value of this type says nothing about who signed it.

    Attributes:
        token_id: UUID or ULID; names the token in records, reviews and revocations.
        model_name: as the workload says, "" where it says none.
        model_version: as the workload says, "" where it says none.
        cluster: the one cluster.
        environment: the one environment.
        namespace: the one namespace.
        workload: ``Deployment/llama``; never a name that the API server will make.
        replicas: the most that are let in; None for a kind that does not say how many.
        issued_at: when the first of the two signed; aware UTC, whole seconds. It holds from then on.
        expires: first moment that it no longer holds, at most ``LONGEST`` after ``issued_at``.
        ticket: may be "".
        reason: why there was no time for approvals; never empty.
        subjects: exactly what is let in: projection, images, model artifact.
    """

    token_id: str
    model_name: str
    model_version: str
    cluster: str
    environment: str
    namespace: str
    workload: str
    replicas: int | None
    issued_at: datetime
    expires: datetime
    ticket: str
    reason: str
    subjects: tuple[Subject, ...]


@dataclass(frozen=True, slots=True)
class ReviewStatement:
    """What somebody else signs who has looked into it afterwards. Unverified until its signature is.

    Attributes:
        review_id: UUID or ULID.
        cluster: where the tokens were used.
        environment: where the tokens were used.
        issued_at: when it was signed; it covers what was let in up to then.
        conclusion: what was found; never empty.
        tokens: id of each token -> digest of its signed bytes; non-empty.
    """

    review_id: str
    cluster: str
    environment: str
    issued_at: datetime
    conclusion: str
    tokens: dict[str, Digest]


def parse_token(payload: bytes) -> TokenStatement:
    """Read the exact signed bytes of a token.

    Raises:
        FormatError: with code ``statement_malformed``, ``statement_type`` or ``predicate_type``.
    """
    return _parse(payload, TOKEN_TYPE, _read_token)


def parse_break_glass_review(payload: bytes) -> ReviewStatement:
    """Read the exact signed bytes of a review.

    Raises:
        FormatError: with code ``statement_malformed``, ``statement_type`` or ``predicate_type``.
    """
    return _parse(payload, REVIEW_TYPE, _read_review)


def _parse(payload: bytes, predicate_type: str, read: Callable[[ClosedObject, Statement], _Read]) -> _Read:
    statement = parse_in_toto(payload, closed=True)
    if statement.predicate_type != predicate_type:
        raise FormatError(f"the statement's predicate is not of type {predicate_type}", code="predicate_type")
    try:
        predicate = ClosedObject(statement.predicate, "predicate")
        found = read(predicate, statement)
        predicate.close()
    except FormatError as exc:
        raise FormatError(f"the statement can't be read: {exc}", code="statement_malformed") from exc
    return found


def _read_token(predicate: ClosedObject, statement: Statement) -> TokenStatement:
    model, audience = predicate.child("model"), predicate.child("audience")
    token = TokenStatement(
        token_id=predicate.text("tokenId", pattern=APPROVAL_ID),
        model_name=model.text("name", empty=True),
        model_version=model.text("version", empty=True),
        cluster=audience.text("cluster", pattern=CLUSTER),
        environment=predicate.text("environment", pattern=DNS_LABEL),
        namespace=audience.text("namespace", pattern=DNS_LABEL),
        workload=audience.text("workload", pattern=WORKLOAD, max_chars=320),
        replicas=predicate.integer("replicas", minimum=0, maximum=MAX_REPLICAS) if predicate.has("replicas") else None,
        issued_at=predicate.time("issuedAt"),
        expires=predicate.time("expires"),
        ticket=predicate.text("ticket", empty=True),
        reason=predicate.text("reason", max_chars=MAX_REASON_CHARS),
        subjects=statement.subjects,
    )
    model.close()
    audience.close()
    if token.workload.endswith("*"):
        raise FormatError("predicate.audience.workload stands for more than one workload")
    if not token.reason.strip():
        raise FormatError("predicate.reason is empty")
    if token.expires <= token.issued_at:
        raise FormatError("predicate.expires is not after issuedAt")
    if token.expires - token.issued_at > LONGEST:
        raise FormatError(f"predicate.expires is more than {LONGEST} after issuedAt")
    return token


def _read_review(predicate: ClosedObject, statement: Statement) -> ReviewStatement:
    audience = predicate.child("audience")
    review = ReviewStatement(
        review_id=predicate.text("reviewId", pattern=APPROVAL_ID),
        cluster=audience.text("cluster", pattern=CLUSTER),
        environment=predicate.text("environment", pattern=DNS_LABEL),
        issued_at=predicate.time("issuedAt"),
        conclusion=predicate.text("conclusion", max_chars=MAX_REASON_CHARS),
        tokens=_read_tokens(statement),
    )
    audience.close()
    if not review.conclusion.strip():
        raise FormatError("predicate.conclusion is empty")
    return review


def _read_tokens(statement: Statement) -> dict[str, Digest]:
    if len(statement.subjects) > MAX_REVIEWED:
        raise FormatError(f"statement.subject names more than {MAX_REVIEWED} tokens")
    tokens: dict[str, Digest] = {}
    for subject in statement.subjects:
        token_id = subject.name.removeprefix(_PREFIX)
        if token_id == subject.name or not APPROVAL_ID.fullmatch(token_id) or token_id in tokens:
            raise FormatError("statement.subject is not a list of break-glass tokens, each named once")
        tokens[token_id] = subject.digest
    return tokens


def render_token(token: TokenStatement) -> bytes:
    """Canonical bytes to sign.

    Raises:
        FormatError: ``parse_token`` would not accept it; nothing unreadable is ever signed.
    """
    predicate: dict[str, Any] = {
        "tokenId": token.token_id,
        "model": {"name": token.model_name, "version": token.model_version},
        "audience": {"cluster": token.cluster, "namespace": token.namespace, "workload": token.workload},
        "environment": token.environment,
        "issuedAt": render_time(token.issued_at),
        "expires": render_time(token.expires),
        "ticket": token.ticket,
        "reason": token.reason,
    }
    if token.replicas is not None:
        predicate["replicas"] = token.replicas
    payload = render_in_toto(token.subjects, TOKEN_TYPE, predicate)
    parse_token(payload)
    return payload


def render_break_glass_review(review: ReviewStatement) -> bytes:
    """Canonical bytes to sign.

    Raises:
        FormatError: ``parse_break_glass_review`` would not accept it; nothing unreadable is ever signed.
    """
    subjects = [Subject(_PREFIX + token_id, digest) for token_id, digest in review.tokens.items()]
    predicate = {
        "reviewId": review.review_id,
        "audience": {"cluster": review.cluster},
        "environment": review.environment,
        "issuedAt": render_time(review.issued_at),
        "conclusion": review.conclusion,
    }
    payload = render_in_toto(subjects, REVIEW_TYPE, predicate)
    parse_break_glass_review(payload)
    return payload
