"""An earlier decision that people's approvals stand behind, for the same content of the same workload.

It is read from the record, and lets through what needs no new approval: an earlier revision that comes back, more
replicas, and what controllers make. ADR 24 says what is trusted in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.rejections import RejectionCode
from placet.approvals.revocations import Revocations
from placet.canonical import Digest
from placet.errors import FormatError
from placet.model import LEVELS, ModelIdentity
from scorer import level_of, read_recorded, total

# A record lists so many approvals at most: where it lists as many, one that was revoked may be missing from it.
MAX_LISTED_APPROVALS: Final = 32


@dataclass(frozen=True, slots=True)
class GrantedApproval:
    """One approval that was counted then.

    Attributes:
        approval_id: names it, for revocations.
        role: one of ``ROLES``.
        key: fingerprint of the key that signed.
    """

    approval_id: str
    role: str
    key: str


@dataclass(frozen=True, slots=True)
class Precedent:
    """A decision in the record that allowed this content, approved by people in every role that was required.

    Attributes:
        decision_id: of that decision.
        time: when it fell, aware UTC.
        projection: the content.
        model: the model that the workload said it serves.
        level: the risk level that was approved.
        factors: the six scores of then.
        risk_inputs: digest of what the score rested on.
        approvals: what stood behind it; non-empty.
    """

    decision_id: str
    time: datetime
    projection: Digest
    model: ModelIdentity
    level: str
    factors: Mapping[str, int]
    risk_inputs: Digest
    approvals: tuple[GrantedApproval, ...]

    def covers(self, level: str) -> bool:
        """Whether a risk of this level is one that was approved then."""
        return level in LEVELS and LEVELS.index(level) <= LEVELS.index(self.level)


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Why a precedent counts no more.

    Attributes:
        role: of the approval that was taken back.
        approval_id: which.
        code: ``revoked`` or ``key_compromised``.
    """

    role: str
    approval_id: str
    code: str


def read_precedents(bodies: Iterable[Mapping[str, Any]]) -> tuple[Precedent, ...]:
    """Decisions of the record as precedents, in the order given; what can't stand as one is left out."""
    return tuple(found for body in bodies if (found := _read(body)) is not None)


def _read(body: Mapping[str, Any]) -> Precedent | None:
    if body.get("approved") is not True or body.get("allowed") is not True:
        return None
    try:
        risk, model = body["risk"], body["model"]
        factors = read_recorded(risk["factors"])
        approvals = tuple(
            GrantedApproval(_text(one["approval_id"]), _text(one["role"]), _text(one["key"]))
            for one in body["approvals"]
        )
        if factors is None or not 0 < len(approvals) < MAX_LISTED_APPROVALS:
            return None
        level = level_of(total(factors))
        if level != risk["level"]:
            return None
        return Precedent(
            decision_id=_text(body["decision_id"]),
            time=datetime.fromisoformat(_text(body["time"])),
            projection=Digest.parse(body["projection"]),
            model=ModelIdentity(
                name=str(model["name"]),
                version=str(model["version"]),
                digest=Digest.parse(model["digest"]) if model["digest"] else None,
            ),
            level=level,
            factors=factors,
            risk_inputs=Digest.parse(risk["inputs_digest"]),
            approvals=approvals,
        )
    except (KeyError, TypeError, ValueError, FormatError):
        return None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("no text")
    return value


def find_withdrawn(
    precedent: Precedent, *, environment: str, keyring: VerifiedKeyring, revocations: Revocations
) -> Withdrawn | None:
    """The first approval behind a precedent that was revoked since, or whose key is in wrong hands."""
    for one in precedent.approvals:
        if one.approval_id in keyring.revoked_approvals or revocations.find(
            one.approval_id, role=one.role, environment=environment
        ):
            return Withdrawn(one.role, one.approval_id, RejectionCode.REVOKED.value)
        held = keyring.find_key(one.key)
        if held is not None and held[1].revocation == "compromised":
            return Withdrawn(one.role, one.approval_id, RejectionCode.KEY_COMPROMISED.value)
    return None


def serves(precedent: Precedent, model: ModelIdentity, *, exactly: bool) -> bool:
    """Whether the model is the one that was approved.

    Args:
        precedent: what was approved.
        model: what an object says.
        exactly: whether the object must say all that the approved one said; a controller passes on a part of it.
    """
    return model == precedent.model if exactly else is_part_of(model, precedent.model)


def is_part_of(model: ModelIdentity, whole: ModelIdentity) -> bool:
    """Whether all that is said of a model is what the whole says of it."""
    pairs = ((model.name, whole.name), (model.version, whole.version), (model.digest, whole.digest))
    return all(not said or said == known for said, known in pairs)
