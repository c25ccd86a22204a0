"""The request that every rule lets pass, as the Rego fixtures have it, and the policy data that ships."""

from __future__ import annotations

import copy
from typing import Any, Final

from placet.policy.bundle import SHIPPED, shipped_bundle
from placet.policy.data import load_policy_data

Json = dict[str, Any]


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


def approval(role: str, person: str) -> Json:
    return {
        "approval_id": f"a-{role}-{person}",
        "role": role,
        "person": person,
        "bindings": ["images", "model", "projection"],
        "max_risk": "high",
        "risk_inputs_match": True,
        "expires_s": 1790086400,
        "statement": digest("f"),
    }


def image(name: str, letter: str) -> Json:
    return {
        "container": f"spec.template.spec.containers[{name}]",
        "reference": f"registry.example.org/{name}@{digest(letter)}",
        "name": f"registry.example.org/{name}",
        "digest": digest(letter),
    }


_REQUEST: Final[Json] = {
    "schema": "placet.dev/policy-input/v2",
    "uid": "0d5cf0a6-5b2f-4a3c-9d47-3e0f7a1c2b11",
    "time_s": 1790000000,
    "environment": "production",
    "cluster": "prod-eu-1",
    "operation": "CREATE",
    "dry_run": False,
    "requester": "alice@example.org",
    "workload": {"group": "apps", "version": "v1", "kind": "Deployment", "namespace": "ml", "name": "llama"},
    "model": {"name": "llama-3.1-70b", "version": "1.0.0", "digest": digest("a")},
    "change": {"kind": "new", "model_seen": False, "scale": "unknown"},
    "precedent": {"decision_id": "", "time_s": 0, "level": ""},
    "projection": digest("b"),
    "images": [image("server", "c"), image("proxy", "d")],
    "risk": {
        "score": 665,
        "level": "high",
        "factors": {
            "model_complexity": 8,
            "data_sensitivity": 7,
            "deployment_scope": 6,
            "change_magnitude": 9,
            "testing_coverage": 4,
            "rollback_capability": 2,
        },
        "inputs_digest": digest("e"),
    },
    "thresholds": {"technical": 1, "security": 1, "business": 1, "executive": 1},
    "approvals": [approval("technical", "p-1"), approval("security", "p-2"), approval("business", "p-3")],
    "rejected": [{"role": "executive", "code": "expired", "approval_id": "a-9"}],
    "requester_groups": ["system:authenticated"],
    "replicas": {"known": True, "ceiling": 4},
    "evidence": [],
    "evidence_rejected": [],
    "history": {"known": True, "admitted": []},
    "calendar": {"windows": [], "freezes": []},
}


def passing_request() -> Json:
    return copy.deepcopy(_REQUEST)


def unchanged_request() -> Json:
    request = passing_request()
    request["operation"] = "UPDATE"
    request["change"]["kind"] = "unchanged"
    request["approvals"] = []
    return request


def policy_data() -> Json:
    """What an engine has at ``data.placet``."""
    return load_policy_data(None).stamped(expected_rules=len(shipped_bundle().rules))


# Where everything is required: the profile that ships.
GOVERNANCE: Final = SHIPPED / "profiles" / "governance.yaml"
NOW_S: Final = 1790000000
_MODEL: Final = digest("a")
_PROJECTION: Final = digest("b")


def statement(kind: str, about: str, subjects: list[str], claims: Json) -> Json:
    return {
        "kind": kind,
        "about": about,
        "subjects": subjects,
        "attester": "ci",
        "issued_s": NOW_S - 600,
        "expires_s": 0,
        "statement": digest("6"),
        "claims": claims,
    }


def scan(image_digest: str, **claims: Any) -> Json:
    counts = {"critical": 0, "high": 2, "medium": 5, "low": 9, "unknown": 0}
    found = {"scanner": "https://scanner.example/a", **counts, **claims}
    return statement("vulnerability_scan", "image", [image_digest], found)


def all_evidence() -> list[Json]:
    """What the profile asks production for, as ``policies/tests/governed.rego`` has it."""
    documents = ["api_documentation", "deployment_guide", "model_card"]
    privacy = {"classification": "confidential", "dpia": digest("7"), "masking": False, "regions": ["eu", "us"]}
    kept = {"model_artifacts_days": 2557, "approval_records_days": 3653, "audit_logs_days": 2557}
    promised = {"latency_p95_ms": 2000, "availability_ppm": 999000, "error_rate_ppm": 1000}
    lineage = {"datasets": [digest("8")], "licences": ["CC-BY-4.0"], "complete": True}
    model, projection, images = (
        ("model", [_MODEL]),
        ("projection", [_PROJECTION]),
        ("image", [digest("c"), digest("d")]),
    )
    return [
        statement("change_ticket", *projection, {"ticket": "CHG-0012345", "state": "approved"}),
        statement("compliance_assessment", *model, {"framework": "EU AI Act", "result": "passed"}),
        statement("coverage", *images, {"lines_covered": 850, "lines_total": 1000}),
        statement("documentation", *model, {"documents": documents}),
        statement("incident_plan", *model, {"on_call": "ml-serving", "plan": digest("9")}),
        statement("lineage", *model, lineage),
        statement("monitoring", *projection, {"monitors": ["llama"], "alert_rules": 4}),
        statement("operations_status", *model, {"open_incidents": 0, "error_budget_left_permille": 700}),
        statement("performance", *model, {"latency_p95_ms": 1400, "accuracy_permille": 870}),
        statement("privacy_assessment", *model, privacy),
        statement("retention", *model, kept),
        statement("rollback_drill", *projection, {"minutes": 3}),
        statement("slo", *projection, promised),
        scan(digest("c")),
        scan(digest("d")),
    ]


def governed_request() -> Json:
    """The passing request with all evidence, for data that require everything."""
    staged = {"environment": "staging", "since_s": NOW_S - 172800, "decision_id": "staged"}
    return passing_request() | {
        "requester_groups": ["sre-on-call", "system:authenticated"],
        "replicas": {"known": True, "ceiling": 4},
        "evidence": all_evidence(),
        "evidence_rejected": [{"name": "placet.dev/evidence.old", "kind": "strategy", "code": "expired"}],
        "history": {"known": True, "admitted": [staged]},
        "calendar": {"windows": ["working-hours"], "freezes": []},
    }


def governed_data() -> Json:
    """What an engine has at ``data.placet`` with the profile ``governance``."""
    return load_policy_data(GOVERNANCE).stamped(expected_rules=len(shipped_bundle().rules))
