"""What break-glass does to one decision, after the policies have judged.

In this order: a review on the request is taken in; a token may let in what the policies refused; and a workload that
was let in before, and not reviewed in time, is refused whatever else speaks for it. ADR 31 says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from placet.approvals.rejections import Refusal, RejectionCode
from placet.breakglass.record import Glass, GlassEvent, read_envelope
from placet.breakglass.review import check_review
from placet.breakglass.state import GlassState, Passage, Reviewed, Use, render_reviewed, render_use
from placet.breakglass.verify import TokenContext, VerifiedToken, check_token, refuse_revoked
from placet.decision import Decision
from placet.history import History
from placet.judge import REVOKED_CODES, UNSEEN_CODES, Findings, Situation, classify_change
from placet.lineage import Lineage, Stray
from placet.model import Workload
from placet.origin import recall
from placet.policy.decision import Violation
from placet.precedent import is_part_of

RULE: Final = "gate.break_glass"
OVERDUE: Final = "review_overdue"
# Of a token or a review, and for whoever made them to mend; any other code of the rule is a fault of the gate.
TEAMS_CODES: Final = frozenset({*RejectionCode, "not_overridden", "content_taken_back", OVERDUE})
# What people's approvals and the risk's ceiling would have said. Not what was taken back, what is not identified, or
# what is not exactly this content: two persons in a hurry can't know better than whoever took an approval back.
OVERRIDDEN: Final = frozenset({"approvals.required", "approvals.separation", "approvals.binding", "risk.ceiling"})
_BROKEN: Final = REVOKED_CODES | UNSEEN_CODES | {RejectionCode.SIGNATURE_INVALID}
# What starts something: the rest is what runs already, in the number in which it runs.
_DEPLOYS: Final = frozenset({"new", "changed", "scaled", "rollback"})


def conclude(decision: Decision, *, glass: Glass, history: History, data: Mapping[str, Any]) -> Decision:
    """The decision with what break-glass does to it.

    Args:
        decision: judged by the policies, exempted, or fallen before.
        glass: what the record knows of break-glass.
        history: what the record knows of approvals.
        data: policy data.

    Raises:
        AuditError: the record can't be read; nothing can be decided then.
    """
    workload, findings, situation = decision.workload, decision.findings, decision.situation
    if workload is None or situation is None or decision.lineage is not None:
        return decision
    reviewed: Reviewed | None = None
    if workload.break_glass_review:
        decision, reviewed = _take_review(decision, workload, situation, glass)
    if not decision.allowed and workload.break_glass and findings is not None and decision.policy is not None:
        decision = _try_token(decision, workload, findings, situation, history=history, data=data["break_glass"])
    # What is exempted was not judged, and so nobody has said what kind of change it is.
    change = decision.change or classify_change(workload, decision.old)[0]
    if decision.allowed and change in _DEPLOYS:
        decision = _require_reviews(decision, workload, situation, glass.state(), reviewed)
    return decision


def find_child_passage(
    lineage: Lineage, found: Stray, workload: Workload, glass: Glass, situation: Situation
) -> Passage | None:
    """That a controller made something of what a token let in; None where it did not.

    The token's own time does not matter: what it let in runs, and its controller replaces what fails.

    Args:
        lineage: of the child, whose content is that of the parent.
        found: why approvals do not let it in. An approval that was taken back is not stood in for.
        workload: the child.
        glass: what the record knows of break-glass.
        situation: of the request.

    Raises:
        AuditError: the record can't be read.
    """
    if found.code != "parent_unapproved":
        return None
    state = glass.state()
    for ancestor in lineage.ancestors:
        for use in reversed(state.of(namespace=workload.namespace, kind=ancestor.kind, names=ancestor.names)):
            same = use.projection == ancestor.content and use.environment == situation.environment
            if same and is_part_of(lineage.model, use.model) and not _taken_back(use, situation):
                return Passage(use.token_id, "parent", use.due)
    return None


def _taken_back(use: Use, situation: Situation) -> bool:
    """Whether the token was revoked since, or one of its keys is in wrong hands."""
    if refuse_revoked(use.token_id, use.environment, situation.keyring, situation.revocations) is not None:
        return True
    held = (situation.keyring.find_key(one.key) for one in use.signers)
    return any(one is not None and one[1].revocation == "compromised" for one in held)


def _take_review(
    decision: Decision, workload: Workload, situation: Situation, glass: Glass
) -> tuple[Decision, Reviewed | None]:
    """Whatever becomes of the request, a review that counts is kept."""
    waiting = glass.state().open_uses()
    if not waiting:
        return decision, None
    found = check_review(
        workload.break_glass_review,
        uses=glass.opened(waiting),
        keyring=situation.keyring,
        cluster=situation.cluster,
        environment=situation.environment,
        now=situation.now,
    )
    if isinstance(found, Refusal):
        sentence = f"the review of break-glass on it does not count: {found.sentence}"
        return replace(decision, notes=(*decision.notes, _remark(found.code, sentence))), None
    envelope = read_envelope(workload.break_glass_review)
    body = render_reviewed(
        found,
        cluster=situation.cluster,
        moment=situation.now,
        decision_id=decision.decision_id,
        envelope=envelope,
    )
    statement = found.statement
    reviewed = Reviewed(statement.review_id, frozenset(statement.tokens.values()), statement.issued_at)
    return replace(decision, events=(*decision.events, _event(body, envelope, situation))), reviewed


def _try_token(
    decision: Decision,
    workload: Workload,
    findings: Findings,
    situation: Situation,
    *,
    history: History,
    data: Mapping[str, Any],
) -> Decision:
    token = check_token(
        workload.break_glass,
        keyring=situation.keyring,
        revocations=situation.revocations,
        context=TokenContext(
            environment=situation.environment,
            cluster=situation.cluster,
            workload=workload,
            level=findings.assessment.level,
            requester=situation.requester,
            now=situation.now,
            longest=timedelta(minutes=data["max_minutes"]),
        ),
    )
    if not isinstance(token, VerifiedToken):
        return _with_refusal(decision, token.refusal.code, token.refusal.sentence)
    if (stopped := _find_stop(decision, workload, findings, situation, history)) is not None:
        return _with_refusal(decision, *stopped)
    return _let_in(decision, workload, situation, token, timedelta(hours=data["review_hours"]))


def _find_stop(
    decision: Decision, workload: Workload, findings: Findings, situation: Situation, history: History
) -> tuple[str, str] | None:
    """What no token stands in for: code and sentence."""
    violations = () if decision.policy is None else decision.policy.violations
    if others := sorted({item.rule for item in violations} - OVERRIDDEN):
        return "not_overridden", f"a break-glass token does not stand in for {', '.join(others)}"
    if broken := [item for item in findings.approvals.rejected if item.code in _BROKEN]:
        sentence = f"a break-glass token does not stand in for an approval that fails with {broken[0].code}"
        return "not_overridden", sentence
    # By the record, also where nothing on the object shows it: of a new object nobody else has asked.
    past = recall(workload, (workload.name, decision.request.name), history, situation)
    if past.withdrawn is not None:
        sentence = f"its content was approved before, and the {past.withdrawn.role} approval was taken back since"
        return "content_taken_back", sentence
    return None


def _let_in(
    decision: Decision, workload: Workload, situation: Situation, token: VerifiedToken, review_within: timedelta
) -> Decision:
    due = situation.now + review_within
    envelope = read_envelope(workload.break_glass)
    overridden = () if decision.policy is None else decision.policy.violations
    body = render_use(
        token,
        workload,
        moment=situation.now,
        due=due,
        decision_id=decision.decision_id,
        requester=situation.requester,
        overridden={f"{item.rule}/{item.code}" for item in overridden},
        envelope=envelope,
    )
    warning = _finding("used", "warn", f"let in without approvals; a review is due by {due:%Y-%m-%d %H:%M} UTC")
    return replace(
        decision,
        allowed=True,
        violations=(),
        warnings=(*decision.warnings, warning),
        notes=(*decision.notes, *(replace(item, mode="audit") for item in decision.violations)),
        passage=Passage(token.statement.token_id, "token", due),
        events=(*decision.events, _event(body, envelope, situation)),
    )


def _event(body: Mapping[str, Any], envelope: bytes, situation: Situation) -> GlassEvent:
    return GlassEvent(body, envelope, named=(situation.requester, *situation.keyring.names))


def _require_reviews(
    decision: Decision, workload: Workload, situation: Situation, state: GlassState, reviewed: Reviewed | None
) -> Decision:
    names = {workload.name, decision.request.name}
    waiting = [
        use
        for use in state.open_of(namespace=workload.namespace, kind=workload.kind, names=names)
        if use.due <= situation.now and (reviewed is None or not reviewed.covers(use))
    ]
    if not waiting:
        return decision
    first = min(waiting, key=lambda use: use.due)
    finding = _finding(
        OVERDUE,
        decision.mode,
        f"it was let in by break-glass token {first.token_id}, whose review was due by {first.due:%Y-%m-%d %H:%M} UTC",
        "Have it reviewed with `placet break-glass review` by somebody who may and was no party to it, and apply it "
        "with the review on it.",
    )
    if decision.mode == "enforce":
        unused = tuple(event for event in decision.events if event.body.get("event") != "used")
        return replace(
            decision, allowed=False, violations=(finding,), warnings=(), passage=None, tolerated=(), events=unused
        )
    decision = replace(decision, tolerated=(*decision.tolerated, finding))
    if decision.mode == "warn":
        return replace(decision, warnings=(*decision.warnings, finding))
    return replace(decision, notes=(*decision.notes, finding))


def _with_refusal(decision: Decision, code: str, sentence: str) -> Decision:
    """Still refused; and the token on it, that somebody counts on, is spoken of."""
    found = _finding(str(code), "enforce", sentence, "docs/break-glass.md says what a token can do.")
    return replace(decision, violations=(*decision.violations, found))


def _remark(code: str, sentence: str) -> Violation:
    return _finding(str(code), "audit", sentence)


def _finding(code: str, mode: str, sentence: str, hint: str = "") -> Violation:
    severity = "critical" if mode == "enforce" else "info"
    return Violation(rule=RULE, code=code, mode=mode, severity=severity, details={"sentence": sentence, "hint": hint})
