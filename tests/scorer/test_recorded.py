"""An earlier assessment stands in for what is no longer known, and for nothing else."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from scorer import (
    FACTORS,
    SCALES,
    Claim,
    Coverage,
    Fact,
    Facts,
    Provenance,
    Rollback,
    assess,
    assess_beside,
    assess_recorded,
    level_of,
    read_recorded,
    total,
)

THEN = dict(zip(FACTORS, (8, 7, 6, 9, 4, 2), strict=True))
MISSING = Claim(known=Fact.missing())


def facts(**known: Any) -> Facts:
    """A large confidential model in production with four replicas; what is not given is not known."""
    claims = {
        name: Claim(known=Fact(known[name], Provenance.VERIFIED)) if name in known else MISSING
        for name in ("parameters", "data_classification", "coverage", "rollback")
    }
    return Facts(
        environment="production",
        replicas=Claim(known=Fact(known.get("replicas", 4), Provenance.DERIVED)),
        model_seen=True,
        strategy=Claim(known=Fact("rolling", Provenance.DERIVED)),
        **claims,
    )


def test_every_recorded_combination_is_assessed_as_it_was() -> None:
    for scores in itertools.product(*(SCALES[factor] for factor in FACTORS)):
        then = dict(zip(FACTORS, scores, strict=True))
        found = assess_recorded(then, source="earlier")
        assert (found.factors, found.score, found.level) == (then, total(then), level_of(total(then)))


@pytest.mark.parametrize(
    "scores",
    [
        None,
        [],
        {},
        {**THEN, "luck": 2},
        {name: score for name, score in THEN.items() if name != "testing_coverage"},
        {**THEN, "data_sensitivity": 8},
        {**THEN, "data_sensitivity": True},
        {**THEN, "data_sensitivity": "7"},
        {**THEN, "data_sensitivity": None},
    ],
)
def test_scores_that_are_none_are_not_read(scores: object) -> None:
    assert read_recorded(scores) is None


def test_recorded_scores_are_read_in_the_order_of_the_factors() -> None:
    assert list(read_recorded(dict(reversed(THEN.items()))) or ()) == list(FACTORS)


def test_what_is_not_known_any_more_is_as_it_was() -> None:
    now = assess(facts())
    found = assess_beside(now, THEN, source="earlier", same_change=False)
    assert now.factors == dict(zip(FACTORS, (8, 9, 6, 6, 8, 9), strict=True))
    assert found.factors == {**THEN, "change_magnitude": 6}
    assert found.score == total(found.factors)


def test_what_is_known_now_counts_though_it_was_better_then() -> None:
    slow = Rollback(available=True, minutes=40)
    now = assess(facts(data_classification="restricted", coverage=Coverage(10, 100), rollback=slow))
    found = assess_beside(now, THEN, source="earlier", same_change=True)
    assert (found.factors["data_sensitivity"], found.factors["testing_coverage"]) == (9, 8)
    assert found.factors["rollback_capability"] == now.factors["rollback_capability"] > THEN["rollback_capability"]


def test_a_better_score_of_now_is_not_made_worse() -> None:
    now = assess(facts(parameters=10**6, data_classification="public"))
    found = assess_beside(now, THEN, source="earlier", same_change=True)
    assert (found.factors["model_complexity"], found.factors["data_sensitivity"]) == (2, 2)


def test_how_many_run_is_never_as_it_was() -> None:
    found = assess_beside(assess(facts(replicas=11)), THEN, source="earlier", same_change=True)
    assert found.factors["deployment_scope"] == 8


@pytest.mark.parametrize(("same_change", "expected"), [(True, 3), (False, 6)])
def test_the_change_is_as_it_was_only_where_nothing_but_replicas_changes(same_change: bool, expected: int) -> None:
    then = {**THEN, "change_magnitude": 3}
    found = assess_beside(assess(facts()), then, source="earlier", same_change=same_change)
    assert found.factors["change_magnitude"] == expected
