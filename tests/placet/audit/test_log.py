"""What placet asks of its log."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from placet.audit.location import StoreLocation
from placet.audit.log import AuditLog, render_time
from placet.audit.merkle import hash_leaf
from placet.audit.record import render_leaf
from placet.audit.stores.file import open_readonly
from placet.canonical import Digest
from placet.errors import AuditError, StoreUnavailable, TamperError
from tests.simulators.tampering import LOG_KEY, ORIGIN, START, append, decision, policy_input_of, surgery

ON_A_FILE = pytest.mark.parametrize("location", ["sqlite"], indirect=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.db"


@pytest.fixture
def log(location: StoreLocation) -> Iterator[AuditLog]:
    log = AuditLog.open(location, origin=ORIGIN, key=LOG_KEY)
    yield log
    log.close()


def test_an_append_says_where_the_record_is(log: AuditLog) -> None:
    append(log, 0)
    body = decision(1)
    appended = log.append(body, uid="uid-1", request_digest=Digest.parse(body["request_digest"]))
    assert (appended.index, appended.size, appended.replayed, appended.leaf) == (1, 2, False, body)
    assert appended.leaf_hash.hex == render_leaf(body).hash.hex()


def test_an_append_names_the_newest_checkpoint_that_there_was(log: AuditLog) -> None:
    assert log.append(decision(0), uid="uid-0").checkpoint == ""
    first = log.checkpoint()
    assert log.append(decision(1), uid="uid-1").checkpoint == first
    second = log.checkpoint()
    again = log.append(decision(1), uid="uid-1")
    assert (again.replayed, again.checkpoint) == (True, second)


def test_a_uid_that_is_sent_again_is_answered_from_the_record(log: AuditLog) -> None:
    append(log, 1)
    append(log, 2)
    again = log.append(decision(1, latency_us=7, decision_id="another"), uid="uid-1")
    assert (again.index, again.size, again.replayed, again.leaf) == (0, 2, True, decision(1))
    assert log.size() == 2


def test_a_uid_of_another_request_is_refused(log: AuditLog) -> None:
    append(log, 1)
    with pytest.raises(AuditError) as caught:
        append(log, 2, uid="uid-1")
    assert caught.value.code == "uid_reused"
    assert log.size() == 1
    assert log.health().writable


def test_a_decision_id_twice_is_refused_and_no_sign_of_tampering(log: AuditLog) -> None:
    append(log, 1)
    with pytest.raises(AuditError) as caught:
        append(log, 2, decision_id="decision-1")
    assert caught.value.code == "record_refused"
    append(log, 3)


def test_a_record_is_appended_under_its_own_uid_digest_and_attachments(log: AuditLog) -> None:
    body = decision(1)
    for uid, request, attachments in (
        ("uid-2", None, {}),
        ("", None, {}),
        ("uid-1", Digest.of(b"other"), {}),
        ("uid-1", None, {"input": b"other"}),
        ("uid-1", None, {"output": policy_input_of(1)}),
    ):
        with pytest.raises(AuditError) as caught:
            log.append(body, uid=uid, request_digest=request, attachments=attachments)
        assert caught.value.code == "record_invalid"
    assert log.size() == 0


def test_an_attachment_has_a_size_that_somebody_can_keep(log: AuditLog) -> None:
    content = b"x" * (1024 * 1024 + 1)
    with pytest.raises(AuditError) as caught:
        log.append(decision(1, input_digest=str(Digest.of(content))), uid="uid-1", attachments={"input": content})
    assert caught.value.code == "record_too_large"


def test_a_decision_is_found_by_its_uid(log: AuditLog) -> None:
    append(log, 1)
    found = log.find_uid("uid-1")
    assert found is not None
    assert (found.index, found.leaf) == (0, decision(1))
    assert str(found.request_digest) == decision(1)["request_digest"]
    assert log.find_uid("uid-2") is None
    assert log.find_uid("") is None


def test_a_decision_that_was_changed_answers_nobody(log: AuditLog, location: StoreLocation) -> None:
    append(log, 4)
    with surgery(location) as database:
        database.execute("UPDATE leaves SET leaf = ?", (render_leaf(decision(4, allowed=True)).raw,))
    with pytest.raises(TamperError) as caught:
        log.find_uid("uid-4")
    assert caught.value.code == "leaf_changed"


@pytest.mark.parametrize(
    "ask",
    [
        lambda log: log.newest("heartbeat"),
        lambda log: log.newest_attachment("heartbeat", "settings"),
        lambda log: log.last_heartbeat(),
    ],
)
def test_a_newest_leaf_that_was_changed_answers_nobody(log: AuditLog, location: StoreLocation, ask: Any) -> None:
    log.heartbeat(START, interval_s=1)
    before = log.newest("heartbeat")
    assert before is not None
    assert log.last_heartbeat() == before["time"]
    changed = render_leaf({**before, "time": "2035-01-01T00:00:00.000000Z"}).raw
    with surgery(location) as database:
        database.execute("INSERT INTO blobs VALUES (0, 'settings', zeroblob(32), x'7b7d')")
        database.execute("UPDATE leaves SET leaf = ?", (changed,))
    with pytest.raises(TamperError) as caught:
        ask(log)
    assert caught.value.code == "leaf_changed"


def test_a_newest_leaf_that_can_not_be_read_is_no_other_error(log: AuditLog, location: StoreLocation) -> None:
    log.heartbeat(START, interval_s=1)
    with surgery(location) as database:
        database.execute("UPDATE leaves SET leaf = x'00', leaf_hash = ?", (hash_leaf(b"\x00"),))
    with pytest.raises(TamperError) as caught:
        log.newest("heartbeat")
    assert caught.value.code == "leaf_malformed"


def test_a_model_is_seen_once_it_was_approved(log: AuditLog) -> None:
    append(log, 4)  # a denial
    append(log, 6, approved=False)  # allowed all the same
    assert not log.model_seen("prod-eu-1", "production", "llama-3.1-70b")
    append(log, 5)
    assert log.model_seen("prod-eu-1", "production", "llama-3.1-70b")
    for other in (
        ("prod-eu-2", "production", "llama-3.1-70b"),
        ("prod-eu-1", "staging", "llama-3.1-70b"),
        ("prod-eu-1", "production", "x"),
    ):
        assert not log.model_seen(*other)


def test_the_last_admission_of_an_object_is_found(log: AuditLog) -> None:
    for number in (1, 4, 7, 16):  # llama-1 each; 4 and 16 are denials
        append(log, number)
    assert log.last_approved("production", "ml", "Deployment", "llama-1") == decision(7)
    assert log.last_approved("production", "ml", "Deployment", "llama-2") is None
    assert log.last_approved("staging", "ml", "Deployment", "llama-1") is None


def test_the_admissions_of_an_object_are_found_newest_first(log: AuditLog) -> None:
    for number in (1, 4, 7, 16):  # llama-1 each; 4 and 16 are denials
        append(log, number)
    where = {"cluster": "prod-eu-1", "environment": "production", "namespace": "ml", "kind": "Deployment"}
    assert log.approved(**where, name="llama-1") == [decision(7), decision(1)]
    for other in ({"cluster": "prod-eu-2"}, {"environment": "staging"}, {"namespace": "x"}, {"kind": "Rollout"}):
        assert log.approved(**{**where, **other}, name="llama-1") == []


@ON_A_FILE
def test_queries_use_their_indexes(log: AuditLog, path: Path) -> None:
    append(log, 1)
    from placet.audit.stores import reader  # noqa: PLC0415 - its statements

    connection = sqlite3.connect(path)
    for statement, index in (
        (reader._MODEL_SEEN, "leaves_by_model"),
        (reader._LAST_APPROVED, "leaves_by_object"),
        (reader._APPROVED_OF, "leaves_by_object"),
        (f"{reader._LEAF} WHERE leaf_type = :type AND leaf_type <> 'decision' ORDER BY idx DESC", "leaves_by_type"),
    ):
        names = ("model", "environment", "cluster", "namespace", "kind", "name", "type", "limit")
        plan = connection.execute(
            f"EXPLAIN QUERY PLAN {statement}", {**dict.fromkeys(names, ""), "limit": 1}
        ).fetchall()
        assert [index in row[3] and "TEMP B-TREE" not in row[3] for row in plan] == [True]
    connection.close()


def test_a_heartbeat_is_a_leaf(log: AuditLog) -> None:
    assert log.last_heartbeat() == ""
    beat = log.heartbeat(START)
    assert beat.leaf == {
        "schema": "placet.dev/record/v1",
        "type": "heartbeat",
        "time": "2026-11-22T18:00:00.000000Z",
        "interval_s": 600,
    }
    log.heartbeat(START + timedelta(minutes=10))
    assert log.last_heartbeat() == "2026-11-22T18:10:00.000000Z"


def test_times_are_written_in_utc() -> None:
    assert render_time(datetime(2026, 11, 22, 19, tzinfo=timezone(timedelta(hours=1)))) == render_time(START)
    assert render_time(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000000Z"


def test_what_was_written_is_there_after_a_restart(location: StoreLocation) -> None:
    first = AuditLog.open(location, origin=ORIGIN, key=LOG_KEY)
    append(first, 1)
    note = first.checkpoint()
    first.close()
    second = AuditLog.open(location, origin=ORIGIN, key=LOG_KEY)
    append(second, 2)
    assert second.size() == 2
    assert second.latest_checkpoint() == note
    assert second.checkpoint() != note
    second.close()


def test_a_store_is_of_one_log(path: Path) -> None:
    AuditLog.open(path, origin=ORIGIN).close()
    with pytest.raises(AuditError) as caught:
        AuditLog.open(path, origin="placet.dev/log/other")
    assert caught.value.code == "origin_differs"
    with pytest.raises(AuditError) as caught:
        AuditLog.open(path.with_name("other.db"), origin="placet.dev/log/other", key=LOG_KEY)
    assert caught.value.code == "origin_differs"


def test_a_file_of_another_program_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE notes (x)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(AuditError) as caught:
        AuditLog.open(path, origin=ORIGIN)
    assert caught.value.code == "store_foreign"
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("version", "written", "remedy"),
    [
        (99, "written by a newer placet", "Use the placet that wrote it, or a newer one."),
    ],
)
def test_a_store_of_another_version_is_left_alone_and_says_what_to_do(
    path: Path, version: int, written: str, remedy: str
) -> None:
    AuditLog.open(path, origin=ORIGIN).close()
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {version}")
    database.close()
    before = path.read_bytes()
    with pytest.raises(AuditError, match=f"record of version {version}, {written}") as caught:
        AuditLog.open(path, origin=ORIGIN)
    assert caught.value.code == "store_foreign"
    assert remedy in caught.value.hint
    with pytest.raises(AuditError) as read, open_readonly(path):
        pass
    assert str(read.value) == str(caught.value)
    assert path.read_bytes() == before


def test_a_missing_store_is_not_made_where_it_should_be_there(path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        AuditLog.open(path, origin=ORIGIN, create=False)
    assert not path.exists()


@ON_A_FILE
def test_only_its_owner_can_read_the_store(log: AuditLog, path: Path) -> None:
    append(log, 1)
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file


@ON_A_FILE
def test_the_store_is_in_write_ahead_mode_and_syncs_fully(log: AuditLog) -> None:
    store = log._store
    connection = store._writer  # type: ignore[attr-defined]
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


@ON_A_FILE
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE leaves SET requester = 'x'",
        "DELETE FROM leaves",
        "INSERT OR REPLACE INTO leaves SELECT * FROM leaves WHERE idx = 0",
        "UPDATE checkpoints SET note = ''",
        "DELETE FROM checkpoints",
        "DELETE FROM state",
        "UPDATE blobs SET content = x''",
    ],
)
def test_the_store_itself_refuses_to_change_what_was_written(log: AuditLog, path: Path, statement: str) -> None:
    append(log, 0)
    log.checkpoint()
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()


def test_a_closed_log_says_so(log: AuditLog) -> None:
    log.close()
    log.close()
    with pytest.raises(StoreUnavailable):
        append(log, 1)
    with pytest.raises(StoreUnavailable):
        log.size()


def test_without_its_key_nothing_is_signed(location: StoreLocation) -> None:
    log = AuditLog.open(location, origin=ORIGIN)
    with pytest.raises(AuditError) as caught:
        log.checkpoint()
    assert caught.value.code == "no_key"
    assert log.latest_checkpoint() is None
    assert log.signed_size == 0
    log.close()
