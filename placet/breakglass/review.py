"""The order of verification of a review of break-glass. The numbers are those of ``verify``:

1 to 7 as for a token, with the payload type and the predicate type of reviews; then 8 the key, 10 cluster and
environment, 12 not before it is signed and after what it is about, 9 the grant ``break-glass-review``, and 14: the
reviewer is none of those who signed the token, nor who deployed it, all of whom can be told. Which uses there are is
what the record says.
"""  # noqa: D415 - a protocol's title with its steps

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from placet.approvals.bindings import plain
from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.rejections import Refusal, RejectionCode
from placet.approvals.signed import Effort, Signing, check_annotation
from placet.approvals.verify import refuse_time
from placet.breakglass.statement import REVIEW_PAYLOAD_TYPE, ReviewStatement, parse_break_glass_review
from placet.breakglass.verify import TokenSigner, covers_place
from placet.canonical import Digest
from placet.errors import FormatError
from placet.model import BREAK_GLASS_REVIEW

if TYPE_CHECKING:
    from placet.breakglass.state import Use


@dataclass(frozen=True, slots=True)
class VerifiedReview:
    """A review that passed every step. Built by ``check_review`` alone.

    Attributes:
        statement: what was signed.
        digest: of the signed bytes.
        signer: who looked into it.
    """

    statement: ReviewStatement
    digest: Digest
    signer: TokenSigner


def check_review(
    text: str,
    *,
    uses: Sequence[Use],
    keyring: VerifiedKeyring,
    cluster: str,
    environment: str,
    now: datetime,
) -> VerifiedReview | Refusal:
    """Hold the text of an annotation against what the record says was let in. Nothing in it makes this raise.

    Args:
        text: of the annotation, unverified.
        uses: what is still to be reviewed in this cluster.
        keyring: who may review.
        cluster: this cluster's name.
        environment: of the request.
        now: when the request came; aware UTC.
    """
    signed = check_annotation(text, keyring=keyring, effort=Effort(), payload_type=REVIEW_PAYLOAD_TYPE)  # 1-5
    if isinstance(signed, Refusal):
        return signed
    try:
        review = parse_break_glass_review(signed.payload)  # 6, 7
    except FormatError as exc:
        return Refusal(RejectionCode(exc.code), str(exc))
    if review.cluster != cluster:  # 10
        return Refusal(RejectionCode.WRONG_CLUSTER, f"the review is for cluster {plain(review.cluster)}")
    if review.environment != environment:  # 10
        return Refusal(RejectionCode.WRONG_ENVIRONMENT, f"the review is for {plain(review.environment)}")
    if now < review.issued_at:  # 12
        return refuse_time(review.issued_at, review.issued_at, now) or Refusal(RejectionCode.NOT_YET_VALID, "too early")
    about = [use for use in uses if review.tokens.get(use.token_id) == use.token and use.environment == environment]
    if not about:  # 11
        return Refusal(RejectionCode.SUBJECT_DIFFERS, "the review is about nothing that waits for one")
    if any(use.time.replace(microsecond=0) > review.issued_at for use in about):  # 12
        return Refusal(RejectionCode.TOO_OLD, "the review was signed before the token let the workload in")
    refused: list[Refusal] = list(signed.refused)
    for signing in signed.signings:
        refusal = (
            signing.key.refuse_at(issued=review.issued_at, now=now)  # 8
            or _refuse_grant(signing, about)  # 9
            or _refuse_party(signing, about, keyring)  # 14
        )
        if refusal is None:
            signer = TokenSigner(signing.identity.person, signing.key.public_key.fingerprint)
            return VerifiedReview(review, signed.digest, signer)
        refused.append(refusal)
    return refused[-1]


def _refuse_grant(signing: Signing, uses: Sequence[Use]) -> Refusal | None:
    for use in uses:
        if not any(
            covers_place(
                grant,
                role=BREAK_GLASS_REVIEW,
                environment=use.environment,
                namespace=use.namespace,
                model=use.model.name,
            )
            for grant in signing.identity.grants
        ):
            where = f"{plain(use.namespace)} of {plain(use.environment)}"
            sentence = f"{signing.identity.id} has no {BREAK_GLASS_REVIEW} grant for {where}"
            return Refusal(RejectionCode.NOT_GRANTED, sentence)
    return None


def _refuse_party(signing: Signing, uses: Sequence[Use], keyring: VerifiedKeyring) -> Refusal | None:
    identity = signing.identity
    mine = {name.casefold() for name in (identity.id, identity.person, *identity.usernames)}
    for use in uses:
        # Who held the key then may go by another name in the keyring of now.
        signers = {one.person.casefold() for one in use.signers}
        keys = {one.key for one in use.signers}
        if identity.person.casefold() in signers or any(key.public_key.fingerprint in keys for key in identity.keys):
            return Refusal(RejectionCode.SELF_APPROVAL, f"{identity.person} signed the break-glass token")
        if not mine.isdisjoint(keyring.persons_of(use.requester)):
            return Refusal(RejectionCode.SELF_APPROVAL, f"{identity.person} deployed what was let in")
    for use in uses:
        if not all(use.is_told(name) for name in (*(one.person for one in use.signers), use.requester)):
            sentence = (
                f"who was party to token {use.token_id} can't be told: the names are sealed, and a key is missing"
            )
            return Refusal(RejectionCode.PARTY_UNKNOWN, sentence)
    return None
