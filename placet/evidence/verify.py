"""The order of verification of evidence: that of approvals, with the same numbers, up to where evidence differs.

 1. caps  2. strict envelope  3. payloadType  4. candidate keys  5. signature over the PAE of the exact bytes
 6. strict payload  7. _type and predicateType  8. key valid when it signed and now, not revoked
 9. may attest this fact, for this model, in this environment
11. the subject is this workload's image, model or projection
12. time: not from the future, not expired, not older than its kind may be

Several statements may speak of one fact; the one that scores worst counts, so that adding evidence never hides any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

from placet.approvals.bindings import plain
from placet.approvals.identities import ANY
from placet.approvals.in_toto import Subject, parse_in_toto
from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.rejections import Refusal, RejectionCode
from placet.approvals.remembered import MAX_READ_BYTES, Remembered
from placet.approvals.signed import MAX_ENVELOPES, Effort, SignedPayload, Signing, check_annotation
from placet.approvals.times import describe_span
from placet.canonical import Digest
from placet.errors import FormatError
from placet.evidence.predicates import CLASSIFICATIONS, Evidence, read_predicate
from placet.model import Image, ModelIdentity
from scorer import Coverage, Rollback

MAX_AGE: Final[Mapping[str, timedelta]] = MappingProxyType(
    {
        "parameters": timedelta(days=365),
        "data_classification": timedelta(days=365),
        "coverage": timedelta(days=90),
        "rollback": timedelta(days=90),
        "strategy": timedelta(days=30),
    }
)


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
        max_age: fact -> how old what is said of it may be.
        digests: ``image``, ``model`` and ``projection`` -> the digests of this workload's; follows from the others.
    """

    environment: str
    cluster: str
    namespace: str
    projection: Digest
    images: tuple[Image, ...]
    model: ModelIdentity
    now: datetime
    max_age: Mapping[str, timedelta] = field(default_factory=lambda: MAX_AGE)
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
    """

    name: str
    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class EvidenceFindings:
    """What the evidence on a workload comes to.

    Attributes:
        facts: what is attested.
        rejected: what is not, in the order of names.
        counted: digests of the statements of which a fact counted, whether it was the one that scores worst or not.
    """

    facts: VerifiedFacts
    rejected: tuple[RejectedEvidence, ...]
    counted: frozenset[Digest] = frozenset()


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
    if len(raw) > MAX_ENVELOPES:  # 1
        sentence = (
            f"{len(raw)} pieces of evidence are on the workload, more than the {MAX_ENVELOPES} that are looked at"
        )
        return EvidenceFindings(VerifiedFacts.none(), (RejectedEvidence("", RejectionCode.TOO_MANY.value, sentence),))
    found: _Found = {}
    covered: set[Digest] = set()
    counted: set[Digest] = set()
    rejected: list[RejectedEvidence] = []
    effort = Effort()
    for name in sorted(raw):
        signed = check_annotation(raw[name], keyring=keyring, effort=effort)  # 1-5
        refusals = [signed] if isinstance(signed, Refusal) else _collect(signed, context, found, covered)  # 6-12
        if isinstance(signed, SignedPayload) and not refusals:
            counted.add(signed.digest)
        rejected.extend(RejectedEvidence(plain(name), refusal.code.value, refusal.sentence) for refusal in refusals)
    rejected.extend(_drop_partial_coverage(found, covered, context))
    counted.update(digest for _, digest in found.values())
    return EvidenceFindings(_build(found), tuple(rejected), frozenset(counted))


def _drop_partial_coverage(found: _Found, covered: set[Digest], context: EvidenceContext) -> list[RejectedEvidence]:
    """Coverage is of every image or of none: a tested sidecar does not vouch for the server beside it."""
    if "coverage" not in found:
        return []
    missing = [image.container for image in context.images if image.digest is None or image.digest not in covered]
    if not missing:
        return []
    del found["coverage"]
    sentence = f"no coverage is attested of the image of {plain(missing[0])}"
    return [RejectedEvidence("coverage", RejectionCode.SUBJECT_DIFFERS.value, sentence)]


def _collect(signed: SignedPayload, context: EvidenceContext, found: _Found, covered: set[Digest]) -> list[Refusal]:
    """Add what the payload attests to ``found``; gives what it does not."""
    try:
        read = _read_evidence(signed)  # 6, 7
    except FormatError as exc:
        return [Refusal(RejectionCode(exc.code), str(exc))]
    evidence, refusals = read.evidence, []
    for fact, value in evidence.facts.items():
        refusal = _refuse_signers(fact, signed.signings, evidence, context) or (  # 8, 9
            _refuse_subject(read, context) or _refuse_age(fact, evidence, context)  # 11, 12
        )
        if refusal is not None:
            refusals.append(refusal)
            continue
        if evidence.about == "image":
            covered.update(subject.digest for subject in read.subjects)
        if fact not in found or _BADNESS[fact](value) > _BADNESS[fact](found[fact][0]):
            found[fact] = (value, signed.digest)
    return refusals


def _read_evidence(signed: SignedPayload) -> _Read:
    key = bytes.fromhex(signed.digest.hex)
    read = _EVIDENCE.find(key)
    if read is None:
        statement = parse_in_toto(signed.payload, closed=False, allow_floats=True)
        read = _Read(statement.subjects, read_predicate(statement.predicate_type, statement.predicate))
        if len(signed.payload) <= MAX_READ_BYTES:
            _EVIDENCE.keep(key, read)
    return read


def _refuse_signers(
    fact: str, signings: tuple[Signing, ...], evidence: Evidence, context: EvidenceContext
) -> Refusal | None:
    """One signer who may say it is enough; otherwise the first one's reason."""
    refusals = []
    for signing in signings:
        refusal = signing.key.refuse_at(issued=evidence.issued_at, now=context.now)  # 8
        refusal = refusal or _refuse_grant(fact, signing, context)  # 9
        if refusal is None:
            return None
        refusals.append(refusal)
    return refusals[0]


def _refuse_grant(fact: str, signing: Signing, context: EvidenceContext) -> Refusal | None:
    for attestation in signing.identity.attests:
        model = ANY in attestation.models or context.model.name in attestation.models
        place = attestation.environments is None or context.environment in attestation.environments
        if fact in attestation.facts and model and place:
            return None
    where = f"model {plain(context.model.name)} in {plain(context.environment)}"
    return Refusal(RejectionCode.NOT_GRANTED, f"{signing.identity.id} may not attest {fact} of {where}")


def _refuse_subject(read: _Read, context: EvidenceContext) -> Refusal | None:
    """Names are what other tools call things; the digest is the thing."""
    wanted = context.digests[read.evidence.about]
    if wanted.isdisjoint(subject.digest for subject in read.subjects):
        what = {"image": "no image of this workload", "model": "not this workload's model artifact"}
        return Refusal(
            RejectionCode.SUBJECT_DIFFERS, f"it is about {what.get(read.evidence.about, 'another projection')}"
        )
    return None


def _refuse_age(fact: str, evidence: Evidence, context: EvidenceContext) -> Refusal | None:
    if context.now < evidence.issued_at:
        return Refusal(RejectionCode.NOT_YET_VALID, f"holds in {describe_span(evidence.issued_at - context.now)}")
    if evidence.expires is not None and context.now >= evidence.expires:
        return Refusal(RejectionCode.EXPIRED, f"expired {describe_span(context.now - evidence.expires)} ago")
    age, oldest = context.now - evidence.issued_at, context.max_age[fact]
    if age >= oldest:
        sentence = f"{fact} was attested {describe_span(age)} ago, and {describe_span(oldest)} are accepted"
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
