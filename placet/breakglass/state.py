"""What the record says of break-glass: what was let in, and what was looked into since. Leaves to values and back.

A leaf of type ``break-glass`` with the event ``used`` or ``reviewed``: docs/formats-audit.md. Each has all that later
decisions need; the signed envelope is kept beside it, erasable.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from placet.audit.log import render_time
from placet.audit.person_keys import Opener
from placet.audit.persons import find_nonce, find_sealed
from placet.audit.record import BREAK_GLASS, SCHEMA
from placet.breakglass.review import VerifiedReview
from placet.breakglass.verify import TokenSigner, VerifiedToken
from placet.canonical import Digest
from placet.errors import FormatError
from placet.model import ModelIdentity, Workload

USED: Final = "used"
REVIEWED: Final = "reviewed"


@dataclass(frozen=True, slots=True)
class Passage:
    """That a decision rests on a break-glass token.

    Attributes:
        token_id: of the token.
        by: ``token`` where the request carries it, ``parent`` where it is made of what a token let in.
        due: until when it must be reviewed; aware UTC.
    """

    token_id: str
    by: str
    due: datetime

    def to_json(self) -> dict[str, str]:
        """As the decision's record has it."""
        return {"token_id": self.token_id, "by": self.by, "review_due": render_time(self.due)}


@dataclass(frozen=True, slots=True)
class Use:
    """A workload that was let in by a token, or was about to be: it is recorded before the decision is.

    Attributes:
        token_id: of the token.
        token: digest of its signed bytes.
        time: when; aware UTC.
        due: until when it must have been reviewed.
        environment: where.
        namespace: where.
        kind: of the workload.
        name: of the workload.
        projection: what was let in.
        model: what the workload said it serves.
        signers: persons and keys.
        requester: who deployed it.
        reason: the signers' words.
        body: of its leaf, where names in it are sealed; None where they are not.
    """

    token_id: str
    token: Digest
    time: datetime
    due: datetime
    environment: str
    namespace: str
    kind: str
    name: str
    projection: Digest
    model: ModelIdentity
    signers: tuple[TokenSigner, ...]
    requester: str
    reason: str
    body: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    def opened(self, opener: Opener) -> Use:
        """The same with the names that there are keys for."""
        return self if self.body is None else replace(_parse_use(opener.open(self.body)), body=self.body)

    def is_told(self, name: str) -> bool:
        """Whether a name of it is one, and not sealed still."""
        nonce = None if self.body is None else find_nonce(self.body)
        return nonce is None or not any(find_sealed(name, nonce))


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A review that is in the record.

    Attributes:
        review_id: of the review.
        tokens: digests of the signed bytes of the tokens that it is about.
        until: when it was signed: what was let in later is not covered.
    """

    review_id: str
    tokens: frozenset[Digest]
    until: datetime

    def covers(self, use: Use) -> bool:
        """Whether what was let in has been looked into."""
        return use.token in self.tokens and use.time < self.until + timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class GlassState:
    """All uses and reviews of one cluster, oldest first. It only grows.

    Attributes:
        uses: what was let in.
        reviews: what was looked into.
    """

    uses: tuple[Use, ...] = ()
    reviews: tuple[Reviewed, ...] = ()

    def open_uses(self) -> tuple[Use, ...]:
        """What nobody has looked into yet."""
        return tuple(use for use in self.uses if not any(review.covers(use) for review in self.reviews))

    def open_of(self, *, namespace: str, kind: str, names: Collection[str]) -> tuple[Use, ...]:
        """What nobody has looked into yet, of one workload."""
        mine = self.of(namespace=namespace, kind=kind, names=names)
        return tuple(use for use in mine if not any(review.covers(use) for review in self.reviews))

    def of(self, *, namespace: str, kind: str, names: Collection[str]) -> tuple[Use, ...]:
        """What was let in of one workload."""
        return tuple(use for use in self.uses if (use.namespace, use.kind) == (namespace, kind) and use.name in names)


def render_use(
    token: VerifiedToken,
    workload: Workload,
    *,
    moment: datetime,
    due: datetime,
    decision_id: str,
    requester: str,
    overridden: Collection[str],
    envelope: bytes,
) -> dict[str, Any]:
    """The body of the leaf of a use.

    Args:
        token: verified for this workload.
        workload: what it lets in.
        moment: of the request; aware UTC.
        due: until when it must be reviewed.
        decision_id: of the decision that it lets through.
        requester: user name of the API request.
        overridden: ``rule/code`` of what would have refused it.
        envelope: what was signed, as kept beside the leaf.
    """
    statement, model = token.statement, workload.model
    return {
        "schema": SCHEMA,
        "type": BREAK_GLASS,
        "time": render_time(moment),
        "cluster": statement.cluster,
        "event": USED,
        "token_id": statement.token_id,
        "token": str(token.digest),
        "decision_id": decision_id,
        "environment": statement.environment,
        "namespace": workload.namespace,
        "kind": workload.kind,
        "name": workload.name,
        "projection": str(workload.projection.digest),
        "model": {"name": model.name, "version": model.version, "digest": str(model.digest or "")},
        "signers": [{"person": one.person, "key": one.key} for one in token.signers],
        "user": requester,
        "issued": render_time(statement.issued_at),
        "expires": render_time(statement.expires),
        "review_due": render_time(due),
        "reason": statement.reason,
        "ticket": statement.ticket,
        "overridden": sorted(overridden),
        "envelope_digest": str(Digest.of(envelope)),
    }


def render_reviewed(
    review: VerifiedReview, *, cluster: str, moment: datetime, decision_id: str, envelope: bytes
) -> dict[str, Any]:
    """The body of the leaf of a review.

    Args:
        review: verified.
        cluster: of the gate.
        moment: of the request that brought it; aware UTC.
        decision_id: of that request's decision.
        envelope: what was signed, as kept beside the leaf.
    """
    statement = review.statement
    return {
        "schema": SCHEMA,
        "type": BREAK_GLASS,
        "time": render_time(moment),
        "cluster": cluster,
        "event": REVIEWED,
        "review_id": statement.review_id,
        "review": str(review.digest),
        "tokens": [
            {"token_id": token_id, "token": str(digest)} for token_id, digest in sorted(statement.tokens.items())
        ],
        "decision_id": decision_id,
        "person": review.signer.person,
        "key": review.signer.key,
        "reviewed": render_time(statement.issued_at),
        "conclusion": statement.conclusion,
        "envelope_digest": str(Digest.of(envelope)),
    }


def parse_event(body: Mapping[str, Any]) -> Use | Reviewed | None:
    """Read the body of a leaf; None for an event that a later release has added.

    Raises:
        FormatError: it does not say what was let in, or what was reviewed.
    """
    try:
        if body.get("event") == USED:
            return _parse_use(body)
        if body.get("event") == REVIEWED:
            return Reviewed(
                review_id=_text(body, "review_id"),
                tokens=frozenset(Digest.parse(_text(one, "token")) for one in body["tokens"]),
                until=_time(body, "reviewed"),
            )
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise FormatError("the record of a break-glass is not of its form", code="leaf_malformed") from exc
    return None


def _parse_use(body: Mapping[str, Any]) -> Use:
    model = body["model"]
    return Use(
        token_id=_text(body, "token_id"),
        token=Digest.parse(_text(body, "token")),
        time=_time(body, "time"),
        due=_time(body, "review_due"),
        environment=_text(body, "environment"),
        namespace=_text(body, "namespace"),
        kind=_text(body, "kind"),
        name=_text(body, "name"),
        projection=Digest.parse(_text(body, "projection")),
        model=ModelIdentity(
            name=str(model["name"]),
            version=str(model["version"]),
            digest=Digest.parse(model["digest"]) if model["digest"] else None,
        ),
        signers=tuple(TokenSigner(_text(one, "person"), _text(one, "key")) for one in body["signers"]),
        requester=str(body["user"]),
        reason=_text(body, "reason"),
        body=None if find_nonce(body) is None else body,
    )


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise FormatError(f"the record of a break-glass has no text {name!r}", code="leaf_malformed")
    return value


def _time(body: Mapping[str, Any], name: str) -> datetime:
    moment = datetime.fromisoformat(_text(body, name))
    if moment.tzinfo is None:
        raise FormatError(f"the record of a break-glass has no time zone in {name!r}", code="leaf_malformed")
    return moment
