"""How much one input may cost, counted in calls and not in seconds: the same on a busy machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from tests.fuzz.target import MOST_CALLS, BrokenPromiseError


class TooMuchWorkError(BrokenPromiseError):
    """An input costs more than any honest one."""


def counted(run: Callable[[bytes], None], *, most: int = MOST_CALLS) -> Callable[[bytes], None]:
    """The same, ended by an exception when it makes more calls than ``most``."""

    def bounded(raw: bytes) -> None:
        left = most

        def count(_frame: FrameType, event: str, _argument: Any) -> None:
            nonlocal left
            if event in {"call", "c_call"}:
                left -= 1
                if left < 0:
                    sys.setprofile(None)
                    raise TooMuchWorkError(f"more than {most} calls for {len(raw)} bytes")

        sys.setprofile(count)
        try:
            run(raw)
        finally:
            sys.setprofile(None)

    return bounded
