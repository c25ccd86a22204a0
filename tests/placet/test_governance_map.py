"""The framework's map, its rules, the tests of each and what the documents say of it are one."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from placet.checklist import AREAS, ITEMS
from placet.cli import root
from placet.evidence.commands import JUDGES, find_kind, make_command
from placet.policy.bundle import shipped_bundle
from placet.policy.data import load_policy_data
from tests.e2e import test_governance_map as cases
from tests.e2e.governance_cases import CASES
from tests.e2e.governance_map import CHECKLIST, EVIDENCE, OTHERS, PARTS

ROOT = Path(__file__).resolve().parents[2]
RULES = {rule.id for rule in shipped_bundle().rules}
KINDS = load_policy_data(None).evidence.by_name
JUDGED = re.compile(r'evidence\.of_(?:model|projection|image)\("([a-z_]+)"')


def documented(name: str) -> list[list[str]]:
    """The rows of a made table of docs/policy-authors.md, less the head; links as their text."""
    text = (ROOT / "docs" / "policy-authors.md").read_text("utf-8")
    (block,) = re.findall(rf"<!-- made: {name} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    rows = [line.strip("|").split("|") for line in block.splitlines()[2:]]
    return [[re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", cell).strip() for cell in row] for row in rows]


def test_every_part_has_its_rule_and_every_rule_is_in_one_part() -> None:
    mapped = [rule for rules in PARTS.values() for rule in rules]
    assert sorted(mapped) == sorted(RULES)
    assert [part for part, rules in PARTS.items() if not rules] == [("operational governance", "audit trail")]
    assert list(PARTS) == [(area, part) for area, parts in AREAS.items() for part in parts]


def test_every_rule_has_a_case_that_a_real_api_server_is_asked() -> None:
    assert {case.rule for case in CASES.values()} | {rule for rule, _ in OTHERS.values()} == RULES
    for _, test in OTHERS.values():
        assert callable(getattr(cases, test)), test
    assert {case.mended for case in CASES.values()} == set(JUDGES.values())


def test_the_checklist_has_sixteen_items_each_with_the_rules_that_answer_it() -> None:
    assert {item.name: tuple(sorted(item.rules)) for item in ITEMS} == CHECKLIST
    assert len(CHECKLIST) == 16
    for name, case in CASES.items():
        for item in case.items:
            assert case.rule in CHECKLIST[item], name


def test_the_documents_list_the_map_as_it_is_tested() -> None:
    assert [(row[0], row[1], row[2]) for row in documented("areas")] == [
        (area, part, rule) for (area, part), rules in PARTS.items() for rule in rules or (documented("areas")[-1][2],)
    ]
    assert documented("areas")[-1][2].startswith("the record")
    for _, _, rule, answered in documented("areas"):
        assert answered
        assert (answered.strip("`") if answered.startswith("`") else "") == JUDGES.get(rule, ""), rule


def test_the_documents_name_the_command_that_makes_each_kind_of_evidence() -> None:
    rows = {row[0].strip("`"): row for row in documented("evidence-commands")}
    assert list(rows) == list(KINDS)
    for kind, (_, about, rules, command) in rows.items():
        assert about == KINDS[kind].about
        assert set(filter(None, rules.split(", "))) == {rule for rule, judged in JUDGES.items() if judged == kind}
        assert command == f"`{make_command(kind, manifest='deploy.yaml')}`"


def test_a_rule_judges_the_kind_that_its_source_asks_for() -> None:
    for rule in RULES:
        folder = ROOT / "policies" / "admission" / "rules" / rule.replace(".", "/")
        asked = set(JUDGED.findall((folder / f"{folder.name}.rego").read_text("utf-8")))
        # The bill of materials adds to a classification, and the objectives to a limit: neither is what is lacking.
        assert asked - {"model_bom"} - ({"slo"} if rule == "quality.performance" else set()) == (
            {JUDGES[rule]} if rule in JUDGES else set()
        ), rule


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_is_one_that_the_command_line_has(kind: str) -> None:
    words = make_command(kind).split()
    context = click.Context(root)
    group = root.get_command(context, words[1])
    assert isinstance(group, click.Group)
    command = group.get_command(context, words[2])
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known
    if KINDS[kind].claims:
        claimed = {word.partition("=")[0] for at, word in enumerate(words) if words[at - 1] == "--claim"}
        assert claimed == {name for name, claim in KINDS[kind].claims.items() if not claim.optional}
    assert words[2] == EVIDENCE[kind][0]
    assert {word for word in words if word.startswith("-")} >= {word for word in EVIDENCE[kind] if word[0] == "-"}


def test_evidence_answers_what_evidence_can_answer() -> None:
    assert find_kind("slo.declared", "objective_weak") == "slo"
    assert find_kind("team.red_team", "evidence_missing", "red_team") == "red_team"
    assert find_kind("privacy.residency", "region_unknown") == ""
    assert find_kind("approvals.required", "role_missing") == ""
