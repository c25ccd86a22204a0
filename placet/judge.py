"""Steps 3 to 8 of a decision: pure, the same for the webhook and for ``placet plan``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.rejections import RejectionCode
from placet.approvals.revocations import Revocations
from placet.approvals.verify import ApprovalContext, ApprovalFindings, RejectedApproval, check_approvals
from placet.canonical import Digest
from placet.change_calendar import ChangeCalendar
from placet.cluster import Ceiling
from placet.evidence.claims import plain_claims
from placet.evidence.kinds import EvidenceKinds
from placet.evidence.verify import EvidenceContext, EvidenceFindings, VerifiedFacts, VerifiedStatement, check_evidence
from placet.facts import collect_facts, digest_of_inputs, replica_ceiling
from placet.model import ROLES, Workload
from placet.policy.document import INPUT_SCHEMA
from placet.precedent import Precedent, Withdrawn
from placet.promotion import NO_PROMOTIONS, Promotions
from scorer import Assessment, assess, assess_beside, assess_recorded

REVOKED_CODES: Final = frozenset({RejectionCode.REVOKED, RejectionCode.KEY_COMPROMISED})
RESTING_ON_PRECEDENT: Final = frozenset({"scaled", "rollback", "child"})
UNSEEN_CODES: Final = frozenset({RejectionCode.TOO_MANY, RejectionCode.TOO_MUCH_WORK})


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that a judgement depends on beside the objects themselves.

    Attributes:
        uid: of the request.
        operation: CREATE or UPDATE.
        environment: a name that the policy data knows.
        cluster: this cluster's name.
        requester: user name, "" when unknown (``placet plan`` without ``--as``).
        now: aware UTC, read once.
        dry_run: whether the request is a dry run.
        bindings: what this environment demands of an approval: ``projection`` | ``images`` | ``model``.
        accept_declared: whether this environment takes unsigned facts.
        policy: digest of the policy data in force.
        keyring: verified.
        revocations: verified.
        ceiling: of autoscalers.
        model_seen: None when there is no record to ask.
        evidence: kinds that the policy data knows.
        calendar: change windows and freezes of the policy data.
        precedent: the newest decision in the record that approved the new object's content, for the same workload;
            None where there is none, or an approval behind it was taken back.
        withdrawn: that approval.
        recorded: whether there was a record to ask about these two.
        groups: of the requester, as the API server says; empty when unknown.
        promotions: where else the record shows this content admitted.
    """

    uid: str
    operation: str
    environment: str
    cluster: str
    requester: str
    now: datetime
    dry_run: bool
    bindings: frozenset[str]
    accept_declared: bool
    policy: Digest
    keyring: VerifiedKeyring
    revocations: Revocations
    ceiling: Ceiling
    model_seen: bool | None
    evidence: EvidenceKinds
    calendar: ChangeCalendar
    precedent: Precedent | None = None
    withdrawn: Withdrawn | None = None
    recorded: bool = False
    groups: tuple[str, ...] = ()
    promotions: Promotions = NO_PROMOTIONS


@dataclass(frozen=True, slots=True)
class Findings:
    """What steps 3 to 7 found out, and the document that step 8 judges.

    Attributes:
        workload: the new object.
        change: ``new`` | ``changed`` | ``unchanged`` | ``scaled`` | ``rollback`` | ``child``.
        scale: ``same`` | ``down`` | ``up`` | ``unknown``.
        evidence: verified facts and rejected attestations.
        assessment: the score.
        risk_inputs: digest of what the score rests on.
        approvals: verified and rejected approvals.
        document: the policy input.
        precedent: what the change rests on; None for one that is judged by what it brings itself.
        inherited: those of the rejected approvals that are not on the new object.
        adoptable: whether an update of what runs brings approvals that no standing decision in the record rests on.
    """

    workload: Workload
    change: str
    scale: str
    evidence: EvidenceFindings
    assessment: Assessment
    risk_inputs: Digest
    approvals: ApprovalFindings
    document: Mapping[str, Any]
    precedent: Precedent | None = None
    inherited: tuple[RejectedApproval, ...] = ()
    adoptable: bool = False


def examine(new: Workload, old: Workload | None, situation: Situation) -> Findings:
    """Steps 5 to 7 and the input of step 8, for objects that steps 3 and 4 have read."""
    # 5. Evidence
    evidence = check_evidence(new.evidence, keyring=situation.keyring, context=_evidence_context(new, situation))
    # 6. Score
    facts = collect_facts(
        new,
        environment=situation.environment,
        verified=evidence.facts,
        ceiling=situation.ceiling,
        model_seen=situation.model_seen,
    )
    assessment = assess(facts, accept_declared=situation.accept_declared)
    risk_inputs = digest_of_inputs(assessment)
    # 7. Approvals
    context = _approval_context(new, situation, level=assessment.level, risk_inputs=risk_inputs)
    own = check_approvals(new.approvals, keyring=situation.keyring, revocations=situation.revocations, context=context)
    gone = _taken_back(new, old, situation, context)
    approvals = ApprovalFindings(own.verified, own.rejected + gone)
    change, scale = classify_change(new, old)
    same = old is not None and _same_content(new, old)
    if same and (_unseen(approvals) or _dropped(new, old, approvals)):
        change = "changed"
    elif old is not None and situation.precedent is not None and change == "changed":
        carried = _carry(new, old, assessment, situation.precedent)
        if carried is not None:
            change, assessment = carried
            approvals = _without_other_revocations(approvals, situation.precedent, change)
    found = _findings(new, situation, assessment, risk_inputs, approvals, change=change, scale=scale, evidence=evidence)
    known = () if situation.precedent is None else situation.precedent.approvals
    fresh = {one.approval_id for one in own.verified} - {one.approval_id for one in known}
    return replace(found, inherited=gone, adoptable=change == "unchanged" and situation.recorded and bool(fresh))


def examine_child(child: Workload, precedent: Precedent, situation: Situation, *, scale: str) -> Findings:
    """What a controller made of content that was approved: the risk is that of then, and no approval is on it.

    Args:
        child: what was made, with the model that was approved.
        precedent: of the workload that it comes from; nothing behind it was taken back.
        situation: of the request.
        scale: see ``Findings``.
    """
    return _findings(
        child,
        replace(situation, precedent=precedent, model_seen=True),
        assess_recorded(precedent.factors, source=f"decision {precedent.decision_id}"),
        precedent.risk_inputs,
        ApprovalFindings((), ()),
        change="child",
        scale=scale,
        evidence=EvidenceFindings(VerifiedFacts.none(), ()),
    )


def _carry(new: Workload, old: Workload, now: Assessment, precedent: Precedent) -> tuple[str, Assessment] | None:
    """What kind of return to approved content an update is, and its risk; None where it is none that was approved."""
    same = _same_content(new, old)
    if same and (new.strategy != old.strategy or classify_change(new, old)[1] != "up"):
        return None
    if not precedent.covers(now.level):
        # Attestations of the content may have expired, or belong to the newer revision: what they showed still holds.
        source = f"decision {precedent.decision_id}"
        now = assess_beside(now, precedent.factors, source=source, same_change=same)
    return ("scaled" if same else "rollback", now) if precedent.covers(now.level) else None


def _same_content(new: Workload, old: Workload) -> bool:
    return new.projection.digest == old.projection.digest and new.model == old.model


def _without_other_revocations(approvals: ApprovalFindings, precedent: Precedent, change: str) -> ApprovalFindings:
    """Without revocations of what is being rolled back from: its approvals may still stand on the object."""
    if change != "rollback":
        return approvals
    own = {one.approval_id for one in precedent.approvals}
    kept = tuple(one for one in approvals.rejected if one.code not in REVOKED_CODES or one.approval_id in own)
    return ApprovalFindings(approvals.verified, kept)


def _findings(
    workload: Workload,
    situation: Situation,
    assessment: Assessment,
    risk_inputs: Digest,
    approvals: ApprovalFindings,
    *,
    change: str,
    scale: str,
    evidence: EvidenceFindings,
) -> Findings:
    return Findings(
        workload=workload,
        change=change,
        scale=scale,
        evidence=evidence,
        assessment=assessment,
        risk_inputs=risk_inputs,
        approvals=approvals,
        document=_document(
            workload, situation, assessment, risk_inputs, approvals, change=change, scale=scale, evidence=evidence
        ),
        precedent=situation.precedent if change in RESTING_ON_PRECEDENT else None,
    )


def _unseen(approvals: ApprovalFindings) -> bool:
    """Whether some were not looked at: a revoked one may be among them, and nothing is carried forward past it."""
    return any(item.code in UNSEEN_CODES for item in approvals.rejected)


def adopted(findings: Findings, situation: Situation) -> Findings:
    """The same update of what runs, to be judged by the approvals that it brings and by nothing that was there."""
    approvals = ApprovalFindings(
        findings.approvals.verified,
        tuple(item for item in findings.approvals.rejected if item not in findings.inherited),
    )
    document = {
        **findings.document,
        "change": {**findings.document["change"], "kind": "adopted"},
        "rejected": _rejected(approvals),
        "calendar": _calendar(situation, "adopted"),
    }
    return replace(findings, change="adopted", approvals=approvals, document=document)


def _dropped(new: Workload, old: Workload | None, approvals: ApprovalFindings) -> bool:
    """Whether an approval was taken off, or replaced by what does not count: a later revocation would miss it."""
    counted = {item.role for item in approvals.verified}
    before = {} if old is None else old.approvals
    return any(new.approvals.get(role) != raw and role not in counted for role, raw in before.items())


def classify_change(new: Workload, old: Workload | None) -> tuple[str, str]:
    """What an update changes, by content alone.

    Returns:
        ``new`` | ``changed`` | ``unchanged``, and ``same`` | ``down`` | ``up`` | ``unknown`` for the replica ceiling.
    """
    if old is None:
        return "new", "unknown"
    if new.replicas == old.replicas:
        scale = "same"
    elif new.replicas is None or old.replicas is None:
        scale = "unknown"
    else:
        scale = "down" if new.replicas < old.replicas else "up"
    same = new.projection.digest == old.projection.digest and new.model == old.model and new.strategy == old.strategy
    return ("unchanged" if same and scale in {"same", "down"} else "changed"), scale


def _evidence_context(workload: Workload, situation: Situation) -> EvidenceContext:
    return EvidenceContext(
        environment=situation.environment,
        cluster=situation.cluster,
        namespace=workload.namespace,
        projection=workload.projection.digest,
        images=workload.images,
        model=workload.model,
        now=situation.now,
        kinds=situation.evidence,
    )


def _approval_context(workload: Workload, situation: Situation, *, level: str, risk_inputs: Digest) -> ApprovalContext:
    return ApprovalContext(
        environment=situation.environment,
        cluster=situation.cluster,
        namespace=workload.namespace,
        workload=workload.resource,
        projection=workload.projection.digest,
        images=workload.images,
        model=workload.model,
        level=level,
        risk_inputs=risk_inputs,
        requester=situation.requester,
        now=situation.now,
        bindings=situation.bindings,
        policy=situation.policy,
    )


def _taken_back(
    new: Workload, old: Workload | None, situation: Situation, context: ApprovalContext
) -> tuple[RejectedApproval, ...]:
    """Approvals of this content that are not on the new object: the revoked and the unseen.

    Taking one away hides no revocation, whether it was on the old object or is known from the record.
    """
    if old is None or old.projection.digest != new.projection.digest:
        return ()
    gone = {role: raw for role, raw in old.approvals.items() if new.approvals.get(role) != raw}
    found = check_approvals(gone, keyring=situation.keyring, revocations=situation.revocations, context=context)
    kept = [item for item in found.rejected if item.code in REVOKED_CODES | UNSEEN_CODES]
    back = situation.withdrawn
    if back is not None and all(item.approval_id != back.approval_id for item in kept):
        kept.append(RejectedApproval(back.role, back.code, "taken back since it was admitted", back.approval_id))
    return tuple(kept)


def _document(
    workload: Workload,
    situation: Situation,
    assessment: Assessment,
    risk_inputs: Digest,
    approvals: ApprovalFindings,
    *,
    change: str,
    scale: str,
    evidence: EvidenceFindings,
) -> dict[str, Any]:
    model = workload.model
    return {
        "schema": INPUT_SCHEMA,
        "uid": situation.uid,
        "time_s": int(situation.now.timestamp()),
        "environment": situation.environment,
        "cluster": situation.cluster,
        "operation": situation.operation,
        "dry_run": situation.dry_run,
        "requester": situation.requester,
        "workload": {
            "group": workload.group,
            "version": workload.version,
            "kind": workload.kind,
            "namespace": workload.namespace,
            "name": workload.name,
        },
        "model": {"name": model.name, "version": model.version, "digest": str(model.digest or "")},
        "change": {"kind": change, "model_seen": bool(situation.model_seen), "scale": scale},
        "precedent": _precedent(situation.precedent if change in RESTING_ON_PRECEDENT else None),
        "projection": str(workload.projection.digest),
        "images": [
            {
                "container": image.container,
                "reference": image.reference,
                "name": image.name,
                "digest": str(image.digest or ""),
            }
            for image in workload.images
        ],
        "risk": {
            "score": assessment.score,
            "level": assessment.level,
            "factors": {item.factor: item.score for item in assessment.contributions},
            "inputs_digest": str(risk_inputs),
        },
        "thresholds": {role: situation.keyring.thresholds.get(role, 1) for role in ROLES},
        "approvals": [
            {
                "approval_id": item.approval_id,
                "role": item.role,
                # One person however the keyring spells them, as where approvals are counted in one role.
                "person": item.person.casefold(),
                "bindings": sorted(item.bindings),
                "max_risk": item.max_risk,
                "risk_inputs_match": item.risk_inputs_match,
                "expires_s": int(item.expires.timestamp()),
                "statement": str(item.statement),
            }
            for item in approvals.verified
        ],
        "rejected": _rejected(approvals),
        "requester_groups": sorted(set(situation.groups)),
        "replicas": _replicas(workload, situation.ceiling),
        "evidence": [render_statement(one) for one in evidence.statements],
        "evidence_rejected": sorted(
            ({"name": one.name, "kind": one.kind, "code": one.code} for one in evidence.rejected),
            key=lambda one: (one["name"], one["kind"], one["code"]),
        ),
        "history": situation.promotions.to_input(),
        "calendar": _calendar(situation, change),
    }


def render_statement(one: VerifiedStatement) -> dict[str, Any]:
    """A statement that counts, as the policies get it."""
    return {
        "kind": one.kind,
        "about": one.about,
        "subjects": [str(subject) for subject in one.subjects],
        "attester": one.attester,
        "issued_s": int(one.issued_at.timestamp()),
        "expires_s": 0 if one.expires is None else int(one.expires.timestamp()),
        "statement": str(one.statement),
        "claims": plain_claims(one.claims),
    }


def _calendar(situation: Situation, change: str) -> dict[str, list[str]]:
    where, now = situation.environment, situation.now
    return {
        "windows": situation.calendar.open_windows(environment=where, now=now),
        "freezes": situation.calendar.freezes_in_force(environment=where, change=change, now=now),
    }


def _replicas(workload: Workload, ceiling: Ceiling) -> dict[str, Any]:
    highest = replica_ceiling(workload, ceiling)
    return {"known": highest is not None, "ceiling": highest or 0}


def _rejected(approvals: ApprovalFindings) -> list[dict[str, str]]:
    return [{"role": item.role, "code": item.code, "approval_id": item.approval_id} for item in approvals.rejected]


def _precedent(precedent: Precedent | None) -> dict[str, Any]:
    if precedent is None:
        return {"decision_id": "", "time_s": 0, "level": ""}
    return {
        "decision_id": precedent.decision_id,
        "time_s": int(precedent.time.timestamp()),
        "level": precedent.level,
    }
