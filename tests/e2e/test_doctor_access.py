"""Our reading of roles and bindings against the authorizer of a real API server, asked by SubjectAccessReview."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from placet.doctor.access import Action, find_grants, is_allowed
from tests.e2e.controlplane import ControlPlane
from tests.e2e.processes import poll_until

RBAC = "/apis/rbac.authorization.k8s.io/v1"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
SPACES = ("one", "two")
KINDS = ("clusterroles", "roles", "clusterrolebindings", "rolebindings")
USERS = (
    ("anna", ("staff",)),
    ("bert", ()),
    ("system:serviceaccount:one:worker", ("system:serviceaccounts", "system:serviceaccounts:one")),
)
SUBJECTS = st.sampled_from(
    [
        {"kind": "User", "name": "anna"},
        {"kind": "Group", "name": "staff"},
        {"kind": "Group", "name": "anna"},
        {"kind": "Group", "name": "system:serviceaccounts:one"},
        {"kind": "User", "name": "system:serviceaccount:one:worker"},
        {"kind": "ServiceAccount", "name": "worker", "namespace": "one"},
        {"kind": "ServiceAccount", "name": "worker", "namespace": "two"},
    ]
)


def few(*values: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)


RULES = st.fixed_dictionaries(
    {
        "apiGroups": few("", "apps", "*"),
        "resources": few("pods", "pods/exec", "deployments", "*", "*/exec", "*/*", "pods/*", "deployments/scale"),
        "verbs": few("get", "create", "update", "*"),
        "resourceNames": st.sampled_from([[], [], ["x"], ["x", "y"]]),
    }
)
ROLES = st.lists(RULES, min_size=1, max_size=2)
# rules, the namespace of the role ("" for a ClusterRole), that of the binding ("" for everywhere), who
BOUND = st.tuples(ROLES, st.booleans(), st.sampled_from(["", *SPACES]), SUBJECTS)
ACTIONS = [
    Action(verb, group, resource, subresource, name)
    for verb, (group, resource, subresource), name in itertools.product(
        ("get", "create", "update"),
        (("", "pods", ""), ("", "pods", "exec"), ("apps", "deployments", ""), ("apps", "deployments", "scale")),
        ("", "x", "z"),
    )
]


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        for name in SPACES:
            plane.create_namespace(name)
        yield plane


COUNTER = itertools.count()


def install(plane: ControlPlane, bound: list[Any]) -> dict[str, list[dict[str, Any]]]:
    """Write roles and bindings, and a last one of each kind that shows when all before them are in force."""
    made: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    number = next(COUNTER)
    ends = [(_sentinel(number, space), bool(space), space, END) for space in ("", SPACES[0])]
    for place, (rules, local, space, subject) in enumerate([*bound, *ends]):
        name = f"role-{number}-{place}"
        own = local and space != ""
        role: dict[str, Any] = {"metadata": {"name": name} | ({"namespace": space} if own else {}), "rules": rules}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role" if own else "ClusterRole", "name": name}
        who = subject | ({} if subject["kind"] == "ServiceAccount" else {"apiGroup": "rbac.authorization.k8s.io"})
        metadata = {"name": name} | ({"namespace": space} if space else {})
        binding = {"metadata": metadata, "roleRef": reference, "subjects": [who]}
        base = f"{RBAC}/namespaces/{space}" if space else RBAC
        kinds = ("roles" if own else "clusterroles", "rolebindings" if space else "clusterrolebindings")
        plane.api.create(f"{base if own else RBAC}/{kinds[0]}", role)
        plane.api.create(f"{base}/{kinds[1]}", binding)
        made[kinds[0]].append(role)
        made[kinds[1]].append(binding)

    assert poll_until(lambda: _in_force(plane, number) == {True}, 20)
    return made


END = {"kind": "User", "name": "end"}


def _sentinel(number: int, space: str) -> list[dict[str, Any]]:
    return [{"apiGroups": ["sentinel"], "resources": ["things"], "verbs": [f"verb-{number}-{space}"]}]


def _in_force(plane: ControlPlane, number: int) -> set[bool]:
    """Whether the last roles and bindings of an example hold: one everywhere, and one in a namespace alone."""
    actions = [Action(f"verb-{number}-{space}", "sentinel", "things") for space in ("", SPACES[0])]
    return {asked(plane, "end", (), SPACES[0], action) for action in actions}


def asked(plane: ControlPlane, user: str, groups: tuple[str, ...], namespace: str, action: Action) -> bool:
    attributes = {
        "verb": action.verb,
        "group": action.group,
        "resource": action.resource,
        "subresource": action.subresource,
        "name": action.name,
        "namespace": namespace,
    }
    spec = {"user": user, "groups": list(groups), "resourceAttributes": attributes}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    return bool(plane.api.create(REVIEWS, review)["status"]["allowed"])


def remove(plane: ControlPlane, made: dict[str, list[dict[str, Any]]]) -> None:
    for kind in reversed(KINDS):
        for one in made[kind]:
            space = one["metadata"].get("namespace")
            plane.api.delete(f"{RBAC}/{f'namespaces/{space}/' if space else ''}{kind}/{one['metadata']['name']}")
    number = int(made["clusterroles"][-1]["metadata"]["name"].split("-")[1])
    assert poll_until(lambda: _in_force(plane, number) == {False}, 20)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(bound=st.lists(BOUND, min_size=3, max_size=6))
def test_the_authorizer_and_we_say_the_same(plane: ControlPlane, bound: list[Any]) -> None:
    made = install(plane, bound)
    try:
        listed = {kind: plane.api.get(f"{RBAC}/{kind}")["items"] for kind in KINDS}
        grants = list(
            find_grants(
                cluster_roles=listed["clusterroles"],
                roles=listed["roles"],
                cluster_bindings=listed["clusterrolebindings"],
                bindings=listed["rolebindings"],
            )
        )
        differing = [
            (user, namespace, action)
            for (user, groups), namespace, action in itertools.product(USERS, ("", *SPACES), ACTIONS)
            if asked(plane, user, groups, namespace, action)
            != is_allowed(grants, user=user, groups=groups, namespace=namespace, action=action)
        ]
    finally:
        remove(plane, made)
    assert differing == []


def test_the_question_can_be_answered_with_yes_and_with_no(plane: ControlPlane) -> None:
    rules = [{"apiGroups": [""], "resources": ["*/exec"], "verbs": ["create"], "resourceNames": []}]
    made = install(plane, [(rules, True, "one", {"kind": "User", "name": "anna"})])
    try:
        answers = [asked(plane, "anna", (), "one", Action("create", "", "pods", sub)) for sub in ("exec", "")]
    finally:
        remove(plane, made)
    assert answers == [True, False]


def test_a_right_bound_in_a_namespace_labels_that_namespace(plane: ControlPlane) -> None:
    rules = [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "patch"], "resourceNames": []}]
    made = install(plane, [(rules, True, "one", {"kind": "User", "name": "tess"})])
    plane.kubeconfig_for("tess")
    try:
        label = [plane.kubectl("label", "ns", name, "a=b", user="tess", check=False) for name in SPACES]
    finally:
        remove(plane, made)
    assert [done.returncode for done in label] == [0, 1]
