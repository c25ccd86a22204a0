"""Claims of each kind that is read by its claims, and predicates of the forms of others."""

from __future__ import annotations

from typing import Any, Final

_DIGEST: Final = "sha256:" + "1" * 64

SAMPLES: Final[dict[str, dict[str, Any]]] = {
    "performance": {"latency_p95_ms": 850, "accuracy_permille": 910},
    "compliance_assessment": {"framework": "eu-ai-act", "result": "passed"},
    "lineage": {"datasets": [_DIGEST], "licences": ["CC-BY-4.0"], "complete": True},
    "privacy_assessment": {"classification": "confidential", "dpia": _DIGEST, "masking": True, "regions": ["eu"]},
    "retention": {"model_artifacts_days": 2557, "approval_records_days": 3653, "audit_logs_days": 2557},
    "slo": {"latency_p95_ms": 2000, "availability_ppm": 999_000, "error_rate_ppm": 1000},
    "monitoring": {"monitors": ["llama"], "alert_rules": 4},
    "incident_plan": {"on_call": "ml-platform", "plan": _DIGEST},
    "operations_status": {"open_incidents": 0, "error_budget_left_permille": 700},
    "change_ticket": {"ticket": "CHG-0012345", "state": "approved"},
}

SCAN: Final[dict[str, Any]] = {
    "scanner": {
        "uri": "pkg:github/aquasecurity/trivy@0.60.0",
        "version": "0.60.0",
        "db": {"uri": "pkg:github/aquasecurity/trivy-db", "lastUpdate": "2026-11-22T06:00:00Z"},
        "result": [
            {
                "id": "CVE-2026-1",
                "severity": [{"method": "nvd", "score": "HIGH"}, {"method": "cvss_v3", "score": "7.5"}],
            },
            {"id": "CVE-2026-2", "severity": [{"method": "cvss_score", "score": "5.2"}]},
            {"id": "CVE-2026-3", "severity": [{"method": "ghsa", "score": "moderate"}]},
        ],
    },
    "metadata": {"scanStartedOn": "2026-11-22T10:00:00Z", "scanFinishedOn": "2026-11-22T11:00:00.25+01:00"},
}

REFERENCES: Final[dict[str, Any]] = {
    "attester": {"id": "https://docs.example.org/registry"},
    "references": [
        {
            "name": name,
            "downloadLocation": f"https://docs.example.org/llama/{name}",
            "digest": {"sha256": "2" * 64},
            "mediaType": "text/markdown",
            "annotations": {"issuedAt": "2026-11-20T12:00:00Z"},
        }
        for name in ("model_card", "deployment_guide", "api_documentation")
    ],
}
