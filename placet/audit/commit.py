"""Group commit: whoever waits first commits for all who wait.

There is no thread of its own and no waiting window. The first caller becomes the leader, begins the store's write
transaction, and only then takes everything that has queued up meanwhile, itself included: one sync pays for all. When
it is done it hands the lead to the next in the queue. Nobody is told of success before ``commit`` has returned.

A store that is a trip away is not asked what this process knows already. It is told what the record is supposed to end
with, and that no uid of these is in it, and refuses what is not so; only then is it asked. What may be believed after a
refusal is a matter of speed alone: whether the record says so is decided where it is kept.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Final

from placet.audit.merkle import HASH_BYTES, Frontier
from placet.audit.record import Leaf, parse_leaf
from placet.audit.stores import Entry, Store, StoredLeaf, Transaction, digested
from placet.audit.stores.failure import unavailable
from placet.audit.trial import trial_entries
from placet.errors import AuditError, FormatError, TamperError

MAX_BATCH: Final = 256
MAX_BATCH_BYTES: Final = 16 * 1024 * 1024
_REFUSED: Final = frozenset({"store_conflict", "record_refused"})


class _Turn(Enum):
    QUEUED = 1
    LEADING = 2
    TAKEN = 3
    LEFT = 4  # taken, and no longer waiting
    DONE = 5


class _Trust(Enum):
    """What is not asked of the store before it is written to."""

    STATE = 1  # what the record ends with, nor which uids are in it
    UIDS = 2  # which uids are in it
    NOTHING = 3
    OWN_WORDS = 4  # nor what became of the same batch: it was sent, and no answer came


_TRUSTING: Final = frozenset({_Trust.STATE, _Trust.UIDS})


class Pending:
    """One caller's leaf on its way.

    Attributes:
        leaf: what is to be appended.
        leaf_hash: its hash, computed in the caller's thread.
        attachments: name -> bytes.
        digested: the same with their SHA-256, computed in the caller's thread too.
        give_up: moment on the monotonic clock after which the caller no longer waits, seconds.
        outcome: where the leaf is, once it is durable; for a uid that was there before, the leaf that has it.
        size: size of the log of which ``outcome`` is part.
        checkpoint: the newest signed note then, "" where there was none.
        replayed: whether ``outcome`` was there before.
        error: why it is not.
        weight: bytes of the leaf and its attachments.
    """

    __slots__ = (
        "attachments",
        "checkpoint",
        "digested",
        "error",
        "give_up",
        "leaf",
        "leaf_hash",
        "outcome",
        "replayed",
        "size",
        "turn",
        "wake",
        "weight",
    )

    def __init__(self, leaf: Leaf, attachments: Mapping[str, bytes], *, give_up: float) -> None:
        self.leaf = leaf
        self.leaf_hash = leaf.hash
        self.attachments = attachments
        self.digested = digested(attachments)
        self.weight = len(leaf.raw) + sum(map(len, attachments.values()))
        self.give_up = give_up
        self.outcome: StoredLeaf | None = None
        self.size = 0
        self.checkpoint = ""
        self.replayed = False
        self.error: AuditError | None = None
        self.turn = _Turn.QUEUED
        self.wake = threading.Lock()
        self.wake.acquire()


class GroupCommit:
    """Appends leaves of many threads to one store."""

    def __init__(
        self, store: Store, *, clock: Callable[[], float] = time.monotonic, max_batch: int = MAX_BATCH
    ) -> None:
        self._store = store
        self._clock = clock
        self._max_batch = max_batch
        self._lock = threading.Lock()
        self._queue: list[Pending] = []
        self._leading = False
        self._known: Frontier | None = None
        self._alone = True  # nobody else has written lately

    def append(self, pending: Pending) -> Pending:
        """Wait until the leaf is durable.

        Returns:
            The same, with its outcome.

        Raises:
            StoreUnavailable: it is not known to be durable.
            AuditError: ``uid_reused`` when the uid belongs to another request.
            TamperError: the store is not what this process wrote.
        """
        with self._lock:
            self._queue.append(pending)
            leads = not self._leading
            if leads:
                self._leading = True
                pending.turn = _Turn.LEADING
        if leads or self._wait(pending):
            self._lead(pending)
        if pending.error is not None:
            # each caller raises one of its own: a traceback belongs to one thread
            raise copy.copy(pending.error) from pending.error
        return pending

    def probe(self, *, deadline_s: float, durably: bool) -> None:
        """Find out whether an append would succeed now.

        Args:
            deadline_s: seconds to wait for other writers.
            durably: whether to write leaves and take them back, and the state row anew and commit that, or only to
                begin.

        Raises:
            StoreUnavailable: it would not.
            TamperError: the store is not what this process wrote.
        """
        transaction = self._store.begin(deadline_s=deadline_s)
        try:
            frontier = transaction.state()
            self._require_continuity(frontier)
            if durably:
                # In a database whose disk is full a row is often still changed where it stands, and none added.
                tried = trial_entries(frontier.size)
                after = frontier.copy()
                after.extend([entry.leaf_hash for entry in tried])
                transaction.try_out(tried, after)
                # SQLite writes nothing where the bytes are those that are there: another state comes in between.
                other = Frontier(frontier.size, frontier.hashes)
                other.append(bytes(HASH_BYTES))
                transaction.put_state(other)
                transaction.put_state(frontier)
                transaction.commit()
        finally:
            transaction.rollback()

    def _wait(self, pending: Pending) -> bool:
        """Whether the lead was handed over; otherwise the outcome or the error is there."""
        woken = False
        try:
            woken = pending.wake.acquire(timeout=max(pending.give_up - self._clock(), 0))
        finally:
            if not woken:  # too late, or interrupted
                self._withdraw(pending)
        return pending.turn is _Turn.LEADING

    def _withdraw(self, pending: Pending) -> None:
        with self._lock:
            if pending.turn is _Turn.TAKEN:
                pending.turn = _Turn.LEFT
                pending.error = unavailable(
                    "store_unavailable", "no answer in time; the record may still become durable"
                )
            elif pending.turn is not _Turn.DONE:
                self._queue.remove(pending)
                if pending.turn is _Turn.LEADING:
                    self._hand_over()
                pending.turn = _Turn.DONE
                pending.error = unavailable("store_locked", "no turn in time")

    def _hand_over(self) -> None:
        """Let the next in the queue lead; the lock is held."""
        self._leading = bool(self._queue)
        if self._queue:
            self._queue[0].turn = _Turn.LEADING
            self._queue[0].wake.release()

    def _lead(self, own: Pending) -> None:
        batch: list[Pending] = [own]
        trust: _Trust | None = self._first_trust()
        try:
            if trust is _Trust.STATE:
                time.sleep(0)  # nothing is locked yet: whoever is about to queue up does so, and shares the commit
            while trust is not None:
                transaction = self._store.begin(
                    deadline_s=own.give_up - self._clock(), supposed=self._known if trust is _Trust.STATE else None
                )
                batch = self._take()
                trust = self._write(transaction, batch, trust)
                if trust is not None:
                    self._put_back(batch)
                    batch = [own]
        except AuditError as exc:
            own.error = exc  # the others are still in the queue, and have their own time
        finally:
            self._finish(batch)

    def _first_trust(self) -> _Trust:
        if not self._store.remote:
            return _Trust.NOTHING
        return _Trust.STATE if self._alone and self._known is not None else _Trust.UIDS

    def _take(self) -> list[Pending]:
        """The first of the queue, as many as one message to a server should have."""
        batch: list[Pending] = []
        with self._lock:
            weight = 0
            for pending in self._queue[: self._max_batch]:
                weight += pending.weight
                if batch and weight > MAX_BATCH_BYTES:
                    break
                pending.turn = _Turn.TAKEN
                batch.append(pending)
        return batch

    def _put_back(self, batch: Sequence[Pending]) -> None:
        """Nothing of it was written: whoever still waits is in the queue as before."""
        with self._lock:
            left = [pending for pending in batch if pending.turn is _Turn.LEFT]
            self._queue = [pending for pending in self._queue if pending not in left]
            for pending in batch:
                if pending.turn is _Turn.TAKEN:
                    pending.turn = _Turn.QUEUED
                    pending.error = None

    def _finish(self, batch: Sequence[Pending]) -> None:
        with self._lock:
            finished = set(map(id, batch))
            self._queue = [pending for pending in self._queue if id(pending) not in finished]
            self._hand_over()  # the next batch is written while these callers wake up
            for pending in batch:
                if pending.outcome is None and pending.error is None:
                    pending.error = unavailable("store_unavailable", "the append was interrupted")
                pending.turn = _Turn.DONE
        for pending in batch:
            pending.wake.release()

    def _write(self, transaction: Transaction, batch: Sequence[Pending], trust: _Trust) -> _Trust | None:
        """Write a batch, or say what else is to be asked first; then nothing of it was written."""
        try:
            staged = self._stage(transaction, batch, trust)
            if staged is not None:
                transaction.commit()
                self._known = staged
            checkpoint = transaction.newest_note()
            for pending in batch:
                pending.checkpoint = checkpoint
        except AuditError as exc:
            transaction.rollback()
            _forget(batch)
            if after := self._trust_after(exc, trust, batch):
                return after
            if exc.code in _REFUSED and len(batch) > 1:
                self._write_apart(batch)
                return None
            for pending in batch:
                pending.error = pending.error or _explained(exc)
        except BaseException:
            _forget(batch)
            raise
        finally:
            transaction.rollback()
        return None

    def _trust_after(self, error: AuditError, trust: _Trust, batch: Sequence[Pending]) -> _Trust | None:
        """What to trust where that much was refused; None where it is not why."""
        if trust is _Trust.STATE and error.code in {"store_conflict", "store_locked"}:
            self._alone = False
            return _Trust.UIDS
        known = all(pending.leaf.columns.uid is not None for pending in batch)
        if trust is _Trust.STATE and error.code == "store_unavailable" and known and batch[0].give_up > self._clock():
            # A connection that had been idle may be gone, and was not asked whether it is. To send the batch again is
            # safe: what arrives late finds another state than it supposed, what arrived before is found by its uid.
            return _Trust.OWN_WORDS
        return _Trust.NOTHING if trust in _TRUSTING and error.code in _REFUSED else None

    def _write_apart(self, batch: Sequence[Pending]) -> None:
        """One of the batch can't be stored: each in a transaction of its own, so that it fails alone."""
        for pending in batch:
            try:
                transaction = self._store.begin(deadline_s=pending.give_up - self._clock())
                self._write(transaction, [pending], _Trust.NOTHING)
            except AuditError as exc:
                pending.error = exc

    def _stage(self, transaction: Transaction, batch: Sequence[Pending], trust: _Trust) -> Frontier | None:
        """Insert what is new; the frontier after it, or None where nothing is."""
        frontier = transaction.state()
        self._require_continuity(frontier)
        if trust is not _Trust.STATE:
            self._alone = self._known is None or frontier.size == self._known.size
        uids = [pending.leaf.columns.uid for pending in batch if pending.leaf.columns.uid is not None]
        placed = transaction.find_uids(uids) if uids and trust not in _TRUSTING else {}
        doubted = trust is _Trust.OWN_WORDS and frontier != self._known
        entries: list[Entry] = []
        for pending in batch:
            uid = pending.leaf.columns.uid
            if uid is not None and uid in placed:
                _replay(pending, placed[uid])
                continue
            outcome = StoredLeaf(frontier.size, pending.leaf.raw, pending.leaf_hash)
            entries.append(Entry(outcome.index, pending.leaf, outcome.leaf_hash, pending.attachments, pending.digested))
            frontier.append(outcome.leaf_hash)
            pending.outcome = outcome
            if uid is not None:
                placed[uid] = outcome
        for pending in batch:
            pending.size = frontier.size
        if not entries and not doubted:
            return None
        # where nothing is new, but may have been committed a moment ago: what comes after it is not durable before it
        transaction.insert(entries)
        transaction.put_state(frontier)
        return frontier

    def _require_continuity(self, stored: Frontier) -> None:
        """The store still holds at least what this process wrote to it or found in it."""
        if self._known is None:
            return
        if stored.size < self._known.size:
            message = f"the record has {stored.size} leaves where it had {self._known.size}"
            raise TamperError(
                message,
                index=stored.size,
                code="rolled_back",
                hint="The store was replaced or restored. Keep it and run `placet audit verify`.",
            )
        if stored.size == self._known.size and stored != self._known:
            raise TamperError("the state row of the record was changed", code="state_changed")


def _replay(pending: Pending, stored: StoredLeaf) -> None:
    try:
        same = parse_leaf(stored.raw_leaf).columns.request_digest == pending.leaf.columns.request_digest
    except FormatError:
        pending.error = TamperError(f"leaf {stored.index} can't be read", index=stored.index, code="leaf_malformed")
        return
    if same:
        pending.outcome = stored
        pending.replayed = True
    else:
        pending.error = AuditError("the uid of the request belongs to another request in the record", code="uid_reused")


def _forget(batch: Sequence[Pending]) -> None:
    """Nothing of the batch is durable by this transaction; what a uid refused stays refused."""
    for pending in batch:
        pending.outcome = None
        pending.replayed = False


def _explained(error: AuditError) -> AuditError:
    if error.code == "store_conflict":
        return TamperError("the leaves of the record are not those that its state row says", code="state_changed")
    return error
