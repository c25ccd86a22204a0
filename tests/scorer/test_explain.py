from __future__ import annotations

import itertools
import json
from textwrap import dedent

import pytest

from scorer import FACTORS, LEVELS, SCALES, Facts, SmallestDrop, assess, level_of, render, to_json
from tests.scorer.known import BEST, NOTHING_KNOWN, declared, derived, facts_that_score, swap, verified

EXAMPLE = facts_that_score(8, 7, 6, 3, 4, 2)


def _advised(facts: Facts) -> dict[str, tuple[int, str]]:
    return {advice.factor: (advice.score_if_done, advice.level_if_done) for advice in assess(facts).recommendations}


def test_the_worst_case_gets_all_six_recommendations_with_the_score_of_each() -> None:
    assert _advised(facts_that_score(8, 9, 8, 9, 8, 9)) == {
        "model_complexity": (815, "critical"),
        "data_sensitivity": (805, "critical"),
        "deployment_scope": (825, "critical"),
        "change_magnitude": (795, "critical"),
        "testing_coverage": (815, "critical"),
        "rollback_capability": (785, "critical"),
    }


def test_the_best_case_gets_no_advice_and_has_no_level_below() -> None:
    result = assess(BEST)
    assert result.recommendations == ()
    assert result.smallest_drop is None


@pytest.mark.parametrize(
    ("factor", "without", "advised"),
    [
        ("model_complexity", (6, 2, 2, 3, 2, 2), (8, 2, 2, 3, 2, 2)),
        ("data_sensitivity", (2, 7, 2, 3, 2, 2), (2, 9, 2, 3, 2, 2)),
        ("deployment_scope", (2, 2, 6, 3, 2, 2), (2, 2, 8, 3, 2, 2)),
        ("change_magnitude", (2, 2, 2, 6, 2, 2), (2, 2, 2, 9, 2, 2)),
        ("testing_coverage", (2, 2, 2, 3, 4, 2), (2, 2, 2, 3, 6, 2)),
        ("rollback_capability", (2, 2, 2, 3, 2, 6), (2, 2, 2, 3, 2, 9)),
    ],
)
def test_advice_starts_at_its_score(factor: str, without: tuple[int, ...], advised: tuple[int, ...]) -> None:
    assert list(_advised(facts_that_score(*without))) == []
    assert list(_advised(facts_that_score(*advised))) == [factor]


@pytest.mark.parametrize(("strategy", "then"), [("blue_green", 3), ("canary", 4), ("rolling", 6), ("", 6)])
def test_a_new_model_is_advised_to_run_first_and_then_scores_by_its_strategy(strategy: str, then: int) -> None:
    result = assess(swap(BEST, model_seen=False, strategy=derived(strategy)))
    (advice,) = result.recommendations
    assert advice.factor == "change_magnitude"
    assert "shadow" in advice.text
    assert "canary" in advice.text
    assert advice.score_if_done == result.score - (9 - then) * 20


def test_advice_on_a_missing_fact_says_that_evidence_may_be_enough() -> None:
    for advice in assess(swap(NOTHING_KNOWN, model_seen=False)).recommendations:
        asks_for_evidence = advice.text.endswith("attach signed evidence of it.")
        assert asks_for_evidence == (advice.factor not in {"deployment_scope", "change_magnitude"})


@pytest.mark.parametrize(
    ("scores", "drop"),
    [
        ((8, 7, 6, 3, 4, 2), SmallestDrop("data_sensitivity", 7, 4, 470, "medium")),
        ((8, 9, 8, 9, 2, 2), SmallestDrop("deployment_scope", 8, 6, 695, "high")),
        ((8, 9, 6, 9, 4, 2), SmallestDrop("testing_coverage", 4, 2, 695, "high")),
        ((8, 9, 8, 9, 8, 9), SmallestDrop("data_sensitivity", 9, 2, 680, "high")),
        ((2, 2, 2, 3, 2, 2), None),
    ],
)
def test_the_smallest_drop_takes_the_fewest_points(scores: tuple[int, ...], drop: SmallestDrop | None) -> None:
    assert assess(facts_that_score(*scores)).smallest_drop == drop


def test_the_first_factor_wins_a_tie() -> None:
    # 340: both complexity 4 to 2 and change 6 to 4 take 40 points
    result = assess(facts_that_score(4, 2, 2, 6, 2, 4))
    assert result.score == 340
    assert result.smallest_drop == SmallestDrop("model_complexity", 4, 2, 300, "low")


def test_another_environment_is_not_within_reach() -> None:
    # 301 to 330 by scope alone: staging instead of production would do
    result = assess(facts_that_score(2, 2, 6, 3, 4, 4))
    assert (result.score, result.level) == (320, "medium")
    assert result.smallest_drop == SmallestDrop("testing_coverage", 4, 2, 300, "low")
    for scores in itertools.product(*(SCALES[factor] for factor in FACTORS)):
        drop = assess(facts_that_score(*scores)).smallest_drop
        if drop is not None and drop.factor == "deployment_scope":
            assert (drop.from_score, drop.to_score) == (8, 6)


def test_every_smallest_drop_drops_a_level_and_none_within_reach_is_smaller() -> None:
    for scores in itertools.product(*(SCALES[factor] for factor in FACTORS)):
        facts = facts_that_score(*scores)
        result = assess(facts)
        drop = result.smallest_drop
        within_reach = {
            assess(facts_that_score(*scores[:position], target, *scores[position + 1 :])).score
            for position, factor in enumerate(FACTORS)
            for target in SCALES[factor]
            if target < scores[position]
            and not (factor == "deployment_scope" and scores[position] < 8)
            and not (factor == "deployment_scope" and target < 6)
            and not (factor == "change_magnitude" and scores[position] == 9 and target < 6)
        }
        dropping = [score for score in within_reach if LEVELS.index(level_of(score)) < LEVELS.index(result.level)]
        assert (drop.score if drop else None) == max(dropping, default=None)
        assert drop is None or drop.level == level_of(drop.score)


def test_the_table_reads_as_documented() -> None:
    assert "\n".join(render(assess(EXAMPLE))) == dedent(
        """\
        Risk 5.45 high

          factor               score x weight  points  known     why
          model_complexity         8 x 20         160  verified  The model has 70,000,000,000 parameters, more than 50 billion.
          data_sensitivity         7 x 25         175  verified  The data is confidential.
          deployment_scope         6 x 15          90  derived   Up to 4 replicas in production.
          change_magnitude         3 x 20          60  verified  The model ran before, and its deployment strategy is blue_green.
          testing_coverage         4 x 10          40  verified  Tests cover 85.00 % of the statements, at least 80 %.
          rollback_capability      2 x 10          20  verified  A rollback takes at most 5 minutes.
          total                                   545

        What would lower it:
          model_complexity: Quantise the model or distil it, to at most 50 billion parameters. Then 5.05 high.

        Smallest step to a lower level: data_sensitivity from 7 to 4, then 4.70 medium."""  # noqa: E501 - as printed
    )


def test_the_table_of_the_best_case_ends_with_the_total() -> None:
    assert render(assess(BEST))[-1].split() == ["total", "220"]


def test_the_json_form_is_complete() -> None:
    result = to_json(assess(swap(BEST, parameters=verified(70 * 10**9))))
    assert result == {
        "score": 340,
        "shown": "3.40",
        "level": "medium",
        "factors": {
            "model_complexity": 8,
            "data_sensitivity": 2,
            "deployment_scope": 2,
            "change_magnitude": 3,
            "testing_coverage": 2,
            "rollback_capability": 2,
        },
        "contributions": [
            _part("model_complexity", 8, 20, "The model has 70,000,000,000 parameters, more than 50 billion."),
            _part("data_sensitivity", 2, 25, "The data is public."),
            _part("deployment_scope", 2, 15, "The environment is development.", provenance="derived", source=""),
            _part("change_magnitude", 3, 20, "The model ran before, and its deployment strategy is blue_green."),
            _part("testing_coverage", 2, 10, "Tests cover 100.00 % of the statements, at least 90 %."),
            _part("rollback_capability", 2, 10, "A rollback takes at most 5 minutes."),
        ],
        "recommendations": [
            {
                "factor": "model_complexity",
                "text": "Quantise the model or distil it, to at most 50 billion parameters.",
                "score": 300,
                "level": "low",
            }
        ],
        "smallest_drop": {"factor": "model_complexity", "from": 8, "to": 6, "score": 300, "level": "low"},
        "required_roles": ["technical", "security"],
    }


def test_the_json_form_holds_no_float_and_no_enum() -> None:
    for facts in (BEST, EXAMPLE, NOTHING_KNOWN, swap(NOTHING_KNOWN, parameters=declared("7"))):
        text = json.dumps(to_json(assess(facts)), allow_nan=False)

        def refuse(number: str) -> int:
            raise AssertionError(number)

        assert json.loads(text, parse_float=refuse) == to_json(assess(facts))
    assert to_json(assess(BEST))["smallest_drop"] is None
    assert {type(part["provenance"]) for part in to_json(assess(BEST))["contributions"]} == {str}


def _part(
    factor: str, score: int, weight: int, reason: str, *, provenance: str = "verified", source: str = "sha256:00"
) -> dict[str, object]:
    return {
        "factor": factor,
        "score": score,
        "weight": weight,
        "points": score * weight,
        "provenance": provenance,
        "source": source,
        "reason": reason,
    }
