"""`kubectl placet plan deployment/llama`: objects as they are in a real cluster, read with the user's own rights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.controlplane import ControlPlane
from tests.e2e.gateprocess import Team
from tests.e2e.processes import poll_until, program_path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "manifests" / "examples" / "llama-deployment.yaml"
NAMESPACE = "ml-serving"
READER, STRANGER = "rita@example.com", "stan@example.com"


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        plane.create_namespace(NAMESPACE, {"placet.dev/environment": "production"})
        plane.create_namespace("plain", {})
        for user in (READER, STRANGER):
            plane.kubeconfig_for(user)
        plane.grant(READER, "view")
        yield plane


@pytest.fixture(scope="module")
def team(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Team:
    team = Team.found(tmp_path_factory.mktemp("team"))
    shutil.copyfile(EXAMPLE, team.folder / "deploy.yaml")
    team.attest("deploy.yaml")
    team.approve("deploy.yaml", "technical", "security")
    plane.kubectl("apply", "-f", str(team.folder / "deploy.yaml"))
    return team


def kubeconfig(plane: ControlPlane, user: str, team: Team, **context: str) -> str:
    """A copy whose one context has a namespace, as people have it."""
    value = yaml.safe_load(Path(plane.kubeconfig_for(user)).read_text(encoding="utf-8"))
    value["contexts"][0]["context"].update(context)
    value["contexts"].append({"name": "nowhere", "context": {**value["contexts"][0]["context"], "cluster": "nowhere"}})
    value["clusters"].append({"name": "nowhere", "cluster": {"server": "https://127.0.0.1:1"}})
    file = team.folder / f"kubeconfig-{user}"
    file.write_text(yaml.safe_dump(value), encoding="utf-8")
    return str(file)


def as_plugin(team: Team, *arguments: str, expect: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Through the real kubectl, which finds us on PATH."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [program_path("kubectl"), "placet", *arguments],
        cwd=team.folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def without_ids(decision: dict[str, Any]) -> dict[str, Any]:
    """What must be the same for the file and for the live object."""
    differ = {"file", "line", "message", "risk"}
    return {name: value for name, value in decision.items() if name not in differ}


def test_a_live_object_is_judged_as_its_manifest_is(plane: ControlPlane, team: Team) -> None:
    config = kubeconfig(plane, READER, team, namespace=NAMESPACE)
    live = json.loads(as_plugin(team, "plan", "deployment/llama", "-o", "json", expect=1, KUBECONFIG=config).stdout)
    file = json.loads(team.run("plan", "-f", "deploy.yaml", "-e", "production", "-o", "json", expect=1).stdout)
    assert live["environment"] == "production", "from the label of the namespace"
    (decision,) = live["decisions"]
    assert (decision["file"], decision["line"]) == (None, None)
    assert without_ids(decision) == without_ids(file["decisions"][0])
    assert decision["granted_roles"] == ["technical", "security"]
    # The API server was asked about autoscalers too: one thing less is assumed, and the risk is known better.
    assert len(live["assumptions"]) == len(file["assumptions"]) - 1
    assert decision["risk"]["score"] <= file["decisions"][0]["risk"]["score"]


def test_its_autoscaler_counts(plane: ControlPlane, team: Team) -> None:
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "llama", "namespace": NAMESPACE},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"},
            "minReplicas": 1,
            "maxReplicas": 300,
        },
    }
    asked = ("score", "deploy/llama", "-n", NAMESPACE, "-o", "json", "--kubeconfig", str(plane.kubeconfig_for(READER)))
    (before,) = json.loads(as_plugin(team, *asked).stdout)["scores"]
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(scaler))
    try:
        (after,) = json.loads(as_plugin(team, *asked).stdout)["scores"]
    finally:
        plane.kubectl("delete", "hpa", "llama", "-n", NAMESPACE)
    assert after["factors"]["deployment_scope"] > before["factors"]["deployment_scope"]


def test_digest_and_approvals_of_live_objects(plane: ControlPlane, team: Team) -> None:
    where = ("-n", NAMESPACE, "--kubeconfig", str(plane.kubeconfig_for(READER)))
    live = as_plugin(team, "digest", "deployments.apps/llama", *where).stdout
    assert live == team.run("digest", "-f", "deploy.yaml").stdout
    shown = as_plugin(team, "verify", "deployment/llama", *where).stdout
    assert "Deployment/llama  live" in shown
    assert shown.count("verified") == 2
    attested = as_plugin(team, "evidence", "verify", "deployment/llama", *where).stdout
    assert "parameters" in attested


def test_every_kind_can_be_read(plane: ControlPlane, team: Team) -> None:
    template: dict[str, Any] = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "registry.example.com/x:1"}]},
    }
    selector = {"matchLabels": {"app": "x"}}
    once = {**template, "spec": {**template["spec"], "restartPolicy": "Never"}}
    specs: dict[str, tuple[str, dict[str, Any]]] = {
        "Pod": ("v1", template["spec"]),
        "ReplicationController": ("v1", {"selector": {"app": "x"}, "template": template}),
        "ReplicaSet": ("apps/v1", {"selector": selector, "template": template}),
        "DaemonSet": ("apps/v1", {"selector": selector, "template": template}),
        "StatefulSet": ("apps/v1", {"selector": selector, "template": template, "serviceName": "x"}),
        "Job": ("batch/v1", {"template": once}),
        "CronJob": ("batch/v1", {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": once}}}),
    }
    for kind, (version, spec) in specs.items():
        manifest = {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": "every", "namespace": "plain"},
            "spec": spec,
        }
        plane.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    names = [f"{kind.lower()}s/every" for kind in specs]
    shown = as_plugin(
        team, "digest", *names, "-n", "plain", "-o", "json", "--kubeconfig", str(plane.kubeconfig_for(READER))
    )
    assert [one["workload"] for one in json.loads(shown.stdout)["workloads"]] == [f"{kind}/every" for kind in specs]


def test_a_custom_kind_can_be_read_in_a_version_that_its_entry_names(plane: ControlPlane, team: Team) -> None:
    definition = Path(__file__).parent / "crds" / "rollouts.argoproj.io.yaml"
    manifest = yaml.safe_load((ROOT / "tests" / "data" / "kinds" / "rollout.yaml").read_text(encoding="utf-8"))
    manifest["metadata"]["namespace"] = NAMESPACE
    name = manifest["metadata"]["name"]
    plane.kubectl("create", "-f", str(definition))
    plane.kubectl("wait", "--for=condition=Established", "crd/rollouts.argoproj.io", "--timeout=30s")
    created = json.dumps(manifest)
    assert poll_until(lambda: plane.kubectl("create", "-f", "-", stdin=created, check=False).returncode == 0, 30)
    admin = ("-n", NAMESPACE, "--kubeconfig", str(plane.kubeconfig_path()))
    for text in (f"rollout/{name}", f"rollouts.argoproj.io/{name}"):
        shown = json.loads(as_plugin(team, "digest", text, *admin, "-o", "json").stdout)["workloads"]
        assert [one["workload"] for one in shown] == [f"Rollout/{name}"]
    planned = as_plugin(team, "plan", f"rollout/{name}", *admin, expect=1)
    assert f"placet refuses Rollout/{name} in namespace {NAMESPACE} for production" in planned.stdout
    absent = as_plugin(team, "plan", "rollout/absent", *admin, expect=2)
    assert f"there is no Rollout/absent in namespace {NAMESPACE}" in absent.stderr
    other = as_plugin(team, "digest", "inferenceservice/x", *admin, expect=2)
    assert "there is no InferenceService/x" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("plan", "deployment/absent", "-n", NAMESPACE), "there is no Deployment/absent in namespace ml-serving"),
        (("plan", "job/every", "-n", "plain"), "the namespace plain has no label placet.dev/environment"),
        (("plan", "job/x", "-n", "nowhere"), "there is no namespace nowhere"),
        (("plan", "secret/x"), "'secret' is no kind of workload"),
        (("digest", "pod/x", "--context", "absent"), "has no context absent"),
        (("digest", "pod/x", "--context", "nowhere"), "the API server of the context nowhere can't be asked"),
        (("digest", "pod/A_B"), "there is no Pod/A_B"),
    ],
)
def test_what_can_not_be_read_is_one_clear_error(
    plane: ControlPlane, team: Team, arguments: tuple[str, ...], words: str
) -> None:
    done = as_plugin(team, *arguments, "--kubeconfig", kubeconfig(plane, READER, team, namespace="plain"), expect=2)
    assert words in done.stderr
    assert done.stdout == ""


def test_who_may_not_read_is_told_so(plane: ControlPlane, team: Team) -> None:
    stranger = ("--kubeconfig", str(plane.kubeconfig_for(STRANGER)))
    done = as_plugin(team, "digest", "deployment/llama", "-n", NAMESPACE, *stranger, expect=2)
    assert "you may not read Deployment/llama in namespace ml-serving (HTTP 403)" in done.stderr
    done = as_plugin(team, "plan", "deployment/llama", "-n", NAMESPACE, *stranger, expect=2)
    assert "you may not read namespace ml-serving" in done.stderr


def test_nothing_is_written_into_the_cluster(plane: ControlPlane, team: Team) -> None:
    version = ("get", "deployment", "llama", "-n", NAMESPACE, "-o", "jsonpath={.metadata.resourceVersion}")
    before = plane.kubectl(*version).stdout
    as_plugin(
        team, "plan", "deployment/llama", "-n", NAMESPACE, "--kubeconfig", str(plane.kubeconfig_for(READER)), expect=1
    )
    assert plane.kubectl(*version).stdout == before
