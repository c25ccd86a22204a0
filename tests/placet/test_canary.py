"""A canary's refusal counts only with the seal of a gate that has the key, over this nonce, place and verdict."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.apiserver import ClusterUnavailable
from placet.audit.note import generate_log_key
from placet.canary import (
    ADMITTED,
    ANNOTATION,
    OUTCOMES,
    REFUSED_BY_OTHER,
    REFUSED_BY_US,
    UNREACHABLE,
    VERDICTS,
    CanaryKey,
    judge_answer,
    render_canary,
    send_canary,
)
from placet.review import AdmissionRequest, parse_review
from tests.simulators.gate import review

KEY, OTHER = CanaryKey(b"k" * 32), CanaryKey(b"o" * 32)
NONCE = "0123456789abcdef" * 2
PLACE = "placet-canary-production"


def request(key: CanaryKey = KEY, *, namespace: str = PLACE, dry_run: bool = True, **metadata: Any) -> AdmissionRequest:
    body = render_canary(namespace, key.token(namespace, NONCE))
    body["metadata"].update(metadata)
    asked = review(body)
    asked["request"].update(name=body["metadata"]["name"], namespace=PLACE, dryRun=dry_run)
    return parse_review(json.dumps(asked).encode())


def status(cause: object, message: str = "denied") -> bytes:
    return json.dumps({"kind": "Status", "message": message, "details": {"causes": [{"reason": "x"}, cause]}}).encode()


def cause(key: CanaryKey = KEY, **parts: str) -> dict[str, str]:
    told = {"environment": "production", "namespace": PLACE, "nonce": NONCE, "verdict": "refused", **parts}
    return key.cause(**told)


def judged(code: int, raw: bytes) -> str:
    outcome, _ = judge_answer(code, raw, key=KEY, namespace=PLACE, environment="production", nonce=NONCE)
    assert outcome in OUTCOMES
    return outcome


def test_the_gates_of_one_record_share_a_key_that_says_nothing_of_the_logs(tmp_path: Path) -> None:
    logs = [generate_log_key(tmp_path / name, name="log.example.com") for name in ("one.key", "two.key")]
    assert CanaryKey.derive(logs[0]) == CanaryKey.derive(logs[0])
    assert CanaryKey.derive(logs[0]) != CanaryKey.derive(logs[1])
    assert logs[0].private.private_bytes_raw() != CanaryKey.derive(logs[0]).secret
    assert "secret" not in repr(CanaryKey.derive(logs[0]))


def test_a_canary_of_the_key_is_known() -> None:
    assert KEY.find_nonce(request()) == NONCE


@pytest.mark.parametrize(
    "other",
    [
        request(OTHER),
        request(dry_run=False),
        request(namespace="elsewhere"),
        request(name="llama"),
        request(annotations={}),
        request(annotations={ANNOTATION: NONCE}),
        request(annotations={ANNOTATION: f"{NONCE}.{'0' * 64}"}),
        request(annotations={ANNOTATION: f"{KEY.token(PLACE, NONCE)} "}),
        replace(request(), operation="UPDATE"),
        replace(request(), subresource="scale"),
        replace(request(), object={"metadata": "text"}),
        replace(request(), object=None),
    ],
)
def test_nothing_else_is_a_canary(other: AdmissionRequest) -> None:
    assert KEY.find_nonce(other) == ""


@pytest.mark.parametrize(
    ("verdict", "outcome"), [("refused", REFUSED_BY_US), ("not_enforced", REFUSED_BY_US), ("admitted", ADMITTED)]
)
def test_a_sealed_refusal_is_ours_and_says_what_the_policies_say(verdict: str, outcome: str) -> None:
    assert verdict in VERDICTS
    assert judged(403, status(cause(verdict=verdict))) == outcome


@pytest.mark.parametrize(
    "forged",
    [
        cause(OTHER),
        cause(nonce="f" * 32),
        cause(namespace="elsewhere"),
        cause(environment="development"),
        {**cause(), "field": "staging"},
        {**cause(), "reason": "other"},
        {**cause(verdict="admitted"), "message": cause(verdict="admitted")["message"].replace("admitted", "refused")},
        {**cause(), "message": "refused."},
        {**cause(), "message": "r\u00e9fused.\ud800"},
        {"reason": "placet.canary", "field": 1, "message": None},
        {},
    ],
)
def test_a_refusal_without_the_seal_is_somebody_elses(forged: object) -> None:
    assert judged(403, status(forged)) == REFUSED_BY_OTHER


def test_a_refusal_as_another_environment_is_not_the_one_that_was_expected() -> None:
    raw = status(cause(environment="development"))
    answer = judge_answer(403, raw, key=KEY, namespace=PLACE, environment="production", nonce=NONCE)
    assert answer == (REFUSED_BY_OTHER, "judged as development, and it has to be judged as production")


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(201, ADMITTED), (200, ADMITTED), (403, REFUSED_BY_OTHER), (404, REFUSED_BY_OTHER), (401, REFUSED_BY_OTHER),
     (429, UNREACHABLE), (500, UNREACHABLE), (503, UNREACHABLE)],
)  # fmt: skip
def test_an_answer_without_a_cause_is_told_by_its_status(code: int, outcome: str) -> None:
    assert judged(code, b'{"message": "because"}') == outcome


@given(st.integers(400, 599), st.binary(max_size=200) | st.recursive(
    st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["details", "causes", "message", "reason", "field"]), inner), max_leaves=12,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_body_of_others_is_a_success_or_an_exception(code: int, raw: bytes) -> None:
    assert judged(code, raw) in {REFUSED_BY_OTHER, UNREACHABLE}


class Answering:
    """An API server that answers each create in one way."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.paths: list[str] = []
        self.bodies: list[Any] = []

    def create_dry_run(self, path: str, body: Any, *, timeout_s: float, hint: str) -> tuple[int, bytes]:
        self.paths.append(path)
        self.bodies.append(body)
        if isinstance(self.answer, Exception):
            raise self.answer
        found: tuple[int, bytes] = self.answer
        return found


def test_each_canary_has_a_nonce_of_its_own_so_an_old_refusal_proves_nothing() -> None:
    sender = Answering((403, status(cause())))
    seen = [send_canary(sender, KEY, namespace=PLACE, environment="production") for _ in range(2)]
    assert [one.outcome for one in seen] == [REFUSED_BY_OTHER] * 2
    assert sender.paths == [f"/apis/apps/v1/namespaces/{PLACE}/deployments"] * 2
    assert sender.bodies[0] != sender.bodies[1]


def test_no_answer_is_unreachable_and_harmless_to_read() -> None:
    seen = send_canary(Answering(ClusterUnavailable("gone\x1b[31m")), KEY, namespace=PLACE, environment="production")
    assert seen.outcome == UNREACHABLE
    assert "\x1b" not in seen.detail
