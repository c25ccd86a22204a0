"""Risk score of a model deployment: facts in, score and contributions out.

Pure standard library: no input or output, no clock, no Kubernetes, and no binary floating point anywhere.
"""

from scorer.assessment import Assessment, Contribution, Recommendation, SmallestDrop
from scorer.explain import render, to_json
from scorer.factors import Claim, Coverage, Fact, Facts, Provenance, Rollback
from scorer.recorded import assess_beside, assess_recorded, read_recorded
from scorer.score import assess
from scorer.weights import (
    APPROVALS_BY_ENVIRONMENT,
    APPROVALS_BY_LEVEL,
    FACTORS,
    LEVELS,
    ROLES,
    SCALES,
    WEIGHTS,
    level_of,
    required_roles,
    show,
    total,
)

__all__ = [
    "APPROVALS_BY_ENVIRONMENT",
    "APPROVALS_BY_LEVEL",
    "FACTORS",
    "LEVELS",
    "ROLES",
    "SCALES",
    "WEIGHTS",
    "Assessment",
    "Claim",
    "Contribution",
    "Coverage",
    "Fact",
    "Facts",
    "Provenance",
    "Recommendation",
    "Rollback",
    "SmallestDrop",
    "assess",
    "assess_beside",
    "assess_recorded",
    "level_of",
    "read_recorded",
    "render",
    "required_roles",
    "show",
    "to_json",
    "total",
]
