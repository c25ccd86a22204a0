"""What can't be policy is refused with file and line before it decides anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from placet.errors import InputError
from placet.policy.authoring.checking import find_faults
from placet.policy.authoring.opa import Opa
from placet.policy.authoring.tree import find_tree
from placet.policy.data import load_policy_data
from tests.placet.policy.authoring.team import Team
from tests.policies.programs import POLICIES

Spoil = Callable[[Team], object]

EXPLODES = """
explodes if {
	some a in input.images
	some b in input.images
	some c in input.images
	some d in input.images
	some e in input.images
	some f in input.images
	concat("", [a.name, b.name, c.name, d.name, e.name, f.name]) == "never"
}
"""


def faults(opa: Opa, team: Team) -> list[tuple[str, int, str]]:
    found = find_faults(opa, find_tree(team.root), load_policy_data(None))
    return [(Path(one.file).name, one.line, one.code) for one in found]


def test_what_ships_has_no_fault(opa: Opa) -> None:
    assert find_faults(opa, find_tree(POLICIES), load_policy_data(None)) == []


def explode(team: Team) -> None:
    team.replace(team.rule, "shown if {", "shown if {\n\tnot explodes")
    team.append(team.rule, EXPLODES)


def replaced(old: str, new: str) -> Spoil:
    return lambda team: team.replace(team.rule, old, new)


def appended(text: str) -> Spoil:
    return lambda team: team.append(team.rule, text)


def written(name: str, text: str) -> Spoil:
    return lambda team: team.write(name, text)


# what is done, in which file it is told, at the line that holds what, with which code
IN_THE_RULE: dict[str, tuple[Spoil, str, str]] = {
    "no rego": (replaced("passes if change.carried_forward", "passes if )"), "passes if )", "rego_parse_error"),
    "a field that no request has": (
        replaced("input.workload.namespace)", "input.workload.namespaces)"),
        "namespaces)",
        "rego_type_error",
    ),
    "a key that no data has": (
        appended("\nlenient if data.placet.rulez\n"),
        "rulez",
        "rego_type_error",
    ),
    "a builtin that an engine lacks": (
        appended('\ntext := sprintf("%v", [1])\n'),
        "sprintf",
        "rego_type_error",
    ),
    "a name that nothing defines": (appended("\nhalf if somewhere\n"), "somewhere", "rego_unsafe_var_error"),
    "an import that nothing uses": (
        replaced(
            "import data.admission.lib.change\n", "import data.admission.lib.change\nimport data.admission.lib.risk\n"
        ),
        "lib.risk",
        "rego_compile_error",
    ),
    "rego without an end": (
        appended("\nfirst if second\n\nsecond if first\n"),
        "first if second",
        "rego_recursion_error",
    ),
    "a pass by default": (appended("\ndefault passes := true\n"), "default passes", "passes_by_default"),
    "a pass by a default that is odd": (appended('\ndefault passes := "no"\n'), "default passes", "passes_by_default"),
    "brackets without an end": (
        appended(f"\ndeep := {'[' * 3000}1{']' * 3000}\n"),
        "deep :=",
        "nested_too_deeply",
    ),
    "a byte order mark": (
        lambda team: team.rule.write_text("\ufeff" + team.rule.read_text("utf-8"), "utf-8"),
        "METADATA",
        "byte_order_mark",
    ),
    "a null character": (appended("\n\0\n"), "\0", "rego_parse_error"),
    "Windows lines": (
        lambda team: team.rule.write_bytes(team.rule.read_bytes().replace(b"\n", b"\r\n")),
        "METADATA",
        "not_formatted",
    ),
    "another format": (replaced("shown if {", "shown   if {"), "shown   if", "not_formatted"),
    "another package": (replaced("rules.scale.modest", "rules.scale.humble"), "package ", "package_misplaced"),
    "a package one level higher": (replaced("rules.scale.modest", "rules.scale"), "package ", "package_misplaced"),
    "no title": (replaced("title: Nothing runs in the namespace default", 'title: ""'), "package ", "text_missing"),
    "no severity": (replaced("severity: medium", "severity: grave"), "package ", "severity_unknown"),
    "no report": (replaced("report contains", "reports contains"), "package ", "part_missing"),
    "a rule that explodes": (
        explode,
        "passes if {",
        "too_costly",
    ),
}


@pytest.mark.parametrize("name", IN_THE_RULE)
def test_a_faulty_rule_is_refused_with_its_line(opa: Opa, team: Team, name: str) -> None:
    spoil, part, code = IN_THE_RULE[name]
    spoil(team)
    assert ("modest.rego", team.line(team.rule, part), code) in faults(opa, team)


ELSEWHERE: dict[str, tuple[Spoil, tuple[str, int, str]]] = {
    "data where a rule is looked for": (
        written("rules/scale/modest/data.json", '{"report": [], "passes": true}'),
        ("data.json", 1, "data_shadows_code"),
    ),
    "data of a rule that is not there": (
        written("rules/scale/other.yaml", "report: []\npasses: true\n"),
        ("other.yaml", 1, "data_shadows_code"),
    ),
    "nothing at all": (lambda team: team.rule.write_text("", "utf-8"), ("modest.rego", 1, "rego_parse_error")),
    "data of OPA's own at the top": (
        written("data.json", '{"admission": {"rules": {"scale": {"modest": {"passes": true}}}}}'),
        ("data.json", 1, "data_shadows_code"),
    ),
    "a rule of an id that differs in case": (
        lambda team: team.write("rules/Scale/modest/modest.rego", team.rule.read_text("utf-8")),
        ("modest.rego", 1, "out_of_place"),
    ),
    "a rule of an id that looks alike": (
        lambda team: team.write("rules/sc\u0430le/modest/modest.rego", team.rule.read_text("utf-8")),
        ("modest.rego", 1, "out_of_place"),
    ),
    "a rule of an id that is taken": (
        written("rules/scale/modest/again.rego", "package admission.rules.scale.modest\n\npasses := true\n"),
        ("modest.rego", 11, "duplicate_id"),
    ),
    "a rule that placet ships": (
        written("rules/risk/ceiling/ceiling.rego", "package admission.rules.risk.ceiling\n\npasses := true\n"),
        ("ceiling.rego", 1, "shadows_shipped"),
    ),
    "a file in place of a folder": (
        written("rules/scale/loose.rego", "package admission.rules.scale\n\nloose := true\n"),
        ("loose.rego", 1, "out_of_place"),
    ),
    "policies somewhere else": (written("main.rego", "package admission.main\n"), ("main.rego", 1, "out_of_place")),
    "no test that it passes": (
        lambda team: team.replace(team.tests, "test_passes_", "test_admits_"),
        ("modest.rego", 11, "no_test"),
    ),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_lies_beside_a_rule_can_not_stand_for_it(opa: Opa, team: Team, name: str) -> None:
    spoil, wanted = ELSEWHERE[name]
    spoil(team)
    assert wanted in faults(opa, team)


def test_brackets_in_texts_and_comments_are_none(opa: Opa, team: Team) -> None:
    team.append(team.rule, f'\n# {"(" * 200}\n\ntext := "{"[" * 200} \\" {"{" * 200}"\n\nraw := `{"(" * 200}`\n')
    assert faults(opa, team) == []


def test_a_file_that_can_not_be_read_is_named_with_its_line(team: Team) -> None:
    team.rule.write_bytes(team.rule.read_bytes() + b"# caf\xe9\n")
    with pytest.raises(InputError, match=rf"modest\.rego:{len(team.rule.read_bytes().splitlines())}: is not UTF-8"):
        find_tree(team.root)
    team.rule.write_bytes(b"#" * (5 << 20))
    with pytest.raises(InputError, match=r"modest\.rego:1: has more than 4194304 bytes"):
        find_tree(team.root)


def test_no_policies_at_all_are_refused(opa: Opa, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        find_tree(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no policies"):
        find_tree(tmp_path)
    library = Team(tmp_path)
    library.write("lib/scale/scale.rego", "package admission.lib.scale\n\nmost := 12\n")
    assert [code for _, _, code in faults(opa, library)] == ["no_rules"]


def test_types_are_told_with_the_names_that_there_are(opa: Opa, team: Team) -> None:
    team.replace(team.rule, "input.workload.namespace)", "input.workload.namespaces)")
    (found,) = [one for one in find_faults(opa, find_tree(team.root), load_policy_data(None)) if "ref" in one.message]
    assert found.message == (
        "undefined ref: input.workload.namespaces; known here: group, kind, name, namespace, version"
    )
    assert found.file == team.rule.as_posix()
