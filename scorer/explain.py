"""What would lower the score, and an assessment as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from scorer.assessment import Assessment, Contribution, Recommendation, SmallestDrop
from scorer.factors import NEW_MODEL_SCORE, WIDE_SCOPE_SCORE, Provenance
from scorer.weights import LEVELS, SCALES, level_of, show

_SCOPE: Final = "deployment_scope"
_CHANGE: Final = "change_magnitude"
_PRODUCTION_AT_MOST_TEN: Final = 6

# factor -> from which score on there is advice, the score that it leads to, the sentence without its full stop
_ADVICE: Final = {
    "model_complexity": (7, 6, "Quantise the model or distil it, to at most 50 billion parameters"),
    # Masked or minimised data is still confidential: the advice leads to 7, so only restricted data gains by it.
    "data_sensitivity": (7, 7, "Minimise or mask the data until it is confidential and no longer restricted"),
    _SCOPE: (7, _PRODUCTION_AT_MOST_TEN, "Release to a canary of at most 10 replicas first"),
    "testing_coverage": (6, 4, "Add tests until they cover at least 80 % of the statements"),
    "rollback_capability": (7, 2, "Automate the rollback and rehearse it in at most 5 minutes"),
}
_NEW_MODEL_ADVICE: Final = "Run the new model in shadow or as a canary first"


def recommend(contributions: Sequence[Contribution], *, change_if_seen: int) -> tuple[Recommendation, ...]:
    """Advice for each factor that scores high and that the advice would lower.

    Args:
        contributions: one a factor.
        change_if_seen: what ``change_magnitude`` would score had the model run before.
    """
    score = sum(part.points for part in contributions)
    found = []
    for part in contributions:
        if part.factor == _CHANGE:
            at_least, target, text = NEW_MODEL_SCORE, change_if_seen, _NEW_MODEL_ADVICE
        else:
            at_least, target, text = _ADVICE[part.factor]
        if part.score < at_least or part.score <= target:
            continue
        if part.provenance is Provenance.MISSING and part.factor not in {_SCOPE, _CHANGE}:
            text += "; if that is so already, attach signed evidence of it"
        done = score - (part.score - target) * part.weight
        found.append(Recommendation(part.factor, f"{text}.", done, level_of(done)))
    return tuple(found)


def find_smallest_drop(contributions: Sequence[Contribution], *, change_if_seen: int) -> SmallestDrop | None:
    """The change of one factor that drops a level and takes the fewest points; the first factor wins a tie.

    Only what the requester can change is within reach: not the environment, and a new model stays new until it has
    run.

    Args:
        contributions: one a factor.
        change_if_seen: what ``change_magnitude`` would score had the model run before.
    """
    score = sum(part.points for part in contributions)
    rank = LEVELS.index(level_of(score))
    best: SmallestDrop | None = None
    for part in contributions:
        for target in _within_reach(part, change_if_seen):
            then = score - (part.score - target) * part.weight
            if LEVELS.index(level_of(then)) < rank and (best is None or then > best.score):
                best = SmallestDrop(part.factor, part.score, target, then, level_of(then))
    return best


def _within_reach(part: Contribution, change_if_seen: int) -> tuple[int, ...]:
    if part.factor == _SCOPE:
        return (_PRODUCTION_AT_MOST_TEN,) if part.score == WIDE_SCOPE_SCORE else ()
    if part.factor == _CHANGE and part.score == NEW_MODEL_SCORE:
        return (change_if_seen,)
    return tuple(score for score in SCALES[part.factor] if score < part.score)


def render(assessment: Assessment) -> list[str]:
    """Lines for a terminal: the score, a row a factor, what would help. Only text of our own is in them."""
    lines = [
        f"Risk {assessment.shown} {assessment.level}",
        "",
        "  factor               score x weight  points  known     why",
    ]
    lines += [_row(part) for part in assessment.contributions]
    lines.append(f"  {'total':<19}  {'':>14}  {assessment.score:>6}")
    if assessment.recommendations:
        lines += ["", "What would lower it:"]
        lines += [
            f"  {advice.factor}: {advice.text} Then {show(advice.score_if_done)} {advice.level_if_done}."
            for advice in assessment.recommendations
        ]
    if (drop := assessment.smallest_drop) is not None:
        step = f"{drop.factor} from {drop.from_score} to {drop.to_score}, then {show(drop.score)} {drop.level}."
        lines += ["", f"Smallest step to a lower level: {step}"]
    return lines


def _row(part: Contribution) -> str:
    points = f"{part.score:>5} x {part.weight:<6}  {part.points:>6}"
    return f"  {part.factor:<19}  {points}  {part.provenance:<8}  {part.reason}"


def to_json(assessment: Assessment) -> dict[str, Any]:
    """The assessment as JSON of text, integers, lists and objects; ``smallest_drop`` may be null."""
    drop = assessment.smallest_drop
    return {
        "score": assessment.score,
        "shown": assessment.shown,
        "level": assessment.level,
        "factors": assessment.factors,
        "contributions": [
            {
                "factor": part.factor,
                "score": part.score,
                "weight": part.weight,
                "points": part.points,
                "provenance": part.provenance.value,
                "source": part.source,
                "reason": part.reason,
            }
            for part in assessment.contributions
        ],
        "recommendations": [
            {
                "factor": advice.factor,
                "text": advice.text,
                "score": advice.score_if_done,
                "level": advice.level_if_done,
            }
            for advice in assessment.recommendations
        ],
        "smallest_drop": None
        if drop is None
        else {
            "factor": drop.factor,
            "from": drop.from_score,
            "to": drop.to_score,
            "score": drop.score,
            "level": drop.level,
        },
        "required_roles": list(assessment.required_roles),
    }
