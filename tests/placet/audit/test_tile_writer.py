"""Publishing goes on after any interruption, and publishes nothing but what was signed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from placet.audit.stores import StoredLeaf
from placet.audit.stores.file import open_readonly
from placet.audit.tile_folder import TileFolder
from placet.audit.tile_writer import MARK, write_tiles
from placet.audit.tiles import ENTRIES, edge_of
from placet.errors import AuditError, StoreUnavailable, TamperError
from tests.simulators.tampering import LOG_KEY, OTHER_KEY, SIGNED, build_log
from tests.simulators.tileslog import MemoryLog, content_of

KEYS = [LOG_KEY.verifier]
STEPS = (5, 250, 300, 511, 530)
LOG = MemoryLog.of(530, STEPS)


def at(size: int) -> MemoryLog:
    """The log when it had so many leaves."""
    return MemoryLog(LOG.raw[:size], tuple(one for one in STEPS if one <= size))


class _Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    """What a folder has that was written without an interruption, at 300 leaves and then at 530."""
    _publish_twice(tmp_path / "whole")
    return content_of(tmp_path / "whole")


def _calls(monkeypatch: pytest.MonkeyPatch, stop_at: int) -> Callable[[], int]:
    """Count what changes the file system, and end the process at one; every kind of change that the writer uses."""
    counted = 0

    def wrap(function: Any) -> Any:
        def called(*arguments: Any, **named: Any) -> Any:
            nonlocal counted
            counted += 1
            if counted == stop_at:
                raise _Killed
            return function(*arguments, **named)

        return called

    monkeypatch.setattr(os, "link", wrap(os.link))
    monkeypatch.setattr(os, "fsync", wrap(lambda _descriptor: None))  # what is killed is the process, not the machine
    for name in ("replace", "unlink", "rmdir", "mkdir"):
        monkeypatch.setattr(Path, name, wrap(getattr(Path, name)))
    return lambda: counted


def test_a_run_that_was_killed_anywhere_is_finished_by_the_next(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        count = _calls(patch, 0)
        _publish_twice(tmp_path / "counted")
        steps = count()
    assert steps > 100  # every write, sync and removal is there
    for stop_at in range(1, steps + 1):
        root = tmp_path / str(stop_at)
        with monkeypatch.context() as patch:
            _calls(patch, stop_at)
            with pytest.raises(_Killed):
                _publish_twice(root)
        _require_whole(root)
        for size in (300, 530) if stop_at % 2 else (530,):
            with_earlier = root.exists() and (root / "checkpoint").exists() and TileFolder(root).size > size
            if not with_earlier:
                write_tiles(root, at(size), KEYS)
        assert content_of(root) == whole, stop_at
        assert not (root / MARK).exists()


def _publish_twice(root: Path) -> None:
    for size in (300, 530):
        write_tiles(root, at(size), KEYS)


def _require_whole(root: Path) -> None:
    """Where there is a checkpoint, every tile and bundle of its tree is there."""
    if not (root / "checkpoint").exists():
        return
    folder = TileFolder(root)
    assert [one.raw_leaf for one in folder.leaves(0, folder.size)] == LOG.raw[: folder.size]
    assert folder.range_root(0, folder.size) == folder.checkpoint.root
    for tile in edge_of(folder.size):
        assert (root / tile.path).exists() or (root / tile.full.path).exists()


def test_a_second_run_writes_nothing(tmp_path: Path) -> None:
    first = write_tiles(tmp_path, at(530), KEYS)
    assert (first.before, first.size, first.checkpoints) == (0, 530, 5)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    again = write_tiles(tmp_path, at(530), KEYS)
    assert (again.before, again.size, again.files, again.checkpoints) == (530, 530, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_run_reads_no_more_leaves_than_the_last_bundle_and_what_is_new(tmp_path: Path) -> None:
    write_tiles(tmp_path, at(300), KEYS)
    read: list[int] = []

    class Counting(MemoryLog):
        def leaves(self, start: int, end: int) -> Iterator[StoredLeaf]:
            for stored in super().leaves(start, end):
                read.append(stored.index)
                yield stored

    write_tiles(tmp_path, Counting(LOG.raw, STEPS), KEYS)
    assert set(read) == set(range(256, 530))


def test_partial_tiles_go_only_once_the_full_ones_are_there(tmp_path: Path) -> None:
    write_tiles(tmp_path, at(250), KEYS)
    assert "tile/entries/000.p/250" in content_of(tmp_path)
    write_tiles(tmp_path, at(300), KEYS)
    files = content_of(tmp_path)
    assert "tile/entries/000" in files
    assert not any(name.startswith(("tile/entries/000.p", "tile/0/000.p")) for name in files)
    assert "tile/1/000.p/1" in files


def test_a_real_store_is_published(tmp_path: Path) -> None:
    with open_readonly(build_log(tmp_path / "record.db")) as reader:
        done = write_tiles(tmp_path / "tiles", reader, KEYS)
    assert (done.size, done.checkpoints) == (SIGNED[-1], len(SIGNED))
    assert TileFolder(tmp_path / "tiles").find_uid("uid-6") is not None


@pytest.mark.parametrize("index", [0, 7, 255, 256, 299])
@pytest.mark.parametrize("size", [300, 530])
def test_another_history_is_refused_with_its_first_index(tmp_path: Path, index: int, size: int) -> None:
    """Both are signed by the log's key: only the tiles tell them apart."""
    write_tiles(tmp_path, at(300), KEYS)
    before = content_of(tmp_path)
    other = MemoryLog.of(size, tuple(one for one in STEPS if one <= size), fork_at=index)
    with pytest.raises(TamperError) as refused:
        write_tiles(tmp_path, other, KEYS)
    assert (refused.value.code, refused.value.index) == ("fork", index)
    assert content_of(tmp_path) == before


def test_a_store_that_was_rolled_back_is_refused(tmp_path: Path) -> None:
    write_tiles(tmp_path, at(530), KEYS)
    with pytest.raises(TamperError) as refused:
        write_tiles(tmp_path, at(300), KEYS)
    assert (refused.value.code, refused.value.index) == ("rolled_back", 300)


def test_leaves_that_were_not_signed_are_never_published(tmp_path: Path) -> None:
    write_tiles(tmp_path, at(300), KEYS)
    before = content_of(tmp_path)

    class Tampered(MemoryLog):
        def leaves(self, start: int, end: int) -> Iterator[StoredLeaf]:
            for stored in super().leaves(start, end):
                raw = LOG.raw[0] if stored.index == 520 else stored.raw_leaf
                yield StoredLeaf(stored.index, raw, stored.leaf_hash)

    with pytest.raises(TamperError) as refused:
        write_tiles(tmp_path, Tampered(LOG.raw, STEPS), KEYS)
    assert (refused.value.code, refused.value.index) == ("rewritten", 511)
    assert content_of(tmp_path) == before


def test_a_leaf_that_is_missing_is_named(tmp_path: Path) -> None:
    class Short(MemoryLog):
        def leaves(self, start: int, end: int) -> Iterator[StoredLeaf]:
            return (stored for stored in super().leaves(start, end) if stored.index != 400)

    with pytest.raises(TamperError) as refused:
        write_tiles(tmp_path, Short(LOG.raw, STEPS), KEYS)
    assert (refused.value.code, refused.value.index) == ("missing", 400)


def test_a_checkpoint_by_another_key_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(TamperError) as refused:
        write_tiles(tmp_path, MemoryLog(LOG.raw, STEPS, OTHER_KEY), KEYS)
    assert refused.value.code == "checkpoint_invalid"
    assert content_of(tmp_path) == {}


def test_a_store_without_a_checkpoint_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(AuditError) as refused:
        write_tiles(tmp_path, MemoryLog([], ()), KEYS)
    assert refused.value.code == "not_signed_yet"


@pytest.mark.parametrize("tile", [tile for tile in edge_of(300) if tile.level != ENTRIES], ids=str)
def test_tiles_that_are_not_those_of_the_checkpoint_are_not_built_upon(tmp_path: Path, tile: Any) -> None:
    write_tiles(tmp_path, at(300), KEYS)
    path = tmp_path / tile.path
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    with pytest.raises(TamperError) as refused:
        write_tiles(tmp_path, at(530), KEYS)
    assert refused.value.code == "tile_changed"


def test_an_exported_checkpoint_is_never_written_over(tmp_path: Path) -> None:
    write_tiles(tmp_path, at(300), KEYS)
    other = MemoryLog.of(530, STEPS, fork_at=3)
    (tmp_path / "checkpoints" / "511").write_text(other.note(511))
    with pytest.raises(TamperError) as refused:
        write_tiles(tmp_path, at(530), KEYS)
    assert refused.value.code == "fork"
    assert (tmp_path / "checkpoints" / "511").read_text() == other.note(511)
    assert TileFolder(tmp_path).size == 300


def test_an_exported_checkpoint_that_was_removed_comes_back(tmp_path: Path) -> None:
    write_tiles(tmp_path, at(530), KEYS)
    before = content_of(tmp_path)
    (tmp_path / "checkpoints" / "250").unlink()
    assert write_tiles(tmp_path, at(530), KEYS).checkpoints == 1
    assert content_of(tmp_path) == before


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:
    write_tiles(tmp_path, at(300), KEYS)
    held = os.open(tmp_path / ".writing", os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailable) as refused:
            write_tiles(tmp_path, at(530), KEYS)
    finally:
        os.close(held)
    assert refused.value.code == "tiles_locked"
    assert write_tiles(tmp_path, at(530), KEYS).size == 530


def test_a_disk_that_is_full_is_told_and_the_next_run_finishes(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "tiles"
    write_tiles(root, at(300), KEYS)
    with monkeypatch.context() as patch:

        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreUnavailable) as refused:
            write_tiles(root, at(530), KEYS)
    assert refused.value.code == "tiles_unwritable"
    write_tiles(root, at(530), KEYS)
    assert content_of(root) == whole
