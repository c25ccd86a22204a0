"""What a fuzz target is, and what it may raise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final


class BrokenPromiseError(AssertionError):
    """An invariant does not hold for an input. Never caught: it is what fuzzing looks for."""


class WrongAllowError(BrokenPromiseError):
    """The gate let something through that nobody approved."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reader of outside bytes, or the whole decision.

    Attributes:
        name: as ``make fuzz TARGET=`` has it.
        run: takes any bytes and returns; whatever it raises is a find.
        seeds: inputs to start from, made from golden files and simulators: the same in every run.
        max_bytes: the longest input that is tried.
        head_line: the first line of an input is not a part of the document after it, and is changed by itself.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    max_bytes: int = 16 * 1024
    head_line: bool = False


# Calls of functions, Python's and C's, that one input may cost: some hundred times what the costliest seed does. What
# grows with the square of an input's length passes it long before its 16 KiB are read.
MOST_CALLS: Final = 2_000_000
# Of the processor, for one input: some hundred times what the costliest seed takes when it is watched for coverage.
MOST_SECONDS: Final = 10.0


def require(holds: object, promise: str) -> None:
    """Say which promise is broken."""
    if not holds:
        raise BrokenPromiseError(promise)
