"""The generic reader: every kind of the table that ships, and whatever an attester may sign."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.approvals.closed import ClosedObject
from placet.errors import FormatError
from placet.evidence.claims import MAX_CLAIMS_BYTES, plain_claims, read_claims, render_times
from placet.evidence.kinds import Claim, EvidenceKind
from placet.evidence.predicates import read_predicate
from tests.placet.evidence.samples import SAMPLES
from tests.simulators.desk import NOON, SHIPPED_KINDS

TIMES = render_times(NOON, timedelta(days=30))
_OTHERS: tuple[Any, ...] = (None, True, 1.5, -1, "\u202e", [[]], {})
OWN = sorted(name for name, kind in SHIPPED_KINDS.by_name.items() if not kind.reader)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def read(name: str, claims: dict[str, Any], **more: Any) -> dict[str, Any]:
    evidence = read_predicate(SHIPPED_KINDS, SHIPPED_KINDS.by_name[name].predicate_type, {**claims, **TIMES, **more})
    assert evidence.facts == {}
    return plain_claims(evidence.sayings[name].claims)


def code(name: str, predicate: Any) -> str:
    with pytest.raises(FormatError) as caught:
        read_predicate(SHIPPED_KINDS, SHIPPED_KINDS.by_name[name].predicate_type, predicate)
    return caught.value.code


@pytest.mark.parametrize("name", OWN)
def test_each_kind_says_what_its_table_has(name: str) -> None:
    assert read(name, SAMPLES[name]) == SAMPLES[name]
    assert set(SAMPLES[name]) == set(SHIPPED_KINDS.by_name[name].claims)


@pytest.mark.parametrize("name", OWN)
def test_nothing_may_be_missing_added_or_of_another_type(name: str) -> None:
    good = {**SAMPLES[name], **TIMES}
    for key, value in good.items():
        assert code(name, {one: good[one] for one in good if one != key}) == "statement_malformed"
        for other in _OTHERS:
            if type(other) is not type(value) or isinstance(other, str):
                assert code(name, good | {key: other}) == "statement_malformed", (key, other)
    assert code(name, good | {"note": ""}) == "statement_malformed"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("performance", {"accuracy_permille": 1001}),
        ("performance", {"latency_p95_ms": 0}),
        ("performance", {"latency_p95_ms": "12"}),
        ("compliance_assessment", {"result": "Passed"}),
        ("compliance_assessment", {"framework": ""}),
        ("lineage", {"datasets": []}),
        ("lineage", {"datasets": ["sha256:" + "A" * 64]}),
        ("lineage", {"licences": ["MIT", "MIT"]}),
        ("lineage", {"licences": [str(number) for number in range(65)]}),
        ("incident_plan", {"plan": ""}),
        ("operations_status", {"open_incidents": True}),
    ],
)
def test_a_claim_is_within_its_bounds(name: str, change: dict[str, Any]) -> None:
    assert code(name, SAMPLES[name] | change | TIMES) == "statement_malformed"


def test_a_claim_may_be_empty_where_the_table_says_so() -> None:
    claims = SAMPLES["privacy_assessment"] | {"dpia": "", "regions": []}
    assert read("privacy_assessment", claims) == claims


@pytest.mark.parametrize("days", [0, -1, 366])
def test_it_ends_after_it_begins_and_within_a_year(days: int) -> None:
    good = SAMPLES["slo"] | render_times(NOON, timedelta(days=days))
    assert code("slo", good) == "statement_malformed"


def test_a_claim_may_be_left_out_where_the_table_says_so() -> None:
    kind = EvidenceKind("x", "https://x/y", "model", timedelta(1), "", {"a": Claim("integer", optional=True)})
    assert read_claims(kind, ClosedObject({}, "predicate")) == {}
    assert read_claims(kind, ClosedObject({"a": 3}, "predicate")) == {"a": 3}


def test_claims_that_would_fill_the_policy_input_are_refused() -> None:
    kind = EvidenceKind("x", "https://x/y", "model", timedelta(1), "", {"a": Claim("strings")})
    words = [f"{number:02}" + "x" * 250 for number in range(64)]
    fitting = words[: MAX_CLAIMS_BYTES // 260]
    assert read_claims(kind, ClosedObject({"a": fitting}, "predicate")) == {"a": tuple(fitting)}
    with pytest.raises(FormatError, match="more than the 8192 allowed"):
        read_claims(kind, ClosedObject({"a": words}, "predicate"))


@given(st.sampled_from(sorted(SHIPPED_KINDS.by_type)), JSON)
def test_whatever_is_signed_is_read_or_refused_with_a_code(predicate_type: str, predicate: Any) -> None:
    try:
        evidence = read_predicate(SHIPPED_KINDS, predicate_type, predicate)
    except FormatError as exc:
        assert exc.code in {"statement_malformed", "not_passed"}
    else:
        assert evidence.sayings


@given(st.sampled_from(OWN), st.data())
def test_one_odd_member_is_refused_or_is_what_is_read(name: str, data: st.DataObject) -> None:
    good = SAMPLES[name] | TIMES
    key = data.draw(st.sampled_from(sorted(good)))
    value = data.draw(JSON)
    try:
        evidence = read_predicate(SHIPPED_KINDS, SHIPPED_KINDS.by_name[name].predicate_type, good | {key: value})
    except FormatError as exc:
        assert exc.code == "statement_malformed"
        return
    claims = plain_claims(evidence.sayings[name].claims)
    expected = SAMPLES[name] | ({key: value} if key in SAMPLES[name] else {})
    assert claims == expected
    assert all(type(claims[one]) is type(expected[one]) for one in expected)
