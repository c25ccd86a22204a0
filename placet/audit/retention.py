"""How long what is in the record is kept: classes, their terms, and which leaf and which attachment is of which.

Governance asks for three classes. A decision holds approvals, so its leaf is an approval record; what was judged,
and the content of the workload, are of the model's artifacts; what the log says about itself is its audit log. What is
of no class here is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from placet.audit.record import (
    CONFIGURATION,
    DECISION,
    EXEMPTION,
    HEARTBEAT,
    KEYRING,
    OUTAGE,
    POLICY,
    SCAN,
    SHADOW,
)

MIN_DAYS: Final = 365
"""A gate remembers where contents are kept for as long as it runs; nothing that it may still name is pruned."""
MAX_DAYS: Final = 36_525
MODEL_ARTIFACTS_DAYS: Final = 2557  # 7 years, leap days and all
APPROVAL_RECORDS_DAYS: Final = 3653  # 10 years
AUDIT_LOGS_DAYS: Final = 2557


class RetentionClass(Enum):
    """What is kept for how long; the value is the word in leaves and settings."""

    MODEL_ARTIFACTS = "model_artifacts"
    APPROVAL_RECORDS = "approval_records"
    AUDIT_LOGS = "audit_logs"


@dataclass(frozen=True, slots=True)
class Retention:
    """The terms in force, days from the time that a leaf says.

    Attributes:
        model_artifacts_days: of what was judged, beside decisions.
        approval_records_days: of decisions, and of what was signed.
        audit_logs_days: of what the log says about itself, and of keyrings, policies and configurations that no
            decision needs any more.
    """

    model_artifacts_days: int = MODEL_ARTIFACTS_DAYS
    approval_records_days: int = APPROVAL_RECORDS_DAYS
    audit_logs_days: int = AUDIT_LOGS_DAYS

    def cutoffs(self, as_of: datetime) -> dict[RetentionClass, datetime]:
        """The time before which the term of a class has run out at the moment ``as_of``, aware UTC."""
        return {one: as_of - timedelta(days=getattr(self, f"{one.value}_days")) for one in RetentionClass}


# Leaves that are not here are kept for good: revocations have no end, break-glass uses are owed a review that must be
# found again, and holds, prunes and given-up checkpoints explain the record itself.
LEAVES: Final[Mapping[str, RetentionClass]] = {
    DECISION: RetentionClass.APPROVAL_RECORDS,
    EXEMPTION: RetentionClass.APPROVAL_RECORDS,
    HEARTBEAT: RetentionClass.AUDIT_LOGS,
    OUTAGE: RetentionClass.AUDIT_LOGS,
    SCAN: RetentionClass.AUDIT_LOGS,
    SHADOW: RetentionClass.AUDIT_LOGS,
    KEYRING: RetentionClass.AUDIT_LOGS,
    POLICY: RetentionClass.AUDIT_LOGS,
    CONFIGURATION: RetentionClass.AUDIT_LOGS,
}
# Decisions are judged again by these: they stay as long as one that rests on them does.
FOUNDATIONS: Final = frozenset({KEYRING, POLICY, CONFIGURATION})
# Attachments that go before their leaf does. Those of other leaves go with it.
ATTACHMENTS: Final[Mapping[tuple[str, str], RetentionClass]] = {
    (DECISION, "input"): RetentionClass.MODEL_ARTIFACTS,
    (DECISION, "content"): RetentionClass.MODEL_ARTIFACTS,
    (DECISION, "signed"): RetentionClass.APPROVAL_RECORDS,
    (DECISION, "exemption"): RetentionClass.APPROVAL_RECORDS,
}
WITH_THEIR_LEAF: Final = frozenset(
    {
        (KEYRING, "envelope"),
        (POLICY, "manifest"),
        (POLICY, "wasm"),
        (POLICY, "sources"),
        (POLICY, "package"),
        (EXEMPTION, "envelope"),
        (SCAN, "report"),
        (CONFIGURATION, "settings"),
        (CONFIGURATION, "data"),
    }
)


def is_classified(leaf_type: str, attachment: str) -> bool:
    """Whether it is known how long an attachment of such a leaf is kept."""
    return (leaf_type, attachment) in ATTACHMENTS or (leaf_type, attachment) in WITH_THEIR_LEAF
