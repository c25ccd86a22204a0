"""Revocations as records: written once, read at the start, and enough by themselves to go on revoking."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.approvals.envelope import parse_envelope
from placet.approvals.revocations import KeptRevocations, Revocation, Revocations, load_revocations
from placet.approvals.statement import RevocationStatement, parse_statement
from placet.audit.log import AuditLog
from placet.audit.record import REVOCATION
from placet.audit.stores.file import open_readonly
from placet.audit.stores.sqlite import SqliteStore
from placet.audit.verify import verify_file
from placet.canonical import Digest
from placet.errors import FormatError, StoreUnavailable, TamperError
from placet.revoked import ENVELOPE, ON_ITS_WAY, RevocationRecord, parse_revocation, render_revocation
from tests.simulators.desk import NOON, ApprovalDesk
from tests.simulators.faults import FaultyStore
from tests.simulators.tampering import LOG_KEY, ORIGIN, append, surgery

CLUSTER = "prod-eu-1"


def approval(number: int) -> str:
    return f"0a0b0c0d-0000-4000-8000-{number:012d}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.db"


@pytest.fixture
def log(path: Path) -> Iterator[AuditLog]:
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    yield log
    log.close()


@pytest.fixture
def revocations(tmp_path: Path) -> Revocations:
    """Three, signed and verified."""
    desk, folder = ApprovalDesk.standard(), tmp_path / "revocations"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.dsse.json").write_bytes(desk.revoke(approval(number), role="security", by="bob"))
    return load_revocations(folder, keyring=desk.keyring)


class Replica:
    """What one gate knows of revocations."""

    def __init__(self, log: AuditLog, *, cluster: str = CLUSTER) -> None:
        self.kept = KeptRevocations()
        self.record = RevocationRecord(log, self.kept, cluster=cluster)
        self.record.learn(NOON)

    def look(self, *found: Revocation, after: timedelta = timedelta()) -> int:
        """Find some and look; how many records that made."""
        self.kept.add(found)
        self.record.learn(NOON + after)
        return len(list(self.record.append_new(NOON + after)))

    @property
    def numbers(self) -> list[int]:
        return sorted(int(one.approval_id[-12:]) for one in self.kept.now)


def recorded(path: Path) -> list[int]:
    """Numbers of the recorded ones, in order."""
    with open_readonly(path) as reader:
        leaves = [leaf.raw_leaf for leaf in reader.leaves(0, 10**6)]
    return [int(leaf.split(b'"approval_id":"')[1][24:36]) for leaf in leaves if leaf.startswith(b"revocation\n")]


def test_a_record_says_what_is_revoked_by_whom_and_keeps_the_envelope(log: AuditLog, revocations: Revocations) -> None:
    one = next(iter(revocations))
    assert Replica(log).look(one) == 1
    ((index, body),) = log.since(REVOCATION, 0)
    assert body == {
        "schema": "placet.dev/record/v1",
        "type": "revocation",
        "time": "2026-11-22T12:00:00.000000Z",
        "cluster": CLUSTER,
        "approval_id": approval(0),
        "role": "security",
        "environment": "production",
        "person": "p-bob",
        "statement": str(one.statement),
        "envelope_digest": str(Digest.of(one.envelope)),
    }
    assert index == 0
    envelope = log.newest_attachment(REVOCATION, ENVELOPE)
    assert envelope == one.envelope
    statement = parse_statement(parse_envelope(envelope).payload)
    assert isinstance(statement, RevocationStatement)
    assert statement.approval_id == approval(0)


def test_each_is_recorded_once_whoever_finds_it_again(log: AuditLog, path: Path, revocations: Revocations) -> None:
    first, second = Replica(log), Replica(log)
    assert first.look(*revocations) == 3
    assert first.look(*revocations) == 0
    assert second.look(*revocations) == 0
    assert Replica(log).look(*revocations) == 0
    assert recorded(path) == [0, 1, 2]


def test_another_replica_learns_of_it_without_ever_seeing_a_file(log: AuditLog, revocations: Revocations) -> None:
    first, second = Replica(log), Replica(log)
    zero, one, two = revocations
    first.look(zero)
    second.look(one)
    first.look(two)
    assert second.look() == 0
    assert first.look() == 0
    assert first.numbers == second.numbers == [0, 1, 2]


def test_what_another_replica_recorded_just_now_may_still_be_on_its_way(
    log: AuditLog, revocations: Revocations
) -> None:
    zero, one, _ = revocations
    first, second = Replica(log), Replica(log)
    first.look(zero)
    second.look(one, after=timedelta(seconds=1))
    soon, late = NOON + ON_ITS_WAY, NOON + ON_ITS_WAY + timedelta(seconds=1)
    assert second.record.may_be_on_its_way(zero, soon)
    assert not second.record.may_be_on_its_way(zero, late)
    assert not second.record.may_be_on_its_way(one, soon)  # its own
    assert not Replica(log).record.may_be_on_its_way(zero, soon)  # of the past


def test_two_at_the_same_moment_do_no_harm(log: AuditLog, path: Path, revocations: Revocations) -> None:
    zero, *_ = revocations
    first, second = Replica(log), Replica(log)
    for replica in (first, second):
        replica.kept.add([zero])
    assert [len(list(replica.record.append_new(NOON))) for replica in (first, second)] == [1, 1]
    assert recorded(path) == [0, 0]
    assert Replica(log).numbers == [0]


def test_a_restart_has_them_all_in_force_between_any_number_of_decisions(
    log: AuditLog, revocations: Revocations
) -> None:
    replica = Replica(log)
    for number, one in enumerate(revocations):
        append(log, number + 10)
        replica.look(one)
        log.heartbeat(NOON)
    known = Replica(log).kept.now
    assert [replace(one, envelope=b"") for one in revocations] == list(known)
    found = known.find(approval(1), role="security", environment="production")
    assert found is not None
    assert found.person == "p-bob"
    assert known.find(approval(1), role="technical", environment="production") is None


def test_the_record_of_another_cluster_revokes_nothing_here(log: AuditLog, revocations: Revocations) -> None:
    zero, one, _ = revocations
    Replica(log, cluster="elsewhere").look(zero)
    here = Replica(log)
    assert here.numbers == []
    assert here.look(zero, one) == 2


def test_a_question_to_the_record_uses_the_index(log: AuditLog, path: Path, revocations: Revocations) -> None:
    Replica(log).look(*revocations)
    asked: list[str] = []
    with open_readonly(path) as reader:
        reader._connection.set_trace_callback(asked.append)
        assert len(list(reader.of_type(REVOCATION, start=1))) == 2
    (statement,) = asked
    connection = sqlite3.connect(path)
    plan = " ".join(str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
    connection.close()
    assert plan == "SEARCH leaves USING INDEX leaves_by_type (leaf_type=? AND idx>?)"


def test_nothing_is_asked_twice(log: AuditLog, revocations: Revocations, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Replica(log)
    replica.look(*revocations)
    replica.look()
    starts: list[int] = []
    since = AuditLog.since

    def counted(self: AuditLog, leaf_type: str, start: int) -> list[tuple[int, Mapping[str, Any]]]:
        starts.append(start)
        return since(self, leaf_type, start)

    monkeypatch.setattr(AuditLog, "since", counted)
    append(log, 1)
    assert replica.look() == 0
    assert starts == [3]


def test_a_failed_append_is_tried_again_and_counts_meanwhile(path: Path, revocations: Revocations) -> None:
    store = FaultyStore(SqliteStore.open(path, origin=ORIGIN))
    log = AuditLog(store)
    replica = Replica(log)
    store.fail("commit", after=False)
    with pytest.raises(StoreUnavailable):
        replica.look(*revocations)
    assert (replica.numbers, replica.record.waiting) == ([0, 1, 2], 3)
    assert replica.look() == 3
    assert (recorded(path), replica.record.waiting) == ([0, 1, 2], 0)
    log.close()


def test_an_append_that_nobody_heard_of_is_not_made_again(path: Path, revocations: Revocations) -> None:
    store = FaultyStore(SqliteStore.open(path, origin=ORIGIN))
    log = AuditLog(store)
    replica = Replica(log)
    store.fail("commit", after=True)
    with pytest.raises(StoreUnavailable):
        replica.look(*revocations)
    assert replica.look() == 2
    assert recorded(path) == [0, 1, 2]
    log.close()


def test_many_are_recorded_over_several_looks(
    log: AuditLog, path: Path, revocations: Revocations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("placet.revoked.AT_ONCE_S", 0.0)
    replica = Replica(log)
    assert [replica.look(*revocations) for _ in range(4)] == [1, 1, 1, 0]
    assert recorded(path) == [0, 1, 2]


def test_an_erased_envelope_still_revokes_and_is_noted(path: Path, log: AuditLog, revocations: Revocations) -> None:
    Replica(log).look(*revocations)
    log.checkpoint()
    assert verify_file(path, [LOG_KEY.verifier]).notes == ()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM blobs WHERE idx = 1")
    connection.close()
    result = verify_file(path, [LOG_KEY.verifier])
    assert result.verified
    assert result.by_type == {"revocation": 3}
    assert [note for note in result.notes if note.startswith("1 attachments were erased")] == list(result.notes)
    assert Replica(log).numbers == [0, 1, 2]


@pytest.mark.parametrize("what", [b"p-bob", b"security", b"revocation\n", b"}"])
def test_a_leaf_that_was_changed_is_not_believed(
    path: Path, log: AuditLog, revocations: Revocations, what: bytes
) -> None:
    Replica(log).look(*revocations)
    with surgery(path) as database:
        (leaf,) = database.execute("SELECT leaf FROM leaves WHERE idx = 1").fetchone()
        database.execute("UPDATE leaves SET leaf = ? WHERE idx = 1", (leaf.replace(what, b"x" * len(what), 1),))
    with pytest.raises(TamperError) as caught:
        Replica(log)
    assert (caught.value.code, caught.value.index) == ("leaf_changed", 1)
    assert "audit verify" in caught.value.hint


def test_a_changed_leaf_takes_nothing_away_from_a_gate_that_runs(
    path: Path, log: AuditLog, revocations: Revocations
) -> None:
    zero, one, two = revocations
    running, other = Replica(log), Replica(log)
    running.look(zero)
    other.look(one, two)
    with surgery(path) as database:
        database.execute("UPDATE leaves SET leaf = CAST(replace(leaf, 'p-bob', 'p-eve') AS BLOB) WHERE idx = 2")
    for _ in range(2):
        with pytest.raises(TamperError):
            running.look()
    assert running.numbers == [0]


@pytest.mark.parametrize("name", ["approval_id", "role", "environment", "person", "statement"])
@pytest.mark.parametrize("value", [None, "", 7, ["x"]])
def test_a_record_that_does_not_say_what_it_revokes_stops_the_start(
    log: AuditLog, revocations: Revocations, name: str, value: Any
) -> None:
    body = render_revocation(next(iter(revocations)), cluster=CLUSTER, moment=NOON)
    log.append({**body, name: value})
    with pytest.raises(TamperError) as caught:
        Replica(log)
    assert (caught.value.code, caught.value.index) == ("leaf_malformed", 0)


def test_a_record_of_a_later_release_may_say_more(revocations: Revocations) -> None:
    one = next(iter(revocations))
    body = render_revocation(one, cluster=CLUSTER, moment=NOON)
    assert parse_revocation({**body, "ticket": "CHG-1"}) == replace(one, envelope=b"")
    with pytest.raises(FormatError):
        parse_revocation({**body, "statement": "sha256:x"})
