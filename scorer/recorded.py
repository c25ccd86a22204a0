"""Scores that an earlier assessment of the same content came to, where nothing newer is known.

Attestations expire and stand on objects that go; what they showed of content that has not changed is still so. A fact
that is known now always counts before one that was known then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from scorer.assessment import Assessment, Contribution
from scorer.explain import find_smallest_drop, recommend
from scorer.factors import Provenance
from scorer.weights import APPROVALS_BY_LEVEL, FACTORS, SCALES, WEIGHTS, level_of

CONTENT_FACTORS: Final = frozenset({"model_complexity", "data_sensitivity", "testing_coverage", "rollback_capability"})
"""What the content itself decides: not where it runs, nor how it comes there."""

_CHANGE: Final = "change_magnitude"
_REASON: Final = "As an earlier decision about the same content found."


def read_recorded(scores: object) -> Mapping[str, int] | None:
    """Six factor scores as a record has them; None where they are not each one of its scale."""
    if not isinstance(scores, Mapping) or set(scores) != set(FACTORS):
        return None
    if any(type(score) is not int or score not in SCALES[factor] for factor, score in scores.items()):
        return None
    return {factor: scores[factor] for factor in FACTORS}


def assess_recorded(scores: Mapping[str, int], *, source: str) -> Assessment:
    """The assessment that a record tells of.

    Args:
        scores: as ``read_recorded`` gave them.
        source: which record, as text.
    """
    return _build(tuple(_contribution(factor, scores[factor], source) for factor in FACTORS))


def assess_beside(now: Assessment, scores: Mapping[str, int], *, source: str, same_change: bool) -> Assessment:
    """An assessment in which an earlier one stands in for what is not known any more.

    Args:
        now: from what is known now.
        scores: as ``read_recorded`` gave them.
        source: which record, as text.
        same_change: whether nothing but the number of replicas changes, so that the change is not judged again.
    """

    def stands_in(part: Contribution) -> bool:
        if scores[part.factor] >= part.score:
            return False
        unknown = part.factor in CONTENT_FACTORS and part.provenance is Provenance.MISSING
        return unknown or (part.factor == _CHANGE and same_change)

    return _build(
        tuple(
            _contribution(part.factor, scores[part.factor], source) if stands_in(part) else part
            for part in now.contributions
        )
    )


def _contribution(factor: str, score: int, source: str) -> Contribution:
    weight = WEIGHTS[factor]
    return Contribution(factor, score, weight, score * weight, Provenance.DERIVED, _REASON, source)


def _build(contributions: tuple[Contribution, ...]) -> Assessment:
    score = sum(part.points for part in contributions)
    level = level_of(score)
    change = next(part.score for part in contributions if part.factor == _CHANGE)
    return Assessment(
        score=score,
        level=level,
        contributions=contributions,
        recommendations=recommend(contributions, change_if_seen=change),
        smallest_drop=find_smallest_drop(contributions, change_if_seen=change),
        required_roles=APPROVALS_BY_LEVEL[level],
    )
