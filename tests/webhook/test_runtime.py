"""What a gate says of itself while something is wrong, what it answers meanwhile, and that it recovers by itself."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.audit.stores.failure import unavailable
from placet.config import load_config
from placet.errors import AuditError, ConfigError, EngineError
from placet.policy.data import load_policy_data
from placet.policy.decision import PolicyDecision
from placet.policy.wasm import EmbeddedEngine
from tests.e2e.gateprocess import Team
from tests.e2e.processes import poll_until
from tests.policies.programs import running_opa
from tests.simulators.ports import free_port
from tests.webhook.gaterun import Clock, opened
from webhook import readiness, selftest
from webhook.app import create_app
from webhook.gates import Gates
from webhook.readiness import Finding, Readiness, Report
from webhook.runtime import Runtime
from webhook.server_state import ServerState


def test_an_open_gate_is_ready_once_the_record_is_confirmed(own_team: Team) -> None:
    with opened(own_team, signed=False) as gate:
        status, text = gate.ready()
        assert (status, text.split(":")[:2]) == (503, ["checkpoint", " checkpoint_pending"])
        gate.sign()
        assert gate.ready() == (200, "ok\n")
        assert gate.client.get("/healthz").status_code == 200


def test_the_background_gets_ready_by_itself(own_team: Team) -> None:
    with opened(own_team, background=True) as gate:
        poll_until(lambda: gate.client.get("/readyz").status_code == 200, 30)
        assert gate.client.get("/readyz").get_data(as_text=True) == "ok\n"
        assert gate.metric("placet_audit_checkpoint_age_seconds") is not None


def test_the_self_test_leaves_no_record(own_team: Team) -> None:
    with opened(own_team) as gate:
        assert gate.records("decision") == []


def test_a_keyring_that_comes_later_needs_no_restart(own_team: Team) -> None:
    keyring = own_team.folder / "keyring.dsse.json"
    content = keyring.read_bytes()
    keyring.unlink()
    with opened(own_team) as gate:
        assert "gate.evidence/keyring_missing" in gate.refusal()
        status, text = gate.ready()
        assert (status, text.startswith("keyring: keyring_missing: ")) == (503, True)
        assert gate.metric("placet_ready", part="keyring") == 0
        assert gate.metric("placet_gate_denials_total", code="keyring_missing") == 1
        assert gate.metric("placet_keyring_expiry_timestamp_seconds") == 0
        keyring.write_bytes(content)
        assert "approvals.required" in gate.refusal()
        assert gate.ready() == (200, "ok\n")
        assert gate.metric("placet_ready", part="keyring") == 1


def test_a_clock_that_is_behind_refuses_until_it_is_right(own_team: Team) -> None:
    clock = Clock(ahead=-timedelta(days=3))
    with opened(own_team, clock=clock) as gate:
        assert "gate.evidence/keyring_not_yet_valid" in gate.refusal()
        assert gate.ready()[0] == 503
        clock.ahead = timedelta()
        assert "approvals.required" in gate.refusal()
        gate.sign()  # as the background does at once: the clock says that the last one is old
        assert gate.ready()[0] == 200


def test_a_keyring_that_expires_takes_readiness_away(own_team: Team) -> None:
    with opened(own_team) as gate:
        assert gate.ready()[0] == 200
        gate.clock.ahead = timedelta(days=5000)
        status, text = gate.ready()
        assert status == 503
        assert "keyring: keyring_expired: " in text
        assert "gate.evidence/keyring_expired" in gate.refusal()


def test_an_older_keyring_stays_out_and_the_newer_one_in_force(own_team: Team) -> None:
    keyring = own_team.folder / "keyring.dsse.json"
    older = keyring.read_bytes()
    renew(own_team)
    with opened(own_team) as gate:
        gate.ask()
        keyring.write_bytes(older)
        assert "approvals.required" in gate.refusal()
        status, text = gate.ready()
        assert status == 200
        assert text.startswith("ok\nwarning keyring: keyring_rollback: ")
        assert gate.metric("placet_stale", part="keyring") == 1
        assert gate.metric("placet_policy_reload_total", result="refused_keyring") == 1
    with opened(own_team) as gate:  # nothing that this process knows is newer, but the record does
        assert "gate.evidence/keyring_rollback" in gate.refusal()
        assert gate.ready()[0] == 503


def test_a_keyring_that_is_no_keyring_leaves_the_one_before_in_force(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    with opened(own_team) as gate:
        (own_team.folder / "keyring.dsse.json").write_text("{}", encoding="utf-8")
        assert gate.ask(approved_manifest)["allowed"] is True
        assert "warning keyring: keyring_malformed" in gate.ready()[1]
        renew(own_team)
        assert gate.ready() == (200, "ok\n")
        assert [body["version"] for body in gate.records("keyring")] == [1, 2]
        assert gate.metric("placet_policy_reload_total", result="applied") == 1


def renew(team: Team) -> None:
    (team.folder / "keyring.dsse.json").unlink()
    team.run("keyring", "renew", "--source", "keyring.yaml")
    for root in (1, 2):
        team.run("keyring", "sign", "--source", "keyring.yaml", "--key", f"keys/root-{root}.key",
                 "--out", "keyring.dsse.json")  # fmt: skip


@pytest.mark.parametrize("code", ["store_full", "store_readonly", "store_unavailable"])
def test_a_store_that_can_not_be_written_denies_and_recovers(
    own_team: Team, approved_manifest: dict[str, Any], code: str
) -> None:
    with opened(own_team, faulty=True) as gate:
        assert gate.faults is not None
        gate.faults.fail("commit", after=False, error=unavailable(code, "injected"))
        assert f"gate.record/{code}" in gate.refusal(approved_manifest)
        gate.faults.fail("commit", after=False, error=unavailable(code, "injected"))
        status, text = gate.ready()
        if code == "store_unavailable":  # one look is not lasting
            assert (status, f"warning record: {code}: " in text) == (200, True)
            gate.faults.fail("begin", after=False, error=unavailable(code, "injected"))
            status, text = gate.ready()
        assert (status, text.startswith(f"record: {code}: ")) == (503, True)
        assert gate.metric("placet_audit_write_failures_total", code=code) == 1
        assert gate.metric("placet_gate_denials_total", code=code) == 1
        assert gate.metric("placet_unrecorded_denials_total") == 1
        assert gate.ready() == (200, "ok\n")
        assert gate.ask(approved_manifest)["allowed"] is True


def test_a_locked_store_denies_and_recovers(own_team: Team) -> None:
    with opened(own_team) as gate:
        blocker = sqlite3.connect(own_team.folder / "record.sqlite", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        try:
            assert "gate.record/store_locked" in gate.refusal(path="/v1/admit/production?timeout=1s")
            gate.ready()
            assert gate.ready()[0] == 503
        finally:
            blocker.execute("ROLLBACK")
            blocker.close()
        assert gate.ready() == (200, "ok\n")
        assert "audit show" in gate.refusal()


def test_a_store_that_writes_is_not_asked_whether_it_can(own_team: Team) -> None:
    with opened(own_team, faulty=True) as gate:
        assert gate.faults is not None
        gate.ask()
        gate.faults.fail("begin", after=False)
        assert gate.ready()[0] == 200
        with pytest.raises(AuditError):  # nobody has met the fault yet
            gate.runtime.checkpointer._log.heartbeat(gate.clock())


def test_a_checkpoint_that_can_not_be_signed_takes_readiness_away(own_team: Team) -> None:
    with opened(own_team) as gate:
        gate.ask()
        gate.clock.ahead = timedelta(hours=1)
        gate.runtime._log._last_success_s = float("-inf")
        gate.runtime.look()
        gate.clock.ahead = timedelta(hours=2)
        assert gate.ready()[1].startswith("checkpoint: checkpoint_stale: ")
        gate.sign()
        assert gate.ready() == (200, "ok\n")


def test_a_record_that_an_older_copy_replaced_is_not_written_to(own_team: Team) -> None:
    record, copy = own_team.folder / "record.sqlite", own_team.folder / "copy.sqlite"
    with opened(own_team) as gate:
        source, target = sqlite3.connect(record), sqlite3.connect(copy)
        source.backup(target)
        source.close()
        target.close()
        gate.ask()
        for suffix in ("-wal", "-shm"):
            Path(f"{record}{suffix}").unlink(missing_ok=True)
        copy.replace(record)
        assert "gate.re" in gate.refusal()
        assert gate.ready()[0] == 503
        assert gate.ready()[1].startswith("record: ")


def test_a_record_of_a_newer_version_is_not_opened(own_team: Team) -> None:
    with opened(own_team):
        pass
    connection = sqlite3.connect(own_team.folder / "record.sqlite", isolation_level=None)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(AuditError, match="version"), opened(own_team):
        pass


def test_draining_is_not_ready_at_once_and_goes_on_answering(own_team: Team) -> None:
    with opened(own_team) as gate:
        gate.runtime.drain()
        answer = gate.client.get("/readyz")
        assert answer.status_code == 503
        assert answer.get_data(as_text=True).startswith("process: draining: ")
        assert "approvals.required" in gate.refusal()
        assert gate.metric("placet_ready", part="process") == 0


def test_a_closed_gate_refuses_and_closing_again_is_nothing(own_team: Team) -> None:
    with opened(own_team) as gate:
        gate.runtime.close()
        gate.runtime.close()
        assert "gate." in gate.refusal()
        gate.runtime.reload()


class Certificates:
    """What a server says of its certificates."""

    def __init__(self, problems: dict[str, str], last_problem: str = "") -> None:
        self.problems = problems
        self.last_problem = last_problem

    def find_problems(self, moment: datetime) -> dict[str, str]:
        return self.problems

    def expiries(self) -> dict[str, datetime]:
        return {"serving": datetime(2030, 1, 1, tzinfo=UTC)}


def test_an_expired_certificate_takes_readiness_away_until_it_is_renewed(own_team: Team) -> None:
    with opened(own_team) as gate:
        view = Certificates({"certificate": "certificate_expired: it ended"})
        server = ServerState(certificates=view)
        assert gate.ready(server) == (503, "certificate: certificate_expired: it ended\n")
        assert gate.metric("placet_ready", part="certificate") == 0
        assert gate.metric("placet_certificate_expiry_timestamp_seconds", kind="serving") == 1893456000
        view.problems = {}
        assert gate.ready(server) == (200, "ok\n")


def test_a_renewed_certificate_that_can_not_be_used_is_a_warning(own_team: Team) -> None:
    with opened(own_team) as gate:
        server = ServerState(certificates=Certificates({}, "certificate_mismatch: the key is another's"))
        status, text = gate.ready(server)
        assert status == 200
        assert "warning certificate: certificate_refused: certificate_mismatch" in text
        assert gate.metric("placet_stale", part="certificate") == 1


def test_an_opa_that_starts_later_is_waited_for(own_team: Team) -> None:
    port = free_port()
    own_team.configure({"policy": {"engine": "opa", "opa_url": f"http://127.0.0.1:{port}"}})
    with opened(own_team) as gate:
        assert "gate.policy/engine_unavailable" in gate.refusal()
        status, text = gate.ready()
        assert status == 503
        assert "engine: engine_unavailable: " in text
        with running_opa(port=port):
            poll_until(lambda: gate.ready()[0] == 200, 30)
            assert "approvals.required" in gate.refusal()
        poll_until(lambda: gate.ready()[0] == 503, 30)


def test_an_engine_that_lets_the_worst_pass_is_not_put_in_office(
    own_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kind(self: EmbeddedEngine, document: object, *, deadline_s: float) -> PolicyDecision:
        roles = ("technical",)
        return PolicyDecision(
            allowed=True,
            mode="enforce",
            required_roles=roles,
            granted_roles=roles,
            violations=(),
            warnings=(),
            notes=(),
            rules_judged=8,
            rules_passed=8,
            data_digest=self._data_digest,
        )

    monkeypatch.setattr(EmbeddedEngine, "decide", kind)
    with pytest.raises(EngineError) as caught, opened(own_team):
        pass
    assert caught.value.code == "self_test_failed"


def test_an_engine_that_refuses_everything_is_not_put_in_office() -> None:
    data = load_policy_data(None)
    engine = EmbeddedEngine.default(data)
    with pytest.raises(EngineError, match="did not pass in nowhere") as caught:
        selftest.check_engine(engine, data, "nowhere", now=datetime.now(UTC))
    assert caught.value.code == "self_test_failed"
    engine.close()


def test_the_self_test_holds_in_every_environment_whatever_its_mode(own_team: Team) -> None:
    (own_team.folder / "policy-data.yaml").write_text(
        "environments: {production: {mode: warn}, staging: {mode: audit, coverage: labelled}}\n"
        "rules: {approvals.required: {mode: audit}}\n",
        encoding="utf-8",
    )
    with opened(own_team) as gate:
        assert gate.ready()[0] == 200


def test_a_short_path_token_is_refused_at_the_start(own_team: Team) -> None:
    with pytest.raises(ConfigError, match="16"):
        Runtime.open(load_config(own_team.folder / "placet.yaml"), environment={"PLACET_PATH_TOKEN": "short"})


def test_an_old_look_is_not_ready_however_the_store_hangs() -> None:
    state = Readiness()
    assert state.report(now_s=0.0).problems["process"].code == "starting"
    state.update(Report(), at_s=100.0)
    assert not state.report(now_s=100.0 + readiness.OLD_LOOK_S).problems
    assert state.report(now_s=101.0 + readiness.OLD_LOOK_S).problems["process"].code == "look_overdue"


def test_what_readiness_says_is_harmless_text() -> None:
    report = Report(problems={"record": Finding("store_locked", "a\nok\n\x1b[31m")})
    assert report.lines() == "record: store_locked: a\\u000aok\\u000a\\u001b[31m\n"


def test_a_former_gate_is_closed_after_its_last_review(own_team: Team) -> None:
    closed: list[str] = []
    with opened(own_team) as gate:
        office = gate.runtime.generation.gate
    gates = Gates(office, lambda: closed.append("first"))
    inside, leave = threading.Event(), threading.Event()

    def judge() -> None:
        with gates.holding():
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=judge)
    thread.start()
    assert inside.wait(30)
    gates.swap(office, lambda: closed.append("second"))
    assert closed == []
    with gates.holding():
        pass
    leave.set()
    thread.join(30)
    assert closed == ["first"]
    gates.swap(office)
    assert closed == ["first", "second"]


def test_reviews_are_answered_without_flask_and_everything_else_with_it(own_team: Team) -> None:
    with opened(own_team) as gate:
        app = create_app(Gates(gate.runtime.generation.gate), ready=lambda _server: Report())
        client = app.test_client()
        seen: list[str] = []
        app.before_request(lambda: seen.append("flask"))
        assert client.post("/v1/admit/production", data=b"{}", content_type="application/json").status_code == 400
        assert seen == []
        assert client.get("/healthz").status_code == 200
        assert seen == ["flask"]
