"""A real OPA beside the gate, through everything that happens to one: late, killed, frozen, replaced, meddled with."""

from __future__ import annotations

import copy
import itertools
import re
import shlex
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from placet.errors import EngineError, EngineTimeout, EngineUnavailable
from placet.policy.authoring.opa import Opa
from placet.policy.bundle import SHIPPED
from placet.policy.data import PolicyData, load_policy_data
from placet.policy.failures import FAILURES
from placet.policy.opa import OpaEngine
from tests.e2e.authority import Authority
from tests.e2e.processes import Process, clean_environment, poll_until
from tests.policies.documents import Json, passing_request
from tests.simulators.gate import GateDesk, example, review
from tests.simulators.opa import AUTHZ, TOKEN, OpaProcess
from tests.simulators.ports import free_port
from tools.bundle import build_artefact, find_opa, sources

DATA = load_policy_data(None)
LOOK_S = 0.2
WAIT_S = 30.0
MODES = pytest.mark.parametrize("pull", [True, False], ids=["pull", "push"])


@pytest.fixture
def opa(tmp_path: Path, pull: bool) -> Iterator[OpaProcess]:
    with OpaProcess(tmp_path, pull=pull, token=TOKEN) as process:
        yield process


def engine_on(opa: OpaProcess, *, pull: bool, data: PolicyData = DATA, **options: Any) -> OpaEngine:
    chosen: dict[str, Any] = {"token": TOKEN, "timeout_s": 10.0, "interval_s": LOOK_S} | options
    return OpaEngine(opa.url, data, push=not pull, **chosen)


def recovers(engine: OpaEngine) -> bool:
    return poll_until(lambda: not engine.problem(), WAIT_S)


@dataclass
class Load:
    """Threads that ask without a pause, alternating between a request to allow and one to refuse."""

    engine: OpaEngine
    over: threading.Event = field(default_factory=threading.Event)
    right: int = 0
    wrong: list[Json] = field(default_factory=list)
    refused: list[EngineError] = field(default_factory=list)
    count: itertools.count[int] = field(default_factory=itertools.count)

    def run(self) -> None:
        while not self.over.is_set():
            number = next(self.count)
            allow = number % 2 == 0
            request = passing_request() | {"uid": f"load-{number}"} | ({} if allow else {"approvals": []})
            try:
                decision = self.engine.decide(request, deadline_s=2)
            except EngineError as error:
                self.refused.append(error)
                continue
            if decision.allowed is allow and decision.data_digest == str(DATA.digest):
                self.right += 1
            else:
                self.wrong.append(request)

    def answers(self, further: int) -> bool:
        """Whether so many more right answers come."""
        start = self.right
        return poll_until(lambda: self.right >= start + further, WAIT_S)


@MODES
def test_killed_and_restarted_under_load_no_answer_is_wrong_and_every_failure_refuses(
    opa: OpaProcess, pull: bool
) -> None:
    with closing(engine_on(opa, pull=pull)) as engine, ThreadPoolExecutor(4) as pool:
        engine.prepare()
        load = Load(engine)
        threads = [pool.submit(load.run) for _ in range(4)]
        try:
            for long in (False, True) * 3:
                assert load.answers(50)
                opa.kill()
                if long:  # until it is noticed; else it is back before anybody has given up
                    refused = len(load.refused)
                    assert poll_until(lambda: bool(engine.problem()), WAIT_S)
                    assert poll_until(lambda refused=refused: len(load.refused) > refused, WAIT_S)  # type: ignore[misc]
                opa.start(wait=False)
                assert recovers(engine)
            assert load.answers(50)
        finally:
            load.over.set()
        for thread in threads:
            thread.result()
    assert load.wrong == []
    assert load.refused
    assert {error.code for error in load.refused} <= {
        "engine_unavailable",
        "engine_timeout",
        "engine_cut_short",
        "engine_answer_invalid",  # an OPA that is being killed, or has just begun, may answer something else
        "bundle_missing",
    }
    assert all(error.hint for error in load.refused)


@MODES
def test_an_opa_that_starts_after_the_gate_is_found(tmp_path: Path, pull: bool) -> None:
    opa = OpaProcess(tmp_path, pull=pull, token=TOKEN)
    with closing(engine_on(opa, pull=pull)) as engine:
        with pytest.raises(EngineUnavailable):
            engine.prepare()
        assert engine.problem().startswith("engine_unavailable: ")
        with pytest.raises(EngineUnavailable):
            engine.decide(passing_request(), deadline_s=2)
        with opa:
            assert recovers(engine)
            assert engine.decide(passing_request(), deadline_s=10).allowed


@MODES
def test_a_frozen_opa_refuses_in_time_and_is_used_again_when_it_thaws(opa: OpaProcess, pull: bool) -> None:
    with closing(engine_on(opa, pull=pull)) as engine:
        engine.prepare()
        with opa.frozen(), pytest.raises(EngineTimeout):
            engine.decide(passing_request(), deadline_s=0.5)
        assert recovers(engine)
        assert engine.decide(passing_request(), deadline_s=10).allowed


@MODES
def test_nobody_without_the_token_reads_writes_or_asks(opa: OpaProcess, pull: bool) -> None:
    with closing(engine_on(opa, pull=pull)) as engine:
        engine.prepare()
        decision = "/v1/data/admission/main/decision"
        for token in ("", "x" * 40, TOKEN[:-1], TOKEN + "x"):
            assert opa.call("GET", "/health", token=token)[0] == 200
            for method, path in [
                ("PUT", "/v1/data/placet"),
                ("PATCH", "/v1/data/placet"),
                ("PUT", "/v1/policies/placet/admission/main/main.rego"),
                ("DELETE", "/v1/policies/placet/admission/main/main.rego"),
                ("DELETE", "/v1/policies/authz.rego"),
                ("GET", "/v1/policies"),
                ("GET", "/v1/data"),
                ("GET", "/v1/config"),
                ("POST", "/v1/query"),
                ("POST", "/v1/compile"),
                ("POST", decision),
                ("GET", decision),
                ("POST", "/"),
            ]:
                assert opa.call(method, path, {}, token=token)[0] == 401, (method, path, token)
        # The gate's token is good for what the gate does and no more.
        for method, path in [
            ("PUT", "/v1/data/system"),
            ("PUT", "/v1/policies/authz.rego"),
            ("DELETE", "/v1/policies/manifests/opa/authz.rego"),
            ("PUT", "/v1/policies/other.rego"),
            ("POST", "/v1/query"),
            ("GET", "/v1/config"),
        ]:
            assert opa.call(method, path, {})[0] == 401, (method, path)
        assert engine.decide(passing_request(), deadline_s=10).allowed


@MODES
@pytest.mark.parametrize("token", ["", "x" * 40])
def test_a_gate_without_the_right_token_is_told_so(opa: OpaProcess, pull: bool, token: str) -> None:
    with closing(engine_on(opa, pull=pull, token=token)) as engine:
        for call in (engine.prepare, lambda: engine.decide(passing_request(), deadline_s=10)):
            with pytest.raises(EngineUnavailable) as caught:
                call()
            assert caught.value.code == "engine_forbidden"
            assert "PLACET_OPA_TOKEN" in caught.value.hint


def test_a_short_token_opens_nothing(tmp_path: Path) -> None:
    with OpaProcess(tmp_path, pull=True, token="short") as opa:
        assert opa.call("GET", "/v1/policies")[0] == 401


@MODES
def test_data_that_somebody_changes_under_our_digest_are_found_and_given_again(opa: OpaProcess, pull: bool) -> None:
    lacking = passing_request() | {"approvals": []}
    with closing(engine_on(opa, pull=pull, interval_s=600)) as engine:
        engine.prepare()
        assert not engine.decide(lacking, deadline_s=10).allowed
        _, held = opa.call("GET", "/v1/data/placet")
        meddled = copy.deepcopy(held["result"])
        meddled["environments"]["production"]["mode"] = "audit"
        assert opa.call("PUT", "/v1/data/placet", meddled)[0] == 204
        # No answer can tell: whoever may write to OPA can keep the digest.
        assert engine.decide(lacking, deadline_s=10).allowed
        engine._probe.hurry()
        assert poll_until(lambda: engine.drifts == 1, WAIT_S)
        assert recovers(engine)
        assert opa.call("GET", "/v1/data/placet") == (200, held)
        assert not engine.decide(lacking, deadline_s=10).allowed


LENIENT = 'package placet.rules["approvals.required"]\nmode := "audit"\n'


@pytest.mark.parametrize("pull", [True])
def test_a_module_in_our_data_is_found_and_refuses_all_until_it_is_gone(tmp_path: Path, pull: bool) -> None:
    with OpaProcess(tmp_path, pull=pull) as opa, closing(engine_on(opa, pull=pull)) as engine:
        engine.prepare()
        assert opa.call("PUT", "/v1/policies/foreign", LENIENT)[0] == 200
        assert poll_until(lambda: engine.problem().startswith("engine_drift: "), WAIT_S)
        with pytest.raises(EngineError) as caught:
            engine.decide(passing_request(), deadline_s=10)
        assert caught.value.code == "engine_drift"
        assert caught.value.hint == FAILURES["engine_drift"].remedy
        assert opa.call("DELETE", "/v1/policies/foreign")[0] == 200
        assert recovers(engine)
        assert engine.decide(passing_request(), deadline_s=10).allowed


@pytest.mark.parametrize(
    ("method", "path", "value"),
    [
        ("PUT", "/v1/policies/foreign", LENIENT),
        ("PUT", "/v1/policies/placet/admission/rules/images/pinned/pinned.rego",
         'package admission.rules.images.pinned\nseverity := "low"\npasses := true\nreport := set()\n'),
        ("PUT", "/v1/policies/foreign", "package admission.rules.images.pinned\npasses if true\n"),
        ("DELETE", "/v1/policies/placet/admission/rules/images/pinned/pinned.rego", None),
        ("PUT", "/v1/data/admission/rules/extra", {"rule": {"passes": True, "report": []}}),
    ],
    ids=["a module in our data", "a rule replaced", "a rule softened", "a rule taken away", "a rule of data"],
)  # fmt: skip
def test_pushed_policies_that_somebody_changes_are_found_and_pushed_again(
    tmp_path: Path, method: str, path: str, value: Any
) -> None:
    tagged = passing_request()
    tagged["images"][0]["digest"] = ""
    with OpaProcess(tmp_path, pull=False) as opa, closing(engine_on(opa, pull=False, interval_s=600)) as engine:
        engine.prepare()
        before = engine.decide(tagged, deadline_s=10)
        assert not before.allowed
        assert opa.call(method, path, value)[0] in {200, 204}
        engine._probe.hurry()
        assert poll_until(lambda: engine.drifts == 1, WAIT_S)
        assert recovers(engine)
        assert engine.decide(passing_request(), deadline_s=10).allowed
        assert engine.decide(tagged, deadline_s=10) == before


@MODES
def test_an_opa_that_serves_others_too_is_refused_and_left_alone(tmp_path: Path, pull: bool) -> None:
    with OpaProcess(tmp_path, pull=pull) as opa, closing(engine_on(opa, pull=pull)) as engine:
        assert opa.call("PUT", "/v1/policies/theirs", "package theirs\nallow := true\n")[0] == 200
        with pytest.raises(EngineError) as caught:
            engine.prepare()
        assert caught.value.code == "engine_drift"
        assert opa.call("GET", "/v1/data/theirs") == (200, {"result": {"allow": True}})


def other_bundle(folder: Path) -> Path:
    """Policies that let everything in, under another revision."""
    stage = folder / "policies"
    for name, content in sources().items():
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).write_bytes(content)
    main = stage / "admission" / "main" / "main.rego"
    main.write_text(main.read_text("utf-8").replace("default allowed := false", "default allowed := true"), "utf-8")
    shutil.copy(Path(__file__).parents[2] / "policies" / "capabilities.json", folder)
    bundle = folder / "other.tar.gz"
    bundle.write_bytes(build_artefact(Opa(find_opa()), stage, "sha256:" + "0" * 64, target="rego"))
    return bundle


@MODES
def test_no_answer_of_an_opa_that_came_back_with_another_bundle_counts(tmp_path: Path, pull: bool) -> None:
    first = OpaProcess(tmp_path, pull=pull)
    other = OpaProcess(tmp_path, pull=True, bundle=other_bundle(tmp_path))
    with closing(engine_on(first, pull=pull)) as engine:
        with first:
            engine.prepare()
            assert engine.decide(passing_request(), deadline_s=10).allowed
        # Pointed elsewhere at the same moment, with its connections and all that it knows of the first.
        engine._server._arguments["port"] = int(other.url.rpartition(":")[2])
        engine._server.start_afresh()
        with other:
            for _ in range(3):
                with pytest.raises(EngineError) as caught:
                    engine.decide(passing_request() | {"approvals": []}, deadline_s=10)
                assert caught.value.code == "bundle_mismatch"
            assert poll_until(lambda: engine.problem().startswith("bundle_mismatch: "), WAIT_S)
            assert opa_untouched(other)


def opa_untouched(opa: OpaProcess) -> bool:
    """Nothing is given to a server that is not ours."""
    return opa.call("GET", "/v1/data/placet") == (200, {})


def test_a_push_over_policies_of_another_release_replaces_them(tmp_path: Path) -> None:
    with OpaProcess(tmp_path, pull=False) as opa:
        lib = "package admission.lib.approvals\nold(x) := x\n"
        main = "package admission.main\nimport data.admission.lib.approvals\ndecision := approvals.old(input)\n"
        assert opa.call("PUT", "/v1/policies/placet/admission/lib/approvals/approvals.rego", lib)[0] == 200
        assert opa.call("PUT", "/v1/policies/main.rego", main)[0] == 200
        with closing(engine_on(opa, pull=False)) as engine:
            engine.prepare()
            assert engine.decide(passing_request(), deadline_s=10).allowed


@MODES
def test_before_and_after_a_reload_two_engines_judge_on_one_opa(opa: OpaProcess, pull: bool, tmp_path: Path) -> None:
    operator = tmp_path / "policy.yaml"
    operator.write_text("environments: {production: {max_level: low}}", "utf-8")
    old, new = engine_on(opa, pull=pull), engine_on(opa, pull=pull, data=load_policy_data(operator))
    with closing(old), closing(new), ThreadPoolExecutor(2) as pool:
        old.prepare()
        load = Load(old)
        threads = [pool.submit(load.run) for _ in range(2)]
        try:
            assert load.answers(20)
            new.prepare()
            for _ in range(10):
                assert not new.decide(passing_request(), deadline_s=10).allowed
            assert load.answers(20)
        finally:
            load.over.set()
        for thread in threads:
            thread.result()
    assert (load.wrong, [error.code for error in load.refused], old.drifts + new.drifts) == ([], [], 0)


def test_tls_with_an_authority_of_ones_own_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "stranger").mkdir()
    authority, stranger = Authority(tmp_path, "opa"), Authority(tmp_path / "stranger", "stranger")
    files = authority.server(["127.0.0.1"])
    with OpaProcess(
        tmp_path, pull=False, token=TOKEN, certificate=(files.certificate, files.key, authority.path)
    ) as opa:
        with closing(engine_on(opa, pull=False, ca_file=str(authority.path))) as engine:
            engine.prepare()
            assert engine.decide(passing_request(), deadline_s=10).allowed
            opa.kill()
            opa.start()
            assert engine.decide(passing_request(), deadline_s=10).allowed
        for ca_file in (str(stranger.path), ""):
            with closing(engine_on(opa, pull=False, ca_file=ca_file)) as engine:
                with pytest.raises(EngineError) as caught:
                    engine.prepare()
                assert caught.value.code == "engine_tls"
        with closing(OpaEngine(opa.url.replace("https", "http"), DATA)) as engine, pytest.raises(EngineError) as caught:
            engine.prepare()
        assert caught.value.code == "engine_http_error"


def test_a_gate_whose_opa_dies_denies_records_that_and_allows_again(tmp_path: Path) -> None:
    with OpaProcess(tmp_path, pull=False, token=TOKEN) as opa, closing(engine_on(opa, pull=False)) as engine:
        engine.prepare()
        desk = GateDesk.open(tmp_path, engine=engine)
        signed = desk.approve(example(), "technical", "security", "business", "executive")
        assert desk.decide(review(signed)).allowed
        opa.kill()
        denied = desk.decide(review(signed))
        assert not denied.allowed
        assert [(each.rule, each.code) for each in denied.violations] == [("gate.policy", "engine_unavailable")]
        assert denied.violations[0].details["hint"] == FAILURES["engine_unavailable"].remedy
        assert denied.recorded is not None
        opa.start()
        assert recovers(engine)
        assert desk.decide(review(signed)).allowed
        desk.log.close()


ROOT = Path(__file__).resolve().parents[2]


def documented_commands() -> list[str]:
    text = (ROOT / "docs" / "opa.md").read_text("utf-8")
    return re.findall(r"^```sh\n(opa run .*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("pull", "command"), list(zip([False, True], documented_commands(), strict=True)))
def test_the_commands_in_the_document_start_an_opa_that_is_taken(tmp_path: Path, pull: bool, command: str) -> None:
    address, health = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    shutil.copy(AUTHZ, tmp_path)
    shutil.copy(SHIPPED / "bundle.tar.gz", tmp_path)
    for written, here in {
        "127.0.0.1:8181": address,
        "0.0.0.0:8282": health,
        "/etc/placet/": f"{tmp_path}/",
        "\\\n": "",
    }.items():
        assert written in command
        command = command.replace(written, here)
    environment = clean_environment(tmp_path) | {"PLACET_OPA_TOKEN": TOKEN}
    opa = Process("opa", [find_opa(), *shlex.split(command)[1:]], tmp_path / "opa.log", environment)
    try:
        with closing(OpaEngine(f"http://{address}", DATA, push=not pull, token=TOKEN, timeout_s=10)) as engine:
            opa.wait_until(lambda: not _code_of(engine), "taken", WAIT_S)
            assert engine.decide(passing_request(), deadline_s=10).allowed
        with urllib.request.urlopen(f"http://{health}/health?bundles", timeout=10) as answer:
            assert answer.status == 200
    finally:
        opa.stop()


def _code_of(engine: OpaEngine) -> str:
    try:
        engine.prepare()
    except EngineError as error:
        return error.code
    return ""


def test_the_chart_has_the_authorization_policy_that_is_tested_here() -> None:
    assert (ROOT / "manifests/chart/placet/files/authz.rego").read_bytes() == AUTHZ.read_bytes()
