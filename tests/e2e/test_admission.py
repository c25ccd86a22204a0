"""The whole way on a real kube-apiserver: refused, planned, approved, admitted, changed, revoked, proved."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.controlplane import ControlPlane
from tests.e2e.gateprocess import Team
from tests.policies.programs import running_opa

EXAMPLE = Path(__file__).parents[2] / "manifests" / "examples" / "llama-deployment.yaml"
NAMESPACE = "ml-serving"
DEPLOYER = "dora@example.com"
# That both engines give the same decisions is held by tests/policies; here, that each has its place in the whole way.
BOTH_ENGINES = pytest.mark.parametrize("team", ["embedded", "opa"], indirect=True)


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane(audit=True) as plane:
        plane.create_namespace(NAMESPACE, {"placet.dev/environment": "production"})
        plane.kubeconfig_for(DEPLOYER, ["developers"])
        plane.grant(DEPLOYER, "edit")
        yield plane


@pytest.fixture
def team(request: pytest.FixtureRequest, tmp_path: Path, control_plane: ControlPlane) -> Iterator[Team]:
    """A team behind a running gate, which judges by itself unless a test asks for OPA too."""
    team = Team.found(tmp_path)
    shutil.copyfile(EXAMPLE, tmp_path / "deploy.yaml")
    certificate = control_plane.serving_certificate(["127.0.0.1"])
    with contextlib.ExitStack() as stack:
        if getattr(request, "param", "embedded") == "opa":
            team.configure({"policy": {"engine": "opa", "opa_url": stack.enter_context(running_opa())}})
        with team.webhook(certificate) as url:
            registration = control_plane.install_webhook(
                "gate",
                url,
                certificate.ca_pem,
                namespace_selector={"matchLabels": {"placet.dev/environment": "production"}},
            )
            try:
                yield team
            finally:
                registration.remove()
                control_plane.kubectl("delete", "deployment", "--all", "-n", NAMESPACE, "--wait=true")


def apply(plane: ControlPlane, team: Team, *, name: str = "deploy.yaml", user: str = DEPLOYER, **options: Any) -> Any:
    return plane.kubectl("apply", "-f", str(team.folder / name), *options.pop("more", ()), user=user, check=False)


def edit(team: Team, change: Any, *, name: str = "deploy.yaml") -> None:
    file = team.folder / name
    manifest = yaml.safe_load(file.read_text(encoding="utf-8"))
    change(manifest)
    file.write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")


def without_decision(text: str) -> str:
    """The refusal without its last line, which names the decision."""
    return text[text.index("placet refuses") : text.index("\ndecision ")]


def decisions(team: Team) -> list[dict[str, Any]]:
    """Bodies of the decisions in the record with their index, oldest first."""
    listed = json.loads(team.run("audit", "list", "--store", "record.sqlite", "-o", "json").stdout)
    return [{**found["record"], "index": found["index"]} for found in reversed(listed["records"])]


def verify_record(team: Team) -> None:
    key = (team.folder / "keys" / "log.vkey").read_text(encoding="utf-8").strip()
    team.run("audit", "verify", "--store", "record.sqlite", "--log-key", key)


@BOTH_ENGINES
def test_refused_planned_approved_admitted_changed_and_proved(control_plane: ControlPlane, team: Team) -> None:
    team.attest("deploy.yaml")
    refused = apply(control_plane, team)
    assert refused.returncode == 1
    planned = team.run("plan", "-f", "deploy.yaml", "-e", "production", "--as", DEPLOYER, expect=1)
    assert without_decision(refused.stderr) == without_decision(planned.stdout)
    assert "approvals.required: no valid security approval" in refused.stderr
    assert (
        "placet approve -f MANIFEST --namespace ml-serving --environment production --role security" in refused.stderr
    )

    team.approve("deploy.yaml", "technical", "security")
    two = apply(control_plane, team)
    assert "no valid business approval" in two.stderr
    assert "no valid security approval" not in two.stderr

    team.approve("deploy.yaml", "business")
    team.run("plan", "-f", "deploy.yaml", "-e", "production", "--as", DEPLOYER)
    admitted = apply(control_plane, team)
    assert admitted.returncode == 0, admitted.stderr
    assert "created" in admitted.stdout

    edit(team, lambda manifest: manifest["metadata"]["labels"].update(team="serving"))
    edit(team, lambda manifest: manifest["spec"]["template"]["spec"].update(terminationGracePeriodSeconds=61))
    assert apply(control_plane, team).returncode == 0

    edit(
        team,
        lambda manifest: manifest["spec"]["template"]["spec"]["containers"][0]["args"].append("--trust-remote-code"),
    )
    changed = apply(control_plane, team)
    assert changed.returncode == 1
    assert "projection_differs" in changed.stderr

    verify_record(team)
    assert [item["allowed"] for item in decisions(team)] == [False, False, True, True, False]


GOVERNED: dict[str, Any] = {
    "image": lambda pod: pod["containers"][0].update(image="registry.example.com/other@sha256:" + "0" * 64),
    "command": lambda pod: pod["containers"][0].update(command=["/bin/sh"]),
    "env": lambda pod: pod["containers"][0]["env"].append({"name": "HF_HOME", "value": "/tmp"}),  # noqa: S108
    "sidecar": lambda pod: pod["containers"].append({"name": "helper", "image": "busybox@sha256:" + "1" * 64}),
    "init": lambda pod: pod.update(initContainers=[{"name": "fetch", "image": "busybox@sha256:" + "1" * 64}]),
    "volume": lambda pod: pod["volumes"][0]["persistentVolumeClaim"].update(claimName="other-weights"),
    "identity": lambda pod: pod.update(serviceAccountName="default"),
    "privilege": lambda pod: pod["containers"][0]["securityContext"].update(allowPrivilegeEscalation=True),
    "host": lambda pod: pod.update(hostNetwork=True),
    "probe": lambda pod: pod["containers"][0].update(livenessProbe={"exec": {"command": ["curl", "evil"]}}),
    "dns": lambda pod: pod.update(dnsPolicy="None", dnsConfig={"nameservers": ["10.0.0.1"]}),
}
UNGOVERNED: dict[str, Any] = {
    "grace": lambda pod: pod.update(terminationGracePeriodSeconds=61),
    "memory": lambda pod: pod["containers"][0]["resources"]["limits"].update(memory="321Gi"),
    "probe timing": lambda pod: pod["containers"][0]["readinessProbe"].update(periodSeconds=7),
    "pull policy": lambda pod: pod["containers"][0].update(imagePullPolicy="Always"),
    "node": lambda pod: pod.update(nodeSelector={"gpu": "h100"}),
    "port": lambda pod: pod["containers"][0]["ports"][0].update(containerPort=8001),
}


def test_any_governed_change_is_refused_and_an_ungoverned_one_admitted(control_plane: ControlPlane, team: Team) -> None:
    team.attest("deploy.yaml")
    team.approve("deploy.yaml", "technical", "security", "business")
    assert apply(control_plane, team).returncode == 0
    approved = (team.folder / "deploy.yaml").read_text(encoding="utf-8")
    for name, change in {**GOVERNED, **UNGOVERNED}.items():
        (team.folder / "changed.yaml").write_text(approved, encoding="utf-8")
        edit(team, lambda manifest, change=change: change(manifest["spec"]["template"]["spec"]), name="changed.yaml")
        answer = apply(control_plane, team, name="changed.yaml")
        if name in GOVERNED:
            assert "projection_differs" in answer.stderr, name
        else:
            assert answer.returncode == 0, (name, answer.stderr)


def test_a_replica_ceiling_of_an_autoscaler_counts(control_plane: ControlPlane, team: Team) -> None:
    team.attest("deploy.yaml")
    kubeconfig = control_plane.kubeconfig_for("placet-gate", ["gates"])
    control_plane.grant("placet-gate", "view")
    asked = ("plan", "-f", "deploy.yaml", "-e", "production", "--kubeconfig", str(kubeconfig), "-o", "json")
    few = json.loads(team.run(*asked, expect=1).stdout)["decisions"][0]["risk"]["factors"]["deployment_scope"]
    control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(AUTOSCALER))
    try:
        many = json.loads(team.run(*asked, expect=1).stdout)["decisions"][0]["risk"]["factors"]["deployment_scope"]
    finally:
        control_plane.kubectl("delete", "hpa", "llama", "-n", NAMESPACE)
    assert (few, many) == (6, 8)


AUTOSCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "llama", "namespace": NAMESPACE},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"},
        "minReplicas": 1,
        "maxReplicas": 20,
    },
}


@BOTH_ENGINES
def test_a_revoked_approval_refuses_even_an_unchanged_workload(control_plane: ControlPlane, team: Team) -> None:
    team.attest("deploy.yaml")
    team.approve("deploy.yaml", "technical", "security", "business")
    assert apply(control_plane, team).returncode == 0
    (admitted,) = decisions(team)
    security = next(item for item in admitted["approvals"] if item["role"] == "security")
    team.run("revoke", security["approval_id"], "--role", "security", "-e", "production",
             "--key", "keys/sam.key", "--out", "revocations/")  # fmt: skip
    edit(team, lambda manifest: manifest["metadata"]["labels"].update(touched="yes"))
    refused = apply(control_plane, team)
    assert refused.returncode == 1
    assert "revoked" in refused.stderr


def test_an_approver_who_applies_is_not_their_own_approver(control_plane: ControlPlane, team: Team) -> None:
    team.attest("deploy.yaml")
    team.approve("deploy.yaml", "technical", "security", "business")
    control_plane.kubeconfig_for("sam@example.com", ["developers"])
    control_plane.grant("sam@example.com", "edit")
    refused = apply(control_plane, team, user="sam@example.com")
    assert refused.returncode == 1
    assert "self_approval" in refused.stderr


JOB = """\
apiVersion: batch/v1
kind: Job
metadata:
  generateName: evaluate-
  namespace: ml-serving
  labels: {placet.dev/model: llama-3.1-70b}
  annotations:
    placet.dev/model-version: "1.4.0"
    placet.dev/model-digest: sha256:3f1d6a0c9c1be55d7e2ad0c2f6a9e5b7d4c8f0a1b2c3d4e5f60718293a4b5c6d
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: evaluate
          image: registry.example.com/evaluate@sha256:8c1f0d7a5b3e4c2d9f6a7b8c1d2e3f405162738495a6b7c8d9e0f1a2b3c4d5e6
"""


def test_a_job_whose_name_the_api_server_makes_can_be_approved(control_plane: ControlPlane, team: Team) -> None:
    (team.folder / "job.yaml").write_text(JOB, encoding="utf-8")
    create = ("create", "-f", str(team.folder / "job.yaml"))
    refused = control_plane.kubectl(*create, user=DEPLOYER, check=False)
    assert "no valid technical approval" in refused.stderr
    team.approve("job.yaml", "technical", "security", "business", "executive")
    try:
        admitted = control_plane.kubectl(*create, user=DEPLOYER, check=False)
        assert admitted.returncode == 0, admitted.stderr
    finally:
        control_plane.kubectl("delete", "job", "--all", "-n", NAMESPACE)
    assert decisions(team)[-1]["name"].startswith("evaluate-")
    assert decisions(team)[-1]["generated"] is True


@BOTH_ENGINES
def test_a_dry_run_is_answered_and_leaves_no_record(control_plane: ControlPlane, team: Team) -> None:
    before = len(decisions(team))
    refused = apply(control_plane, team, more=("--dry-run=server",))
    assert refused.returncode == 1
    assert "not in the record" in refused.stderr
    assert len(decisions(team)) == before


def test_the_api_servers_own_log_names_the_record(control_plane: ControlPlane, team: Team) -> None:
    apply(control_plane, team)
    newest = decisions(team)[-1]

    def names_it(event: dict[str, Any]) -> bool:
        annotations = event.get("annotations", {})
        return any(
            key.endswith("/decision-id") and value == newest["decision_id"] for key, value in annotations.items()
        )

    event = control_plane.wait_for_audit_event(names_it)
    found = {key.rpartition("/")[2]: value for key, value in event["annotations"].items()}
    assert found["log-index"] == str(newest["index"])
    assert found["leaf-hash"].startswith("sha256:")


def test_a_malformed_annotation_names_the_role_and_the_fault(control_plane: ControlPlane, team: Team) -> None:
    edit(team, lambda manifest: manifest["metadata"]["annotations"].update({"placet.dev/approval.security": "%%%"}))
    refused = apply(control_plane, team)
    assert refused.returncode == 1
    assert "security approval on it does not count" in refused.stderr
    assert "envelope_malformed" in refused.stderr
    assert "Traceback" not in refused.stderr
