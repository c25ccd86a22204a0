"""What else makes or changes workloads."""

from __future__ import annotations

from typing import Any

import pytest

from placet.doctor.entries import find_entries
from placet.doctor.findings import Code
from placet.doctor.others import check_kinds, check_mutators, find_templates
from tests.placet.doctor.samples import ASKED, configuration

INJECTS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"], "scope": "*"}
CONTAINERS = {
    "type": "array",
    "items": {"type": "object", "properties": {"name": {"type": "string"}, "image": {"type": "string"}, "env": {}}},
}
POD = {"type": "object", "properties": {"containers": CONTAINERS}}
TEMPLATE = {"type": "object", "properties": {"metadata": {}, "spec": POD}}


def mutating(**values: Any) -> dict[str, Any]:
    return {"metadata": {"name": "mesh"}, "webhooks": [{"name": "inject.mesh", "rules": [INJECTS], **values}]}


def said(webhooks: Any = (), policies: Any = ()) -> list[tuple[str, str]]:
    found = list(check_mutators(webhooks, policies, list(ASKED)))
    assert {one.code for one in found} <= {Code.MUTATES_WORKLOADS}
    return [(one.where, one.sentence) for one in found]


def test_an_injector_is_noted_with_what_it_touches() -> None:
    where = "MutatingWebhookConfiguration/mesh inject.mesh"
    assert said([mutating()]) == [(where, "it may change pods")]
    again = mutating(reinvocationPolicy="IfNeeded", rules=[{**INJECTS, "apiGroups": ["*"], "resources": ["*"]}])
    assert said([again]) == [(where, "it may change pods, deployments; called again after others")]


@pytest.mark.parametrize(
    "change",
    [{"resources": ["services"]}, {"apiGroups": ["apps"]}, {"operations": ["DELETE"]}, {"resources": ["pods/binding"]}],
)
def test_what_touches_nothing_governed_is_not(change: dict[str, Any]) -> None:
    assert said([mutating(rules=[INJECTS | change])]) == []


def test_a_mutating_policy_is_noted_as_well() -> None:
    policy = {"metadata": {"name": "defaults"}, "spec": {"matchConstraints": {"resourceRules": [INJECTS]}}}
    assert said((), [policy]) == [("MutatingAdmissionPolicy/defaults", "it may change pods")]
    assert said((), [{"metadata": {"name": "x"}, "spec": {}}]) == []


def definition(schema: Any, *, served: bool = True) -> dict[str, Any]:
    version = {"name": "v1", "served": served, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "Rollout", "plural": "rollouts"}
    return {
        "metadata": {"name": "rollouts.example.com"},
        "spec": {"group": "example.com", "names": names, "versions": [version]},
    }


def nested(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def listed(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def kinds(schema: Any, *, rules: Any = (), served: bool = True) -> list[str]:
    value = configuration()
    value["webhooks"][0]["rules"] += rules
    found = list(check_kinds([definition(schema, served=served)], list(find_entries([value]))))
    assert {one.code for one in found} <= {Code.EMBEDS_PODS}
    return [one.sentence for one in found]


EMBEDDING = nested(spec=nested(template=TEMPLATE))


def test_a_kind_with_a_pod_template_that_no_rule_names_is_noted() -> None:
    assert kinds(EMBEDDING) == ["Rollout holds containers at spec.template.spec"]


def test_a_kind_that_a_rule_names_or_that_is_not_served_is_not() -> None:
    rule = {"apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["rollouts"]}
    assert kinds(EMBEDDING, rules=[rule]) == []
    assert kinds(EMBEDDING, rules=[rule | {"apiVersions": ["v2"]}]) != []
    assert kinds(EMBEDDING, served=False) == []


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        (["rollouts"], ["no rule names UPDATE rollouts/scale.example.com"]),
        (["rollouts", "rollouts/scale"], []),
        (["rollouts", "rollouts/*"], []),
        (["others"], ["Rollout holds containers at spec.template.spec"]),
    ],
)
def test_a_kind_that_is_named_without_its_scale_is_a_hole(resources: list[str], said: list[str]) -> None:
    value = configuration()
    rule = {"apiGroups": ["example.com"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"]}
    value["webhooks"][0]["rules"] += [{**rule, "resources": resources}]
    scaled = definition(EMBEDDING)
    scaled["spec"]["versions"][0]["subresources"] = {"scale": {"specReplicasPath": ".spec.replicas"}}
    found = list(check_kinds([scaled], list(find_entries([value]))))
    assert [one.sentence for one in found] == said
    assert {one.code for one in found} <= {Code.EMBEDS_PODS, Code.RULES_MISSING}


def test_a_kind_without_containers_is_not() -> None:
    assert kinds(nested(spec=nested(replicas={"type": "integer"}, containers={"type": "integer"}))) == []
    assert kinds(nested(spec=nested(containers={"type": "array", "items": {"type": "string"}}))) == []
    assert kinds(None) == []


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
