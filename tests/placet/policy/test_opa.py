"""The engine on an OPA server: a real one, and servers that lie."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from placet.errors import ConfigError, EngineAnswerError, EngineError, EngineTimeout, EngineUnavailable
from placet.policy.bundle import SHIPPED, load_bundle, shipped_bundle
from placet.policy.data import load_policy_data
from placet.policy.opa import OpaEngine
from placet.policy.transport import MAX_BODY_BYTES, Deadline
from placet.policy.wasm import EmbeddedEngine
from tests.golden.decisions.build import FOLDER
from tests.policies.documents import Json, passing_request, unchanged_request
from tests.policies.lying import Reply, answering
from tests.policies.programs import free_port, running_opa
from tools.bundle import _compile, find_opa, sources

DATA = load_policy_data(None)
ALLOW: Json = json.loads((FOLDER / "allowed-in-production" / "decision.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_opa() as address:
        yield address


@pytest.fixture
def engine(url: str) -> Iterator[OpaEngine]:
    made = OpaEngine(url, DATA)
    made.prepare()
    yield made
    made.close()


def provenance(**changed: Any) -> Json:
    good = {"version": "1.22.2", "bundles": {"bundle.tar.gz": {"revision": shipped_bundle().revision}}}
    return good | changed


def lying(result: Any = ALLOW, *, origin: Any = None, status: int = 200, **options: Any) -> Any:
    """An answer to every query; the data is always taken."""
    body = json.dumps({"result": result, "provenance": provenance() if origin is None else origin}).encode()
    query = Reply(status, body, **options)
    return lambda method, _path, _body: Reply(204) if method == "PUT" else query


def test_gives_the_same_decisions_as_the_embedded_engine(engine: OpaEngine) -> None:
    embedded = EmbeddedEngine.default(DATA)
    for request in (passing_request(), unchanged_request(), passing_request() | {"approvals": []}):
        assert engine.decide(request, deadline_s=10) == embedded.decide(request, deadline_s=10)
    assert (engine.name, engine.version, engine.revision) == ("opa", "1.22.2", shipped_bundle().revision)
    embedded.close()


def test_threads_have_connections_of_their_own(engine: OpaEngine) -> None:
    together = threading.Barrier(4)

    def judge(number: int) -> bool:
        together.wait()
        request = passing_request() if number % 2 else passing_request() | {"approvals": []}
        return all(engine.decide(request, deadline_s=20).allowed is bool(number % 2) for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(judge, range(4)))


def test_a_forked_child_has_a_connection_of_its_own(url: str) -> None:
    program = """
import os, signal, sys, json
from placet.policy.data import load_policy_data
from placet.policy.opa import OpaEngine
request = json.load(sys.stdin)
engine = OpaEngine(sys.argv[1], load_policy_data(None))
assert engine.decide(request, deadline_s=10).allowed
session = engine._local.client._session
child = os.fork()
signal.alarm(60)
for number in range(50):
    mine = request | {"uid": f"{os.getpid()}-{number}"}
    assert engine.decide(mine, deadline_s=10).allowed
if child == 0:
    os._exit(0 if engine._local.client._session is not session else 1)
assert engine._local.client._session is session
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""
    command = [sys.executable, "-W", "ignore", "-c", program, url]
    root = SHIPPED.parent.parent
    done = subprocess.run(
        command, input=json.dumps(passing_request()), text=True, cwd=root, timeout=120, check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr


def test_a_server_that_lost_the_data_gets_it_again() -> None:
    port = free_port()
    with running_opa(port=port) as address:
        engine = OpaEngine(address, DATA)
        assert engine.decide(passing_request(), deadline_s=10).allowed
    with pytest.raises(EngineUnavailable):
        engine.decide(passing_request(), deadline_s=10)
    with running_opa(port=port):
        assert engine.decide(passing_request(), deadline_s=10).allowed
    engine.close()


def test_data_of_another_gate_is_replaced_before_anything_is_decided(url: str, tmp_path: Path) -> None:
    operator = tmp_path / "policy.yaml"
    operator.write_text("environments: {production: {max_level: low}}", "utf-8")
    strict, plain = OpaEngine(url, load_policy_data(operator)), OpaEngine(url, DATA)
    for _ in range(2):
        assert not strict.decide(passing_request(), deadline_s=10).allowed
        assert plain.decide(passing_request(), deadline_s=10).allowed
    strict.close()
    plain.close()


def test_a_server_without_our_bundle_is_a_mismatch(tmp_path: Path) -> None:
    stage = tmp_path / "policies"
    for name, content in sources().items():
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).write_bytes(content)
    shutil.copy(SHIPPED.parent.parent / "policies" / "capabilities.json", tmp_path)
    other = tmp_path / "other.tar.gz"
    other.write_bytes(_compile(find_opa(), stage, "sha256:" + "0" * 64, target="rego"))
    with running_opa(other) as address:
        engine = OpaEngine(address, DATA)
        for call in (engine.prepare, lambda: engine.decide(passing_request(), deadline_s=10)):
            with pytest.raises(EngineError, match="not by revision") as caught:
                call()
            assert caught.value.code == "bundle_mismatch"
        engine.close()


@pytest.mark.parametrize(
    "origin",
    [
        provenance(version="1.22.1"),
        provenance(version=None),
        provenance(bundles={}),
        provenance(bundles=None),
        provenance(bundles={"a": {"revision": shipped_bundle().revision}, "b": {"revision": "other"}}),
        provenance(bundles={"a": "text"}),
        {},
    ],
)
def test_another_version_or_bundle_in_the_answer_is_a_mismatch(origin: Json) -> None:
    with answering(lying(origin=origin)) as address, pytest.raises(EngineError) as caught:
        OpaEngine(address, DATA).decide(passing_request(), deadline_s=10)
    assert caught.value.code == "bundle_mismatch"
    assert caught.value.hint


def test_the_simulated_server_is_believed_when_it_does_not_lie() -> None:
    with answering(lying()) as address:
        assert OpaEngine(address, DATA).decide(passing_request(), deadline_s=10).allowed


@pytest.mark.parametrize(
    "result",
    [
        ALLOW | {"uid": "another"},
        ALLOW | {"data_digest": "sha256:" + "0" * 64},
        ALLOW | {"rules_judged": 7, "rules_passed": 7},
        ALLOW | {"allowed": 1},
        {"allowed": True},
        True,
        None,
        [ALLOW],
        "allowed",
    ],
    ids=["uid", "data", "rules", "type", "short", "true", "null", "list", "text"],
)
def test_an_answer_that_is_no_decision_about_this_request_is_refused(result: Any) -> None:
    with answering(lying(result)) as address, pytest.raises(EngineAnswerError) as caught:
        OpaEngine(address, DATA).decide(passing_request(), deadline_s=10)
    assert caught.value.code == "engine_answer_invalid"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html><body>It works!</body></html>", headers={"Content-Type": "text/html"}),
        Reply(200, b""),
        Reply(200, b"\xff\xfe\x00"),
        Reply(200, b"{}"),
        Reply(200, b"[]"),
        Reply(200, b"null"),
        Reply(200, b'{"result": {}}'),
        Reply(200, b'{"provenance": []}'),
        Reply(200, json.dumps({"provenance": provenance()}).encode()),
        Reply(200, b"[" * 100_000),
        Reply(200, b'{"result": "' + b"x" * (MAX_BODY_BYTES + 1) + b'"}'),
        Reply(302, b"", headers={"Location": "http://127.0.0.1:1/"}),
        Reply(400, b'{"code": "invalid_parameter"}'),
        Reply(500, b"eval_conflict_error"),
        Reply(204),
    ],
    ids=[
        "html", "empty", "binary", "object", "list", "null", "no provenance", "odd provenance", "undefined", "deep",
        "huge", "redirect", "400", "500", "204",
    ],
)  # fmt: skip
def test_an_answer_of_an_odd_shape_is_refused(reply: Reply) -> None:
    with answering(lambda *_: reply) as address, pytest.raises(EngineAnswerError) as caught:
        OpaEngine(address, DATA).decide(passing_request(), deadline_s=10)
    assert caught.value.code == "engine_answer_invalid"


@pytest.mark.parametrize("status", [0, 401, 403, 404, 429, 502, 503, 504])
def test_a_server_that_does_not_serve_is_unavailable(status: int) -> None:
    with answering(lambda *_: Reply(status, b"no")) as address, pytest.raises(EngineUnavailable) as caught:
        OpaEngine(address, DATA).decide(passing_request(), deadline_s=10)
    assert caught.value.code == "engine_unavailable"


def test_a_body_that_is_cut_short_is_no_decision() -> None:
    with answering(lying(cut=10)) as address, pytest.raises(EngineUnavailable):
        OpaEngine(address, DATA).decide(passing_request(), deadline_s=10)


def test_a_refused_connection_is_unavailable() -> None:
    engine = OpaEngine(f"http://127.0.0.1:{free_port()}", DATA)
    for call in (engine.prepare, lambda: engine.decide(passing_request(), deadline_s=10)):
        with pytest.raises(EngineUnavailable) as caught:
            call()
        assert caught.value.code == "engine_unavailable"


def test_a_server_that_says_nothing_is_a_timeout() -> None:
    with answering(lambda *_: Reply(hold=True)) as address, pytest.raises(EngineTimeout) as caught:
        OpaEngine(address, DATA).decide(passing_request(), deadline_s=0.2)
    assert caught.value.code == "engine_timeout"


def test_a_body_that_drips_in_is_a_timeout() -> None:
    def drops() -> Iterator[bytes]:
        yield from [b" "] * 400

    with answering(lambda *_: Reply(200, pieces=drops)) as address, pytest.raises(EngineTimeout):
        OpaEngine(address, DATA).decide(passing_request(), deadline_s=0.3)


def test_no_time_left_is_a_timeout_and_nothing_is_sent() -> None:
    asked: list[str] = []
    with answering(lambda method, *_: asked.append(method) or Reply(200)) as address:  # type: ignore[func-returns-value]
        for deadline_s in (0, -1, float("nan"), float("-inf")):
            with pytest.raises(EngineTimeout):
                OpaEngine(address, DATA).decide(passing_request(), deadline_s=deadline_s)
    assert asked == []


def test_a_connection_that_was_closed_meanwhile_is_opened_again() -> None:
    replies = iter([Reply(0), lying()("POST", "", b"")])
    with answering(lambda *_: next(replies)) as address:
        assert OpaEngine(address, DATA).decide(passing_request(), deadline_s=10).allowed


def test_a_push_that_is_not_taken_is_unavailable() -> None:
    for reply in (
        Reply(400, b'{"code": "x", "message": "y"}'),
        Reply(200, b"<html>"),
        Reply(200, b"[]"),
        Reply(500, b""),
    ):
        with answering(lambda *_, reply=reply: reply) as address, pytest.raises(EngineError) as caught:
            OpaEngine(address, DATA).prepare()
        assert caught.value.code in {"engine_unavailable", "engine_answer_invalid"}


def test_a_server_that_takes_the_data_and_judges_with_other_data_is_refused_at_start() -> None:
    with answering(lying(ALLOW | {"data_digest": "other"})) as address, pytest.raises(EngineAnswerError):
        OpaEngine(address, DATA).prepare()


def test_an_input_that_is_not_of_the_schema_is_never_sent() -> None:
    asked: list[str] = []
    with answering(lambda method, *_: asked.append(method) or Reply(200)) as address:  # type: ignore[func-returns-value]
        with pytest.raises(EngineError) as caught:
            OpaEngine(address, DATA).decide(passing_request() | {"uid": "\ud800"}, deadline_s=10)
        assert caught.value.code == "input_invalid"
    assert asked == []


def test_what_is_sent_is_canonical_with_the_token_and_asks_for_provenance() -> None:
    seen: list[tuple[str, str, bytes]] = []

    def answer(method: str, path: str, body: bytes) -> Reply:
        seen.append((method, path, body))
        reply: Reply = lying()(method, path, body)
        return reply

    with answering(answer) as address:
        OpaEngine(address, DATA, token="t").decide(passing_request(), deadline_s=10)
    ((method, path, body),) = seen
    assert (method, path) == ("POST", "/v1/data/admission/main/decision?provenance=true")
    assert json.loads(body) == {"input": passing_request()}
    assert b" " not in body.replace(b"admission control", b"")


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with answering(lying()) as address:
        assert OpaEngine(address, DATA).decide(passing_request(), deadline_s=10).allowed


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8181",
        "ftp://opa",
        "http://",
        "http://opa/v1",
        "http://opa?x=1",
        "http://u:p@opa",
        "http://opa:port",
    ],
)
def test_an_address_that_is_none_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError, match="not the address of an OPA server"):
        OpaEngine(url, DATA)


def test_addresses_are_read_as_written() -> None:
    engine = OpaEngine("https://[::1]:8443", DATA, ca_file="/etc/opa/ca.pem")
    assert engine._client(Deadline(1)).root_url == "https://[::1]:8443/v1"
    session: Any = engine._client(Deadline(1))._session
    assert session.verify == "/etc/opa/ca.pem"
    assert OpaEngine("http://opa", DATA)._client(Deadline(1)).root_url == "http://opa:8181/v1"


def test_a_closed_engine_judges_no_more(url: str) -> None:
    engine = OpaEngine(url, DATA)
    engine.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        engine.decide(passing_request(), deadline_s=10)


def test_the_plain_bundle_has_no_wasm_section() -> None:
    # An OPA without a Wasm runtime refuses to start on a bundle that has one.
    with tarfile.open(SHIPPED / "bundle.tar.gz") as archive:
        assert "/policy.wasm" not in archive.getnames()
    assert load_bundle().files["bundle.tar.gz"]
