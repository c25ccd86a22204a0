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
from tests.policies.documents import Json, passing_request, policy_data, unchanged_request
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
# Carried forward, a proof rests on what makes the request an unchanged update, and on nothing else.
CARRIED_ON: Final[dict[str, set[str]]] = {
    rule: {"operation", "change", "change.kind"}
    for rule in RESTS_ON
    if rule not in {"approvals.revoked", "risk.assessed"}
} | {rule: RESTS_ON[rule] for rule in ("approvals.revoked", "risk.assessed")}


def spoilt(document: Json) -> Iterator[tuple[str, bool, Json]]:
    """Path of the spoilt field, whether it was an element taken out of a list, and the document."""
    for path in _paths(document):
        name = re.sub(r"\.\d+", "[]", ".".join(map(str, path)))
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
    ("request_", "rests_on"),
    [(passing_request(), RESTS_ON), (unchanged_request(), CARRIED_ON)],
    ids=["anew", "carried"],
)
def test_no_rule_passes_without_a_field_that_it_rests_on(
    harness: Guest, request_: Json, rests_on: dict[str, set[str]]
) -> None:
    data = policy_data()
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
    assert wrong == []


def test_the_table_names_every_rule_of_the_bundle() -> None:
    assert set(RESTS_ON) == {rule.id for rule in shipped_bundle().rules}


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
