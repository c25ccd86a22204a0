"""Each single change of a folder of tiles is found and named; what is honest raises no alarm."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from placet.audit.depth import Depth
from placet.audit.findings import KINDS, Verification
from placet.audit.tile_writer import write_tiles
from placet.audit.tiles import parse_bundle, render_bundle
from placet.audit.tiles_verify import verify_tiles
from placet.errors import InputError
from tests.simulators.tampering import LOG_KEY, OTHER_KEY
from tests.simulators.tileslog import MemoryLog, content_of, leaf, naive_tiles

KEYS = [LOG_KEY.verifier]
STEPS = (5, 250, 513, 520, 530)
LOG = MemoryLog.of(530, STEPS)


def at(size: int) -> MemoryLog:
    return MemoryLog(LOG.raw[:size], tuple(one for one in STEPS if one <= size))


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiles")
    for size in (250, 530):
        write_tiles(root, at(size), KEYS)
    return root


@pytest.fixture
def copy(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "tiles"))


def _verify(root: Path, *saved: MemoryLog) -> Verification:
    """All of it; the leaves alone must give the same answer, but for what only reading them can tell."""
    notes = [(f"saved {one.signed[-1]}", one.note(one.signed[-1]).encode()) for one in saved]
    result = verify_tiles(root, KEYS, saved=notes)
    quick = verify_tiles(root, KEYS, saved=notes, depth=Depth.LEAVES)
    assert quick.findings == result.findings
    assert (quick.size, quick.root, quick.by_type) == (result.size, result.root, result.by_type)
    assert (quick.checkpoints, quick.saved, quick.signed_size) == (result.checkpoints, result.saved, result.signed_size)
    assert (quick.depth, quick.allowed, quick.denied) == ("leaves", None, None)
    assert quick.notes == (Depth.LEAVES.note, *result.notes)
    return result


def test_an_honest_folder_is_verified(honest: Path) -> None:
    told: list[tuple[int, int]] = []
    result = verify_tiles(honest, KEYS, saved=[("a", LOG.note(250).encode())], progress=lambda *at: told.append(at))
    assert result.verified, result.findings
    assert (result.size, result.signed_size, result.checkpoints, result.saved) == (530, 530, len(STEPS), ("a",))
    assert result.by_type == {"heartbeat": 530}
    assert told[-1] == (530, 530)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512, 700])
def test_every_size_is_verified(tmp_path: Path, size: int) -> None:
    write_tiles(tmp_path, MemoryLog.of(size), KEYS)
    assert _verify(tmp_path).verified


def test_every_moment_of_a_run_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks in the middle of a run, or after one that was killed, sees what was published before, or after."""
    root = tmp_path / "tiles"
    write_tiles(root, at(250), KEYS)
    seen: list[int] = []
    replace, link, unlink = Path.replace, os.link, Path.unlink

    def look(function: Any) -> Any:
        def called(*arguments: Any, **named: Any) -> Any:
            with monkeypatch.context() as patch:
                patch.setattr(Path, "replace", replace)
                result = _verify(root)
            assert result.verified, result.findings
            seen.append(result.size)
            return function(*arguments, **named)

        return called

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", look(replace))
        patch.setattr(os, "link", look(link))
        patch.setattr(Path, "unlink", look(unlink))
        write_tiles(root, at(530), KEYS)
    assert set(seen) == {250, 530}
    assert not _verify(root).notes


def _changed(raw: bytes, place: int) -> bytes:
    return raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]


def test_every_file_that_is_changed_removed_or_emptied_is_found_and_named(honest: Path, copy: Path) -> None:
    """Each file, a byte at its start, in its middle and at its end, a byte more, a byte less, nothing, and no file."""
    for name, raw in content_of(honest).items():
        places = {0, 1, len(raw) // 2, len(raw) - 1}
        damages = [*(_changed(raw, place) for place in places), raw + b"\x00", raw[:-1], b"", None]
        for damaged in damages:
            path = copy / name
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            result = _verify(copy)
            path.unlink(missing_ok=True)
            path.write_bytes(raw)
            what = (name, None if damaged is None else len(damaged))
            older = name.startswith("checkpoints/") and damaged is None and int(name.split("/")[1]) <= 250
            if older:
                continue  # what it commits to is under every later one, and its partial tiles are gone
            assert not result.verified, what
            assert set(result.kinds) <= KINDS.keys()
            kinds = set(result.kinds)
            if name.startswith("checkpoint"):
                allowed = {"checkpoint_invalid", "checkpoint_missing", "file_added"}
            elif "entries" in name:
                allowed = {"leaf_changed", "truncated", "missing", "inserted", "tile_missing", "leaf_malformed"}
            else:
                allowed = {"tile_changed", "tile_missing"}
            assert kinds <= allowed, (what, result.findings)
    assert _verify(copy).verified


@pytest.mark.parametrize("index", [0, 1, 100, 255, 256, 511, 512, 529])
def test_an_entry_that_was_changed_is_named_by_its_index(copy: Path, index: int) -> None:
    for name in ("000", "001", "002.p/8", "002.p/18", "002.p/1"):
        path = copy / "tile" / "entries" / name
        leaves = parse_bundle(path.read_bytes())
        place = index - int(name[:3]) * 256
        if 0 <= place < len(leaves):
            leaves[place] = leaf(7000)
            path.write_bytes(render_bundle(leaves))
    result = _verify(copy)
    assert (result.kinds, result.first_bad_index) == (("leaf_changed",), index)


@pytest.mark.parametrize(("level", "index", "first", "end"), [(0, 3, 3, None), (0, 520, 520, None), (1, 1, 256, 512)])
def test_a_hash_that_was_changed_is_named(copy: Path, level: int, index: int, first: int, end: int | None) -> None:
    for path in (copy / "tile" / str(level)).rglob("*"):
        if path.is_file():
            start = int(path.relative_to(copy / "tile" / str(level)).as_posix()[:3]) * 256
            place = (index - start) * 32
            if 0 <= place < path.stat().st_size:
                path.write_bytes(_changed(path.read_bytes(), place))
    result = _verify(copy)
    assert set(result.kinds) == {"tile_changed"}, result.findings
    assert (result.findings[0].index, result.findings[0].end) == (first, end)


def test_entries_that_were_exchanged_are_named(copy: Path) -> None:
    path = copy / "tile" / "entries" / "001"
    leaves = parse_bundle(path.read_bytes())
    leaves[3], leaves[9] = leaves[9], leaves[3]
    path.write_bytes(render_bundle(leaves))
    result = _verify(copy)
    assert (result.kinds, result.first_bad_index) == (("reordered",), 259)


def test_an_entry_that_was_put_in_or_taken_out_is_named(copy: Path) -> None:
    path = copy / "tile" / "entries" / "002.p" / "18"
    leaves = parse_bundle(path.read_bytes())
    path.write_bytes(render_bundle([*leaves[:4], leaf(7000), *leaves[4:]]))
    assert (_verify(copy).kinds, _verify(copy).first_bad_index) == (("inserted",), 516)
    path.write_bytes(render_bundle([*leaves[:4], *leaves[5:]]))
    assert (_verify(copy).kinds, _verify(copy).first_bad_index) == (("leaf_changed",), 516)
    path.write_bytes(render_bundle(leaves[:4]))
    assert (_verify(copy).kinds, _verify(copy).first_bad_index) == (("truncated",), 516)


@pytest.mark.parametrize("at_index", [0, 300, 514, 529])
def test_a_careful_rewriting_is_found_by_the_checkpoints(copy: Path, at_index: int) -> None:
    """Every entry and tile made anew for another history, only nobody has the log's key."""
    other = MemoryLog.of(530, STEPS, fork_at=at_index)
    shutil.rmtree(copy / "tile")
    write_tiles(copy.parent / "other", other, KEYS)
    shutil.copytree(copy.parent / "other" / "tile", copy / "tile")
    result = _verify(copy)
    assert result.kinds[0] == "rewritten"
    first = result.first_bad_index
    assert first is not None
    assert max([0, *(one for one in STEPS if one <= at_index)]) == first


def test_a_checkpoint_of_another_tree_is_named(copy: Path) -> None:
    """Signed by the log's key itself: the tiles are of one history, the checkpoint of another."""
    other = MemoryLog.of(530, STEPS, fork_at=525)
    for name in ("checkpoint", "checkpoints/530"):
        (copy / name).write_text(other.note(530))
    result = _verify(copy)
    assert (result.kinds, result.first_bad_index) == (("rewritten",), 520)
    (copy / "checkpoint").write_text(LOG.note(530))
    assert "fork" in _verify(copy).kinds


def test_a_checkpoint_by_another_key_is_named(copy: Path) -> None:
    (copy / "checkpoint").write_text(MemoryLog(LOG.raw, STEPS, OTHER_KEY).note(530))
    assert _verify(copy).kinds == ("checkpoint_invalid",)


def test_a_folder_that_was_cut_back_is_named(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy)
    write_tiles(copy, at(513), KEYS)
    assert _verify(copy).verified
    result = _verify(copy, LOG)
    assert (result.kinds, result.first_bad_index) == (("rolled_back",), 513)
    (copy / "checkpoints" / "530").write_text(LOG.note(530))
    assert "truncated" in _verify(copy).kinds


@pytest.mark.parametrize(
    "path",
    [
        "index.html",
        "tile/0/003",
        "tile/0/002",
        "tile/0/002.p/19",
        "tile/0/000.p/7",
        "tile/0/00",
        "tile/0/x000/001",
        "tile/00/001",
        "tile/0/002.p/018",
        "tile/0/002.p/256",
        "tile/entries/000.p/9",
        "tile/2/000",
        "tile/2/000.p/1",
        "tile/9/000",
        "checkpoints/0530",
        "checkpoints/latest",
        "checkpoints/.530",
        ".writing/other",
        "cosigned/deeper/w1",
    ],
)
def test_a_file_that_was_added_is_named(copy: Path, path: str) -> None:
    (copy / path).parent.mkdir(parents=True, exist_ok=True)
    (copy / path).write_bytes(naive_tiles(LOG.raw)["tile/0/000"])
    result = _verify(copy)
    assert "file_added" in result.kinds
    assert any(path in finding.sentence for finding in result.findings)


@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to], ids=["symbolic", "hard"])
def test_a_link_is_not_a_file_of_the_log_and_a_second_name_is_one(
    copy: Path, make: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    (copy / "tile" / "0" / "000").rename(moved)
    make(copy / "tile" / "0" / "000", moved)
    assert _verify(copy).verified == (make is Path.hardlink_to)


def test_what_is_beyond_the_checkpoint_is_tolerated_for_an_unfinished_run_alone(copy: Path) -> None:
    longer = MemoryLog.of(600, (*STEPS, 600))
    (copy / "tile" / "0" / "002.p" / "88").write_bytes(b"anything")
    assert _verify(copy).kinds == ("file_added",)
    (copy / ".writing").mkdir(exist_ok=True)
    (copy / ".writing" / "checkpoint").write_text(MemoryLog(longer.raw, (600,), OTHER_KEY).note(600))
    assert set(_verify(copy).kinds) == {"file_added", "checkpoint_invalid"}
    (copy / ".writing" / "checkpoint").write_text(longer.note(600))
    assert _verify(copy).verified
    assert _verify(copy).notes
    (copy / "tile" / "0" / "002.p" / "89").write_bytes(b"anything")
    assert _verify(copy).kinds == ("file_added",)


def test_a_cosigned_checkpoint_counts_as_one_that_was_saved(copy: Path) -> None:
    (copy / "cosigned").mkdir()
    (copy / "cosigned" / "w1.note").write_text(LOG.note(250))
    assert _verify(copy).saved == ("cosigned/w1.note",)
    (copy / "cosigned" / "w1.note").write_text(MemoryLog.of(250, fork_at=9).note(250))
    assert _verify(copy).kinds == ("fork",)
    (copy / "cosigned" / "w1.note").write_text("nothing")
    assert _verify(copy).kinds == ("checkpoint_invalid",)


def test_a_folder_where_nothing_was_published_can_not_be_told(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        _verify(tmp_path)
    with pytest.raises(InputError):
        _verify(tmp_path / "none")
    write_tiles(tmp_path / "tiles", at(250), KEYS)
    with pytest.raises(InputError):
        verify_tiles(tmp_path / "tiles", KEYS, saved=[("x", b"nothing")])
