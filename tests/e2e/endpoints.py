"""EndpointSlices of Pods that share one address of this machine: one slice a Pod, since each has ports of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tests.e2e.apiclient import ApiClient

_POD_LABEL: Final = "test-kubelet/pod"


class Endpoints:
    """What the endpoint slice controller would write for the Services of one namespace."""

    def __init__(self, api: ApiClient, namespace: str, address: str) -> None:
        self._api = api
        self._namespace = namespace
        self._address = address
        self._base = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        self._services: list[dict[str, Any]] = []
        self._written: dict[str, dict[str, Any]] = {}

    def read_services(self) -> None:
        """Look which Services there are."""
        self._services = self._api.get(f"/api/v1/namespaces/{self._namespace}/services")["items"]

    def publish(
        self, pod: Mapping[str, Any], ports: Mapping[int, int], *, ready: bool, terminating: bool = False
    ) -> None:
        """Write a slice for each Service that selects the Pod.

        Args:
            pod: the Pod.
            ports: container port -> port of this machine.
            ready: whether it may be called.
            terminating: whether it is about to end.
        """
        labels = pod["metadata"].get("labels", {}).items()
        for service in self._services:
            selector = service["spec"].get("selector") or {}
            if selector and selector.items() <= labels:
                self._write(self._slice(service, pod, ports, ready=ready, terminating=terminating))

    def forget_all_but(self, pods: set[str]) -> None:
        """Delete the slices of Pods that are gone."""
        for name, written in list(self._written.items()):
            if written["metadata"]["labels"][_POD_LABEL] not in pods:
                self._api.request("DELETE", f"{self._base}/{name}")
                del self._written[name]

    def _slice(
        self,
        service: Mapping[str, Any],
        pod: Mapping[str, Any],
        ports: Mapping[int, int],
        *,
        ready: bool,
        terminating: bool,
    ) -> dict[str, Any]:
        names = {
            port["name"]: port["containerPort"]
            for container in pod["spec"]["containers"]
            for port in container.get("ports", ())
        }
        name = service["metadata"]["name"]
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-{pod['metadata']['name']}"[-63:].lstrip("-."),
                "namespace": self._namespace,
                "labels": {
                    "kubernetes.io/service-name": name,
                    "endpointslice.kubernetes.io/managed-by": "test-kubelet",
                    _POD_LABEL: pod["metadata"]["name"],
                },
            },
            "addressType": "IPv4",
            "endpoints": [
                {
                    "addresses": [self._address],
                    "conditions": {"ready": ready, "serving": ready, "terminating": terminating},
                }
            ],
            "ports": [
                {"name": port["name"], "protocol": "TCP", "port": ports[names[port["targetPort"]]]}
                for port in service["spec"]["ports"]
                if port["targetPort"] in names
            ],
        }

    def _write(self, wanted: dict[str, Any]) -> None:
        name = wanted["metadata"]["name"]
        if self._written.get(name) == wanted:
            return
        if name in self._written:
            self._api.replace(f"{self._base}/{name}", wanted)
        else:
            answer = self._api.create(self._base, wanted, may_exist=True)
            if answer["kind"] == "Status":  # an attempt whose answer was lost has made it
                self._api.replace(f"{self._base}/{name}", wanted)
        self._written[name] = wanted
