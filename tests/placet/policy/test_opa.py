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
from contextlib import closing
from pathlib import Path

import pytest

from placet.errors import ConfigError, EngineError, EngineUnavailable
from placet.policy.authoring.opa import Opa
from placet.policy.bundle import SHIPPED, load_bundle, shipped_bundle
from placet.policy.data import load_policy_data
from placet.policy.opa import OpaEngine
from placet.policy.sockets import Deadline
from placet.policy.wasm import EmbeddedEngine
from tests.policies.documents import passing_request, unchanged_request
from tests.policies.programs import running_opa
from tests.simulators.opa import OpaProcess
from tests.simulators.ports import free_port
from tools.bundle import build_artefact, find_opa, sources

DATA = load_policy_data(None)


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
session = engine._server._local.client._session
child = os.fork()
signal.alarm(60)
for number in range(50):
    mine = request | {"uid": f"{os.getpid()}-{number}"}
    assert engine.decide(mine, deadline_s=10).allowed
if child == 0:
    os._exit(0 if engine._server._local.client._session is not session else 1)
assert engine._server._local.client._session is session
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


def test_whoever_asked_is_told_when_somebody_else_changed_what_opa_holds(tmp_path: Path) -> None:
    told: list[str] = []
    with (
        OpaProcess(tmp_path, pull=True) as opa,
        closing(OpaEngine(opa.url, DATA, interval_s=600, on_drift=lambda: told.append("drift"))) as engine,
    ):
        engine.prepare()
        assert told == [], "an OPA that has nothing yet was not changed"
        _, held = opa.call("GET", "/v1/data/placet")
        held["result"]["environments"]["production"]["mode"] = "audit"
        assert opa.call("PUT", "/v1/data/placet", held["result"])[0] == 204
        engine.prepare()
        assert told == ["drift"]


def test_a_server_without_our_bundle_is_a_mismatch(tmp_path: Path) -> None:
    stage = tmp_path / "policies"
    for name, content in sources().items():
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).write_bytes(content)
    shutil.copy(SHIPPED.parent.parent / "policies" / "capabilities.json", tmp_path)
    other = tmp_path / "other.tar.gz"
    other.write_bytes(build_artefact(Opa(find_opa()), stage, "sha256:" + "0" * 64, target="rego"))
    with running_opa(other) as address:
        engine = OpaEngine(address, DATA)
        assert engine.problem().startswith("engine_unprepared: ")
        for call in (engine.prepare, lambda: engine.decide(passing_request(), deadline_s=10)):
            with pytest.raises(EngineError, match="not one alone with the revision") as caught:
                call()
            assert caught.value.code == "bundle_mismatch"
        engine.close()


def test_a_refused_connection_is_unavailable() -> None:
    engine = OpaEngine(f"http://127.0.0.1:{free_port()}", DATA)
    for call in (engine.prepare, lambda: engine.decide(passing_request(), deadline_s=10)):
        with pytest.raises(EngineUnavailable) as caught:
            call()
        assert caught.value.code == "engine_unavailable"


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
        "https://opa/v1",
    ],
)
def test_an_address_that_is_none_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError, match="not the address of an OPA server"):
        OpaEngine(url, DATA)


@pytest.mark.parametrize(
    "url", ["http://opa", "http://10.0.0.7:8181", "http://opa.policy.svc", "http://127.0.0.1.evil"]
)
def test_plain_http_to_another_machine_is_a_configuration_error(url: str) -> None:
    for token in ("", "a-token"):
        with pytest.raises(ConfigError, match="plain http to another machine") as caught:
            OpaEngine(url, DATA, token=token)
        assert "https://" in caught.value.hint


@pytest.mark.parametrize("url", ["http://127.0.0.1", "http://127.8.9.1:1", "http://[::1]:8181", "http://localhost:80"])
def test_plain_http_to_the_same_machine_is_taken(url: str) -> None:
    OpaEngine(url, DATA, token="a-token").close()


@pytest.mark.parametrize("token", ["two words", "line\n", "\x00", "schlüssel"])
def test_a_token_that_no_header_can_carry_is_a_configuration_error_that_does_not_show_it(token: str) -> None:
    with pytest.raises(ConfigError, match="PLACET_OPA_TOKEN") as caught:
        OpaEngine("http://127.0.0.1", DATA, token=token)
    assert token not in str(caught.value)


def test_authorities_that_are_none_are_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate", "utf-8")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(ConfigError, match=r"policy\.opa_ca"):
            OpaEngine("https://opa", DATA, ca_file=str(tmp_path / name))
    with pytest.raises(ConfigError, match="goes with an https"):
        OpaEngine("http://127.0.0.1", DATA, ca_file=str(tmp_path / "ca.pem"))


def test_addresses_are_read_as_written() -> None:
    engine = OpaEngine("https://[::1]:8443", DATA)
    assert engine._server._client(Deadline(1)).root_url == "https://[::1]:8443/v1"
    assert OpaEngine("http://127.0.0.1", DATA)._server._client(Deadline(1)).root_url == "http://127.0.0.1:8181/v1"


def test_a_server_is_asked_who_it_is_and_given_nothing() -> None:
    with running_opa() as address:
        engine = OpaEngine(address, DATA)
        engine.identify()
        assert engine._server.read_data("placet", Deadline(10)) is None
        engine.close()
        pushing = OpaEngine(address, DATA, push=True)
        with pytest.raises(EngineError) as caught:
            pushing.identify()
        assert caught.value.code == "bundle_mismatch"
        pushing.close()


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
