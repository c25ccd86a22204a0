from __future__ import annotations

import ast
import itertools
from collections import Counter
from pathlib import Path

import pytest

import scorer
from scorer import FACTORS, LEVELS, ROLES, SCALES, WEIGHTS, level_of, required_roles, show, total

ALL_COMBINATIONS = tuple(itertools.product(*(SCALES[factor] for factor in FACTORS)))


def _total(scores: tuple[int, ...]) -> int:
    return total(dict(zip(FACTORS, scores, strict=True)))


def test_weights_add_up_to_a_hundred() -> None:
    assert dict(WEIGHTS) == {
        "model_complexity": 20,
        "data_sensitivity": 25,
        "deployment_scope": 15,
        "change_magnitude": 20,
        "testing_coverage": 10,
        "rollback_capability": 10,
    }
    assert sum(WEIGHTS.values()) == 100
    assert tuple(WEIGHTS) == tuple(SCALES) == FACTORS


def test_the_4096_combinations_have_the_specified_levels() -> None:
    assert len(ALL_COMBINATIONS) == 4096
    assert Counter(level_of(_total(scores)) for scores in ALL_COMBINATIONS) == {
        "low": 53,
        "medium": 1681,
        "high": 2163,
        "critical": 199,
    }


def test_the_score_runs_from_220_to_855() -> None:
    scores = [_total(combination) for combination in ALL_COMBINATIONS]
    assert (min(scores), max(scores)) == (220, 855)


def test_summing_binary_floats_would_give_46_combinations_the_wrong_level() -> None:
    def float_level(scores: tuple[int, ...]) -> tuple[str, float]:
        overall = 0.0
        # One rounding an addition: sum() compensates for it from Python 3.12 on.
        for factor, score in zip(FACTORS, scores, strict=True):
            overall += score * (WEIGHTS[factor] / 100)
        level = "low" if overall <= 3.0 else "medium" if overall <= 5.0 else "high" if overall <= 7.0 else "critical"
        return level, overall

    wrong = [scores for scores in ALL_COMBINATIONS if float_level(scores)[0] != level_of(_total(scores))]
    assert len(wrong) == 46
    assert {_total(scores) for scores in wrong} <= {300, 500, 700}, "only sums that stand on a threshold go wrong"
    for scores in wrong:
        assert LEVELS.index(float_level(scores)[0]) == LEVELS.index(level_of(_total(scores))) + 1
    assert "5.0 high" in {f"{overall:.1f} {level}" for level, overall in map(float_level, wrong)}


def test_no_float_and_no_true_division_stands_in_the_scorer() -> None:
    files = sorted(Path(scorer.__file__).parent.glob("*.py"))
    assert len(files) >= 5
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            where = f"{file.name}:{getattr(node, 'lineno', 0)}"
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float | complex)), where
            assert not isinstance(node, ast.Div), where
            assert not (isinstance(node, ast.Name) and node.id in {"float", "round"}), where


@pytest.mark.parametrize(
    ("score", "level"),
    [
        (220, "low"),
        (300, "low"),
        (301, "medium"),
        (500, "medium"),
        (501, "high"),
        (700, "high"),
        (701, "critical"),
        (855, "critical"),
    ],
)
def test_a_threshold_belongs_to_the_lower_level(score: int, level: str) -> None:
    assert level_of(score) == level


@pytest.mark.parametrize(
    ("score", "shown"), [(220, "2.20"), (500, "5.00"), (605, "6.05"), (665, "6.65"), (855, "8.55")]
)
def test_the_score_is_shown_with_two_decimals(score: int, shown: str) -> None:
    assert show(score) == shown


@pytest.mark.parametrize(
    ("environment", "level", "roles"),
    [
        ("development", "low", ("technical",)),
        ("development", "medium", ("technical", "security")),
        ("development", "high", ("technical", "security", "business")),
        ("development", "critical", ROLES),
        ("staging", "low", ("technical", "security")),
        ("staging", "medium", ("technical", "security")),
        ("staging", "high", ("technical", "security", "business")),
        ("staging", "critical", ROLES),
        ("production", "low", ("technical", "security", "business")),
        ("production", "medium", ("technical", "security", "business")),
        ("production", "high", ("technical", "security", "business")),
        ("production", "critical", ROLES),
        ("Production", "low", ("technical", "security", "business")),
        ("", "low", ("technical", "security", "business")),
        ("development", "", ROLES),
        ("development", "LOW", ROLES),
    ],
)
def test_required_roles_are_the_union_of_both_tables(environment: str, level: str, roles: tuple[str, ...]) -> None:
    assert required_roles(environment, level) == roles


def test_a_higher_level_and_a_stricter_environment_never_need_fewer_roles() -> None:
    environments = ("development", "staging", "production")
    for environment, (lower, higher) in itertools.product(environments, itertools.pairwise(LEVELS)):
        assert set(required_roles(environment, lower)) <= set(required_roles(environment, higher))
    for level, (laxer, stricter) in itertools.product(LEVELS, itertools.pairwise(environments)):
        assert set(required_roles(laxer, level)) <= set(required_roles(stricter, level))


@pytest.mark.parametrize("scores", [{}, dict.fromkeys(FACTORS[:5], 2), dict.fromkeys((*FACTORS, "luck"), 2)])
def test_a_total_needs_each_factor_and_no_other(scores: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="each of the six factors"):
        total(scores)
