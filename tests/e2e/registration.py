"""Webhooks of a control plane: installed and removed so that it is certain from when on they are called."""

from __future__ import annotations

import base64
import json
import urllib.parse
from typing import TYPE_CHECKING, Any, Final

from placet.policy.data import load_policy_data
from tests.e2e.apiclient import ApiClient, ControlPlaneError
from tests.e2e.processes import poll_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

IN_FORCE_TIMEOUT_S: Final = 30.0
PROBE_NAME: Final = "webhook-probe"

# Every built-in kind that runs containers, with the subresources that change what runs: "*" would not include those.
WORKLOAD_RESOURCES: Final[Mapping[str, Sequence[str]]] = {
    "": ("pods", "pods/ephemeralcontainers", "pods/resize", "replicationcontrollers", "replicationcontrollers/scale"),
    "apps": (
        "deployments",
        "deployments/scale",
        "statefulsets",
        "statefulsets/scale",
        "daemonsets",
        "replicasets",
        "replicasets/scale",
    ),
    "batch": ("jobs", "cronjobs"),
}

_CONFIGURATIONS: Final = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
_POD_SPEC: Final = {"containers": [{"name": "probe", "image": "probe.invalid/probe"}]}
_LABELS: Final = {"app": PROBE_NAME}
# Objects that show whether a webhook is called, by the resource that its rules have to name.
_PROBES: Final[Mapping[str, Mapping[str, Any]]] = {
    "deployments": {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": PROBE_NAME},
        "spec": {
            "selector": {"matchLabels": _LABELS},
            "template": {"metadata": {"labels": _LABELS}, "spec": _POD_SPEC},
        },
    },
    "pods": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": PROBE_NAME}, "spec": _POD_SPEC},
    "configmaps": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": PROBE_NAME}},
}


def workload_rules(operations: Sequence[str] = ("CREATE", "UPDATE")) -> list[dict[str, Any]]:
    """Webhook rules for every built-in workload kind and its subresources."""
    return [
        {
            "apiGroups": [group],
            "apiVersions": ["v1"],
            "resources": list(resources),
            "operations": list(operations),
            "scope": "Namespaced",
        }
        for group, resources in WORKLOAD_RESOURCES.items()
    ]


def registry_rules() -> list[dict[str, Any]]:
    """Webhook rules for the custom resources of the shipped kind registry, in every version."""
    resources: dict[str, set[str]] = {}
    for kind in load_policy_data(None).kinds.custom:
        resources.setdefault(kind.group, set()).add(kind.resource)
        if kind.scale:
            resources[kind.group].add(f"{kind.resource}/scale")
    return [
        {
            "apiGroups": [group],
            "apiVersions": ["*"],
            "resources": sorted(names),
            "operations": ["CREATE", "UPDATE"],
            "scope": "Namespaced",
        }
        for group, names in sorted(resources.items())
    ]


class Registration:
    """One ValidatingWebhookConfiguration with one webhook.

    Whether the webhook is in force is seen from the API server's own count of its calls, before and after a dry-run
    create that matches: this needs no help from the webhook and holds for one that denies, fails or is not there.

    Attributes:
        name: name of the configuration.
        webhook: name of the webhook, as refusals and metrics show it.
    """

    def __init__(self, api: ApiClient, name: str, probe: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.webhook = f"{name}.placet.dev"
        self._api = api
        self._probe = probe
        self._probe_path = ""

    def install(
        self,
        url: str,
        ca_bundle: bytes,
        *,
        rules: Sequence[Mapping[str, Any]],
        failure_policy: str,
        timeout_seconds: int,
        namespace_selector: Mapping[str, Any] | None,
    ) -> None:
        """Write the configuration and wait until the webhook is called.

        Raises:
            ControlPlaneError: it was refused, cannot be probed, or is not called in time.
        """
        self._prepare_probe(rules, namespace_selector)
        webhook: dict[str, Any] = {
            "name": self.webhook,
            "clientConfig": {"url": url, "caBundle": base64.b64encode(ca_bundle).decode()},
            "rules": list(rules),
            "failurePolicy": failure_policy,
            "matchPolicy": "Equivalent",
            "sideEffects": "NoneOnDryRun",
            "timeoutSeconds": timeout_seconds,
            "admissionReviewVersions": ["v1"],
        }
        if namespace_selector is not None:
            webhook["namespaceSelector"] = namespace_selector
        configuration = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": self.name},
            "webhooks": [webhook],
        }
        self._api.create(_CONFIGURATIONS, configuration)
        if not poll_until(self._is_called, IN_FORCE_TIMEOUT_S):
            message = f"{self.webhook} is installed but was not called in {IN_FORCE_TIMEOUT_S:g} s: {self._answer}"
            raise ControlPlaneError(message)

    def remove(self) -> None:
        """Delete the configuration and wait until the webhook is no longer called.

        Raises:
            ControlPlaneError: it is not there, or is still called after a while.
        """
        self._api.delete(f"{_CONFIGURATIONS}/{self.name}")
        if not poll_until(lambda: not self._is_called(), IN_FORCE_TIMEOUT_S):
            message = f"{self.webhook} is deleted but was still called after {IN_FORCE_TIMEOUT_S:g} s"
            raise ControlPlaneError(message)

    def _is_called(self) -> bool:
        """Whether a dry-run create makes the API server call the webhook."""
        before = self._api.webhook_calls(self.webhook)
        status, body = self._api.request("POST", self._probe_path, self._probe)
        self._answer = f"the probe was answered {status} {body.decode(errors='replace')}"
        return self._api.webhook_calls(self.webhook) > before

    def _prepare_probe(self, rules: Iterable[Mapping[str, Any]], namespace_selector: Mapping[str, Any] | None) -> None:
        if self._probe is None:
            resources = {resource for rule in rules for resource in rule["resources"]}
            usable = [manifest for name, manifest in _PROBES.items() if name in resources]
            if not usable:
                message = f"no probe is known for {sorted(resources)}: give install_webhook a probe"
                raise ControlPlaneError(message)
            self._probe = usable[0]
        resource = self._resource(self._probe)
        place = f"namespaces/{self._namespace(namespace_selector)}/" if resource["namespaced"] else ""
        self._probe_path = f"{_group_path(self._probe)}/{place}{resource['name']}?dryRun=All"

    def _resource(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """How the API server calls the kind of a manifest."""
        resources = self._api.get(_group_path(manifest))["resources"]
        for resource in resources:
            if resource["kind"] == manifest["kind"] and "/" not in resource["name"]:
                found: dict[str, Any] = resource
                return found
        message = f"the API server knows no {manifest['kind']} in {manifest['apiVersion']}"
        raise ControlPlaneError(message)

    def _namespace(self, selector: Mapping[str, Any] | None) -> str:
        """A namespace that the selector matches; ``default`` is preferred."""
        query = urllib.parse.quote(_selector_text(selector or {}))
        items = self._api.get(f"/api/v1/namespaces?labelSelector={query}")["items"]
        names = [str(item["metadata"]["name"]) for item in items]
        if not names:
            message = (
                f"no namespace matches {json.dumps(selector)}: create it first, or nobody can see the webhook work"
            )
            raise ControlPlaneError(message)
        return "default" if "default" in names else names[0]


def _group_path(manifest: Mapping[str, Any]) -> str:
    version = manifest["apiVersion"]
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _selector_text(selector: Mapping[str, Any]) -> str:
    """A label selector in the form that list requests take."""
    terms = [f"{key}={value}" for key, value in selector.get("matchLabels", {}).items()]
    for expression in selector.get("matchExpressions", ()):
        key, values = expression["key"], ",".join(expression.get("values", ()))
        form = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        terms.append(form.get(expression["operator"], f"!{key}"))
    return ",".join(terms)
