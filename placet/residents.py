"""What runs in a namespace, counted at the API server by metadata alone: no content of a workload is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

from placet.apiserver import ApiServer, ClusterUnavailable, api_root
from placet.parents import RESOURCES, TIMEOUT_S

LISTED: Final[Mapping[tuple[str, str], str]] = {**RESOURCES, ("v1", "Pod"): "pods"}
PAGE: Final = 500
_METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_HINT: Final = "Check that the API server is well, and that the gate's user may list {}."


@dataclass(frozen=True, slots=True)
class Count:
    """How many workloads a namespace has.

    Attributes:
        known: those that were seen.
        more: whether there are others that were not looked at.
    """

    known: int
    more: bool = False

    @property
    def none(self) -> bool:
        """Whether it is certain that there are none."""
        return self.known == 0 and not self.more

    @property
    def shown(self) -> str:
        """For a person: ``at least 3 workloads``."""
        return f"{'at least ' if self.more else ''}{self.known} workload{'' if self.known == 1 else 's'}"


class Residents(Protocol):
    """Who counts."""

    @property
    def asked(self) -> bool:
        """Whether anybody looks at all."""

    def count(self, namespace: str, *, time_left_s: Callable[[], float]) -> Count:
        """How many workloads there are now, each counted once with all that it made.

        Args:
            namespace: its name.
            time_left_s: the longest that the next question may take.

        Raises:
            ClusterUnavailable: nobody answers.
        """


@dataclass(frozen=True, slots=True)
class NoResidents:
    """Nobody looks."""

    @property
    def asked(self) -> bool:
        """No."""
        return False

    def count(self, namespace: str, *, time_left_s: Callable[[], float]) -> Count:  # noqa: ARG002 - the Protocol's
        """Not to be called where ``asked`` is False; raises."""
        raise ClusterUnavailable(f"what runs in {namespace} is not looked up")


class KubernetesResidents:
    """Asks a real API server, which answers with what is stored at that moment."""

    def __init__(self, kubeconfig: str | None) -> None:
        """Connect lazily.

        Args:
            kubeconfig: a file; None for the service account inside a Pod, and the default file elsewhere.
        """
        self._api = ApiServer(kubeconfig)

    @property
    def asked(self) -> bool:
        """Yes."""
        return True

    def count(self, namespace: str, *, time_left_s: Callable[[], float]) -> Count:
        """See :class:`Residents`."""
        known, more = 0, False
        for (api_version, _), resource in LISTED.items():
            path = f"{api_root(api_version)}/namespaces/{quote(namespace, safe='')}/{resource}?limit={PAGE}"
            timeout_s = min(time_left_s(), TIMEOUT_S)
            if timeout_s <= 0:
                raise ClusterUnavailable(f"no time is left to list {resource}")
            hint = _HINT.format(resource)
            answer = self._api.get(path, timeout_s=timeout_s, hint=hint, accept=_METADATA)
            if answer is None or answer.get("kind") != "PartialObjectMetadataList":
                raise ClusterUnavailable(f"the API server's answer has no list of {resource}", hint=hint)
            items = answer.get("items") or []  # an empty list of this kind is written as null
            if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
                raise ClusterUnavailable(f"the API server's list of {resource} is no list", hint=hint)
            known += sum(not _is_made_by_listed(item) for item in items)
            more = more or bool((answer.get("metadata") or {}).get("continue"))
        return Count(known, more)


def _is_made_by_listed(item: Mapping[str, Any]) -> bool:
    """Whether its controller is counted itself; one of a custom resource's is the workload as far as is known here."""
    owners = (item.get("metadata") or {}).get("ownerReferences") or []
    return any(owner.get("controller") is True and (owner.get("apiVersion"), owner.get("kind")) in LISTED
               for owner in owners if isinstance(owner, Mapping))  # fmt: skip
