"""Steps 3 to 8 of a decision: pure, the same for the webhook and for ``placet plan``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.rejections import RejectionCode
from placet.approvals.revocations import Revocations
from placet.approvals.verify import ApprovalContext, ApprovalFindings, check_approvals
from placet.canonical import Digest
from placet.cluster import Ceiling
from placet.evidence.verify import EvidenceContext, EvidenceFindings, check_evidence
from placet.facts import collect_facts, digest_of_inputs
from placet.model import ROLES, Workload
from scorer import Assessment, assess

INPUT_SCHEMA: Final = "placet.dev/policy-input/v1"
REVOKED_CODES: Final = frozenset({RejectionCode.REVOKED, RejectionCode.KEY_COMPROMISED})
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


@dataclass(frozen=True, slots=True)
class Findings:
    """What steps 3 to 7 found out, and the document that step 8 judges.

    Attributes:
        workload: the new object.
        change: ``new`` | ``changed`` | ``unchanged``.
        scale: ``same`` | ``down`` | ``up`` | ``unknown``.
        evidence: verified facts and rejected attestations.
        assessment: the score.
        risk_inputs: digest of what the score rests on.
        approvals: verified and rejected approvals.
        document: the policy input.
    """

    workload: Workload
    change: str
    scale: str
    evidence: EvidenceFindings
    assessment: Assessment
    risk_inputs: Digest
    approvals: ApprovalFindings
    document: Mapping[str, Any]


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
    approvals = _approvals(new, old, situation, context)
    change, scale = classify_change(new, old)
    if change == "unchanged" and (_unseen(approvals) or _dropped(new, old, approvals)):
        change = "changed"
    return Findings(
        workload=new,
        change=change,
        scale=scale,
        evidence=evidence,
        assessment=assessment,
        risk_inputs=risk_inputs,
        approvals=approvals,
        document=_document(new, situation, assessment, risk_inputs, approvals, change=change, scale=scale),
    )


def _unseen(approvals: ApprovalFindings) -> bool:
    """Whether some were not looked at: a revoked one may be among them, and nothing is carried forward past it."""
    return any(item.code in UNSEEN_CODES for item in approvals.rejected)


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


def _approvals(new: Workload, old: Workload | None, situation: Situation, context: ApprovalContext) -> ApprovalFindings:
    """Approvals of the new object; of the old one, the revoked and the unseen: taking one away hides no revocation."""

    def check(raw: Mapping[str, str]) -> ApprovalFindings:
        return check_approvals(raw, keyring=situation.keyring, revocations=situation.revocations, context=context)

    found = check(new.approvals)
    if old is None or old.projection.digest != new.projection.digest:
        return found
    gone = {role: raw for role, raw in old.approvals.items() if new.approvals.get(role) != raw}
    kept = tuple(item for item in check(gone).rejected if item.code in REVOKED_CODES | UNSEEN_CODES)
    return ApprovalFindings(found.verified, found.rejected + kept)


def _document(
    workload: Workload,
    situation: Situation,
    assessment: Assessment,
    risk_inputs: Digest,
    approvals: ApprovalFindings,
    *,
    change: str,
    scale: str,
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
        "rejected": [
            {"role": item.role, "code": item.code, "approval_id": item.approval_id} for item in approvals.rejected
        ],
    }
