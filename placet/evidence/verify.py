"""The order of verification of evidence: that of approvals, with the same numbers, up to where evidence differs.

 1. caps  2. strict envelope  3. payloadType  4. candidate keys  5. signature over the PAE of the exact bytes
 6. strict payload  7. _type and predicateType  8. key valid when it signed and now, not revoked
 9. may attest this fact or kind, for this model, in this environment
11. the subject is this workload's image, model or projection
12. time: not from the future, not expired, not older than its kind may be

Several statements may speak of one fact; for the score the one that scores worst counts, so that adding evidence never
hides any. The rules get every statement that counts, and say themselves which of several they take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

from placet.approvals.bindings import plain
from placet.approvals.identities import ANY, Identity
from placet.approvals.in_toto import Subject, parse_in_toto
from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.rejections import Refusal, RejectionCode
from placet.approvals.remembered import MAX_READ_BYTES, Remembered
from placet.approvals.signed import Effort, SignedPayload, Signing, check_annotation
from placet.approvals.times import describe_span
from placet.canonical import Digest
from placet.errors import FormatError
from placet.evidence.claims import ClaimValue
from placet.evidence.kinds import EvidenceKinds
from placet.evidence.predicates import CLASSIFICATIONS, Evidence, read_predicate
from placet.model import Image, ModelIdentity
from scorer import Coverage, Rollback

MAX_EVIDENCE: Final = 32
"""Pieces of evidence on one workload that are looked at; more than approvals, for there are more kinds than roles."""


@dataclass(frozen=True, slots=True)
class EvidenceContext:
    """What the evidence is held against.

    Attributes:
        environment: environment of the request.
        cluster: this cluster's name.
        namespace: namespace of the workload.
        projection: digest of the governed fields.
        images: every image of the workload.
        model: the model that the workload says it serves.
        now: when the request came; aware UTC.
        kinds: of evidence that the policy data knows.
        digests: ``image``, ``model`` and ``projection`` -> the digests of this workload's; follows from the others.
    """

    environment: str
    cluster: str
    namespace: str
    projection: Digest
    images: tuple[Image, ...]
    model: ModelIdentity
    now: datetime
    kinds: EvidenceKinds
    digests: Mapping[str, frozenset[Digest]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        digests = {
            "image": frozenset(image.digest for image in self.images if image.digest is not None),
            "model": frozenset([self.model.digest] if self.model.digest is not None else []),
            "projection": frozenset([self.projection]),
        }
        object.__setattr__(self, "digests", MappingProxyType(digests))


@dataclass(frozen=True, slots=True)
class VerifiedFacts:
    """Facts from signed evidence. Built by ``check_evidence`` and ``none``. None is "not attested".

    Attributes:
        parameters: all parameters of the model.
        data_classification: ``public``, ``internal``, ``confidential`` or ``restricted``.
        coverage: covered and total lines.
        rollback: that there is a way back, and in how many minutes.
        strategy: ``rolling``, ``recreate``, ``blue_green`` or ``canary``.
        sources: fact -> digest of the statement that it comes from.
    """

    parameters: int | None
    data_classification: str | None
    coverage: Coverage | None
    rollback: Rollback | None
    strategy: str | None
    sources: Mapping[str, str]

    @classmethod
    def none(cls) -> VerifiedFacts:
        """Nothing is attested."""
        return _build({})


@dataclass(frozen=True, slots=True)
class RejectedEvidence:
    """A piece of evidence, or one fact in it, that does not count.

    Attributes:
        name: the annotation's name after ``evidence.``, printable.
        code: a ``RejectionCode``.
        sentence: why, for the deployer.
        kind: of the evidence; "" where it could not be read so far.
    """

    name: str
    code: str
    sentence: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class VerifiedStatement:
    """A signed statement about the workload that counts. Built by ``check_evidence``.

    Attributes:
        kind: key of ``data.placet.evidence``.
        about: ``image``, ``model`` or ``projection``.
        subjects: those digests of the workload that it names, sorted, non-empty.
        attester: id of the first identity that signed it and may say it.
        issued_at: when what it says was found out.
        expires: first moment that it no longer holds; None where the predicate knows no end.
        statement: digest of the signed bytes.
        claims: what it says and its signer may say.
    """

    kind: str
    about: str
    subjects: tuple[Digest, ...]
    attester: str
    issued_at: datetime
    expires: datetime | None
    statement: Digest
    claims: Mapping[str, ClaimValue]


@dataclass(frozen=True, slots=True)
class EvidenceFindings:
    """What the evidence on a workload comes to.

    Attributes:
        facts: what is attested.
        rejected: what is not, in the order of names.
        counted: digests of the statements of which something counted, whether it was what scores worst or not.
        statements: what counts, for the rules, sorted by kind and digest; each once.
    """

    facts: VerifiedFacts
    rejected: tuple[RejectedEvidence, ...]
    counted: frozenset[Digest] = frozenset()
    statements: tuple[VerifiedStatement, ...] = ()


_Found = dict[str, tuple[Any, Digest]]


@dataclass(frozen=True, slots=True)
class _Read:
    """What signed evidence says, and of what."""

    subjects: tuple[Subject, ...]
    evidence: Evidence


# Digest of signed bytes -> what they say, where they can be read.
_EVIDENCE: Final[Remembered[_Read]] = Remembered()


def check_evidence(raw: Mapping[str, str], *, keyring: VerifiedKeyring, context: EvidenceContext) -> EvidenceFindings:
    """Hold a workload's evidence annotations against the keyring and the request.

    Args:
        raw: name -> text of the annotation, unverified.
        keyring: who may attest what.
        context: what is being deployed, where and when.

    Returns:
        The facts that are attested and what was rejected. Nothing in ``raw`` makes this raise.
    """
    if len(raw) > MAX_EVIDENCE:  # 1
        sentence = f"{len(raw)} pieces of evidence are on the workload, more than the {MAX_EVIDENCE} that are looked at"
        return EvidenceFindings(VerifiedFacts.none(), (RejectedEvidence("", RejectionCode.TOO_MANY.value, sentence),))
    found: _Found = {}
    covered: set[Digest] = set()
    counted: set[Digest] = set()
    statements: dict[Digest, VerifiedStatement] = {}
    rejected: list[RejectedEvidence] = []
    effort = Effort()
    for name in sorted(raw):
        signed = check_annotation(raw[name], keyring=keyring, effort=effort)  # 1-5
        if isinstance(signed, Refusal):
            rejected.append(RejectedEvidence(plain(name), signed.code.value, signed.sentence))
            continue
        kind, refusals, statement = _collect(signed, context, found, covered)  # 6-12
        if statement is not None:
            statements.setdefault(signed.digest, statement)
            counted.add(signed.digest)
        rejected.extend(RejectedEvidence(plain(name), one.code.value, one.sentence, kind) for one in refusals)
    rejected.extend(_drop_partial_coverage(found, covered, context))
    ordered = sorted(statements.values(), key=lambda one: (one.kind, str(one.statement)))
    return EvidenceFindings(_build(found), tuple(rejected), frozenset(counted), tuple(ordered))


def _drop_partial_coverage(found: _Found, covered: set[Digest], context: EvidenceContext) -> list[RejectedEvidence]:
    """Coverage is of every image or of none: a tested sidecar does not vouch for the server beside it."""
    if "coverage" not in found:
        return []
    missing = [image.container for image in context.images if image.digest is None or image.digest not in covered]
    if not missing:
        return []
    del found["coverage"]
    sentence = f"no coverage is attested of the image of {plain(missing[0])}"
    return [RejectedEvidence("coverage", RejectionCode.SUBJECT_DIFFERS.value, sentence, "coverage")]


def _collect(
    signed: SignedPayload, context: EvidenceContext, found: _Found, covered: set[Digest]
) -> tuple[str, list[Refusal], VerifiedStatement | None]:
    """Add what the payload attests to ``found``; gives its kind, what it does not attest, and what the rules get."""
    try:
        read = _read_evidence(signed, context.kinds)  # 6, 7
    except FormatError as exc:
        return _kind_of(signed, context.kinds), [Refusal(RejectionCode(exc.code), str(exc))], None
    evidence = read.evidence
    refusals: list[Refusal] = []
    claims: dict[str, ClaimValue] = {}
    attester = ""
    for name, saying in evidence.sayings.items():
        signer = _judge_saying(name, read, signed.signings, context)
        if isinstance(signer, Refusal):
            refusals.append(signer)
            continue
        claims.update(saying.claims)
        attester = attester or signer.id
        if saying.value is not None:
            if evidence.kind.about == "image":
                covered.update(subject.digest for subject in read.subjects)
            if name not in found or _BADNESS[name](saying.value) > _BADNESS[name](found[name][0]):
                found[name] = (saying.value, signed.digest)
    kind = evidence.kind
    if not attester:
        return kind.name, refusals, None
    named = context.digests[kind.about].intersection(subject.digest for subject in read.subjects)
    statement = VerifiedStatement(
        kind=kind.name,
        about=kind.about,
        subjects=tuple(sorted(named, key=str)),
        attester=attester,
        issued_at=evidence.issued_at,
        expires=evidence.expires,
        statement=signed.digest,
        claims=claims,
    )
    return kind.name, refusals, statement


def _read_evidence(signed: SignedPayload, kinds: EvidenceKinds) -> _Read:
    """How the payload reads by this table of kinds; another table may read it otherwise."""
    key = bytes.fromhex(kinds.digest.hex + signed.digest.hex)
    read = _EVIDENCE.find(key)
    if read is None:
        statement = parse_in_toto(signed.payload, closed=False, allow_floats=True)
        read = _Read(statement.subjects, read_predicate(kinds, statement.predicate_type, statement.predicate))
        if len(signed.payload) <= MAX_READ_BYTES:
            _EVIDENCE.keep(key, read)
    return read


def _kind_of(signed: SignedPayload, kinds: EvidenceKinds) -> str:
    """Of evidence that can't be read; "" where not even that can be."""
    try:
        statement = parse_in_toto(signed.payload, closed=False, allow_floats=True)
    except FormatError:
        return ""
    kind = kinds.by_type.get(statement.predicate_type)
    return "" if kind is None else kind.name


def _judge_saying(
    name: str, read: _Read, signings: tuple[Signing, ...], context: EvidenceContext
) -> Identity | Refusal:
    """Who says it, where it counts."""
    signer = _find_signer(name, signings, read.evidence, context)  # 8, 9
    if isinstance(signer, Refusal):
        return signer
    return _refuse_subject(read, context) or _refuse_age(name, read.evidence, context) or signer  # 11, 12


def _find_signer(
    name: str, signings: tuple[Signing, ...], evidence: Evidence, context: EvidenceContext
) -> Identity | Refusal:
    """One signer who may say it is enough; otherwise the first one's reason."""
    refusals = []
    for signing in signings:
        refusal = signing.key.refuse_at(issued=evidence.issued_at, now=context.now)  # 8
        refusal = refusal or _refuse_grant(name, evidence.kind.name, signing, context)  # 9
        if refusal is None:
            return signing.identity
        refusals.append(refusal)
    return refusals[0]


def _refuse_grant(name: str, kind: str, signing: Signing, context: EvidenceContext) -> Refusal | None:
    """Who may attest a kind may attest all that statements of it say."""
    for attestation in signing.identity.attests:
        model = ANY in attestation.models or context.model.name in attestation.models
        place = attestation.environments is None or context.environment in attestation.environments
        if (name in attestation.facts or kind in attestation.facts) and model and place:
            return None
    where = f"model {plain(context.model.name)} in {plain(context.environment)}"
    return Refusal(RejectionCode.NOT_GRANTED, f"{signing.identity.id} may not attest {name} of {where}")


def _refuse_subject(read: _Read, context: EvidenceContext) -> Refusal | None:
    """Names are what other tools call things; the digest is the thing."""
    about = read.evidence.kind.about
    wanted = context.digests[about]
    if wanted.isdisjoint(subject.digest for subject in read.subjects):
        what = {"image": "no image of this workload", "model": "not this workload's model artifact"}
        return Refusal(RejectionCode.SUBJECT_DIFFERS, f"it is about {what.get(about, 'another projection')}")
    return None


def _refuse_age(name: str, evidence: Evidence, context: EvidenceContext) -> Refusal | None:
    if context.now < evidence.issued_at:
        return Refusal(RejectionCode.NOT_YET_VALID, f"holds in {describe_span(evidence.issued_at - context.now)}")
    if evidence.expires is not None and context.now >= evidence.expires:
        return Refusal(RejectionCode.EXPIRED, f"expired {describe_span(context.now - evidence.expires)} ago")
    age, oldest = context.now - evidence.issued_at, evidence.kind.max_age
    if age >= oldest:
        sentence = f"{name} was attested {describe_span(age)} ago, and {describe_span(oldest)} are accepted"
        return Refusal(RejectionCode.TOO_OLD, sentence)
    return None


def _coverage_badness(value: Coverage) -> Fraction:
    return -Fraction(value.covered, value.total)


def _rollback_badness(value: Rollback) -> int:
    return value.minutes or 0


# fact -> a number that grows as the fact gets worse for the score
_BADNESS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "parameters": int,
    "data_classification": CLASSIFICATIONS.index,
    "coverage": _coverage_badness,
    "rollback": _rollback_badness,
    "strategy": ("blue_green", "canary", "rolling", "recreate").index,
}


def _build(found: _Found) -> VerifiedFacts:
    values = {fact: value for fact, (value, _) in found.items()}
    return VerifiedFacts(
        parameters=values.get("parameters"),
        data_classification=values.get("data_classification"),
        coverage=values.get("coverage"),
        rollback=values.get("rollback"),
        strategy=values.get("strategy"),
        sources=MappingProxyType({fact: str(digest) for fact, (_, digest) in found.items()}),
    )
