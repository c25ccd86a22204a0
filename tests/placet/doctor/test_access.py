"""Who may do what. That the matcher says what the API server says is held by tests/e2e/test_doctor_access.py."""

from __future__ import annotations

from typing import Any

import pytest

from placet.doctor.access import Action, Grant, Subject, allows, could_allow, find_grants, home_of, is_allowed
from placet.doctor.findings import Severity
from placet.doctor.powers import Ground, check_access, parse_subject
from placet.errors import InputError

GROUND = Ground(
    configurations=["placet"],
    own={"placet-system"},
    ungoverned={"kube-system", "placet-system", "forgotten"},
    workloads=[("", "pods"), ("apps", "deployments")],
    trusted={Subject("Group", "platform")},
)
TENANT = Subject("Group", "tenants")
WEBHOOKS = ("admissionregistration.k8s.io", "validatingwebhookconfigurations")
RBAC = "rbac.authorization.k8s.io"


def rule(group: str, resource: str, *verbs: str, names: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs), "resourceNames": list(names)}


def examine(*rules: dict[str, Any], namespace: str = "", subject: Subject = TENANT, ground: Ground = GROUND) -> Any:
    grants = [Grant(subject, namespace, one, "binding") for one in rules]
    return {str(one.code): one for one in check_access(grants, ground)}


@pytest.mark.parametrize(
    ("namespace", "given", "code"),
    [
        ("", rule("*", "*", "*"), "rbac_everything"),
        ("", rule(*WEBHOOKS, "patch"), "rbac_webhooks"),
        ("", rule(*WEBHOOKS, "delete", names=("placet",)), "rbac_webhooks"),
        ("", rule(*WEBHOOKS, "deletecollection"), "rbac_webhooks"),
        ("", rule("", "configmaps", "update"), "rbac_gate"),
        ("placet-system", rule("", "secrets", "get"), "rbac_gate"),
        ("placet-system", rule("", "pods/exec", "create"), "rbac_gate"),
        ("placet-system", rule("", "*", "create"), "rbac_gate"),
        ("placet-system", rule("apps", "deployments", "patch"), "rbac_gate"),
        ("placet-system", rule("", "serviceaccounts/token", "create"), "rbac_gate"),
        ("placet-system", rule("", "namespaces", "delete"), "rbac_gate"),
        ("ml", rule("", "namespaces", "patch"), "rbac_namespaces"),
        ("", rule("", "namespaces", "create"), "rbac_namespaces"),
        ("", rule("", "*/status", "update"), "rbac_namespaces"),
        ("", rule("", "namespaces/finalize", "update"), "rbac_namespaces"),
        ("", rule(RBAC, "clusterroles", "bind"), "rbac_escalation"),
        ("placet-system", rule(RBAC, "roles", "escalate"), "rbac_escalation"),
        ("", rule("", "groups", "impersonate", names=("system:masters",)), "rbac_escalation"),
        ("kube-system", rule("", "serviceaccounts/token", "create"), "rbac_escalation"),
        ("", rule("certificates.k8s.io", "certificatesigningrequests/approval", "update"), "rbac_escalation"),
        ("", rule("", "nodes/proxy", "create"), "rbac_nodes"),
        ("", rule("apiextensions.k8s.io", "customresourcedefinitions", "patch"), "rbac_kinds"),
        ("", rule("apiregistration.k8s.io", "apiservices", "create"), "rbac_kinds"),
        ("", rule("", "persistentvolumes", "create"), "rbac_volumes"),
        ("forgotten", rule("", "pods", "create"), "rbac_ungoverned"),
        ("kube-system", rule("apps", "*", "create"), "rbac_ungoverned"),
    ],
)
def test_each_right_around_the_gate_has_its_code(namespace: str, given: dict[str, Any], code: str) -> None:
    found = examine(given, namespace=namespace)
    assert list(found) == [code]
    assert found[code].where == "group:tenants"
    assert found[code].severity is Severity.RISK
    everybody = examine(given, namespace=namespace, subject=Subject("Group", "system:authenticated"))
    assert everybody[code].severity is Severity.HOLE


@pytest.mark.parametrize(
    ("namespace", "given"),
    [
        ("", rule("", "namespaces", "create", names=("ml",))),
        ("ml", rule("apps", "*", "*")),
        ("", rule(*WEBHOOKS, "get", "list", "watch", "create")),
        ("", rule(*WEBHOOKS, "*", names=("other",))),
        ("", rule("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "*")),
        ("ml", rule("", "configmaps", "*")),
        ("placet-system", rule("", "pods", "get", "list")),
        ("placet-system", rule("", "configmaps", "get")),
        ("", rule("", "namespaces", "get", "list", "delete", names=("ml",))),
        ("ml", rule("", "namespaces", "create")),
        ("ml", rule("", "namespaces", "patch", names=("dev",))),
        ("ml", rule(RBAC, "rolebindings", "create")),
        ("ml", rule(RBAC, "roles", "escalate")),
        ("", rule("", "nodes", "get")),
        ("", rule("", "nodes/proxy", "delete")),
        ("ml", rule("", "persistentvolumes", "create")),
        ("", rule("", "persistentvolumeclaims/status", "update")),
        ("", rule("example.com", "*", "*")),
    ],
)
def test_other_rights_are_not_called_a_risk(namespace: str, given: dict[str, Any]) -> None:
    assert examine(given, namespace=namespace) == {}


def test_all_rights_in_a_namespace_of_ones_own_include_its_label() -> None:
    assert list(examine(rule("*", "*", "*"), namespace="ml")) == ["rbac_namespaces"]


@pytest.mark.parametrize(
    "subject",
    [
        Subject("Group", "system:masters"),
        Subject("User", "system:kube-controller-manager"),
        Subject("ServiceAccount", "kube-system:deployment-controller"),
        Subject("Group", "system:serviceaccounts:kube-system"),
        Subject("ServiceAccount", "placet-system:placet"),
        Subject("Group", "platform"),
    ],
)
def test_nothing_is_said_of_the_control_plane_the_gate_and_who_was_named(subject: Subject) -> None:
    assert examine(rule("*", "*", "*"), subject=subject) == {}
    assert examine(rule(*WEBHOOKS, "patch"), subject=subject) == {}


@pytest.mark.parametrize(
    "subject",
    [
        Subject("User", "system:masters"),
        Subject("Group", "system:kube-scheduler"),
        Subject("ServiceAccount", "kube-systems:x"),
        Subject("Group", "system:serviceaccounts:placet-system"),
        Subject("User", "platform"),
    ],
)
def test_a_name_that_is_nearly_one_of_theirs_is_not(subject: Subject) -> None:
    assert list(examine(rule(*WEBHOOKS, "patch"), subject=subject)) == ["rbac_webhooks"]


def test_what_was_granted_says_by_which_binding_and_for_which_names() -> None:
    given = rule("", "namespaces", "update", names=("ml", "dev"))
    finding = examine(given)["rbac_namespaces"]
    assert finding.sentence == "may update namespaces (ml, dev alone), by binding"


def binding(role: str, kind: str = "ClusterRole", namespace: str = "", **subject: str) -> dict[str, Any]:
    metadata = {"name": "b"} | ({"namespace": namespace} if namespace else {})
    return {"metadata": metadata, "roleRef": {"kind": kind, "name": role}, "subjects": [subject]}


def grants(**parts: Any) -> list[Grant]:
    empty: dict[str, Any] = {"cluster_roles": (), "roles": (), "cluster_bindings": (), "bindings": ()}
    return list(find_grants(**(empty | parts)))


ROLE = {"metadata": {"name": "r"}, "rules": [rule("", "pods", "get")]}
LOCAL = {"metadata": {"name": "r", "namespace": "ml"}, "rules": [rule("", "secrets", "get")]}


def test_a_role_binding_gives_a_cluster_role_in_its_namespace_alone() -> None:
    (grant,) = grants(cluster_roles=[ROLE], bindings=[binding("r", namespace="ml", kind="ClusterRole", **ANNA)])
    assert (grant.namespace, grant.rule["resources"]) == ("ml", ["pods"])


ANNA = {"name": "anna"}


def test_a_role_is_that_of_the_bindings_namespace() -> None:
    role = binding("r", "Role", "ml") | {"subjects": [{"kind": "User", "name": "anna"}]}
    (grant,) = grants(cluster_roles=[ROLE], roles=[LOCAL], bindings=[role])
    assert grant.rule["resources"] == ["secrets"]
    assert grants(roles=[LOCAL], bindings=[role | {"metadata": {"name": "b", "namespace": "dev"}}]) == []


def test_a_binding_to_nothing_or_of_nobody_grants_nothing() -> None:
    everywhere = binding("r") | {"subjects": None}
    assert grants(cluster_roles=[ROLE], cluster_bindings=[everywhere]) == []
    assert grants(cluster_bindings=[binding("absent", **ANNA)]) == []
    assert grants(cluster_roles=[{"metadata": {"name": "r"}, "rules": None}], cluster_bindings=[binding("r")]) == []


def test_a_service_account_without_a_namespace_is_of_the_bindings() -> None:
    subjects = [{"kind": "ServiceAccount", "name": "x"}, {"kind": "User", "name": "system:serviceaccount:dev:y"}]
    found = grants(cluster_roles=[ROLE], bindings=[binding("r", namespace="ml") | {"subjects": subjects}])
    assert [one.subject for one in found] == [Subject("ServiceAccount", "ml:x"), Subject("ServiceAccount", "dev:y")]
    assert is_allowed(
        found, user="system:serviceaccount:ml:x", groups=(), namespace="ml", action=Action("get", "", "pods")
    )
    assert [home_of(one.subject) for one in found] == ["ml", "dev"]


def test_names_are_looked_at_where_the_request_has_one() -> None:
    named = rule("", "pods", "delete", names=("a",))
    assert allows(named, Action("delete", "", "pods", name="a"))
    assert not allows(named, Action("delete", "", "pods", name="b"))
    assert not allows(named, Action("deletecollection", "", "pods"))
    assert could_allow(named, Action("delete", "", "pods"))


@pytest.mark.parametrize("text", ["", "platform", "group:", "team:x", "serviceaccount:x", "serviceaccount:a:b:c"])
def test_a_subject_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="names nobody"):
        parse_subject(text)


def test_subjects_are_read() -> None:
    assert parse_subject("group:kubeadm:cluster-admins") == Subject("Group", "kubeadm:cluster-admins")
    assert parse_subject("serviceaccount:cert-manager:cainjector").shown == "serviceaccount:cert-manager:cainjector"
