"""What policies answered to one review, and how the answers of two of them differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from placet.policy.decision import PolicyDecision, Violation

MAX_LISTED: Final = 32
_LONGEST: Final = 160


class Change(StrEnum):
    """How the candidate's answer differs, the gravest first."""

    NEWLY_REFUSED = "newly_refused"
    SHADOW_ERROR = "shadow_error"
    NEWLY_ADMITTED = "newly_admitted"
    TOKEN_NEEDLESS = "token_needless"  # noqa: S105 - break-glass let it in, and it needs none
    ROLES = "roles"
    REASONS = "reasons"
    WARNINGS = "warnings"


class Direction(StrEnum):
    """Whether the candidate asks for more or for less."""

    STRICTER = "stricter"
    LOOSER = "looser"
    MIXED = "mixed"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Answer:
    """What policies answered, without anything of the workload.

    Attributes:
        allowed: the verdict.
        violations: ``rule/code`` of what refuses, sorted, each once.
        required_roles: approvals that are asked for, in the order of the roles.
        missing_roles: those of them that are not there.
        tolerated: rules that would refuse but for their mode, or the day that they are announced for; sorted.
        fault: code of why there is no answer; "" where there is one.
    """

    allowed: bool
    violations: tuple[str, ...] = ()
    required_roles: tuple[str, ...] = ()
    missing_roles: tuple[str, ...] = ()
    tolerated: tuple[str, ...] = ()
    fault: str = ""

    @classmethod
    def of(cls, decision: PolicyDecision) -> Answer:
        """The answer in a decision of policies."""
        return cls(
            decision.allowed,
            name_violations(decision.violations),
            decision.required_roles,
            tuple(role for role in decision.required_roles if role not in decision.granted_roles),
            tuple(sorted(decision.tolerated)),
        )

    @classmethod
    def failed(cls, code: str) -> Answer:
        """That there is none, which would refuse."""
        return cls(allowed=False, fault=code)

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Answer:
        """Read what :meth:`render` wrote.

        Raises:
            KeyError, TypeError: it is none.
        """
        names = ("violations", "required_roles", "missing_roles", "tolerated")
        lists = {name: tuple(map(str, value[name])) for name in names}
        return cls(allowed=bool(value["allowed"]), **lists, fault=str(value["fault"]))

    def render(self) -> dict[str, Any]:
        """JSON value."""
        return {
            "allowed": self.allowed,
            "violations": list(self.violations),
            "required_roles": list(self.required_roles),
            "missing_roles": list(self.missing_roles),
            "tolerated": list(self.tolerated),
            "fault": self.fault,
        }

    def listed(self) -> dict[str, Any]:
        """The same, short enough for a leaf: the first of each list, and then that there are more."""
        return {name: clip_list(one) if isinstance(one, list) else one for name, one in self.render().items()}


@dataclass(frozen=True, slots=True)
class Difference:
    """Between two answers.

    Attributes:
        change: what differs, the gravest of all that does.
        direction: which way.
    """

    change: Change
    direction: Direction


def name_violations(violations: Sequence[Violation]) -> tuple[str, ...]:
    """``rule/code`` of each, sorted, each once."""
    return tuple(sorted({f"{one.rule}/{one.code}" for one in violations}))


def clip_list(words: Sequence[str]) -> list[str]:
    """The first of them, each with a bound, and ``...`` where there are more."""
    listed = [word[:_LONGEST] for word in words[:MAX_LISTED]]
    return listed if len(words) <= MAX_LISTED else [*listed, "..."]


def compare(before: Answer, after: Answer, *, by_token: bool = False) -> Difference | None:
    """How a candidate's answer differs from that of the policies in force; None where it does not.

    Args:
        before: of those in force.
        after: the candidate's.
        by_token: whether break-glass let in what ``before`` refuses.
    """
    if after.fault:
        return Difference(Change.SHADOW_ERROR, Direction.ERROR)
    if before.allowed and not after.allowed:
        return Difference(Change.NEWLY_REFUSED, Direction.STRICTER)
    if after.allowed and not before.allowed:
        return Difference(Change.TOKEN_NEEDLESS if by_token else Change.NEWLY_ADMITTED, Direction.LOOSER)
    for name, change in (
        ("required_roles", Change.ROLES),
        ("violations", Change.REASONS),
        ("tolerated", Change.WARNINGS),
    ):
        former, latter = set(getattr(before, name)), set(getattr(after, name))
        if former != latter:
            return Difference(change, _direction(former, latter))
    return None


def _direction(former: set[str], latter: set[str]) -> Direction:
    if former < latter:
        return Direction.STRICTER
    return Direction.LOOSER if latter < former else Direction.MIXED
