"""Checkpoints and heartbeats come when they are due, and nothing is signed that was tampered with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from placet.audit.checkpoint import verify_checkpoint
from placet.audit.checkpointer import Checkpointer, CheckpointThread
from placet.audit.location import StoreLocation
from placet.audit.log import AuditLog
from placet.audit.merkle import hash_leaf
from placet.audit.verify import verify_file
from placet.errors import AuditError, TamperError
from tests.simulators.tampering import (
    ATTACKS,
    LOG_KEY,
    ORIGIN,
    OTHER_KEY,
    START,
    Attack,
    append,
    build_log,
    surgery,
)

ON_A_FILE = pytest.mark.parametrize("location", ["sqlite"], indirect=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.db"


@pytest.fixture
def log(location: StoreLocation) -> Iterator[AuditLog]:
    log = AuditLog.open(location, origin=ORIGIN, key=LOG_KEY)
    yield log
    log.close()


def test_the_first_round_beats_and_signs(log: AuditLog) -> None:
    done = Checkpointer(log).run_once(START)
    assert done.heartbeat is not None
    assert done.checkpoint == log.latest_checkpoint()
    assert log.signed_size == 1


def test_a_checkpoint_is_due_after_a_minute_if_anything_is_new(log: AuditLog) -> None:
    clockwork = Checkpointer(log)
    clockwork.run_once(START)
    assert clockwork.run_once(START + timedelta(seconds=61)).checkpoint is None  # nothing is new
    append(log, 1)
    assert clockwork.run_once(START + timedelta(seconds=61)).checkpoint is not None
    append(log, 2)
    assert clockwork.run_once(START + timedelta(seconds=120)).checkpoint is None
    assert clockwork.run_once(START + timedelta(seconds=121)).checkpoint is not None
    assert clockwork.signed_at == START + timedelta(seconds=121)


def test_a_checkpoint_is_due_after_so_many_leaves(log: AuditLog) -> None:
    clockwork = Checkpointer(log, checkpoint_leaves=3)
    clockwork.run_once(START)
    for number, due in ((1, False), (3, False), (4, True)):
        append(log, number)
        assert (clockwork.run_once(START).checkpoint is not None) == due


@ON_A_FILE
def test_a_heartbeat_is_due_every_ten_minutes_whoever_wrote_the_last(log: AuditLog, path: Path) -> None:
    clockwork = Checkpointer(log)
    other = AuditLog.open(path, origin=ORIGIN)
    assert clockwork.run_once(START).heartbeat is not None
    assert clockwork.run_once(START + timedelta(seconds=599)).heartbeat is None
    other.heartbeat(START + timedelta(seconds=600))
    assert clockwork.run_once(START + timedelta(seconds=601)).heartbeat is None
    assert clockwork.run_once(START + timedelta(seconds=1200)).heartbeat is not None
    other.close()


def test_a_restart_within_ten_minutes_does_not_beat_again(log: AuditLog) -> None:
    Checkpointer(log).run_once(START)
    assert Checkpointer(log).run_once(START + timedelta(seconds=5)).heartbeat is None


def test_a_heartbeat_from_the_future_does_not_silence_the_next(log: AuditLog) -> None:
    log.heartbeat(START + timedelta(days=365))
    assert Checkpointer(log).run_once(START).heartbeat is not None


def test_nothing_new_is_signed_by_the_same_checkpoint(log: AuditLog) -> None:
    append(log, 1)
    assert log.checkpoint() == log.checkpoint()


@ON_A_FILE
def test_an_empty_log_can_be_signed(log: AuditLog, path: Path) -> None:
    assert log.checkpoint().split("\n")[1] == "0"
    log.close()
    assert verify_file(path, [LOG_KEY.verifier]).verified


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "_"))
@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_nothing_false_is_ever_signed(path: Path, attack: Attack, *, restarted: bool) -> None:
    """The signer may miss what lies before its last checkpoint; it must not sign anything that contradicts it."""
    build_log(path)
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    if not restarted:
        log.checkpoint()  # signs the last three leaves too, and stays in memory
    genuine = log.latest_checkpoint() or ""
    if restarted:
        log.close()
    with surgery(path) as database:
        attack.work(database)
    try:
        if restarted:
            log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
        log.checkpoint()
    except AuditError as exc:
        assert exc.code == "origin_differs" or isinstance(exc, TamperError)
        return
    finally:
        log.close()
    result = verify_file(path, [LOG_KEY.verifier], saved=[("genuine.note", genuine.encode())])
    assert attack.kind in result.kinds, "what was signed must not hide what was done"


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE leaves SET leaf = x'00' WHERE idx = 20", "leaf_changed"),
        ("DELETE FROM leaves WHERE idx = 19", "missing"),
        ("DELETE FROM leaves WHERE idx = 20", "state_changed"),
        ("UPDATE state SET frontier = zeroblob(96)", "state_changed"),
        ("UPDATE state SET size = 4, frontier = zeroblob(32)", "truncated"),
        ("UPDATE checkpoints SET root = zeroblob(32)", "checkpoint_invalid"),
        ("UPDATE checkpoints SET frontier = zeroblob(64)", "checkpoint_invalid"),
        ("UPDATE checkpoints SET note = 'x'", "checkpoint_invalid"),
    ],
)
def test_the_signer_refuses_by_name(location: StoreLocation, statement: str, code: str) -> None:
    build_log(location)
    with surgery(location) as database:
        database.execute(statement)
    log = AuditLog.open(location, origin=ORIGIN, key=LOG_KEY)
    with pytest.raises(TamperError) as caught:
        log.checkpoint()
    assert caught.value.code == code
    log.close()


def test_a_store_without_its_state_row_is_not_opened(location: StoreLocation) -> None:
    build_log(location)
    with surgery(location) as database:
        database.execute("DELETE FROM state")
    with pytest.raises(TamperError) as caught:
        AuditLog.open(location, origin=ORIGIN)
    assert caught.value.code == "state_changed"


@pytest.mark.parametrize("statement", ["DELETE FROM checkpoints", "DELETE FROM checkpoints WHERE size > 12"])
def test_checkpoints_that_disappear_are_missed(location: StoreLocation, statement: str) -> None:
    build_log(location)
    log = AuditLog.open(location, origin=ORIGIN, key=LOG_KEY)
    log.checkpoint()
    with surgery(location) as database:
        database.execute(statement)
    with pytest.raises(TamperError) as caught:
        log.checkpoint()
    assert caught.value.code == "rolled_back"
    log.close()


def test_a_store_that_another_key_signed_is_not_signed_on(location: StoreLocation) -> None:
    build_log(location, key=OTHER_KEY)
    log = AuditLog.open(location, origin=ORIGIN, key=LOG_KEY)
    with pytest.raises(TamperError):
        log.checkpoint()
    log.close()


def test_after_a_change_of_keys_the_former_one_is_known(path: Path) -> None:
    build_log(path, key=OTHER_KEY)
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY, former_keys=[OTHER_KEY.verifier])
    log.checkpoint()
    log.close()
    result = verify_file(path, [LOG_KEY.verifier, OTHER_KEY.verifier])
    assert (result.verified, result.checkpoints) == (True, 4)


def test_two_signers_of_one_store_agree(location: StoreLocation) -> None:
    build_log(location)
    logs = [AuditLog.open(location, origin=ORIGIN, key=LOG_KEY) for _ in range(2)]
    for number in range(30, 36):
        append(logs[number % 2], number)
        assert logs[0].checkpoint() == logs[1].checkpoint()
    for log in logs:
        log.close()
    assert verify_file(location, [LOG_KEY.verifier]).verified


def test_a_signer_hashes_only_what_is_new(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_log(path)
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    hashed: list[bytes] = []

    def counting(leaf: bytes) -> bytes:
        hashed.append(leaf)
        return hash_leaf(leaf)

    monkeypatch.setattr("placet.audit.signer.hash_leaf", counting)
    log.checkpoint()
    assert len(hashed) == 3
    append(log, 30)
    log.checkpoint()
    assert len(hashed) == 4
    log.close()


@ON_A_FILE
def test_the_thread_goes_on_after_an_error_and_stops_when_told(log: AuditLog, path: Path) -> None:
    failures: list[str] = []
    rounds: list[float] = []

    def wait(seconds: float) -> bool:
        rounds.append(seconds)
        if len(rounds) == 1:
            with surgery(path) as database:
                database.execute("UPDATE state SET frontier = zeroblob(32)")
        return len(rounds) == 3

    moments = iter([START + timedelta(hours=number) for number in range(3)])
    thread = CheckpointThread(
        Checkpointer(log), failed=lambda error: failures.append(error.code), clock=lambda: next(moments), wait=wait
    )
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert rounds == [1.0, 1.0, 1.0]
    assert failures == ["state_changed", "state_changed"]


def test_the_thread_stops_between_two_looks(log: AuditLog) -> None:
    thread = CheckpointThread(Checkpointer(log), failed=lambda error: pytest.fail(str(error)), clock=lambda: START)
    thread.start()
    thread.stop(timeout_s=60)
    assert not thread.is_alive()
    assert log.latest_checkpoint() is not None


def test_the_store_is_not_locked_while_it_signs(location: StoreLocation) -> None:
    build_log(location)
    log = AuditLog.open(location, origin=ORIGIN, key=LOG_KEY)
    with log._store.reading() as reader:
        leaves = reader.leaves(0, 100)
        next(leaves)
        append(log, 50)
        assert len(list(leaves)) == 20
    log.close()


def test_two_checkpointers_that_sign_while_the_log_grows_sign_one_history(location: StoreLocation) -> None:
    """Of the same and of different sizes, at once: every note holds for the log that it ends up as."""
    AuditLog.open(build_log(location), origin=ORIGIN).close()
    together = threading.Barrier(3)
    notes: list[str] = []

    def sign() -> None:
        log = AuditLog.open(location, origin=ORIGIN, key=LOG_KEY)
        together.wait(60)
        notes.extend(log.checkpoint() for _ in range(12))
        log.close()

    signers = [threading.Thread(target=sign) for _ in range(2)]
    for signer in signers:
        signer.start()
    log = AuditLog.open(location, origin=ORIGIN)
    together.wait(60)
    for number in range(30, 60):
        append(log, number)
    for signer in signers:
        signer.join()
    log.close()
    assert len(notes) == 24
    result = verify_file(
        location, [LOG_KEY.verifier], saved=[(str(place), note.encode()) for place, note in enumerate(notes)]
    )
    assert (result.findings, len(result.saved)) == ((), 24)
    roots: dict[int, set[bytes]] = {}
    for note in notes:
        signed = verify_checkpoint(note.encode(), [LOG_KEY.verifier])
        roots.setdefault(signed.size, set()).add(signed.root)
    assert all(len(signed) == 1 for signed in roots.values())
