"""A rule that is announced for a day: tests and checks see the seconds that the build would write."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from placet.policy.authoring.announced import EFFECTIVE_S
from placet.policy.authoring.checking import find_faults
from placet.policy.authoring.days import in_seconds, with_days
from placet.policy.authoring.opa import Opa
from placet.policy.authoring.syntax import SyntaxFault
from placet.policy.authoring.testing import run
from placet.policy.authoring.tree import find_tree
from placet.policy.data import load_policy_data
from tests.placet.policy.authoring.team import Team

DAY = datetime(2027, 1, 31, tzinfo=UTC)
WARNS = """
test_warns_until_its_day if {
	fixed := object.union(fixtures.request, {"workload": {"namespace": "default"}})
	found := main.decision with input as fixed with data.placet as fixtures.placet
	{one | some one in found.warnings; one.rule == "scale.modest"} != set()
}
"""


def announce(team: Team, day: str = "2027-01-31", given: str = EFFECTIVE_S) -> None:
    team.replace(team.rule, "#   severity:", f"#   effective_on: {day}\n#   severity:")
    team.append(team.rule, f"\n{given}\n")


def test_a_test_sees_a_rule_warn_until_its_day_and_refuse_from_then_on(opa: Opa, team: Team) -> None:
    announce(team)
    team.append(team.tests, WARNS)
    tree = find_tree(team.root)
    (warned,) = run(opa, tree, pattern="warns_until").results
    assert (warned.opa, warned.wasm) == ("passed", "passed")
    (then,) = run(opa, tree, pattern="warns_until", moment=DAY).results
    assert (then.opa, then.wasm) == ("failed", "failed")


def test_all_tests_and_the_check_take_a_rule_with_a_day(opa: Opa, team: Team) -> None:
    """The scaffold has a test that the decision refuses: until the day it does not."""
    announce(team)
    tree = find_tree(team.root)
    assert find_faults(opa, tree, load_policy_data(None)) == []
    assert run(opa, tree, moment=DAY).good(100)
    (failed,) = run(opa, tree).failed
    assert (failed.opa, failed.wasm) == ("failed", "failed")
    assert failed.name.endswith("test_fails_with_its_severity_in_the_decision")


def test_lines_stay_where_they_are() -> None:
    text = f"# METADATA\n# custom:\n#   effective_on: 2027-01-31\n#   severity: low\npackage a\n\n{EFFECTIVE_S}\n"
    found = in_seconds("admission/rules/a/b/b.rego", text)
    assert found.splitlines()[2] == "#   effective_s: 1801353600"
    assert [line for line in found.splitlines() if "effective_s:" not in line] == [
        line for line in text.splitlines() if "effective_on" not in line
    ]
    assert in_seconds("admission/rules/a/b/b_test.rego", text) == text


@pytest.mark.parametrize(
    ("day", "given", "part", "said"),
    [
        ("soon", EFFECTIVE_S, "effective_on", "'soon' is neither 2027-01-31 nor"),
        ("2027-01-31", "", "effective_on", "a rule has this line"),
        ("2027-01-31", "effective_s := 4102444800", "effective_on", "a rule has this line"),
    ],
)
def test_a_day_that_is_none_is_told_with_its_line(
    opa: Opa, team: Team, day: str, given: str, part: str, said: str
) -> None:
    announce(team, day, given)
    tree = find_tree(team.root)
    (fault,) = find_faults(opa, tree, load_policy_data(None))
    assert (fault.file, fault.line, fault.code) == (
        team.rule.as_posix(),
        team.line(team.rule, part),
        "effective_on_invalid",
    )
    assert said in fault.message
    with pytest.raises(SyntaxFault, match="effective_on_invalid"):
        run(opa, tree)


def test_what_ships_is_left_as_it_is(team: Team) -> None:
    tree = find_tree(team.root)
    assert with_days(tree).sources == tree.sources
