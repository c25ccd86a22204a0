"""The spool of one process: takes denials, knows their uids, and gives them back in order to be recorded.

One thread writes, so that a disk that hangs holds up nobody beyond the time that the answer has. Two locks: ``_lock``
is for what is in memory, and nobody waits for a disk while holding it; ``_disk`` is for the counts.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from placet.errors import AuditError, FormatError
from placet.spool.denial import Denial, parse_denial, render_denial
from placet.spool.lane import MAX_LANES, Lane, Strike, calm, list_damaged
from placet.spool.waiting import Kept, Standing, Waiting, describe

_ADOPT_EVERY_S: Final = 10.0
_MAX_QUEUED: Final = 256
_FLUSH_S: Final = 5.0


class Spool:
    """See the module. Thread-safe; nothing here raises for the sake of the disk but where it says so."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        max_denials: int,
        clock: Callable[[], float] = time.monotonic,
        strike: Strike = calm,
    ) -> None:
        """Claim a lane and begin to write.

        Args:
            folder: of the spool; made where it is missing. The one that it is in has to be there.
            max_bytes: of the files that this process keeps at once.
            max_denials: how many.
            clock: monotonic seconds.
            strike: called at each step on the disk; for tests.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_denials = max_denials
        self._clock = clock
        self._strike = strike
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._disk = threading.Lock()
        self._own: Lane | None = None
        self._number = 0  # of the last file
        self._order: dict[Lane, deque[Waiting]] = {}
        self._by_uid: dict[str, Waiting] = {}
        self._queue: deque[Waiting] = deque()
        self._bytes = 0
        self._full = False
        self._damaged: tuple[str, ...] = ()
        self._unusable = ""
        self._failed = ""
        self._uncounted = 0  # lost while there was no lane to count it in
        self._behind = False  # whether the counts in memory are newer than those on the disk
        self._counts = {"kept": 0, "recorded": 0, "lost": 0, "set_aside": 0}
        self._adopt_at_s = float("-inf")
        self._closing = False
        self.tend()
        self._writer = threading.Thread(target=self._write_on, name="placet-spool", daemon=True)
        self._writer.start()

    # -- what a review asks

    def add(self, denial: Denial, *, deadline_s: float) -> tuple[Kept, Denial]:
        """Keep a denial.

        Args:
            denial: what is answered.
            deadline_s: seconds that the caller can wait for the disk.

        Returns:
            What became of it; and the denial, or the one that waits with the same uid, which is the answer then.

        Raises:
            AuditError: the record would never take it, or ``uid_reused``, or ``spool_unreadable``.
        """
        raw = render_denial(denial)
        with self._lock:
            former = self._by_uid.get(denial.uid)
            waiting = former or self._enqueue(denial, raw)
        if waiting is None:
            return Kept.LOST, denial
        if waiting.request_digest != str(denial.request_digest):
            raise AuditError("the uid belongs to another request that waits to be recorded", code="uid_reused")
        waiting.done.wait(timeout=max(deadline_s, 0))
        if former is None:
            return waiting.outcome, denial
        return waiting.outcome, self.find(denial.uid) or denial

    def find(self, uid: str) -> Denial | None:
        """The denial that waits with this uid; None where none does.

        Raises:
            AuditError: ``spool_unreadable``: there is one, and it can't be read.
        """
        with self._lock:
            waiting = self._by_uid.get(uid)
            if waiting is None or waiting.denial is not None:
                return None if waiting is None else waiting.denial
        try:
            return self.load(waiting)
        except (OSError, FormatError) as exc:
            with self._lock:
                if self._by_uid.get(uid) is not waiting:  # recorded meanwhile
                    return None
            raise AuditError(
                "the denial of this request waits to be recorded and can't be read",
                code="spool_unreadable",
                hint="The platform team finds its file in the gate's spool.",
            ) from exc

    def standing(self) -> Standing:
        """How it stands, as far as is known without asking the disk: probes and scrapes must not hang with it."""
        with self._lock:
            waiting = sum(map(len, self._order.values())) + len(self._queue)
            failure = self._unusable or self._failed
            return Standing(waiting, self._bytes, self._full, failure, self._damaged, **self._counts)

    # -- what drains it

    def tend(self) -> None:
        """Look at the folder, and claim a lane where there is none yet, or now and then one that was left behind."""
        self._look_aside()
        if self._own is not None and self._clock() < self._adopt_at_s:
            return
        self._adopt_at_s = self._clock() + _ADOPT_EVERY_S
        unusable = ""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._claim()
        except OSError as exc:
            unusable = describe(exc)
        else:
            if self._own is None:
                unusable = f"{self._folder}: all {MAX_LANES} lanes are held by other processes"
        with self._lock:
            self._unusable = unusable

    def lanes(self) -> list[Lane]:
        """Those that this process holds, what others have left first."""
        with self._lock:
            return sorted(self._order, key=lambda one: one is self._own)

    def first(self, lane: Lane) -> Waiting | None:
        """The oldest that waits in a lane."""
        with self._lock:
            order = self._order.get(lane)
            return order[0] if order else None

    def is_idle(self, lane: Lane) -> bool:
        """Whether nothing of a lane waits, or is about to."""
        with self._lock:
            return not self._order.get(lane) and all(one.lane is not lane for one in self._queue)

    def load(self, waiting: Waiting) -> Denial:
        """Read it back.

        Raises:
            OSError: it can't be read.
            FormatError: it is damaged.
        """
        denial = parse_denial(waiting.lane.read(waiting.sequence))
        if waiting.uid and denial.uid != waiting.uid:
            raise FormatError("it is another denial than was written", code="spool_damaged")
        return denial

    def recorded(self, waiting: Waiting, *, otherwise: int | None = None) -> None:
        """It is in the record: count it, then take it away.

        Args:
            waiting: the oldest of its lane.
            otherwise: index of the leaf that has its uid, where that says that it was allowed.

        Raises:
            OSError: its file is still there; it is drained again.
        """
        lane = waiting.lane
        with self._lock:
            if waiting.sequence > lane.tally.through:
                tally = replace(lane.tally, recorded=lane.tally.recorded + 1, through=waiting.sequence)
                lane.tally = tally if otherwise is None else tally.told_otherwise(waiting.uid, otherwise)
                self._counts["recorded"] += 1
        self._save(lane)
        lane.remove(waiting.sequence)
        self._forget(waiting)

    def set_aside(self, waiting: Waiting) -> str:
        """It can't be drained: put it where somebody can look at it; gives its new name, or why it has none."""
        lane = waiting.lane
        with self._lock:
            if waiting.sequence > lane.tally.through:
                lane.tally = replace(lane.tally, set_aside=lane.tally.set_aside + 1, through=waiting.sequence)
                self._counts["set_aside"] += 1
        self._save(lane)
        try:
            told = lane.set_aside(waiting.sequence).name
        except OSError as exc:  # it stays where it is, and the next process tries again
            told = describe(exc)
        self._forget(waiting)
        self._look_aside()
        return told

    def told(self, lane: Lane, counts: Mapping[str, int]) -> None:
        """What happened in a lane is in the record: the rest is counted anew, and an adopted lane is let go."""
        with self._lock:
            lane.tally = lane.tally.less(counts, outage=secrets.token_hex(8))
        self._save(lane)
        self.let_go(lane)

    def let_go(self, lane: Lane) -> None:
        """Leave an adopted lane that has nothing more to tell; our own stays."""
        with self._lock:
            if lane is self._own or not lane.tally.is_told or self._order.get(lane):
                return
            del self._order[lane]
        lane.close()

    def close(self, *, timeout_s: float = _FLUSH_S) -> None:
        """Write what was taken, and let go of the lanes. Never raises."""
        with self._work:
            self._closing = True
            self._work.notify_all()
        self._writer.join(timeout_s)
        with self._lock:
            lanes, self._order, self._own = list(self._order), {}, None
        if not self._writer.is_alive():  # what a disk holds up still has its lane
            for lane in lanes:
                lane.close()

    # -- inside

    def _enqueue(self, denial: Denial, raw: bytes) -> Waiting | None:
        """Take it, or count it as lost; the lock is held."""
        lane = self._own
        if lane is None or self._closing:
            self._counts["lost"] += 1
            self._uncounted += 1
            return None
        lane.tally = lane.tally.begun(secrets.token_hex(8), str(denial.leaf["time"]))
        self._work.notify_all()
        held = len(self._order[lane]) + len(self._queue)
        self._full = (
            held >= self._max_denials or self._bytes + len(raw) > self._max_bytes or len(self._queue) >= _MAX_QUEUED
        )
        if self._full:
            self._counts["lost"] += 1
            lane.tally = replace(lane.tally, lost=lane.tally.lost + 1)
            self._behind = True
            return None
        self._number += 1
        waiting = Waiting(lane, self._number, denial.uid, str(denial.request_digest), len(raw), denial, raw)
        self._queue.append(waiting)
        self._by_uid[denial.uid] = waiting
        self._bytes += len(raw)
        return waiting

    def _write_on(self) -> None:
        while True:
            with self._work:
                self._work.wait_for(lambda: self._queue or self._closing or self._behind)
                batch = list(self._queue)
                if not batch and not self._behind:
                    return
            self._write(batch)

    def _write(self, batch: list[Waiting]) -> None:
        """Write files in their order, then their names, then tell whoever waits, then the counts."""
        written: list[Waiting] = []
        failed = ""
        for waiting in batch:
            try:
                waiting.lane.write(waiting.sequence, waiting.raw)
                written.append(waiting)
            except OSError as exc:
                failed = describe(exc)
        try:
            if written:
                written[0].lane.sync()
        except OSError as exc:
            failed = describe(exc)
            for waiting in written:
                with contextlib.suppress(OSError):
                    waiting.lane.remove(waiting.sequence)
            written = []
        with self._lock:
            lane = self._settle(batch, written, failed)
        for waiting in batch:
            waiting.done.set()
        if lane is not None:
            self._save(lane)

    def _settle(self, batch: list[Waiting], written: list[Waiting], failed: str) -> Lane | None:
        """What is on the disk can be drained from now on; the lock is held."""
        for waiting in batch:
            self._queue.remove(waiting)
            if waiting in written:
                waiting.outcome = Kept.DURABLE
                if (order := self._order.get(waiting.lane)) is not None:
                    order.append(waiting)
            else:
                waiting.outcome = Kept.LOST
                self._bytes -= waiting.size
                self._by_uid.pop(waiting.uid, None)
            waiting.denial, waiting.raw = None, b""
        lost = len(batch) - len(written)
        self._counts["kept"] += len(written)
        self._counts["lost"] += lost
        if batch:
            self._failed = failed
        self._behind = False
        if self._own is None:
            return None
        tally = self._own.tally
        following = max([tally.next, *(one.sequence + 1 for one in batch)])
        self._own.tally = replace(tally, spooled=tally.spooled + len(written), lost=tally.lost + lost, next=following)
        return self._own

    def _save(self, lane: Lane) -> None:
        with self._disk:
            with self._lock:
                tally = lane.tally
            try:
                lane.count(tally)
            except OSError as exc:  # it is in memory still, and what stands on the disk is made good by the files
                with self._lock:
                    self._failed = describe(exc)

    def _look_aside(self) -> None:
        with contextlib.suppress(OSError):  # a folder that can't be read is told when a lane is claimed or written
            damaged = tuple(list_damaged(self._folder))
            with self._lock:
                self._damaged = damaged

    def _forget(self, waiting: Waiting) -> None:
        with self._lock:
            order = self._order.get(waiting.lane)
            if order and waiting in order:
                order.remove(waiting)
            if self._by_uid.get(waiting.uid) is waiting:
                del self._by_uid[waiting.uid]
            if waiting.lane is self._own:
                self._bytes -= waiting.size
                self._full = False

    def _claim(self) -> None:
        """Lanes that nobody holds: the first to write to, the others to be drained."""
        with self._lock:
            known = {lane.folder.name for lane in self._order}
        for number in range(MAX_LANES):
            name = f"lane-{number}"
            if name in known or (self._own is not None and not (self._folder / name).is_dir()):
                continue
            lane = Lane.claim(self._folder, number, strike=self._strike)
            if lane is None:
                continue
            try:
                self._take(lane)
            except BaseException:
                lane.close()
                raise

    def _take(self, lane: Lane) -> None:
        """Learn what a lane holds; what was written and not counted when its process died is counted now."""
        found = [self._read_in(lane, sequence) for sequence in lane.files()]
        tally = lane.tally
        uncounted = sum(one.sequence >= tally.next for one in found)
        following = max([tally.next, *(one.sequence + 1 for one in found)])
        with self._lock:
            own = self._own is None
            lost = self._uncounted if own else 0
            tally = replace(tally, spooled=tally.spooled + uncounted, lost=tally.lost + lost, next=following)
            if not tally.is_told:
                tally = tally.begun(secrets.token_hex(8), "")
            lane.tally = tally
            self._order[lane] = deque(found)
            for waiting in found:
                self._by_uid.setdefault(waiting.uid, waiting)
            self._by_uid.pop("", None)
            if own:
                self._own, self._uncounted, self._number = lane, 0, following - 1
                self._bytes = sum(one.size for one in found)
        if uncounted or lost:
            self._save(lane)
        elif not own:
            self.let_go(lane)

    @staticmethod
    def _read_in(lane: Lane, sequence: int) -> Waiting:
        """Know a file by its uid; one that is damaged is found again when it is drained, and set aside then."""
        waiting = Waiting(lane, sequence, outcome=Kept.DURABLE)
        waiting.done.set()
        with contextlib.suppress(OSError, FormatError):
            raw = lane.read(sequence)
            waiting.size = len(raw)
            denial = parse_denial(raw)
            waiting.uid, waiting.request_digest = denial.uid, str(denial.request_digest)
        return waiting
