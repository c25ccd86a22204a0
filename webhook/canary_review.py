"""The answer to a canary: always a refusal, with the policies' verdict sealed into it (ADR 38)."""

from __future__ import annotations

import dataclasses
from typing import Final

from placet.canary import CanaryKey
from placet.decision import Decision
from placet.policy.decision import Violation

ALWAYS_REFUSED: Final = Violation(
    rule="gate.canary",
    code="canary",
    mode="enforce",
    severity="info",
    details={
        "sentence": "this is the gate's own canary, which is refused whatever the policies say",
        "hint": "Nobody has to do anything about it.",
    },
)


def refuse_canary(decision: Decision, key: CanaryKey, nonce: str) -> tuple[Decision, dict[str, str]]:
    """The decision as a refusal, and the cause that proves it.

    Args:
        decision: of the policies, on a dry run that a gate of this key sent.
        key: of the gates of the record.
        nonce: of the canary.
    """
    if not decision.allowed:
        verdict = "refused"
    else:
        verdict = "admitted" if decision.mode == "enforce" else "not_enforced"
        decision = dataclasses.replace(decision, allowed=False, violations=(*decision.violations, ALWAYS_REFUSED))
    cause = key.cause(
        environment=decision.environment, namespace=decision.request.namespace, nonce=nonce, verdict=verdict
    )
    return decision, cause
