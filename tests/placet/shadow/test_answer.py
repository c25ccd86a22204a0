"""How two answers differ: which of the differences counts, and which way it goes."""

from __future__ import annotations

from typing import Any

import pytest

from placet.policy.decision import PolicyDecision, Violation
from placet.shadow.answer import MAX_LISTED, Answer, Change, Difference, Direction, compare

ADMITTED = Answer(allowed=True, required_roles=("technical",))
REFUSED = Answer(
    allowed=False,
    violations=("approvals.required/role_missing", "risk.ceiling/level_above_environment"),
    required_roles=("technical", "security"),
    missing_roles=("security",),
)


def like(answer: Answer, **changes: Any) -> Answer:
    return Answer.parse({**answer.render(), **changes})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (ADMITTED, REFUSED, (Change.NEWLY_REFUSED, Direction.STRICTER)),
        (REFUSED, ADMITTED, (Change.NEWLY_ADMITTED, Direction.LOOSER)),
        (ADMITTED, Answer.failed("engine_timeout"), (Change.SHADOW_ERROR, Direction.ERROR)),
        (REFUSED, Answer.failed("engine_timeout"), (Change.SHADOW_ERROR, Direction.ERROR)),
        (ADMITTED, like(ADMITTED, required_roles=["technical", "security"]), (Change.ROLES, Direction.STRICTER)),
        (ADMITTED, like(ADMITTED, required_roles=["security"]), (Change.ROLES, Direction.MIXED)),
        (REFUSED, like(REFUSED, required_roles=["technical"]), (Change.ROLES, Direction.LOOSER)),
        (REFUSED, like(REFUSED, violations=["risk.ceiling/x"]), (Change.REASONS, Direction.MIXED)),
        (REFUSED, like(REFUSED, violations=REFUSED.violations[:1]), (Change.REASONS, Direction.LOOSER)),
        (ADMITTED, like(ADMITTED, tolerated=["team.strict"]), (Change.WARNINGS, Direction.STRICTER)),
        (like(ADMITTED, tolerated=["team.strict"]), ADMITTED, (Change.WARNINGS, Direction.LOOSER)),
    ],
)
def test_the_gravest_difference_counts(before: Answer, after: Answer, expected: tuple[Change, Direction]) -> None:
    assert compare(before, after) == Difference(*expected)


@pytest.mark.parametrize("answer", [ADMITTED, REFUSED])
def test_the_same_answer_is_no_difference(answer: Answer) -> None:
    assert compare(answer, like(answer)) is None


def test_what_break_glass_let_in_would_need_no_token() -> None:
    assert compare(REFUSED, ADMITTED, by_token=True) == Difference(Change.TOKEN_NEEDLESS, Direction.LOOSER)


def test_an_answer_is_what_policies_decided() -> None:
    found = [Violation("b.rule", "late", "enforce", "high", {}), Violation("a.rule", "early", "enforce", "high", {})]
    decision = PolicyDecision(
        allowed=False,
        mode="enforce",
        required_roles=("technical", "security"),
        granted_roles=("technical",),
        violations=(*found, found[0]),
        warnings=(),
        notes=(),
        rules_judged=2,
        rules_passed=0,
        data_digest="",
        tolerated=("c.rule",),
    )
    answer = Answer.of(decision)
    assert answer.violations == ("a.rule/early", "b.rule/late")
    assert (answer.missing_roles, answer.tolerated, answer.fault) == (("security",), ("c.rule",), "")
    assert Answer.parse(answer.render()) == answer


def test_a_list_in_a_leaf_says_when_it_is_not_whole() -> None:
    listed = like(REFUSED, violations=[f"rule.{number:03}/code" for number in range(100)]).listed()["violations"]
    assert len(listed) == MAX_LISTED + 1
    assert listed[-1] == "..."
