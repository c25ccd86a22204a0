"""Two engines, one answer: golden decisions, all risk combinations, and a seeded differential fuzz."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from placet.canonical import render_canonical
from placet.errors import EngineError
from placet.policy.bundle import shipped_bundle
from placet.policy.decision import parse_decision
from placet.policy.document import check_document, render_document
from placet.policy.guest import Guest
from scorer import FACTORS, LEVELS, SCALES, level_of, total
from tests.golden.decisions import build
from tests.policies import fuzz
from tests.policies.documents import Json, governed_data, passing_request, policy_data
from tests.policies.programs import PLENTY, eval_opa, shipped_guest

CASES = sorted(path.parent for path in build.FOLDER.glob("*/input.json"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_engines_give_the_golden_decision(case: Path, opa_url: str) -> None:
    expected = json.loads((case / "decision.json").read_text("utf-8"))
    document = json.loads((case / "input.json").read_text("utf-8"))
    data = build.data_of(case)
    with closing(fuzz.OpaQuestions(opa_url)) as opa:
        opa.put_data(data)
        assert opa.ask(render_document(document)) == expected
    assert build.decide(case) == expected
    decision = parse_decision(
        expected, uid=document["uid"], data_digest=data["digest"], expected_rules=data["expected_rules"]
    )
    assert decision.allowed == case.name.startswith("allowed-")


def test_the_golden_cases_are_those_of_the_builder() -> None:
    assert {case.name for case in build.cases()} == {path.name for path in CASES}
    for case in build.cases():
        assert json.loads((build.FOLDER / case.name / "input.json").read_text("utf-8")) == case.input


def test_every_rule_is_seen_failing_in_a_golden_decision() -> None:
    decisions = [json.loads((case / "decision.json").read_text("utf-8")) for case in CASES]
    failing = {violation["rule"] for decision in decisions for violation in decision["violations"]}
    assert failing == {rule.id for rule in shipped_bundle().rules} | {"admission.main"}


def _refused_by(case: str) -> set[tuple[str, str]]:
    decision = build.decide(build.FOLDER / case)
    return {(violation["rule"], violation["code"]) for violation in decision["violations"]}


def test_the_worst_of_what_contradicts_itself_counts() -> None:
    found = ("quality.vulnerabilities", "vulnerabilities_critical")
    assert _refused_by("denied-by-the-worst-of-two-scans") == {found}
    assert _refused_by("allowed-by-a-newer-scan") == set()


def test_who_rolls_back_and_to_what_is_held() -> None:
    assert _refused_by("denied-rolled-back-by-somebody") == {("rollback.authority", "rollback_not_authorised")}
    assert _refused_by("allowed-rolled-back-by-one-who-may") == set()
    elsewhere = json.loads((build.FOLDER / "allowed-rolled-back-by-one-who-may" / "input.json").read_text("utf-8"))
    elsewhere["precedent"]["decision_id"] = ""
    data = build.data_of(build.FOLDER / "allowed-rolled-back-by-one-who-may")
    decision = fuzz.ask_guest(shipped_guest(data), render_document(elsewhere))
    assert decision["allowed"] is False
    assert "rollback.authority" in {violation["rule"] for violation in decision["violations"]}


def combinations() -> Iterator[dict[str, int]]:
    for scores in itertools.product(*(SCALES[factor] for factor in FACTORS)):
        yield dict(zip(FACTORS, scores, strict=True))


def test_all_4096_risk_combinations_are_equal_in_python_opa_and_wasm(harness: Guest) -> None:
    data = {"levels": list(LEVELS), "risk": policy_data()["risk"]}
    cases = [{"input": {"risk": {"factors": factors}}, "data": data} for factors in combinations()]
    by_python = [[total(factors), level_of(total(factors))] for factors in combinations()]
    by_opa = eval_opa("data.harness.risks", {"cases": cases}, strict=True)
    by_wasm = []
    for batch in _batched(cases, 64):
        by_wasm += harness.evaluate("harness/risks", render_canonical({"cases": batch}), fuel=PLENTY)
    assert len(by_python) == 4096
    assert by_opa == by_python
    assert by_wasm == by_python
    levels = [level for _, level in by_python]
    assert {level: levels.count(level) for level in LEVELS} == {
        "low": 53,
        "medium": 1681,
        "high": 2163,
        "critical": 199,
    }


def _batched(cases: list[Json], size: int) -> Iterator[list[Json]]:
    for start in range(0, len(cases), size):
        yield cases[start : start + size]


def test_4000_mutated_inputs_are_answered_alike(opa_url: str) -> None:
    found, seen = fuzz.differences(opa_url, count=4_000, seed=20261122)
    assert found == []
    assert [request for request, _, opa, wasm in found if _allows(wasm) and not _allows(opa)] == []
    # The policies are total: neither engine ever ends in an error, whatever it is given.
    assert seen[fuzz.ERROR] == 0
    # A fuzz that allows nothing, or denies nothing, would show nothing.
    assert seen["allowed"] > 100
    assert seen["denied"] > 1500


def _allows(answer: object) -> bool:
    return isinstance(answer, dict) and answer.get("allowed") is True


def test_no_input_of_the_schema_raises_an_error_in_strict_opa() -> None:
    # Wasm has no strict mode, where an error of a builtin is an error of the query: so there must be none to hide.
    random_ = random.Random(7)
    valid = [request for request in itertools.islice(fuzz.inputs(random_), 2500) if _is_valid(request)]
    assert len(valid) > 700
    for data in (policy_data(), governed_data()):
        cases = [{"input": each, "data": data} for each in valid]
        decisions = eval_opa("data.harness.decisions", {"cases": cases}, strict=True)
        assert len(decisions) == len(valid)
        # Rules that nothing asked for, or that nothing gets past, would show nothing.
        assert 20 < sum(decision["allowed"] for decision in decisions) < len(valid) - 20


def _is_valid(request: Json) -> bool:
    try:
        check_document(request)
    except EngineError:
        return False
    return True


def test_changed_data_changes_the_answer_of_both_engines(opa_url: str) -> None:
    # A module compiled with -O1 has the data frozen into it and goes on allowing.
    raw = render_document(passing_request())
    data = policy_data()
    stricter = data | {"risk_approvals": data["risk_approvals"] | {"high": ["technical", "executive"]}}
    with closing(fuzz.OpaQuestions(opa_url)) as opa:
        for each, allowed in ((data, True), (stricter, False), (data, True)):
            opa.put_data(each)
            assert opa.ask(raw)["allowed"] is allowed
            assert fuzz.ask_guest(shipped_guest(each), raw)["allowed"] is allowed
