"""The folder of one process in the spool. All that is done to its files is here.

    <spool>/lane-0/lock                       held (flock) as long as the process lives
    <spool>/lane-0/tally                      placet.spool.tally
    <spool>/lane-0/0000000000000007.denial    placet.spool.denial
    <spool>/damaged/lane-0-0000000000000003.denial

Replicas that share a folder have a lane each, and what a killed one has left is in a lane whose lock is free.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from placet.spool.denial import MAX_FILE_BYTES
from placet.spool.tally import Tally, TallyFile

MAX_LANES: Final = 64
DAMAGED: Final = "damaged"
Strike = Callable[[str], None]
_FILE: Final = re.compile(r"([0-9]{16})\.denial", re.ASCII)


def calm(_step: str) -> None:
    """Nothing happens at this step; tests let the process die there."""


class Lane:
    """A lane that this process holds.

    Attributes:
        folder: of it.
        tally: the counts in memory; ``count`` keeps them.
    """

    def __init__(self, folder: Path, lock: int, *, strike: Strike = calm) -> None:
        """Open what is in it; use :meth:`claim`.

        Raises:
            OSError: it can't be used.
        """
        self.folder = folder
        self._lock = lock
        self._strike = strike
        self._counts = TallyFile(folder / "tally")
        try:
            self.tally = self._counts.load()
            self._sync_folder(folder)
        except BaseException:
            self._counts.close()
            raise

    @classmethod
    def claim(cls, spool: Path, number: int, *, strike: Strike = calm) -> Lane | None:
        """Take a lane, and make it where there is none; None where another process has it.

        Raises:
            OSError: the folder can't be used.
        """
        folder = spool / f"lane-{number}"
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(folder, lock, strike=strike)
        except BlockingIOError:
            os.close(lock)
            return None
        except BaseException:
            os.close(lock)
            raise

    def files(self) -> list[int]:
        """Sequence numbers of the files, in order.

        Raises:
            OSError: the folder can't be read.
        """
        return sorted(int(found[1]) for name in os.listdir(self.folder) if (found := _FILE.fullmatch(name)))  # noqa: PTH208

    def path(self, sequence: int) -> Path:
        """Of a file."""
        return self.folder / f"{sequence:016d}.denial"

    def write(self, sequence: int, raw: bytes) -> None:
        """Make a file durable, but for its name; what fails leaves none.

        Raises:
            OSError: it could not be written.
        """
        path = self.path(sequence)
        self._strike("create")
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                self._strike("write")
                half = len(raw) // 2  # one call may write less than it is given anyway
                for part in (raw[:half], raw[half:]):
                    _write_all(file, part)
                    self._strike("written")
                os.fsync(file)
            finally:
                os.close(file)
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        self._strike("synced")

    def sync(self) -> None:
        """Make the names of files durable.

        Raises:
            OSError: they may not be.
        """
        self._sync_folder(self.folder)
        self._strike("named")

    def read(self, sequence: int) -> bytes:
        """The bytes of a file, no more than one may have and one.

        Raises:
            OSError: it can't be read.
        """
        with self.path(sequence).open("rb") as stream:
            return stream.read(MAX_FILE_BYTES + 1)

    def remove(self, sequence: int) -> None:
        """Take a file away; whether its name is gone after the power fails does not matter: its uid is in the record.

        Raises:
            OSError: it is still there.
        """
        self._strike("remove")
        self.path(sequence).unlink(missing_ok=True)
        self._strike("removed")

    def set_aside(self, sequence: int) -> Path:
        """Put a file where nobody drains it; its new path.

        Raises:
            OSError: it is where it was.
        """
        damaged = self.folder.parent / DAMAGED
        damaged.mkdir(mode=0o700, exist_ok=True)
        for target in _names(damaged, f"{self.folder.name}-{sequence:016d}.denial"):
            if not target.exists():
                self.path(sequence).rename(target)
                return target
        raise FileExistsError(17, "File exists", str(damaged))  # pragma: no cover - the names have no end

    def count(self, tally: Tally) -> None:
        """Keep the counts.

        Raises:
            OSError: those of before stand.
        """
        self._strike("count")
        self._counts.save(tally)
        self._strike("counted")

    def close(self) -> None:
        """Let another process have it."""
        self._counts.close()
        os.close(self._lock)

    @staticmethod
    def _sync_folder(folder: Path) -> None:
        opened = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def list_damaged(spool: Path) -> list[str]:
    """Names of the files that were set aside.

    Raises:
        OSError: the folder can't be read.
    """
    try:
        return sorted(os.listdir(spool / DAMAGED))  # noqa: PTH208 - names are what is asked for
    except FileNotFoundError:
        return []


def _names(folder: Path, name: str) -> Iterator[Path]:
    yield folder / name
    number = 1
    while True:
        yield folder / f"{name}.{number}"
        number += 1


def _write_all(file: int, raw: bytes) -> None:
    while raw:
        raw = raw[os.write(file, raw) :]
