"""The canary of a running gate through a real API server: refused by this gate, and an alert as soon as it is not."""

from __future__ import annotations

import json
import re
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.controlplane import ControlPlane
from tests.e2e.gateprocess import Team
from tests.e2e.processes import poll_until
from tests.manifests.charts import SETS, objects, one, template

PLACE = "placet-canary-production"
GATE = "placet-gate"
WAIT_S = 60.0
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
ROLES = "/apis/rbac.authorization.k8s.io/v1"
_ALERT = re.compile(r"max by \(environment, canary\) \((?P<metric>\w+)\{[^}]*\}\) (?P<sign>==|>) (?P<value>[0-9.]+)")


@dataclass
class Watched:
    """A gate that sends canaries through a control plane, and what it tells."""

    plane: ControlPlane
    team: Team
    url: str
    ca_pem: bytes
    alerts: dict[str, str]

    def samples(self, name: str) -> dict[str, float]:
        """Samples of the canary's metric, by outcome ("" without one)."""
        context = ssl.create_default_context(cadata=self.ca_pem.decode())
        address = f"{self.url.rpartition('/v1/')[0]}/metrics"
        with urllib.request.urlopen(address, context=context, timeout=10) as answer:  # noqa: S310 - our own loopback
            text = answer.read().decode()
        return {
            sample.labels.get("outcome", ""): float(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name
        }

    def fires(self, alert: str) -> bool:
        """Whether the expression of a shipped alert holds now."""
        found = _ALERT.fullmatch(self.alerts[alert])
        assert found is not None, self.alerts[alert]
        highest = max(self.samples(found["metric"]).values())
        return highest == float(found["value"]) if found["sign"] == "==" else highest > float(found["value"])

    def runs(self, outcome: str) -> float:
        return self.samples("placet_canary_runs_total").get(outcome, 0.0)

    def next_is(self, outcome: str) -> bool:
        """Whether another canary meets this outcome in time."""
        before = self.runs(outcome)
        return poll_until(lambda: self.runs(outcome) > before, WAIT_S)

    def install(self, **terms: Any) -> Any:
        selector = {"matchLabels": {"placet.dev/environment": "production"}}
        return self.plane.install_webhook("gate", self.url, self.ca_pem, namespace_selector=selector, **terms)

    def change(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the webhook configuration, as somebody with the right to do so."""
        configuration = self.plane.api.get(f"{CONFIGURATIONS}/gate")
        change(configuration["webhooks"][0])
        self.plane.api.replace(f"{CONFIGURATIONS}/gate", configuration)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """With the namespace, role, quota and binding that the chart makes."""
    with ControlPlane() as plane:
        rendered = template(SETS["as placet init"], tmp_path_factory.mktemp("chart"))
        made = [
            each for each in objects(rendered) if PLACE in {each["metadata"].get("namespace"), each["metadata"]["name"]}
        ]
        assert [each["kind"] for each in made] == ["Namespace", "ResourceQuota", "Role", "RoleBinding"]
        plane.kubectl("create", "-f", "-", stdin=yaml.safe_dump_all(made))
        plane.create_namespace("models", {"placet.dev/environment": "production"})
        plane.kubeconfig_for(GATE)
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "placet-canary"}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": GATE}
        binding = {"metadata": {"name": "canary-of-tests"}, "roleRef": reference, "subjects": [subject]}
        plane.api.create(f"{ROLES}/namespaces/{PLACE}/rolebindings", binding)
        yield plane


@pytest.fixture(scope="module")
def watched(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("team")
    rules = one(template(SETS["everything"], folder), "PrometheusRule")["spec"]["groups"][0]["rules"]
    (folder / "gate").mkdir()
    team = Team.found(folder / "gate")
    certificate = plane.serving_certificate(["127.0.0.1"])
    team.configure(
        {
            "kubeconfig": str(plane.kubeconfig_path(GATE)),
            "canary": {"namespaces": {PLACE: "production"}, "interval_seconds": 1},
        }
    )
    with team.webhook(certificate) as url:
        yield Watched(plane, team, url, certificate.ca_pem, {rule["alert"]: rule["expr"] for rule in rules})


@pytest.fixture
def registered(watched: Watched) -> Iterator[Watched]:
    """With the gate asked about production, and the first canary refused."""
    registration = watched.install()
    try:
        assert watched.next_is("refused_by_us")
        assert not watched.fires("PlacetNotAsked")
        yield watched
    finally:
        if watched.plane.api.exists(f"{CONFIGURATIONS}/{registration.name}"):
            watched.plane.api.delete(f"{CONFIGURATIONS}/{registration.name}")


def test_a_canary_is_refused_leaves_nothing_and_is_counted_apart(registered: Watched) -> None:
    assert registered.plane.api.get(f"/apis/apps/v1/namespaces/{PLACE}/deployments")["items"] == []
    assert registered.samples("placet_gate_denials_total") == {}
    listed = registered.team.run("audit", "list", "--store", "record.sqlite", "-o", "json").stdout
    assert json.loads(listed)["records"] == []
    log = (registered.team.folder / "webhook.log").read_text(encoding="utf-8")
    told = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert "refused_by_us" in [line["outcome"] for line in told if line["message"] == "canary"]
    assert [line for line in told if line["message"] == "decision" and line["name"] == "placet-canary"] == []


def test_a_configuration_that_is_deleted_raises_the_alert_and_one_that_comes_back_ends_it(registered: Watched) -> None:
    registered.plane.api.delete(f"{CONFIGURATIONS}/gate")
    assert poll_until(lambda: registered.fires("PlacetNotAsked"), WAIT_S)
    assert registered.runs("admitted") >= 1
    registered.install()
    assert poll_until(lambda: not registered.fires("PlacetNotAsked"), WAIT_S)


def _other_namespaces(webhook: dict[str, Any]) -> None:
    webhook["namespaceSelector"] = {"matchLabels": {"placet.dev/environment": "elsewhere"}}


def _no_deployments(webhook: dict[str, Any]) -> None:
    for rule in webhook["rules"]:
        rule["resources"] = [name for name in rule["resources"] if name != "deployments"]


def _fails_open(webhook: dict[str, Any]) -> None:
    webhook["failurePolicy"] = "Ignore"
    webhook["clientConfig"]["url"] = webhook["clientConfig"]["url"].replace("/v1/admit/", "/v1/nowhere/")


@pytest.mark.parametrize("change", [_other_namespaces, _no_deployments, _fails_open])
def test_whatever_keeps_the_gate_from_being_asked_raises_the_alert(
    registered: Watched, change: Callable[[dict[str, Any]], None]
) -> None:
    registered.change(change)
    assert poll_until(lambda: registered.fires("PlacetNotAsked"), WAIT_S)


def test_a_refusal_by_somebody_else_is_no_success_and_no_alarm_at_once(registered: Watched) -> None:
    binding = f"{ROLES}/namespaces/{PLACE}/rolebindings/canary-of-tests"
    before = registered.plane.api.get(binding)
    registered.plane.api.delete(binding)
    try:
        assert registered.next_is("refused_by_other")
        assert not registered.fires("PlacetNotAsked")
        first = max(registered.samples("placet_canary_undecided_seconds").values())
        assert poll_until(
            lambda: max(registered.samples("placet_canary_undecided_seconds").values()) > first + 1, WAIT_S
        )
    finally:
        for key in ("resourceVersion", "uid", "creationTimestamp", "managedFields"):
            before["metadata"].pop(key, None)
        registered.plane.api.create(f"{ROLES}/namespaces/{PLACE}/rolebindings", before)


def test_a_gate_that_can_not_be_reached_is_told_as_that(registered: Watched) -> None:
    def unreachable(webhook: dict[str, Any]) -> None:
        webhook["clientConfig"]["url"] = webhook["clientConfig"]["url"].replace("/v1/admit/", "/v1/nowhere/")

    registered.change(unreachable)
    assert registered.next_is("unreachable")
    assert not registered.fires("PlacetNotAsked")


def test_the_path_of_another_environment_is_no_success(registered: Watched) -> None:
    def other(webhook: dict[str, Any]) -> None:
        webhook["clientConfig"]["url"] = webhook["clientConfig"]["url"].replace("/production", "/development")

    registered.change(other)
    assert registered.next_is("refused_by_other")


@pytest.mark.parametrize(
    ("verb", "resource", "namespace", "may"),
    [
        ("create", "deployments.apps", PLACE, True),
        ("create", "pods", PLACE, False),
        ("update", "deployments.apps", PLACE, False),
        ("get", "secrets", PLACE, False),
        ("create", "deployments.apps", "models", False),
    ],
)
def test_the_authorizer_lets_the_gate_send_canaries_and_nothing_more(
    plane: ControlPlane, verb: str, resource: str, namespace: str, *, may: bool
) -> None:
    asked = plane.kubectl("auth", "can-i", verb, resource, "-n", namespace, user=GATE, check=False)
    assert (asked.stdout.strip() == "yes") is may


def test_nothing_can_run_where_canaries_are_sent(plane: ControlPlane) -> None:
    plane.kubectl("create", "serviceaccount", "default", "-n", PLACE)
    counted = json.dumps({"status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}})  # by a controller, in a cluster
    quota = ("resourcequota", "placet-canary", "-n", PLACE)
    plane.kubectl("patch", *quota, "--subresource=status", "--type=merge", "-p", counted)
    harmless = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "main", "image": "registry.invalid/x", "securityContext": harmless}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "intruder"}, "spec": {"containers": [container]}}
    answers: list[tuple[int, bytes]] = []

    def is_refused() -> bool:
        answers.append(plane.api.request("POST", f"/api/v1/namespaces/{PLACE}/pods?dryRun=All", pod))
        return answers[-1][0] == HTTPStatus.FORBIDDEN

    assert poll_until(is_refused, WAIT_S), answers[-1]
    assert b"exceeded quota: placet-canary" in answers[-1][1]
