"""The order of verification of approvals. The numbers stand at the statements:

 1. caps: how many envelopes, how many bytes
 2. strict envelope: base64, JSON, closed members
 3. payloadType
 4. candidate keys; a keyid is a hint
 5. signature over the PAE of the exact bytes
 6. strict payload: UTF-8, no byte order mark, no key twice, no floats, caps, closed schema
 7. _type and predicateType; an approval, for the role of its annotation
 8. key valid when it signed and now, not revoked
 9. grants: role, environment, level, model, namespace
10. audience: environment, cluster, namespace, workload, model, policy
11. subjects: projection, images, model artifact; risk
12. time: UTC, half-open
13. not revoked, by the keyring or by a signed revocation; where it was, that is the reason that is given
14. the requester is not the approver; a person counts once in a role

Nothing here reads a clock, a file or the network. A refusal is a value. What passed every step is a
``VerifiedApproval``, built in this module alone.
"""  # noqa: D415 - a protocol's title with its steps

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from placet.approvals.bindings import Pinned, matching_bindings, plain, refuse_bindings
from placet.approvals.envelope import parse_annotation
from placet.approvals.identities import ANY, Grant
from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.rejections import Refusal, RejectionCode
from placet.approvals.remembered import MAX_READ_BYTES, Remembered
from placet.approvals.revocations import Revocations
from placet.approvals.signed import MAX_ENVELOPES, Effort, SignedPayload, Signing, check_annotation
from placet.approvals.statement import ApprovalStatement, RevocationStatement, parse_statement
from placet.approvals.times import describe_span
from placet.canonical import Digest
from placet.errors import FormatError
from placet.model import LEVELS, ROLES, Image, ModelIdentity

_RANK: Final = {level: rank for rank, level in enumerate(LEVELS)}
# Digest of signed bytes -> what they say, where they can be read.
_STATEMENTS: Final[Remembered[ApprovalStatement | RevocationStatement]] = Remembered()


@dataclass(frozen=True, slots=True)
class ApprovalContext:
    """What the approvals are held against.

    Attributes:
        environment: environment of the request.
        cluster: this cluster's name.
        namespace: namespace of the workload.
        workload: ``Deployment/llama``.
        projection: digest of the governed fields.
        images: every image of the workload.
        model: the model that the workload says it serves.
        level: assessed risk level, one of ``LEVELS``.
        risk_inputs: digest of the facts that the level was assessed from.
        requester: user name of the API request.
        now: when the request came; aware UTC.
        bindings: which of ``projection``, ``images``, ``model`` the environment demands.
        policy: digest of the policy data in force; None when it is not known, and an approval that holds under one
            policy only is then refused.
        pinned: what a statement's subjects are compared with; follows from the others.
    """

    environment: str
    cluster: str
    namespace: str
    workload: str
    projection: Digest
    images: tuple[Image, ...]
    model: ModelIdentity
    level: str
    risk_inputs: Digest
    requester: str
    now: datetime
    bindings: frozenset[str]
    policy: Digest | None = None
    pinned: Pinned = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pinned", Pinned.of(self.projection, self.images, self.model))


@dataclass(frozen=True, slots=True)
class VerifiedApproval:
    """One person's approval in one role that passed every step. Built by ``check_approvals`` alone.

    Attributes:
        approval_id: names the approval.
        role: one of ``ROLES``.
        person: who that is; counts once.
        identity: the identity in the keyring.
        key: fingerprint of the key that signed.
        bindings: what the statement names and what is the same in the workload.
        max_risk: the highest level that it covers.
        risk_inputs_match: whether the approver saw the facts that are known now.
        issued_at: when it was signed.
        not_before: first moment that it holds.
        expires: first moment that it no longer holds.
        statement: digest of the signed bytes.
        ticket: change ticket, may be "".
        reason: the approver's words, may be "".
    """

    approval_id: str
    role: str
    person: str
    identity: str
    key: str
    bindings: frozenset[str]
    max_risk: str
    risk_inputs_match: bool
    issued_at: datetime
    not_before: datetime
    expires: datetime
    statement: Digest
    ticket: str
    reason: str


@dataclass(frozen=True, slots=True)
class RejectedApproval:
    """A signature, or an envelope, that does not count.

    Attributes:
        role: the role that the annotation names, "" when there are too many annotations.
        code: a ``RejectionCode``.
        sentence: why, for the deployer.
        approval_id: "" while it is not known.
    """

    role: str
    code: str
    sentence: str
    approval_id: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalFindings:
    """What the approvals of a workload come to.

    Attributes:
        verified: in the order of roles, then of signatures.
        rejected: in the order of roles, then of signatures.
    """

    verified: tuple[VerifiedApproval, ...]
    rejected: tuple[RejectedApproval, ...]


def check_approvals(
    raw: Mapping[str, str], *, keyring: VerifiedKeyring, revocations: Revocations, context: ApprovalContext
) -> ApprovalFindings:
    """Hold a workload's approval annotations against the keyring and the request.

    Args:
        raw: role -> text of the annotation, unverified.
        keyring: who may approve what.
        revocations: what was taken back.
        context: what is being deployed, by whom, where and when.

    Returns:
        What counts and what does not. Nothing in ``raw`` makes this raise.
    """
    if len(raw) > MAX_ENVELOPES:  # 1
        sentence = f"{len(raw)} approvals are on the workload, more than the {MAX_ENVELOPES} that are looked at"
        return ApprovalFindings((), (RejectedApproval("", RejectionCode.TOO_MANY.value, sentence),))
    verified: list[VerifiedApproval] = []
    rejected: list[RejectedApproval] = []
    effort = Effort()
    for role in sorted(raw, key=_role_order):
        findings = _check_annotation(
            role, raw[role], keyring=keyring, revocations=revocations, context=context, effort=effort
        )
        verified.extend(findings.verified)
        rejected.extend(findings.rejected)
    return ApprovalFindings(tuple(verified), tuple(rejected))


def _role_order(role: str) -> tuple[int, str]:
    return (ROLES.index(role) if role in ROLES else len(ROLES), role)


def _check_annotation(
    role: str,
    text: str,
    *,
    keyring: VerifiedKeyring,
    revocations: Revocations,
    context: ApprovalContext,
    effort: Effort,
) -> ApprovalFindings:
    shown = role if role in ROLES else plain(role)

    def reject(refusal: Refusal, approval_id: str = "") -> RejectedApproval:
        return RejectedApproval(shown, refusal.code.value, refusal.sentence, approval_id)

    if role not in ROLES:
        unknown = Refusal(RejectionCode.ROLE_UNKNOWN, f"there is no role {shown}; roles are {', '.join(ROLES)}")
        return ApprovalFindings((), (reject(unknown),))
    signed = check_annotation(text, keyring=keyring, effort=effort)  # 1-5
    if isinstance(signed, Refusal):
        return ApprovalFindings((), (_reject_unsigned(text, signed, keyring, revocations, reject),))
    statement = _read_approval(signed, role)  # 6, 7
    if isinstance(statement, Refusal):
        return ApprovalFindings((), (reject(statement),))
    verified: dict[str, VerifiedApproval] = {}
    rejected = [reject(refusal, statement.approval_id) for refusal in signed.refused]
    for signing in signed.signings:
        found = _check_signing(  # 8-14
            signing, statement, signed.digest, keyring=keyring, revocations=revocations, context=context
        )
        if isinstance(found, Refusal):
            rejected.append(reject(found, statement.approval_id))
        elif found.person.casefold() in verified:  # 14
            again = Refusal(RejectionCode.DUPLICATE, f"{found.person} has approved as {role} already")
            rejected.append(reject(again, statement.approval_id))
        else:
            verified[found.person.casefold()] = found
    return ApprovalFindings(tuple(verified.values()), tuple(rejected))


def _reject_unsigned(
    text: str,
    refusal: Refusal,
    keyring: VerifiedKeyring,
    revocations: Revocations,
    reject: Callable[..., RejectedApproval],
) -> RejectedApproval:
    """An approval whose signer has left the keyring since is still one that was taken back.

    Its word is believed for that alone: it can only refuse the workload that carries it.
    """
    try:
        statement = parse_statement(parse_annotation(text).payload)
    except FormatError:
        return reject(refusal)
    if isinstance(statement, ApprovalStatement):
        revoked = _refuse_revoked(statement, keyring, revocations)  # 13
        if revoked is not None:
            return reject(revoked, statement.approval_id)
    return reject(refusal)


def _read_approval(signed: SignedPayload, role: str) -> ApprovalStatement | Refusal:
    try:
        statement = _read_statement(signed)  # 6, 7
    except FormatError as exc:
        return Refusal(RejectionCode(exc.code), str(exc))
    if isinstance(statement, RevocationStatement):
        return Refusal(RejectionCode.NOT_AN_APPROVAL, "the statement revokes an approval; it is none")
    if statement.role != role:
        return Refusal(RejectionCode.ROLE_MISMATCH, f"signed for the role {statement.role}, not {role}")
    return statement


def _read_statement(signed: SignedPayload) -> ApprovalStatement | RevocationStatement:
    key = bytes.fromhex(signed.digest.hex)
    statement = _STATEMENTS.find(key)
    if statement is None:
        statement = parse_statement(signed.payload)
        if len(signed.payload) <= MAX_READ_BYTES:
            _STATEMENTS.keep(key, statement)
    return statement


def _check_signing(
    signing: Signing,
    statement: ApprovalStatement,
    digest: Digest,
    *,
    keyring: VerifiedKeyring,
    revocations: Revocations,
    context: ApprovalContext,
) -> VerifiedApproval | Refusal:
    bindings = matching_bindings(statement.subjects, context.pinned)
    refusal = (
        # 13 comes first: that an approval was taken back is said whatever else is wrong with it. What runs already
        # may keep an approval that has expired, and must not keep one that was revoked.
        _refuse_revoked(statement, keyring, revocations)  # 13
        or signing.key.refuse_at(issued=statement.issued_at, now=context.now)  # 8
        or _refuse_grant(signing, statement, context)  # 9
        or _refuse_audience(statement, context)  # 10
        or refuse_bindings(  # 11
            statement.subjects, context.pinned, matching=bindings, demanded=context.bindings
        )
        or _refuse_risk(statement, context)  # 11
        or refuse_time(statement.not_before, statement.expires, context.now)  # 12
        or _refuse_requester(signing, keyring, context)  # 14
    )
    if refusal is not None:
        return refusal
    return VerifiedApproval(
        approval_id=statement.approval_id,
        role=statement.role,
        person=signing.identity.person,
        identity=signing.identity.id,
        key=signing.key.public_key.fingerprint,
        bindings=bindings,
        max_risk=statement.max_risk,
        risk_inputs_match=statement.risk_inputs == context.risk_inputs,
        issued_at=statement.issued_at,
        not_before=statement.not_before,
        expires=statement.expires,
        statement=digest,
        ticket=statement.ticket,
        reason=statement.reason,
    )


def _refuse_grant(signing: Signing, statement: ApprovalStatement, context: ApprovalContext) -> Refusal | None:
    """One grant must allow all of it: two grants that each allow a part do not add up."""
    who = signing.identity.id
    held = [grant for grant in signing.identity.grants if grant.role == statement.role]
    if not held:
        return Refusal(RejectionCode.NOT_GRANTED, f"{who} has no grant for the role {statement.role}")
    held = [grant for grant in held if statement.environment in grant.environments]
    if not held:
        return Refusal(
            RejectionCode.NOT_GRANTED, f"{who} may not approve as {statement.role} in {statement.environment}"
        )
    held = [grant for grant in held if _covers_place(grant, statement, context)]
    if not held:
        where = f"model {statement.model_name} in namespace {context.namespace}"
        return Refusal(RejectionCode.NOT_GRANTED, f"{who} has no grant for {where}")
    highest = max((grant.max_risk for grant in held), key=_RANK.__getitem__)
    if _RANK[statement.max_risk] > _RANK[highest]:
        return Refusal(
            RejectionCode.NOT_GRANTED, f"{who} may approve up to {highest} risk, and signed for {statement.max_risk}"
        )
    return None


def _covers_place(grant: Grant, statement: ApprovalStatement, context: ApprovalContext) -> bool:
    models = ANY in grant.models or statement.model_name in grant.models
    return models and (ANY in grant.namespaces or context.namespace in grant.namespaces)


def _refuse_audience(statement: ApprovalStatement, context: ApprovalContext) -> Refusal | None:
    audience = statement.audience
    if statement.environment != context.environment:
        return Refusal(
            RejectionCode.WRONG_ENVIRONMENT, f"signed for {statement.environment}, not {plain(context.environment)}"
        )
    if context.cluster not in audience.clusters:
        sentence = f"signed for cluster {', '.join(audience.clusters[:3])}, not {plain(context.cluster)}"
        return Refusal(RejectionCode.WRONG_CLUSTER, sentence)
    if context.namespace not in audience.namespaces:
        signed_for = ", ".join(audience.namespaces[:3])
        return Refusal(
            RejectionCode.WRONG_NAMESPACE, f"signed for namespace {signed_for}, not {plain(context.namespace)}"
        )
    if context.workload != audience.workload:
        return Refusal(RejectionCode.WRONG_WORKLOAD, f"signed for {audience.workload}, not {plain(context.workload)}")
    if (statement.model_name, statement.model_version) != (context.model.name, context.model.version):
        signed_for = f"{statement.model_name} {statement.model_version}"
        here = f"{plain(context.model.name)} {plain(context.model.version)}".strip() or "one that is not named"
        return Refusal(RejectionCode.MODEL_DIFFERS, f"signed for model {signed_for}, not {here}")
    if statement.policy is not None and statement.policy != context.policy:
        return Refusal(RejectionCode.POLICY_DIFFERS, "signed for another state of the policy data")
    return None


def _refuse_risk(statement: ApprovalStatement, context: ApprovalContext) -> Refusal | None:
    if _RANK[statement.max_risk] < _RANK.get(context.level, len(LEVELS)):
        return Refusal(
            RejectionCode.RISK_ABOVE, f"covers risk up to {statement.max_risk}, and the risk is {plain(context.level)}"
        )
    return None


def refuse_time(not_before: datetime, expires: datetime, now: datetime) -> Refusal | None:
    """Why a statement does not hold now; it holds from ``not_before`` on and no longer at ``expires``."""
    if now < not_before:
        return Refusal(RejectionCode.NOT_YET_VALID, f"holds in {describe_span(not_before - now)}")
    if now >= expires:
        return Refusal(RejectionCode.EXPIRED, f"expired {describe_span(now - expires)} ago")
    return None


def _refuse_revoked(statement: ApprovalStatement, keyring: VerifiedKeyring, revocations: Revocations) -> Refusal | None:
    if statement.approval_id in keyring.revoked_approvals:
        return Refusal(RejectionCode.REVOKED, "revoked by the keyring")
    revocation = revocations.find(statement.approval_id, role=statement.role, environment=statement.environment)
    if revocation is not None:
        return Refusal(RejectionCode.REVOKED, f"revoked by {revocation.person}")
    return None


def _refuse_requester(signing: Signing, keyring: VerifiedKeyring, context: ApprovalContext) -> Refusal | None:
    identity = signing.identity
    mine = {name.casefold() for name in (identity.id, identity.person, *identity.usernames)}
    if not mine.isdisjoint(keyring.persons_of(context.requester)):
        return Refusal(RejectionCode.SELF_APPROVAL, f"{identity.person} asks for this deployment and can't approve it")
    return None
