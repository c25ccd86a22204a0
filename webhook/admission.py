"""From a request body to the body of the answer (Kubernetes API: admission.k8s.io/v1)."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

from placet.canary import CanaryKey
from placet.decide import Deadline, Gate
from placet.decision import Decision
from placet.messages import render_message, render_warnings
from placet.review import AdmissionRequest, parse_review
from webhook import logs
from webhook.canary_review import refuse_canary

INTERNAL_CODE: Final = "internal_error"
INTERNAL_MESSAGE: Final = (
    "placet could not decide, so it refuses: internal error (gate.internal/internal_error). "
    "Nothing is wrong with the workload that is known; tell the platform team, whose log names this request's uid."
)


class Observer(Protocol):
    """Hears of every decision, after its answer stands and whatever it was."""

    def decided(self, decision: Decision, *, seconds: float) -> None:
        """A review was decided, in so many seconds."""

    def undecided(self, code: str) -> None:
        """A review was refused for a fault of ours."""


class LogOnly:
    """Counts nothing."""

    def decided(self, decision: Decision, *, seconds: float) -> None:
        """See :class:`Observer`."""

    def undecided(self, code: str) -> None:
        """See :class:`Observer`."""


_NOBODY: Final = LogOnly()


def review(
    gate: Gate,
    raw: bytes,
    *,
    environment: str,
    deadline: Deadline,
    caller_authenticated: bool = False,
    observer: Observer = _NOBODY,
    canary: CanaryKey | None = None,
) -> dict[str, Any]:
    """The AdmissionReview that answers.

    Args:
        gate: decides.
        raw: the body.
        environment: from the path, unverified text.
        deadline: when the answer must be there.
        caller_authenticated: whether the caller proved to be the API server.
        observer: hears of the decision, unless it is that of a canary.
        canary: knows the canaries of this record's gates; None where nobody sends any.

    Raises:
        ReviewError: the body can't be answered at all (HTTP 4xx).
    """
    started_s = time.perf_counter()
    request = parse_review(raw)
    try:
        decision = gate.decide(
            request, environment=environment, deadline=deadline, caller_authenticated=caller_authenticated
        )
        if canary is not None and (nonce := canary.find_nonce(request)):
            return render_canary_review(decision, canary, nonce)
        answer = render_review(decision)
    except Exception:  # noqa: BLE001 - see the next line
        # The one catch: whatever is left denies, and the trace goes to the log, never to the caller.
        _tell_undecided(request, environment, observer)
        return _envelope({"uid": request.uid, "allowed": False, "status": _status(INTERNAL_MESSAGE, [])})
    _tell(decision, observer, seconds=time.perf_counter() - started_s)
    return answer


def _tell(decision: Decision, observer: Observer, *, seconds: float) -> None:
    """Log and count. A fault in that must not turn an allow that is in the record into a refusal."""
    try:
        logs.say_decision(decision, seconds=seconds)
        observer.decided(decision, seconds=seconds)
    except Exception:  # noqa: BLE001 - as above
        logs.say(logging.ERROR, "a decision could not be counted", exc_info=True, uid=decision.request.uid)


def _tell_undecided(request: AdmissionRequest, environment: str, observer: Observer) -> None:
    logs.say(
        logging.ERROR,
        "denied without a decision",
        exc_info=True,
        uid=logs.told(request.uid),
        environment=logs.told(environment),
        decision="deny",
        operation=request.operation,
        kind=logs.told(request.kind),
        namespace=logs.told(request.namespace),
        name=logs.told(request.name),
        user=logs.told(request.username),
        codes=[f"gate.internal/{INTERNAL_CODE}"],
        dry_run=request.dry_run,
        request_digest=str(request.digest),
    )
    observer.undecided(INTERNAL_CODE)


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


def render_canary_review(decision: Decision, key: CanaryKey, nonce: str) -> dict[str, Any]:
    """The answer to a canary: a refusal whatever the policies say, which proves that it is ours."""
    refused, cause = refuse_canary(decision, key, nonce)
    answer = render_review(refused)
    answer["response"]["status"]["details"]["causes"].append(cause)
    return answer


def _break_glass(decision: Decision) -> Mapping[str, str] | None:
    """That the decision rests on break-glass, also where the record gives the answer to a request sent again."""
    if decision.recorded is not None:
        found: Mapping[str, str] | None = decision.recorded.leaf.get("break_glass")
        return found
    return None if decision.passage is None else decision.passage.to_json()


def _would_deny(decision: Decision) -> list[str]:
    """Rule and code of what would have refused it under ``enforce``."""
    if decision.recorded is not None:
        return [f"{item['rule']}/{item['code']}" for item in decision.recorded.leaf.get("would_deny", ())]
    return [f"{item.rule}/{item.code}" for item in decision.tolerated]


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
    if decision.spooled is not None:
        answer["spooled"] = str(decision.spooled.leaf["spooled"]["at"])
    if decision.exemption is not None:
        answer["exemption"] = f"{decision.exemption.exemption_id} until {decision.exemption.expires:%Y-%m-%dT%H:%M:%SZ}"
    if (flag := _break_glass(decision)) is not None:
        answer["break-glass"] = f"{flag['token_id']} review-due={flag['review_due']}"
    if would := _would_deny(decision):
        answer["would-deny"] = " ".join(would)
    if decision.findings is not None:
        assessment = decision.findings.assessment
        answer["risk"] = f"{assessment.shown} {assessment.level}"
    return answer
