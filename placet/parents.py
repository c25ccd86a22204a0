"""Objects that others belong to, asked for at the API server: by what they are called, and believed by their uid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

from placet.apiserver import ApiServer, ClusterUnavailable, api_root

TIMEOUT_S: Final = 2.0
SETTING: Final = (
    "Set `parents: lookup` in the gate's configuration; docs/lookups.md says what it then has to be allowed to read."
)

# (apiVersion, kind) -> resource, of every kind that is looked up
RESOURCES: Final[Mapping[tuple[str, str], str]] = {
    ("v1", "ReplicationController"): "replicationcontrollers",
    ("apps/v1", "Deployment"): "deployments",
    ("apps/v1", "ReplicaSet"): "replicasets",
    ("apps/v1", "StatefulSet"): "statefulsets",
    ("apps/v1", "DaemonSet"): "daemonsets",
    ("batch/v1", "Job"): "jobs",
    ("batch/v1", "CronJob"): "cronjobs",
}


class ParentUnavailable(ClusterUnavailable):
    """The object that another belongs to could not be looked up."""

    code = "parent_unavailable"


class Parents(Protocol):
    """Where parents come from."""

    @property
    def asked(self) -> bool:
        """Whether parents are looked up at all."""

    def find(
        self, *, api_version: str, kind: str, namespace: str, name: str, timeout_s: float, resource: str = ""
    ) -> Mapping[str, Any] | None:
        """The object as it is now; None where there is none of that name.

        Args:
            api_version: with ``kind`` a key of ``RESOURCES`` where ``resource`` is not given.
            kind: see there.
            namespace: where it is.
            name: what it is called.
            timeout_s: the longest that the look-up may take.
            resource: the plural of a kind that is not among ``RESOURCES``, out of the kind registry and from nowhere
                else: it becomes a part of the path.

        Raises:
            ParentUnavailable: nobody answers.
        """


@dataclass(frozen=True, slots=True)
class NoParents:
    """Nobody is asked: every object is judged by itself."""

    @property
    def asked(self) -> bool:
        """No."""
        return False

    def find(
        self,
        *,
        api_version: str,  # noqa: ARG002 - the Protocol's names
        kind: str,
        namespace: str,  # noqa: ARG002
        name: str,
        timeout_s: float,  # noqa: ARG002
        resource: str = "",  # noqa: ARG002
    ) -> Mapping[str, Any] | None:
        """Not to be called where ``asked`` is False; raises."""
        raise ParentUnavailable(f"{kind}/{name} is not looked up", code="parents_not_looked_up", hint=SETTING)


class KubernetesParents:
    """Asks a real API server, which reads what is stored at that moment and no copy."""

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

    def find(
        self, *, api_version: str, kind: str, namespace: str, name: str, timeout_s: float, resource: str = ""
    ) -> Mapping[str, Any] | None:
        """See :class:`Parents`."""
        resource = resource or RESOURCES[api_version, kind]
        path = f"{api_root(api_version)}/namespaces/{quote(namespace, safe='')}/{resource}/{quote(name, safe='')}"
        if timeout_s <= 0:
            raise ParentUnavailable(f"no time is left to look up {kind}/{name}")
        try:
            found = self._api.get(
                path,
                timeout_s=min(timeout_s, TIMEOUT_S),
                hint=f"Check that the API server is well, and that the gate's user may get {resource}.",
            )
        except ClusterUnavailable as exc:
            raise ParentUnavailable(f"{kind}/{name} could not be looked up: {exc}", hint=exc.hint) from exc
        if found is not None and (found.get("apiVersion"), found.get("kind")) != (api_version, kind):
            raise ParentUnavailable(f"the API server answered something else than the {kind} that was asked for")
        return found
