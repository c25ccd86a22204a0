"""What a candidate disagreed on, folded so that a flood of one disagreement makes a few leaves and loses no count."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from placet.shadow.leaves import Candidate, Sighting, render_disagreement, render_tally

MOST_OPEN: Final = 1000
"""Different disagreements of one window that are recorded each; more are counted alone."""


@dataclass(slots=True)
class _Open:
    """A disagreement that was recorded, and what was seen of it since."""

    until_s: float
    first: Sighting | None = None
    last: Sighting | None = None
    count: int = 0


class Ledger:
    """Of one candidate. One thread at a time has it.

    The first sighting of a disagreement is a leaf at once, so that a process that is killed has not hidden it. Those
    that follow within the window are one more leaf, with their count, at its end; and so on for as long as it is seen.

    Attributes:
        candidate: that disagrees.
        unlisted: disagreements so far that no leaf tells of.
    """

    def __init__(
        self, candidate: Candidate, *, cluster: str, window_s: float, clock: Callable[[], datetime], now_s: float
    ) -> None:
        """Begin.

        Args:
            candidate: that disagrees.
            cluster: of the gate.
            window_s: how long a disagreement is recorded but once.
            clock: aware UTC.
            now_s: on the monotonic clock, as everywhere below.
        """
        self.candidate = candidate
        self.unlisted = 0
        self._cluster = cluster
        self._window_s = window_s
        self._clock = clock
        self._open: OrderedDict[bytes, _Open] = OrderedDict()
        self._counts: dict[str, int] = {}
        self._since = clock()
        self._tally_s = now_s + window_s

    def count(self, name: str, number: int = 1) -> None:
        """Count something for the next tally; ``name`` is one of ``placet.shadow.leaves.COUNTS``."""
        self._counts[name] = self._counts.get(name, 0) + number

    def agree(self) -> None:
        """Both answered the same."""
        self.count("judged")
        self.count("agreed")

    def disagree(self, sighting: Sighting, *, now_s: float) -> dict[str, Any] | None:
        """They did not; gives the leaf that is to be recorded at once, if any."""
        self.count("judged")
        self.count(sighting.difference.direction.value)
        key = sighting.key
        known = self._open.get(key)
        if known is not None:
            known.first = known.first or sighting
            known.last = sighting
            known.count += 1
        elif len(self._open) >= MOST_OPEN:
            self.count("unlisted")
            self.unlisted += 1
        else:
            self._open[key] = _Open(now_s + self._window_s)
            return self._leaf(sighting, sighting, 1)
        return None

    def due(self, *, now_s: float) -> Iterator[dict[str, Any]]:
        """Leaves of the windows that have ended, and the tally when it is time."""
        while self._open and next(iter(self._open.values())).until_s <= now_s:  # the oldest stands first
            key, ended = self._open.popitem(last=False)
            if ended.count:
                yield from self._repeated(ended)
                self._open[key] = _Open(now_s + self._window_s)
        if now_s >= self._tally_s:
            self._tally_s = now_s + self._window_s
            if any(self._counts.values()):
                yield self._tally(ended=False)

    def end(self) -> Iterator[dict[str, Any]]:
        """Leaves of all that was seen and is in none yet; the candidate judges no more."""
        for one in self._open.values():
            yield from self._repeated(one)
        self._open.clear()
        yield self._tally(ended=True)

    def _repeated(self, one: _Open) -> Iterator[dict[str, Any]]:
        if one.first is not None and one.last is not None:
            yield self._leaf(one.first, one.last, one.count)

    def _leaf(self, first: Sighting, last: Sighting, count: int) -> dict[str, Any]:
        return render_disagreement(
            self.candidate, first, last, count=count, cluster=self._cluster, moment=self._clock()
        )

    def _tally(self, *, ended: bool) -> dict[str, Any]:
        counts, since, self._counts, self._since = self._counts, self._since, {}, self._clock()
        return render_tally(self.candidate, counts, since=since, ended=ended, cluster=self._cluster, moment=self._since)
