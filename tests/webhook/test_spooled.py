"""While the record's store is away: allows are refused, denials kept on disk, and each is in the record afterwards."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
from typing import Any, Final

import pytest

from placet.audit.stores.failure import unavailable
from placet.errors import TamperError
from tests.e2e.gateprocess import Team
from tests.e2e.lifegate import PATIENCE_S, Replica, started
from tests.e2e.processes import poll_until
from tests.simulators.gate import example, review
from tests.webhook.gaterun import Gate, opened

STORE: Final = {"store": "record.sqlite", "log_key": "keys/log.key"}


@pytest.fixture
def spooling_team(own_team: Team) -> Team:
    own_team.configure({"record": {"spool": {"folder": "spool"}}})
    return own_team


def drained(gate: Gate) -> None:
    assert gate.runtime.draining is not None
    gate.runtime.draining.run_once()


def test_allows_are_refused_and_denials_recorded_once_the_store_is_back(
    spooling_team: Team, approved_manifest: dict[str, Any]
) -> None:
    with opened(spooling_team, faulty=True) as gate:
        assert gate.faults is not None
        gate.faults.leave()
        response = gate.ask(approved_manifest, uid="11111111-aaaa-4000-8000-000000000001")
        assert response["allowed"] is False
        message = response["status"]["message"]
        assert "gate.request/store_unavailable" in message
        assert message.endswith("to be recorded once the store of the record is back")
        assert "log-index" not in response["auditAnnotations"]
        gate.ask(uid="11111111-aaaa-4000-8000-000000000002")
        drained(gate)
        assert gate.metric("placet_spool_waiting") == 2
        assert gate.metric("placet_unrecorded_denials_total") == 0
        gate.ready()
        status, text = gate.ready()
        assert (status, text.startswith("record: store_unavailable: ")) == (503, True)
        assert "warning record: spool_waiting: 2 denials" in text
        gate.faults.come_back()
        assert gate.ready()[0] == 200
        drained(gate)
        found = {body["uid"][-1]: body for body in gate.records("decision")}
        assert sorted(found) == ["1", "2"]
        first = found["1"]
        assert (first["allowed"], first["approved"], first["spooled"]["cause"]) == (False, False, "store_unavailable")
        assert first["spooled"]["at"] == response["auditAnnotations"]["spooled"]
        assert message.startswith(first["message"])
        (outage,) = gate.records("outage")
        assert (outage["spooled"], outage["recorded"], outage["lost"]) == (2, 2, 0)
        assert gate.ready() == (200, "ok\n")
        assert gate.metric("placet_spool_waiting") == 0
        assert gate.metric("placet_spool_denials_total", outcome="recorded") == 2
        assert gate.ask(approved_manifest)["allowed"] is True


def test_a_uid_that_waits_gets_the_same_answer_and_so_it_does_once_it_is_recorded(
    spooling_team: Team, approved_manifest: dict[str, Any]
) -> None:
    """Approved or not: what was answered stands."""
    terms: dict[str, Any] = {"manifest": approved_manifest, "uid": "11111111-aaaa-4000-8000-000000000001"}
    with opened(spooling_team, faulty=True) as gate:
        assert gate.faults is not None
        gate.faults.leave()
        first = gate.ask(**terms)
        again = gate.ask(**terms)
        gate.faults.come_back()
        back = gate.ask(**terms)
        assert first["allowed"] is again["allowed"] is back["allowed"] is False
        assert first["status"]["message"] == again["status"]["message"] == back["status"]["message"]
        assert gate.metric("placet_spool_denials_total", outcome="kept") == 1
        drained(gate)
        recorded = gate.ask(**terms)
        assert recorded["allowed"] is False
        assert "log-index" in recorded["auditAnnotations"]
        assert len(gate.records("decision")) == 1


def test_a_uid_that_waits_is_no_answer_to_another_request(
    spooling_team: Team, approved_manifest: dict[str, Any]
) -> None:
    uid = "11111111-aaaa-4000-8000-000000000001"
    with opened(spooling_team, faulty=True) as gate:
        assert gate.faults is not None
        gate.faults.leave()
        gate.ask(uid=uid)
        assert "gate.request/uid_reused" in gate.refusal(approved_manifest, uid=uid)
        gate.faults.come_back()
        # The log does not know the uid yet: recorded as a refusal of the second, it would keep the first out for good.
        assert "gate.request/uid_reused" in gate.refusal(approved_manifest, uid=uid)
        drained(gate)
        assert [body["violations"][0]["code"] for body in gate.records("decision")] == ["store_unavailable"]


def test_a_store_that_was_rolled_back_gets_no_allow_and_its_denials_wait(
    spooling_team: Team, approved_manifest: dict[str, Any]
) -> None:
    with opened(spooling_team, faulty=True) as gate:
        assert gate.faults is not None
        gate.faults.fail("state", after=False, error=TamperError("older", code="rolled_back"))
        assert "gate.record/rolled_back" in gate.refusal(approved_manifest)
        assert gate.metric("placet_spool_waiting") == 1


def test_an_allow_whose_commit_was_durable_unknown_to_the_gate_is_told_in_the_outage(
    spooling_team: Team, approved_manifest: dict[str, Any]
) -> None:
    with opened(spooling_team, faulty=True) as gate:
        assert gate.faults is not None
        gate.faults.fail("commit", after=True, error=unavailable("store_unavailable", "injected"))
        uid = "11111111-aaaa-4000-8000-000000000001"
        assert gate.ask(approved_manifest, uid=uid)["allowed"] is False
        assert gate.ask(approved_manifest, uid=uid)["allowed"] is False
        drained(gate)
        (outage,) = gate.records("outage")
        assert [one["uid"] for one in outage["otherwise"]] == [uid]
        assert len([body for body in gate.records("decision") if body["uid"] == uid]) == 1


def test_a_dry_run_leaves_nothing_in_the_spool(spooling_team: Team) -> None:
    with opened(spooling_team, faulty=True) as gate:
        assert gate.faults is not None
        gate.faults.leave()
        gate.ask(dry_run=True)
        assert gate.metric("placet_spool_waiting") == 0


def test_a_full_spool_is_said_in_every_way_and_denials_are_still_answered(own_team: Team) -> None:
    own_team.configure({"record": {"spool": {"folder": "spool", "max_denials": 1}}})
    with opened(own_team, faulty=True) as gate:
        assert gate.faults is not None
        gate.faults.leave()
        gate.ask()
        assert gate.refusal().endswith("not in the record")
        assert gate.metric("placet_spool_full") == 1
        assert gate.metric("placet_spool_denials_total", outcome="lost") == 1
        assert gate.metric("placet_unrecorded_denials_total") == 1
        assert "warning record: spool_full: 1 denials wait" in gate.ready()[1]
        gate.faults.come_back()
        drained(gate)
        assert [(one["spooled"], one["lost"]) for one in gate.records("outage")] == [(1, 1)]
        assert gate.metric("placet_spool_full") == 0


def test_a_spool_that_can_not_be_used_is_warned_of_and_the_gate_decides(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    (own_team.folder / "spool").write_text("a file", encoding="utf-8")
    own_team.configure({"record": {"spool": {"folder": "spool"}}})
    with opened(own_team, faulty=True) as gate:
        assert gate.faults is not None
        status, text = gate.ready()
        assert (status, text.startswith("ok\nwarning record: spool_failed: ")) == (200, True)
        gate.faults.leave()
        assert gate.refusal().endswith("not in the record")
        (own_team.folder / "spool").unlink()
        drained(gate)
        assert "to be recorded" in gate.refusal()
        gate.faults.come_back()
        drained(gate)
        assert gate.ready() == (200, "ok\n")
        assert gate.ask(approved_manifest)["allowed"] is True
        assert [(one["spooled"], one["lost"]) for one in gate.records("outage")] == [(1, 1)]


def test_a_damaged_file_is_named_by_readiness_and_the_gate_goes_on(spooling_team: Team) -> None:
    with opened(spooling_team):
        (spooling_team.folder / "spool" / "lane-0" / "0000000000000001.denial").write_bytes(b"torn")
    with opened(spooling_team) as gate:
        drained(gate)
        status, text = gate.ready()
        assert status == 200
        assert "warning record: spool_damaged: 1 files were set aside, the first lane-0-0000000000000001.denial" in text
        assert gate.metric("placet_spool_denials_total", outcome="set_aside") == 1
        (spooling_team.folder / "spool" / "damaged" / "lane-0-0000000000000001.denial").unlink()
        drained(gate)
        assert gate.ready() == (200, "ok\n")


def test_a_process_that_is_killed_in_an_outage_loses_no_denial_and_lets_nothing_in(
    spooling_team: Team, approved_manifest: dict[str, Any]
) -> None:
    """The real process, killed with its store locked, and the next one drains."""
    store = spooling_team.folder / "record.sqlite"
    spool = spooling_team.folder / "spool"
    asked = [f"22222222-aaaa-4000-8000-00000000000{number}" for number in range(3)]

    def ask(replica: Replica, uid: str, manifest: dict[str, Any]) -> None:
        response = replica.ask(review(manifest, uid=uid))
        assert response["allowed"] is False
        assert response["status"]["message"].endswith("to be recorded once the store of the record is back")

    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as other:
        with started(spooling_team) as replica:
            other.execute("BEGIN IMMEDIATE")
            ask(replica, asked[0], approved_manifest)
            ask(replica, asked[1], example())
            replica.signal(signal.SIGKILL)
            assert poll_until(lambda: not replica.process.running, PATIENCE_S)
        other.execute("ROLLBACK")
    assert len(list(spool.glob("lane-*/*.denial"))) == 2
    with started(spooling_team) as replica:
        assert poll_until(lambda: not list(spool.glob("lane-*/*.denial")), PATIENCE_S)
        assert replica.ask(review(approved_manifest, uid=asked[0]))["allowed"] is False
        assert replica.ask(review(approved_manifest, uid=asked[2]))["allowed"] is True
    with contextlib.closing(sqlite3.connect(store)) as connection:
        rows = connection.execute("SELECT uid, allowed FROM leaves WHERE uid LIKE '2222%' ORDER BY idx").fetchall()
        assert rows == [(asked[0], 0), (asked[1], 0), (asked[2], 1)]
        assert connection.execute("SELECT count(*) FROM leaves WHERE leaf_type = 'outage'").fetchone() == (1,)
    key = (spooling_team.folder / "keys" / "log.vkey").read_text(encoding="utf-8").strip()
    spooling_team.run("audit", "verify", "--store", "record.sqlite", "--log-key", key)
