"""``placet plan`` and the webhook come to the same decision in the same words."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from placet.canonical import Digest
from placet.decide import Deadline
from placet.messages import render_refusal, render_warnings
from placet.review import AdmissionRequest, GroupVersionKind
from tests.simulators.gate import GateDesk, example, review
from webhook.app import create_app
from webhook.gates import Gates
from webhook.readiness import Report

ROLES = ("technical", "security", "business", "executive")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GateDesk]:
    opened = GateDesk.open(tmp_path_factory.mktemp("gate"))
    yield opened
    opened.log.close()


@pytest.fixture(scope="module")
def client(desk: GateDesk) -> FlaskClient:
    return create_app(Gates(desk.gate), ready=lambda _server: Report()).test_client()


@st.composite
def situations(draw: st.DrawFn) -> dict[str, Any]:
    """What may differ between two deployments of the example."""
    return {
        "roles": draw(st.lists(st.sampled_from(ROLES), unique=True)),
        "environment": draw(st.sampled_from(["production", "staging", "development", "elsewhere"])),
        "replicas": draw(st.sampled_from([0, 1, 4, 11])),
        "image": draw(st.sampled_from([None, "nginx:1.25", "nginx@sha256:bad", "x" * 600])),
        "model": draw(st.sampled_from(["llama-3.1-70b", None])),
        "arg_after": draw(st.booleans()),
        "garbage": draw(st.sampled_from([None, "%%%", "e30=", ""])),
        "containers": draw(st.sampled_from([1, 1, 1, 0])),
    }


def build(desk: GateDesk, situation: dict[str, Any]) -> dict[str, Any]:
    manifest = example()
    manifest["spec"]["replicas"] = situation["replicas"]
    if situation["model"] is None:
        del manifest["metadata"]["labels"]["placet.dev/model"]
    else:
        terms = {"environment": situation["environment"]}
        manifest = desk.approve(manifest, *situation["roles"], **terms)
    containers = manifest["spec"]["template"]["spec"]["containers"]
    if situation["image"] is not None:
        containers[0]["image"] = situation["image"]
    if situation["arg_after"]:
        containers[0]["args"].append("--later")
    if situation["garbage"] is not None:
        manifest["metadata"].setdefault("annotations", {})["placet.dev/approval.security"] = situation["garbage"]
    if situation["containers"] == 0:
        containers.clear()
    return manifest


def plan(desk: GateDesk, manifest: dict[str, Any], environment: str) -> tuple[bool, str, tuple[str, ...]]:
    """What ``placet plan --record`` decides."""
    metadata = manifest["metadata"]
    request = AdmissionRequest(
        uid="planned",
        kind=GroupVersionKind("apps", "v1", "Deployment"),
        subresource="",
        operation="CREATE",
        name=metadata["name"],
        namespace=metadata["namespace"],
        username="deployer@example.org",
        groups=(),
        object=copy.deepcopy(manifest),
        old_object=None,
        dry_run=True,
        digest=Digest.of(b""),
    )
    decision = desk.planner(history=desk.history).decide(request, environment=environment, deadline=Deadline(10))
    return decision.allowed, render_refusal(decision), render_warnings(decision)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(situation=situations())
def test_plan_and_webhook_give_the_same_decision_and_text(
    desk: GateDesk, client: FlaskClient, situation: dict[str, Any]
) -> None:
    manifest = build(desk, situation)
    environment = situation["environment"]
    planned = plan(desk, manifest, environment)
    answer = client.post(f"/v1/admit/{environment}", data=json.dumps(review(manifest)), content_type="application/json")
    assert answer.status_code == 200
    response = answer.get_json()["response"]
    message = response.get("status", {}).get("message", "")
    refusal, _, _ = message.rpartition("\n")
    assert (response["allowed"], refusal, tuple(response.get("warnings", ()))) == planned


def test_both_outcomes_were_among_what_was_compared(desk: GateDesk) -> None:
    manifest = desk.approve(example(), *ROLES)
    assert plan(desk, manifest, "production")[0]
    assert not plan(desk, example(), "production")[0]
