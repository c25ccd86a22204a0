"""How the demo in a cluster is stopped: by one signal, and by no second one while everything is being ended."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final, Self

STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class StopSignals:
    """Turns the first SIGINT, SIGTERM or SIGHUP into ``Stopped``; nothing interrupts what is done about it.

    Example::

        with StopSignals() as signals:
            try:
                work()
            finally:
                signals.ignore()
                clean_up()
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._ignored = False
        self._held = False
        self._pending: int | None = None

    def __enter__(self) -> Self:
        for number in STOPPING:
            self._before[number] = signal.signal(number, self._arrive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ignore(self) -> None:
        """From here on signals change nothing: everything is being ended already."""
        self._ignored = True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A signal within the block counts at its end, so that what is made there is known to who removes it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._pending is not None and not self._ignored:
            self._ignored = True
            raise Stopped(self._pending)

    def _arrive(self, number: int, _frame: FrameType | None) -> None:
        if self._ignored:
            os.write(2, b"\nending already; a moment\n")
        elif self._held:
            self._pending = number
        else:
            self._ignored = True
            raise Stopped(number)
