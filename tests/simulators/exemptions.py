"""Exemptions in memory: what a folder would hold, and what somebody signs for a workload at an approval desk.

>>> desk = ApprovalDesk.standard()
>>> add_exempters(desk)
>>> shelf = ExemptionShelf()
>>> shelf.files["nginx"] = sign_exemption(desk, exemption_of(desk, workload))
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from placet.approvals.envelope import render_envelope
from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.signing import add_signature, sign_payload
from placet.exemptions.folder import Fault, SignedExemption, SignedExemptions, check_signed
from placet.exemptions.statement import PAYLOAD_TYPE, ExemptionStatement, render_exemption
from placet.model import Workload
from tests.simulators.desk import ApprovalDesk


@dataclass
class ExemptionShelf:
    """Files of exemptions, by name; a :class:`placet.exemptions.folder.Exemptions`."""

    files: dict[str, bytes] = field(default_factory=dict)

    def load(self, keyring: VerifiedKeyring) -> SignedExemptions:
        found, faults = [], []
        for name, raw in self.files.items():
            read = check_signed(raw, keyring=keyring)
            if isinstance(read, str):
                faults.append(Fault(name, read))
            else:
                found.append(SignedExemption(*read, name, raw))
        return SignedExemptions.of(tuple(found), tuple(faults))


def add_exempters(desk: ApprovalDesk) -> None:
    """fay and gus may exempt everywhere, up to critical risk; hal may up to low."""
    for name in ("fay", "gus", "hal"):
        desk.add(name, roles=["exempt"])
    desk.grant("hal", "exempt")["maxRisk"] = "low"


def exemption_of(
    desk: ApprovalDesk, workload: Workload, *, lifetime: timedelta = timedelta(days=30), **changes: Any
) -> ExemptionStatement:
    """What somebody would sign for this workload now. Fields may be given another value."""
    said = ExemptionStatement(
        exemption_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://placet.dev/exemption/{workload.resource}")),
        clusters=(desk.cluster,),
        environment=desk.environment,
        namespace=workload.namespace,
        workload=workload.resource,
        projections=(workload.projection.digest,),
        detection="no",
        images="pinned",
        issued_at=desk.now,
        not_before=desk.now,
        expires=desk.now + lifetime,
        ticket="",
        reason="a proxy",
    )
    return replace(said, **changes)


def sign_exemption(desk: ApprovalDesk, said: ExemptionStatement, *, by: str | Sequence[str] = "fay") -> bytes:
    """The statement signed by one or several, as a file holds it."""
    first, *others = [by] if isinstance(by, str) else by
    envelope = sign_payload(desk.signers[first], render_exemption(said), PAYLOAD_TYPE)
    for name in others:
        envelope = add_signature(envelope, desk.signers[name])
    return render_envelope(envelope)
