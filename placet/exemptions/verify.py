"""Whether an exemption holds for a workload. The numbers stand at the statements:

 1. caps: how many files, how many bytes
 2. strict envelope: JSON, closed members, base64
 3. payloadType, of exemptions alone: nothing that was signed for another purpose is read as one
 4. candidate keys; a keyid is a hint
 5. signature over the PAE of the exact bytes
 6. strict payload: UTF-8, no key twice, no floats, caps, closed schema
 7. the schema's name
 8. not taken back by the keyring
 9. audience: environment, cluster, namespace, workload
10. content: one of the signed projections, and each image by its digest unless signed otherwise
11. what detection finds is no more than what the signers knew
12. time: UTC, half-open, no longer than the policy data allow
13. key valid when it signed and now, not revoked
14. grant ``exempt``: environment, namespace; up to critical risk for what serves a model
15. the requester is none of the signers; as many distinct persons as the policy data want

1 to 7 are in placet/exemptions/folder.py. Nothing here reads a clock, a file or the network. A refusal is a value.
"""  # noqa: D415 - a protocol's title with its steps

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from placet.approvals.bindings import plain
from placet.approvals.identities import ANY, Grant, Identity
from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.rejections import Refusal, RejectionCode
from placet.approvals.signed import Signing
from placet.approvals.times import describe_span
from placet.canonical import Digest
from placet.exemptions.folder import SignedExemption
from placet.exemptions.statement import GRADES, ExemptionStatement
from placet.model import EXEMPT, Image

MEANINGS: Final = {
    "exemption_content_differs": "The exemption is for other content: what is governed in the workload has changed.",
    "exemption_expired": "The exemption, or the key that signed it, holds no longer.",
    "exemption_image_unpinned": "An image is named by a tag, and the exemption wants digests.",
    "exemption_key": "The signing key does not count: not valid yet, replaced, or in wrong hands.",
    "exemption_model": "The workload may serve a model, or says that it does, which the signers did not know.",
    "exemption_not_granted": "The signer holds no grant `exempt` for this environment and namespace.",
    "exemption_not_yet_valid": "The exemption does not hold yet.",
    "exemption_other_cluster": "The exemption is for other clusters.",
    "exemption_persons_missing": "Fewer persons signed than the policy data want, the requester not counted.",
    "exemption_too_long": "The exemption was given for longer than the policy data allow.",
    "exemption_withdrawn": "The keyring lists the exemption as taken back.",
}
"""Why an exemption did not let a workload in, by code; in records, and in the message of a refusal."""
_TICK: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ExemptionContext:
    """What an exemption is held against.

    Attributes:
        cluster: this cluster's name.
        environment: of the request.
        namespace: of the workload.
        projection: digest of the governed fields.
        images: of the workload.
        grade: what detection makes of it, one of ``GRADES``; ``serves_model`` too for what names a model.
        requester: user name of the API request.
        now: when the request came; aware UTC.
        max_days: the longest that an exemption may be given for.
        persons: how many must have signed.
        persons_for_models: how many must have signed for what serves a model, or may.
    """

    cluster: str
    environment: str
    namespace: str
    projection: Digest
    images: tuple[Image, ...]
    grade: str
    requester: str
    now: datetime
    max_days: int
    persons: int
    persons_for_models: int

    @classmethod
    def limits(cls, policy_data: Mapping[str, Any]) -> dict[str, int]:
        """``max_days``, ``persons`` and ``persons_for_models``, by these names."""
        settings = policy_data["exemptions"]
        return {name: int(settings[name]) for name in ("max_days", "persons", "persons_for_models")}


@dataclass(frozen=True, slots=True)
class Exemption:
    """An exemption that holds for a workload. Built by ``check_exemption`` alone.

    Attributes:
        exemption_id: names it.
        statement: digest of the signed bytes.
        persons: who signed and counts, sorted.
        keys: fingerprints of their keys.
        expires: first moment that it no longer holds: its own, or that of the key that it rests on.
        detection: what the signers knew that detection makes of the workload.
        envelope: what was signed, to be kept beside the record; empty where it is not at hand.
    """

    exemption_id: str
    statement: Digest
    persons: tuple[str, ...]
    keys: tuple[str, ...]
    expires: datetime
    detection: str
    envelope: bytes = field(default=b"", repr=False)

    def to_json(self) -> dict[str, Any]:
        """As the record and a plan have it."""
        return {
            "exemption_id": self.exemption_id,
            "statement": str(self.statement),
            "persons": list(self.persons),
            "keys": list(self.keys),
            "expires": self.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "detection": self.detection,
        }


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why an exemption that names a workload does not let it in.

    Attributes:
        code: one of ``MEANINGS``.
        sentence: for the person who deploys; safe to print.
    """

    code: str
    sentence: str


def check_exemption(
    signed: SignedExemption, *, keyring: VerifiedKeyring, context: ExemptionContext, made_of_it: bool = False
) -> Exemption | Unfit:
    """Hold one exemption against a workload.

    Args:
        signed: names this environment, namespace and workload, and its signatures verify.
        keyring: who may exempt what.
        context: what is being deployed, by whom and when.
        made_of_it: whether the object is what a controller made of the workload. An exemption that has run out, and
            was not taken back, still counts for these: what was let in keeps its Pods, as what was approved does.
    """
    said = signed.statement
    if made_of_it:
        ends = min(said.expires, *(signing.key.valid_until for signing in signed.signings))
        context = replace(context, now=max(said.not_before, min(context.now, ends - _TICK)))
    return (
        _refuse_withdrawn(said, keyring)  # 8
        or _refuse_audience(said, context)  # 9
        or _refuse_content(said, context)  # 10
        or _refuse_grade(said, context)  # 11
        or _refuse_time(said, context)  # 12
        or _check_signers(signed, keyring, context)  # 13-15
    )


def _refuse_withdrawn(said: ExemptionStatement, keyring: VerifiedKeyring) -> Unfit | None:
    if said.exemption_id in keyring.revoked_approvals:
        return Unfit("exemption_withdrawn", "it was taken back by the keyring")
    return None


def _refuse_audience(said: ExemptionStatement, context: ExemptionContext) -> Unfit | None:
    if context.cluster in said.clusters:  # its environment, namespace and workload are what it was looked up by
        return None
    return Unfit("exemption_other_cluster", f"it is for cluster {', '.join(said.clusters[:3])}")


def _refuse_content(said: ExemptionStatement, context: ExemptionContext) -> Unfit | None:
    if context.projection not in said.projections:
        return Unfit("exemption_content_differs", "it is for other content of this workload")
    loose = [image for image in context.images if image.digest is None]
    if loose and said.images == "pinned":
        sentence = f"it wants every image by its digest, and {plain(loose[0].reference)} names none"
        return Unfit("exemption_image_unpinned", sentence)
    return None


def _refuse_grade(said: ExemptionStatement, context: ExemptionContext) -> Unfit | None:
    if GRADES.index(context.grade) <= GRADES.index(said.detection):
        return None
    what = "may serve a model" if context.grade == "suspected" else "serves a model, or names one"
    return Unfit("exemption_model", f"the workload {what}, and it was not signed for that")


def _refuse_time(said: ExemptionStatement, context: ExemptionContext) -> Unfit | None:
    if context.now < said.not_before:
        return Unfit("exemption_not_yet_valid", f"it holds in {describe_span(said.not_before - context.now)}")
    if context.now >= said.expires:
        return Unfit("exemption_expired", f"it expired {describe_span(context.now - said.expires)} ago")
    if said.expires - said.issued_at > timedelta(days=context.max_days):
        return Unfit("exemption_too_long", f"it was given for more than the {context.max_days} days that are allowed")
    return None


def _check_signers(signed: SignedExemption, keyring: VerifiedKeyring, context: ExemptionContext) -> Exemption | Unfit:
    said = signed.statement
    counted: dict[str, Signing] = {}
    refused: Unfit | None = None
    for signing in signed.signings:
        found = _refuse_signing(signing, said, keyring, context)
        refused = refused or found
        if found is None:
            counted.setdefault(signing.identity.person.casefold(), signing)
    wanted = context.persons if said.detection == "no" else max(context.persons, context.persons_for_models)
    if not counted and refused is not None:
        return refused
    if len(counted) < wanted:  # 15
        sentence = f"{len(counted)} of the {wanted} persons signed that are wanted"
        return Unfit("exemption_persons_missing", f"{sentence}; {refused.sentence}" if refused else sentence)
    keys = [one.key for one in counted.values()]
    # It ends when too few of those who signed still speak for it.
    ends = sorted(key.valid_until for key in keys)[-wanted]
    return Exemption(
        exemption_id=said.exemption_id,
        statement=signed.digest,
        persons=tuple(sorted(one.identity.person for one in counted.values())),
        keys=tuple(sorted(key.public_key.fingerprint for key in keys)),
        expires=min(said.expires, ends),
        detection=said.detection,
        envelope=signed.envelope,
    )


def _refuse_signing(
    signing: Signing, said: ExemptionStatement, keyring: VerifiedKeyring, context: ExemptionContext
) -> Unfit | None:
    refused: Refusal | None = signing.key.refuse_at(issued=said.issued_at, now=context.now)  # 13
    if refused is not None:
        if refused.code is RejectionCode.KEY_EXPIRED:
            return Unfit("exemption_expired", refused.sentence)
        return Unfit("exemption_key", refused.sentence)
    who = signing.identity.id
    if not any(_covers(grant, said) for grant in signing.identity.grants):  # 14
        what = "" if said.detection != "serves_model" else ", up to critical risk for what serves a model"
        return Unfit(
            "exemption_not_granted",
            f"{who} holds no grant {EXEMPT} for {said.environment} and namespace {said.namespace}{what}",
        )
    if _is_requester(signing.identity, keyring, context):  # 15
        return Unfit(
            "exemption_persons_missing", f"{signing.identity.person} asks for this deployment and can't exempt it"
        )
    return None


def _covers(grant: Grant, said: ExemptionStatement) -> bool:
    """One grant must allow all of it. A grant for named models exempts nothing: what is exempted has none."""
    return (
        grant.role == EXEMPT
        and said.environment in grant.environments
        and (ANY in grant.namespaces or said.namespace in grant.namespaces)
        and ANY in grant.models
        and (said.detection != "serves_model" or grant.max_risk == "critical")
    )


def _is_requester(identity: Identity, keyring: VerifiedKeyring, context: ExemptionContext) -> bool:
    mine = {name.casefold() for name in (identity.id, identity.person, *identity.usernames)}
    return not mine.isdisjoint(keyring.persons_of(context.requester))


def render_meanings() -> str:
    """The table of codes in Markdown."""
    rows = "\n".join(f"| `{code}` | {meaning} |" for code, meaning in MEANINGS.items())
    return f"| code | meaning |\n|---|---|\n{rows}\n"


def describe_end(expires: datetime, now: datetime) -> str:
    """How long it still holds, or since when no longer."""
    return f"ends in {describe_span(expires - now)}" if now < expires else f"ended {describe_span(now - expires)} ago"
