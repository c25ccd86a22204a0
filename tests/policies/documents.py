"""The request that every rule lets pass, as the Rego fixtures have it, and the policy data that ships."""

from __future__ import annotations

import copy
from typing import Any, Final

from placet.policy.bundle import shipped_bundle
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
    "schema": "placet.dev/policy-input/v1",
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
