"""Evidence, history and calendar with which nothing is lacking, by the limits of some policy data.

For the questions of the matrix: there every rule that an environment requires is satisfied, so that what is left to ask
is who has approved. Made from the data, as an operator's limits are; of a kind of evidence that does not ship it is the
kind's own example.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from placet.canonical import Digest

_HOUR_S: Final = 3600
_ANY: Final = str(Digest.of(b"anything"))


@dataclass(frozen=True, slots=True)
class Subjects:
    """Digests that evidence can be about.

    Attributes:
        model, projection: of the workload.
        images: of each of its images.
    """

    model: str
    projection: str
    images: tuple[str, ...]


def complete_facts(data: Mapping[str, Any], environment: str, subjects: Subjects, now_s: int) -> dict[str, Any]:
    """Members of a policy input that satisfy every rule about evidence, history, calendar and capacity.

    Args:
        data: policy data.
        environment: that is deployed to; one that the data do not name has the default limits.
        subjects: of the workload.
        now_s: the time of the request.
    """
    limits = {**data["limits"]["default"], **data["limits"]["environments"].get(environment, {})}
    before = data["environments"].get(environment, {}).get("promotes_from")
    since_s = now_s - limits["soak_hours"] * _HOUR_S
    staged = [] if before is None else [{"environment": before, "since_s": since_s, "decision_id": "staged"}]
    windows = [name for name, one in data["change"]["windows"].items() if environment in one["environments"]]
    return {
        "cluster": min(data["residency"]["clusters"], default="matrix"),
        "replicas": {"known": True, "ceiling": 1},
        "evidence": _evidence(data, limits, subjects, now_s),
        "history": {"known": True, "admitted": staged},
        "calendar": {"windows": sorted(windows), "freezes": []},
    }


def _evidence(
    data: Mapping[str, Any], limits: Mapping[str, int], subjects: Subjects, now_s: int
) -> list[dict[str, Any]]:
    said: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "image": _of_images(),
        "model": _of_model(data, limits),
        "projection": _of_projection(data, limits),
    }
    known = {kind for kinds in said.values() for kind, _ in kinds}
    for kind, entry in data.get("evidence", {}).items():
        if kind not in known and "example" in entry:
            said[entry["about"]].append((kind, dict(entry["example"])))
    named = {"image": sorted(set(subjects.images)), "model": [subjects.model], "projection": [subjects.projection]}
    made = [
        {
            "kind": kind,
            "about": about,
            "subjects": named[about],
            "attester": "attester",
            "issued_s": now_s,
            "expires_s": 0,
            "statement": str(Digest.of(kind.encode())),
            "claims": claims,
        }
        for about, kinds in said.items()
        for kind, claims in kinds
    ]
    return sorted(made, key=lambda one: (str(one["kind"]), str(one["statement"])))


def _of_images() -> list[tuple[str, dict[str, Any]]]:
    counts = dict.fromkeys(("critical", "high", "medium", "low", "unknown"), 0)
    return [
        ("vulnerability_scan", {"scanner": "scanner", **counts}),
        ("coverage", {"lines_covered": 1, "lines_total": 1}),
    ]


def _of_model(data: Mapping[str, Any], limits: Mapping[str, int]) -> list[tuple[str, dict[str, Any]]]:
    regions = sorted(set(data["residency"]["clusters"].values()))
    kept = {name: limits[name] for name in ("model_artifacts_days", "approval_records_days", "audit_logs_days")}
    licences = list(data["licences"]["allowed"])
    return [
        ("compliance_assessment", {"framework": "framework", "result": "passed"}),
        ("documentation", {"documents": sorted(data["documents"]["required"])}),
        ("incident_plan", {"on_call": "on-call", "plan": _ANY}),
        ("lineage", {"datasets": [_ANY], "licences": licences, "complete": True}),
        ("operations_status", {"open_incidents": 0, "error_budget_left_permille": 1000}),
        ("performance", {"latency_p95_ms": limits["latency_p95_ms"], "accuracy_permille": 1000}),
        ("privacy_assessment", {"classification": "restricted", "dpia": _ANY, "masking": True, "regions": regions}),
        ("retention", kept),
    ]


def _of_projection(data: Mapping[str, Any], limits: Mapping[str, int]) -> list[tuple[str, dict[str, Any]]]:
    grammar = data["change"]["ticket"]
    ticket = grammar["prefixes"][0] + "1" * grammar["digits"]
    monitors = [f"monitor-{number}" for number in range(limits["monitors"])]
    return [
        ("change_ticket", {"ticket": ticket, "state": "approved"}),
        ("monitoring", {"monitors": monitors, "alert_rules": limits["alert_rules"]}),
        ("rollback_drill", {"minutes": 1}),
        ("slo", {"latency_p95_ms": limits["latency_p95_ms"], "availability_ppm": 1_000_000, "error_rate_ppm": 0}),
    ]
