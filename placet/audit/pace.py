"""When leaves were written: clocks that ran back and silence, which are no proof of anything but worth a look."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

_PATIENCE: Final = 2  # intervals without any leaf before silence is noted
_MINUTE: Final = len("2026-11-22T18:00")  # no heartbeat is due more often


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

    def add(self, index: int, time: str, interval_s: object) -> None:
        """The next leaf.

        Args:
            index: where it stands.
            time: as it says.
            interval_s: of a heartbeat, as it says; None for another leaf.
        """
        if time < self._last:
            self._first_backwards = self._first_backwards if self._backwards else index
            self._backwards += 1
        elif self._interval_s and self._last and time[:_MINUTE] != self._last[:_MINUTE]:
            self._listen(index, time)
        self._last = max(time, self._last)
        if isinstance(interval_s, int):
            self._interval_s = interval_s

    def add_all(self, start: int, times: Sequence[str], intervals: Mapping[int, Any]) -> None:
        """Leaves that follow on each other.

        Args:
            start: index of the first.
            times: as they say; "" for one that is passed over.
            intervals: place of a heartbeat among them -> its interval.
        """
        if not intervals and self._is_quiet(times):
            self._last = times[-1]
            return
        for place, time in enumerate(times):
            if time:
                self.add(start + place, time, intervals.get(place))

    def _is_quiet(self, times: Sequence[str]) -> bool:
        """Whether the times ascend, and all together are no longer than silence would be."""
        first, last = self._last or times[0], times[-1]
        if times[0] < first or not all(map(operator.le, times, itertools.islice(times, 1, None))):
            return False  # one that is passed over is smaller than any other, too
        gap = _between(first, last) if self._interval_s else None
        return not self._interval_s or (gap is not None and gap.total_seconds() <= _PATIENCE * self._interval_s)

    def _listen(self, index: int, time: str) -> None:
        gap = _between(self._last, time)
        if gap is not None and gap.total_seconds() > _PATIENCE * self._interval_s:
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


def _between(first: str, last: str) -> timedelta | None:
    """From one time to another; None where one of them is none, as on 31 February."""
    try:
        return datetime.fromisoformat(last) - datetime.fromisoformat(first)
    except ValueError:
        return None
