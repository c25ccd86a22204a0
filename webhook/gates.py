"""The gate of now. A review keeps the gate that it started with; an old one is closed after its last review."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from placet.decide import Gate


class _Turn:
    """One gate's time in office; the lock of :class:`Gates` guards it."""

    __slots__ = ("close", "gate", "held", "retired")

    def __init__(self, gate: Gate, close: Callable[[], None]) -> None:
        self.gate = gate
        self.close = close
        self.held = 0
        self.retired = False


class Gates:
    """Holds the gate of now and those that still have reviews. Thread-safe."""

    def __init__(self, gate: Gate, close: Callable[[], None] = lambda: None) -> None:
        """Start with a gate.

        Args:
            gate: decides from now on.
            close: called once after the gate was replaced and its last review has ended.
        """
        self._lock = threading.Lock()
        self._now = _Turn(gate, close)

    @contextlib.contextmanager
    def holding(self) -> Iterator[Gate]:
        """The gate of now, for one review."""
        with self._lock:
            turn = self._now
            turn.held += 1
        try:
            yield turn.gate
        finally:
            with self._lock:
                turn.held -= 1
                last = turn.retired and turn.held == 0
            if last:
                turn.close()

    def swap(self, gate: Gate, close: Callable[[], None] = lambda: None) -> None:
        """Let another gate decide from the next review on."""
        with self._lock:
            former, self._now = self._now, _Turn(gate, close)
            former.retired = True
            idle = former.held == 0
        if idle:
            former.close()
