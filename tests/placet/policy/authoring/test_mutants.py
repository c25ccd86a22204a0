"""Small faults: each is where OPA says it is, and changes one thing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from placet.policy.authoring.mutants import Mutant, find_domains, find_mutants
from placet.policy.authoring.opa import Opa
from placet.policy.authoring.syntax import Module, parse_sources
from placet.policy.authoring.tree import find_tree
from tests.placet.policy.authoring.team import Team
from tools import mutation

SOURCE = """package admission.rules.scale.modest

# Not ASCII, and before what is changed: \u00e9\u00e8\U0001f600
default shown := false

limit := 12

shown if {
	not hidden
	input.change.kind in {"new", "changed"}
	input.change.scale == "\u00e9"; limit > 3
	count(known - {"x"}) == 0
} else := true if input.dry_run

hidden if input.change.kind == "child"

known := {each | some each in input.images; each.name != ""}
"""


@pytest.fixture
def module(opa: Opa, team: Team) -> Module:
    team.rule.write_text(SOURCE, encoding="utf-8")
    tree = find_tree(team.root)
    (name,) = [one.name for one in tree.own if not one.is_test]
    with tree.laid_out() as folder:
        return parse_sources(opa, tree, folder, [name])[name]


def test_these_are_the_mutants_of_a_file(module: Module) -> None:
    found = {(one.line, one.kind, one.change) for one in find_mutants(module, find_domains([module]))}
    assert found >= {
        (4, "constant", "false -> true"),
        (6, "constant", "12 -> 13"),
        (9, "negate", "not hidden -> hidden"),
        (9, "drop_condition", "not hidden -> true"),
        (10, "widen", '{"new", "changed"} -> {"changed", "new", "child"}'),
        (10, "narrow", '{"new", "changed"} -> {"changed"}'),
        (10, "constant", '"new" -> "new_"'),
        (11, "compare", "== -> !="),
        (11, "compare", "> -> >="),
        (11, "negate", "limit > 3 -> not limit > 3"),
        (12, "combine", "- -> |"),
        (13, "constant", "true -> false"),
        (15, "drop_rule", 'input.change.kind == "child" -> false'),
        (17, "drop_condition", 'each.name != "" -> true'),
        (17, "compare", "!= -> =="),
    }


def test_a_mutant_differs_in_one_place_alone(module: Module) -> None:
    mutants = find_mutants(module, find_domains([module]))
    assert len(mutants) > 30
    assert len({one.apply(SOURCE) for one in mutants}) == len(mutants), "no two are the same"
    for one in mutants:
        changed = one.apply(SOURCE)
        assert changed != SOURCE
        assert changed[: one.span.start] == SOURCE[: one.span.start]
        assert changed.endswith(SOURCE[one.span.end :])
        assert SOURCE[one.span.start : one.span.end] == one.before
        assert SOURCE.count("\n", 0, one.span.start) + 1 == one.line


def test_what_no_test_notices_survives_and_is_told(opa: Opa, team: Team) -> None:
    # A limit that the tests ask from one side alone.
    team.replace(team.rule, "	is_string(input.workload.namespace)\n", "	count(input.workload.namespace) < 9\n")
    tree = find_tree(team.root)
    mutants = [one for one in mutation.collect(opa, tree) if one.rule == "shown"]
    outcome = mutation.try_all(opa, tree, mutants)
    told = {(one.line, one.kind, one.change) for one in outcome.survivors}
    line = team.line(team.rule, "< 9")
    assert told >= {(line, "compare", "< -> <="), (line, "constant", "9 -> 10")}
    assert (line + 1, "constant", '"default" -> "default_"') not in told
    assert outcome.counts["killed"] > 0
    assert outcome.score < 100
    (problem, *_) = mutation.report(outcome, {}, tree, {one.file for one in mutants}, Path("survivors.yaml"))
    assert problem.startswith(f"{team.rule.as_posix()}:{line}: shown: ")


def outcome_of(killed: int, survivors: tuple[Mutant, ...]) -> mutation.Outcome:
    return mutation.Outcome(Counter({"killed": killed, "survived": len(survivors)}), survivors)


def test_a_survivor_needs_a_reason_and_a_reason_a_survivor(opa: Opa, team: Team, module: Module) -> None:
    tree = find_tree(team.root)
    first, second = find_mutants(module, find_domains([module]))[:2]
    out, key = Path("survivors.yaml"), (first.file, first.rule, first.change)
    reason = {key: "It means the same."}
    assert mutation.report(outcome_of(99, (first,)), reason, tree, [first.file], out) == []
    (missing,) = mutation.report(outcome_of(99, (first, second)), reason, tree, [first.file], out)
    assert "no test notices" in missing
    (stale,) = mutation.report(outcome_of(99, ()), reason, tree, [first.file], out)
    assert "nothing survives that this explains" in stale
    assert mutation.report(outcome_of(99, ()), reason, tree, [], out) == [], "its file was not asked about"
    (low,) = mutation.report(outcome_of(18, (first,)), reason, tree, [first.file], out)
    assert low == "the score is 94.7 %, and has to be 95 %"


def test_an_explanation_without_a_reason_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "survivors.yaml"
    path.write_text("- {file: a, rule: b, change: c, because: ''}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has no reason"):
        mutation.load_explained(path)
    path.write_text("- {file: a, rule: b, change: c, because: It is so.}\n" * 2, encoding="utf-8")
    with pytest.raises(ValueError, match="stands there twice"):
        mutation.load_explained(path)
