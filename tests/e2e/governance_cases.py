"""What a workload may lack while it has everything else, where signed evidence is what satisfies the rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.e2e.governance_map import EVIDENCE


@dataclass(frozen=True)
class Case:
    """Something that a workload lacks while it has everything else.

    Attributes:
        rule: that refuses it.
        says: words of the refusal, which tell this lack from others of the same rule.
        without: kinds of evidence that are not there.
        worse: what was signed instead: arguments of ``placet evidence``.
        days: how long ago that was.
        minutes: the same.
        items: of the production checklist that are not met.
        environment: where it goes.
    """

    rule: str
    says: str
    without: tuple[str, ...] = ()
    worse: tuple[str, ...] = ()
    days: int = 0
    minutes: int = 0
    items: tuple[str, ...] = ()
    environment: str = "production"

    @property
    def mended(self) -> str:
        """The kind of evidence that is made to have it let in."""
        return self.without[0] if self.without else self.kind

    @property
    def kind(self) -> str:
        """What was signed that is not good enough."""
        made = {"--fact": "coverage", "--rollback-minutes": "rollback_drill"}
        return self.worse[1] if self.worse[0] == "make" else made[self.worse[1]]


def _with(kind: str, **claims: Any) -> tuple[str, ...]:
    """The command of a kind with other values of some claims."""
    command = list(EVIDENCE[kind])
    for name, value in claims.items():
        (at,) = [place for place, text in enumerate(command) if text.startswith(f"{name}=")]
        command[at] = f"{name}={value}"
    return tuple(command)


def _less(kind: str, claim: str) -> tuple[str, ...]:
    """The command of a kind without one claim."""
    command = list(EVIDENCE[kind])
    (at,) = [place for place, text in enumerate(command) if text.startswith(f"{claim}=")]
    return (*command[: at - 1], *command[at + 1 :])


# What evidence satisfies. Approvals, promotion, the calendar, who rolls back, replicas and the risk are cases of their
# own in test_governance_map.py: a person, the record or the clock satisfies them.
CASES: Final[Mapping[str, Case]] = {
    "mandatory check: security scan": Case(
        "checks.security_scan",
        "no scan that counts",
        without=("vulnerability_scan",),
        items=("security_scan",),
        environment="development",
    ),
    "mandatory check: performance validation": Case(
        "checks.performance_validation",
        "no performance that counts",
        without=("performance",),
        items=("performance",),
        environment="lab",
    ),
    "mandatory check: documentation review": Case(
        "checks.documentation_review",
        "no documentation that counts",
        without=("documentation",),
        items=("documentation",),
        environment="lab",
    ),
    "mandatory check: compliance assessment": Case(
        "checks.compliance_assessment",
        "no compliance_assessment that counts",
        without=("compliance_assessment",),
    ),
    "freshness: an evaluation of last year": Case(
        "checks.performance_validation",
        "not accepted: too_old",
        days=91,
        environment="lab",
        worse=(
            "make",
            "performance",
            "--claim",
            "latency_p95_ms=850",
            "--claim",
            "accuracy_permille=910",
            "--days",
            "365",
        ),
        items=("performance",),
    ),
    "compliance assessment failed": Case(
        "checks.compliance_assessment",
        "the assessment by eu-ai-act failed",
        worse=_with("compliance_assessment", result="failed"),
    ),
    "quality gate: latency": Case(
        "quality.performance",
        "the latency is 2001 ms, the limit is 2000 ms",
        worse=_with("performance", latency_p95_ms=2001),
        items=("performance",),
    ),
    "quality gate: latency promised": Case(
        "quality.performance",
        "the latency is 1001 ms, 1000 ms are promised",
        worse=_with("performance", latency_p95_ms=1001),
        items=("performance",),
    ),
    "quality gate: accuracy": Case(
        "quality.performance",
        "the accuracy is 799 thousandths",
        worse=_with("performance", accuracy_permille=799),
        items=("performance",),
    ),
    "quality gate: critical vulnerabilities": Case(
        "quality.vulnerabilities",
        "counts 1 critical findings",
        items=("security_scan",),
        worse=("make", "vulnerability_scan", "--from", "scan-critical.json"),
    ),
    "quality gate: documents": Case(
        "quality.documents",
        "the documentation lacks api_documentation",
        items=("documentation",),
        worse=("make", "documentation", "--from", "documents-short.json"),
    ),
    "quality gate: coverage": Case(
        "quality.coverage",
        "799 of 1000 lines",
        items=("coverage",),
        worse=("attest", "--fact", "coverage", "--from", "coverage-low.json"),
    ),
    "coverage not attested": Case(
        "quality.coverage",
        "no coverage that counts",
        without=("coverage",),
        items=("coverage",),
    ),
    "change ticket": Case(
        "change.ticket",
        "no change_ticket that counts",
        without=("change_ticket",),
        items=("change",),
    ),
    "change ticket of another form": Case(
        "change.ticket",
        "OPS-7 is no change ticket",
        worse=_with("change_ticket", ticket="OPS-7"),
        items=("change",),
    ),
    "change ticket not approved": Case(
        "change.ticket",
        "CHG-0020417 is draft",
        worse=_with("change_ticket", state="draft"),
        items=("change",),
    ),
    "rollback drill": Case(
        "rollback.authority",
        "no drill of the rollback",
        without=("rollback_drill",),
        items=("rollback",),
    ),
    "rollback drill too slow": Case(
        "rollback.authority",
        "took 16 minutes, the limit is 15",
        worse=("attest", "--rollback-minutes", "16"),
        items=("rollback",),
    ),
    "rollback drill too long ago": Case(
        "rollback.authority",
        "not accepted: too_old",
        worse=EVIDENCE["rollback_drill"],
        days=91,
        items=("rollback",),
    ),
    "data lineage": Case("lineage.declared", "no lineage that counts", without=("lineage",), items=("lineage",)),
    "data lineage complete": Case(
        "lineage.declared",
        "is not complete",
        worse=_with("lineage", complete="false"),
        items=("lineage",),
    ),
    "data lineage: licences": Case(
        "lineage.declared",
        "the licence CC-BY-NC-4.0",
        worse=_with("lineage", licences="CC-BY-NC-4.0"),
        items=("lineage",),
    ),
    "privacy controls by classification: impact assessment": Case(
        "privacy.assessed",
        "shows no impact assessment of data protection (dpia)",
        worse=_with("privacy_assessment", dpia=""),
    ),
    "privacy controls by classification: masking": Case(
        "privacy.assessed",
        "shows no masking of personal data",
        worse=_with("privacy_assessment", classification="restricted"),
    ),
    "residency": Case(
        "privacy.residency",
        "the cluster stands in eu, the data may be in us",
        worse=_with("privacy_assessment", regions="us"),
    ),
    "retention": Case("retention.declared", "no retention that counts", without=("retention",), items=("retention",)),
    "retention of artifacts": Case(
        "retention.declared",
        "model_artifacts_days is 2556",
        worse=_with("retention", model_artifacts_days=2556),
        items=("retention",),
    ),
    "retention of approvals": Case(
        "retention.declared",
        "approval_records_days is 3652",
        worse=_with("retention", approval_records_days=3652),
        items=("retention",),
    ),
    "retention of audit logs": Case(
        "retention.declared",
        "audit_logs_days is 2556",
        worse=_with("retention", audit_logs_days=2556),
        items=("retention",),
    ),
    "service level objectives": Case("slo.declared", "no slo that counts", without=("slo",), items=("performance",)),
    "objective: latency": Case(
        "slo.declared",
        "latency_p95_ms is 2001",
        worse=_with("slo", latency_p95_ms=2001),
        items=("performance",),
    ),
    "objective: availability": Case(
        "slo.declared",
        "availability_ppm is 989999",
        worse=_with("slo", availability_ppm=989999),
        items=("performance",),
    ),
    "objective: error rate": Case(
        "slo.declared",
        "error_rate_ppm is 10001",
        worse=_with("slo", error_rate_ppm=10001),
        items=("performance",),
    ),
    "monitoring and alerting": Case(
        "monitoring.configured",
        "no monitoring that counts",
        without=("monitoring",),
        items=("monitoring", "alerting"),
    ),
    "alert rules": Case(
        "monitoring.configured",
        "fewer alert rules",
        worse=_with("monitoring", alert_rules=0),
        items=("alerting",),
    ),
    "monitors": Case(
        "monitoring.configured",
        "fewer monitors are attested than the 2",
        items=("monitoring",),
        worse=("make", "monitoring", "--claim", "monitors=llama-pods", "--claim", "alert_rules=4"),
    ),
    "on call and incident plan": Case(
        "incident.plan",
        "no incident_plan that counts",
        without=("incident_plan",),
        items=("incident_plan",),
    ),
    "freshness: incident plan": Case(
        "incident.plan",
        "more than 180 days ago",
        days=181,
        items=("incident_plan",),
        worse=(*EVIDENCE["incident_plan"], "--days", "365"),
    ),
    "state of operations": Case(
        "incident.clear",
        "no operations_status that counts",
        without=("operations_status",),
    ),
    "open incident": Case(
        "incident.clear",
        "the model has open incidents: 1",
        worse=_with("operations_status", open_incidents=1),
    ),
    "burnt error budget": Case(
        "incident.clear",
        "0 thousandths of the error budget",
        worse=_with("operations_status", error_budget_left_permille=0),
    ),
    "freshness: state of operations": Case(
        "incident.clear",
        "older than 60 minutes",
        worse=EVIDENCE["operations_status"],
        minutes=61,
    ),
}
