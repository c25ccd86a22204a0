"""Kinds of evidence are data: what an operator may add, and what is refused before it decides anything."""

from __future__ import annotations

from datetime import timedelta

import pytest

from placet.errors import EngineError
from placet.evidence.kinds import EARLIER_KINDS, READERS, parse_evidence_kinds
from placet.policy.data import load_policy_data, merge_policy_data

OWN = """\
evidence:
  red_team:
    predicate_type: https://example.org/red-team/v1
    about: model
    max_age_days: 90
    claims:
      findings: {type: integer, maximum: 100}
      verdict: {type: string, values: [held, broken]}
"""


def refusal(text: str) -> str:
    with pytest.raises(EngineError) as caught:
        merge_policy_data(text.encode(), name="operator.yaml")
    assert caught.value.code == "policy_data_invalid"
    return str(caught.value)


def test_a_team_adds_a_kind_of_its_own_without_a_line_of_code() -> None:
    data = merge_policy_data(OWN.encode(), name="operator.yaml")
    kind = data.evidence.by_name["red_team"]
    assert (kind.about, kind.max_age, kind.reader) == ("model", timedelta(days=90), "")
    assert list(kind.claims) == ["findings", "verdict"]
    assert kind.claims["verdict"].values == ("held", "broken")
    assert data.evidence.by_type["https://example.org/red-team/v1"] is kind
    assert data.value["evidence"]["red_team"]["claims"]["findings"] == {"type": "integer", "maximum": 100}


def test_a_shipped_kind_takes_another_age_and_keeps_the_rest() -> None:
    kinds = merge_policy_data(b"evidence: {performance: {max_age_days: 7}}\n", name="operator.yaml").evidence
    shipped = load_policy_data(None).evidence
    assert kinds.by_name["performance"].max_age == timedelta(days=7)
    assert kinds.by_name["performance"].claims == shipped.by_name["performance"].claims
    assert kinds.digest != shipped.digest


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    about: model\n", "", "operator.yaml:2: evidence.red_team: the key 'about' is missing"),
        ("about: model", "about: cluster", "evidence.red_team.about"),
        ("max_age_days: 90", "max_age_days: 0", "evidence.red_team.max_age_days"),
        ("max_age_days: 90", "max_age_days: -1", "evidence.red_team.max_age_days"),
        ("max_age_days: 90", "max_age: 90", "the key 'max_age' is not known here; did you mean 'max_age_days'?"),
        ("https://example.org/red-team/v1", "red-team", "evidence.red_team.predicate_type"),
        ("https://example.org/red-team/v1", "https://placet.dev/slo/v1", "is that of slo too"),
        ("https://example.org/red-team/v1", "https://cyclonedx.org/bom", "is that of model_bom too"),
        ("red_team", "Red Team", "evidence"),
        ("red_team", "parameters", "evidence"),
        ("red_team", "rollback", "evidence"),
        ("findings:", "expires:", "evidence.red_team.claims"),
        ("findings:", "Findings:", "evidence.red_team.claims"),
        ("type: integer", "type: number", "evidence.red_team.claims.findings.type"),
        ("maximum: 100", "maximum: 100, minimum: 101", "the minimum is above the maximum"),
        ("maximum: 100", "maximum: 0.5", "operator.yaml"),
        ("maximum: 100", "values: [a]", "evidence.red_team.claims.findings"),
        ("values: [held, broken]", "values: []", "evidence.red_team.claims.verdict.values"),
        ("values: [held, broken]", "minimum: 1", "evidence.red_team.claims.verdict"),
        ("values: [held, broken]", 'values: ["a\\u202eb"]', "characters that do not print"),
        ("    claims:", "    reader: vulns\n    claims:", "evidence.red_team"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_its_place(old: str, new: str, said: str) -> None:
    assert old in OWN
    assert said in refusal(OWN.replace(old, new))


def test_a_kind_of_ones_own_has_claims() -> None:
    assert "evidence.red_team" in refusal(OWN[: OWN.index("    claims")])


@pytest.mark.parametrize("reader", sorted(READERS))
def test_a_reader_is_for_its_own_kind_alone(reader: str) -> None:
    text = OWN[: OWN.index("    claims")] + f"    reader: {reader}\n"
    assert f"operator.yaml:6: evidence.red_team.reader: {reader} is for {READERS[reader][0]}" in refusal(text)


@pytest.mark.parametrize("change", ["about: model", "predicate_type: https://example.org/x/v1", "reader: plan"])
def test_how_a_format_of_others_is_read_can_not_be_changed(change: str) -> None:
    assert "evidence.coverage" in refusal(f"evidence: {{coverage: {{{change}}}}}\n")


def test_the_kinds_of_before_the_table_are_read_as_they_ship_now() -> None:
    shipped = load_policy_data(None).evidence
    for name, kind in EARLIER_KINDS.by_name.items():
        found = shipped.by_name[name]
        assert (found.predicate_type, found.about, found.max_age, found.reader) == (
            kind.predicate_type,
            kind.about,
            kind.max_age,
            kind.reader,
        )
    assert set(EARLIER_KINDS.by_name) == {"coverage", "rollback_drill", "model_bom", "deployment_plan"}


def test_each_reader_has_a_kind_that_ships() -> None:
    shipped = load_policy_data(None).evidence
    assert {kind.reader: kind.name for kind in shipped.by_name.values() if kind.reader} == {
        reader: owner for reader, (owner, _, _) in READERS.items()
    }
    assert parse_evidence_kinds(load_policy_data(None).value["evidence"]) == shipped
