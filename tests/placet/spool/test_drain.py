"""What was denied while the store was away is in the record once it is back: each once, whenever the process dies."""

from __future__ import annotations

import os
import signal
import sqlite3
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from placet.audit.log import AuditLog
from placet.audit.record import OUTAGE
from placet.audit.stores.failure import unavailable
from placet.audit.stores.sqlite import SqliteStore
from placet.audit.verify import verify_file
from placet.canonical import Digest
from placet.spool.denial import Denial
from placet.spool.drain import Drained, Drainer
from placet.spool.lane import DAMAGED, Lane, list_damaged
from placet.spool.spool import Spool
from placet.spool.waiting import Kept
from tests.simulators.faults import STEPS, FaultyStore
from tests.simulators.tampering import LOG_KEY, ORIGIN, decision, policy_input_of

NOW: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
SPOOLING: Final = ("create", "write", "written", "synced", "named", "count", "counted")
DRAINING: Final = ("count", "counted", "remove", "removed")


def denial(number: int, **changes: Any) -> Denial:
    body = decision(number, allowed=False, approved=False, spooled={"at": "x", "cause": "store_full"}, **changes)
    return Denial(body, {"input": policy_input_of(number)})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "record.db"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@contextmanager
def spool_in(folder: Path, **terms: Any) -> Iterator[Spool]:
    spool = Spool(folder, **{"max_bytes": 1 << 20, "max_denials": 100, **terms})
    try:
        yield spool
    finally:
        spool.close()


@contextmanager
def log_in(store: Path) -> Iterator[AuditLog]:
    log = AuditLog.open(store, origin=ORIGIN, key=LOG_KEY)
    try:
        yield log
    finally:
        log.close()


def drainer(spool: Spool, log: AuditLog) -> Drainer:
    return Drainer(spool, log, cluster="prod-eu-1", clock=lambda: NOW)


def drain(spool: Spool, store: Path) -> Drained:
    with log_in(store) as log:
        return drainer(spool, log).run_once()


def uids(store: Path) -> list[str]:
    """In the order of the log, which is verified."""
    with log_in(store) as log:
        log.checkpoint()
    assert verify_file(store, [LOG_KEY.verifier]).findings == ()
    connection = sqlite3.connect(store)
    try:
        return [uid for (uid,) in connection.execute("SELECT uid FROM leaves WHERE uid IS NOT NULL ORDER BY idx")]
    finally:
        connection.close()


def outages(store: Path) -> list[Any]:
    with log_in(store) as log:
        return [body for _, body in log.since(OUTAGE, 0)]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("lane-*/*.denial"))


def killed_at(step: str, times: int, act: Callable[[Callable[[str], None]], None]) -> bool:
    """Run it in a process that is killed when it comes to the step for the so manieth time; whether it came there."""
    child = os.fork()
    if child == 0:
        left = [times]

        def strike(at: str) -> None:
            if at == step:
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            act(strike)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child of a test must not go on as the test
            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_what_waits_is_recorded_in_order_and_told_once(store: Path, folder: Path) -> None:
    with spool_in(folder) as spool:
        for number in (3, 1, 2):
            assert spool.add(denial(number), deadline_s=5) == (Kept.DURABLE, denial(number))
        assert spool.standing().waiting == 3
        done = drain(spool, store)
        assert (done.recorded, done.set_aside, done.failed) == (3, [], "")
        assert drain(spool, store) == Drained()
        standing = spool.standing()
        assert (standing.waiting, standing.bytes, standing.kept, standing.recorded, standing.lost) == (0, 0, 3, 3, 0)
    assert uids(store) == ["uid-3", "uid-1", "uid-2"]
    (outage,) = outages(store)
    assert (outage["spooled"], outage["recorded"], outage["lost"], outage["set_aside"]) == (3, 3, 0, 0)
    assert outage["since"] == decision(3)["time"]
    with log_in(store) as log:
        found = log.find_uid("uid-1")
        assert found is not None
        assert found.leaf == denial(1).leaf
    assert files(folder) == []


def test_attachments_are_recorded_with_it(store: Path, folder: Path) -> None:
    with spool_in(folder) as spool:
        spool.add(denial(1), deadline_s=5)
        drain(spool, store)
    connection = sqlite3.connect(store)
    assert connection.execute("SELECT content FROM blobs").fetchall() == [(policy_input_of(1),)]
    connection.close()


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("step", SPOOLING)
def test_killed_while_it_spools_nothing_that_was_answered_is_lost_and_nothing_is_twice(
    store: Path, folder: Path, step: str, times: int
) -> None:
    """The child writes down which denials it was told are durable, as an answer would."""
    told = folder.parent / "told"

    def act(strike: Callable[[str], None]) -> None:
        spool = Spool(folder, max_bytes=1 << 20, max_denials=100, strike=strike)
        with told.open("a", encoding="ascii") as answers:
            for number in range(3):
                kept, _ = spool.add(denial(number), deadline_s=60)
                assert kept is Kept.DURABLE
                answers.write(f"uid-{number}\n")
                answers.flush()
        spool.close()

    assert killed_at(step, times, act)
    answered = told.read_text(encoding="ascii").split() if told.exists() else []
    with spool_in(folder) as spool:
        on_disk = len(files(folder))
        done = drain(spool, store)
        assert spool.standing().waiting == 0
    recorded = uids(store)
    assert recorded == [f"uid-{number}" for number in range(len(recorded))]
    assert answered == recorded[: len(answered)]
    assert len(recorded) - len(answered) in {0, 1}  # what was on its way may be there
    assert done.recorded + len(done.set_aside) == on_disk
    assert len(list_damaged(folder)) == len(done.set_aside) <= 1
    assert files(folder) == []
    told_by_record = outages(store)
    assert sum(one["spooled"] for one in told_by_record) == on_disk
    assert sum(one["recorded"] for one in told_by_record) == len(recorded)
    assert sum(one["set_aside"] for one in told_by_record) == len(done.set_aside)


class _Dies(FaultyStore):
    """Calls ``strike`` before and after each step on the store."""

    def __init__(self, path: Path, strike: Callable[[str], None]) -> None:
        super().__init__(SqliteStore.open(path, origin=ORIGIN))
        self._die = strike

    def strike(self, step: str, *, after: bool) -> None:
        self._die(f"{'after' if after else 'before'} {step}")


@pytest.mark.parametrize("times", [1, 2, 3, 4])
@pytest.mark.parametrize("step", [*DRAINING, *(f"{when} {step}" for step in STEPS for when in ("before", "after"))])
def test_killed_while_it_drains_each_is_recorded_once(store: Path, folder: Path, step: str, times: int) -> None:
    """Three denials and the leaf of the outage: four appends to die in."""
    with spool_in(folder) as spool:
        for number in range(3):
            spool.add(denial(number), deadline_s=5)

    def act(strike: Callable[[str], None]) -> None:
        armed: list[bool] = []
        spool = Spool(folder, max_bytes=1 << 20, max_denials=100, strike=lambda at: strike(at) if armed else None)
        log = AuditLog(_Dies(store, lambda at: strike(at) if armed else None))
        armed.append(True)
        Drainer(spool, log, cluster="prod-eu-1", clock=lambda: NOW).run_once()

    died = killed_at(step, times, act)
    if (step, times) not in {("remove", 4), ("removed", 4), ("after find_uids", 4), ("before find_uids", 4)}:
        assert died, "the test has to reach the step"
    with spool_in(folder) as spool:
        drain(spool, store)
        assert spool.standing().waiting == 0
    assert uids(store) == ["uid-0", "uid-1", "uid-2"]
    assert files(folder) == []
    told = outages(store)
    assert [(one["spooled"], one["recorded"], one["lost"], one["set_aside"]) for one in told] == [(3, 3, 0, 0)]


def test_a_store_that_goes_away_again_in_the_middle_ends_the_round_and_the_next_goes_on(
    store: Path, folder: Path
) -> None:
    faulty = FaultyStore(SqliteStore.open(store, origin=ORIGIN))
    log = AuditLog(faulty)
    with spool_in(folder) as spool:
        for number in range(3):
            spool.add(denial(number), deadline_s=5)
        faulty.fail("commit", after=True)  # durable, and nobody hears of it
        assert drainer(spool, log).run_once().failed == "store_full"
        assert spool.standing().waiting == 3
        faulty.fail("begin", after=False)
        assert drainer(spool, log).run_once().failed == "store_full"  # the look before it fails already
        assert drainer(spool, log).run_once().recorded == 3
    log.close()
    assert uids(store) == ["uid-0", "uid-1", "uid-2"]


def test_a_denial_whose_uid_is_recorded_as_allowed_is_named_in_the_outage(store: Path, folder: Path) -> None:
    """An allow whose commit was durable, and not known to be: it was answered as a denial."""
    body = decision(1)
    with log_in(store) as log:
        log.append(body, uid="uid-1", attachments={"input": policy_input_of(1)})
    with spool_in(folder) as spool:
        spool.add(denial(1), deadline_s=5)
        assert drain(spool, store).recorded == 1
    assert uids(store) == ["uid-1"]
    (outage,) = outages(store)
    assert (outage["otherwise"], outage["otherwise_total"]) == ([{"uid": "uid-1", "index": 0}], 1)


def test_a_denial_whose_uid_belongs_to_another_request_is_set_aside(store: Path, folder: Path) -> None:
    with log_in(store) as log:
        log.append(decision(1), uid="uid-1", attachments={"input": policy_input_of(1)})
    other = denial(1, request_digest=str(Digest.of(b"another request")))
    with spool_in(folder) as spool:
        spool.add(other, deadline_s=5)
        spool.add(denial(2), deadline_s=5)
        done = drain(spool, store)
        assert (done.recorded, done.set_aside) == (1, [("lane-0-0000000000000001.denial", "uid_reused")])
        assert spool.standing().damaged == ("lane-0-0000000000000001.denial",)
    assert uids(store) == ["uid-1", "uid-2"]
    assert [one["set_aside"] for one in outages(store)] == [1]


@pytest.mark.parametrize("fault", ["torn", "empty", "flipped", "allow", "not a file of ours", "too large"])
def test_a_damaged_file_is_set_aside_named_and_counted_and_the_others_are_drained(
    store: Path, folder: Path, fault: str
) -> None:
    with spool_in(folder) as spool:
        for number in range(3):
            spool.add(denial(number), deadline_s=5)
    file = folder / "lane-0" / "0000000000000002.denial"
    raw = file.read_bytes()
    allow = raw.replace(b'"allowed":false', b'"allowed":true').split(b"\n", 2)
    file.write_bytes(
        {
            "torn": raw[: len(raw) // 2],
            "empty": b"",
            "flipped": raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:],
            "allow": b"\n".join([allow[0], str(Digest.of(allow[2])).encode(), allow[2]]),
            "not a file of ours": os.urandom(500),
            "too large": raw + b" " * (4 << 20),
        }[fault]
    )
    with spool_in(folder) as spool:
        done = drain(spool, store)
    assert done.recorded == 2
    assert [name for name, _ in done.set_aside] == ["lane-0-0000000000000002.denial"]
    assert (folder / DAMAGED / "lane-0-0000000000000002.denial").exists()
    assert uids(store) == ["uid-0", "uid-2"]
    (outage,) = outages(store)
    assert (outage["spooled"], outage["recorded"], outage["set_aside"]) == (3, 2, 1)


def test_a_torn_count_is_made_good_from_the_files_and_said(store: Path, folder: Path) -> None:
    with spool_in(folder) as spool:
        for number in range(2):
            spool.add(denial(number), deadline_s=5)
    (folder / "lane-0" / "tally").write_bytes(os.urandom(16384))
    with spool_in(folder) as spool:
        drain(spool, store)
    (outage,) = outages(store)
    assert (outage["spooled"], outage["recorded"], outage["complete"]) == (2, 2, False)


def test_one_torn_slot_of_the_count_leaves_the_other(store: Path, folder: Path) -> None:
    with spool_in(folder) as spool:
        spool.add(denial(0), deadline_s=5)
    counts = folder / "lane-0" / "tally"
    raw = counts.read_bytes()
    newer = 8192  # the first count is generation 1
    counts.write_bytes(raw[:newer] + b"torn" + raw[newer + 4 :])
    with spool_in(folder) as spool:
        drain(spool, store)
    (outage,) = outages(store)
    assert (outage["spooled"], outage["recorded"]) == (1, 1)


def test_replicas_that_share_a_folder_have_a_lane_each_and_the_one_that_lives_drains_for_the_dead(
    store: Path, folder: Path
) -> None:
    with spool_in(folder) as first:
        first.add(denial(0), deadline_s=5)
        with spool_in(folder) as second:
            second.add(denial(1), deadline_s=5)
            assert files(folder) == ["0000000000000001.denial"] * 2
            drain(first, store)
            assert second.standing().waiting == 1  # what a living one holds is its own
        with spool_in(folder, clock=lambda: 0.0) as third:
            assert third.find("uid-1") == denial(1)  # asked again, whoever had answered
            drain(third, store)
    assert uids(store) == ["uid-0", "uid-1"]
    assert Counter(one["spooled"] for one in outages(store)) == {1: 2}


def test_an_adopted_lane_is_let_go_once_it_is_told(store: Path, folder: Path) -> None:
    with spool_in(folder), spool_in(folder) as second:
        second.add(denial(0), deadline_s=5)
    moments = iter([0.0, *([100.0] * 100)])
    lane_0 = Lane.claim(folder, 0)
    assert lane_0 is not None
    with spool_in(folder, clock=lambda: next(moments)) as third:  # has lane 1, with what is in it
        lane_0.close()
        with log_in(store) as log:
            assert drainer(third, log).run_once().recorded == 1
        again = Lane.claim(folder, 0)
        assert again is not None
        again.close()


def test_what_is_lost_is_told_though_nothing_waits(store: Path, folder: Path) -> None:
    with spool_in(folder, max_denials=1) as spool:
        assert spool.add(denial(0), deadline_s=5)[0] is Kept.DURABLE
        assert spool.add(denial(1), deadline_s=5)[0] is Kept.LOST
        assert spool.standing().full
        drain(spool, store)
        assert not spool.standing().full
    (outage,) = outages(store)
    assert (outage["spooled"], outage["recorded"], outage["lost"]) == (1, 1, 1)


def test_an_outage_that_begins_while_the_last_is_told_is_another(store: Path, folder: Path) -> None:
    with spool_in(folder) as spool, log_in(store) as log:
        spool.add(denial(0), deadline_s=5)
        since = log.since

        def denied_meanwhile(leaf_type: str, start: int) -> Any:
            if log.newest(OUTAGE) is None:
                spool.add(denial(1), deadline_s=5)
            return since(leaf_type, start)

        log.since = denied_meanwhile  # type: ignore[method-assign]
        drainer(spool, log).run_once()
        drainer(spool, log).run_once()
        del log.since
    told = outages(store)
    assert [(one["spooled"], one["recorded"]) for one in told] == [(1, 1), (1, 1)]
    assert told[0]["outage_id"] != told[1]["outage_id"]


def test_nothing_is_tried_while_the_store_is_away(store: Path, folder: Path) -> None:
    faulty = FaultyStore(SqliteStore.open(store, origin=ORIGIN))
    log = AuditLog(faulty)
    with spool_in(folder) as spool:
        spool.add(denial(0), deadline_s=5)
        faulty.fail("begin", after=False, error=unavailable("store_readonly"))
        assert drainer(spool, log).run_once().failed == "store_readonly"
        assert spool.standing().waiting == 1
    log.close()
