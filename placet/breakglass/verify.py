"""The order of verification of a break-glass token. The numbers stand at the statements:

 1. caps: bytes, signatures
 2. strict envelope: base64, JSON, closed members
 3. payloadType: that of tokens alone
 4. candidate keys; a keyid is a hint
 5. signature over the PAE of the exact bytes
 6. strict payload: UTF-8, no byte order mark, no key twice, no floats, caps, closed schema
 7. _type and predicateType
 8. key valid when it was issued and now, not revoked
 9. grants: break-glass, for environment, namespace, model and the level of now, by one grant
10. audience: environment, cluster, namespace, workload, model
11. subjects: projection, images, model artifact, exactly; no more replicas
12. time: UTC, half-open, from the first signature on; no longer than the policy data lets a token hold
13. not revoked, by the keyring or by a signed revocation; where it was, that is the reason that is given
14. the requester is no signer; a person counts once; two persons

Nothing here reads a clock, a file or the network. A refusal is a value. What passed every step is a ``VerifiedToken``,
built in this module alone.
"""  # noqa: D415 - a protocol's title with its steps

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from placet.approvals.bindings import plain
from placet.approvals.identities import ANY, Grant
from placet.approvals.in_toto import IMAGE_PREFIX, PROJECTION_SUBJECT, workload_subjects
from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.rejections import Refusal, RejectionCode
from placet.approvals.revocations import Revocations
from placet.approvals.signed import Effort, SignedPayload, Signing, check_annotation
from placet.approvals.times import describe_span
from placet.approvals.verify import refuse_time
from placet.breakglass.statement import TOKEN_PAYLOAD_TYPE, TokenStatement, parse_token
from placet.canonical import Digest
from placet.errors import FormatError
from placet.model import BREAK_GLASS, LEVELS, Workload

PERSONS: Final = 2


@dataclass(frozen=True, slots=True)
class TokenContext:
    """What a token is held against.

    Attributes:
        environment: of the request.
        cluster: this cluster's name.
        workload: what is being deployed.
        level: assessed risk level, one of ``LEVELS``.
        requester: user name of the API request.
        now: when the request came; aware UTC.
        longest: how long a token may hold, of the policy data; zero lets none count.
    """

    environment: str
    cluster: str
    workload: Workload
    level: str
    requester: str
    now: datetime
    longest: timedelta


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """One of those who let the workload in.

    Attributes:
        person: who that is.
        key: fingerprint of the key that signed.
    """

    person: str
    key: str


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token that passed every step. Built by ``check_token`` alone.

    Attributes:
        statement: what was signed.
        digest: of the signed bytes.
        signers: two or more, distinct by person.
    """

    statement: TokenStatement
    digest: Digest
    signers: tuple[TokenSigner, ...]


@dataclass(frozen=True, slots=True)
class RejectedToken:
    """A token that does not count, or not yet.

    Attributes:
        refusal: why.
        statement: what it says, where keys of the keyring signed it; None where it can't be read or nobody did.
        digest: of the signed bytes, with ``statement``.
        signers: who has signed so far and counts.
    """

    refusal: Refusal
    statement: TokenStatement | None = None
    digest: Digest | None = None
    signers: tuple[TokenSigner, ...] = ()


def check_token(
    text: str, *, keyring: VerifiedKeyring, revocations: Revocations, context: TokenContext
) -> VerifiedToken | RejectedToken:
    """Hold the text of an annotation against the keyring and the request. Nothing in it makes this raise."""
    signed = check_annotation(text, keyring=keyring, effort=Effort(), payload_type=TOKEN_PAYLOAD_TYPE)  # 1-5
    if isinstance(signed, Refusal):
        return RejectedToken(signed)
    try:
        token = parse_token(signed.payload)  # 6, 7
    except FormatError as exc:
        return RejectedToken(Refusal(RejectionCode(exc.code), str(exc)))
    refusal = (
        refuse_revoked(token.token_id, token.environment, keyring, revocations)  # 13 comes first, as for approvals
        or _refuse_audience(token, context)  # 10
        or _refuse_content(token, context)  # 11
        or _refuse_time(token, context)  # 12
    )
    if refusal is not None:
        return RejectedToken(refusal, token, signed.digest)
    signers, refused = _find_signers(signed, token, keyring, context)  # 8, 9, 14
    if len(signers) < PERSONS:  # 14
        why = "".join(f"; {one.sentence}" for one in refused[:PERSONS])
        sentence = f"{len(signers)} of the {PERSONS} persons that are needed have signed the break-glass token{why}"
        return RejectedToken(Refusal(RejectionCode.TOO_FEW_PERSONS, sentence), token, signed.digest, signers)
    return VerifiedToken(token, signed.digest, signers)


def _find_signers(
    signed: SignedPayload, token: TokenStatement, keyring: VerifiedKeyring, context: TokenContext
) -> tuple[tuple[TokenSigner, ...], list[Refusal]]:
    """Who counts, each person once; and why the others do not."""
    counted: dict[str, TokenSigner] = {}
    refused = list(signed.refused)
    for signing in signed.signings:
        refusal = (
            signing.key.refuse_at(issued=token.issued_at, now=context.now)  # 8
            or _refuse_grant(signing, token, context)  # 9
            or _refuse_requester(signing, keyring, context)  # 14
        )
        person = signing.identity.person
        if refusal is None and person.casefold() in counted:  # 14
            refusal = Refusal(RejectionCode.DUPLICATE, f"{person} has signed it already")
        if refusal is not None:
            refused.append(refusal)
        else:
            counted[person.casefold()] = TokenSigner(person, signing.key.public_key.fingerprint)
    return tuple(counted.values()), refused


def refuse_revoked(
    token_id: str, environment: str, keyring: VerifiedKeyring, revocations: Revocations
) -> Refusal | None:
    """Whether a token was taken back: in the keyring, or by somebody who may break the glass."""
    if token_id in keyring.revoked_approvals:
        return Refusal(RejectionCode.REVOKED, "the break-glass token was revoked by the keyring")
    found = revocations.find(token_id, role=BREAK_GLASS, environment=environment)
    return None if found is None else Refusal(RejectionCode.REVOKED, f"the token was revoked by {found.person}")


def covers_place(grant: Grant, *, role: str, environment: str, namespace: str, model: str) -> bool:
    """Whether one grant is for this role at this place."""
    return (
        grant.role == role
        and environment in grant.environments
        and (ANY in grant.models or model in grant.models)
        and (ANY in grant.namespaces or namespace in grant.namespaces)
    )


def _refuse_grant(signing: Signing, token: TokenStatement, context: TokenContext) -> Refusal | None:
    """One grant must allow all of it: two grants that each allow a part do not add up."""
    who = signing.identity.id
    held = [
        grant
        for grant in signing.identity.grants
        if covers_place(
            grant,
            role=BREAK_GLASS,
            environment=token.environment,
            namespace=token.namespace,
            model=token.model_name,
        )
    ]
    if not held:
        where = f"{token.namespace} of {token.environment}"
        return Refusal(RejectionCode.NOT_GRANTED, f"{who} has no {BREAK_GLASS} grant for this model in {where}")
    if not any(_rank(context.level) <= LEVELS.index(grant.max_risk) for grant in held):
        return Refusal(RejectionCode.NOT_GRANTED, f"{who} may not break the glass at {plain(context.level)} risk")
    return None


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)


def _refuse_audience(token: TokenStatement, context: TokenContext) -> Refusal | None:
    workload = context.workload
    for code, signed_for, here in (
        (RejectionCode.WRONG_ENVIRONMENT, token.environment, context.environment),
        (RejectionCode.WRONG_CLUSTER, token.cluster, context.cluster),
        (RejectionCode.WRONG_NAMESPACE, token.namespace, workload.namespace),
        (RejectionCode.WRONG_WORKLOAD, token.workload, workload.resource),
        (RejectionCode.MODEL_DIFFERS, token.model_name, workload.model.name),
        (RejectionCode.MODEL_DIFFERS, token.model_version, workload.model.version),
    ):
        if signed_for != here:
            what = code.value.removeprefix("wrong_").removesuffix("_differs")
            return Refusal(code, f"the break-glass token is for {what} {plain(signed_for)}, not {plain(here)}")
    return None


def _refuse_content(token: TokenStatement, context: TokenContext) -> Refusal | None:
    workload = context.workload
    there = workload_subjects(workload.projection.digest, workload.images, workload.model)
    different = sorted(set(token.subjects) ^ set(there))
    names = {subject.name for subject in different}
    if PROJECTION_SUBJECT in names:
        sentence = "the workload differs from the one that the break-glass token is for (projection digest)"
        return Refusal(RejectionCode.PROJECTION_DIFFERS, sentence)
    if any(name.startswith(IMAGE_PREFIX) for name in names):
        return Refusal(RejectionCode.IMAGE_DIFFERS, "the images are not those that the break-glass token names")
    if names:
        return Refusal(RejectionCode.MODEL_DIFFERS, "the model's digest is not that of the break-glass token")
    if workload.replicas is not None and (token.replicas is None or workload.replicas > token.replicas):
        allowed = "no number of" if token.replicas is None else f"up to {token.replicas}"
        return Refusal(RejectionCode.MORE_REPLICAS, f"the break-glass token is for {allowed} replicas")
    return None


def _refuse_time(token: TokenStatement, context: TokenContext) -> Refusal | None:
    if (refusal := refuse_time(token.issued_at, token.expires, context.now)) is not None:
        return Refusal(refusal.code, f"the break-glass token {refusal.sentence}")
    if token.expires - token.issued_at > context.longest:
        span = describe_span(token.expires - token.issued_at)
        most = "nothing" if not context.longest else describe_span(context.longest)
        return Refusal(RejectionCode.TOO_LONG, f"the break-glass token is for {span}, and the policy data gives {most}")
    return None


def _refuse_requester(signing: Signing, keyring: VerifiedKeyring, context: TokenContext) -> Refusal | None:
    identity = signing.identity
    mine = {name.casefold() for name in (identity.id, identity.person, *identity.usernames)}
    if not mine.isdisjoint(keyring.persons_of(context.requester)):
        return Refusal(RejectionCode.SELF_APPROVAL, f"{identity.person} asks for this deployment and can't sign for it")
    return None
