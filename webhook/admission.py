"""From a request body to the body of the answer (Kubernetes API: admission.k8s.io/v1)."""

from __future__ import annotations

import logging
from typing import Any, Final

from placet.decide import Deadline, Gate
from placet.decision import Decision
from placet.messages import render_message, render_warnings
from placet.review import parse_review

_LOG: Final = logging.getLogger("placet.webhook")
INTERNAL_MESSAGE: Final = (
    "placet could not decide, so it refuses: internal error (gate.internal/internal_error). "
    "Nothing is wrong with the workload that is known; tell the platform team, whose log names this request's uid."
)


def review(gate: Gate, raw: bytes, *, environment: str, deadline: Deadline) -> dict[str, Any]:
    """The AdmissionReview that answers.

    Raises:
        ReviewError: the body can't be answered at all (HTTP 4xx).
    """
    request = parse_review(raw)
    try:
        decision = gate.decide(request, environment=environment, deadline=deadline)
        if decision.recorded is None and not request.dry_run:
            _LOG.error(
                "denied without a record uid=%s violations=%s", request.uid, [v.code for v in decision.violations]
            )
        return render_review(decision)
    except Exception:  # noqa: BLE001 - see the next line
        # The one catch: whatever is left denies, and the trace goes to the log, never to the caller.
        _LOG.exception("undecided uid=%s", request.uid)
        return _envelope({"uid": request.uid, "allowed": False, "status": _status(INTERNAL_MESSAGE, [])})


def render_review(decision: Decision) -> dict[str, Any]:
    """The answer to one decision."""
    response: dict[str, Any] = {
        "uid": decision.request.uid,
        "allowed": decision.allowed,
        "auditAnnotations": _annotations(decision),
    }
    if warnings := render_warnings(decision):
        response["warnings"] = list(warnings)
    if not decision.allowed:
        response["status"] = _status(
            render_message(decision),
            [
                {"reason": f"{item.rule}/{item.code}", "message": item.code, "field": item.rule}
                for item in decision.violations
            ],
        )
    return _envelope(response)


def _envelope(response: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def _status(message: str, causes: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "status": "Failure",
        "message": message,
        "reason": "Forbidden",
        "code": 403,
        "details": {"causes": causes},
    }


def _annotations(decision: Decision) -> dict[str, str]:
    """For the API server's own audit log, which others administer: keys have no slash."""
    answer = {"decision-id": decision.decision_id}
    if decision.recorded is not None:
        answer["log-index"] = str(decision.recorded.index)
        answer["leaf-hash"] = str(decision.recorded.leaf_hash)
        answer["checkpoint"] = decision.recorded.checkpoint
        answer["policy-revision"] = str(decision.recorded.leaf["policy"]["revision"])
    if decision.findings is not None:
        assessment = decision.findings.assessment
        answer["risk"] = f"{assessment.shown} {assessment.level}"
    return answer
