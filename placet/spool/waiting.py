"""What the spool says of one denial, and of itself."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import Enum

from placet.spool.denial import Denial
from placet.spool.lane import Lane


class Kept(Enum):
    """What became of a denial that was given to the spool."""

    DURABLE = "durable"
    LATE = "late"  # not durable when the answer was due; it may still become so
    LOST = "lost"


@dataclass(eq=False, slots=True)
class Waiting:
    """One denial that waits.

    Attributes:
        lane: where its file is.
        sequence: number of the file.
        uid: of the request; "" where the file can't be read.
        request_digest: the same.
        size: of the file in bytes.
        denial: until it is on the disk.
        raw: the same, as the file has it.
        done: set once ``outcome`` is known.
        outcome: whether it is on the disk.
    """

    lane: Lane
    sequence: int
    uid: str = ""
    request_digest: str = ""
    size: int = 0
    denial: Denial | None = None
    raw: bytes = b""
    done: threading.Event = field(default_factory=threading.Event)
    outcome: Kept = Kept.LATE


@dataclass(frozen=True, slots=True)
class Standing:
    """How a spool stands.

    Attributes:
        waiting: denials that wait, in all lanes that this process holds.
        bytes: that those of its own lane take.
        full: whether the last denial found no room.
        failure: why the folder can't be used, or what of it failed last; "" where nothing did.
        damaged: names of the files that were set aside, by whatever process.
        kept: denials that this process has written.
        recorded: those that it has drained.
        lost: those that could not be kept.
        set_aside: files that it has set aside.
    """

    waiting: int
    bytes: int
    full: bool
    failure: str
    damaged: tuple[str, ...]
    kept: int
    recorded: int
    lost: int
    set_aside: int


def describe(error: OSError) -> str:
    """What failed, for a person."""
    return f"{error.filename or 'the spool'}: {error.strerror}"
