"""What became of the denials of one outage, in a small file that is written over in place.

Two slots are written in turn, each with a checksum: one that is torn leaves the other. The file has its full length
from the start, so that a full disk does not keep the count of what could not be kept.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from placet.canonical import Digest, parse_json, render_canonical
from placet.errors import FormatError

SLOT_BYTES: Final = 8192
FILE_BYTES: Final = 2 * SLOT_BYTES
COUNTS: Final = ("spooled", "lost", "set_aside", "recorded", "otherwise_total")
MAX_OTHERWISE: Final = 32
_MAX_UID: Final = 64


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one outage, for the leaf that ends it.

    Attributes:
        outage: id of the outage, "" while there is none.
        since: time of the first denial that the record did not take, as leaves write it; "" while there is none.
        next: sequence number of the next file.
        spooled: denials that were written.
        lost: denials that could not be.
        set_aside: files that could not be drained.
        recorded: denials that are in the record now.
        through: sequence number of the newest file that was counted as recorded or set aside.
        otherwise: ``{uid, index}`` of those whose uid the record has with another answer, a few.
        otherwise_total: how many those are.
        complete: whether the counts are all; not so after a file of them was torn.
    """

    outage: str = ""
    since: str = ""
    next: int = 1
    spooled: int = 0
    lost: int = 0
    set_aside: int = 0
    recorded: int = 0
    through: int = 0
    otherwise: tuple[dict[str, Any], ...] = field(default=())
    otherwise_total: int = 0
    complete: bool = True

    def begun(self, outage: str, since: str) -> Tally:
        """Of an outage that goes on, or of one that begins."""
        return self if self.outage else replace(self, outage=outage, since=since)

    @property
    def is_told(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.spooled or self.lost or self.set_aside or self.recorded)

    def less(self, told: Mapping[str, int], *, outage: str) -> Tally:
        """What has happened beyond what a leaf has told; numbers of files go on.

        Args:
            told: the counts of that leaf.
            outage: id for the rest, where there is one.
        """
        rest = {name: max(0, getattr(self, name) - told.get(name, 0)) for name in COUNTS}
        left = Tally(next=self.next, through=self.through, **rest)
        return left if left.is_told else replace(left, outage=outage, since=self.since)

    def told_otherwise(self, uid: str, index: int) -> Tally:
        """The record has the uid with another answer."""
        listed = self.otherwise
        if len(listed) < MAX_OTHERWISE:
            listed = (*listed, {"uid": uid[:_MAX_UID], "index": index})
        return replace(self, otherwise=listed, otherwise_total=self.otherwise_total + 1)


def render_slot(tally: Tally, *, generation: int) -> bytes:
    """The bytes of a slot, without what fills it up."""
    values = {one.name: getattr(tally, one.name) for one in fields(Tally)}
    body = render_canonical({**values, "otherwise": list(tally.otherwise), "generation": generation})
    return b"%s\n%s\n" % (str(Digest.of(body)).encode(), body)


def parse_slot(raw: bytes) -> tuple[int, Tally]:
    """Generation and counts of a slot.

    Raises:
        FormatError: torn, or never written.
    """
    checksum, _, rest = raw.rstrip(b"\0").partition(b"\n")
    body = rest.removesuffix(b"\n")
    if checksum != str(Digest.of(body)).encode():
        raise FormatError("a count that is torn", code="spool_damaged")
    value = parse_json(body, max_bytes=SLOT_BYTES)
    if not isinstance(value, dict) or value.keys() != {"generation", *(one.name for one in fields(Tally))}:
        raise FormatError("a count of another version", code="spool_damaged")
    generation = value.pop("generation")
    return generation, Tally(**{**value, "otherwise": tuple(value["otherwise"])})


class TallyFile:
    """The file, open."""

    def __init__(self, path: Path) -> None:
        """Open it, and make it with its full length where there is none.

        Raises:
            OSError: it can't be used.
        """
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._generation = 0
        try:
            if os.fstat(self._file).st_size < FILE_BYTES:
                os.pwrite(self._file, bytes(FILE_BYTES), 0)
                os.fsync(self._file)
        except BaseException:
            self.close()
            raise

    def load(self) -> Tally:
        """The newer of the two slots that can be read; of a file that has none, nothing is known.

        Raises:
            OSError: the file can't be read.
        """
        raw = os.pread(self._file, FILE_BYTES, 0)
        if not raw.strip(b"\0"):
            return Tally()
        found: list[tuple[int, Tally]] = []
        for start in (0, SLOT_BYTES):
            with contextlib.suppress(FormatError):  # the other slot stands
                found.append(parse_slot(raw[start : start + SLOT_BYTES]))
        if not found:
            return Tally(complete=False)
        self._generation, tally = max(found, key=lambda one: one[0])
        return tally

    def save(self, tally: Tally) -> None:
        """Write over the older slot.

        Raises:
            OSError: it could not be written; the other slot still stands.
        """
        generation = self._generation + 1
        slot = render_slot(tally, generation=generation).ljust(SLOT_BYTES, b"\0")
        os.pwrite(self._file, slot, (generation % 2) * SLOT_BYTES)
        self._generation = generation
        os.fdatasync(self._file)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._file)
