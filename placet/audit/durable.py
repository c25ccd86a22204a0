"""A folder of files that others read at any moment: each is there whole or not at all, and stays after a crash."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from placet.errors import StoreUnavailable

STAGING: Final = ".writing"  # below the folder, and so on its file system: a rename is atomic
_PART: Final = "part"
_MODE: Final = 0o644  # what is published is read by a web server, under another user


class DurableFolder:
    """Writes below one folder. Only one process does at a time: ``open_folder`` sees to it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._part = root / STAGING / _PART
        self._touched: set[Path] = set()

    def write(self, path: str, raw: bytes) -> None:
        """Put a file in its place, over another one."""
        target = self._prepare(path, raw)
        self._part.replace(target)

    def add(self, path: str, raw: bytes) -> bool:
        """Put a file in its place unless there is one; says whether it did."""
        target = self._prepare(path, raw)
        try:
            os.link(self._part, target)
        except FileExistsError:
            return False
        finally:
            self._part.unlink()
        return True

    def remove(self, path: str) -> None:
        """Remove a file, or a folder of files; nothing where there is none."""
        target = self._root / path
        if target.is_dir():
            for file in sorted(target.iterdir()):
                file.unlink()
            target.rmdir()
        else:
            target.unlink(missing_ok=True)

    def sync(self) -> None:
        """Make durable the names of all that was put in its place so far."""
        for folder in sorted(self._touched):
            sync_folder(folder)
        self._touched.clear()

    def _prepare(self, path: str, raw: bytes) -> Path:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = target.parent
        while folder not in self._touched and folder != self._root:
            self._touched.add(folder)  # a new folder's own name has to last too
            folder = folder.parent
        self._touched.add(self._root)
        write_synced(self._part, raw, mode=_MODE)
        return target


@contextlib.contextmanager
def open_folder(root: Path) -> Iterator[DurableFolder]:
    """The folder, made where it is missing, for one writer at a time.

    Raises:
        StoreUnavailable: ``tiles_locked`` when another process writes it; ``tiles_unwritable`` when it can't be.
    """
    try:
        staging = root / STAGING
        staging.mkdir(parents=True, exist_ok=True)
        lock = os.open(staging, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (staging / _PART).unlink(missing_ok=True)
            yield DurableFolder(root)
        finally:
            os.close(lock)
    except BlockingIOError as exc:
        raise StoreUnavailable(f"another process is writing {root}", code="tiles_locked") from exc
    except OSError as exc:
        hint = "What was published before is whole. Run the command again once there is room, or the right to write."
        raise StoreUnavailable(f"{root} can't be written: {exc.strerror}", code="tiles_unwritable", hint=hint) from exc


def write_synced(path: Path, raw: bytes, *, mode: int) -> None:
    """Write a file and make its content durable; its name is not yet.

    Raises:
        OSError: it can't be written.
    """
    path.unlink(missing_ok=True)  # never through a link that a run before, which was killed, has left
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def replace_file(path: Path, raw: bytes, *, mode: int = _MODE) -> None:
    """Put a single file in its place, whole and durable, over another one.

    Raises:
        StoreUnavailable: ``file_unwritable``.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            write_synced(part, raw, mode=mode)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as exc:
        raise StoreUnavailable(f"{path} can't be written: {exc.strerror}", code="file_unwritable") from exc
