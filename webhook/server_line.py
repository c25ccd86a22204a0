"""The line of requests that wait for a thread: each caller has a lane of its own, and lanes are served in turn.

A caller that sends ten times what can be judged fills its own lane. Another one's single request is next but one:
threads go round the lanes, one lane can't hold them all while others are about, and when the line is full the longest
lane gives up its newest request for that of a shorter one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Final, Generic, Protocol, TypeVar

_MEMORY_S: Final = 10.0


class Waiting(Protocol):
    """A request as the line sees it."""

    @property
    def lane(self) -> Hashable:
        """Whose it is."""
        ...

    @property
    def taken(self) -> bool:
        """Whether somebody owns the answer already."""
        ...

    @property
    def heavy(self) -> bool:
        """Whether it keeps a thread, and the interpreter, much longer than others do."""
        ...

    @property
    def submitted(self) -> float:
        """``time.monotonic()`` when it joined the line."""
        ...

    def take(self) -> bool:
        """Become the one who answers; False when another is."""
        ...


T = TypeVar("T", bound=Waiting)


class _Lane(Generic[T]):
    __slots__ = ("busy", "queue", "ringed", "seen")

    def __init__(self) -> None:
        self.queue: deque[T] = deque()
        self.busy = 0
        self.ringed = False
        self.seen = 0.0


class FairLine(Generic[T]):
    """Bounded. ``put``, ``give_up`` and ``sweep`` are for one thread, ``take`` and ``done`` for any.

    Example::

        line = FairLine(longest=256, threads=4)
        turned_away = line.put(exchange)  # in the loop: None, or who is to come again
        found = line.take()  # in a thread
        line.done(found)
    """

    def __init__(self, *, longest: int, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin empty.

        Args:
            longest: requests that may wait, of all lanes together.
            threads: how many take from it.
            clock: monotonic seconds.
        """
        self._longest = longest
        self._threads = threads
        self._clock = clock
        self._lock = threading.Lock()
        self._lanes: dict[Hashable, _Lane[T]] = {}
        self._ring: deque[_Lane[T]] = deque()
        self._count = 0

    def put(self, exchange: T) -> T | None:
        """Let a request wait; whom to tell to come again: nobody, the newcomer, or the last of the longest lane."""
        with self._lock:
            if self._count >= self._longest:
                self._sweep()  # some of them may wait for nobody
            lane = self._lanes.get(exchange.lane)
            if lane is None:
                lane = self._lanes[exchange.lane] = _Lane()
            lane.seen = self._clock()
            gone = None
            if self._count >= self._longest:
                longest = max(self._lanes.values(), key=lambda one: len(one.queue))
                if len(longest.queue) <= len(lane.queue) + 1:
                    exchange.take()
                    return exchange
                gone = longest.queue.pop()
                gone.take()
                self._count -= 1
            lane.queue.append(exchange)
            self._count += 1
            if not lane.ringed:
                lane.ringed = True
                self._ring.append(lane)
            return gone

    def take(self) -> T | None:
        """The next request, owned by whoever took it, who calls ``done`` after; None when none may be begun."""
        with self._lock:
            # While others are about, one thread stays out of each lane's reach: one flood can't hold them all.
            alone = len(self._lanes) < 2  # noqa: PLR2004 - one and another
            most = self._threads if alone else max(1, self._threads - 1)
            for _ in range(len(self._ring)):
                lane = self._ring.popleft()
                found = None
                # Threads share the interpreter, so heavy ones side by side slow down everybody: one at a time.
                if lane.busy < (1 if not alone and lane.queue and lane.queue[0].heavy else most):
                    found = self._first(lane)
                lane.ringed = bool(lane.queue)
                if lane.ringed:
                    self._ring.append(lane)
                if found is not None:
                    lane.busy += 1
                    return found
            return None

    def _first(self, lane: _Lane[T]) -> T | None:
        while lane.queue:
            exchange = lane.queue.popleft()
            self._count -= 1
            if exchange.take():
                return exchange
        return None

    def done(self, exchange: T) -> None:
        """The thread that took it is free again."""
        with self._lock:
            self._lanes[exchange.lane].busy -= 1

    def give_up(self, before: float) -> list[T]:
        """Take those out that joined before this moment; they are owned by whoever asked."""
        late: list[T] = []
        with self._lock:
            for lane in self._lanes.values():
                while lane.queue and (lane.queue[0].taken or lane.queue[0].submitted < before):
                    exchange = lane.queue.popleft()
                    self._count -= 1
                    if exchange.take():
                        late.append(exchange)
        return late

    def sweep(self) -> int:
        """Forget callers who have gone; how many requests wait."""
        with self._lock:
            self._sweep()
            return self._count

    def _sweep(self) -> None:
        forgotten = self._clock() - _MEMORY_S
        for key, lane in list(self._lanes.items()):
            kept = [one for one in lane.queue if not one.taken]
            if len(kept) < len(lane.queue):
                self._count -= len(lane.queue) - len(kept)
                lane.queue = deque(kept)
            if not kept and not lane.busy and not lane.ringed and lane.seen < forgotten:
                del self._lanes[key]
