"""How many new objects may be made: in one namespace, and in all, an hour."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

HOUR_S: Final = 3600.0


class Budget:
    """Counts what was made in the hour that began with the first of it; not shared by threads."""

    def __init__(self, *, each: int, together: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Begin an hour.

        Args:
            each: most new objects of one namespace.
            together: most of all namespaces.
            clock_s: seconds that only grow.
        """
        self._each = each
        self._together = together
        self._clock_s = clock_s
        self._began_s = clock_s()
        self._made: Counter[str] = Counter()

    def has_room(self, namespace: str) -> bool:
        """Whether one more may be made."""
        now_s = self._clock_s()
        if now_s - self._began_s >= HOUR_S:
            self._began_s = now_s
            self._made.clear()
        return self._made[namespace] < self._each and self._made.total() < self._together

    def made(self, namespace: str) -> None:
        """One more was made; an attempt that failed counts for nothing."""
        self._made[namespace] += 1
