"""Tiles are those of the specification, however they came about."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.audit.merkle import consistency_ranges, hash_leaf, hash_ranges, inclusion_ranges
from placet.audit.tile_folder import TileFolder
from placet.audit.tile_writer import write_tiles
from placet.audit.tiles import (
    ENTRIES,
    Tile,
    TileTree,
    edge_of,
    levels_of,
    parse_bundle,
    parse_hashes,
    render_bundle,
    render_index,
    root_of,
    width_at,
)
from placet.errors import FormatError, TamperError
from tests.simulators.tampering import LOG_KEY
from tests.simulators.tileslog import MemoryLog, content_of, naive_root, naive_tiles

KEYS = [LOG_KEY.verifier]
_LONGEST = 32 * 1024


@pytest.mark.parametrize(
    ("index", "path"),
    [
        (0, "000"),
        (67, "067"),
        (999, "999"),
        (1000, "x001/000"),
        (1234067, "x001/x234/067"),
        (10**9, "x001/x000/x000/000"),
    ],
)
def test_an_index_is_written_in_groups_of_three_digits(index: int, path: str) -> None:
    assert render_index(index) == path


def test_a_tree_of_70000_leaves_has_the_tiles_of_the_specification() -> None:
    """The example in the specification."""
    assert list(edge_of(70_000)) == [Tile(ENTRIES, 273, 112), Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert [width_at(70_000, 1, index) for index in range(3)] == [256, 17, 0]
    assert list(levels_of(70_000)) == [0, 1, 2]
    assert list(edge_of(256)) == [Tile(1, 0, 1)]
    assert list(edge_of(0)) == []


def test_paths_are_those_of_the_specification() -> None:
    assert Tile(ENTRIES, 1234067).path == "tile/entries/x001/x234/067"
    assert Tile(3, 5, 17).path == "tile/3/005.p/17"
    assert Tile(1, 2, 3).span == (2 * 65536, 2 * 65536 + 3 * 256)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_is_read_as_it_was_written(leaves: list[bytes]) -> None:
    assert parse_bundle(render_bundle(leaves)) == leaves


@given(st.binary(max_size=200))
def test_a_bundle_is_read_whole_or_refused(raw: bytes) -> None:
    try:
        leaves = parse_bundle(raw)
    except FormatError:
        return
    assert render_bundle(leaves) == raw


def test_the_longest_leaf_fits_and_one_that_does_not_is_refused() -> None:
    assert parse_bundle(render_bundle([b"x" * _LONGEST])) == [b"x" * _LONGEST]
    with pytest.raises(FormatError):
        render_bundle([b"x" * 65536])
    with pytest.raises(FormatError):
        parse_hashes(b"x" * 33)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 70_000))
def test_a_tree_that_grew_has_the_root_of_its_leaves(size: int) -> None:
    hashes = [hash_leaf(number.to_bytes(4, "big")) for number in range(size)]
    tree = TileTree()
    for part in hashes:
        tree.append(part)
    assert tree.frontier().root() == naive_root(hashes)
    again = TileTree(size, tree.edge)
    assert again.frontier() == tree.frontier()


def test_a_tree_is_not_made_of_the_edge_of_another() -> None:
    with pytest.raises(FormatError):
        TileTree(3, [[b"x" * 32]])
    assert root_of([b"x" * 32]) == b"x" * 32


def test_every_size_up_to_three_tiles_is_as_a_naive_implementation_has_it(tmp_path: Path) -> None:
    whole = MemoryLog.of(800)
    for size in (0, 1, 2, 255, 256, 257, 511, 512, 513, 700, 800):
        root = tmp_path / str(size)
        log = MemoryLog(whole.raw[:size], (size,))
        write_tiles(root, log, KEYS)
        files = content_of(root)
        assert files.pop("checkpoint") == files.pop(f"checkpoints/{size}") == log.note(size).encode()
        assert files == naive_tiles(log.raw)


def test_the_third_level_is_as_a_naive_implementation_has_it(tmp_path: Path) -> None:
    log = MemoryLog.of(65_537)
    write_tiles(tmp_path, log, KEYS)
    tiles = {name: raw for name, raw in content_of(tmp_path).items() if name.startswith("tile/")}
    assert tiles == naive_tiles(log.raw)
    assert {"tile/2/000.p/1", "tile/1/000", "tile/0/256.p/1"} < tiles.keys()


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(0, 900), min_size=1, max_size=6).map(sorted), st.data())
def test_tiles_that_grew_in_steps_are_those_that_every_checkpoint_needs(sizes: list[int], data: st.DataObject) -> None:
    """Whatever the steps: full tiles, and the partial ones of each checkpoint whose full ones are not there yet."""
    log = MemoryLog.of(sizes[-1], tuple(sizes))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for size in data.draw(st.lists(st.sampled_from(sizes), unique=True).map(sorted)):
            write_tiles(root, MemoryLog(log.raw[:size], tuple(one for one in sizes if one <= size)), KEYS)
        write_tiles(root, log, KEYS)
        files = content_of(root)
        assert files.pop("checkpoint") == log.note(sizes[-1]).encode()
        expected = naive_tiles(log.raw)
        for size in sizes:
            assert files.pop(f"checkpoints/{size}") == log.note(size).encode()
            needed = naive_tiles(log.raw[:size])
            full = {path.partition(".p/")[0] for path in expected if ".p/" not in path}
            expected |= {path: raw for path, raw in needed.items() if path.partition(".p/")[0] not in full}
        assert files == expected


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 700), st.data())
def test_proofs_by_tiles_are_those_by_every_leaf(size: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        write_tiles(Path(name), log := MemoryLog.of(size), KEYS)
        folder = TileFolder(Path(name))
        hashes = [hash_leaf(raw) for raw in log.raw]
        for ranges in (
            inclusion_ranges(data.draw(st.integers(0, size - 1)), size),
            consistency_ranges(data.draw(st.integers(1, size)), size),
        ):
            assert folder.hash_ranges(ranges) == hash_ranges(ranges, hashes)
        start = data.draw(st.integers(0, size))
        assert [one.raw_leaf for one in folder.leaves(start, size)] == log.raw[start:]
        assert list(folder.leaf_hashes(start)) == hashes[:start]


def test_a_tile_that_is_missing_or_cut_short_makes_no_proof(tmp_path: Path) -> None:
    write_tiles(tmp_path, MemoryLog.of(300), KEYS)
    folder = TileFolder(tmp_path)
    for name, raw in content_of(tmp_path).items():
        if not name.startswith("tile/"):
            continue
        for damaged in (None, raw[:-1], raw[:-32], b""):
            (tmp_path / name).unlink()
            if damaged is not None:
                (tmp_path / name).write_bytes(damaged)
            with pytest.raises(TamperError):
                list(folder.leaves(0, 300)), list(folder.leaf_hashes(300)), folder.range_root(0, 256)
            (tmp_path / name).write_bytes(raw)
