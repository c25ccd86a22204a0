"""The life of the installed chart, seen through the API server: nothing that happens to it costs a user a call.

``make lifecycle`` makes 10,000 calls during each event; by default there are fewer.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.e2e.authority import Authority
from tests.e2e.chartcluster import CONFIGURATIONS, MODELS, SYSTEM, TIMEOUT_S, ChartCluster
from tests.e2e.lifecalls import DEPLOYMENTS, Calls, last_index, read_decisions
from tests.e2e.lifeload import REVIEWS
from tests.e2e.processes import poll_until
from tests.e2e.slowcallers import SlowCallers

CALLS: Final = REVIEWS if REVIEWS >= 5000 else REVIEWS // 4
TIMES: Final = 3 if REVIEWS >= 5000 else 1
ROLES: Final = ("technical", "security", "business")
SLOW: Final = 100
HOST: Final = f"placet.{SYSTEM}.svc"
Json = dict[str, Any]


class Life:
    """An installed chart, and the manifests that callers send.

    Attributes:
        cluster: it.
        authority: of the serving certificate.
        approved: has a ``generateName``, and is paused, so that no controller multiplies the calls.
    """

    def __init__(self, cluster: ChartCluster, folder: Path) -> None:
        self.cluster = cluster
        self._folder = folder
        self.authority = self.new_authority("first")
        cluster.make_system()
        self.issue(self.authority, create=True)
        cluster.install(
            *("--set", "tls.existingSecret=own-tls", "--set-file", f"tls.caBundle={self.authority.path}"),
            *("--set-file", f"server.clientCa.pem={cluster.plane.authority.path}"),
            *("--set", "server.clientNames={kube-apiserver}"),
        )
        self.approved = self._sign()
        self.unapproved = self._without_approvals(self.approved)

    def _sign(self) -> Json:
        file = self.cluster.folder / "endure.yaml"
        manifest = yaml.safe_load((self.cluster.folder / "deploy.yaml").read_text(encoding="utf-8"))
        manifest = self._without_approvals(manifest)
        manifest["metadata"].pop("name")
        manifest["metadata"]["generateName"] = "endure-"
        manifest["metadata"]["namespace"] = MODELS
        manifest["spec"]["paused"] = True
        file.write_text(yaml.safe_dump(manifest), encoding="utf-8")
        self.cluster.team.attest(file.name)
        self.cluster.team.approve(file.name, *ROLES)
        signed: Json = yaml.safe_load(file.read_text(encoding="utf-8"))
        return signed

    @staticmethod
    def _without_approvals(manifest: Json) -> Json:
        annotations = {
            key: value
            for key, value in manifest["metadata"]["annotations"].items()
            if not key.startswith(("placet.dev/evidence", "placet.dev/approval"))
        }
        return {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}

    # -- events

    def new_authority(self, name: str) -> Authority:
        folder = self._folder / f"authority-{name}"
        folder.mkdir()
        return Authority(folder, f"cluster {name}")

    def issue(self, authority: Authority, *, create: bool = False) -> None:
        """A new serving certificate in the chart's Secret."""
        files = authority.server([HOST])
        data = {
            "tls.crt": base64.b64encode(files.certificate.read_bytes()).decode(),
            "tls.key": base64.b64encode(files.key.read_bytes()).decode(),
        }
        path = f"/api/v1/namespaces/{SYSTEM}/secrets"
        metadata = {"name": "own-tls", "namespace": SYSTEM}
        secret = {
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "data": data,
        }  # fmt: skip
        if create:
            self.cluster.plane.api.create(path, secret)
        else:
            self.cluster.plane.api.replace(f"{path}/own-tls", secret)

    def trust(self, *authorities: Authority) -> None:
        """What the API server believes of the webhook."""
        bundle = base64.b64encode(b"".join(one.pem for one in authorities)).decode()
        configuration = self.cluster.plane.api.get(f"{CONFIGURATIONS}/placet")
        for webhook in configuration["webhooks"]:
            webhook["clientConfig"]["caBundle"] = bundle
        self.cluster.plane.api.replace(f"{CONFIGURATIONS}/placet", configuration)

    def change_file(self, name: str, change: Callable[[str], str]) -> None:
        """Change a file that all replicas have mounted."""
        path = f"/api/v1/namespaces/{SYSTEM}/configmaps/placet-config"
        config = self.cluster.plane.api.get(path)
        config["data"][name] = change(config["data"][name])
        self.cluster.plane.api.replace(path, config)

    def pods(self) -> list[str]:
        """The webhook's, that have not been told to end."""
        listed = self.cluster.plane.api.get(f"/api/v1/namespaces/{SYSTEM}/pods")["items"]
        return [pod["metadata"]["name"] for pod in listed if "deletionTimestamp" not in pod["metadata"]]

    def until_all_say(self, message: str, before: dict[str, int]) -> None:
        """Every replica has logged it once more."""
        assert poll_until(
            lambda: all(found > before[pod] for pod, found in self.count_said(message).items()), TIMEOUT_S
        ), self.cluster.kubelet.log("placet")[-3000:]

    def count_said(self, message: str) -> dict[str, int]:
        return {pod: self.cluster.kubelet.log(pod).count(f'"message": "{message}') for pod in self.pods()}

    @property
    def record(self) -> Path:
        return self.cluster.kubelet.folder / "claims" / "placet-record" / "record.sqlite"

    # -- what became of it

    def calling(self) -> Calls:
        return Calls(self.cluster, approved=self.approved, unapproved=self.unapproved, count=CALLS)

    def endure(self, event: Callable[[int], None], *, times: int = TIMES) -> Calls:
        """Let an event happen again and again under load; no call may fail, and the record has all of them."""
        before = last_index(self.record)
        with self.calling() as calls:
            calls.wait_for(30)
            for number in range(times):
                event(number)
                calls.wait_for(30)
        assert not calls.counted.failures, calls.counted.failures.most_common(5)
        assert calls.counted.answered >= CALLS
        found = read_decisions(self.record, after=before)
        assert found.created.keys() == calls.counted.created
        assert found.refused == calls.counted.refused
        assert found.updated >= calls.counted.patched  # the API server tries a patch again that met another write
        return calls

    def clean(self) -> None:
        """Delete what was created, so that the next event begins as this one did."""
        status, _ = self.cluster.plane.api.request("DELETE", DEPLOYMENTS)
        assert status == http.client.OK
        assert poll_until(lambda: not self.cluster.plane.api.get(DEPLOYMENTS)["items"], TIMEOUT_S)


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    folder = tmp_path_factory.mktemp("team")
    with ChartCluster.started(folder, webhook_client="kube-apiserver", audit=True) as cluster:
        yield Life(cluster, tmp_path_factory.mktemp("authorities"))


@pytest.fixture
def life(living: Life) -> Iterator[Life]:
    yield living
    living.clean()


def test_a_rolling_restart_costs_no_call(life: Life) -> None:
    def restart(_: int) -> None:
        before = set(life.pods())
        life.cluster.plane.kubectl("-n", SYSTEM, "rollout", "restart", "deployment/placet")
        life.cluster.plane.kubectl(
            "-n", SYSTEM, "rollout", "status", "deployment/placet", f"--timeout={TIMEOUT_S:g}s", timeout_s=TIMEOUT_S
        )
        assert poll_until(lambda: not before & set(life.pods()), TIMEOUT_S)

    life.endure(restart)
    assert life.cluster.kubelet.restarted == []


def test_a_new_serving_certificate_costs_no_call(life: Life) -> None:
    def rotate(_: int) -> None:
        before = life.count_said("certificate reloaded")
        life.issue(life.authority)
        life.until_all_say("certificate reloaded", before)

    life.endure(rotate)


def test_another_authority_costs_no_call(life: Life) -> None:
    def change(number: int) -> None:
        old, new = life.authority, life.new_authority(f"serving-{number}")
        life.trust(old, new)
        life.cluster.plane.kubectl("version")  # some calls pass: other replicas of an API server would learn of it
        before = life.count_said("certificate reloaded")
        life.issue(new)
        life.until_all_say("certificate reloaded", before)
        life.trust(new)
        life.authority = new

    life.endure(change)


def test_further_authorities_of_api_servers_cost_no_call(life: Life) -> None:
    own = life.cluster.plane.authority.pem.decode()
    other = life.new_authority("callers").pem.decode()

    def change(_: int) -> None:
        for trusted in (own + other, own):
            before = life.count_said("certificate reloaded")
            life.change_file("client-ca.crt", lambda _, trusted=trusted: trusted)  # type: ignore[misc]
            life.until_all_say("certificate reloaded", before)

    life.endure(change)


def test_a_new_keyring_costs_no_call(life: Life) -> None:
    team = life.cluster.team

    def renew(_: int) -> None:
        team.run("keyring", "renew", "--source", "keyring.yaml")
        (team.folder / "next.json").unlink(missing_ok=True)
        for root in (1, 2):
            team.run("keyring", "sign", "--key", f"keys/root-{root}.key", "--out", "next.json")
        envelope = (team.folder / "next.json").read_text(encoding="utf-8")
        before = life.count_said("keyring in force")
        life.change_file("keyring.dsse.json", lambda _: envelope)
        life.until_all_say("keyring in force", before)

    life.endure(renew)


@pytest.mark.parametrize("name", ["policy-data.yaml", "placet.yaml"])
def test_other_policy_data_and_another_configuration_cost_no_call(life: Life, name: str) -> None:
    def edit(text: str, number: int) -> str:
        content = yaml.safe_load(text)
        if name == "placet.yaml":
            content["autoscalers"] = ("none", "unknown")[number % 2]
        else:
            content.setdefault("environments", {})["staging"] = {"mode": ("warn", "audit")[number % 2]}
        return yaml.safe_dump(content)

    def change(number: int) -> None:
        before = life.count_said("reload applied")
        life.change_file(name, lambda text: edit(text, number))
        life.until_all_say("reload applied", before)

    life.endure(change)


def test_a_hundred_stalled_connections_and_a_hundred_slow_bodies_cost_no_call(life: Life) -> None:
    kubelet = life.cluster.kubelet
    with SlowCallers(kubelet.address, kubelet.ports(8443), SLOW) as slow:
        life.endure(lambda _: slow.wait_for_renewal())


def test_no_object_is_there_without_a_record_whenever_a_replica_is_killed(life: Life) -> None:
    plane, kubelet = life.cluster.plane, life.cluster.kubelet
    before, killed = last_index(life.record), len(kubelet.restarted)
    with life.calling() as calls:
        for number in range(2 * TIMES):
            calls.wait_for(30)
            # One of two first, and then both: there is a moment without any gate.
            for pid in kubelet.pids("webhook")[: 1 + number % 2]:
                os.kill(pid, signal.SIGKILL)
                killed += 1
            assert poll_until(lambda: len(kubelet.restarted) >= killed and runs_twice(life), TIMEOUT_S)  # noqa: B023 - called at once
        calls.wait_for(30)
    counted, found = calls.counted, read_decisions(life.record, after=before)
    for answer in counted.failures:
        assert "failed calling webhook" in answer, answer  # refused by failurePolicy, and nothing else went wrong
    objects = {item["metadata"]["name"] for item in plane.api.get(DEPLOYMENTS)["items"]}
    assert counted.created <= objects
    assert objects <= found.created.keys(), "an object was admitted and no record says so"
    assert found.updated >= counted.patched
    assert poll_until(lambda: {found.created[name] for name in objects} <= audited(life), TIMEOUT_S)
    assert len(kubelet.restarted) >= 3 * TIMES
    audit_log = life.cluster.folder / "audit.log"
    audit_log.write_text("".join(f"{json.dumps(event)}\n" for event in plane.audit_events()), encoding="utf-8")
    key = (life.cluster.folder / "keys" / "log.vkey").read_text(encoding="utf-8").strip()
    verified = life.cluster.team.run("audit", "verify", "--store", str(life.record), "--log-key", key,
                                     "--apiserver-log", str(audit_log), "-o", "json").stdout  # fmt: skip
    crossed = json.loads(verified)["apiserver"]
    assert crossed["counts"] == {}, "an answer that was cut off is no finding"
    assert crossed["leaves"]["admitted"] >= len(objects)
    life.endure(lambda _: None)  # and then everything is as it was


def runs_twice(life: Life) -> bool:
    return len(life.cluster.kubelet.pids("webhook")) == 2 and ready_pods(life) == 2


def ready_pods(life: Life) -> int:
    listed = life.cluster.plane.api.get(f"/api/v1/namespaces/{SYSTEM}/pods")["items"]
    return sum(
        condition["type"] == "Ready" and condition["status"] == "True"
        for pod in listed
        for condition in pod["status"].get("conditions", ())
    )


def audited(life: Life) -> set[str]:
    """Decisions that the API server's own log names for creations."""
    return {
        value
        for event in life.cluster.plane.audit_events()
        if event["verb"] == "create"
        for key, value in event.get("annotations", {}).items()
        if key.endswith("placet.dev/decision-id")
    }
