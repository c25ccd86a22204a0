"""Signatures of a case, verified again as the gate did: approvals, revocations, a break-glass token.

By the same functions as then, with the keyring of then, at the time of the decision, held against what the input says
was deployed. The input is not believed: what it counts must come out of the envelopes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from placet.approvals.envelope import parse_envelope
from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.rejections import Refusal
from placet.approvals.revocations import Revocations
from placet.approvals.signed import Effort, check_envelope
from placet.approvals.statement import RevocationStatement, parse_statement
from placet.approvals.verify import ApprovalContext, VerifiedApproval, check_approvals
from placet.breakglass.verify import RejectedToken, TokenContext, check_token
from placet.canonical import Digest, parse_json
from placet.dossier.case import Case, find_taken_back
from placet.dossier.verdict import Verdict
from placet.errors import FormatError
from placet.kept import parse_signed
from placet.model import Image, ModelIdentity, Projection, Workload

_MAX_BYTES: Final = 1024 * 1024
_CARRIED: Final = frozenset({"scaled", "rollback"})
_LEVELS_OF_CARRIED: Final = "low"
_REVOKED: Final = frozenset({"revoked", "key_compromised"})


def check_signatures(
    case: Case, keyring: VerifiedKeyring, moment: datetime, verdict: Verdict
) -> tuple[VerifiedApproval, ...]:
    """Every approval that the input counts, from its envelope.

    Args:
        case: of a decision.
        keyring: of then.
        moment: of the decision; aware UTC.
        verdict: to add to.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, FormatError: the input is not of its form.
    """
    document = case.document
    if case.input is None or not document:
        return ()
    counted = {(one["role"], one["approval_id"], one["person"]): one for one in document["approvals"]}
    if counted and case.signed is None:
        for role, approval_id, _ in sorted(counted):
            verdict.leave_open(f"approval {role}", "missing", f"the envelope of approval {approval_id} is not there")
        return ()
    raw = {} if case.signed is None or document["change"]["kind"] == "child" else parse_signed(case.signed)[0]
    found = check_approvals(
        raw, keyring=keyring, revocations=Revocations.none(), context=_approval_context(case, moment)
    )
    by_key = {(one.role, one.approval_id, one.person.casefold()): one for one in found.verified}
    for key, said in sorted(counted.items()):
        _compare_approval(said, by_key.get(key), found.rejected, verdict)
    taken_back = {(one["role"], one["approval_id"]) for one in document["rejected"] if one["code"] in _REVOKED}
    for key, one in by_key.items():
        more = key not in counted and document["change"]["kind"] not in _CARRIED
        if more and (one.role, one.approval_id) not in taken_back:
            sentence = f"approval {one.approval_id} of {one.person} held then, and the input does not count it"
            verdict.refute(f"approval {one.role}", "approval_uncounted", sentence)
    return tuple(one for key, one in sorted(by_key.items()) if key in counted)


def _compare_approval(said: Mapping[str, Any], found: VerifiedApproval | None, rejected: Any, verdict: Verdict) -> None:
    part = f"approval {said['role']}"
    if found is None:
        why = next((one.sentence for one in rejected if one.role == said["role"]), "no envelope has such a statement")
        verdict.refute(part, "approval_invalid", f"approval {said['approval_id']} does not hold: {why}")
        return
    again = {
        "approval_id": found.approval_id,
        "role": found.role,
        "person": found.person.casefold(),
        "bindings": sorted(found.bindings),
        "max_risk": found.max_risk,
        "risk_inputs_match": found.risk_inputs_match,
        "expires_s": int(found.expires.timestamp()),
        "statement": str(found.statement),
    }
    if different := sorted(name for name in again if said.get(name) != again[name]):
        sentence = f"approval {found.approval_id} is not what the input says of it: {', '.join(different)}"
        verdict.refute(part, "approval_differs", sentence)
        return
    bound = ", ".join(sorted(found.bindings))
    verdict.prove(
        part, f"{found.person} signed with key {found.key[:12]} for the same {bound}, up to {found.max_risk} risk"
    )


def check_withdrawals(case: Case, keyring: VerifiedKeyring, verdict: Verdict) -> None:
    """That what counted as taken back had been: by the keyring, or by a revocation in the log."""
    gone = set(find_taken_back(case.document))
    recorded = {(one.body.get("approval_id"), one.body.get("role")): (one, raw) for one, raw in case.revocations}
    for approval_id, role in sorted(gone):
        part = f"revocation {role}"
        if approval_id in keyring.revoked_approvals:
            verdict.prove(part, f"the keyring lists approval {approval_id} as taken back")
        elif (approval_id, role) in recorded:
            held, raw = recorded[approval_id, role]
            _check_withdrawal(held.index, approval_id, raw, keyring, part, verdict)
        else:
            verdict.limit(f"That approval {approval_id} had been taken back: no leaf of it was found.")


def _check_withdrawal(
    index: int, approval_id: str, raw: bytes | None, keyring: VerifiedKeyring, part: str, verdict: Verdict
) -> None:
    if raw is None:
        return  # that it is not there has been said
    try:
        signed = check_envelope(parse_envelope(raw), keyring=keyring, effort=Effort())
        statement = None if isinstance(signed, Refusal) else parse_statement(signed.payload)
    except FormatError:
        statement = None
    if isinstance(statement, RevocationStatement) and statement.approval_id == approval_id:
        verdict.prove(part, f"approval {approval_id} was taken back by a signed revocation ({index})")
    else:
        verdict.limit(f"Who took approval {approval_id} back: the keyring of then has not signed leaf {index}.")


def check_token_again(case: Case, keyring: VerifiedKeyring, moment: datetime, verdict: Verdict) -> None:
    """The break-glass token that let a decision's workload in.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, FormatError: the record is not of its form.
    """
    passage, leaf = case.body.get("break_glass"), case.glass
    if not isinstance(passage, Mapping) or leaf is None or case.token is None:
        return
    part, use = "break-glass token", leaf.body
    if passage.get("by") != "token":
        verdict.prove(part, f"token {passage.get('token_id')} let in what this is made of ({leaf.index})")
        verdict.limit("That the object is made of what the token let in: its parents were looked up then.")
        return
    if case.data is None or not case.document:
        verdict.leave_open(part, "missing", "the token can't be held against the input and the policy data of then")
        return
    minutes = parse_json(case.data, max_bytes=_MAX_BYTES)["break_glass"]["max_minutes"]
    found = check_token(
        base64.b64encode(case.token).decode(),
        keyring=keyring,
        revocations=Revocations.none(),
        context=TokenContext(
            environment=case.document["environment"],
            cluster=case.document["cluster"],
            workload=_workload(case.document),
            level=case.document["risk"]["level"],
            requester=case.document["requester"],
            now=moment,
            longest=timedelta(minutes=minutes),
        ),
    )
    if isinstance(found, RejectedToken):
        verdict.refute(part, "token_invalid", f"the break-glass token does not hold: {found.refusal.sentence}")
    elif (str(found.digest), found.statement.token_id) != (use.get("token"), passage.get("token_id")):
        verdict.refute(part, "token_differs", "the break-glass token is not the one that the record names")
    else:
        who = " and ".join(one.person for one in found.signers)
        verdict.prove(part, f"{who} let exactly this content in; reason and ticket are in leaf {leaf.index}")
        verdict.limit("How many replicas the request asked for: the input of the policies does not say.")


def _approval_context(case: Case, moment: datetime) -> ApprovalContext:
    document = case.document
    carried = document["change"]["kind"] in _CARRIED  # the risk in the input is then that of the precedent
    return ApprovalContext(
        environment=document["environment"],
        cluster=document["cluster"],
        namespace=document["workload"]["namespace"],
        workload=f"{document['workload']['kind']}/{document['workload']['name']}",
        projection=Digest.parse(document["projection"]),
        images=images_of(document),
        model=model_of(document),
        level=_LEVELS_OF_CARRIED if carried else document["risk"]["level"],
        risk_inputs=Digest.parse(document["risk"]["inputs_digest"]),
        requester=document["requester"],
        now=moment,
        bindings=_bindings(case),
        policy=Digest.parse(case.body["policy"]["data_digest"]),
    )


def _bindings(case: Case) -> frozenset[str]:
    """What the environment demanded then; nothing where the policy data is not there, which the replay then says."""
    if case.data is None:
        return frozenset()
    environments = parse_json(case.data, max_bytes=_MAX_BYTES)["environments"]
    return frozenset(environments[case.document["environment"]]["bindings"])


def _workload(document: Mapping[str, Any]) -> Workload:
    """What the input says was deployed; what approvals and tokens are held against, and nothing else of it."""
    said = document["workload"]
    return Workload(
        group=said["group"],
        version=said["version"],
        kind=said["kind"],
        namespace=said["namespace"],
        name=said["name"],
        generated=False,
        uid="",
        model=model_of(document),
        images=images_of(document),
        projection=Projection(b"", Digest.parse(document["projection"])),
        replicas=None,
        strategy="",
        approvals={},
        evidence={},
        declared={},
    )


def model_of(document: Mapping[str, Any]) -> ModelIdentity:
    """The model of a policy input."""
    model = document["model"]
    return ModelIdentity(model["name"], model["version"], Digest.parse(model["digest"]) if model["digest"] else None)


def images_of(document: Mapping[str, Any]) -> tuple[Image, ...]:
    """The images of a policy input, without tags."""
    return tuple(
        Image(
            container=image["container"],
            reference=image["reference"],
            name=image["name"],
            tag="",
            digest=Digest.parse(image["digest"]) if image["digest"] else None,
        )
        for image in document["images"]
    )
