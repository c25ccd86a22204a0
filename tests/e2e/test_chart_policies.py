"""Policies in a ConfigMap, through the API server and a kubelet: taken, refused, found after a restart, rolled back."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from placet.policy.bundle import SHIPPED, load_bundle
from placet.policy.locations import parse_location, store_package
from placet.policy.offer import find_offer
from tests.e2e.chartcluster import SYSTEM, TIMEOUT_S, ChartCluster
from tests.e2e.processes import poll_until
from tests.policies.compiled import package
from tests.simulators.desk import signer_of
from tests.simulators.file_server import serving_file
from tests.simulators.registry import PASSWORD, USER, basic_auth, running_registry

PATIENCE_S = 2 * TIMEOUT_S
ROLES = ("technical", "security", "business")
CONFIG_MAPS = f"/api/v1/namespaces/{SYSTEM}/configmaps"


@dataclass
class Rollout:
    """The chart with policies in the ConfigMap ``policies``, of which ann may sign.

    Attributes:
        cluster: with the chart installed.
        packages: what can be put there, by name.
        values: of helm, beside those of the folder.
    """

    cluster: ChartCluster
    packages: dict[str, bytes]
    values: list[str | Path] = field(default_factory=list)

    def put(self, name: str) -> bytes:
        """Replace what the ConfigMap holds, as ``kubectl replace`` does."""
        raw = self.packages[name]
        self.write({"policies.tar.gz": base64.b64encode(raw).decode()})
        return raw

    def write(self, data: dict[str, str]) -> None:
        metadata = {"name": "policies", "namespace": SYSTEM}
        wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "binaryData": data}
        there = self.cluster.plane.api.find(f"{CONFIG_MAPS}/policies") is not None
        method, path = ("PUT", f"{CONFIG_MAPS}/policies") if there else ("POST", CONFIG_MAPS)
        status, body = self.cluster.plane.api.request(method, path, wanted)
        assert status in {200, 201}, body

    def make_secret(self, name: str, data: dict[str, bytes], *, kind: str = "Opaque") -> None:
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        metadata = {"name": name, "namespace": SYSTEM}
        secret = {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "data": encoded}
        self.cluster.plane.api.create(f"/api/v1/namespaces/{SYSTEM}/secrets", secret)

    def ask(self, path: str) -> list[str]:
        """What each running Pod answers on its status port; "" for one that does not."""
        return [ask(f"http://{self.cluster.kubelet.address}:{port}{path}") for port in self.cluster.kubelet.ports(8080)]

    def pods(self) -> dict[str, str]:
        """Name of each Pod that is not ending -> uid."""
        listed = self.cluster.plane.api.get(f"/api/v1/namespaces/{SYSTEM}/pods")["items"]
        ours = [pod["metadata"] for pod in listed if "deletionTimestamp" not in pod["metadata"]]
        return {
            one["name"]: one["uid"] for one in ours if one["labels"].get("app.kubernetes.io/component") == "webhook"
        }

    def events(self, reason: str) -> list[dict[str, Any]]:
        """Events of a reason on Pods that run now."""
        found = self.cluster.plane.api.get(f"/api/v1/namespaces/{SYSTEM}/events")["items"]
        running = self.pods()
        return [
            one
            for one in found
            if one["reason"] == reason and running.get(one["involvedObject"]["name"]) == one["involvedObject"]["uid"]
        ]

    def judge_by(self, folder: Path) -> bool:
        """Whether every Pod judges by these policies, and no other does."""
        revision = 'placet_policy_info{data="'
        lines = [[line for line in text.splitlines() if line.startswith(revision)] for text in self.ask("/metrics")]
        wanted = f'revision="{load_bundle(folder).revision}"'
        return len(lines) == len(self.pods()) and all(len(one) == 1 and wanted in one[0] for one in lines)

    def settled(self, *words: str) -> bool:
        """Whether every Pod says so on /readyz, and is ready all the same."""
        texts = self.ask("/readyz")
        return len(texts) == len(self.pods()) and all(
            text.startswith("ok\n") and all(each in text for each in words) for text in texts
        )

    def told(self, reason: str, *words: str) -> bool:
        """Whether an Event on each Pod says so."""
        said = {one["involvedObject"]["name"] for one in self.events(reason) if all(w in one["message"] for w in words)}
        return said == set(self.pods())

    def upgrade(self, *more: str) -> None:
        self.cluster.install(*self.values, *more, command="upgrade")

    def replace_pods(self) -> None:
        """Delete every Pod, and wait until others are there."""
        before = self.pods()
        self.cluster.plane.kubectl("-n", SYSTEM, "delete", "pod", *before, "--wait=false")
        assert poll_until(lambda: not {*self.pods()} & {*before}, PATIENCE_S)

    def logged(self, words: str) -> Callable[[], bool]:
        """Whether every Pod has logged so."""
        return lambda: all(words in self.cluster.kubelet.log(name) for name in self.pods())

    def versions(self) -> list[dict[str, Any]]:
        """Leaves that say what is in force, the newest first."""
        store = self.cluster.kubelet.folder / "claims" / "placet-record" / "record.sqlite"
        text = self.cluster.team.run(
            "audit", "list", "--store", str(store), "--type", "configuration", "-o", "json"
        ).stdout
        return [item["record"] for item in json.loads(text)["records"]]

    def explain(self) -> str:
        """For a failure: what the Pods say and logged."""
        return "\n".join([*self.ask("/readyz"), self.cluster.kubelet.log("placet")[-12000:]])


def ask(url: str) -> str:
    try:
        return requests.get(url, timeout=5).text
    except requests.RequestException:
        return ""


@pytest.fixture(scope="module")
def rollout(tmp_path_factory: pytest.TempPathFactory, own_policies: Path, open_policies: Path) -> Iterator[Rollout]:
    made = tmp_path_factory.mktemp("packages")
    packages = {
        "first": package(SHIPPED, made / "first", 3),
        "second": package(own_policies, made / "second", 4),
        "third": package(own_policies, made / "third", 5),
        "fourth": package(SHIPPED, made / "fourth", 6),
        "fifth": package(own_policies, made / "fifth", 7),
        "of a stranger": package(SHIPPED, made / "stranger", 9, "ben"),
        "letting everything in": package(open_policies, made / "open", 10),
    }
    packages["truncated"] = packages["second"][:-100]
    with ChartCluster.started(tmp_path_factory.mktemp("team")) as cluster:
        cluster.make_system()
        cluster.plane.create_namespace("forbidden", {"placet.dev/environment": "production"})
        key = cluster.folder / "release.pub"
        key.write_text(signer_of("ann").public_key.pem, "utf-8")
        values: list[str | Path] = ["--set", "policy.bundle.existingConfigMap=policies,policy.bundle.pollSeconds=1",
                  "--set-file", f"policy.bundle.signers.keys.release\\.pub={key}"]  # fmt: skip
        found = Rollout(cluster, packages, values)
        found.put("first")
        cluster.install(*values)
        cluster.team.approve("deploy.yaml", *ROLES)
        yield found


def refused_in(rollout: Rollout, namespace: str) -> str:
    manifest = yaml.safe_load((rollout.cluster.folder / "deploy.yaml").read_text("utf-8"))
    manifest["metadata"]["namespace"] = namespace
    done = rollout.cluster.plane.kubectl(
        "create", "--dry-run=server", "-f", "-", stdin=json.dumps(manifest), check=False
    )
    return done.stderr


def test_a_new_bundle_takes_effect_without_a_restart_or_a_refused_call(rollout: Rollout, own_policies: Path) -> None:
    assert rollout.judge_by(SHIPPED), rollout.explain()
    assert "team.strict" not in refused_in(rollout, "forbidden")
    before = rollout.pods()
    with rollout.cluster.honest_calls("deploy.yaml") as failures:
        raw = rollout.put("second")
        assert poll_until(lambda: rollout.judge_by(own_policies), PATIENCE_S), rollout.explain()
    assert failures == [], f"{failures[0]}\n{rollout.explain()}"
    assert rollout.pods() == before
    assert rollout.cluster.kubelet.restarted == []
    assert "team.strict" in refused_in(rollout, "forbidden")
    digest = find_offer(raw).digest
    assert poll_until(lambda: rollout.told("PoliciesInForce", "version 4", digest), PATIENCE_S), rollout.explain()
    assert rollout.versions()[0]["policy"]["version"] == 4


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("of a stranger", "bundle_signatures"),
        ("first", "bundle_rollback"),
        ("truncated", "bundle_invalid"),
        ("letting everything in", "self_test"),
    ],
)
def test_a_bad_bundle_leaves_the_old_one_in_force(rollout: Rollout, own_policies: Path, name: str, code: str) -> None:
    before = rollout.pods()
    with rollout.cluster.honest_calls("deploy.yaml") as failures:
        raw = rollout.put(name)
        offered = find_offer(raw).shown
        assert poll_until(lambda: rollout.settled(f"warning policies: {code}", offered), PATIENCE_S), rollout.explain()
        assert poll_until(lambda: rollout.told("PoliciesRefused", code, offered, "stays"), PATIENCE_S), (
            rollout.explain()
        )
    assert failures == [], f"{failures[0]}\n{rollout.explain()}"
    assert rollout.judge_by(own_policies)
    assert rollout.pods() == before
    for text in rollout.ask("/metrics"):
        assert 'placet_policy_fetches_total{result="refused"}' in text
        assert 'placet_stale{part="policies"} 1.0' in text
    assert "team.strict" in refused_in(rollout, "forbidden")


def test_a_new_pod_takes_from_the_record_what_the_bad_bundle_does_not_replace(
    rollout: Rollout, own_policies: Path
) -> None:
    for lost in (True, False):
        if lost:
            rollout.cluster.plane.kubectl("-n", SYSTEM, "delete", "configmap", "policies")
        else:
            rollout.put("truncated")
        rollout.replace_pods()
        assert poll_until(rollout.logged("policies taken from the record"), PATIENCE_S), rollout.explain()
        assert poll_until(lambda: rollout.settled("warning policies: bundle_"), PATIENCE_S), rollout.explain()
        assert rollout.judge_by(own_policies), rollout.explain()
    rollout.put("second")
    assert poll_until(lambda: all("policies" not in text for text in rollout.ask("/readyz")), PATIENCE_S)


def test_a_container_that_ends_starts_again_by_what_it_had(rollout: Rollout, own_policies: Path) -> None:
    rollout.put("of a stranger")
    assert poll_until(lambda: rollout.settled("bundle_signatures"), PATIENCE_S), rollout.explain()
    kubelet = rollout.cluster.kubelet
    before = kubelet.pids("webhook")
    os.kill(before[0], signal.SIGKILL)
    assert poll_until(lambda: len(kubelet.pids("webhook")) == len(before) != before.count(before[0]), PATIENCE_S)
    assert poll_until(lambda: before[0] not in kubelet.pids("webhook"), PATIENCE_S)
    assert poll_until(lambda: rollout.settled("bundle_signatures"), PATIENCE_S), rollout.explain()
    assert rollout.judge_by(own_policies)
    rollout.put("second")
    assert poll_until(lambda: all("policies" not in text for text in rollout.ask("/readyz")), PATIENCE_S)


def test_a_rollback_is_asked_for_by_its_version_and_recorded(rollout: Rollout, own_policies: Path) -> None:
    rollout.put("first")
    assert poll_until(lambda: rollout.settled("bundle_rollback"), PATIENCE_S), rollout.explain()
    rollout.upgrade("--set", "policy.bundle.rollbackTo=3")
    assert poll_until(lambda: rollout.judge_by(SHIPPED), PATIENCE_S), rollout.explain()
    assert "team.strict" not in refused_in(rollout, "forbidden")
    downgrades = [one for leaf in rollout.versions() for one in leaf["downgrades"]]
    assert {"key": "policy.version", "from": "4", "to": "3"} in downgrades
    rollout.put("third")
    assert poll_until(lambda: rollout.judge_by(own_policies), PATIENCE_S), rollout.explain()


def test_policies_are_fetched_from_a_server_with_the_credentials_of_a_secret(
    rollout: Rollout, own_policies: Path, tmp_path: Path
) -> None:
    """A web server that asks for a token, then a registry that asks for a password."""
    with serving_file() as server, running_registry(tmp_path, auth=basic_auth(tmp_path)) as registry:
        server.token, server.content = "not-a-secret-0123456789", rollout.packages["fourth"]
        rollout.make_secret("pull", {"token": server.token.encode()})
        rollout.upgrade(
            *("--set", "policy.bundle.existingConfigMap=", "--set", f"policy.bundle.url={server.url}"),
            *("--set", "policy.bundle.credentials.tokenSecret=pull"),
        )
        assert poll_until(lambda: rollout.judge_by(SHIPPED), PATIENCE_S), rollout.explain()
        assert poll_until(lambda: 304 in server.answered, PATIENCE_S), server.answered
        docker = tmp_path / "config.json"
        registry.log_in(docker, USER, PASSWORD)
        rollout.make_secret(
            "registry", {".dockerconfigjson": docker.read_bytes()}, kind="kubernetes.io/dockerconfigjson"
        )
        place = parse_location(registry.reference("team/policies", "stable"))
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DOCKER_CONFIG", str(tmp_path))
            store_package(rollout.packages["fifth"], place)
        rollout.upgrade(
            *("--set", "policy.bundle.existingConfigMap=", "--set", f"policy.bundle.url={place.text}"),
            *("--set", "policy.bundle.credentials.dockerConfigSecret=registry"),
        )
        assert poll_until(lambda: rollout.judge_by(own_policies), PATIENCE_S), rollout.explain()
        assert all("policies" not in text for text in rollout.ask("/readyz"))
