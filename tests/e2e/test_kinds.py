"""Custom resources on a real API server: refused unapproved, admitted approved, refused after a governed change.

The schemas are ours; ``make e2e CRDS=folder`` takes those of the projects from a folder instead, where it has them.
Their controllers are played by an account of theirs; those that are built into Kubernetes are real.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml

from placet.projection import CustomKind, explain_difference, project
from tests.e2e.apiclient import ControlPlaneError
from tests.e2e.clusterlife import GATE, GATE_ROLE
from tests.e2e.controlplane import ControlPlane
from tests.e2e.gateprocess import Team
from tests.e2e.processes import poll_until
from tests.e2e.registration import registry_rules, workload_rules
from tests.simulators.controllers import job_of, leaders_of, replica_set_of, workers_of
from tests.simulators.kinds import CASES, KINDS, OTHER_IMAGE, Case, Json, changed

NAMESPACE = "ml-serving"
OURS = Path(__file__).parent / "crds"
IN_FORCE_S = 30.0
CONTROLLER = "system:serviceaccount:operators:controller"
# One signature is enough here: what is tested is which content it holds for.
DATA = {
    "environments": {"production": {"approvals": ["technical"]}},
    "risk_approvals": {level: ["technical"] for level in ("low", "medium", "high", "critical")},
}


def entry(case: Case) -> CustomKind:
    kind = KINDS.find(case.load())
    assert isinstance(kind, CustomKind)
    return kind


@pytest.fixture(scope="module")
def control_plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    given: str | None = request.config.getoption("--crds")
    with ControlPlane(controllers=True) as plane:
        plane.create_namespace(NAMESPACE, {"placet.dev/environment": "production"})
        asked = ["rollouts", "jobsets", "leaderworkersets", "models", "pods"]
        rule = {"resources": asked, "verbs": ["get"], "apiGroups": ["*"]}
        plane.kubectl("apply", "-f", "-", stdin=json.dumps({**GATE_ROLE, "rules": [*GATE_ROLE["rules"], rule]}))
        plane.kubectl("create", "clusterrolebinding", GATE, "--clusterrole=placet-lookups", f"--user={GATE}")
        plane.kubeconfig_for(GATE)
        plane.kubeconfig_for(CONTROLLER)
        plane.grant(CONTROLLER, "cluster-admin")
        for kind in {kind.key: kind for kind in map(entry, CASES)}.values():
            name = f"{kind.resource}.{kind.group}.yaml"
            theirs = Path(given, name) if given is not None else OURS / name
            plane.kubectl("create", "-f", str(theirs if theirs.is_file() else OURS / name))
        for case in CASES:
            assert poll_until(functools.partial(is_served, plane, case), IN_FORCE_S), case.name
        yield plane


def is_served(plane: ControlPlane, case: Case) -> bool:
    with contextlib.suppress(ControlPlaneError):
        return bool(plane.api.get(collection(case.load())))
    return False


def collection(obj: Json) -> str:
    kind = KINDS.find(obj)
    assert isinstance(kind, CustomKind)
    return f"/apis/{obj['apiVersion']}/namespaces/{NAMESPACE}/{kind.resource}"


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, control_plane: ControlPlane) -> Iterator[Team]:
    team = Team.found(tmp_path_factory.mktemp("team"))
    (team.folder / "lax.yaml").write_text(yaml.safe_dump(DATA), encoding="utf-8")
    kubeconfig = str(control_plane.kubeconfig_path(GATE))
    team.configure({"policy": {"data": "lax.yaml"}, "parents": "lookup", "kubeconfig": kubeconfig})
    certificate = control_plane.serving_certificate(["127.0.0.1"])
    with team.webhook(certificate) as url:
        registration = control_plane.install_webhook(
            "gate",
            url,
            certificate.ca_pem,
            rules=[*workload_rules(), *registry_rules()],
            namespace_selector={"matchLabels": {"placet.dev/environment": "production"}},
        )
        try:
            yield team
        finally:
            registration.remove()


def send(plane: ControlPlane, method: str, path: str, obj: Json | None = None) -> tuple[int, Any]:
    status, body = plane.api.request(method, path, obj)
    return status, json.loads(body)


def is_immutable(status: int, answer: Any) -> bool:
    return status == HTTPStatus.UNPROCESSABLE_ENTITY and "immutable" in answer["message"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused_unapproved_admitted_approved_refused_changed(
    control_plane: ControlPlane, team: Team, case: Case
) -> None:
    file = team.folder / f"{case.name}.yaml"
    file.write_text(yaml.safe_dump(case.load(), sort_keys=False), encoding="utf-8")
    path = collection(case.load())
    status, refused = send(control_plane, "POST", path, case.load())
    assert status == HTTPStatus.FORBIDDEN, refused
    assert "no valid technical approval" in refused["message"]

    team.approve(file.name, "technical")
    approved: Json = yaml.safe_load(file.read_text(encoding="utf-8"))
    status, live = send(control_plane, "POST", path, approved)
    assert status == HTTPStatus.CREATED, live["message"]
    one = f"{path}/{live['metadata']['name']}"
    try:
        written, held = project(approved, kinds=KINDS), project(live, kinds=KINDS)
        assert explain_difference(written.canonical, held.canonical) == ()
        refusals = 0
        for change in case.governed:
            status, answer = send(control_plane, "PUT", one, changed(live, change))
            if is_immutable(status, answer):  # a new object of this name is asked about before it is found to be there
                status, answer = send(control_plane, "POST", path, changed(approved, change))
            # A schema of the project's own may refuse the change before anybody is asked.
            by_schema = status == HTTPStatus.UNPROCESSABLE_ENTITY
            assert by_schema or "projection_differs" in answer.get("message", ""), (change, status, answer)
            refusals += not by_schema
        assert refusals
        for change in case.ungoverned:
            status, answer = send(control_plane, "PUT", one, changed(live, change))
            if is_immutable(status, answer):
                send(control_plane, "DELETE", one)
                status, answer = send(control_plane, "POST", path, changed(approved, change))
            assert status in {HTTPStatus.OK, HTTPStatus.CREATED}, (change, answer.get("message"))
            live = answer
    finally:
        control_plane.api.request("DELETE", one)


def test_a_version_that_the_registry_does_not_know_is_refused(control_plane: ControlPlane, team: Team) -> None:
    crd = yaml.safe_load((OURS / "models.mlops.seldon.io.yaml").read_text(encoding="utf-8"))
    stored = control_plane.api.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}")
    stored["spec"]["versions"].append({**stored["spec"]["versions"][0], "name": "v9", "storage": False})
    control_plane.api.replace(
        f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}", stored
    )
    case = next(case for case in CASES if case.name == "seldon-model")
    path = f"/apis/mlops.seldon.io/v9/namespaces/{NAMESPACE}/models"
    poll_until(lambda: control_plane.api.request("GET", path)[0] == HTTPStatus.OK, IN_FORCE_S)
    status, answer = send(control_plane, "POST", path, {**case.load(), "apiVersion": "mlops.seldon.io/v9"})
    assert status == HTTPStatus.FORBIDDEN
    assert "mlops.seldon.io/v1alpha1" in answer["message"]
    assert team.process is not None


def admit(plane: ControlPlane, team: Team, name: str) -> Json:
    """An approved object of a kind, as it is stored."""
    case = next(case for case in CASES if case.name == name)
    file = team.folder / f"{name}-with-children.yaml"
    file.write_text(yaml.safe_dump(case.load(), sort_keys=False), encoding="utf-8")
    team.approve(file.name, "technical")
    status, live = send(plane, "POST", collection(case.load()), yaml.safe_load(file.read_text(encoding="utf-8")))
    assert status == HTTPStatus.CREATED, live["message"]
    found: Json = live
    return found


@contextlib.contextmanager
def admitted(plane: ControlPlane, team: Team, name: str) -> Iterator[Json]:
    live = admit(plane, team, name)
    try:
        yield live
    finally:
        send(plane, "DELETE", f"{collection(live)}/llama?propagationPolicy=Foreground")
        assert poll_until(lambda: not find_pods(plane) and not is_there(plane, live), IN_FORCE_S)


def is_there(plane: ControlPlane, obj: Json) -> bool:
    return plane.api.request("GET", f"{collection(obj)}/llama")[0] == HTTPStatus.OK


def find_pods(plane: ControlPlane) -> list[str]:
    return sorted(one["metadata"]["name"] for one in plane.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"])


def make(plane: ControlPlane, obj: Json, *, refused: str = "") -> None:
    """What a controller does with its own account; with a code, it must be refused with it."""
    done = plane.kubectl("create", "-f", "-", stdin=json.dumps(obj), user=CONTROLLER, check=False)
    assert (done.returncode == 0) == (not refused), done.stderr
    assert refused in done.stderr


def test_a_rollout_gets_its_replica_set_and_real_pods_and_a_forged_one_gets_none(
    control_plane: ControlPlane, team: Team
) -> None:
    with admitted(control_plane, team, "rollout") as live:
        honest = replica_set_of(live)
        image = "spec.template.spec.containers[0].image"
        make(control_plane, changed(honest, (image, OTHER_IMAGE)), refused="gate.origin/parent_unapproved")
        uid = {**honest["metadata"]["ownerReferences"][0], "uid": "00000000-0000-0000-0000-000000000000"}
        forged = changed(honest, ("metadata.ownerReferences", [uid]))
        make(control_plane, forged, refused="gate.origin/parent_replaced")
        make(control_plane, changed(honest, ("spec.replicas", 4)), refused="gate.origin/parent_exceeded")
        assert find_pods(control_plane) == []
        make(control_plane, honest)
        assert poll_until(lambda: len(find_pods(control_plane)) == 2, IN_FORCE_S)
        grown = control_plane.kubectl(
            "scale", "-n", NAMESPACE, "replicaset/llama-6c4f", "--replicas=9", user=CONTROLLER, check=False
        )
        assert "gate.origin/parent_exceeded" in grown.stderr


def test_a_job_set_gets_its_jobs_and_real_pods(control_plane: ControlPlane, team: Team) -> None:
    with admitted(control_plane, team, "jobset") as live:
        honest = job_of(live)
        image = "spec.template.spec.containers[0].image"
        make(control_plane, changed(honest, (image, OTHER_IMAGE)), refused="gate.origin/content_differs")
        wide = changed(changed(honest, ("spec.completions", 3)), ("spec.parallelism", 3))
        make(control_plane, wide, refused="gate.origin/parent_exceeded")
        make(control_plane, honest)
        assert poll_until(lambda: len(find_pods(control_plane)) == 2, IN_FORCE_S)


def test_a_leader_worker_set_gets_leaders_and_each_leader_its_workers(control_plane: ControlPlane, team: Team) -> None:
    with admitted(control_plane, team, "leaderworkerset") as live:
        make(control_plane, leaders_of(live))
        assert poll_until(lambda: find_pods(control_plane) == ["llama-0", "llama-1"], IN_FORCE_S)
        leader = {
            "apiVersion": "v1",
            "kind": "Pod",
            **control_plane.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods/llama-1"),
        }
        honest = workers_of(live, leader)
        image = "spec.template.spec.containers[0].image"
        make(control_plane, changed(honest, (image, OTHER_IMAGE)), refused="gate.origin/parent_unapproved")
        make(control_plane, changed(honest, ("spec.replicas", 2)), refused="gate.origin/parent_exceeded")
        make(control_plane, honest)
        assert poll_until(lambda: find_pods(control_plane) == ["llama-0", "llama-1", "llama-1-1"], IN_FORCE_S)


@pytest.mark.parametrize("name", ["rollout", "leaderworkerset", "kubeai-model"])  # the last has no replicas yet
def test_a_scale_of_a_custom_resource_is_judged(control_plane: ControlPlane, team: Team, name: str) -> None:
    with admitted(control_plane, team, name) as live:
        one = f"{entry(next(case for case in CASES if case.name == name)).resource}.{live['apiVersion'].split('/')[0]}"
        before = control_plane.api.webhook_calls("gate.placet.dev")
        control_plane.kubectl("scale", "-n", NAMESPACE, f"{one}/llama", "--replicas=3")
        assert control_plane.api.webhook_calls("gate.placet.dev") > before
        assert control_plane.api.get(f"{collection(live)}/llama")["spec"]["replicas"] == 3
