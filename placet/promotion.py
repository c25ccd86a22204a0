"""Where else the record shows the same content admitted: what a promotion rests on.

The same content is the same projection, in which neither namespace nor name nor replicas stand, of the same model,
version and artifact. ADR 57 says why, and what follows for what differs between environments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.revocations import Revocations
from placet.model import Workload
from placet.precedent import Precedent, find_withdrawn, read_precedents, serves


@dataclass(frozen=True, slots=True)
class AdmittedElsewhere:
    """A decision that admitted content somewhere.

    Attributes:
        environment: where.
        precedent: what the record says of it.
    """

    environment: str
    precedent: Precedent


@dataclass(frozen=True, slots=True)
class Promotions:
    """What the record says of other environments.

    Attributes:
        known: whether there was a record to ask.
        admitted: environment -> the earliest decision there that still stands.
    """

    known: bool
    admitted: Mapping[str, Precedent]

    def to_input(self) -> dict[str, Any]:
        """As the policies get it."""
        return {
            "known": self.known,
            "admitted": [
                {"environment": environment, "since_s": int(one.time.timestamp()), "decision_id": one.decision_id}
                for environment, one in sorted(self.admitted.items())
            ],
        }


NO_PROMOTIONS: Final = Promotions(known=False, admitted={})


def read_elsewhere(bodies: Sequence[Mapping[str, Any]]) -> list[AdmittedElsewhere]:
    """Decisions of the record, in the order given; what can't stand as a precedent is left out."""
    return [
        AdmittedElsewhere(str(body["environment"]), precedent)
        for body in bodies
        for precedent in read_precedents([body])
        if isinstance(body.get("environment"), str)
    ]


def find_promotions(
    workload: Workload,
    found: Sequence[AdmittedElsewhere] | None,
    *,
    keyring: VerifiedKeyring,
    revocations: Revocations,
) -> Promotions:
    """The earliest decision in each environment that stands: for this model, and no approval behind it taken back.

    Args:
        workload: the new object.
        found: what the record has of its projection, the earliest first; None where there is no record to ask.
        keyring: of now.
        revocations: of now.
    """
    if found is None:
        return NO_PROMOTIONS
    admitted: dict[str, Precedent] = {}
    for one in found:
        if (
            one.environment not in admitted
            and serves(one.precedent, workload.model, exactly=True)
            and find_withdrawn(one.precedent, environment=one.environment, keyring=keyring, revocations=revocations)
            is None
        ):
            admitted[one.environment] = one.precedent
    return Promotions(known=True, admitted=admitted)
