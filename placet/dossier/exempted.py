"""The exemption that let a workload in, held again against what the record says of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from placet.approvals.keyring import VerifiedKeyring
from placet.canonical import Digest, parse_json
from placet.dossier.case import Case
from placet.dossier.verdict import Verdict
from placet.exemptions.folder import SignedExemption, check_signed
from placet.exemptions.verify import Exemption, ExemptionContext, check_exemption
from placet.images import parse_image
from placet.model import Image

_MAX_BYTES: Final = 1024 * 1024
_MORE: Final = "..."


def check_exemption_again(case: Case, keyring: VerifiedKeyring, moment: datetime, verdict: Verdict) -> None:
    """Steps 1 to 10 and 12 to 15 of placet/exemptions/verify.py; what detection made of the object is not repeated.

    Args:
        case: of a decision.
        keyring: of then.
        moment: of the decision; aware UTC.
        verdict: to add to.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, FormatError: the record is not of its form.
    """
    said = case.body.get("exemption")
    if not isinstance(said, Mapping) or case.exemption is None:
        return
    if case.data is None:
        verdict.leave_open("exemption", "missing", "the limits of exemptions of then are not there")
        return
    read = check_signed(case.exemption, keyring=keyring)
    if isinstance(read, str):
        verdict.refute("exemption", "exemption_invalid", f"the exemption does not hold: {read}")
        return
    signed = SignedExemption(*read, file="")
    found = _hold(case, signed, keyring, moment)
    if not isinstance(found, Exemption):
        verdict.refute("exemption", "exemption_invalid", f"the exemption does not hold: {found}")
    elif found.to_json() != {**said}:
        verdict.refute("exemption", "exemption_differs", "the exemption is not what the record says of it")
    else:
        who = " and ".join(found.persons)
        verdict.prove("exemption", f"{who} signed exemption {found.exemption_id} for this workload and this content")
        verdict.limit("What detection made of the object: it is not in the record.")


def _hold(case: Case, signed: SignedExemption, keyring: VerifiedKeyring, moment: datetime) -> Exemption | str:
    body, statement = case.body, signed.statement
    if (statement.environment, statement.namespace) != (body["environment"], body["namespace"]):
        return "it is for another environment or namespace"
    parents = [one for one in body.get("parents") or () if isinstance(one, Mapping)]
    contents = [one["projection"] for one in parents] or [body["projection"]]
    if not parents and statement.workload != f"{body['kind']}/{body['name']}":
        return "it is for another workload"
    limits = ExemptionContext.limits(parse_json(case.data or b"", max_bytes=_MAX_BYTES))
    why = "it is for other content"
    for content in contents:
        context = ExemptionContext(
            cluster=body["cluster"],
            environment=body["environment"],
            namespace=body["namespace"],
            projection=Digest.parse(content),
            images=_images(body["images"]),
            grade=statement.detection,
            requester=body["user"],
            now=moment,
            **limits,
        )
        found = check_exemption(signed, keyring=keyring, context=context, made_of_it=bool(parents))
        if isinstance(found, Exemption):
            return found
        why = found.sentence
    return why


def _images(references: Any) -> tuple[Image, ...]:
    return tuple(parse_image(one, container="") for one in references if one != _MORE)
