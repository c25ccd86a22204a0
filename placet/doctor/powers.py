"""Rights that reach around the gate, and who has them besides the control plane."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from placet.doctor.access import Action, Grant, Subject, could_allow, home_of
from placet.doctor.coverage import SYSTEM_NAMESPACE
from placet.doctor.findings import Code, Finding
from placet.errors import InputError

_KINDS: Final = {"user": "User", "group": "Group", "serviceaccount": "ServiceAccount"}
_WRITES: Final = ("create", "update", "patch")
_CHANGES: Final = ("update", "patch", "delete", "deletecollection")
_RBAC_GROUP: Final = "rbac.authorization.k8s.io"
_MOST_NAMED: Final = 8
# The control plane itself, as it is called by convention; what it may do, nobody takes from it.
_CONTROL_PLANE: Final = frozenset(
    {
        Subject("Group", "system:masters"),
        Subject("Group", "kubeadm:cluster-admins"),
        Subject("User", "system:apiserver"),
        Subject("User", "system:kube-apiserver"),
        Subject("User", "system:kube-controller-manager"),
        Subject("User", "system:kube-scheduler"),
    }
)
_EVERYBODY: Final = frozenset(
    {
        Subject("Group", "system:authenticated"),
        Subject("Group", "system:unauthenticated"),
        Subject("Group", "system:serviceaccounts"),
        Subject("User", "system:anonymous"),
    }
)


class Reach(Enum):
    """Where a right has to hold to matter."""

    CLUSTER = "cluster"
    OWN = "own"
    SYSTEM = "system"
    UNGOVERNED = "ungoverned"
    EACH = "each"


@dataclass(frozen=True, slots=True)
class Power:
    """What nobody but the operators should be able to do.

    Attributes:
        code: under which it is reported.
        reach: where it matters.
        actions: any of them is enough.
    """

    code: Code
    reach: Reach
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Ground:
    """What is known about the cluster when rights are judged.

    Attributes:
        configurations: names of placet's webhook configurations.
        own: namespaces in which placet runs.
        ungoverned: namespaces that no entry selects.
        workloads: group and resource of each judged kind.
        trusted: who may have such rights.
    """

    configurations: Collection[str]
    own: Collection[str]
    ungoverned: Collection[str]
    workloads: Sequence[tuple[str, str]]
    trusted: Collection[Subject] = ()


def parse_subject(text: str) -> Subject:
    """``group:platform``, ``user:root@example.com``, ``serviceaccount:NAMESPACE:NAME``.

    Raises:
        InputError: not of this form.
    """
    kind, colon, name = text.partition(":")
    if kind not in _KINDS or not colon or not name or (kind == "serviceaccount" and name.count(":") != 1):
        raise InputError(
            f"{text[:80]!r} names nobody who may have rights",
            hint="Such as group:platform, user:root@example.com or serviceaccount:NAMESPACE:NAME.",
        )
    return Subject(_KINDS[kind], name)


def _each(verbs: Iterable[str], group: str, *resources: str, name: str = "") -> tuple[Action, ...]:
    split = [resource.partition("/") for resource in resources]
    return tuple(Action(verb, group, one, sub, name) for one, _, sub in split for verb in verbs)


def list_powers(ground: Ground) -> list[Power]:
    """Every right that is looked for; the place to add one."""
    webhooks, group = "validatingwebhookconfigurations", "admissionregistration.k8s.io"
    # Where no configuration is known, the right to change any counts.
    named = [one for name in ground.configurations or [""] for one in _each(_CHANGES, group, webhooks, name=name)]
    workloads = [one for group_, resource in ground.workloads for one in _each(_WRITES, group_, resource)]
    running = _each(("create", "get"), "", "pods/exec", "pods/attach")
    inside = (*running, *_each(("update", "patch"), "", "pods/ephemeralcontainers"))
    tokens = _each(("create",), "", "serviceaccounts/token")
    secrets = _each(("get", "list", "watch"), "", "secrets")
    return [
        Power(Code.RBAC_WEBHOOKS, Reach.CLUSTER, tuple(named)),
        Power(
            Code.RBAC_GATE,
            Reach.OWN,
            (
                *_each(_CHANGES, "", "configmaps", "services", "persistentvolumeclaims"),
                *_each(("get", "list", "watch", *_CHANGES), "", "secrets"),
                *_each(_CHANGES, "apps", "deployments"),
                *workloads,
                *inside,
                *tokens,
                *(one for own in ground.own for one in _each(("delete",), "", "namespaces", name=own)),
            ),
        ),
        Power(
            Code.RBAC_NAMESPACES,
            Reach.EACH,
            (
                *_each(("update", "patch"), "", "namespaces", "namespaces/status"),
                *_each(("update",), "", "namespaces/finalize"),
            ),
        ),
        Power(Code.RBAC_NAMESPACES, Reach.CLUSTER, _each(("create",), "", "namespaces")),
        Power(
            Code.RBAC_ESCALATION,
            Reach.CLUSTER,
            (
                *_each(("escalate", "bind"), _RBAC_GROUP, "clusterroles"),
                *_each(("impersonate",), "", "users", "groups", "serviceaccounts"),
                *_each(("update", "patch"), "certificates.k8s.io", "certificatesigningrequests/approval"),
            ),
        ),
        Power(Code.RBAC_ESCALATION, Reach.OWN, _each(("escalate", "bind"), _RBAC_GROUP, "roles", "clusterroles")),
        Power(Code.RBAC_ESCALATION, Reach.OWN, _each(("impersonate",), "", "serviceaccounts")),
        Power(Code.RBAC_ESCALATION, Reach.SYSTEM, (*tokens, *secrets, *_each(("impersonate",), "", "serviceaccounts"))),
        Power(Code.RBAC_NODES, Reach.CLUSTER, _each(("create", "get"), "", "nodes/proxy")),
        Power(
            Code.RBAC_KINDS,
            Reach.CLUSTER,
            (
                *_each((*_WRITES, "delete"), "apiextensions.k8s.io", "customresourcedefinitions"),
                *_each(_WRITES, "apiregistration.k8s.io", "apiservices"),
            ),
        ),
        Power(Code.RBAC_VOLUMES, Reach.CLUSTER, _each(_WRITES, "", "persistentvolumes")),
        Power(Code.RBAC_UNGOVERNED, Reach.UNGOVERNED, (*workloads, *inside)),
    ]


def check_access(grants: Sequence[Grant], ground: Ground) -> Iterator[Finding]:
    """Who may reach around the gate: one finding for each subject and code."""
    mighty: dict[Subject, list[str]] = {}
    for grant in grants:
        if grant.namespace == "" and _is_everything(grant) and not is_expected(grant.subject, ground):
            mighty.setdefault(grant.subject, []).append(grant.binding)
    for subject, bindings in sorted(mighty.items()):
        said = f"may do everything (by {', '.join(dict.fromkeys(bindings))})"
        yield Finding(Code.RBAC_EVERYTHING, subject.shown, said, grave=subject in _EVERYBODY)
    rest = [grant for grant in grants if grant.subject not in mighty and not is_expected(grant.subject, ground)]
    found: dict[tuple[Code, Subject], list[str]] = {}
    for power in list_powers(ground):
        for grant in rest:
            for said in _reached(power, grant, ground):
                found.setdefault((power.code, grant.subject), []).append(said)
    for (code, subject), said_of in sorted(found.items()):
        yield Finding(code, subject.shown, f"may {_joined(said_of)}", grave=subject in _EVERYBODY)


def is_expected(subject: Subject, ground: Ground) -> bool:
    """Whether nothing is said of someone's rights: the control plane, the gate itself, and who was named."""
    return (
        subject in _CONTROL_PLANE
        or subject in ground.trusted
        or home_of(subject) == SYSTEM_NAMESPACE
        or (subject.kind == "ServiceAccount" and home_of(subject) in ground.own)
    )


def _is_everything(grant: Grant) -> bool:
    rule = grant.rule
    return all("*" in (rule.get(key) or ()) for key in ("verbs", "apiGroups", "resources")) and not rule.get(
        "resourceNames"
    )


def _reached(power: Power, grant: Grant, ground: Ground) -> Iterator[str]:
    """What a grant gives of a power, in words."""
    within = _within(power.reach, grant.namespace, ground)
    if within is None:
        return
    verbs: dict[str, list[str]] = {}
    for listed in power.actions:
        # A request about a Namespace is one inside it: bound there, a right reaches that one alone.
        alone = power.reach is Reach.EACH and grant.namespace
        action = replace(listed, name=grant.namespace) if alone else listed
        if could_allow(grant.rule, action):
            name = f"{action.resource}/{action.subresource}" if action.subresource else action.resource
            verbs.setdefault(f"{name}.{action.group}" if action.group else name, []).append(action.verb)
    only = [str(name) for name in grant.rule.get("resourceNames") or ()]
    for resource, allowed in verbs.items():
        names = f" ({', '.join(only[:_MOST_NAMED])} alone)" if only else ""
        yield f"{', '.join(dict.fromkeys(allowed))} {resource}{names}{within}, by {grant.binding}"


def _within(reach: Reach, namespace: str, ground: Ground) -> str | None:
    """Where the power holds, in words; None where it does not matter."""
    places: Collection[str]
    match reach:
        case Reach.CLUSTER:
            return "" if namespace == "" else None
        case Reach.EACH:
            return f" in {namespace}" if namespace else ""
        case Reach.OWN:
            places = ground.own
        case Reach.SYSTEM:
            places = {SYSTEM_NAMESPACE}
        case Reach.UNGOVERNED:
            places = set(ground.ungoverned) - set(ground.own)
    if namespace == "":
        return f" in {', '.join(sorted(places)[:_MOST_NAMED])}" if places else None
    return f" in {namespace}" if namespace in places else None


def _joined(said: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(said))
    more = len(distinct) - _MOST_NAMED
    return "; ".join(distinct[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
