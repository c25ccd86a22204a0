"""HTTP: what is not a review gets a 4xx and no decision; every review gets 200 and its uid."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from placet.errors import ReviewError
from placet.namespaces import LABEL
from tests.simulators.gate import GateDesk, example, namespace_review, review
from webhook import admission
from webhook.app import GUARD_PATH, budget_s, create_app
from webhook.gates import Gates
from webhook.readiness import Finding, Report
from webhook.settings import HttpSettings

PATH = "/v1/admit/production"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GateDesk]:
    opened = GateDesk.open(tmp_path_factory.mktemp("gate"))
    yield opened
    opened.log.close()


@pytest.fixture
def client(desk: GateDesk) -> FlaskClient:
    settings = HttpSettings(max_body_bytes=100_000)
    return create_app(Gates(desk.gate), ready=lambda _server: Report(), settings=settings).test_client()


def body() -> bytes:
    return json.dumps(review(example())).encode()


def test_a_review_is_answered_with_its_uid_and_version(client: FlaskClient) -> None:
    asked = review(example())
    answer = client.post(PATH, data=json.dumps(asked), content_type="application/json")
    assert answer.status_code == 200
    assert answer.get_json()["apiVersion"] == "admission.k8s.io/v1"
    assert answer.get_json()["kind"] == "AdmissionReview"
    response = answer.get_json()["response"]
    assert response["uid"] == asked["request"]["uid"]
    assert response["allowed"] is False
    assert (response["status"]["code"], response["status"]["reason"]) == (403, "Forbidden")
    assert {cause["reason"] for cause in response["status"]["details"]["causes"]} >= {"approvals.required/role_missing"}
    assert all("/" not in key for key in response["auditAnnotations"])


def test_warnings_are_short_and_few(desk: GateDesk, client: FlaskClient) -> None:
    manifest = desk.approve(example(), "technical", "security", "business", "executive")
    answer = client.post(PATH, data=json.dumps(review(manifest)), content_type="application/json").get_json()[
        "response"
    ]
    assert answer["allowed"] is True
    assert 0 < len(answer["warnings"]) <= 8
    assert all(len(warning) <= 120 for warning in answer["warnings"])


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"data": body(), "content_type": "text/plain"}, 415, "review_content_type"),
        ({"data": body(), "content_type": ""}, 415, "review_content_type"),
        ({"data": b"", "content_type": "application/json"}, 411, "review_length_required"),
        ({"data": b"[", "content_type": "application/json"}, 400, "review_not_json"),
        ({"data": b"{}", "content_type": "application/json"}, 400, "review_version"),
        ({"data": b"\xff\xfe", "content_type": "application/json"}, 400, "review_not_utf8"),
        ({"data": b" " * 100_001, "content_type": "application/json"}, 413, "review_too_large"),
        ({"data": body(), "content_type": "application/json", "query_string": "timeout=soon"}, 400, "review_timeout"),
        ({"data": body(), "content_type": "application/json", "query_string": "timeout="}, 400, "review_timeout"),
    ],
)
def test_what_is_no_review_gets_4xx_and_no_record(
    desk: GateDesk, client: FlaskClient, options: dict[str, Any], status: int, code: str
) -> None:
    before = desk.log.size()
    answer = client.post(PATH, **options)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    assert desk.log.size() == before


def test_a_body_without_a_length_is_411(client: FlaskClient) -> None:
    answer = client.post(
        PATH,
        input_stream=io.BytesIO(body()),
        content_type="application/json",
        headers={"Transfer-Encoding": "chunked"},
    )
    assert answer.status_code == 411


@pytest.mark.parametrize("length", ["-1", "+5", "1_0", " 5", "five", "\u0665", "9" * 40])
def test_a_length_that_is_no_number_is_411(client: FlaskClient, length: str) -> None:
    answer = client.post(
        PATH, data=body(), content_type="application/json", environ_overrides={"CONTENT_LENGTH": length}
    )
    assert (answer.status_code, answer.get_json()["code"]) == (411, "review_length_required")


def test_waiting_for_a_thread_counts_against_the_deadline(client: FlaskClient) -> None:
    received = {"placet.received": time.monotonic() - 60}
    answer = client.post(PATH, data=body(), content_type="application/json", environ_overrides=received)
    message = answer.get_json()["response"]["status"]["message"]
    assert "deadline_exceeded" in message


def test_any_path_and_query_gets_an_answer(client: FlaskClient) -> None:
    for path in ("/v1/admit/%ff%fe", "/v1/admit/%0a", "/v1/admit/..%2f", f"{PATH}?" + "a=1&" * 100 + "timeout=1s"):
        answer = client.post(path, data=body(), content_type="application/json")
        assert answer.status_code in {200, 400, 404}
        if answer.status_code == 200:
            assert "environment_unknown" in answer.get_json()["response"]["status"]["message"]


def test_a_body_shorter_than_its_length_is_400(client: FlaskClient) -> None:
    answer = client.post(
        PATH,
        input_stream=io.BytesIO(body()[:50]),
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": str(len(body()))},
    )
    assert answer.status_code == 400
    assert answer.get_json()["code"] in {"review_truncated", "http_400"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", PATH, 405),
        ("PUT", PATH, 405),
        ("POST", "/", 404),
        ("POST", "/v1/admit", 404),
        ("POST", "/v1/admit/", 404),
        ("POST", f"{PATH}/", 404),
        ("POST", f"{PATH}/more", 404),
        ("GET", GUARD_PATH, 405),
        ("POST", "/v1/guard", 404),
        ("POST", "/v1/guard/", 404),
        ("POST", f"{GUARD_PATH}/", 404),
        ("POST", f"{GUARD_PATH}s", 404),
        ("POST", f"{GUARD_PATH}/more", 404),
        ("POST", "/v1/admit/guard/namespaces", 404),
        ("GET", "/metrics", 404),
    ],
)
def test_other_methods_and_paths_are_4xx(client: FlaskClient, method: str, path: str, status: int) -> None:
    assert client.open(path, method=method).status_code == status


def test_namespaces_have_a_path_of_their_own(client: FlaskClient) -> None:
    for path, allowed in ((GUARD_PATH, True), (PATH, False)):
        asked = namespace_review({LABEL: "production"}, {LABEL: "production"})
        answer = client.post(path, data=json.dumps(asked), content_type="application/json").get_json()["response"]
        assert (answer["uid"], answer["allowed"]) == (asked["request"]["uid"], allowed)
    asked = namespace_review({LABEL: "production"}, None)
    answer = client.post(GUARD_PATH, data=json.dumps(asked), content_type="application/json").get_json()["response"]
    (cause,) = answer["status"]["details"]["causes"]
    assert cause["reason"] == "gate.namespace/labeller_required"
    assert {"decision-id", "log-index", "leaf-hash"} <= set(answer["auditAnnotations"])


def test_a_workload_on_the_path_of_namespaces_is_refused(client: FlaskClient) -> None:
    answer = client.post(GUARD_PATH, data=body(), content_type="application/json").get_json()["response"]
    assert answer["allowed"] is False
    assert "gate.namespace/not_a_namespace" in answer["status"]["message"]


def test_no_escape_makes_a_workload_path_the_guards(client: FlaskClient) -> None:
    asked = json.dumps(namespace_review(None, None))
    for path in ("/v1/admit/guard%2Fnamespaces", "/v1/guard%2Fnamespaces/x", "/v1/guard/namespaces%00"):
        assert client.post(path, data=asked, content_type="application/json").status_code == 404


def test_a_path_of_no_environment_denies_with_its_code(client: FlaskClient) -> None:
    answer = client.post("/v1/admit/moon", data=body(), content_type="application/json")
    assert answer.status_code == 200
    assert "gate.environment/environment_unknown" in answer.get_json()["response"]["status"]["message"]


def test_whatever_is_left_is_a_denial_without_a_trace(
    desk: GateDesk, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(desk.gate, "decide", broken)
    answer = client.post(PATH, data=body(), content_type="application/json")
    assert answer.status_code == 200
    response = answer.get_json()["response"]
    assert response["allowed"] is False
    assert response["status"]["message"] == admission.INTERNAL_MESSAGE
    assert "secret detail" not in answer.get_data(as_text=True)
    assert "secret detail" in caplog.text


def test_readiness_names_what_is_wrong_and_liveness_does_not_care(desk: GateDesk) -> None:
    report = Report(
        problems={"record": Finding("store_locked", "busy")},
        warnings={"configuration": Finding("config_invalid", "a typo")},
    )
    client = create_app(Gates(desk.gate), ready=lambda _server: report).test_client()
    assert client.get("/readyz").status_code == 503
    assert client.get("/readyz").get_data(as_text=True) == (
        "record: store_locked: busy\nwarning configuration: config_invalid: a typo\n"
    )
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, 9.5), ("10s", 9.5), ("1s", 0.5), ("500ms", 0.25), ("1m0s", 29.5), ("2.5s", 2.0), ("900s", 29.5)],
)
def test_the_deadline_is_the_callers_less_a_margin(text: str | None, seconds: float) -> None:
    assert budget_s(text, HttpSettings()) == pytest.approx(seconds)


@given(st.text(max_size=12))
def test_no_timeout_text_raises_anything_but_review_error(text: str) -> None:
    try:
        assert budget_s(text, HttpSettings()) <= 30
    except ReviewError as error:
        assert error.code == "review_timeout"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=400))
def test_no_bytes_get_anything_but_an_answer(client: FlaskClient, raw: bytes) -> None:
    answer = client.post(PATH, data=raw, content_type="application/json")
    assert 400 <= answer.status_code < 500
