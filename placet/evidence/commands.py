"""The command that makes each kind of evidence, and which kind satisfies which rule: for refusals and documents.

Capital letters stand for what the reader puts in. A kind of an operator's own is made in the same way as those that are
made of claims.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_CLAIMS: Final[Mapping[str, str]] = {
    "performance": "latency_p95_ms=MS accuracy_permille=N",
    "compliance_assessment": "framework=NAME result=passed",
    "lineage": "datasets=sha256:DIGEST licences=SPDX-ID complete=true",
    "privacy_assessment": "classification=CLASS dpia=sha256:DIGEST masking=TRUE-OR-FALSE regions=REGION",
    "retention": "model_artifacts_days=DAYS approval_records_days=DAYS audit_logs_days=DAYS",
    "slo": "latency_p95_ms=MS availability_ppm=N error_rate_ppm=N",
    "monitoring": "monitors=NAME alert_rules=COUNT",
    "incident_plan": "on_call=NAME plan=sha256:DIGEST",
    "operations_status": "open_incidents=COUNT error_budget_left_permille=N",
    "change_ticket": "ticket=NUMBER state=approved",
}
_FORMATS: Final[Mapping[str, str]] = {
    "vulnerability_scan": "make vulnerability_scan --from SCAN.json",
    "documentation": "make documentation --from DOCUMENTS.json",
    "coverage": "attest --fact coverage --from COVERAGE.json",
    "rollback_drill": "attest --rollback-minutes MINUTES",
    "model_bom": "attest --parameters COUNT --data-classification CLASS",
    "deployment_plan": "attest --strategy STRATEGY",
}

# Rule -> the kind of evidence that it judges.
JUDGES: Final[Mapping[str, str]] = {
    "change.ticket": "change_ticket",
    "checks.compliance_assessment": "compliance_assessment",
    "checks.documentation_review": "documentation",
    "checks.performance_validation": "performance",
    "checks.security_scan": "vulnerability_scan",
    "incident.clear": "operations_status",
    "incident.plan": "incident_plan",
    "lineage.declared": "lineage",
    "monitoring.configured": "monitoring",
    "privacy.assessed": "privacy_assessment",
    "privacy.residency": "privacy_assessment",
    "quality.coverage": "coverage",
    "quality.documents": "documentation",
    "quality.performance": "performance",
    "quality.vulnerabilities": "vulnerability_scan",
    "retention.declared": "retention",
    "rollback.authority": "rollback_drill",
    "slo.declared": "slo",
}
# Codes of these rules that no evidence answers: the policy data, the workload or another person do.
_OTHERWISE: Final = frozenset({"classification_unknown", "images_missing", "region_unknown", "rollback_not_authorised"})


def find_kind(rule: str, code: str, named: str = "") -> str:
    """The kind of evidence that answers a violation; "" where none does.

    Args:
        rule: that reports it.
        code: that it reports.
        named: the kind that the report names itself, as the rules of operators may.
    """
    if code in _OTHERWISE:
        return ""
    return named or JUDGES.get(rule, "")


def make_command(kind: str, *, manifest: str = "MANIFEST", image: str = "") -> str:
    """What a person types to make evidence of a kind and put it on a workload.

    Args:
        kind: by name; one that does not ship is made of claims.
        manifest: the file.
        image: name of the image that it is about, where the workload has several.
    """
    made = _FORMATS.get(kind)
    if made is None:
        claims = _CLAIMS.get(kind, "CLAIM=VALUE").split()
        made = " ".join((f"make {kind}", *(f"--claim {claim}" for claim in claims)))
    about = f" --image {image}" if image else ""
    return f"placet evidence {made}{about} -f {manifest} --key KEY --write"
