"""What environments require of a deployment beyond approvals, and whether the data let anything meet it.

A schema sees one value at a time. Here the parts are held against each other: a rule that does not exist, a promotion
from nowhere, a window that no environment has. Each would refuse every deployment, or none, without anybody meaning it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from placet.policy.bundle import Rule

_STAGED: Final = "promotion.staged"
_WINDOW: Final = "change.window"


@dataclass(frozen=True, slots=True)
class Nonsense:
    """Something in policy data that can't be meant.

    Attributes:
        steps: where it stands.
        sentence: what is wrong with it.
        given: the name that is not known; "" where that is not the fault.
        known: names that could have been meant instead.
    """

    steps: tuple[str, ...]
    sentence: str
    given: str = ""
    known: Sequence[str] = ()


def fill_demands(data: dict[str, Any]) -> None:
    """An environment that does not say what it requires asks for no more than it always did."""
    for environment in data.get("environments", {}).values():
        if isinstance(environment, dict):
            environment.setdefault("requires", [])


def find_nonsense(data: Mapping[str, Any], rules: Sequence[Rule]) -> Iterator[Nonsense]:
    """Everything that is found, in the order of the data.

    Args:
        data: merged policy data, of the schema.
        rules: of the bundle.
    """
    environments = data["environments"]
    for name, environment in environments.items():
        yield from _check_requires(name, environment["requires"], rules)
        yield from _check_promotion(name, environments)
        yield from _check_possible(name, environment["requires"], data)
    yield from _check_names(("limits", "environments"), data["limits"]["environments"], environments)
    # Times and time zones are read, and refused, by placet.change_calendar.
    for part in ("windows", "freezes"):
        for name, span in data["change"][part].items():
            yield from _check_names(("change", part, name, "environments"), span["environments"], environments)


def _check_requires(name: str, requires: Sequence[str], rules: Sequence[Rule]) -> Iterator[Nonsense]:
    optional = sorted(rule.id for rule in rules if rule.optional)
    always = {rule.id for rule in rules if not rule.optional}
    for rule in requires:
        steps = ("environments", name, "requires")
        if rule in always:
            yield Nonsense(steps, f"{rule!r} is in force in every environment: `rules` gives it another mode")
        elif rule not in optional:
            yield Nonsense(steps, f"there is no rule {rule!r}", rule, optional)


def _check_promotion(name: str, environments: Mapping[str, Any]) -> Iterator[Nonsense]:
    steps = ("environments", name, "promotes_from")
    before = environments[name].get("promotes_from")
    if before is None:
        if _STAGED in environments[name]["requires"]:
            yield Nonsense(("environments", name, "requires"), f"{_STAGED} needs promotes_from beside it")
        return
    if before not in environments:
        yield Nonsense(steps, f"there is no environment {before!r}", before, sorted(environments))
        return
    passed = [name]
    while before is not None and before in environments:
        if before in passed:
            yield Nonsense(steps, f"goes in a circle: {' from '.join([*passed, before])}")
            return
        passed.append(before)
        before = environments[before].get("promotes_from")


def _check_possible(name: str, requires: Collection[str], data: Mapping[str, Any]) -> Iterator[Nonsense]:
    steps = ("environments", name, "requires")
    if _WINDOW in requires and not any(name in one["environments"] for one in data["change"]["windows"].values()):
        yield Nonsense(steps, f"{_WINDOW} can't be met: no window of change.windows is for {name!r}")
    if "rollback.authority" in requires and not (data["rollback"]["users"] or data["rollback"]["groups"]):
        yield Nonsense(steps, "rollback.authority can't be met: rollback names nobody who may")
    if "privacy.residency" in requires and not data["residency"]["clusters"]:
        yield Nonsense(steps, "privacy.residency can't be met: residency.clusters names no cluster's region")


def _check_names(steps: tuple[str, ...], given: Collection[str], environments: Mapping[str, Any]) -> Iterator[Nonsense]:
    for name in given:
        if name not in environments:
            where = (*steps, name) if isinstance(given, Mapping) else steps
            yield Nonsense(where, f"there is no environment {name!r}", name, sorted(environments))
