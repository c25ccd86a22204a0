"""Who may do what in a control plane of the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.e2e.apiclient import ApiClient, ControlPlaneError
from tests.e2e.processes import poll_until

if TYPE_CHECKING:
    from collections.abc import Sequence

IN_FORCE_TIMEOUT_S: Final = 10.0

_RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
# Each is made of roles with its label, the one before it among them; the order matters.
_AGGREGATED: Final = ("view", "edit", "admin")


def aggregate_roles(api: ApiClient) -> None:
    """Fill in the roles ``view``, ``edit`` and ``admin``, which are empty until a controller collects their rules."""
    for name in _AGGREGATED:
        label = f"rbac.authorization.k8s.io%2Faggregate-to-{name}%3Dtrue"
        parts = api.get(f"{_RBAC}/clusterroles?labelSelector={label}")["items"]
        role = api.get(f"{_RBAC}/clusterroles/{name}")
        role["rules"] = [rule for part in parts for rule in part["rules"] or ()]
        api.replace(f"{_RBAC}/clusterroles/{name}", role)


def grant(api: ApiClient, user: str, cluster_role: str) -> None:
    """Bind a user to a cluster role in every namespace, and wait until the API server acts on it.

    Raises:
        ControlPlaneError: there is no such role, or it grants the user nothing after a while.
    """
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{user}-{cluster_role}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": cluster_role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    api.create(f"{_RBAC}/clusterrolebindings", binding, may_exist=True)

    def granted() -> bool:
        rules = api.get(f"{_RBAC}/clusterroles/{cluster_role}")["rules"] or []
        return all(_may(api, user, rule) for rule in rules) and bool(rules)

    if not poll_until(granted, IN_FORCE_TIMEOUT_S):
        message = f"the role {cluster_role} grants {user} nothing, or not all of it, after {IN_FORCE_TIMEOUT_S:g} s"
        raise ControlPlaneError(message)


def _may(api: ApiClient, user: str, rule: dict[str, Any]) -> bool:
    """Whether a user may do the first thing that a rule of a role names."""
    subject: dict[str, Any] = {"user": user}
    verb = rule["verbs"][0]
    if rule.get("resources"):
        subject["resourceAttributes"] = _attributes(verb, rule["apiGroups"][0], rule["resources"])
    else:
        subject["nonResourceAttributes"] = {"verb": verb, "path": rule["nonResourceURLs"][0]}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": subject}
    return bool(api.create(_REVIEWS, review)["status"]["allowed"])


def _attributes(verb: str, group: str, resources: Sequence[str]) -> dict[str, str]:
    resource, _, subresource = resources[0].partition("/")
    return {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
