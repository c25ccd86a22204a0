from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from scorer import Claim, Coverage, Fact, Facts, Provenance, Rollback, assess
from tests.scorer.known import BEST, CLAIMS, declared, derived, swap, verified


class _LyingInt(int):
    def __gt__(self, other: object) -> bool:
        return False


class _LyingText(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return other == "public"

    __hash__ = str.__hash__


def _score(factor: str, claim: Claim, **changes: Any) -> tuple[int, Provenance]:
    facts = swap(BEST, **{CLAIMS[factor]: claim}, **changes)
    part = next(part for part in assess(facts).contributions if part.factor == factor)
    return part.score, part.provenance


@pytest.mark.parametrize(
    ("parameters", "score"),
    [
        (1, 2),
        (10**9, 2),
        (10**9 + 1, 4),
        (10**10, 4),
        (10**10 + 1, 6),
        (5 * 10**10, 6),
        (5 * 10**10 + 1, 8),
        (2**53 - 1, 8),
    ],
)
def test_more_parameters_score_higher(parameters: int, score: int) -> None:
    assert _score("model_complexity", verified(parameters)) == (score, Provenance.VERIFIED)


@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        -1,
        True,
        2**53,
        pytest.param(10**5000, id="5001 digits"),
        7e9,
        float("nan"),
        float("inf"),
        "7000000000",
        b"7",
        [7],
        {},
        Fraction(7),
        _LyingInt(7 * 10**10),
    ],
)
def test_parameters_that_are_no_positive_integer_are_missing(value: object) -> None:
    assert _score("model_complexity", verified(value)) == (8, Provenance.MISSING)


@pytest.mark.parametrize(("value", "score"), [("public", 2), ("internal", 4), ("confidential", 7), ("restricted", 9)])
def test_data_scores_by_its_classification(value: str, score: int) -> None:
    assert _score("data_sensitivity", verified(value)) == (score, Provenance.VERIFIED)


@pytest.mark.parametrize(
    "value", [None, "", "Public", "public ", "PUBLIC", "secret", 2, True, ["public"], b"public", _LyingText("x")]
)
def test_a_classification_that_is_not_exactly_one_of_four_is_missing(value: object) -> None:
    assert _score("data_sensitivity", verified(value)) == (9, Provenance.MISSING)


@pytest.mark.parametrize(
    ("environment", "replicas", "expected"),
    [
        ("development", derived(1000), (2, Provenance.DERIVED)),
        ("development", Claim.missing(), (2, Provenance.DERIVED)),
        ("staging", derived(1000), (4, Provenance.DERIVED)),
        ("production", derived(0), (6, Provenance.DERIVED)),
        ("production", derived(1), (6, Provenance.DERIVED)),
        ("production", derived(10), (6, Provenance.DERIVED)),
        ("production", derived(11), (8, Provenance.DERIVED)),
        ("production", verified(10), (6, Provenance.VERIFIED)),
        ("production", Claim.missing(), (8, Provenance.MISSING)),
        ("production", derived(None), (8, Provenance.MISSING)),
        ("production", derived(-1), (8, Provenance.MISSING)),
        ("production", derived(value=True), (8, Provenance.MISSING)),
        ("production", derived("4"), (8, Provenance.MISSING)),
        ("production", derived(4.0), (8, Provenance.MISSING)),
        ("production", derived(2**53), (8, Provenance.MISSING)),
        ("qa", derived(4), (6, Provenance.DERIVED)),
        ("Development", derived(11), (8, Provenance.DERIVED)),
        ("", derived(4), (6, Provenance.DERIVED)),
        (None, derived(4), (6, Provenance.DERIVED)),
        (["development"], derived(4), (6, Provenance.DERIVED)),
    ],
)
def test_scope_is_the_environment_and_in_production_the_ceiling(
    environment: object, replicas: Claim, expected: tuple[int, Provenance]
) -> None:
    assert _score("deployment_scope", replicas, environment=environment) == expected


def test_an_unknown_environment_says_that_it_counts_as_production() -> None:
    part = assess(swap(BEST, environment="qa")).contributions[2]
    assert part.reason == "The environment is unknown and counts as production; up to 1 replica in production."


@pytest.mark.parametrize(("strategy", "score"), [("blue_green", 3), ("canary", 4), ("rolling", 6), ("recreate", 6)])
def test_a_known_model_scores_by_its_strategy(strategy: str, score: int) -> None:
    assert _score("change_magnitude", verified(strategy)) == (score, Provenance.VERIFIED)


@pytest.mark.parametrize("value", [None, "", "Canary", "blue-green", "RollingUpdate", 3, True, float("nan")])
def test_an_unknown_strategy_of_a_known_model_scores_6(value: object) -> None:
    assert _score("change_magnitude", derived(value)) == (6, Provenance.MISSING)


@pytest.mark.parametrize(
    ("seen", "provenance"),
    [
        (False, Provenance.DERIVED),
        (None, Provenance.MISSING),
        (1, Provenance.MISSING),
        ("true", Provenance.MISSING),
    ],
)
def test_a_model_is_new_unless_the_record_has_seen_it(seen: object, provenance: Provenance) -> None:
    assert _score("change_magnitude", verified("blue_green"), model_seen=seen) == (9, provenance)


@pytest.mark.parametrize(
    ("coverage", "score"),
    [
        (Coverage(1, 1), 2),
        (Coverage(90, 100), 2),
        (Coverage(899_999, 1_000_000), 4),
        (Coverage(80, 100), 4),
        (Coverage(4, 5), 4),
        (Coverage(799_999, 1_000_000), 6),
        (Coverage(70, 100), 6),
        (Coverage(699_999, 1_000_000), 8),
        (Coverage(0, 1), 8),
        pytest.param(Coverage(10**5000 * 8, 10**5001), 4, id="5001 digits"),
        (Fraction(9, 10), 2),
        (Fraction(4, 5), 4),
        (Fraction(4, 5) - Fraction(1, 10**40), 6),
        (Fraction(0), 8),
    ],
)
def test_coverage_is_compared_exactly(coverage: object, score: int) -> None:
    assert _score("testing_coverage", verified(coverage)) == (score, Provenance.VERIFIED)


@pytest.mark.parametrize(
    "value",
    [
        None,
        Coverage(0, 0),
        Coverage(2, 1),
        Coverage(-1, 1),
        Coverage(-1, -1),
        Coverage(covered=True, total=1),
        Coverage(covered=1, total=True),
        Coverage("1", 1),  # type: ignore[arg-type]
        Coverage(float("nan"), 1),  # type: ignore[arg-type]
        Fraction(11, 10),
        Fraction(-1, 10),
        0.95,
        1,
        True,
        "0.95",
        (95, 100),
    ],
)
def test_coverage_that_is_no_ratio_of_counts_is_missing(value: object) -> None:
    assert _score("testing_coverage", verified(value)) == (8, Provenance.MISSING)


@pytest.mark.parametrize(
    ("rollback", "score"),
    [
        (Rollback(available=True, minutes=1), 2),
        (Rollback(available=True, minutes=5), 2),
        (Rollback(available=True, minutes=6), 4),
        (Rollback(available=True, minutes=15), 4),
        (Rollback(available=True, minutes=16), 6),
        pytest.param(Rollback(available=True, minutes=10**5000), 6, id="5001 digits"),
        (Rollback(available=True), 6),
        (Rollback(available=True, minutes=0), 6),
        (Rollback(available=True, minutes=-3), 6),
        (Rollback(available=False), 9),
        (Rollback(available=False, minutes=3), 9),
    ],
)
def test_a_quicker_rollback_scores_lower(rollback: Rollback, score: int) -> None:
    assert _score("rollback_capability", verified(rollback)) == (score, Provenance.VERIFIED)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        "3",
        {"available": True, "minutes": 3},
        Rollback(available=1),  # type: ignore[arg-type]
        Rollback(available="yes", minutes=3),  # type: ignore[arg-type]
        Rollback(available=True, minutes=True),
        Rollback(available=True, minutes="3"),  # type: ignore[arg-type]
        Rollback(available=True, minutes=float("nan")),  # type: ignore[arg-type]
    ],
)
def test_a_rollback_of_a_wrong_type_is_missing(value: object) -> None:
    assert _score("rollback_capability", verified(value)) == (9, Provenance.MISSING)


@pytest.mark.parametrize(
    ("factor", "text", "score"),
    [
        ("model_complexity", "70000000000", 8),
        ("model_complexity", "7000000000", 4),
        ("data_sensitivity", "internal", 4),
        ("deployment_scope", "4", 6),
        ("change_magnitude", "canary", 4),
        ("testing_coverage", "0.85", 4),
        ("testing_coverage", "0.9", 2),
        ("testing_coverage", "0.799999999", 6),
        ("testing_coverage", "1", 2),
        ("testing_coverage", "1.0", 2),
        ("testing_coverage", "0", 8),
        ("rollback_capability", "3", 2),
        ("rollback_capability", "0", 6),
        ("rollback_capability", "-5", 6),
    ],
)
def test_declared_text_is_read_where_it_is_accepted(factor: str, text: str, score: int) -> None:
    facts = swap(BEST, environment="production", **{CLAIMS[factor]: declared(text)})
    part = next(part for part in assess(facts, accept_declared=True).contributions if part.factor == factor)
    assert (part.score, part.provenance, part.source) == (score, Provenance.DECLARED, "annotation")


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        *[
            ("model_complexity", text)
            for text in ("", " 7", "7 ", "+7", "-7", "0", "07", "7e9", "7_000", "7,000", "7.0")
        ],
        *[
            ("model_complexity", text)
            for text in ("70B", "0x7", "\u0667", "\uff17", "9" * 16, "9" * 17, "9" * 5000, "7\n")
        ],
        *[
            ("testing_coverage", text)
            for text in ("", "85%", "85", ".85", "0,85", "00.85", "1.01", "2", "-0.85", "1.", "0.")
        ],
        *[
            ("testing_coverage", text)
            for text in ("8.5e-1", "NaN", "inf", "0.85 ", "0.\u0668", "0." + "9" * 10, "17/20")
        ],
        *[("rollback_capability", text) for text in ("", "3m", "3.0", "-0", "03", "true", "three", "\u0663")],
        *[("data_sensitivity", text) for text in ("", "Public", "public\n", "none")],
    ],
)
def test_declared_text_of_another_spelling_is_missing(factor: str, text: str) -> None:
    facts = swap(BEST, **{CLAIMS[factor]: declared(text)})
    part = next(part for part in assess(facts, accept_declared=True).contributions if part.factor == factor)
    assert (part.score, part.provenance) == (assess_missing(facts, factor), Provenance.MISSING)
    assert "what is declared can't be used" in part.reason


def assess_missing(facts: Facts, factor: str) -> int:
    without = swap(facts, **{CLAIMS[factor]: Claim(Fact.missing())})
    return assess(without).factors[factor]
