"""Keeps a memory up: list, then watch, window by window, and list again after anything that went wrong."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Final

from placet.apiserver import ClusterUnavailable
from placet.informer.events import LostTrack
from placet.informer.memory import Memory
from placet.informer.source import Source

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 30.0


class Backoff:
    """How long to wait after a failure: twice as long each time, and any part of it, so that replicas spread out."""

    def __init__(self, *, jitter: Callable[[], float] | None = None) -> None:
        """Begin with the shortest.

        Args:
            jitter: a number from 0 to 1 each time.
        """
        self._jitter = jitter or secrets.SystemRandom().random
        self._most_s = FIRST_PAUSE_S

    def next_s(self) -> float:
        """Seconds to wait now: at least half of what it has grown to."""
        most_s, self._most_s = self._most_s, min(2 * self._most_s, LONGEST_PAUSE_S)
        return most_s * (0.5 + self._jitter() / 2)

    def reset(self) -> None:
        """It went well."""
        self._most_s = FIRST_PAUSE_S


class Reflector(threading.Thread):
    """The one thread that reads for a memory.

    Each round asks for the newest version and then watches for one window. The API server sends a bookmark shortly
    before the end of a window, so that a quiet kind is known to be quiet. After a failure of any sort nothing is
    certain until a complete list: what was stored may have been put back to an earlier state meanwhile.
    """

    def __init__(
        self,
        memory: Memory,
        source: Source,
        *,
        window_s: int,
        clock_s: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """Not started yet.

        Args:
            memory: to keep up; nobody else may tell it anything.
            source: what to read.
            window_s: seconds of one watch, 3 or more: the bookmark comes two before its end.
            clock_s: monotonic.
            wait: waits so many seconds and says whether to stop; by default, until ``stop``.
            backoff: how long after a failure.
        """
        super().__init__(name=f"placet-informer-{memory.kind}", daemon=True)
        self._memory = memory
        self._source = source
        self._window_s = window_s
        self._clock_s = clock_s
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._backoff = backoff or Backoff()
        self.problem = ""

    def run(self) -> None:
        """The thread."""
        while not self._stopping.is_set():
            began_s = self._clock_s()
            if self.once() and self._clock_s() - began_s >= self._window_s / 2:
                self._backoff.reset()  # one that ends at once is not asked again at once
            elif self._wait(self._backoff.next_s()):
                return

    def once(self) -> bool:
        """One round; whether all of it went well. After one that did not, ``problem`` says why."""
        try:
            self._round()
        except Exception as error:  # noqa: BLE001 - whatever it was, what is remembered must not go on counting
            self._memory.doubt()
            known = isinstance(error, (ClusterUnavailable, LostTrack))
            self.problem = f"{error}" if known else f"{type(error).__name__}: {error}"
            return False
        self.problem = ""
        return True

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """End: the watch is cut, and the thread waited for. Nothing is certain any more afterwards."""
        self._stopping.set()
        self._source.cut()
        if self.is_alive():
            self.join(timeout_s)
        self._memory.doubt()

    def _round(self) -> None:
        memory = self._memory
        if not memory.version:
            self._list()
        asked_s = self._clock_s()
        memory.expect(self._source.newest(), asked_s=asked_s)
        for event in self._source.watch(memory.version, window_s=self._window_s):
            memory.apply(event)
            if self._stopping.is_set():
                return

    def _list(self) -> None:
        asked_s = self._clock_s()
        entries = self._memory.new_entries()
        version = self._source.list_all(entries.put)
        self._memory.replace(entries, version, asked_s=asked_s)
