"""What was once revoked stays revoked: without its file, after a restart, in every replica; and the gate says so."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.approvals.envelope import parse_annotation
from placet.approvals.statement import ApprovalStatement, parse_statement
from placet.audit.stores import StoredLeaf
from placet.audit.stores.failure import unavailable
from placet.audit.stores.reader import SqliteReader
from placet.audit.verify import verify_file
from placet.errors import TamperError
from placet.revoked import ON_ITS_WAY
from tests.e2e.gateprocess import Team
from tests.e2e.lifegate import PATIENCE_S, Replica, started
from tests.e2e.processes import poll_until
from tests.simulators.gate import review
from tests.simulators.tampering import surgery
from tests.webhook.gaterun import Gate, opened
from webhook import logs
from webhook.readiness import Finding, Report, add_finding

WARNED = "warning keyring: revocation_missing: "
UNRECORDED = "warning record: revocation_unrecorded: "


def approval_of(manifest: dict[str, Any], role: str) -> str:
    """The id of the approval in a role."""
    text = manifest["metadata"]["annotations"][f"placet.dev/approval.{role}"]
    statement = parse_statement(parse_annotation(text).payload)
    assert isinstance(statement, ApprovalStatement)
    return statement.approval_id


def revoke(team: Team, manifest: dict[str, Any], role: str = "security", folder: str = "revocations") -> Path:
    """Take an approval back; gives the file."""
    keys = {"security": "sam", "technical": "tara"}
    approval = approval_of(manifest, role)
    team.run("revoke", approval, "--role", role, "-e", "production", "--key", f"keys/{keys[role]}.key",
             "--out", f"{folder}/")  # fmt: skip
    return team.folder / folder / f"{approval}.dsse.json"


def said(stream: io.StringIO, *messages: str) -> list[tuple[str, str]]:
    """Message and code of the lines with one of these messages."""
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [(line["message"], line.get("code", "")) for line in lines if line["message"] in messages]


def refused(gate: Gate, manifest: dict[str, Any]) -> bool:
    response = gate.ask(manifest)
    assert response["allowed"] or "revoked by " in str(response["status"]["message"])
    return not response["allowed"]


def test_a_revocation_without_its_file_stays_in_force_and_is_told_until_the_file_is_back(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    with opened(own_team) as gate:
        assert not refused(gate, approved_manifest)
        file = revoke(own_team, approved_manifest)
        assert refused(gate, approved_manifest)
        assert gate.ready() == (200, "ok\n")
        content = file.read_bytes()
        file.unlink()
        stream = io.StringIO()
        logs.configure(gate.runtime.config.log, stream=stream)
        assert refused(gate, approved_manifest)
        status, text = gate.ready()
        assert (status, text.startswith(f"ok\n{WARNED}1 without a file")) == (200, True)
        for words in (approval_of(approved_manifest, "security"), str(file.parent), "revokedApprovals"):
            assert words in text
        assert gate.metric("placet_stale", part="keyring") == 1
        gate.ready()
        file.write_bytes(content)
        assert gate.ready() == (200, "ok\n")
        assert gate.metric("placet_stale", part="keyring") == 0
        assert said(stream, "readiness warning", "readiness warning gone") == [
            ("readiness warning", "revocation_missing"),
            ("readiness warning gone", "revocation_missing"),
        ]
        assert gate.metric("placet_policy_reload_total", result="refused_keyring") is None


def test_a_restart_remembers_what_the_record_says(own_team: Team, approved_manifest: dict[str, Any]) -> None:
    file = revoke(own_team, approved_manifest)
    with opened(own_team) as gate:
        assert refused(gate, approved_manifest)
        (record,) = gate.records("revocation")
        assert (record["approval_id"], record["cluster"]) == (approval_of(approved_manifest, "security"), "e2e")
    file.unlink()
    for _ in range(2):
        with opened(own_team) as gate:
            assert refused(gate, approved_manifest)
            assert WARNED in gate.ready()[1]
            assert len(gate.records("revocation")) == 1


def test_it_counts_before_it_is_recorded_and_the_next_look_records_it(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    with opened(own_team) as gate:
        file = revoke(own_team, approved_manifest)
        assert refused(gate, approved_manifest)
        assert gate.records("revocation") == []
        file.unlink()
        assert refused(gate, approved_manifest)
        gate.runtime.look()
        assert len(gate.records("revocation")) == 1


def test_what_counted_in_the_last_second_is_recorded_before_the_end(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    with opened(own_team) as gate:
        file = revoke(own_team, approved_manifest)
        assert refused(gate, approved_manifest)
        file.unlink()
    with opened(own_team) as gate:
        assert refused(gate, approved_manifest)


def test_what_can_not_be_recorded_at_the_end_is_logged_and_ends_all_the_same(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    with opened(own_team, faulty=True) as gate:
        assert gate.faults is not None
        revoke(own_team, approved_manifest)
        assert refused(gate, approved_manifest)
        stream = io.StringIO()
        logs.configure(gate.runtime.config.log, stream=stream)
        gate.faults.fail("commit", after=False)
        gate.runtime.close()
        assert said(stream, "last revocations not recorded", "stopped") == [
            ("last revocations not recorded", "store_full"),
            ("stopped", ""),
        ]
        assert gate.records("revocation") == []
    with opened(own_team) as gate:
        assert len(gate.records("revocation")) == 1


def test_a_record_that_can_not_be_read_is_told_and_everything_known_counts(
    own_team: Team, approved_manifest: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    revoke(own_team, approved_manifest)
    with opened(own_team) as gate:
        with monkeypatch.context() as context:
            context.setattr(SqliteReader, "of_type", fail_to_read)
            status, text = gate.ready()
            assert (status, "warning record: store_corrupt: " in text) == (200, True)
            assert refused(gate, approved_manifest)
        assert gate.ready() == (200, "ok\n")


def fail_to_read(_reader: SqliteReader, _leaf_type: str, *, start: int) -> Iterator[StoredLeaf]:
    """As where the index is damaged and the table is not."""
    raise unavailable("store_corrupt", f"from {start} on")


def test_a_record_that_can_not_be_written_is_told_and_tried_again(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    revoke(own_team, approved_manifest)
    with opened(own_team, faulty=True, signed=False) as gate:
        assert gate.faults is not None
        assert len(gate.records("revocation")) == 1
        revoke(own_team, approved_manifest, "technical")
        gate.sign()
        gate.faults.fail("commit", after=False, error=unavailable("store_unavailable", "injected"))
        status, text = gate.ready()
        assert (status, f"{UNRECORDED}1 revocations count" in text) == (200, True)
        assert gate.metric("placet_stale", part="record") == 1
        assert refused(gate, approved_manifest)
        assert gate.ready() == (200, "ok\n")
        assert [body["role"] for body in gate.records("revocation")] == ["security", "technical"]


def test_two_replicas_write_it_once_and_one_is_enough_to_know(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    with opened(own_team) as first, opened(own_team) as second:
        file = revoke(own_team, approved_manifest)
        first.round()
        second.round()
        assert len(second.records("revocation")) == 1
        file.unlink()
        assert refused(first, approved_manifest)
        assert refused(second, approved_manifest)


def test_a_replica_that_never_had_the_file_waits_for_it_before_it_warns(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    with opened(own_team) as first, opened(own_team) as second:
        file = revoke(own_team, approved_manifest)
        first.round()
        file.unlink()
        second.round()
        assert refused(second, approved_manifest)
        assert WARNED in first.ready()[1]
        assert WARNED not in second.ready()[1]
        second.clock.ahead = ON_ITS_WAY + timedelta(seconds=1)
        second.sign()
        assert WARNED in second.ready()[1]


def without_folder(team: Team) -> None:
    file = team.folder / "placet.yaml"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(line for line in lines if "revocations:" not in line), encoding="utf-8")


@pytest.mark.parametrize("recorded", [True, False])
def test_no_folder_in_the_configuration_brings_no_approval_back(
    own_team: Team, approved_manifest: dict[str, Any], *, recorded: bool
) -> None:
    with opened(own_team) as gate:
        revoke(own_team, approved_manifest)
        assert refused(gate, approved_manifest)
        if recorded:
            gate.runtime.look()
        without_folder(own_team)
        gate.round()
        assert gate.runtime.config.revocations is None
        assert refused(gate, approved_manifest)
        text = gate.ready()[1]
        assert WARNED in text
        assert "keyring.revocations" in text
        assert gate.records("configuration")[-1]["downgrades"][0]["key"] == "keyring.revocations"
    with opened(own_team) as gate:
        assert refused(gate, approved_manifest)
        assert WARNED in gate.ready()[1]


def test_another_folder_adds_its_own_and_takes_nothing_away(own_team: Team, approved_manifest: dict[str, Any]) -> None:
    with opened(own_team) as gate:
        revoke(own_team, approved_manifest)
        assert refused(gate, approved_manifest)
        (own_team.folder / "others").mkdir()
        revoke(own_team, approved_manifest, "technical", "others")
        own_team.configure({"keyring": {"revocations": "others"}})
        gate.round()
        assert refused(gate, approved_manifest)
        assert {body["role"] for body in gate.records("revocation")} == {"security", "technical"}
        assert f"{WARNED}1 without a file" in gate.ready()[1]


def test_a_configuration_that_is_refused_revokes_nothing(own_team: Team, approved_manifest: dict[str, Any]) -> None:
    with opened(own_team) as gate:
        (own_team.folder / "others").mkdir()
        revoke(own_team, approved_manifest, "technical", "others")
        own_team.configure({"keyring": {"revocations": "others"}})
        assert gate.faults is None
        blocker = sqlite3.connect(own_team.folder / "record.sqlite", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        try:
            gate.runtime.reload()  # its record can't be written
        finally:
            blocker.execute("ROLLBACK")
            blocker.close()
        assert gate.runtime.config.revocations == own_team.folder / "revocations"
        assert not refused(gate, approved_manifest)
        assert gate.records("revocation") == []
        gate.runtime.reload()
        assert refused(gate, approved_manifest)


def test_a_refused_keyring_and_a_missing_file_are_both_told(own_team: Team, approved_manifest: dict[str, Any]) -> None:
    with opened(own_team) as gate:
        file = revoke(own_team, approved_manifest)
        assert refused(gate, approved_manifest)
        file.unlink()
        stream = io.StringIO()
        logs.configure(gate.runtime.config.log, stream=stream)
        keyring = own_team.folder / "keyring.dsse.json"
        content = keyring.read_bytes()
        gate.ready()
        keyring.write_text("{}", encoding="utf-8")
        text = gate.ready()[1]
        assert WARNED in text
        assert "warning keyring: keyring_malformed: " in text
        keyring.write_bytes(content)
        assert "keyring_malformed" not in gate.ready()[1]
        assert said(stream, "readiness warning", "readiness warning gone") == [
            ("readiness warning", "revocation_missing"),
            ("readiness warning", "keyring_malformed"),
            ("readiness warning gone", "keyring_malformed"),
        ]
        assert gate.metric("placet_policy_reload_total", result="refused_keyring") == 1


def test_a_recorded_revocation_that_was_changed_is_not_started_with(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    revoke(own_team, approved_manifest)
    with opened(own_team):
        pass
    tamper(own_team)
    with pytest.raises(TamperError) as caught, opened(own_team):
        pass
    assert caught.value.code == "leaf_changed"


def tamper(team: Team) -> None:
    """Let the recorded revocation name another approval."""
    with surgery(team.folder / "record.sqlite") as database:
        index, leaf = database.execute("SELECT idx, leaf FROM leaves WHERE leaf_type = 'revocation'").fetchone()
        changed = leaf.replace(b'"approval_id":"', b'"approval_id":"0', 1)
        database.execute("UPDATE leaves SET leaf = ? WHERE idx = ?", (changed, index))


def test_a_recorded_revocation_that_is_changed_under_a_running_gate_takes_it_out_of_service(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    with opened(own_team) as first, opened(own_team) as second:
        revoke(own_team, approved_manifest)
        first.runtime.look()
        tamper(own_team)
        status, text = second.ready()
        assert (status, "record: leaf_changed: " in text) == (503, True)
        assert refused(second, approved_manifest)


def test_a_revocation_that_was_taken_out_of_the_record_is_found_by_verification(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    revoke(own_team, approved_manifest)
    with opened(own_team) as gate:
        key = gate.runtime._log._signer._key.verifier  # type: ignore[union-attr]
    record = own_team.folder / "record.sqlite"
    for statement, kind in (
        ("UPDATE leaves SET leaf_type = 'policy' WHERE leaf_type = 'revocation'", "column_changed"),
        ("DELETE FROM leaves WHERE leaf_type = 'revocation'", "missing"),
    ):
        assert verify_file(record, [key]).verified
        shutil.copyfile(record, own_team.folder / "kept.sqlite")
        with surgery(record) as database:
            database.execute(statement)
        assert kind in verify_file(record, [key]).kinds
        shutil.copyfile(own_team.folder / "kept.sqlite", record)


def test_findings_of_a_part_are_told_together_and_each_once() -> None:
    findings: dict[str, Finding] = {}
    for code in ("a", "b", "a", "c"):
        add_finding(findings, "keyring", Finding(code, f"what {code} is"))
    report = Report(warnings=findings)
    assert sorted(report.lines().splitlines()) == [
        "ok",
        "warning keyring: a: what a is",
        "warning keyring: b: what b is",
        "warning keyring: c: what c is",
    ]
    assert min(Report(problems=findings).lines().splitlines()) == "keyring: a: what a is"


def test_the_whole_life_of_a_revocation_in_the_real_process(own_team: Team, approved_manifest: dict[str, Any]) -> None:
    asked = review(approved_manifest)

    def ask(replica: Replica, uid: str) -> tuple[bool, str]:
        response = replica.ask({**asked, "request": {**asked["request"], "uid": uid}})
        return response["allowed"], str(response.get("status", {}).get("message", ""))

    with started(own_team) as replica:
        assert ask(replica, "before")[0] is True
        file = revoke(own_team, approved_manifest)
        allowed, message = ask(replica, "after")
        assert (allowed, "revoked by " in message) == (False, True)
        assert poll_until(lambda: "revocation recorded" in replica.log, PATIENCE_S), replica.log[-2000:]
        file.unlink()
        assert ask(replica, "without the file")[0] is False
        assert poll_until(lambda: WARNED in replica.look()[1], PATIENCE_S), replica.look()
        assert replica.ready
        assert replica.metric('placet_stale{part="keyring"}') == 1
    with started(own_team) as replica:
        allowed, message = ask(replica, "after a restart")
        assert (allowed, "revoked by " in message) == (False, True)
        assert poll_until(lambda: WARNED in replica.look()[1], PATIENCE_S), replica.look()
    (own_team.folder / "approved.yaml").write_text(json.dumps(approved_manifest), encoding="utf-8")
    for command in (("plan",), ("plan", "--record", "record.sqlite"), ("verify",)):
        told = own_team.run(*command, "-f", "approved.yaml", "-e", "production", expect=1).stdout
        assert "revoked" in told, command
    verified = own_team.run("audit", "verify", "--store", "record.sqlite", "--log-key", "keys/log.vkey")
    assert verified.stdout.endswith("VERIFIED\n")
    assert "1 revocation" in verified.stdout
    listed = own_team.run("audit", "list", "--store", "record.sqlite", "--type", "revocation", "-o", "json").stdout
    (found,) = json.loads(listed)["records"]
    shown = own_team.run("audit", "show", str(found["index"]), "--store", "record.sqlite",
                         "--log-key", "keys/log.vkey").stdout  # fmt: skip
    assert approval_of(approved_manifest, "security") in shown
    assert "verified" in shown
    tamper(own_team)
    refusal = own_team.run("serve", expect=2).stderr
    assert "was changed" in refusal
    assert "placet audit verify" in refusal
    assert "Traceback" not in refusal
