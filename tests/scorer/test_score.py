from __future__ import annotations

import pytest

from scorer import FACTORS, Claim, Coverage, Fact, Provenance, Rollback, assess
from tests.scorer.known import BEST, CLAIMS, NOTHING_KNOWN, declared, derived, facts_that_score, swap, verified


def declare(known: object, annotation: object, provenance: Provenance = Provenance.VERIFIED) -> Claim:
    return Claim(Fact(known, provenance), Fact(annotation, Provenance.DECLARED))


@pytest.mark.parametrize(
    ("scores", "score", "level"),
    [
        ((8, 7, 6, 3, 4, 2), 545, "high"),
        ((8, 7, 6, 9, 4, 2), 665, "high"),
        ((8, 9, 6, 3, 4, 2), 595, "high"),
        ((8, 7, 8, 3, 4, 2), 575, "high"),
        ((8, 7, 6, 3, 4, 9), 615, "high"),
        ((8, 9, 6, 9, 2, 2), 695, "high"),
        ((8, 9, 8, 9, 2, 2), 725, "critical"),
        ((8, 9, 6, 9, 4, 2), 715, "critical"),
        ((8, 2, 6, 6, 4, 4), 500, "medium"),
        ((8, 4, 8, 3, 4, 2), 500, "medium"),
        ((8, 2, 4, 6, 2, 9), 500, "medium"),
        ((6, 2, 2, 3, 2, 2), 300, "low"),
        ((2, 4, 4, 3, 2, 2), 300, "low"),
        ((2, 2, 2, 6, 2, 4), 300, "low"),
        ((8, 4, 8, 9, 8, 6), 700, "high"),
        ((8, 4, 6, 9, 8, 9), 700, "high"),
        ((2, 2, 2, 3, 2, 2), 220, "low"),
        ((8, 9, 8, 9, 8, 9), 855, "critical"),
    ],
)
def test_a_specified_vector_has_its_score_and_level(scores: tuple[int, ...], score: int, level: str) -> None:
    result = assess(facts_that_score(*scores))
    assert tuple(result.factors.values()) == scores
    assert (result.score, result.level) == (score, level)
    assert [part.factor for part in result.contributions] == list(FACTORS)
    assert sum(part.points for part in result.contributions) == score


def test_the_framework_example_scores_5_45_high_with_three_roles_and_one_recommendation() -> None:
    result = assess(
        swap(
            BEST,
            environment="production",
            parameters=verified(70_000_000_000),
            data_classification=verified("confidential"),
            replicas=derived(4),
            coverage=verified(Coverage(85, 100)),
            rollback=verified(Rollback(available=True, minutes=3)),
        )
    )
    assert (result.shown, result.level) == ("5.45", "high")
    assert result.required_roles == ("technical", "security", "business")
    assert [(advice.factor, advice.score_if_done, advice.level_if_done) for advice in result.recommendations] == [
        ("model_complexity", 505, "high")
    ]


def test_one_replica_alone_turns_high_into_critical() -> None:
    facts = swap(facts_that_score(8, 9, 6, 9, 2, 2), replicas=derived(10))
    assert (assess(facts).score, assess(facts).level) == (695, "high")
    more = assess(swap(facts, replicas=derived(11)))
    assert (more.score, more.level) == (725, "critical")
    assert more.required_roles == ("technical", "security", "business", "executive")


@pytest.mark.parametrize(
    ("seen", "scores"), [(True, (8, 9, 8, 6, 8, 9)), (False, (8, 9, 8, 9, 8, 9)), (None, (8, 9, 8, 9, 8, 9))]
)
def test_nothing_known_scores_worst(seen: bool | None, scores: tuple[int, ...]) -> None:
    result = assess(swap(NOTHING_KNOWN, model_seen=seen))
    assert tuple(result.factors.values()) == scores
    assert result.level == "critical"


def test_each_missing_fact_says_so() -> None:
    reasons = {part.factor: part.reason for part in assess(NOTHING_KNOWN).contributions}
    assert reasons == {
        "model_complexity": "The number of parameters is not known.",
        "data_sensitivity": "The data classification is not known.",
        "deployment_scope": "The replica ceiling is not known.",
        "change_magnitude": "The deployment strategy is not known.",
        "testing_coverage": "The test coverage is not known.",
        "rollback_capability": "The rollback is not known.",
    }


@pytest.mark.parametrize(
    ("factor", "annotation"),
    [
        ("model_complexity", "1"),
        ("data_sensitivity", "public"),
        ("deployment_scope", "1"),
        ("change_magnitude", "blue_green"),
        ("change_magnitude", "canary"),
        ("testing_coverage", "1"),
        ("rollback_capability", "1"),
    ],
)
def test_a_declared_fact_lowers_nothing_that_is_not_known(factor: str, annotation: str) -> None:
    before = assess(NOTHING_KNOWN)
    after = assess(swap(NOTHING_KNOWN, **{CLAIMS[factor]: declared(annotation)}))
    assert after.factors == before.factors
    part = after.contributions[FACTORS.index(factor)]
    assert part.provenance is Provenance.MISSING
    assert part.reason.endswith("what is declared without a signature lowers no score.")


@pytest.mark.parametrize("accept_declared", [False, True])
@pytest.mark.parametrize(
    ("factor", "known", "annotation"),
    [
        ("model_complexity", 70 * 10**9, "1"),
        ("data_sensitivity", "restricted", "public"),
        ("deployment_scope", 11, "1"),
        ("change_magnitude", "rolling", "blue_green"),
        ("testing_coverage", Coverage(1, 10), "1"),
        ("rollback_capability", Rollback(available=False), "1"),
    ],
)
def test_a_declared_fact_never_lowers_what_is_known(
    factor: str, known: object, annotation: str, accept_declared: bool
) -> None:
    facts = swap(NOTHING_KNOWN, **{CLAIMS[factor]: verified(known)})
    contradicted = swap(NOTHING_KNOWN, **{CLAIMS[factor]: declare(known, annotation)})
    before = assess(facts, accept_declared=accept_declared)
    after = assess(contradicted, accept_declared=accept_declared)
    assert after.factors == before.factors
    assert after.contributions[FACTORS.index(factor)].provenance is Provenance.VERIFIED


@pytest.mark.parametrize(
    ("factor", "annotation", "score"),
    [
        ("model_complexity", "70000000000", 8),
        ("data_sensitivity", "restricted", 9),
        ("change_magnitude", "recreate", 6),
        ("testing_coverage", "0.75", 6),
        ("rollback_capability", "20", 6),
    ],
)
def test_a_declared_fact_raises_what_is_known(factor: str, annotation: str, score: int) -> None:
    known = getattr(BEST, CLAIMS[factor]).known
    facts = swap(BEST, **{CLAIMS[factor]: Claim(known, Fact(annotation, Provenance.DECLARED, "annotation"))})
    part = assess(facts).contributions[FACTORS.index(factor)]
    assert (part.score, part.provenance, part.source) == (score, Provenance.DECLARED, "annotation")
    assert part.reason.startswith("Declared, and worse than what is known: ")


def test_a_declaration_as_bad_as_the_worst_is_named_as_the_source() -> None:
    part = assess(swap(NOTHING_KNOWN, parameters=declared("70000000000"))).contributions[0]
    assert (part.score, part.provenance) == (8, Provenance.DECLARED)
    assert part.reason == "As declared, the model has 70,000,000,000 parameters, more than 50 billion."


def test_accepted_declarations_count_where_nothing_is_known() -> None:
    facts = swap(
        NOTHING_KNOWN,
        environment="development",
        parameters=declared("7000000000"),
        data_classification=declared("internal"),
        strategy=declared("canary"),
        coverage=declared("0.85"),
        rollback=declared("3"),
    )
    assert tuple(assess(facts, accept_declared=True).factors.values()) == (4, 4, 2, 4, 4, 2)
    assert tuple(assess(facts).factors.values()) == (8, 9, 2, 6, 8, 9)


def test_a_declared_strategy_does_not_make_a_new_model_old() -> None:
    facts = swap(NOTHING_KNOWN, model_seen=False, strategy=declared("blue_green"))
    assert assess(facts, accept_declared=True).factors["change_magnitude"] == 9


@pytest.mark.parametrize("provenance", [Provenance.DECLARED, Provenance.MISSING, "verified", None, 1])
def test_what_is_put_in_the_place_of_the_known_without_being_known_lowers_nothing(provenance: object) -> None:
    claim = Claim(Fact(1, provenance))  # type: ignore[arg-type]
    part = assess(swap(NOTHING_KNOWN, parameters=claim)).contributions[0]
    assert (part.score, part.provenance) == (8, Provenance.MISSING)


def test_a_declaration_in_the_place_of_the_known_still_raises() -> None:
    claim = Claim(Fact("recreate", Provenance.DECLARED))
    part = assess(swap(BEST, strategy=claim)).contributions[3]
    assert (part.score, part.provenance) == (6, Provenance.DECLARED)


@pytest.mark.parametrize("accept_declared", ["yes", 1, None])
def test_only_true_accepts_declarations(accept_declared: object) -> None:
    facts = swap(NOTHING_KNOWN, parameters=declared("1"))
    assert assess(facts, accept_declared=accept_declared).factors["model_complexity"] == 8  # type: ignore[arg-type]


def test_a_found_value_that_cannot_be_used_is_told_from_an_absent_one() -> None:
    part = assess(swap(NOTHING_KNOWN, parameters=verified(value=True))).contributions[0]
    assert part.reason == "The number of parameters that was found can't be used."


def test_the_source_of_a_fact_is_kept() -> None:
    assert assess(BEST).contributions[0].source == "sha256:00"
