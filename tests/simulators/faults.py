"""A store that fails where it is told to.

store = FaultyStore(SqliteStore.open(path, origin=ORIGIN))
store.fail("commit", after=True)          # durable, and nobody hears of it
with pytest.raises(StoreUnavailable):
    AuditLog(store).append(...)
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final

from placet.audit.merkle import Frontier
from placet.audit.segments import Segment
from placet.audit.stores import Entry, Reader, Store, StoredCheckpoint, StoredLeaf, Transaction
from placet.audit.stores.failure import unavailable
from placet.audit.terms import TermBlock

STEPS: Final = ("begin", "state", "find_uids", "insert", "put_state", "commit")


class FaultyStore:
    """Passes everything on, and raises once at one step of a transaction, before or after it is done."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._step = ""
        self._after = False
        self._error: BaseException = unavailable("store_unavailable", "injected")
        self._away: BaseException | None = None

    def fail(self, step: str, *, after: bool, error: BaseException | None = None) -> None:
        """Raise at the next such step."""
        self._step, self._after = step, after
        self._error = error or unavailable("store_full", "injected")

    def leave(self, error: BaseException | None = None) -> None:
        """Be away from now on, for whoever writes or reads."""
        self._away = error or unavailable("store_unavailable", "injected")

    def come_back(self) -> None:
        """Be there again."""
        self._away = None

    def strike(self, step: str, *, after: bool) -> None:
        """Raise if it is time."""
        if (step, after) == (self._step, self._after):
            self._step = ""
            raise self._error

    @property
    def origin(self) -> str:
        return self._store.origin

    @property
    def remote(self) -> bool:
        return self._store.remote

    def begin(self, *, deadline_s: float, supposed: Frontier | None = None) -> Transaction:
        if self._away is not None:
            raise self._away
        self.strike("begin", after=False)
        transaction = FaultyTransaction(self, self._store.begin(deadline_s=deadline_s, supposed=supposed))
        try:
            self.strike("begin", after=True)
        except BaseException:
            transaction.rollback()
            raise
        return transaction

    def reading(self) -> AbstractContextManager[Reader]:
        if self._away is not None:
            raise self._away
        return self._store.reading()

    def add_block(self, block: TermBlock) -> bool:
        if self._away is not None:
            raise self._away
        return self._store.add_block(block)

    def add_segment(self, segment: Segment, *, pruned: int) -> bool:
        if self._away is not None:
            raise self._away
        return self._store.add_segment(segment, pruned=pruned)

    def add_terms(self, number: int, rows: Sequence[tuple[int, bytes]]) -> None:
        if self._away is not None:
            raise self._away
        self._store.add_terms(number, rows)

    def close(self) -> None:
        self._store.close()


class FaultyTransaction:
    """See :class:`FaultyStore`."""

    def __init__(self, faults: FaultyStore, transaction: Transaction) -> None:
        self._faults = faults
        self._transaction = transaction

    def state(self) -> Frontier:
        self._faults.strike("state", after=False)
        answer = self._transaction.state()
        self._faults.strike("state", after=True)
        return answer

    def find_uids(self, uids: Sequence[str]) -> dict[str, StoredLeaf]:
        self._faults.strike("find_uids", after=False)
        answer = self._transaction.find_uids(uids)
        self._faults.strike("find_uids", after=True)
        return answer

    def newest_note(self) -> str:
        return self._transaction.newest_note()

    def insert(self, entries: Sequence[Entry]) -> None:
        self._faults.strike("insert", after=False)
        self._transaction.insert(entries)
        self._faults.strike("insert", after=True)

    def put_state(self, frontier: Frontier) -> None:
        self._faults.strike("put_state", after=False)
        self._transaction.put_state(frontier)
        self._faults.strike("put_state", after=True)

    def try_out(self, entries: Sequence[Entry], frontier: Frontier) -> None:
        self._transaction.try_out(entries, frontier)

    def put_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        self._transaction.put_checkpoint(checkpoint)

    def commit(self) -> None:
        self._faults.strike("commit", after=False)
        self._transaction.commit()
        self._faults.strike("commit", after=True)

    def rollback(self) -> None:
        self._transaction.rollback()
