"""What else changes workloads."""

from __future__ import annotations

from typing import Any

import pytest

from placet.doctor.findings import Code
from placet.doctor.others import check_mutators
from tests.placet.doctor.samples import ASKED

INJECTS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"], "scope": "*"}


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
