"""Facts, how each is known, and what one value scores.

A reader takes any object and returns a ``Reading``, or None where the object is no usable value: absent, of another
type, or out of range. Types are compared exactly, so that ``True`` is no number and a subclass with operators of its
own is no value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

# the largest integer that every JSON reader keeps (RFC 8259, section 6)
_LARGEST: Final = 2**53 - 1

_BILLION: Final = 10**9
_PARAMETER_STEPS: Final = ((50, 8), (10, 6), (1, 4))
_FEWEST_PARAMETERS_SCORE: Final = 2
_CLASSIFICATION_SCORES: Final = {"public": 2, "internal": 4, "confidential": 7, "restricted": 9}
_ENVIRONMENT_SCORES: Final = {"development": 2, "staging": 4}
_MANY_REPLICAS: Final = 10
_PRODUCTION_SCORE: Final = 6
WIDE_SCOPE_SCORE: Final = 8
_STRATEGY_SCORES: Final = {"blue_green": 3, "canary": 4, "rolling": 6, "recreate": 6}
NEW_MODEL_SCORE: Final = 9
_COVERAGE_STEPS: Final = ((90, 2), (80, 4), (70, 6))
_LEAST_COVERAGE_SCORE: Final = 8
_ROLLBACK_STEPS: Final = ((5, 2), (15, 4))
_UNTIMED_ROLLBACK_SCORE: Final = 6
_NO_ROLLBACK_SCORE: Final = 9


class Provenance(StrEnum):
    """How a fact is known."""

    VERIFIED = "verified"
    """From signed evidence."""
    DERIVED = "derived"
    """Seen in the object itself, or in our own record."""
    DECLARED = "declared"
    """Said by an unsigned annotation."""
    MISSING = "missing"
    """Not known."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One value and how it is known.

    Attributes:
        value: None when it is not known.
        provenance: how it is known.
        source: short text, such as a statement digest or a field path.
    """

    value: object | None
    provenance: Provenance
    source: str = ""

    @classmethod
    def missing(cls) -> Fact:
        """The fact that nothing is known."""
        return cls(None, Provenance.MISSING)


@dataclass(frozen=True, slots=True)
class Claim:
    """What is known for a factor, and what an unsigned annotation says besides.

    Attributes:
        known: verified, derived or missing.
        declared: typed value or annotation text; None when nothing is declared.
    """

    known: Fact
    declared: Fact | None = None

    @classmethod
    def missing(cls) -> Claim:
        """Nothing known, nothing declared."""
        return cls(Fact.missing())


@dataclass(frozen=True, slots=True)
class Coverage:
    """Counts of a test run: the ratio is theirs, never a rounded number's.

    Attributes:
        covered: statements that ran, 0 to ``total``.
        total: statements in all, more than 0.
    """

    covered: int
    total: int


@dataclass(frozen=True, slots=True)
class Rollback:
    """Whether there is a way back, and how long it takes.

    Attributes:
        available: a rollback exists.
        minutes: how long it took when it was tried; None when nobody measured.
    """

    available: bool
    minutes: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the score depends on.

    Attributes:
        environment: ``development``, ``staging`` or ``production``; anything else scores as production.
        parameters: int, all parameters of the model (of a mixture of experts too); declared also as text.
        data_classification: ``public``, ``internal``, ``confidential`` or ``restricted``.
        replicas: int, the most that can run at once; None where nobody knows or there is no limit.
        model_seen: whether our record has this model running before; None, not known, counts as new.
        strategy: ``rolling``, ``recreate``, ``blue_green`` or ``canary``.
        coverage: ``Coverage`` or an exact ``Fraction``; declared also as decimal text, ``0.85``.
        rollback: ``Rollback``; declared also as text, the minutes.
    """

    environment: str
    parameters: Claim
    data_classification: Claim
    replicas: Claim
    model_seen: bool | None
    strategy: Claim
    coverage: Claim
    rollback: Claim


@dataclass(frozen=True, slots=True)
class Reading:
    """A usable value's score and why.

    Attributes:
        score: one of the factor's scale.
        reason: a clause without a capital and a full stop; it never repeats text from outside.
    """

    score: int
    reason: str


def _integer(value: object, *, at_least: int) -> int | None:
    """The value when it is an integer in range; ``True`` is none."""
    if type(value) is int and at_least <= value <= _LARGEST:
        return value
    return None


def read_parameters(value: object) -> Reading | None:
    """Score of a parameter count, 1 or more."""
    count = _integer(value, at_least=1)
    if count is None:
        return None
    for billions, score in _PARAMETER_STEPS:
        if count > billions * _BILLION:
            return Reading(score, f"the model has {count:,} parameters, more than {billions} billion")
    return Reading(_FEWEST_PARAMETERS_SCORE, f"the model has {count:,} parameters, at most 1 billion")


def read_classification(value: object) -> Reading | None:
    """Score of a data classification, exact and in lower case."""
    if type(value) is not str or value not in _CLASSIFICATION_SCORES:
        return None
    return Reading(_CLASSIFICATION_SCORES[value], f"the data is {value}")


def read_environment(environment: object) -> Reading | None:
    """Score of an environment that scores alone; None for production and for every unknown one."""
    if type(environment) is not str or environment not in _ENVIRONMENT_SCORES:
        return None
    return Reading(_ENVIRONMENT_SCORES[environment], f"the environment is {environment}")


def read_replicas(value: object) -> Reading | None:
    """Score of a replica ceiling in production, 0 or more."""
    count = _integer(value, at_least=0)
    if count is None:
        return None
    noun = "replica" if count == 1 else "replicas"
    if count > _MANY_REPLICAS:
        return Reading(WIDE_SCOPE_SCORE, f"up to {count:,} {noun} in production, more than {_MANY_REPLICAS}")
    return Reading(_PRODUCTION_SCORE, f"up to {count} {noun} in production")


def read_strategy(value: object) -> Reading | None:
    """Score of a way of rolling out, exact and in lower case."""
    if type(value) is not str or value not in _STRATEGY_SCORES:
        return None
    return Reading(_STRATEGY_SCORES[value], f"the model ran before, and its deployment strategy is {value}")


def read_coverage(value: object) -> Reading | None:
    """Score of an exact ratio of covered statements, 0 to 1."""
    counts = _counts(value)
    if counts is None:
        return None
    covered, statements = counts
    hundredths = covered * 10_000 // statements
    shown = f"tests cover {hundredths // 100}.{hundredths % 100:02d} % of the statements"
    for percent, score in _COVERAGE_STEPS:
        if covered * 100 >= statements * percent:
            return Reading(score, f"{shown}, at least {percent} %")
    return Reading(_LEAST_COVERAGE_SCORE, f"{shown}, less than 70 %")


def _counts(value: object) -> tuple[int, int] | None:
    if type(value) is Fraction:
        value = Coverage(value.numerator, value.denominator)
    if type(value) is not Coverage:
        return None
    covered, statements = value.covered, value.total
    if type(covered) is not int or type(statements) is not int:
        return None
    return (covered, statements) if 0 <= covered <= statements and statements > 0 else None


def read_rollback(value: object) -> Reading | None:
    """Score of a way back: with a time of 1 minute or more, without one, or none at all."""
    if type(value) is not Rollback or type(value.available) is not bool:
        return None
    if not value.available:
        return Reading(_NO_ROLLBACK_SCORE, "there is no rollback")
    if value.minutes is None:
        return Reading(_UNTIMED_ROLLBACK_SCORE, "there is a rollback, and nobody has measured how long it takes")
    if type(value.minutes) is not int:
        return None
    if value.minutes <= 0:
        return Reading(_UNTIMED_ROLLBACK_SCORE, "there is a rollback with a time that can't be true")
    for limit, score in _ROLLBACK_STEPS:
        if value.minutes <= limit:
            return Reading(score, f"a rollback takes at most {limit} minutes")
    return Reading(_UNTIMED_ROLLBACK_SCORE, "a rollback takes more than 15 minutes")
