"""Each rule fails for each field that its proof rests on: taken away, or of another type. In OPA and in Wasm.

The table says on which fields of the passing request each proof rests. It is held in both directions: a field in it
that is spoilt in any way leaves no proof, and a field that is not in it changes no proof.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from placet.canonical import render_canonical
from placet.policy.bundle import shipped_bundle
from placet.policy.guest import Guest
from tests.policies.documents import (
    Json,
    governed_data,
    governed_request,
    passing_request,
    policy_data,
    unchanged_request,
)
from tests.policies.programs import PLENTY, eval_opa

OTHER_TYPES: Final[tuple[Any, ...]] = (None, True, 7, "text", [], {})

_ANEW: Final = {"environment", "operation", "change", "change.kind"}
_LEVEL: Final = {"risk", "risk.level"}
_USABLE: Final = {
    "time_s",
    "thresholds",
    "thresholds.technical",
    "thresholds.security",
    "thresholds.business",
    "approvals",
    "approvals[]",
    "approvals[].role",
    "approvals[].person",
    "approvals[].bindings",
    "approvals[].bindings[]",
    "approvals[].max_risk",
    "approvals[].expires_s",
}
RESTS_ON: Final[dict[str, set[str]]] = {
    "approvals.binding": _ANEW
    | {"approvals", "approvals[]", "approvals[].role", "approvals[].bindings", "approvals[].bindings[]"},
    "approvals.required": _ANEW | _LEVEL | _USABLE,
    "approvals.revoked": {"rejected", "rejected[]", "rejected[].code"},
    "approvals.separation": _ANEW | _LEVEL | _USABLE,
    "images.pinned": _ANEW | {"images", "images[]", "images[].reference", "images[].digest"},
    "model.identified": _ANEW | {"model", "model.name", "model.version", "model.digest"},
    "risk.assessed": _LEVEL
    | {"risk.score", "risk.factors"}
    | {f"risk.factors.{factor}" for factor in passing_request()["risk"]["factors"]},
    "risk.ceiling": _ANEW | _LEVEL | {"approvals", "approvals[]", "approvals[].role", "approvals[].max_risk"},
}
# Where the environment does not require a rule, its proof rests on the environment alone.
_ASKED: Final = tuple(rule.id for rule in shipped_bundle().rules if rule.optional)
RELEASED: Final = RESTS_ON | {rule: {"environment"} for rule in _ASKED}

# A malformed statement leaves no evidence at all; of the claims only those that the rule reads are looked at.
_KINDS: Final = {each["kind"]: tuple(each["claims"]) for each in governed_request()["evidence"]}
_SOUND: Final = (
    _ANEW
    | {"time_s", "evidence", *(f"evidence[{kind}]" for kind in _KINDS)}
    | {
        f"evidence[{kind}].{member}"
        for kind in _KINDS
        for member in ("kind", "about", "subjects", "subjects[]", "attester", "issued_s", "expires_s", "claims")
    }
)
_MODEL: Final = _SOUND | {"model", "model.digest"}
_PROJECTION: Final = _SOUND | {"projection"}
_IMAGES: Final = _SOUND | {"images", "images[]", "images[].digest"}
_LIMITED: Final = {"model", "model.name"}


def _claims(kind: str, *names: str) -> set[str]:
    return {f"evidence[{kind}].claims.{name}" for name in names}


# With the profile `governance`, which requires all of them.
ASKED: Final[dict[str, set[str]]] = RESTS_ON | {
    "capacity.bound": _ANEW | _LIMITED | {"replicas", "replicas.known", "replicas.ceiling"},
    "change.ticket": _PROJECTION | _claims("change_ticket", "ticket", "state"),
    "change.window": _ANEW | {"calendar", "calendar.windows", "calendar.freezes"},
    "checks.compliance_assessment": _MODEL | _claims("compliance_assessment", "result"),
    "checks.documentation_review": _MODEL,
    "checks.performance_validation": _MODEL,
    "checks.security_scan": _IMAGES,
    "incident.clear": _MODEL | _LIMITED | _claims("operations_status", "open_incidents", "error_budget_left_permille"),
    "incident.plan": _MODEL | _LIMITED | _claims("incident_plan", "on_call", "plan"),
    "lineage.declared": _MODEL
    | _claims("lineage", "datasets", "licences", "complete")
    | {"evidence[lineage].claims.datasets[]", "evidence[lineage].claims.licences[]"},
    "monitoring.configured": _PROJECTION
    | _LIMITED
    | _claims("monitoring", "monitors", "alert_rules")
    | {"evidence[monitoring].claims.monitors[]"},
    "privacy.assessed": _MODEL | _claims("privacy_assessment", "classification", "dpia"),
    "privacy.residency": _MODEL
    | {"cluster"}
    | _claims("privacy_assessment", "regions")
    | {"evidence[privacy_assessment].claims.regions[]"},
    "promotion.staged": _ANEW
    | _LIMITED
    | {"time_s", "history", "history.known", "history.admitted", "history.admitted[]"}
    | {f"history.admitted[].{member}" for member in ("environment", "since_s", "decision_id")},
    "quality.coverage": _IMAGES | _LIMITED | _claims("coverage", "lines_covered", "lines_total"),
    "quality.documents": _MODEL
    | _claims("documentation", "documents")
    | {"evidence[documentation].claims.documents[]"},
    "quality.performance": _MODEL
    | _LIMITED
    | {"projection"}
    | _claims("performance", "latency_p95_ms", "accuracy_permille")
    | _claims("slo", "latency_p95_ms"),
    "quality.vulnerabilities": _IMAGES | _LIMITED | _claims("vulnerability_scan", "critical"),
    "retention.declared": _MODEL
    | _LIMITED
    | _claims("retention", "model_artifacts_days", "approval_records_days", "audit_logs_days"),
    "rollback.authority": _PROJECTION | _LIMITED | _claims("rollback_drill", "minutes"),
    "slo.declared": _PROJECTION | _LIMITED | _claims("slo", "latency_p95_ms", "availability_ppm", "error_rate_ppm"),
}
# Carried forward, a proof rests on what makes the request an unchanged update, and on nothing else.
_UPDATE: Final = {"operation", "change", "change.kind"}
CARRIED_ON: Final[dict[str, set[str]]] = {
    rule: RESTS_ON[rule] if rule in {"approvals.revoked", "risk.assessed"} else _UPDATE for rule in RESTS_ON
}
# What is not required passes for two reasons, and no single field is behind both.
CARRIED_RELEASED: Final = CARRIED_ON | {rule: set[str]() for rule in _ASKED}
CARRIED_ASKED: Final = CARRIED_ON | dict.fromkeys(_ASKED, _UPDATE)


def spoilt(document: Json) -> Iterator[tuple[str, bool, Json]]:
    """Path of the spoilt field, whether it was an element taken out of a list, and the document."""
    for path in _paths(document):
        name = _name(document, path)
        without = copy.deepcopy(document)
        parent = _parent(without, path)
        old = parent[path[-1]]
        del parent[path[-1]]
        yield name, isinstance(parent, list), without
        for other in OTHER_TYPES:
            if type(other) is not type(old):
                changed = copy.deepcopy(document)
                _parent(changed, path)[path[-1]] = copy.deepcopy(other)
                yield name, False, changed


def _name(document: Json, path: tuple[Any, ...]) -> str:
    """``images[].digest``; a statement is named by its kind, since kinds have claims of one name."""
    name = re.sub(r"\.\d+", "[]", ".".join(map(str, path)))
    if len(path) > 1 and path[0] == "evidence":
        return name.replace("evidence[]", f"evidence[{document['evidence'][path[1]]['kind']}]", 1)
    return name


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    steps = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for step in steps:
        yield from _paths(value[step], (*path, step))


def _parent(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path[:-1]:
        value = value[step]
    return value


@pytest.mark.parametrize(
    ("request_", "data", "rests_on"),
    [
        (passing_request(), policy_data(), RELEASED),
        (unchanged_request(), policy_data(), CARRIED_RELEASED),
        (governed_request(), governed_data(), ASKED),
        (unchanged_request(), governed_data(), CARRIED_ASKED),
    ],
    ids=["anew", "carried", "anew-with-everything-required", "carried-with-everything-required"],
)
def test_no_rule_passes_without_a_field_that_it_rests_on(
    harness: Guest, request_: Json, data: Json, rests_on: dict[str, set[str]]
) -> None:
    cases = list(spoilt(request_))
    questions = [{"input": document, "data": data} for _, _, document in cases]
    by_opa = eval_opa("data.harness.proofs", {"cases": questions})
    by_wasm = [
        harness.evaluate("harness/proofs", render_canonical({"cases": [question]}), fuel=PLENTY)[0]
        for question in questions
    ]
    assert [set(rules) for rules in by_opa] == [set(rules) for rules in by_wasm]
    wrong = [
        (rule, name, document)
        for (name, shortened, document), passed in zip(cases, by_opa, strict=True)
        for rule in rests_on
        # An approval, an image or a rejection fewer is another request and no spoilt one; other tests judge those.
        if not shortened or name.endswith(("bindings[]",))
        if (rule in passed) == (name in rests_on[rule])
    ]
    assert [(rule, name) for rule, name, _ in wrong] == []


def test_the_table_names_every_rule_of_the_bundle() -> None:
    assert set(ASKED) == {rule.id for rule in shipped_bundle().rules}
    assert set(ASKED) - set(RESTS_ON) == set(_ASKED)


def test_nothing_is_allowed_when_a_part_of_the_data_is_missing(harness: Guest) -> None:
    data, request_ = policy_data(), passing_request()
    questions = [{"input": request_, "data": {key: data[key] for key in data if key != gone}} for gone in data]
    others: list[Any] = [None, 0, "", [], {}]
    questions += [{"input": request_, "data": data | {key: other}} for key in data for other in others]
    questions = [question for question in questions if question["data"] != data]
    by_opa = eval_opa("data.harness.decisions", {"cases": questions})
    by_wasm = [
        harness.evaluate("harness/decisions", render_canonical({"cases": [question]}), fuel=PLENTY)[0]
        for question in questions
    ]
    assert by_opa == by_wasm
    allowed = [
        (question["data"].keys(), answer)
        for question, answer in zip(questions, by_opa, strict=True)
        # The digest is only echoed here: placet compares it.
        if answer["allowed"] and answer["data_digest"] == data["digest"]
    ]
    assert allowed == []
