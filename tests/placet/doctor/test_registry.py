"""Where the kind registry and the cluster do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from placet.doctor.entries import find_entries
from placet.doctor.findings import Code
from placet.doctor.registry import check_registry, find_forms, find_opaque, find_templates
from placet.doctor.running import Form
from placet.policy.data import load_policy_data
from placet.projection.registry import Kinds, parse_kinds
from tests.placet.doctor.samples import configuration

CONTAINERS = {
    "type": "array",
    "items": {"type": "object", "properties": {"name": {"type": "string"}, "image": {"type": "string"}, "env": {}}},
}
POD = {"type": "object", "properties": {"containers": CONTAINERS}}
TEMPLATE = {"type": "object", "properties": {"metadata": {}, "spec": POD}}


NAME = "rollouts.example.com"
WHERE = f"CustomResourceDefinition/{NAME}"
RULE = {
    "apiGroups": ["example.com"],
    "apiVersions": ["*"],
    "operations": ["CREATE", "UPDATE"],
    "resources": ["rollouts"],
    "scope": "Namespaced",
}
ENTRY = {"group": "example.com", "kind": "Rollout", "resource": "rollouts", "versions": ["v1", "v1beta1"]}
REGISTERED = parse_kinds({NAME: {**ENTRY, "pod_templates": ["spec.template"]}})
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def nested(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def listed(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


EMBEDDING = nested(spec=nested(template=TEMPLATE))


def definition(
    schema: Any = EMBEDDING, *, versions: tuple[str, ...] = ("v1",), kind: str = "Rollout"
) -> dict[str, Any]:
    served = [{"name": name, "served": True, "schema": {"openAPIV3Schema": schema}} for name in versions]
    old = {"name": "v1alpha1", "served": False, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind, "plural": "rollouts"}
    return {"metadata": {"name": NAME}, "spec": {"group": "example.com", "names": names, "versions": [*served, old]}}


def found(
    *definitions: Any, kinds: Kinds | None = None, rules: Any = (), accepted: tuple[str, ...] = ()
) -> list[tuple[Code, str, str]]:
    value = configuration()
    value["webhooks"][0]["rules"] += rules
    entries = list(find_entries([value]))
    findings = check_registry(kinds or Kinds(), list(definitions), entries, accepted=accepted)
    return [(one.code, one.where, one.sentence) for one in findings]


def test_a_kind_with_a_pod_template_and_no_entry_is_told_by_its_kind() -> None:
    (one,) = found(definition())
    assert one == (Code.KIND_UNREGISTERED, WHERE, "Rollout holds containers at spec.template.spec")


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        (["rollouts"], ["no rule names rollouts/scale, by which it is scaled: UPDATE in v1"]),
        (["rollouts", "rollouts/scale"], []),
        (["rollouts", "rollouts/*"], []),
    ],
)
def test_a_registered_kind_whose_scale_no_rule_names_is_a_hole(resources: list[str], said: list[str]) -> None:
    scaled = definition()
    scaled["spec"]["versions"][0]["subresources"] = {"scale": {"specReplicasPath": ".spec.replicas"}}
    holes = found(scaled, kinds=REGISTERED, rules=[{**RULE, "resources": resources}])
    assert [(code, sentence) for code, _, sentence in holes] == [(Code.RULES_MISSING, one) for one in said]


def test_one_that_is_accepted_not_served_or_without_pods_is_none() -> None:
    assert found(definition(), accepted=(NAME,)) == []
    assert found(definition(versions=())) == []
    assert found(definition(nested(spec=nested(replicas={"type": "integer"}, containers={"type": "integer"})))) == []
    assert found(definition(nested(spec=nested(containers=listed({"type": "string"}))))) == []


def test_a_rule_without_an_entry_refuses_and_says_so() -> None:
    (one,) = found(definition(), rules=[RULE])
    assert one[0] is Code.KIND_VERSION_UNKNOWN
    assert "has no entry" in one[2]


def test_a_kind_that_does_not_say_what_it_holds_is_not_known() -> None:
    (one,) = found(definition(nested(spec=OPEN)))
    assert one == (Code.KIND_OPAQUE, WHERE, "Rollout describes nothing at spec")


def test_an_entry_whose_kind_is_there_and_asked_about_is_in_order() -> None:
    assert found(definition(), kinds=REGISTERED, rules=[RULE]) == []
    assert found(definition(versions=("v1beta1", "v1")), kinds=REGISTERED, rules=[RULE]) == []


def test_entries_that_match_nothing_are_one_note() -> None:
    (one,) = found(kinds=REGISTERED)
    assert one == (Code.KIND_ABSENT, "kinds of the policy data", f"not in this cluster: {NAME}")


def test_a_version_that_no_entry_names_is_told() -> None:
    (one,) = found(definition(versions=("v1", "v2")), kinds=REGISTERED, rules=[RULE])
    assert one == (Code.KIND_VERSION_UNKNOWN, WHERE, "serves v2; `kinds` names v1, v1beta1")


def test_the_entries_of_one_kind_count_together() -> None:
    two = parse_kinds({"a": {**ENTRY, "versions": ["v1"]}, "b": {**ENTRY, "versions": ["v2"]}})
    both = definition(versions=("v2", "v1"))
    assert found(both, kinds=two, rules=[RULE]) == []
    assert find_forms(two, [both]) == [Form("example.com", "v1", "Rollout", "rollouts")]
    assert [one[2] for one in found(kinds=two)] == [f"not in this cluster: {NAME}"]


def test_another_kind_of_the_same_resource_is_told() -> None:
    (one,) = found(definition(kind="Other"), kinds=REGISTERED, rules=[RULE])
    assert one == (Code.KIND_VERSION_UNKNOWN, WHERE, f"its kind is Other, and the entry {NAME} says Rollout")


@pytest.mark.parametrize(
    ("rules", "lacking"),
    [
        ([], "CREATE in v1, UPDATE in v1"),
        ([{**RULE, "operations": ["CREATE"]}], "UPDATE in v1"),
        ([{**RULE, "resources": ["others"]}], "CREATE in v1, UPDATE in v1"),
    ],
)
def test_an_entry_that_no_rule_asks_about_is_a_hole(rules: list[Any], lacking: str) -> None:
    (one,) = found(definition(), kinds=REGISTERED, rules=rules)
    assert one == (Code.RULES_MISSING, WHERE, f"no rule names Rollout: {lacking}")


def test_what_runs_is_read_in_a_version_that_both_know() -> None:
    assert find_forms(REGISTERED, [definition(versions=("v2", "v1beta1"))]) == [
        Form("example.com", "v1beta1", "Rollout", "rollouts")
    ]
    assert find_forms(REGISTERED, [definition(versions=("v2",))]) == []
    assert find_forms(REGISTERED, []) == []
    assert find_forms(REGISTERED, [definition()])[0].api_version == "example.com/v1"


def test_the_documented_role_may_list_every_kind_of_the_registry() -> None:
    text = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text(encoding="utf-8")
    role = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    (groups,) = [set(rule["apiGroups"]) for rule in role["rules"] if rule["resources"] == ["*"]]
    assert groups == {kind.group for kind in load_policy_data(None).kinds.custom}


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        (None, ["."]),
        (OPEN, ["."]),
        (nested(spec=OPEN), ["spec"]),
        (nested(spec=nested(podTemplate=OPEN, settings=OPEN)), ["spec.podTemplate"]),
        (nested(status=OPEN, metadata=OPEN, spec=nested(a={"type": "string"})), []),
        (nested(spec={**OPEN, "properties": {"a": {"type": "string"}}}), []),
    ],
)
def test_what_a_schema_leaves_open_is_told_where_pods_may_be(schema: Any, paths: list[str]) -> None:
    assert list(find_opaque(schema)) == paths


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        (nested(spec=nested(groups=listed(nested(template=TEMPLATE)))), "spec.groups[*].template.spec"),
        (nested(spec=nested(roles={"additionalProperties": TEMPLATE})), "spec.roles.*.spec"),
        (nested(spec={"anyOf": [nested(podSpec=POD)]}), "spec.podSpec"),
        (nested(spec=nested(containers=listed({"x-kubernetes-preserve-unknown-fields": True}))), "spec"),
    ],
)
def test_templates_are_found_wherever_they_are(schema: Any, path: str) -> None:
    assert list(find_templates(schema)) == [path]


def test_a_schema_without_an_end_is_given_up() -> None:
    endless: dict[str, Any] = {"type": "object", "properties": {}}
    endless["properties"]["spec"] = endless
    assert list(find_templates(endless)) == []
    assert list(find_opaque(endless)) == []
