"""How exemptions stand at a moment, whatever is deployed: for whoever looks after them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from placet.approvals.keyring import VerifiedKeyring
from placet.exemptions.folder import SignedExemption, SignedExemptions
from placet.exemptions.verify import Exemption, ExemptionContext, check_exemption

SOON: Final = timedelta(days=14)
State = Literal["in_force", "ends_soon", "ended", "not_counting"]
STATES: Final[tuple[State, ...]] = ("in_force", "ends_soon", "ended", "not_counting")


@dataclass(frozen=True, slots=True)
class Standing:
    """One exemption, and how it stands.

    Attributes:
        signed: the exemption.
        state: ``in_force``, of these ``ends_soon`` within two weeks; ``ended``; ``not_counting`` for any other reason.
        expires: first moment that it no longer holds; what it says itself where it does not count.
        why: why it does not count, "" where it does.
        missing: whether all that it lacks is the signature of others.
    """

    signed: SignedExemption
    state: State
    expires: datetime
    why: str
    missing: bool = False


def survey(
    held: SignedExemptions, *, keyring: VerifiedKeyring, cluster: str, data: Mapping[str, Any], now: datetime
) -> tuple[Standing, ...]:
    """How each exemption stands for the content that it names, those that end first in front.

    Args:
        held: exemptions, signed.
        keyring: who may exempt what.
        cluster: this cluster's name.
        data: the policy data; names the limits.
        now: aware UTC.
    """
    found = [_stand(one, keyring, cluster, data, now) for one in held.all]
    return tuple(sorted(found, key=lambda one: (one.expires, one.signed.statement.workload, one.signed.file)))


def _stand(
    signed: SignedExemption, keyring: VerifiedKeyring, cluster: str, data: Mapping[str, Any], now: datetime
) -> Standing:
    said = signed.statement
    context = ExemptionContext(
        cluster=cluster,
        environment=said.environment,
        namespace=said.namespace,
        projection=said.projections[0],
        images=(),
        grade=said.detection,
        requester="",
        now=now,
        **ExemptionContext.limits(data),
    )
    found = check_exemption(signed, keyring=keyring, context=context)
    if isinstance(found, Exemption):
        return Standing(signed, "ends_soon" if found.expires - now <= SOON else "in_force", found.expires, "")
    state: State = "ended" if found.code == "exemption_expired" else "not_counting"
    return Standing(signed, state, said.expires, found.sentence, found.code == "exemption_persons_missing")
