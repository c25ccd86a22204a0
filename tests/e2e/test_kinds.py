"""Custom resources on a real API server: refused unapproved, admitted approved, refused after a governed change.

The schemas are ours; ``make e2e CRDS=folder`` takes those of the projects from a folder instead, where it has them.
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
from tests.e2e.controlplane import ControlPlane
from tests.e2e.gateprocess import Team
from tests.e2e.processes import poll_until
from tests.e2e.registration import registry_rules, workload_rules
from tests.simulators.kinds import CASES, KINDS, Case, Json, changed

NAMESPACE = "ml-serving"
OURS = Path(__file__).parent / "crds"
IN_FORCE_S = 30.0
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
    with ControlPlane() as plane:
        plane.create_namespace(NAMESPACE, {"placet.dev/environment": "production"})
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
    team.configure({"policy": {"data": "lax.yaml"}})
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
