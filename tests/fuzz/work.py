"""How much one input may cost: in calls, which are the same on every machine, or in seconds of the processor.

Counting calls makes a run four times slower, and sees no loop within one function. So test runs count, and the fuzzer,
which has no run to repeat, takes the processor's clock: it stands still while others have the machine.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from tests.fuzz.target import MOST_CALLS, MOST_SECONDS, BrokenPromiseError


class TooMuchWorkError(BrokenPromiseError):
    """An input costs more than any honest one."""


def counted(run: Callable[[bytes], None], *, most: int = MOST_CALLS) -> Callable[[bytes], None]:
    """The same, ended by an exception when it makes more calls than ``most``; also where it swallows that exception."""

    def bounded(raw: bytes) -> None:
        left, message = most, f"more than {most} calls for {len(raw)} bytes"

        def count(_frame: FrameType, event: str, _argument: Any) -> None:
            nonlocal left
            if event in {"call", "c_call"}:
                left -= 1
                if left < 0:
                    sys.setprofile(None)
                    raise TooMuchWorkError(message)

        sys.setprofile(count)
        try:
            run(raw)
        finally:
            sys.setprofile(None)
        if left < 0:
            raise TooMuchWorkError(message)

    return bounded


def limited(run: Callable[[bytes], None], *, seconds: float = MOST_SECONDS) -> Callable[[bytes], None]:
    """The same, ended by an exception when it has used the processor for longer; in the main thread alone."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooMuchWorkError(f"more than {seconds} s of the processor")

    def bounded(raw: bytes) -> None:
        before = signal.signal(signal.SIGVTALRM, stop)
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        try:
            run(raw)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)

    return bounded
