"""Weights, scales, levels and the approvals that they ask for.

The score S is the sum of factor score times weight, an integer: 100 times what people are shown. Weights and
thresholds stay integers because 0.20, 0.25, 0.15 and 0.10 have no exact binary form, and a sum of them lands on the
wrong side of a threshold for some combinations of factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

FACTORS: Final = (
    "model_complexity",
    "data_sensitivity",
    "deployment_scope",
    "change_magnitude",
    "testing_coverage",
    "rollback_capability",
)

# hundredths; they add up to 100
WEIGHTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "model_complexity": 20,
        "data_sensitivity": 25,
        "deployment_scope": 15,
        "change_magnitude": 20,
        "testing_coverage": 10,
        "rollback_capability": 10,
    }
)

# every score that a factor can have, best first
SCALES: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "model_complexity": (2, 4, 6, 8),
        "data_sensitivity": (2, 4, 7, 9),
        "deployment_scope": (2, 4, 6, 8),
        "change_magnitude": (3, 4, 6, 9),
        "testing_coverage": (2, 4, 6, 8),
        "rollback_capability": (2, 4, 6, 9),
    }
)

LEVELS: Final = ("low", "medium", "high", "critical")

# the highest S that still has the level; above the last one it is critical
_CEILINGS: Final = ((300, "low"), (500, "medium"), (700, "high"))

ROLES: Final = ("technical", "security", "business", "executive")

APPROVALS_BY_LEVEL: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "low": ("technical",),
        "medium": ("technical", "security"),
        "high": ("technical", "security", "business"),
        "critical": ("technical", "security", "business", "executive"),
    }
)

APPROVALS_BY_ENVIRONMENT: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "development": ("technical",),
        "staging": ("technical", "security"),
        "production": ("technical", "security", "business"),
    }
)


def total(scores: Mapping[str, int]) -> int:
    """S of six factor scores.

    Args:
        scores: factor -> score, exactly the keys of ``FACTORS``.

    Raises:
        ValueError: a factor is missing, or one is there that does not exist.
    """
    if set(scores) != set(FACTORS):
        raise ValueError("a score needs each of the six factors and no other")
    return sum(scores[factor] * WEIGHTS[factor] for factor in FACTORS)


def level_of(score: int) -> str:
    """Level of S: up to 300 low, up to 500 medium, up to 700 high, above that critical."""
    for ceiling, level in _CEILINGS:
        if score <= ceiling:
            return level
    return LEVELS[-1]


def show(score: int) -> str:
    """S as people read it, with two decimals: 665 is ``6.65``."""
    return f"{score // 100}.{score % 100:02d}"


def required_roles(environment: str, level: str) -> tuple[str, ...]:
    """Roles whose approval is asked for: the union of both tables, in the order of ``ROLES``.

    An environment that is not in the table asks for as much as production, a level that is not in it for all four.
    """
    by_environment = APPROVALS_BY_ENVIRONMENT.get(environment, APPROVALS_BY_ENVIRONMENT["production"])
    by_level = APPROVALS_BY_LEVEL.get(level, ROLES)
    return tuple(role for role in ROLES if role in by_environment or role in by_level)
