"""A team's own data: merged, checked, and refused with file and line before they can decide anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from placet.errors import EngineError
from placet.policy.authoring.checking import find_faults
from placet.policy.authoring.compiling import compile_tree
from placet.policy.authoring.findings import Finding
from placet.policy.authoring.opa import Opa
from placet.policy.authoring.overlay import load_tree_data
from placet.policy.authoring.provenance import Provenance
from placet.policy.authoring.tree import Tree, find_tree, shipped_tree
from placet.policy.bundle import SHIPPED, load_bundle
from placet.policy.data import load_policy_data
from placet.policy.package import save_files
from tests.placet.policy.authoring.team import Team

PART: dict[str, Any] = {
    "description": "What scale.modest asks.",
    "type": "object",
    "additionalProperties": False,
    "required": ["most", "teams"],
    "properties": {
        "most": {"type": "integer", "minimum": 1},
        "teams": {"type": "array", "items": {"type": "string"}},
    },
}
DATA = "modest:\n  most: 4\n  teams: []\n"
KIND = """evidence:
  red_team_report:
    predicate_type: https://example.org/red-team/v1
    about: model
    max_age_days: 90
    claims: {verdict: {type: string, values: [held, broken]}}
    example: {verdict: held}
"""


def with_part(team: Team, schema: object = PART, data: str = DATA) -> None:
    team.write("config/schemas/modest.json", schema if isinstance(schema, str) else json.dumps(schema, indent=1))
    team.write("config/modest.yaml", data)


def refusal(*roots: Path) -> str:
    with pytest.raises(EngineError) as caught:
        find_tree(*roots)
    assert caught.value.code == "policy_data_invalid"
    return str(caught.value)


# what stands in config/team.yaml, at which line it is refused, and in which words
BAD_DATA: dict[str, tuple[str, int, str]] = {
    "a role with a typo": ("environments:\n  production:\n    approvals: [tecnical]\n", 3, "tecnical"),
    "a role with a typo in the other table": ("risk_approvals:\n  high: [technical, secuirty]\n", 2, "secuirty"),
    "a threshold of 0": ("limits:\n  default:\n    latency_p95_ms: 0\n", 3, "latency_p95_ms: 0 is less"),
    "a negative number": ("limits:\n  default:\n    replicas: -5\n", 3, "-5 is less"),
    "an unknown key": ("limits:\n  default:\n    latency_ms: 5\n", 3, "latency_ms"),
    "a rule that is not there": ("\nrules:\n  scale.modets: {mode: warn}\n", 3, "did you mean 'scale.modest'"),
    "a rule required that is not there": (
        "environments:\n  production:\n    requires: [scale.modet]\n",
        3,
        "there is no rule 'scale.modet'",
    ),
    "a rule required that always judges": (
        "environments:\n  production:\n    requires: [scale.modest]\n",
        3,
        "is in force in every environment",
    ),
    "evidence of an unknown form": (KIND.replace("type: string", "type: text"), 6, '"text" is not one of'),
    "evidence about nothing that there is": (KIND.replace("about: model", "about: team"), 4, '"team" is not one of'),
    "an example that is none": (KIND.replace("example: {verdict: held}", "example: {verdict: fine}"), 7, "is none of"),
    "an example that says more": (KIND.replace("{verdict: held}", "{verdict: held, more: 1}"), 7, "example"),
    "an example of what is read by others' rules": (
        "evidence:\n  coverage:\n    example: {lines_total: 1}\n",
        3,
        "the kind has a reader",
    ),
    "a list": ("- evidence\n", 1, "no mapping"),
    "no YAML": ("evidence: {\n", 2, "is not YAML"),
    "a key twice": ("limits: {}\nlimits: {}\n", 2, "is not YAML"),
    "a part without a schema": ("modest: {most: 4}\n", 1, "the key 'modest' is not known here"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_of_a_team_are_refused_with_their_line(team: Team, name: str) -> None:
    text, line, words = BAD_DATA[name]
    path = team.write("config/team.yaml", text)
    message = refusal(team.root)
    assert message.startswith(f"{path.as_posix()}:{line}: "), message
    assert words in message


def without(key: str) -> str:
    return json.dumps({name: value for name, value in PART.items() if name != key}, indent=1)


BAD_PARTS: dict[str, tuple[str, str, str]] = {
    "no JSON": ('{\n "type":\n}', ":3: ", "is no JSON"),
    "no object": ('{"description": "x", "type": "string"}', ":1: ", "without other keys"),
    "open to typos": (without("additionalProperties"), ":1: ", "without other keys"),
    "without a word": (without("description"), ":1: ", 'no "description"'),
    "a reference elsewhere": (
        json.dumps({**PART, "properties": {"most": {"$ref": "https://example.org/x"}}}, indent=1),
        ":11: ",
        "$ref is not taken",
    ),
    "no schema": (json.dumps({**PART, "properties": {"most": {"type": "number of"}}}, indent=1), ":", "no JSON Schema"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_PARTS)
def test_a_bad_schema_of_a_part_is_refused_with_its_line(team: Team, name: str) -> None:
    text, place, words = BAD_PARTS[name]
    with_part(team, text)
    message = refusal(team.root)
    assert f"modest.json{place}" in message, message
    assert words in message


def test_a_part_of_a_teams_own_is_held_to_its_schema_in_both_files(team: Team, tmp_path: Path) -> None:
    with_part(team)
    tree = find_tree(team.root)
    assert load_tree_data(tree, None).value["modest"] == {"most": 4, "teams": []}
    operator = tmp_path / "policy-data.yaml"
    operator.write_text("modest: {most: 2}\n", "utf-8")
    assert load_tree_data(tree, operator).value["modest"] == {"most": 2, "teams": []}
    operator.write_text("modest:\n  most: 0\n", "utf-8")
    with pytest.raises(EngineError, match=r"policy-data\.yaml:2: modest\.most"):
        load_tree_data(tree, operator)
    with_part(team, data="modest: {most: 0, teams: []}\n")
    assert "modest.yaml:1: modest.most" in refusal(team.root)


@pytest.mark.parametrize("name", ["limits", "digest", "expected_rules", "schema"])
def test_a_part_takes_no_name_that_is_taken(team: Team, name: str) -> None:
    team.write(f"config/schemas/{name}.json", json.dumps(PART))
    assert f"{name}.json:1: {name} is a part of the data that ship" in refusal(team.root)


@pytest.mark.parametrize("name", ["notes.txt", "Team.yaml", "team.yml", "deeper/team.yaml", "schemas/Part.json"])
def test_what_is_no_policy_data_does_not_lie_among_them(team: Team, name: str) -> None:
    team.write(f"config/{name}", "{}")
    assert f"{name}:1: is no file of policy data" in refusal(team.root)


def test_two_files_that_contradict_each_other_are_refused(team: Team, tmp_path: Path) -> None:
    first = team.write("config/a.yaml", "environments: {production: {approvals: [technical, security, business]}}\n")
    second = team.write("config/b.yaml", "environments:\n  production:\n    approvals: [technical]\n")
    assert refusal(team.root) == (
        f"{second.as_posix()}:3: environments.production.approvals is said in {first.as_posix()}:1 too, and otherwise"
    )
    second.unlink()
    other = Team(tmp_path / "other")
    other.write("config/a.yaml", "limits: {}\n")
    assert "has this name already" in refusal(team.root, other.root)


def test_where_a_value_of_the_team_stands_is_told(team: Team) -> None:
    with_part(team)
    found = Provenance(None, find_tree(team.root)).source(("modest", "most"))
    assert str(found) == f"{team.root.as_posix()}/config/modest.yaml:2"


def test_without_an_overlay_the_very_bundle_that_ships_is_compiled(opa: Opa) -> None:
    built = compile_tree(opa, shipped_tree())
    assert built == {path.relative_to(SHIPPED).as_posix(): path.read_bytes() for path in files_of(SHIPPED)}


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_rules_and_data_of_a_team_are_compiled_beside_what_ships(opa: Opa, team: Team, tmp_path: Path) -> None:
    with_part(team)
    team.write("config/evidence.yaml", KIND)
    tree = find_tree(team.root)
    files = compile_tree(opa, tree)
    assert files == compile_tree(opa, find_tree(copied(team, tmp_path / "elsewhere").root))
    save_files(files, tmp_path / "built")
    bundle = load_bundle(tmp_path / "built")
    assert {rule.id for rule in bundle.rules} - {rule.id for rule in load_bundle().rules} == {"scale.modest"}
    assert bundle.revision != load_bundle().revision
    data = load_policy_data(None, bundle)
    assert data.value == load_tree_data(tree, None).value
    assert data.evidence.by_name["red_team_report"].example == {"verdict": "held"}
    operator = tmp_path / "policy-data.yaml"
    operator.write_text("modest:\n  more: 1\n", "utf-8")
    with pytest.raises(EngineError, match=r"policy-data\.yaml:2: modest: the key 'more' is not known"):
        load_policy_data(operator, bundle)


def copied(team: Team, folder: Path) -> Team:
    for path in files_of(team.root):
        Team(folder).write(path.relative_to(team.root).as_posix(), path.read_text("utf-8"))
    return Team(folder)


# --- what ships can't be shadowed ----------------------------------------------------------------------------------

LENIENT = "passes := true\n"
Spoil = Callable[[Team], Path]


def written(name: str, package: str, body: str = LENIENT) -> Spoil:
    return lambda team: team.write(name, f"package {package}\n\n{body}")


SHADOWS: dict[str, Spoil] = {
    "one more proof of a rule that ships": written(
        "rules/approvals/required/more.rego", "admission.rules.approvals.required"
    ),
    "a rule in a category that ships": written("rules/approvals/ours/ours.rego", "admission.rules.approvals.ours"),
    "one more part of a library that ships": written(
        "lib/change/more.rego", "admission.lib.change", "judged_anew := 1\n"
    ),
    "a part below a library that ships": written("lib/change/more.rego", "admission.lib.change.more"),
    "what is above the libraries": written("lib/change.rego", "admission.lib", "change := 1\n"),
    "one more part of the tests' requests": written("tests/fixtures/fixtures.rego", "tests.fixtures", "extra := 1\n"),
}


@pytest.mark.parametrize("name", SHADOWS)
def test_nothing_stands_in_above_or_below_what_ships(opa: Opa, team: Team, name: str) -> None:
    path = SHADOWS[name](team)
    assert (path.as_posix(), 1) in {(one.file, one.line) for one in shadowing(opa, find_tree(team.root))}


def shadowing(opa: Opa, tree: Tree) -> list[Finding]:
    found = find_faults(opa, tree, load_policy_data(None))
    return [one for one in found if one.code in {"shadows_shipped", "package_misplaced"}]


def test_two_teams_do_not_have_one_rule(opa: Opa, team: Team, tmp_path: Path) -> None:
    other = copied(team, tmp_path / "other")
    found = find_faults(opa, find_tree(team.root, other.root), load_policy_data(None))
    assert {(one.file, one.code) for one in found} == {
        (path.as_posix(), "duplicate_id") for path in (other.rule, other.tests)
    }
