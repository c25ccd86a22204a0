"""The map of the governance framework: each part, the rule that holds it, and what satisfies that rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_DIGEST: Final = f"sha256:{'5e' * 32}"

# Kind of evidence -> what is typed after `placet evidence` to make what a good model has.
EVIDENCE: Final[Mapping[str, tuple[str, ...]]] = {
    "vulnerability_scan": ("make", "vulnerability_scan", "--from", "scan.json"),
    "performance": ("make", "performance", "--claim", "latency_p95_ms=850", "--claim", "accuracy_permille=910"),
    "documentation": ("make", "documentation", "--from", "documents.json"),
    "compliance_assessment": (
        "make", "compliance_assessment", "--claim", "framework=eu-ai-act", "--claim", "result=passed",
    ),
    "coverage": ("attest", "--fact", "coverage", "--from", "coverage.json"),
    "rollback_drill": ("attest", "--rollback-minutes", "3"),
    "model_bom": ("attest", "--parameters", "70600000000", "--data-classification", "confidential"),
    "deployment_plan": ("attest", "--strategy", "rolling"),
    "lineage": (
        "make", "lineage", "--claim", f"datasets={_DIGEST}", "--claim", "licences=CC-BY-4.0",
        "--claim", "complete=true",
    ),
    "privacy_assessment": (
        "make", "privacy_assessment", "--claim", "classification=confidential", "--claim", f"dpia={_DIGEST}",
        "--claim", "masking=false", "--claim", "regions=eu",
    ),
    "retention": (
        "make", "retention", "--claim", "model_artifacts_days=2557", "--claim", "approval_records_days=3653",
        "--claim", "audit_logs_days=2557",
    ),
    "slo": (
        "make", "slo", "--claim", "latency_p95_ms=1000", "--claim", "availability_ppm=999000",
        "--claim", "error_rate_ppm=1000",
    ),
    "monitoring": (
        "make", "monitoring", "--claim", "monitors=llama-pods", "--claim", "monitors=llama-gpus",
        "--claim", "alert_rules=4",
    ),
    "incident_plan": ("make", "incident_plan", "--claim", "on_call=ml-serving", "--claim", f"plan={_DIGEST}"),
    "operations_status": (
        "make", "operations_status", "--claim", "open_incidents=0", "--claim", "error_budget_left_permille=640",
    ),
    "change_ticket": ("make", "change_ticket", "--claim", "ticket=CHG-0020417", "--claim", "state=approved"),
}  # fmt: skip

# What a person, the record or the clock satisfies: test_governance_map.py has a test for each, of this name.
OTHERS: Final[Mapping[str, tuple[str, str]]] = {
    "approval gates": ("approvals.required", "test_an_approval_gate_opens_with_the_command_that_the_refusal_prints"),
    "freshness of approvals": ("approvals.required", "test_an_approval_of_last_quarter_no_longer_counts"),
    "approved up to a risk": ("approvals.required", "test_an_approver_agrees_to_the_level"),
    "binding of approvals": ("approvals.binding", "test_an_approval_is_bound_to_what_it_approves"),
    "approvals taken back": ("approvals.revoked", "test_what_was_revoked_does_not_go_on"),
    "separation of duties": ("approvals.separation", "test_one_person_does_not_stand_for_two_roles"),
    "identity of the model": ("model.identified", "test_the_workload_says_which_model_it_serves"),
    "risk assessment": ("risk.assessed", "test_a_score_that_the_policies_do_not_come_to_is_refused"),
    "risk ceiling": ("risk.ceiling", "test_the_risk_is_within_what_the_environment_takes"),
    "image digests": ("images.pinned", "test_an_image_is_named_by_its_digest"),
    "promotion": ("promotion.staged", "test_staging_comes_before_production"),
    "soak time": ("promotion.staged", "test_staging_has_it_for_the_soak_time"),
    "change windows": ("change.window", "test_a_change_waits_for_its_window"),
    "freezes": ("change.window", "test_a_freeze_holds_until_it_is_over"),
    "rollback authority": ("rollback.authority", "test_those_roll_back_who_may"),
    "capacity": ("capacity.bound", "test_the_replicas_have_a_ceiling"),
}

# Area and part of the framework's map -> the rules that hold it. The audit trail is the record, and no rule.
PARTS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("model governance", "approval workflow"): (
        "approvals.binding",
        "approvals.required",
        "approvals.revoked",
        "approvals.separation",
        "model.identified",
    ),
    ("model governance", "risk assessment"): ("risk.assessed", "risk.ceiling"),
    ("model governance", "quality gates"): (
        "checks.compliance_assessment",
        "checks.documentation_review",
        "checks.performance_validation",
        "checks.security_scan",
        "images.pinned",
        "quality.coverage",
        "quality.documents",
        "quality.performance",
        "quality.vulnerabilities",
    ),
    ("deployment governance", "environment promotion"): ("promotion.staged",),
    ("deployment governance", "change management"): ("change.ticket", "change.window"),
    ("deployment governance", "rollback authority"): ("rollback.authority",),
    ("data governance", "data lineage"): ("lineage.declared",),
    ("data governance", "privacy controls"): ("privacy.assessed", "privacy.residency"),
    ("data governance", "retention policies"): ("retention.declared",),
    ("operational governance", "SLO compliance"): ("capacity.bound", "monitoring.configured", "slo.declared"),
    ("operational governance", "incident response"): ("incident.clear", "incident.plan"),
    ("operational governance", "audit trail"): (),
}

# Item of the production checklist -> the rules that answer it.
CHECKLIST: Final[Mapping[str, tuple[str, ...]]] = {
    "performance": ("checks.performance_validation", "quality.performance", "slo.declared"),
    "security_scan": ("checks.security_scan", "quality.vulnerabilities"),
    "documentation": ("checks.documentation_review", "quality.documents"),
    "coverage": ("quality.coverage",),
    "technical_approval": ("approvals.binding", "approvals.required", "approvals.revoked", "approvals.separation"),
    "security_approval": ("approvals.binding", "approvals.required", "approvals.revoked", "approvals.separation"),
    "business_approval": ("approvals.binding", "approvals.required", "approvals.revoked", "approvals.separation"),
    "risk": ("risk.assessed", "risk.ceiling"),
    "monitoring": ("monitoring.configured",),
    "alerting": ("monitoring.configured",),
    "rollback": ("rollback.authority",),
    "incident_plan": ("incident.plan",),
    "audit_trail": (),
    "lineage": ("lineage.declared",),
    "retention": ("retention.declared",),
    "change": ("change.ticket", "change.window"),
}

_DOCUMENTS: Final = ("model_card", "deployment_guide", "api_documentation")


def reports(now: str) -> Mapping[str, Mapping[str, Any]]:
    """What the tools of others wrote: name of the file -> content.

    Args:
        now: an RFC 3339 time.
    """
    return {
        "scan.json": _scan(now, "low"),
        "scan-critical.json": _scan(now, "low", "critical"),
        "documents.json": _references(now, *_DOCUMENTS),
        "documents-short.json": _references(now, *_DOCUMENTS[:2]),
        "coverage.json": _coverage(850),
        "coverage-low.json": _coverage(799),
    }


def _scan(now: str, *severities: str) -> dict[str, Any]:
    found = [
        {"id": f"CVE-2026-{number:04}", "severity": [{"method": "vendor", "score": severity}]}
        for number, severity in enumerate(severities, start=1)
    ]
    times = {"scanStartedOn": now, "scanFinishedOn": now}
    return {"scanner": {"uri": "pkg:generic/scanner@1.0", "result": found}, "metadata": times}


def _references(now: str, *names: str) -> dict[str, Any]:
    listed = [{"name": name, "digest": {"sha256": "5e" * 32}, "annotations": {"issuedAt": now}} for name in names]
    return {"attester": {"id": "https://docs.example.com"}, "references": listed}


def _coverage(permille: int) -> dict[str, Any]:
    return {"totals": {"num_statements": 1000, "covered_lines": permille}}
