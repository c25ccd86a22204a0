"""What only the cluster knows: how far an autoscaler may scale a workload.

KEDA makes a HorizontalPodAutoscaler for each ScaledObject, so HPAs are the one thing that is looked up.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from placet.errors import PlacetError

AUTOSCALER_KIND: Final = "HorizontalPodAutoscaler"


class ClusterUnavailable(PlacetError):
    """The API server could not be asked."""

    code = "cluster_unavailable"


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
            kubeconfig: a file; None for the default rules, and the service account inside a Pod.
            context: a context of that file; None for its current one.
            timeout_s: the longest that one look-up may take.
        """
        self._kubeconfig = kubeconfig
        self._context = context
        self._timeout_s = timeout_s
        self._api: Any = None

    def autoscaler_ceiling(self, *, namespace: str, kind: str, name: str) -> Ceiling:
        """Highest ``maxReplicas`` among the namespace's HPAs that name the workload.

        Raises:
            ClusterUnavailable: no connection, no permission, or no answer in time.
        """
        from kubernetes.client.exceptions import ApiException, OpenApiException  # noqa: PLC0415 - slow to import

        try:
            listed = self._client().list_namespaced_horizontal_pod_autoscaler(
                namespace, _request_timeout=self._timeout_s, _preload_content=False
            )
            items = _json(listed.data).get("items", [])
        except (ApiException, OpenApiException, OSError, _http_error()) as exc:
            raise ClusterUnavailable(
                f"the HorizontalPodAutoscalers of namespace {namespace} can't be listed",
                hint="Check the kubeconfig, and that its user may list horizontalpodautoscalers.autoscaling.",
            ) from exc
        return _highest(
            [{**item, "metadata": {**item.get("metadata", {}), "namespace": namespace}} for item in items],
            namespace=namespace,
            kind=kind,
            name=name,
        )

    def _client(self) -> Any:
        if self._api is None:
            from kubernetes import client, config  # noqa: PLC0415 - slow to import

            try:
                if self._kubeconfig is None:
                    config.load_config()
                else:
                    config.load_kube_config(self._kubeconfig, context=self._context)
            except (config.ConfigException, OSError) as exc:
                raise ClusterUnavailable("no usable kubeconfig", hint=str(exc)) from exc
            self._api = client.AutoscalingV2Api()
        return self._api


def _http_error() -> type[Exception]:
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - comes with the kubernetes client

    return HTTPError


def _json(raw: bytes) -> dict[str, Any]:
    value = json.loads(raw)
    if not isinstance(value, dict):
        raise ClusterUnavailable("the API server answered something that is no list")
    return value


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
