"""The background of a gate: once a second it looks for changed files and at how everything stands."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from webhook import logs

EVERY_S: Final = 1.0


class Watcher(threading.Thread):
    """Calls each task once a round until it is stopped. A task that fails is logged and called again in the next.

    Args:
        tasks: what to call, in this order.
        wait: waits so many seconds and says whether to stop; by default, until ``stop``.
    """

    def __init__(self, tasks: Sequence[Callable[[], None]], *, wait: Callable[[float], bool] | None = None) -> None:
        super().__init__(name="placet-watch", daemon=True)
        self._tasks = tasks
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._failed = ""

    def run(self) -> None:
        """The thread."""
        while not self._wait(EVERY_S):
            for task in self._tasks:
                try:
                    task()
                except Exception as error:  # noqa: BLE001 - a watch that ends would hide every later change
                    self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Once for the same fault again and again: readiness shows that the look is overdue."""
        words = f"{type(error).__name__}: {error}"
        if words != self._failed:
            logs.say(logging.ERROR, "the watch failed and goes on", exc_info=True)
        self._failed = words

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """Let the round under way end, and end."""
        self._stopping.set()
        if self.is_alive():
            self.join(timeout_s)
