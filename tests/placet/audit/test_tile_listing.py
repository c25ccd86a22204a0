"""Which files of tiles are missing and which are too many, against what a tree of each size has by definition."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from placet.audit.tile_listing import _PAGE, Listing
from placet.audit.tiles import ENTRIES, WIDTH, Tile, levels_of, width_at

_INDEX = st.integers(0, 3) | st.sampled_from([_PAGE - 1, _PAGE, 2 * _PAGE - 1, 10**6, 10**9])
_TILES = st.builds(Tile, st.integers(ENTRIES, 2), _INDEX, st.sampled_from([1, 7, 255, WIDTH]))
_SIZE = st.integers(0, 1100) | st.sampled_from([WIDTH * _PAGE - 1, WIDTH * _PAGE, WIDTH * (_PAGE + 1) + 7])


def listed(tiles: set[Tile]) -> Listing:
    listing = Listing()
    for tile in tiles:
        listing.add(tile.path)
    assert not listing.foreign
    return listing


def has_in_tree(tile: Tile, size: int) -> bool:
    """Whether a tree of this size has this tile, full or partial."""
    return width_at(size, tile.level, tile.index) == tile.width


@given(st.sets(_TILES, max_size=8), _SIZE, st.lists(st.integers(0, 1100), max_size=2), st.none() | _SIZE)
def test_a_tile_is_too_many_where_no_checkpoint_has_it(
    tiles: set[Tile], size: int, smaller: list[int], pending: int | None
) -> None:
    exported = sorted(one for one in smaller if one <= size)

    found = list(listed(tiles).surplus(size, exported, pending))

    assert found == [
        (tile, pending is not None and tile.width <= width_at(pending, tile.level, tile.index))
        for tile in sorted(tiles)
        if not any(has_in_tree(tile, one) for one in {size, *exported})
    ]


@given(st.sets(_TILES, max_size=8), st.integers(0, 1100))
def test_a_tile_is_missing_where_neither_it_nor_the_full_one_is_there(tiles: set[Tile], size: int) -> None:
    needed = {
        Tile(level, index, width)
        for level in (ENTRIES, *levels_of(size))
        for index in range(5)
        if (width := width_at(size, level, index))
    }

    missing = set(listed(tiles).missing(size, []))

    assert missing == {tile for tile in needed if tile not in tiles and tile.full not in tiles}


@given(st.sets(_TILES, max_size=8))
def test_what_was_listed_is_there(tiles: set[Tile]) -> None:
    listing = listed(tiles)

    for level, index in {(tile.level, tile.index) for tile in tiles} | {(0, 5)}:
        widths = [width for width in (1, 7, 255, WIDTH) if Tile(level, index, width) in tiles]
        assert listing.widths(level, index) == widths
        assert [width for width in (1, 7, 255, WIDTH) if listing.has(Tile(level, index, width))] == widths


def test_the_listing_of_ten_million_leaves_is_a_few_numbers(tmp_path: Path) -> None:
    assert not Listing.of_folder(tmp_path).exported
    listing = listed({Tile(level, index) for level in (ENTRIES, 0) for index in range(10_000)})

    assert len(listing._full) == 2 * -(-10_000 // _PAGE)
    above = [*(Tile(1, index) for index in range(39)), Tile(1, 39, 16), Tile(2, 0, 39)]
    assert list(listing.missing(WIDTH * 10_000, [])) == above
