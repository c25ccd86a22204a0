"""Who may do what, read from roles and bindings as the API server's RBAC authorizer reads them.

Source: k8s.io/kubernetes, pkg/apis/rbac/v1/evaluation_helpers.go and plugin/pkg/auth/authorizer/rbac. An aggregated
ClusterRole counts with the rules that are in it: those the authorizer uses, which a controller keeps up to date.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from placet.doctor.reading import Object, name_of, namespace_of

_ALL: Final = "*"
_ACCOUNT_PREFIX: Final = "system:serviceaccount:"
_ACCOUNTS_GROUP: Final = "system:serviceaccounts"


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """Who a right was given to.

    Attributes:
        kind: User, Group or ServiceAccount.
        name: a service account's with its namespace, ``ns:name``.
    """

    kind: str
    name: str

    @property
    def shown(self) -> str:
        """``group:developers``, as ``--trusted`` takes it."""
        return f"{self.kind.lower()}:{self.name}"


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that someone may want to do.

    Attributes:
        verb: ``update``.
        group: API group, "" for core.
        resource: plural.
        subresource: "" for none.
        name: of the object; "" where the request names none.
    """

    verb: str
    group: str
    resource: str
    subresource: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """One rule that reaches one subject.

    Attributes:
        subject: who.
        namespace: where it holds; "" for everywhere.
        rule: a PolicyRule.
        binding: ``ClusterRoleBinding/x``, or ``RoleBinding/x in ns``.
    """

    subject: Subject
    namespace: str
    rule: Object
    binding: str


def allows(rule: Object, action: Action) -> bool:
    """Whether a PolicyRule allows an action (``RuleAllows``)."""
    combined = f"{action.resource}/{action.subresource}" if action.subresource else action.resource
    names = rule.get("resourceNames") or ()
    return (
        _has(rule.get("verbs"), action.verb)
        and _has(rule.get("apiGroups"), action.group)
        and any(_is_resource(str(one), combined, action.subresource) for one in rule.get("resources") or ())
        and (not names or action.name in names)
    )


def could_allow(rule: Object, action: Action) -> bool:
    """Whether a rule allows the action for some name, where the action names none.

    A request that creates an object has no name yet, so a rule for certain names never allows it; lists and
    deletions of many have one where they select by ``metadata.name``.
    """
    if action.name or (action.verb == "create" and not action.subresource):
        return allows(rule, action)
    return allows({**rule, "resourceNames": ()}, action)


def _has(values: Any, wanted: str) -> bool:
    return _ALL in (values or ()) or wanted in (values or ())


def _is_resource(written: str, combined: str, subresource: str) -> bool:
    """``*`` is everything with its subresources, ``*/scale`` that subresource of everything (``ResourceMatches``)."""
    return written in {_ALL, combined} or (bool(subresource) and written == f"*/{subresource}")


def find_grants(
    *,
    cluster_roles: Iterable[Object],
    roles: Iterable[Object],
    cluster_bindings: Iterable[Object],
    bindings: Iterable[Object],
) -> Iterator[Grant]:
    """Every rule with every subject that it reaches. A binding to a role that is not there grants nothing."""
    everywhere = {name_of(role): role for role in cluster_roles}
    local = {(namespace_of(role), name_of(role)): role for role in roles}
    for binding in cluster_bindings:
        role = everywhere.get(_role_name(binding)) if _role_kind(binding) == "ClusterRole" else None
        yield from _grants(binding, "", role, f"ClusterRoleBinding/{name_of(binding)}")
    for binding in bindings:
        namespace, name = namespace_of(binding), _role_name(binding)
        role = everywhere.get(name) if _role_kind(binding) == "ClusterRole" else local.get((namespace, name))
        yield from _grants(binding, namespace, role, f"RoleBinding/{name_of(binding)} in {namespace}")


def _grants(binding: Object, namespace: str, role: Object | None, shown: str) -> Iterator[Grant]:
    for raw in binding.get("subjects") or ():
        subject = _subject(raw, namespace)
        for rule in (role or {}).get("rules") or ():
            yield Grant(subject, namespace, rule, shown)


def _subject(raw: Mapping[str, Any], namespace: str) -> Subject:
    kind, name = str(raw.get("kind")), str(raw.get("name"))
    if kind == "ServiceAccount":
        return Subject(kind, f"{raw.get('namespace') or namespace}:{name}")
    # A User or a Group with the name of a service account, or of all of a namespace, is just that.
    if kind == "User" and name.startswith(_ACCOUNT_PREFIX) and name.count(":") == 3:  # noqa: PLR2004 - system:serviceaccount:NS:NAME
        return Subject("ServiceAccount", name.removeprefix(_ACCOUNT_PREFIX))
    return Subject(kind, name)


def _role_kind(binding: Object) -> str:
    return str((binding.get("roleRef") or {}).get("kind"))


def _role_name(binding: Object) -> str:
    return str((binding.get("roleRef") or {}).get("name"))


def is_allowed(grants: Sequence[Grant], *, user: str, groups: Iterable[str], namespace: str, action: Action) -> bool:
    """What the authorizer answers for a user, as SubjectAccessReview asks it.

    Args:
        grants: all of the cluster.
        user: as the API server knows them; a service account in its long form.
        groups: theirs, those that follow from a service account's name among them.
        namespace: of the request; "" for one about the cluster.
        action: what they want.
    """
    known = {Subject("User", user), *(Subject("Group", group) for group in groups)}
    if user.startswith(_ACCOUNT_PREFIX):
        short = user.removeprefix(_ACCOUNT_PREFIX)
        known |= {Subject("ServiceAccount", short)}
    return any(
        grant.subject in known and grant.namespace in {"", namespace} and allows(grant.rule, action) for grant in grants
    )


def home_of(subject: Subject) -> str | None:
    """The namespace of a service account, or of a group of all service accounts of one; None for others."""
    if subject.kind == "ServiceAccount":
        return subject.name.partition(":")[0]
    if subject.kind == "Group" and subject.name.startswith(f"{_ACCOUNTS_GROUP}:"):
        return subject.name.removeprefix(f"{_ACCOUNTS_GROUP}:")
    return None
