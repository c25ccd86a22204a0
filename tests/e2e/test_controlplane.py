"""The control plane of the tests is a real one: what it serves, who it sees, what its webhooks can do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import capture
from tests.e2e.apiclient import ControlPlaneError
from tests.e2e.controlplane import ControlPlane
from tests.e2e.processes import poll_until
from tests.e2e.reviewserver import ReviewServer

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
REFUSAL = "no approval of the role technical"


def deployment(name: str, image: str = "registry.example/model:1") -> str:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "model", "image": image}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})


def deny(_request: dict[str, Any]) -> dict[str, Any]:
    return {
        "allowed": False,
        "status": {"code": 403, "reason": "Forbidden", "message": REFUSAL},
        "auditAnnotations": {"log-index": "7"},
    }


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane(audit=True) as plane:
        yield plane


@pytest.fixture
def gate(control_plane: ControlPlane) -> Iterator[ReviewServer]:
    """A webhook that denies whatever enters a guarded namespace."""
    selector = {"matchLabels": {"placet.dev/environment": "production"}}
    if not control_plane.api.exists("/api/v1/namespaces/guarded"):
        control_plane.create_namespace("guarded", selector["matchLabels"])
    with ReviewServer(control_plane.serving_certificate(["127.0.0.1"]), deny) as server:
        authority = control_plane.authority.pem
        registration = control_plane.install_webhook("gate", server.url, authority, namespace_selector=selector)
        yield server
        registration.remove()


def test_serves_the_pinned_release(control_plane: ControlPlane) -> None:
    versions = json.loads(control_plane.kubectl("version", "-o", "json").stdout)
    assert versions["serverVersion"]["gitVersion"] == "v1.37.2"
    assert versions["clientVersion"]["gitVersion"] == "v1.37.2"


def test_accepts_a_deployment(control_plane: ControlPlane) -> None:
    control_plane.kubectl("apply", "-f", "-", stdin=deployment("accepted"))
    found = json.loads(control_plane.kubectl("get", "deployment", "accepted", "-o", "json").stdout)
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/model:1"


def test_accepts_a_pod_in_a_new_namespace(control_plane: ControlPlane) -> None:
    control_plane.create_namespace("fresh", {"team": "models"})
    ran = control_plane.kubectl("run", "model", "--image=registry.example/model:1", "--namespace=fresh")
    assert ran.stdout == "pod/model created\n"


def test_refuses_a_field_that_does_not_exist(control_plane: ControlPlane) -> None:
    manifest = deployment("typo").replace('"containers"', '"contaners"')
    ran = control_plane.kubectl("apply", "-f", "-", stdin=manifest, check=False)
    assert ran.returncode == 1
    assert "contaners" in ran.stderr


def test_a_webhook_refuses_in_its_namespaces_only(control_plane: ControlPlane, gate: ReviewServer) -> None:
    guarded = control_plane.kubectl("apply", "-n", "guarded", "-f", "-", stdin=deployment("refused"), check=False)
    assert guarded.returncode == 1
    assert f'admission webhook "gate.placet.dev" denied the request: {REFUSAL}' in guarded.stderr
    assert control_plane.kubectl("get", "deployments", "-n", "guarded", "-o", "name").stdout == ""
    control_plane.kubectl("apply", "-f", "-", stdin=deployment("elsewhere"))
    seen = [json.loads(raw)["request"]["name"] for raw in gate.reviews]
    assert "refused" in seen
    assert "elsewhere" not in seen


def test_a_removed_webhook_is_not_called(control_plane: ControlPlane) -> None:
    certificate = control_plane.serving_certificate(["127.0.0.1"])
    with ReviewServer(certificate, deny) as server:
        registration = control_plane.install_webhook("passing", server.url, certificate.ca_pem)
        assert control_plane.kubectl("create", "deployment", "later", "--image=x", check=False).returncode == 1
        registration.remove()
    control_plane.kubectl("create", "deployment", "later", "--image=x")


def test_a_webhook_that_does_not_answer_refuses_by_its_failure_policy(control_plane: ControlPlane) -> None:
    authority = control_plane.authority.pem
    registration = control_plane.install_webhook("absent", "https://127.0.0.1:1/", authority)
    ran = control_plane.kubectl("create", "deployment", "closed", "--image=x", check=False)
    registration.remove()
    assert ran.returncode == 1
    assert 'failed calling webhook "absent.placet.dev"' in ran.stderr
    registration = control_plane.install_webhook("absent", "https://127.0.0.1:1/", authority, failure_policy="Ignore")
    control_plane.kubectl("create", "deployment", "open", "--image=x")
    registration.remove()


def test_a_webhook_that_no_namespace_reaches_is_an_error(control_plane: ControlPlane) -> None:
    selector = {"matchLabels": {"placet.dev/environment": "nowhere"}}
    authority = control_plane.authority.pem
    with pytest.raises(ControlPlaneError, match="no namespace matches"):
        control_plane.install_webhook("gate", "https://127.0.0.1:1/", authority, namespace_selector=selector)


def test_users_are_seen_as_themselves(control_plane: ControlPlane, gate: ReviewServer) -> None:
    for user, group in (("alice", "developers"), ("bob", "operators")):
        control_plane.kubeconfig_for(user, [group])
        control_plane.grant(user)
        who = json.loads(control_plane.kubectl("auth", "whoami", "-o", "json", user=user).stdout)
        assert who["status"]["userInfo"]["username"] == user
        arguments = ("create", "deployment", f"of-{user}", "--image=x", "--namespace=guarded")
        assert REFUSAL in control_plane.kubectl(*arguments, user=user, check=False).stderr
    requests = [json.loads(raw)["request"] for raw in gate.reviews]
    users = {request["name"]: request["userInfo"] for request in requests}
    assert (users["of-alice"]["username"], users["of-bob"]["username"]) == ("alice", "bob")
    assert "developers" in users["of-alice"]["groups"]
    assert "developers" not in users["of-bob"]["groups"]


def test_a_user_without_a_role_may_nothing(control_plane: ControlPlane) -> None:
    control_plane.kubeconfig_for("mallory")
    ran = control_plane.kubectl("create", "deployment", "hers", "--image=x", user="mallory", check=False)
    assert ran.returncode == 1
    assert 'User "mallory" cannot create resource "deployments"' in ran.stderr


@pytest.mark.usefixtures("gate")
def test_the_audit_log_has_the_annotations_of_the_webhook(control_plane: ControlPlane) -> None:
    control_plane.kubectl("create", "deployment", "audited", "--image=x", "-n", "guarded", check=False)
    event = control_plane.wait_for_audit_event(lambda event: event["objectRef"].get("name") == "audited")
    assert event["level"] == "Metadata"
    assert event["annotations"]["gate.placet.dev/log-index"] == "7"
    assert event["responseStatus"]["code"] == 403


def test_the_api_server_shows_its_client_certificate_and_controllers_make_pods(tmp_path: Path) -> None:
    manifest = tmp_path / "deployment.json"
    manifest.write_text(deployment("served"), encoding="utf-8")
    with ControlPlane(webhook_client="api-server", controllers=True) as plane:
        certificate = plane.serving_certificate(["127.0.0.1"])
        with ReviewServer(certificate, client_ca=certificate.ca_pem) as server:
            plane.install_webhook("mutual", server.url, certificate.ca_pem)
            plane.kubectl("apply", "-f", str(manifest))
            capture.wait_for_controllers(plane)
            requests = [json.loads(raw)["request"] for raw in server.reviews]
    users = {request["kind"]["kind"]: request["userInfo"]["username"] for request in requests}
    assert users["Deployment"] == "admin"
    assert users["ReplicaSet"] == "system:serviceaccount:kube-system:deployment-controller"
    assert users["Pod"] == "system:serviceaccount:kube-system:replicaset-controller"


def test_captures_reviews_byte_for_byte(tmp_path: Path) -> None:
    manifest = tmp_path / "deployment.json"
    manifest.write_text(deployment("served").replace('"name": "served"', '"name": "served", "namespace": "models"', 1))
    output = tmp_path / "reviews"
    operations = [word for name in capture.OPERATIONS for word in ("--operation", name)]
    assert capture.main(["-f", str(manifest), "-o", str(output), "--user", "alice", *operations]) == 0
    stems = (
        "deployment-served-create-dry-run",
        "deployment-served-create",
        "deployment-served-update",
        "deployments-scale-served-update",
        "deployment-served-delete",
    )
    expected = sorted(f"{stem}.{form}" for stem in stems for form in ("json", "pretty.json"))
    assert sorted(path.name for path in output.iterdir()) == expected
    raw = (output / "deployment-served-update.json").read_bytes()
    review = json.loads(raw)
    assert json.dumps(review, separators=(",", ":"), ensure_ascii=False).encode() == raw.strip()
    assert json.loads((output / "deployment-served-update.pretty.json").read_bytes()) == review
    assert review["request"]["userInfo"]["username"] == "alice"
    assert review["request"]["oldObject"]["metadata"]["uid"] == review["request"]["object"]["metadata"]["uid"]


def test_leaves_nothing_behind_when_its_process_is_killed(tmp_path: Path) -> None:
    script = (
        "import json, time\n"
        "from tests.e2e.controlplane import ControlPlane\n"
        "with ControlPlane() as plane:\n"
        "    print(json.dumps([process.pid for process in plane._processes] + [str(plane.folder)]), flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        *pids, folder = json.loads(owner.stdout.readline())
        owner.send_signal(signal.SIGKILL)
    assert len(pids) == 2
    assert Path(folder).parent == tmp_path
    assert poll_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 10)
