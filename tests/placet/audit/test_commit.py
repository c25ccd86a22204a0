"""Group commit: one sync for all who wait, and each its own answer."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from placet.audit import commit as commit_module
from placet.audit.commit import GroupCommit, Pending
from placet.audit.merkle import Frontier
from placet.audit.record import render_leaf
from placet.audit.segments import Segment
from placet.audit.stores import Entry, Reader, StoredCheckpoint, StoredLeaf
from placet.audit.stores.failure import unavailable
from placet.audit.terms import TermBlock
from placet.errors import AuditError, StoreUnavailable
from tests.simulators.tampering import decision


class MemoryStore:
    """Leaves in a list. ``hold`` keeps ``begin`` waiting until ``let_go``; ``poison`` can't be stored."""

    origin = "placet.dev/log/test"
    remote = False

    def __init__(self) -> None:
        self.frontier = Frontier()
        self.uids: list[str] = []
        self.commits: list[int] = []
        self.poison = ""
        self.broken: AuditError | None = None
        self._turn = threading.Lock()
        self._go = threading.Event()
        self._go.set()
        self.begun = threading.Semaphore(0)

    def hold(self) -> None:
        self._go.clear()

    def let_go(self) -> None:
        self._go.set()

    def begin(self, *, deadline_s: float, supposed: Frontier | None = None) -> MemoryTransaction:
        del deadline_s, supposed
        self.begun.release()
        self._go.wait(60)
        assert self._turn.acquire(blocking=False), "two leaders at once"
        return MemoryTransaction(self, self._turn)

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        raise NotImplementedError
        yield

    def add_block(self, block: TermBlock) -> bool:
        raise NotImplementedError

    def add_segment(self, segment: Segment, *, pruned: int) -> bool:
        raise NotImplementedError

    def add_terms(self, number: int, rows: Sequence[tuple[int, bytes]]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


class MemoryTransaction:
    def __init__(self, store: MemoryStore, turn: threading.Lock) -> None:
        self._store = store
        self._turn = turn
        self._open = True
        self._entries: list[Entry] = []
        self._frontier = Frontier()

    def state(self) -> Frontier:
        return self._store.frontier.copy()

    def find_uids(self, uids: Sequence[str]) -> dict[str, StoredLeaf]:
        del uids
        return {}

    def newest_note(self) -> str:
        return ""

    def insert(self, entries: Sequence[Entry]) -> None:
        if any(entry.leaf.columns.uid == self._store.poison for entry in entries):
            raise AuditError("poison", code="record_refused")
        self._entries.extend(entries)

    def put_state(self, frontier: Frontier) -> None:
        self._frontier = frontier.copy()

    def try_out(self, entries: Sequence[Entry], frontier: Frontier) -> None:
        raise NotImplementedError

    def put_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        raise NotImplementedError

    def commit(self) -> None:
        if self._store.broken:
            raise self._store.broken
        self._store.frontier = self._frontier
        self._store.uids.extend(entry.leaf.columns.uid or "" for entry in self._entries)
        self._store.commits.append(len(self._entries))
        self._open = False
        self._turn.release()

    def rollback(self) -> None:
        if self._open:
            self._open = False
            self._turn.release()


def _pending(number: int, *, give_up: float = 60.0, uid: str = "") -> Pending:
    body = decision(number) | ({"uid": uid} if uid else {})
    return Pending(render_leaf(body), {}, give_up=give_up)


def _group_commit(store: MemoryStore, *, max_batch: int = 256) -> GroupCommit:
    return GroupCommit(store, clock=lambda: 0.0, max_batch=max_batch)


def _wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(10**7):
        if condition():
            return
        os.sched_yield()
    pytest.fail("it never came to be")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def _together(store: MemoryStore, commit: GroupCommit, pendings: Sequence[Pending]) -> list[Pending | AuditError]:
    """Append all at once: the first begins and is held there until the others have queued up."""

    def one(pending: Pending) -> Pending | AuditError:
        try:
            return commit.append(pending)
        except AuditError as exc:
            return exc

    store.hold()
    with ThreadPoolExecutor(len(pendings)) as pool:
        first = pool.submit(one, pendings[0])
        store.begun.acquire()
        others = []
        for place, pending in enumerate(pendings[1:], start=2):
            others.append(pool.submit(one, pending))
            _wait_for(lambda place=place: len(commit._queue) == place)  # type: ignore[misc]
        store.let_go()
        return [future.result(60) for future in [first, *others]]


def test_all_who_wait_share_one_commit_in_the_order_of_their_coming(store: MemoryStore) -> None:
    answers = _together(store, _group_commit(store), [_pending(number) for number in range(8)])
    assert store.commits == [8]
    assert [answer.outcome.index for answer in answers if isinstance(answer, Pending) and answer.outcome] == list(
        range(8)
    )
    assert store.uids == [f"uid-{number}" for number in range(8)]


def test_more_than_a_batch_are_committed_by_the_next_leader(store: MemoryStore) -> None:
    answers = _together(store, _group_commit(store, max_batch=3), [_pending(number) for number in range(8)])
    assert store.commits == [3, 3, 2]
    assert all(isinstance(answer, Pending) for answer in answers)


def test_what_is_too_much_for_one_message_is_committed_by_the_next_leader(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    heavy = [_pending(number) for number in range(6)]
    monkeypatch.setattr(commit_module, "MAX_BATCH_BYTES", heavy[0].weight + heavy[1].weight)
    _together(store, _group_commit(store), heavy)
    assert store.commits == [2, 2, 2]
    monkeypatch.setattr(commit_module, "MAX_BATCH_BYTES", 1)
    _together(store, _group_commit(store), [_pending(number) for number in range(6, 8)])
    assert store.commits == [2, 2, 2, 1, 1]


def test_a_commit_that_fails_fails_for_all(store: MemoryStore) -> None:
    store.broken = unavailable("store_full")
    answers = _together(store, _group_commit(store), [_pending(number) for number in range(4)])
    assert [answer.code for answer in answers if isinstance(answer, StoreUnavailable)] == ["store_full"] * 4
    assert len({id(answer) for answer in answers}) == 4
    assert store.uids == []


def test_what_can_not_be_stored_fails_alone(store: MemoryStore) -> None:
    store.poison = "uid-2"
    answers = _together(store, _group_commit(store), [_pending(number) for number in range(5)])
    assert [isinstance(answer, AuditError) for answer in answers] == [False, False, True, False, False]
    assert store.uids == ["uid-0", "uid-1", "uid-3", "uid-4"]


def test_one_uid_twice_in_a_batch_becomes_one_leaf(store: MemoryStore) -> None:
    answers = _together(store, _group_commit(store), [_pending(0), _pending(1), _pending(1), _pending(2)])
    assert [answer.replayed for answer in answers if isinstance(answer, Pending)] == [False, False, True, False]
    assert store.uids == ["uid-0", "uid-1", "uid-2"]


def test_one_uid_for_two_requests_in_a_batch_is_refused_to_the_second_alone(store: MemoryStore) -> None:
    answers = _together(store, _group_commit(store), [_pending(0), _pending(1), _pending(2, uid="uid-1"), _pending(3)])
    codes = [answer.code if isinstance(answer, AuditError) else "" for answer in answers]
    assert codes == ["", "", "uid_reused", ""]
    assert store.uids == ["uid-0", "uid-1", "uid-3"]


def test_who_gives_up_in_the_queue_leaves_nothing_behind(store: MemoryStore) -> None:
    answers = _together(store, _group_commit(store), [_pending(0), _pending(1)])
    assert len(answers) == 2
    commit = _group_commit(store)
    store.hold()
    with ThreadPoolExecutor(2) as pool:
        store.begun = threading.Semaphore(0)
        leader = pool.submit(commit.append, _pending(2))
        store.begun.acquire()
        late = pool.submit(commit.append, _pending(3, give_up=0.0))
        error = late.exception(60)
        store.let_go()
        leader.result(60)
    assert isinstance(error, StoreUnavailable)
    assert error.code == "store_locked"
    assert store.uids[-1] == "uid-2"


def test_a_leader_that_gets_no_turn_hands_over(store: MemoryStore) -> None:
    commit = _group_commit(store)
    begin = store.begin
    attempts = iter([unavailable("store_locked")])

    def first_fails(*, deadline_s: float, supposed: Frontier | None = None) -> MemoryTransaction:
        transaction = begin(deadline_s=deadline_s, supposed=supposed)
        if error := next(attempts, None):
            transaction.rollback()
            raise error
        return transaction

    store.begin = first_fails  # type: ignore[method-assign]
    answers = _together(store, commit, [_pending(number) for number in range(4)])
    assert [isinstance(answer, StoreUnavailable) for answer in answers] == [True, False, False, False]
    assert store.uids == ["uid-1", "uid-2", "uid-3"]


def test_an_interrupted_leader_takes_nobody_with_it_in_silence(store: MemoryStore) -> None:
    commit = _group_commit(store)
    store.broken = KeyboardInterrupt()  # type: ignore[assignment]
    store.hold()
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(commit.append, _pending(0))
        store.begun.acquire()
        follower = pool.submit(commit.append, _pending(1))
        _wait_for(lambda: len(commit._queue) == 2)
        store.let_go()
        assert isinstance(leader.exception(60), KeyboardInterrupt)
        error = follower.exception(60)
    assert isinstance(error, StoreUnavailable)
    store.broken = None
    commit.append(_pending(2))
    assert store.uids == ["uid-2"]
