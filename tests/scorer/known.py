"""Facts as the tests need them: all of them good, and one word for each way to know a fact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from scorer import FACTORS, Claim, Coverage, Fact, Facts, Provenance, Rollback


def verified(value: object) -> Claim:
    return Claim(Fact(value, Provenance.VERIFIED, "sha256:00"))


def derived(value: object) -> Claim:
    return Claim(Fact(value, Provenance.DERIVED, "spec.replicas"))


def declared(value: object) -> Claim:
    return Claim(Fact.missing(), Fact(value, Provenance.DECLARED, "annotation"))


def swap(facts: Facts, **members: Any) -> Facts:
    """The facts with members replaced, of right types and of wrong ones."""
    return replace(facts, **members)


BEST: Final = Facts(
    environment="development",
    parameters=verified(1),
    data_classification=verified("public"),
    replicas=derived(1),
    model_seen=True,
    strategy=verified("blue_green"),
    coverage=verified(Coverage(1, 1)),
    rollback=verified(Rollback(available=True, minutes=1)),
)

NOTHING_KNOWN: Final = Facts(
    environment="production",
    parameters=Claim.missing(),
    data_classification=Claim.missing(),
    replicas=Claim.missing(),
    model_seen=True,
    strategy=Claim.missing(),
    coverage=Claim.missing(),
    rollback=Claim.missing(),
)

# the member of Facts that holds each factor's claim
CLAIMS: Final = {
    "model_complexity": "parameters",
    "data_sensitivity": "data_classification",
    "deployment_scope": "replicas",
    "change_magnitude": "strategy",
    "testing_coverage": "coverage",
    "rollback_capability": "rollback",
}

_VALUES: Final[dict[str, dict[int, object]]] = {
    "model_complexity": {2: 10**9, 4: 7 * 10**9, 6: 13 * 10**9, 8: 70 * 10**9},
    "data_sensitivity": {2: "public", 4: "internal", 7: "confidential", 9: "restricted"},
    "change_magnitude": {3: "blue_green", 4: "canary", 6: "rolling", 9: "rolling"},
    "testing_coverage": {2: Coverage(95, 100), 4: Coverage(85, 100), 6: Coverage(75, 100), 8: Coverage(1, 100)},
    "rollback_capability": {
        2: Rollback(available=True, minutes=3),
        4: Rollback(available=True, minutes=10),
        6: Rollback(available=True),
        9: Rollback(available=False),
    },
}


def facts_that_score(*scores: int) -> Facts:
    """Facts, all verified or derived, whose six factors score as given, in the order of ``FACTORS``."""
    by_factor = dict(zip(FACTORS, scores, strict=True))
    scope = by_factor["deployment_scope"]
    return Facts(
        environment={2: "development", 4: "staging", 6: "production", 8: "production"}[scope],
        parameters=verified(_VALUES["model_complexity"][by_factor["model_complexity"]]),
        data_classification=verified(_VALUES["data_sensitivity"][by_factor["data_sensitivity"]]),
        replicas=derived(11 if scope == 8 else 4),
        model_seen=by_factor["change_magnitude"] != 9,
        strategy=verified(_VALUES["change_magnitude"][by_factor["change_magnitude"]]),
        coverage=verified(_VALUES["testing_coverage"][by_factor["testing_coverage"]]),
        rollback=verified(_VALUES["rollback_capability"][by_factor["rollback_capability"]]),
    )
