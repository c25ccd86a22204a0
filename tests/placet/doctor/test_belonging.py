"""Namespaces that are judged as another environment than theirs, and gates that don't look."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from placet.doctor.access import find_grants
from placet.doctor.belonging import check_belonging, check_looking
from placet.doctor.entries import NAME_LABEL, find_entries
from tests.placet.doctor.samples import ENVIRONMENTS, NAMESPACES, configuration, deployment, namespace

LABEL = "placet.dev/environment"
ACCOUNT = {"kind": "ServiceAccount", "namespace": "placet-system", "name": "gate"}
LOOKING = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}


def examine(change: Callable[[list[Any]], object], *more: Any, default: str = "production") -> list[tuple[str, str]]:
    value = copy.deepcopy(configuration())
    change(value["webhooks"])
    entries = [entry for entry in find_entries([value]) if entry.environment is not None]
    found = check_belonging(entries, [*NAMESPACES, *more], ENVIRONMENTS, default)
    return [(one.where.rpartition(" ")[2], one.sentence) for one in found]


def path(index: int, text: str) -> Callable[[list[Any]], object]:
    return lambda webhooks: webhooks[index]["clientConfig"]["service"].update(path=text)


def test_the_charts_entries_send_each_namespace_to_its_own_path() -> None:
    odd = [namespace("typo", **{LABEL: "prod"}), namespace("empty", **{LABEL: ""})]
    assert examine(lambda _: None, *odd) == []


def test_a_wrong_path_is_named_with_whoever_comes_by_it() -> None:
    assert examine(path(1, "/v1/admit/development")) == [
        ("production.placet.dev", "Namespace/ml: of production, and judged as development")
    ]
    said = "Namespace/default, a new Namespace without the label: of production, and judged as development"
    assert examine(path(2, "/v1/admit/development")) == [("other-namespaces.placet.dev", said)]


def test_a_selector_that_takes_a_namespace_by_its_name_is_found() -> None:
    def change(webhooks: list[Any]) -> None:
        webhooks[0]["namespaceSelector"] = {
            "matchExpressions": [{"key": NAME_LABEL, "operator": "In", "values": ["ml"]}]
        }

    assert examine(change) == [("development.placet.dev", "Namespace/ml: of production, and judged as development")]


def test_another_default_than_the_entries_have_is_found() -> None:
    found = examine(lambda _: None, namespace("typo", **{LABEL: "prod"}), default="development")
    assert [where for where, _ in found] == ["other-namespaces.placet.dev"]
    assert "Namespace/typo" in found[0][1]


def test_many_are_counted() -> None:
    more = [namespace(f"ml-{number}", **{LABEL: "production"}) for number in range(9)]
    ((_, said),) = examine(path(1, "/v1/admit/development"), *more)
    assert said.endswith("Namespace/ml-3 and 5 more: of production, and judged as development")


def looking(rule: dict[str, Any], subject: dict[str, Any], *, namespaced: bool = False) -> list[str]:
    role = {"metadata": {"name": "r"}, "rules": [rule]}
    reference = {"kind": "ClusterRole", "name": "r"}
    binding = {"metadata": {"name": "b", "namespace": "placet-system"}, "roleRef": reference, "subjects": [subject]}
    grants = find_grants(
        cluster_roles=[role],
        roles=[],
        cluster_bindings=[] if namespaced else [binding],
        bindings=[binding] if namespaced else [],
    )
    gate = deployment()
    gate["spec"]["template"]["spec"]["serviceAccountName"] = "gate"
    return [str(one.code) for one in check_looking([("placet-system", gate)], list(grants))]


@pytest.mark.parametrize(
    ("rule", "subject", "namespaced", "may"),
    [
        (LOOKING, ACCOUNT, False, True),
        ({**LOOKING, "verbs": ["*"]}, ACCOUNT, False, True),
        (LOOKING, {"kind": "Group", "name": "system:serviceaccounts:placet-system"}, False, True),
        (LOOKING, {"kind": "User", "name": "system:serviceaccount:placet-system:gate"}, False, True),
        (LOOKING, ACCOUNT, True, False),
        (LOOKING, {**ACCOUNT, "name": "default"}, False, False),
        (LOOKING, {**ACCOUNT, "namespace": "other"}, False, False),
        ({**LOOKING, "verbs": ["list", "watch"]}, ACCOUNT, False, False),
        ({**LOOKING, "resourceNames": ["ml"]}, ACCOUNT, False, False),
        ({**LOOKING, "resources": ["pods"]}, ACCOUNT, False, False),
    ],
)
def test_a_gate_that_may_not_read_namespaces_is_found(
    rule: dict[str, Any], subject: dict[str, Any], *, namespaced: bool, may: bool
) -> None:
    assert looking(rule, subject, namespaced=namespaced) == ([] if may else ["environment_unchecked"])
