from __future__ import annotations

import json
from dataclasses import fields
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scorer import (
    FACTORS,
    LEVELS,
    SCALES,
    WEIGHTS,
    Claim,
    Coverage,
    Fact,
    Facts,
    Provenance,
    Rollback,
    assess,
    level_of,
    render,
    to_json,
)
from tests.scorer.known import CLAIMS, facts_that_score, swap

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.fractions()
    | st.complex_numbers()
    | st.decimals()
    | st.sampled_from(
        ["public", "restricted", "canary", "rolling", "0.85", "3", "70000000000", "production", "development"]
    )
    | st.builds(object)
    | st.just(int),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.builds(Coverage, inner, inner)
        | st.builds(Rollback, inner, inner)
    ),
    max_leaves=4,
)
any_fact: st.SearchStrategy[Any] = st.builds(Fact, anything, st.sampled_from(Provenance) | anything, anything)
any_claim: st.SearchStrategy[Any] = st.builds(Claim, any_fact | anything, any_fact | anything)
any_facts: st.SearchStrategy[Any] = st.builds(Facts, **{field.name: any_claim | anything for field in fields(Facts)})

good_values: dict[str, st.SearchStrategy[object]] = {
    "parameters": st.integers(1, 2**53 - 1) | st.sampled_from([10**9, 10**10, 5 * 10**10]),
    "data_classification": st.sampled_from(["public", "internal", "confidential", "restricted"]),
    "replicas": st.integers(0, 30),
    "strategy": st.sampled_from(["blue_green", "canary", "rolling", "recreate"]),
    "coverage": st.fractions(0, 1) | st.integers(1, 1000).map(lambda n: Coverage(n // 2, n)),
    "rollback": st.builds(Rollback, st.booleans(), st.none() | st.integers(-5, 30)),
}
missing = st.just(Fact.missing())


def _claims(name: str) -> st.SearchStrategy[Claim]:
    known = missing | st.builds(Fact, good_values[name], st.sampled_from([Provenance.VERIFIED, Provenance.DERIVED]))
    declared = st.none() | st.builds(Fact, good_values[name], st.just(Provenance.DECLARED))
    return st.builds(Claim, known, declared)


good_facts = st.builds(
    Facts,
    environment=st.sampled_from(["development", "staging", "production", "elsewhere"]),
    model_seen=st.sampled_from([True, False, None]),
    **{name: _claims(name) for name in good_values},
)
combinations = st.tuples(*(st.sampled_from(SCALES[factor]) for factor in FACTORS))


@given(facts=any_facts, accept_declared=st.booleans())
def test_any_facts_at_all_are_assessed(facts: Facts, accept_declared: bool) -> None:
    result = assess(facts, accept_declared=accept_declared)
    assert 220 <= result.score <= 855
    assert result.level == level_of(result.score)
    for part in result.contributions:
        assert part.score in SCALES[part.factor]
        assert part.points == part.score * WEIGHTS[part.factor]
        assert part.reason.endswith(".")
        assert "\n" not in part.reason
    assert all(line.isprintable() for line in render(result))
    json.dumps(to_json(result), allow_nan=False)


@given(facts=any_facts)
def test_the_same_facts_have_the_same_assessment(facts: Facts) -> None:
    assert assess(facts) == assess(facts)


@given(facts=good_facts, name=st.sampled_from(sorted(good_values)))
def test_a_declaration_never_lowers_the_score(facts: Facts, name: str) -> None:
    claim: Claim = getattr(facts, name)
    without = swap(facts, **{name: Claim(claim.known)})
    assert assess(facts).score >= assess(without).score


@given(facts=good_facts, name=st.sampled_from(sorted(good_values)))
def test_a_declaration_never_lowers_what_is_known_even_where_declarations_are_accepted(facts: Facts, name: str) -> None:
    claim: Claim = getattr(facts, name)
    if claim.known.value is None:
        claim = Claim(Fact("public" if name == "data_classification" else 1, Provenance.MISSING), claim.declared)
        assert assess(swap(facts, **{name: claim})).score == assess(facts).score
        return
    without = swap(facts, **{name: Claim(claim.known)})
    assert assess(facts, accept_declared=True).score >= assess(without, accept_declared=True).score


@given(facts=good_facts, name=st.sampled_from(sorted(set(good_values) - {"strategy"})))
def test_forgetting_a_fact_never_lowers_the_score(facts: Facts, name: str) -> None:
    assert (
        assess(swap(facts, **{name: Claim.missing()})).score
        >= assess(swap(facts, **{name: Claim(getattr(facts, name).known)})).score
    )


@given(facts=good_facts)
def test_accepting_declarations_never_raises_the_score(facts: Facts) -> None:
    assert assess(facts, accept_declared=True).score <= assess(facts).score


@given(facts=good_facts)
def test_a_new_model_never_scores_lower_than_one_that_ran_before(facts: Facts) -> None:
    seen = assess(swap(facts, model_seen=True)).score
    assert assess(swap(facts, model_seen=False)).score == assess(swap(facts, model_seen=None)).score > seen


@given(facts=good_facts)
def test_a_stricter_environment_never_scores_lower(facts: Facts) -> None:
    scores = [assess(swap(facts, environment=name)).score for name in ("development", "staging", "production", "x")]
    assert scores == sorted(scores)
    assert scores[2] == scores[3]


@given(fewer=st.integers(1, 2**53 - 1), more=st.integers(1, 2**53 - 1))
def test_more_parameters_never_score_lower(fewer: int, more: int) -> None:
    _never_lower("parameters", min(fewer, more), max(fewer, more))


@given(fewer=st.integers(0, 30), more=st.integers(0, 30))
def test_more_replicas_never_score_lower(fewer: int, more: int) -> None:
    _never_lower("replicas", min(fewer, more), max(fewer, more))


@given(one=st.fractions(0, 1), other=st.fractions(0, 1))
def test_less_coverage_never_scores_lower(one: Fraction, other: Fraction) -> None:
    _never_lower("coverage", max(one, other), min(one, other))


@given(quick=st.integers(1, 60), slow=st.integers(1, 60))
def test_a_slower_rollback_never_scores_lower(quick: int, slow: int) -> None:
    minutes = sorted([quick, slow])
    _never_lower("rollback", *(Rollback(available=True, minutes=taken) for taken in minutes))


@given(scores=combinations)
def test_doing_what_is_recommended_gives_the_promised_score(scores: tuple[int, ...]) -> None:
    result = assess(facts_that_score(*scores))
    for advice in result.recommendations:
        position = FACTORS.index(advice.factor)
        weight = WEIGHTS[advice.factor]
        target = scores[position] - (result.score - advice.score_if_done) // weight
        done = assess(facts_that_score(*scores[:position], target, *scores[position + 1 :]))
        assert (done.score, done.level) == (advice.score_if_done, advice.level_if_done)
        assert done.score < result.score
        assert LEVELS.index(done.level) <= LEVELS.index(result.level)
        assert advice.factor not in {later.factor for later in done.recommendations}


@given(scores=combinations, name=st.sampled_from(FACTORS))
def test_one_factor_changes_one_contribution(scores: tuple[int, ...], name: str) -> None:
    facts = facts_that_score(*scores)
    other = assess(swap(facts, **{CLAIMS[name]: Claim.missing()}))
    changed = {
        now.factor for now, then in zip(assess(facts).contributions, other.contributions, strict=True) if now != then
    }
    assert changed <= {name}


def _never_lower(name: str, better: object, worse: object) -> None:
    facts = facts_that_score(2, 2, 6, 3, 2, 2)
    scored = [assess(swap(facts, **{name: Claim(Fact(value, Provenance.VERIFIED))})).score for value in (better, worse)]
    assert scored == sorted(scored)
