"""What only the cluster knows: how far an autoscaler may scale a workload.

KEDA makes a HorizontalPodAutoscaler for each ScaledObject, so HPAs are the one thing that is looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

from placet.apiserver import ApiServer, ClusterUnavailable

__all__ = [
    "Ceiling",
    "ClusterFacts",
    "ClusterUnavailable",
    "KubernetesCluster",
    "ManifestCluster",
    "NoAutoscalers",
    "UnknownCluster",
]

AUTOSCALER_KIND: Final = "HorizontalPodAutoscaler"


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How many replicas autoscalers allow.

    Attributes:
        known: False when nobody could be asked; the worst is assumed then.
        replicas: the highest ``maxReplicas`` that names the workload; None when none does.
    """

    known: bool
    replicas: int | None = None


class ClusterFacts(Protocol):
    """Where autoscaler ceilings come from."""

    def autoscaler_ceiling(self, *, namespace: str, kind: str, name: str) -> Ceiling:
        """The ceiling for one workload.

        Raises:
            ClusterUnavailable: the source could not be asked.
        """


@dataclass(frozen=True, slots=True)
class UnknownCluster:
    """Nobody can be asked: every ceiling is unknown."""

    def autoscaler_ceiling(self, *, namespace: str, kind: str, name: str) -> Ceiling:  # noqa: ARG002 - the Protocol's names
        """Unknown."""
        return Ceiling(known=False)


@dataclass(frozen=True, slots=True)
class NoAutoscalers:
    """The operator states in the configuration that the cluster runs no autoscaler for model workloads."""

    def autoscaler_ceiling(self, *, namespace: str, kind: str, name: str) -> Ceiling:  # noqa: ARG002 - the Protocol's names
        """Known, and none."""
        return Ceiling(known=True)


class ManifestCluster:
    """Autoscalers read from manifests: whoever plans a folder plans its HPAs too."""

    def __init__(self, objects: Iterable[Mapping[str, Any]]) -> None:
        self._autoscalers = [item for item in objects if item.get("kind") == AUTOSCALER_KIND]

    def autoscaler_ceiling(self, *, namespace: str, kind: str, name: str) -> Ceiling:
        """Highest ``maxReplicas`` among the manifests."""
        return _highest(self._autoscalers, namespace=namespace, kind=kind, name=name)


class KubernetesCluster:
    """Asks a real API server."""

    def __init__(self, kubeconfig: str | None, *, context: str | None = None, timeout_s: float = 2.0) -> None:
        """Connect lazily.

        Args:
            kubeconfig: a file; None for the service account inside a Pod, and the default file elsewhere.
            context: a context of that file; None for its current one.
            timeout_s: the longest that one look-up may take.
        """
        self._api = ApiServer(kubeconfig, context=context)
        self._timeout_s = timeout_s

    def autoscaler_ceiling(self, *, namespace: str, kind: str, name: str) -> Ceiling:
        """Highest ``maxReplicas`` among the namespace's HPAs that name the workload.

        Raises:
            ClusterUnavailable: no connection, no permission, or no answer in time.
        """
        listed = self._api.get(
            f"/apis/autoscaling/v2/namespaces/{quote(namespace, safe='')}/horizontalpodautoscalers",
            timeout_s=self._timeout_s,
            hint="Check the kubeconfig, and that its user may list horizontalpodautoscalers.autoscaling.",
        )
        items = None if listed is None else listed.get("items")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ClusterUnavailable("the API server answered something that is no list")
        return _highest(
            [{**item, "metadata": {**(item.get("metadata") or {}), "namespace": namespace}} for item in items],
            namespace=namespace,
            kind=kind,
            name=name,
        )


def _highest(autoscalers: Iterable[Mapping[str, Any]], *, namespace: str, kind: str, name: str) -> Ceiling:
    ceilings: list[int] = []
    for item in autoscalers:
        spec = item.get("spec") or {}
        target = spec.get("scaleTargetRef") or {}
        where = (item.get("metadata") or {}).get("namespace", "default")
        if where == namespace and target.get("kind") == kind and target.get("name") == name:
            limit = spec.get("maxReplicas")
            if not isinstance(limit, int) or isinstance(limit, bool):
                return Ceiling(known=False)
            ceilings.append(limit)
    return Ceiling(known=True, replicas=max(ceilings, default=None))
