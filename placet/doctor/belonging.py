"""Whether a request's path is the one of its Namespace's environment, and whether the gate looks for itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from placet.doctor.access import Action, Grant, is_allowed
from placet.doctor.entries import ENVIRONMENT_LABEL, NAME_LABEL, Entry
from placet.doctor.findings import Code, Finding
from placet.doctor.reading import Object, labels_of, name_of

_LOOKS: Final = Action("get", "", "namespaces")
_MOST_NAMED: Final = 5
_DEFAULT_ACCOUNT: Final = "default"


def check_belonging(
    entries: Sequence[Entry], namespaces: Sequence[Object], environments: Collection[str], default: str
) -> Iterator[Finding]:
    """Entries that select a Namespace, as it is or as one could be, that belongs to another environment.

    Args:
        entries: those that admit workloads.
        namespaces: of the cluster.
        environments: of the policy data.
        default: the environment of a Namespace that names none of these.
    """
    unlabelled = {NAME_LABEL: ""}  # no Namespace is called so: one that is not there yet
    for entry in entries:
        wrong: dict[str, list[str]] = {}
        for shown, labels in (
            *((f"Namespace/{name_of(item)}", {**labels_of(item), NAME_LABEL: name_of(item)}) for item in namespaces),
            ("a new Namespace without the label", unlabelled),
        ):
            label = labels.get(ENVIRONMENT_LABEL)
            home = label if label is not None and label in environments else default
            if home != entry.environment and entry.selects(labels):
                wrong.setdefault(home, []).append(shown)
        for home, names in sorted(wrong.items()):
            more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            said = f"{', '.join(names[:_MOST_NAMED])}{more}: of {home}, and judged as {entry.environment}"
            yield Finding(Code.ENVIRONMENT_DIFFERS, entry.where, said)


def check_looking(deployments: Sequence[tuple[str, Object]], grants: Sequence[Grant]) -> Iterator[Finding]:
    """Gates whose account may not read Namespaces: they believe the path, or refuse everything.

    Args:
        deployments: of the gate, each with its namespace.
        grants: of every role and binding.
    """
    for namespace, one in deployments:
        spec = ((one.get("spec") or {}).get("template") or {}).get("spec") or {}
        account = str(spec.get("serviceAccountName") or _DEFAULT_ACCOUNT)
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        user = f"system:serviceaccount:{namespace}:{account}"
        if not is_allowed(grants, user=user, groups=groups, namespace="", action=_LOOKS):
            said = f"its account {account} may not get namespaces"
            yield Finding(Code.ENVIRONMENT_UNCHECKED, f"Deployment/{name_of(one)} in {namespace}", said)
