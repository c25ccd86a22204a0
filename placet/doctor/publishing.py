"""Whether the gate's account may write what its configuration wants to be seen in the cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from placet.config_publish import ExportConfig, PublishConfig
from placet.doctor.access import Action, Grant, is_allowed
from placet.doctor.findings import Code, Finding
from placet.doctor.reading import Object, name_of
from placet.publish.lease import LEASE_NAME
from placet.publish.reports import APIS

_WRITES: Final = ("get", "create", "update")
_DEFAULT_ACCOUNT: Final = "default"
Right = tuple[str, Action]


def needed_rights(publish: PublishConfig, export: ExportConfig) -> tuple[Right, ...]:
    """What the account has to be allowed in this cluster, each with its namespace, "" for every one.

    Args:
        publish: of the gate's configuration.
        export: the same; what is exported to another cluster is not asked about here.
    """
    rights: list[Right] = []
    if publish.namespace:
        # The name of what is to be made is not known when the right is asked for.
        rights += [
            (
                publish.namespace,
                Action(verb, "coordination.k8s.io", "leases", name="" if verb == "create" else LEASE_NAME),
            )
            for verb in _WRITES
        ]
        if publish.decisions:
            rights += [(publish.namespace, Action(verb, "", "configmaps")) for verb in (*_WRITES, "list", "delete")]
        if publish.events:
            rights += [("", Action(verb, "", "events")) for verb in _WRITES]
        if publish.reports:
            rights += [("", Action(verb, api.group, api.plural)) for api in APIS for verb in _WRITES]
    if export.namespace and export.kubeconfig is None:
        rights += [
            (export.namespace, Action(verb, "", "configmaps", name="" if verb == "create" else export.config_map))
            for verb in _WRITES
        ]
    return tuple(rights)


def check_publishing(
    deployments: Sequence[tuple[str, Object]], grants: Sequence[Grant], rights: Sequence[Right]
) -> Iterator[Finding]:
    """Gates whose account lacks some of the rights: nobody sees there what they refuse.

    Args:
        deployments: of the gate, each with its namespace.
        grants: of every role and binding.
        rights: what is needed.
    """
    for home, one in deployments:
        spec = ((one.get("spec") or {}).get("template") or {}).get("spec") or {}
        account = str(spec.get("serviceAccountName") or _DEFAULT_ACCOUNT)
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{home}", "system:authenticated")
        user = f"system:serviceaccount:{home}:{account}"
        missing: dict[str, list[str]] = {}
        for namespace, action in rights:
            if not is_allowed(grants, user=user, groups=groups, namespace=namespace, action=action):
                resource = f"{action.resource}.{action.group}" if action.group else action.resource
                place = f" in {namespace}" if namespace else ""
                missing.setdefault(f"{resource}{place}", []).append(action.verb)
        if missing:
            said = "; ".join(f"{', '.join(dict.fromkeys(verbs))} {where}" for where, verbs in missing.items())
            yield Finding(
                Code.PUBLISHING_FORBIDDEN,
                f"Deployment/{name_of(one)} in {home}",
                f"its account {account} may not {said}",
            )
