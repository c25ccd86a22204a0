from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.errors import EngineAnswerError
from placet.policy.bundle import shipped_bundle
from placet.policy.decision import PolicyDecision, parse_decision
from tests.golden.decisions.build import FOLDER
from tests.policies.documents import Json

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


RULES = len(shipped_bundle().rules)


def answer(case: str) -> Json:
    value: Json = json.loads((FOLDER / case / "decision.json").read_text("utf-8"))
    return value


def parse(value: Any, *, like: str = "allowed-in-production", rules: int = RULES) -> PolicyDecision:
    good = answer(like)
    return parse_decision(value, uid=good["uid"], data_digest=good["data_digest"], expected_rules=rules)


def test_reads_an_allow() -> None:
    decision = parse(answer("allowed-in-production"))
    assert decision.allowed
    assert decision.required_roles == decision.granted_roles == ("technical", "security", "business")
    assert (decision.rules_judged, decision.rules_passed) == (RULES, RULES)
    assert decision.violations == decision.warnings == decision.notes == ()


def test_reads_a_refusal_with_its_findings_sorted_by_rule() -> None:
    decision = parse(answer("denied-role-missing"))
    assert not decision.allowed
    assert [(each.rule, each.code) for each in decision.violations] == [
        ("approvals.required", "role_missing"),
        ("approvals.separation", "approvals_missing"),
    ]
    assert decision.violations[0].details == {"role": "security", "needed": 1, "persons": 0, "rejected": ["expired"]}


def test_reads_warnings_and_notes() -> None:
    warned = parse(answer("allowed-by-a-mode-that-warns"), like="allowed-by-a-mode-that-warns")
    noted = parse(answer("allowed-by-a-mode-that-audits"), like="allowed-by-a-mode-that-audits")
    assert {each.mode for each in warned.warnings} == {"warn"}
    assert {each.mode for each in noted.notes} == {"audit"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uid": "another"}, "about another request"),
        ({"data_digest": "sha256:" + "0" * 64}, "other policy data"),
        ({"schema": "placet.dev/policy-decision/v2"}, "fails const at schema"),
        ({"allowed": "true"}, "fails type at allowed"),
        ({"allowed": 1}, "fails type at allowed"),
        ({"allowed": False}, "contradicts itself"),
        ({"rules_judged": 7, "rules_passed": 7}, f"judged 7 rules, and the bundle has {RULES}"),
        ({"rules_judged": RULES + 1, "rules_passed": RULES + 1}, f"and the bundle has {RULES}"),
        ({"rules_passed": RULES + 1}, "more rules passed than judged"),
        ({"rules_passed": RULES - 1}, "neither passed nor is tolerated"),
        ({"tolerated": ["images.pinned"]}, "did not pass and are tolerated"),
        (
            {
                "rules_passed": RULES - 1,
                "warnings": [{"rule": "a.b", "code": "c", "mode": "warn", "severity": "low", "details": {}}],
            },
            "did not pass and are tolerated",
        ),
        ({"required_roles": []}, "no approval at all"),
        ({"required_roles": ["astrologer"]}, "fails enum"),
        ({"mode": "off"}, "fails enum at mode"),
        ({"extra": 1}, "fails additionalProperties at the top"),
        (
            {"notes": [{"rule": "a", "code": "b", "mode": "warn", "severity": "low", "details": {}}]},
            "under another mode",
        ),
        (
            {"violations": [{"rule": "a", "code": "b", "mode": "enforce", "severity": "low", "details": {}}]},
            "contradicts",
        ),
        ({"warnings": ["text"]}, "fails type at warnings.0"),
        ({"uid": "", "allowed": False}, "could not read the input or the data"),
    ],
)
def test_refuses_an_answer_that_is_no_decision_about_this_request(change: Json, message: str) -> None:
    with pytest.raises(EngineAnswerError, match=message) as caught:
        parse(answer("allowed-in-production") | change)
    about_another = {"about another request": "engine_other_request", "other policy data": "engine_other_data"}
    assert caught.value.code == about_another.get(message, "engine_answer_invalid")


@pytest.mark.parametrize("key", sorted(answer("allowed-in-production")))
def test_refuses_an_answer_without_one_of_its_keys(key: str) -> None:
    value = answer("allowed-in-production")
    del value[key]
    with pytest.raises(EngineAnswerError):
        parse(value)


def test_refuses_a_refusal_that_gives_no_reason() -> None:
    with pytest.raises(EngineAnswerError, match="contradicts itself"):
        parse(answer("denied-role-missing") | {"violations": []})


@pytest.mark.parametrize("value", [object(), {1: 2}, {"uid": object()}, b"bytes", {"uid": "\ud800"}])
def test_refuses_what_is_not_even_json(value: Any) -> None:
    with pytest.raises(EngineAnswerError):
        parse(value)


@given(JSON_VALUES)
def test_no_other_error_escapes(value: Any) -> None:
    with pytest.raises(EngineAnswerError):
        parse(value)


@given(st.sampled_from(sorted(answer("denied-role-missing"))), JSON_VALUES)
def test_a_spoilt_refusal_never_becomes_an_allow(key: str, value: Any) -> None:
    try:
        decision = parse(answer("denied-role-missing") | {key: value}, like="denied-role-missing")
    except EngineAnswerError:
        return
    assert not decision.allowed
