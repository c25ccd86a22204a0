"""When leaves were written: clocks that ran back and silence, which are no proof of anything but worth a look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from placet.audit.record import HEARTBEAT, Leaf

_PATIENCE: Final = 2  # intervals without any leaf before silence is noted


class Pace:
    """Looks at the times of leaves in order."""

    def __init__(self) -> None:
        self._last = ""
        self._interval_s = 0
        self._backwards = 0
        self._first_backwards = 0
        self._silences = 0
        self._longest = timedelta(0)
        self._longest_before = 0

    def add(self, index: int, leaf: Leaf) -> None:
        """The next leaf."""
        if "spooled" in leaf.body:  # it is dated when it was decided, while the store was away
            return
        time = leaf.columns.time
        if time < self._last:
            self._first_backwards = self._first_backwards if self._backwards else index
            self._backwards += 1
        elif self._interval_s and self._last:
            self._listen(index, time)
        self._last = max(time, self._last)
        interval_s = leaf.body.get("interval_s")
        if leaf.type == HEARTBEAT and isinstance(interval_s, int):
            self._interval_s = interval_s

    def _listen(self, index: int, time: str) -> None:
        try:
            gap = datetime.fromisoformat(time) - datetime.fromisoformat(self._last)
        except ValueError:  # 31 February
            return
        if gap > timedelta(seconds=_PATIENCE * self._interval_s):
            self._silences += 1
            if gap > self._longest:
                self._longest, self._longest_before = gap, index

    def notes(self) -> Iterator[str]:
        """Sentences for a person."""
        if self._backwards:
            first = self._first_backwards
            yield f"{self._backwards} leaves are dated before the one in front of them, the first is leaf {first}"
        if self._silences:
            longest = f"the longest silence lasted {self._longest} and ended with leaf {self._longest_before}"
            yield f"{self._silences} times nothing was written for longer than two heartbeats; {longest}"
