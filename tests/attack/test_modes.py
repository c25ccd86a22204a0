"""Modes change the verdict and nothing else; what only a mode let in is labelled so, and rests nothing on it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from placet.messages import render_warnings
from placet.policy.data import load_policy_data
from placet.policy.wasm import EmbeddedEngine
from placet.workload import read_workload
from tests.simulators.gate import GateDesk, example, review
from webhook.admission import render_review

ROLES = ("technical", "security", "business", "executive")
Json = dict[str, Any]
LENIENT = {
    "environment warns": "environments: {production: {mode: warn}}\n",
    "environment audits": "environments: {production: {mode: audit}}\n",
    "rule warns": "rules: {approvals.required: {mode: warn}, approvals.separation: {mode: warn}}\n",
    "rule audits": "rules: {approvals.required: {mode: audit}, approvals.separation: {mode: audit}}\n",
}


@pytest.fixture(params=LENIENT)
def lenient(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateDesk]:
    file = tmp_path / "data.yaml"
    file.write_text(LENIENT[request.param], encoding="utf-8")
    data = load_policy_data(file)
    engine = EmbeddedEngine.default(data)
    opened = GateDesk.open(tmp_path, engine=engine, data=data)
    yield opened
    opened.log.close()
    engine.close()


def variant(number: int) -> Json:
    manifest = copy.deepcopy(example())
    manifest["spec"]["template"]["spec"]["containers"][0]["args"].append(f"--seed={number}")
    return manifest


def test_what_enforce_would_refuse_is_labelled_wherever_it_is_told(lenient: GateDesk) -> None:
    decision = lenient.decide(review(lenient.approve(example(), "technical")))
    assert decision.allowed
    assert decision.recorded is not None
    assert {"rule": "approvals.required", "code": "role_missing"} in decision.recorded.leaf["would_deny"]
    answer = render_review(decision)["response"]
    assert "approvals.required/role_missing" in answer["auditAnnotations"]["would-deny"]
    mode = decision.tolerated[0].mode
    told = render_warnings(decision)
    assert (mode == "warn") == any(text.startswith("placet: would deny: approvals.required: ") for text in told)
    assert {item.mode for item in decision.tolerated} == {mode}


def test_what_enforce_would_allow_is_labelled_nothing(lenient: GateDesk) -> None:
    decision = lenient.decide(review(lenient.approve(example(), *ROLES)))
    assert (decision.allowed, decision.tolerated) == (True, ())
    assert decision.recorded is not None
    assert "would_deny" not in decision.recorded.leaf
    assert "would-deny" not in render_review(decision)["response"]["auditAnnotations"]


def test_what_only_a_mode_let_in_is_no_precedent(lenient: GateDesk) -> None:
    first = lenient.approve(example(), "technical")
    decision = lenient.decide(review(first))
    assert decision.recorded is not None
    assert decision.recorded.leaf["approved"] is False
    workload = read_workload(first)
    assert lenient.history.model_seen(environment="production", model=workload.model.name) is False
    second = lenient.approve(variant(2), *ROLES)
    assert lenient.decide(review(second, old=first)).allowed
    back = lenient.decide(review(first, old=second))
    assert back.change == "changed", "not a rollback"
    assert back.tolerated


def test_the_same_is_found_as_under_enforce(lenient: GateDesk, desk: GateDesk) -> None:
    for manifest in (example(), lenient.approve(example(), "technical"), lenient.approve(example(), "security")):
        soft, hard = lenient.decide(review(manifest)), desk.decide(review(manifest))
        assert (soft.allowed, hard.allowed) == (True, False)
        assert {(one.rule, one.code) for one in soft.tolerated} == {(one.rule, one.code) for one in hard.violations}


def test_an_overdue_review_is_told_as_a_would_be_refusal(lenient: GateDesk) -> None:
    """Let in by break-glass before the mode was weakened: the deadline is still told."""
    strict = load_policy_data(None)
    engine = EmbeddedEngine.default(strict)
    lenient.desk.glass_keepers()
    carried, _ = lenient.let_in(example())
    gate = lenient.gate
    before = gate._policy_data, gate._engine
    gate._policy_data, gate._engine = strict, engine
    assert lenient.decide(review(carried)).passage is not None
    gate._policy_data, gate._engine = before
    engine.close()
    lenient.desk.now = lenient.desk.now.replace(day=24)
    decision = lenient.decide(review(lenient.approve(variant(2), *ROLES), old=carried))
    codes = {f"{one.rule}/{one.code}" for one in (*decision.tolerated, *decision.violations)}
    assert codes == {"gate.break_glass/review_overdue"}
    assert decision.allowed == (decision.mode != "enforce"), "a mode of a rule is not that of the environment"
