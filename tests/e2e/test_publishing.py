"""What a real cluster is shown of the record, with the rights of the chart and no others."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from placet.publish.events import EACH, MORE
from tests.e2e.controlplane import START_TIMEOUT_S, ControlPlane
from tests.e2e.gateprocess import Team
from tests.e2e.lifegate import Replica
from tests.e2e.processes import poll_until
from tests.e2e.reportkinds import DEFINITIONS
from tests.manifests.charts import BASE, merged, objects, template
from tests.simulators.gate import review

EXAMPLE = Path(__file__).parents[2] / "manifests" / "examples" / "llama-deployment.yaml"
NAMESPACE, SHOWN = "ml-serving", "placet-decisions"
GATE, DEPLOYER = "placet-gate", "dora@example.com"
PATIENCE_S = 90.0
VALUES = {"record": {"publish": {"enabled": True}, "export": {"enabled": True}}}
KINDS_OF_RIGHTS = ("Namespace", "ClusterRole", "ClusterRoleBinding")
KINDS = ("reports.openreports.io", "policyreports.wgpolicyk8s.io")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster with both kinds of report, in which the gate may do what the chart lets it."""
    with ControlPlane(controllers=True) as opened:
        for kind in DEFINITIONS:
            opened.kubectl("apply", "-f", "-", stdin=json.dumps(kind))
        for name in (NAMESPACE, "elsewhere"):
            opened.create_namespace(name, {"placet.dev/environment": "production"})
        opened.kubeconfig_for(GATE)
        rendered = objects(template(merged(BASE, VALUES), tmp_path_factory.mktemp("chart")))
        parts = [each for each in rendered if str(each["metadata"].get("namespace", SHOWN)) == SHOWN]
        for each in sorted(parts, key=lambda one: str(one["kind"]) != "Namespace"):
            name = each["metadata"]["name"]
            ours = name.endswith(("-publish", "-export"))
            if ours or (name in {SHOWN, "placet"} and each["kind"] in KINDS_OF_RIGHTS):
                if "subjects" in each:
                    each["subjects"] = [{"kind": "User", "name": GATE, "apiGroup": "rbac.authorization.k8s.io"}]
                opened.kubectl("apply", "-f", "-", stdin=json.dumps(each))
        opened.kubeconfig_for(DEPLOYER, ["developers"])
        opened.grant(DEPLOYER, "edit")
        yield opened


@pytest.fixture
def team(plane: ControlPlane, tmp_path: Path) -> Team:
    team = Team.found(tmp_path)
    shutil.copyfile(EXAMPLE, tmp_path / "deploy.yaml")
    certificate = plane.serving_certificate(["127.0.0.1"])
    team.configure(
        {
            "parents": "lookup",
            "kubeconfig": str(plane.kubeconfig_path(GATE)),
            "record": {"publish": {"namespace": SHOWN}, "export": {"namespace": SHOWN}},
            "server": {"tls_cert": str(certificate.cert_path), "tls_key": str(certificate.key_path)},
        }
    )
    # Each test has a log of its own, and says so to the cluster; what an earlier one left is none of its business.
    for kind in ("configmaps", "leases"):
        plane.kubectl("delete", kind, "-n", SHOWN, "-l", "app.kubernetes.io/managed-by=placet")
    plane.kubectl("delete", "events", "--all", "-n", NAMESPACE)
    return team


def get(plane: ControlPlane, *arguments: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(plane.kubectl("get", *arguments, "-o", "json").stdout)["items"]
    return items


def events(plane: ControlPlane) -> list[dict[str, Any]]:
    return [one for one in get(plane, "events", "-n", NAMESPACE) if one["source"].get("component") == "placet"]


def shown(plane: ControlPlane) -> list[dict[str, Any]]:
    """What the ConfigMaps of workloads hold."""
    found = get(plane, "configmaps", "-n", SHOWN, "-l", "audit-record=true")
    return [json.loads(one["data"]["decisions.json"]) for one in found]


def wait(what: str, holds: Callable[[], object], replica: Replica) -> None:
    assert poll_until(lambda: bool(holds()), PATIENCE_S), f"{what}\n{replica.log[-6000:]}"


def apply(plane: ControlPlane, team: Team) -> Any:
    return plane.kubectl("apply", "-f", str(team.folder / "deploy.yaml"), user=DEPLOYER, check=False)


def test_a_refusal_is_an_event_a_config_map_and_a_report_which_goes_with_its_workload(
    plane: ControlPlane, team: Team
) -> None:
    replica = Replica(team, 1)
    registration = None
    try:
        replica.wait_until_ready()
        certificate = plane.serving_certificate(["127.0.0.1"])
        registration = plane.install_webhook(
            "gate",
            f"https://{replica.address}/v1/admit/production",
            certificate.ca_pem,
            namespace_selector={"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
        )
        assert "approvals.required" in apply(plane, team).stderr
        wait("an Event", lambda: events(plane), replica)
        (event,) = events(plane)
        assert (event["reason"], event["type"], event["count"]) == ("Refused", "Warning", 1)
        assert event["involvedObject"] == {
            "apiVersion": "apps/v1", "kind": "Deployment", "namespace": NAMESPACE, "name": "llama",
        }  # fmt: skip
        assert event["message"].startswith("placet refuses Deployment/llama in namespace ml-serving")
        assert len(event["message"].encode()) <= 1024
        wait("its ConfigMap", lambda: shown(plane), replica)
        # A workload that does not exist has no report: nothing would ever take it away.
        assert [get(plane, kind, "-A") for kind in KINDS] == [[], []]

        team.attest("deploy.yaml")
        team.approve("deploy.yaml", "technical", "security", "business")
        admitted = apply(plane, team)
        assert admitted.returncode == 0, admitted.stderr
        wait("reports", lambda: all(get(plane, kind, "-n", NAMESPACE) for kind in KINDS), replica)
        manifest = yaml.safe_load((team.folder / "deploy.yaml").read_text(encoding="utf-8"))
        manifest["spec"]["template"]["spec"]["containers"][0]["args"] = ["--another"]
        (team.folder / "deploy.yaml").write_text(yaml.safe_dump(manifest), encoding="utf-8")
        assert apply(plane, team).returncode == 1

        def failed() -> bool:
            return all(get(plane, kind, "-n", NAMESPACE)[0]["summary"]["fail"] > 0 for kind in KINDS)

        wait("reports of the refusal", failed, replica)
        deployment = json.loads(plane.kubectl("get", "deployment", "llama", "-n", NAMESPACE, "-o", "json").stdout)
        for kind in KINDS:
            (report,) = get(plane, kind, "-n", NAMESPACE)
            (owner,) = report["metadata"]["ownerReferences"]
            assert (owner["kind"], owner["uid"]) == ("Deployment", deployment["metadata"]["uid"])
            counted = [one["result"] for one in report["results"]]
            assert report["summary"] == {name: counted.count(name) for name in report["summary"]}
            rules = {one["rule"]: one["result"] for one in report["results"]}
            assert (rules["approvals.required"], rules["admission"]) == ("fail", "fail")
        (view,) = shown(plane)
        assert [one["verdict"] for one in view["decisions"]] == ["refused", "allowed", "refused"]
        (labels,) = [one["metadata"]["labels"] for one in get(plane, "configmaps", "-n", SHOWN, "-l", "event-type")]
        assert (labels["audit-record"], labels["event-type"]) == ("true", "denial")
        assert labels["risk-level"] == view["decisions"][0]["risk_level"] != "none"
        described = plane.kubectl("describe", "deployment", "llama", "-n", NAMESPACE).stdout
        assert "Refused" in described
        assert replica.metric('placet_published_total{kind="event",outcome="forbidden"}') == 0

        plane.kubectl("delete", "deployment", "llama", "-n", NAMESPACE)
        wait("no reports", lambda: not any(get(plane, kind, "-n", NAMESPACE) for kind in KINDS), replica)
    finally:
        if registration is not None:
            registration.remove()
        replica.end()


def test_answers_go_on_without_an_api_server_and_a_restart_makes_up_for_what_was_missed(
    plane: ControlPlane, team: Team
) -> None:
    """Two replicas publish one log: each refusal counts once, whoever told it, before and after both were killed."""
    manifest = yaml.safe_load((team.folder / "deploy.yaml").read_text(encoding="utf-8"))
    replicas = [Replica(team, number) for number in (1, 2)]
    try:
        for replica in replicas:
            replica.wait_until_ready()
        for turn in range(6):
            assert replicas[turn % 2].ask(review(manifest))["allowed"] is False
        wait("six told", lambda: [one["count"] for one in events(plane)] == [6], replicas[0])
        assert sum(one.metric('placet_published_total{kind="event",outcome="created"}') for one in replicas) == 1
        plane.stop_apiserver()
        for turn in range(4):
            assert replicas[turn % 2].ask(review(manifest))["allowed"] is False
        for replica in replicas:
            assert replica.ready, replica.look()
        failing = 'placet_publish_failing{part="publish"}'
        wait("doubt", lambda: any(one.metric(failing) for one in replicas), replicas[0])
    finally:
        for replica in replicas:
            replica.signal(signal.SIGKILL)
            replica.process.stop(grace_s=15)
    plane.start_apiserver(START_TIMEOUT_S)
    last = Replica(team, 3)
    try:
        last.wait_until_ready()
        wait("ten told", lambda: [one["count"] for one in events(plane)] == [10], last)
        wait("ten shown", lambda: shown(plane) and len(shown(plane)[0]["decisions"]) == 10, last)
        indices = [one["index"] for one in shown(plane)[0]["decisions"]]
        assert indices == sorted(indices, reverse=True)
        # A flood is bounded, and the API server takes the Event that says so, which regards a Namespace.
        for number in range(EACH + 5):
            manifest["metadata"]["name"] = f"flood-{number}"
            assert last.ask(review(manifest))["allowed"] is False

        def left_out() -> list[int]:
            return [one["count"] for one in events(plane) if one["reason"] == MORE]

        wait("five left out", lambda: left_out() == [5], last)
        assert len(events(plane)) == 1 + EACH + 1
    finally:
        last.end()


def test_the_exported_checkpoint_verifies_and_notices_a_record_that_was_put_back(
    plane: ControlPlane, team: Team
) -> None:
    manifest = yaml.safe_load((team.folder / "deploy.yaml").read_text(encoding="utf-8"))
    saved = team.folder / "yesterday.sqlite"
    jsonpath = "jsonpath={.data.checkpoint}"

    def exported() -> str:
        asked = ("get", "configmap", "placet-checkpoint", "-n", SHOWN, "-o", jsonpath)
        return plane.kubectl(*asked, check=False).stdout

    first = Replica(team, 1)
    try:
        first.wait_until_ready()
        wait("a checkpoint", exported, first)
    finally:
        first.end()
    shutil.copyfile(team.folder / "record.sqlite", saved)
    second = Replica(team, 2)
    try:
        second.wait_until_ready()
        before = exported()
        second.ask(review(manifest))
        second.end()  # signs at its end
        third = Replica(team, 3)
        try:
            wait("a larger one", lambda: exported() != before, third)
        finally:
            third.end()
    finally:
        second.end()
    note = team.folder / "exported.note"
    note.write_text(exported(), encoding="utf-8")
    key = (team.folder / "keys" / "log.vkey").read_text(encoding="utf-8").strip()
    verify = ("audit", "verify", "--store", "record.sqlite", "--log-key", key, "--checkpoint", str(note))
    team.run(*verify)
    shutil.copyfile(saved, team.folder / "record.sqlite")
    for more in ("-wal", "-shm"):
        (team.folder / f"record.sqlite{more}").unlink(missing_ok=True)
    team.run(*verify, expect=1)
    fourth = Replica(team, 4)
    try:
        assert poll_until(lambda: not fourth.process.running, PATIENCE_S), fourth.log[-3000:]
        assert "rolled_back" in fourth.log
    finally:
        fourth.end()
    assert exported() == note.read_text(encoding="utf-8")
