"""The assessment: six factors settled from what is known, then summed, levelled and explained.

``assess`` decides for any facts at all: what can't be used is missing, and what is missing scores worst.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from scorer.assessment import Assessment, Contribution
from scorer.declared import parse_integer, parse_ratio, parse_rollback, parse_text
from scorer.explain import find_smallest_drop, recommend
from scorer.factors import (
    NEW_MODEL_SCORE,
    WIDE_SCOPE_SCORE,
    Claim,
    Fact,
    Facts,
    Provenance,
    Reading,
    read_classification,
    read_coverage,
    read_environment,
    read_parameters,
    read_replicas,
    read_rollback,
    read_strategy,
)
from scorer.weights import APPROVALS_BY_LEVEL, WEIGHTS, level_of


@dataclass(frozen=True, slots=True)
class _Rule:
    """How one factor is settled.

    Attributes:
        factor: its name.
        subject: what the fact is called in a sentence.
        worst: the score where nothing usable is known.
        read: typed value -> reading, None where it can't be used.
        parse: annotation text -> typed value, None where it is of no form that is read.
    """

    factor: str
    subject: str
    worst: int
    read: Callable[[object], Reading | None]
    parse: Callable[[str], object | None]


_PARAMETERS: Final = _Rule("model_complexity", "the number of parameters", 8, read_parameters, parse_integer)
_SENSITIVITY: Final = _Rule("data_sensitivity", "the data classification", 9, read_classification, parse_text)
_REPLICAS: Final = _Rule("deployment_scope", "the replica ceiling", WIDE_SCOPE_SCORE, read_replicas, parse_integer)
# The one factor whose worst value is not what is missing: a new model is worse, and our own record knows that.
_STRATEGY: Final = _Rule("change_magnitude", "the deployment strategy", 6, read_strategy, parse_text)
_COVERAGE: Final = _Rule("testing_coverage", "the test coverage", 8, read_coverage, parse_ratio)
_ROLLBACK: Final = _Rule("rollback_capability", "the rollback", 9, read_rollback, parse_rollback)


def assess(facts: Facts, *, accept_declared: bool = False) -> Assessment:
    """Score a deployment.

    Args:
        facts: what is known; members of a wrong type count as missing.
        accept_declared: whether a declared fact counts where nothing is known otherwise. Not even then does it lower
            a score that is known.
    """
    settle = partial(_settle, accept_declared=accept_declared is True)
    if_seen = settle(_STRATEGY, facts.strategy)
    contributions = (
        settle(_PARAMETERS, facts.parameters),
        settle(_SENSITIVITY, facts.data_classification),
        _scope(facts.environment, settle(_REPLICAS, facts.replicas)),
        if_seen if facts.model_seen is True else _new_model(facts.model_seen),
        settle(_COVERAGE, facts.coverage),
        settle(_ROLLBACK, facts.rollback),
    )
    score = sum(part.points for part in contributions)
    level = level_of(score)
    return Assessment(
        score=score,
        level=level,
        contributions=contributions,
        recommendations=recommend(contributions, change_if_seen=if_seen.score),
        smallest_drop=find_smallest_drop(contributions, change_if_seen=if_seen.score),
        required_roles=APPROVALS_BY_LEVEL[level],
    )


def _scope(environment: object, replicas: Contribution) -> Contribution:
    """Where it runs; how many copies run counts in production alone, and an unknown environment is production."""
    alone = read_environment(environment)
    if alone is not None:
        return _contribute(replicas.factor, alone.score, Provenance.DERIVED, alone.reason)
    if type(environment) is str and environment == "production":
        return replicas
    unknown = "the environment is unknown and counts as production"
    return replace(replicas, reason=_sentence(f"{unknown}; {_clause(replicas.reason)}"))


def _new_model(model_seen: object) -> Contribution:
    if model_seen is False:
        reason, provenance = "the record shows no earlier run of this model", Provenance.DERIVED
    else:
        reason, provenance = "whether this model ran before is not known, so it counts as new", Provenance.MISSING
    return _contribute(_STRATEGY.factor, NEW_MODEL_SCORE, provenance, reason)


def _settle(rule: _Rule, claim: object, *, accept_declared: bool) -> Contribution:
    """One factor from what is known and what is declared.

    A declaration is believed where it makes the score worse. It is not where it makes the score better: whoever
    writes the manifest would choose their own risk.
    """
    known, declarations = _take_apart(claim)
    reading = rule.read(known.value)
    declared = _worst(rule, declarations)
    if reading is not None:
        if declared is None or declared[1].score <= reading.score:
            return _contribute(rule.factor, reading.score, known.provenance, reading.reason, known.source)
        reason = f"declared, and worse than what is known: {declared[1].reason}"
        return _contribute(rule.factor, declared[1].score, Provenance.DECLARED, reason, declared[0].source)
    if declared is not None and (accept_declared or declared[1].score >= rule.worst):
        reason = f"as declared, {declared[1].reason}"
        return _contribute(rule.factor, declared[1].score, Provenance.DECLARED, reason, declared[0].source)
    reason = f"{rule.subject} is not known" if known.value is None else f"{rule.subject} that was found can't be used"
    if declared is not None:
        reason += ", and what is declared without a signature lowers no score"
    elif declarations:
        reason += ", and what is declared can't be used"
    return _contribute(rule.factor, rule.worst, Provenance.MISSING, reason, known.source)


def _take_apart(claim: object) -> tuple[Fact, tuple[Fact, ...]]:
    """What is known (missing where it is not trusted) and what is declared, whichever slot it was put in."""
    if type(claim) is not Claim:
        return Fact.missing(), ()
    known: object = claim.known
    declared: object = claim.declared
    declarations = [declared] if type(declared) is Fact and declared.value is not None else []
    if type(known) is not Fact or not isinstance(known.provenance, Provenance):
        return Fact.missing(), tuple(declarations)
    if known.provenance is Provenance.DECLARED and known.value is not None:
        declarations.append(known)
    if known.provenance in {Provenance.VERIFIED, Provenance.DERIVED}:
        return known, tuple(declarations)
    return Fact.missing(), tuple(declarations)


def _worst(rule: _Rule, declarations: tuple[Fact, ...]) -> tuple[Fact, Reading] | None:
    worst: tuple[Fact, Reading] | None = None
    for fact in declarations:
        value = rule.parse(fact.value) if type(fact.value) is str else fact.value
        reading = rule.read(value)
        if reading is not None and (worst is None or reading.score > worst[1].score):
            worst = fact, reading
    return worst


def _contribute(factor: str, score: int, provenance: Provenance, reason: str, source: object = "") -> Contribution:
    weight = WEIGHTS[factor]
    text = source if type(source) is str else ""
    return Contribution(factor, score, weight, score * weight, provenance, _sentence(reason), text)


def _sentence(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."


def _clause(sentence: str) -> str:
    return f"{sentence[0].lower()}{sentence[1:-1]}"
