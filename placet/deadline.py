"""How long a review may take."""

from __future__ import annotations

import time
from collections.abc import Callable

from placet.errors import PlacetError


class Deadline:
    """When an answer must be there, on the monotonic clock.

    Args:
        seconds: from now.
        monotonic: the clock, for tests.
    """

    def __init__(self, seconds: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._at = monotonic() + seconds

    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._at - self._monotonic())

    def share_s(self) -> float:
        """Seconds that one look-up may take: half of what is left, so that there is time to decide and to record."""
        return self.remaining_s() / 2

    def check(self, step: str) -> None:
        """Go on only while there is time.

        Raises:
            DeadlineExceeded: none is left.
        """
        if self.remaining_s() <= 0:
            raise DeadlineExceeded(f"the time for this review was used up before the step {step!r}")


class DeadlineExceeded(PlacetError):
    """There is no time left to decide."""

    code = "deadline_exceeded"
