"""The matrix of who must approve, and who counts for what: every case, against what Python says."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from placet.canonical import render_canonical
from placet.policy.bundle import shipped_bundle
from placet.policy.guest import Guest
from scorer import APPROVALS_BY_ENVIRONMENT, FACTORS, LEVELS, ROLES, required_roles, total
from tests.policies.documents import Json, approval, passing_request, policy_data
from tests.policies.programs import PLENTY, eval_opa

SCORES_OF: Final = {
    "low": (2, 2, 2, 3, 2, 2),
    "medium": (8, 2, 6, 6, 4, 4),
    "high": (8, 7, 6, 9, 4, 2),
    "critical": (8, 9, 8, 9, 8, 9),
}


def ask(harness: Guest, query: str, requests: Sequence[Json]) -> list[list[str]]:
    """Answers of both engines, which must be the same."""
    data = policy_data()
    cases = [{"input": request, "data": data} for request in requests]
    by_opa: list[list[str]] = eval_opa(f"data.harness.{query}", {"cases": cases}, strict=True)
    for case, expected in zip(cases, by_opa, strict=True):
        (answer,) = harness.evaluate(f"harness/{query}", render_canonical({"cases": [case]}), fuel=PLENTY)
        assert (sorted(answer), case) == (sorted(expected), case)
    return by_opa


def request_of(environment: str, level: str, approvals: Sequence[Json]) -> Json:
    factors = dict(zip(FACTORS, SCORES_OF[level], strict=True))
    risk = passing_request()["risk"] | {"score": total(factors), "level": level, "factors": factors}
    return passing_request() | {"environment": environment, "risk": risk, "approvals": list(approvals)}


def subsets() -> Iterator[tuple[str, ...]]:
    for size in range(len(ROLES) + 1):
        yield from itertools.combinations(ROLES, size)


def test_every_environment_level_and_choice_of_approvers_follows_the_matrix(harness: Guest) -> None:
    cases = list(itertools.product(APPROVALS_BY_ENVIRONMENT, LEVELS, subsets()))
    assert len(cases) == 3 * 4 * 16
    requests = [
        request_of(environment, level, [approval(role, role) | {"max_risk": level} for role in roles])
        for environment, level, roles in cases
    ]
    proofs = ask(harness, "proofs", requests)
    for (environment, level, roles), passed in zip(cases, proofs, strict=True):
        needed = set(required_roles(environment, level))
        assert ("approvals.required" in passed) == (needed <= set(roles)), (environment, level, roles)
        assert (len(passed) == len(shipped_bundle().rules)) == (needed <= set(roles)), (environment, level, roles)


def test_separation_passes_exactly_when_every_role_can_have_persons_of_its_own(harness: Guest) -> None:
    random_ = random.Random(20261122)
    requests = [_random_request(random_) for _ in range(600)]
    proofs = ask(harness, "proofs", requests)
    outcomes = set()
    for request, passed in zip(requests, proofs, strict=True):
        expected = _assignable(request["thresholds"], request["approvals"], ("technical", "security", "business"))
        assert ("approvals.separation" in passed) == expected, request
        outcomes.add((expected, "approvals.required" in passed))
    # Separated implies complete; complete does not imply separated.
    assert outcomes == {(True, True), (False, True), (False, False)}


def _random_request(random_: random.Random) -> Json:
    signed = [approval(random_.choice(ROLES[:3]), f"p-{random_.randrange(5)}") for _ in range(random_.randrange(2, 10))]
    thresholds = {role: random_.choice((1, 1, 1, 2)) for role in ROLES}
    return passing_request() | {"approvals": signed, "thresholds": thresholds}


def _assignable(thresholds: Mapping[str, int], approvals: Sequence[Json], roles: Sequence[str]) -> bool:
    """Whether each place of each role finds a person who is in no other: a bipartite matching, by augmenting paths."""
    places = [(role, number) for role in roles for number in range(thresholds[role])]
    people = {role: {each["person"] for each in approvals if each["role"] == role} for role in roles}
    taken: dict[str, tuple[str, int]] = {}

    def seat(place: tuple[str, int], tried: set[str]) -> bool:
        for person in people[place[0]] - tried:
            tried.add(person)
            if person not in taken or seat(taken[person], tried):
                taken[person] = place
                return True
        return False

    return all(seat(place, set()) for place in places)
