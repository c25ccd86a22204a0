"""Why the policies decide as they do, and where the values come from that they read."""

from __future__ import annotations

from pathlib import Path

import pytest

from placet.errors import EngineError
from placet.policy.authoring.explain import Lack, explain
from placet.policy.authoring.opa import Opa
from placet.policy.authoring.provenance import Provenance
from placet.policy.authoring.tree import find_tree, shipped_tree
from placet.policy.data import load_policy_data
from tests.placet.policy.authoring.team import Team
from tests.policies.documents import approval, passing_request


def leaves(lacks: tuple[Lack, ...]) -> list[Lack]:
    return [leaf for lack in lacks for leaf in (leaves(lack.because) if lack.because else [lack])]


def test_a_refusal_names_the_condition_that_fails_and_what_was_found(opa: Opa) -> None:
    request = passing_request() | {"approvals": [approval("technical", "p-1"), approval("business", "p-3")]}
    found = explain(opa, shipped_tree(), load_policy_data(None), request)
    assert found.decision["allowed"] is False
    rulings = {one.rule: one for one in found.rulings}
    assert {name for name, one in rulings.items() if not one.passed} == {"approvals.required", "approvals.separation"}
    required = rulings["approvals.required"]
    assert required.file == "placet:admission/rules/approvals/required/required.rego"
    first = leaves(required.lacks)[0]
    assert first.text == "count(roles.required - approvals.granted) == 0"
    assert first.found == {
        "roles.required": ["business", "security", "technical"],
        "approvals.granted": ["business", "technical"],
    }
    assert {leaf.text for leaf in leaves(required.lacks[1:])} >= {'input.operation == "UPDATE"'}
    assert ("environments", "production", "approvals") in required.used
    assert ("risk_approvals", "high") in required.used


def test_an_admitted_input_lacks_nothing(opa: Opa) -> None:
    found = explain(opa, shipped_tree(), load_policy_data(None), passing_request())
    assert found.decision["allowed"] is True
    assert [one for one in found.rulings if not one.passed or one.lacks] == []


def test_a_rule_of_a_team_is_explained_with_its_own_lines(opa: Opa, team: Team) -> None:
    request = passing_request()
    request["workload"]["namespace"] = "default"
    found = explain(opa, find_tree(team.root), load_policy_data(None), request)
    (ruling,) = [one for one in found.rulings if not one.passed]
    assert ruling.rule == "scale.modest"
    first = leaves(ruling.lacks)[0]
    assert (first.file, first.line) == (team.rule.as_posix(), team.line(team.rule, "not input.workload"))
    assert first.found == {"input.workload.namespace": "default"}


def test_what_is_missing_is_said_to_be(opa: Opa, team: Team) -> None:
    team.replace(team.rule, "is_string(input.workload.namespace)", "is_string(input.workload.nothing)")
    found = explain(opa, find_tree(team.root), load_policy_data(None), passing_request())
    (ruling,) = [one for one in found.rulings if not one.passed]
    assert leaves(ruling.lacks)[0].missing == ("input.workload.nothing",)


@pytest.fixture
def operator(tmp_path: Path) -> Path:
    path = tmp_path / "policy-data.yaml"
    path.write_text(
        "environments:\n  production:\n    max_level: high\n  lab:\n    approvals:\n      - technical\n"
        "    max_level: low\n    bindings: [projection]\n    pin_images: false\n    mode: enforce\n"
        "    coverage: strict\n    accept_declared: true\nrules:\n  images.pinned: {mode: audit}\n",
        encoding="utf-8",
    )
    return path


def test_every_value_has_its_file_and_line(operator: Path) -> None:
    provenance = Provenance(operator)
    for path, line in {
        ("environments", "production", "max_level"): 3,
        ("environments", "lab", "approvals"): 5,
        ("rules", "images.pinned", "mode"): 14,
    }.items():
        source = provenance.source(path)
        assert source is not None
        assert (source.file, source.line, source.shipped) == (str(operator), line, False)
    default = provenance.source(("environments", "production", "approvals"))
    assert default is not None
    assert default.shipped
    assert default.file == "placet:defaults/environments.yaml"
    assert [path for path, _, source in provenance.values() if source is None] == [
        ("environments", "lab", "requires"),  # filled in where an environment of one's own does not say it
        ("schema",),
    ]
    assert provenance.data.value == load_policy_data(operator).value


def test_values_are_found_below_a_key_that_is_there(operator: Path) -> None:
    provenance = Provenance(operator)
    found = {path: value for path, value, _ in provenance.values(("environments", "lab"))}
    assert found["environments", "lab", "approvals"] == ["technical"]
    assert len(found) == 8
    with pytest.raises(EngineError, match=r"have no environments\.moon"):
        list(provenance.values(("environments", "moon")))
