"""Which files a folder of tiles has, and which of them belong there."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from placet.audit.durable import STAGING
from placet.audit.tile_folder import CHECKPOINT, CHECKPOINTS, COSIGNED, KEPT
from placet.audit.tiles import ENTRIES, WIDTH, Tile, edge_of, full_in, levels_of, width_at

_TILE: Final = re.compile(
    r"tile/(?P<level>entries|[0-7])/(?P<index>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?", re.ASCII
)
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_PAGE: Final = 4096  # full tiles that are kept as one number: of 10^7 leaves there are 78,000
_STAGED: Final = (f"{STAGING}/{CHECKPOINT}", f"{STAGING}/part")


class Listing:
    """Every file below a folder, by what it is.

    Attributes:
        exported: sizes that ``checkpoints`` has a file for, the smallest first.
        kept: indexes that ``kept`` has a leaf of, the smallest first.
        cosigned: names in ``cosigned``, sorted.
        foreign: paths of files that are of no known kind, or no plain files, sorted.
        unfinished: paths of what an interrupted writer has left behind.
    """

    def __init__(self) -> None:
        self._partial: dict[tuple[int, int], set[int]] = {}  # (level, index) -> widths
        self._full: dict[tuple[int, int], int] = {}  # (level, page) -> a bit for each of its indexes
        self.exported: list[int] = []
        self.kept: list[int] = []
        self.cosigned: list[str] = []
        self.foreign: list[str] = []
        self.unfinished: list[str] = []

    @classmethod
    def of_folder(cls, root: Path) -> Self:
        """What is below a folder."""
        listing = cls()
        for path in _files(root):
            listing.add(path, plain=(root / path).is_file() and not (root / path).is_symlink())
        listing.exported.sort()
        listing.kept.sort()
        listing.cosigned.sort()
        listing.foreign.sort()
        return listing

    def has(self, tile: Tile) -> bool:
        """Whether the file of a tile is there."""
        if tile.width < WIDTH:
            return tile.width in self._partial.get((tile.level, tile.index), ())
        page, place = divmod(tile.index, _PAGE)
        return bool(self._full.get((tile.level, page), 0) >> place & 1)

    def widths(self, level: int, index: int) -> list[int]:
        """Widths of the files that there are of one place, ascending."""
        full = [WIDTH] if self.has(Tile(level, index)) else []
        return sorted(self._partial.get((level, index), ())) + full

    def bundles(self) -> Iterator[tuple[int, int]]:
        """Index and greatest width of each bundle of entries that there is."""
        for (level, index), widths in self._partial.items():
            if level == ENTRIES:
                yield index, max(widths)
        for (level, page), bits in self._full.items():
            if level == ENTRIES:
                yield from ((page * _PAGE + place, WIDTH) for place in range(bits.bit_length()) if bits >> place & 1)

    def missing(self, size: int, exported: Sequence[int]) -> Iterator[Tile]:
        """Tiles that have to be there and are not: full ones, and those of each checkpoint.

        Where the full tile of a partial one is there, that is enough.
        """
        for level in (ENTRIES, *levels_of(size)):
            for index in range(full_in(size, level)):
                if not self.has(Tile(level, index)):
                    yield Tile(level, index)
        needed = {tile for one in {size, *exported} if one <= size for tile in edge_of(one)}
        for tile in sorted(needed):
            if tile.index >= full_in(size, tile.level) and not self.has(tile) and not self.has(tile.full):
                yield tile

    def surplus(self, size: int, exported: Sequence[int], pending: int | None) -> Iterator[tuple[Tile, bool]]:
        """Tiles that no checkpoint needs, and of each whether an unfinished run may have left it.

        Args:
            size: of the published tree.
            exported: sizes of checkpoints that are there and are the log's, the smallest first.
            pending: size that the unfinished run leads to; None where there is none.
        """
        sizes = sorted({*exported, size})
        partial = (Tile(level, index, width) for (level, index), widths in self._partial.items() for width in widths)
        unneeded = [tile for tile in partial if not _is_needed(tile, sizes)]
        for tile in sorted([*unneeded, *self._full_beyond(size)]):
            yield tile, pending is not None and tile.width <= width_at(pending, tile.level, tile.index)

    def _full_beyond(self, size: int) -> Iterator[Tile]:
        """The full tiles that a tree of this size has not got."""
        for (level, page), bits in self._full.items():
            first, end = page * _PAGE, full_in(size, level)
            if first + bits.bit_length() > end:
                places = range(max(end - first, 0), bits.bit_length())
                yield from (Tile(level, first + place) for place in places if bits >> place & 1)

    def add(self, path: str, *, plain: bool = True) -> None:
        """Put a path where it belongs; ``plain`` says that it is a file."""
        folder, _, name = path.rpartition("/")
        found = _TILE.fullmatch(path) if plain else None
        if found is not None and int(found["width"] or 1) < WIDTH:
            level = ENTRIES if found["level"] == "entries" else int(found["level"])
            index = int(found["index"].replace("x", "").replace("/", ""))
            width = int(found["width"]) if found["width"] else WIDTH
            if Tile(level, index, width).path == path:
                self._add_tile(level, index, width)
                return
        if plain and folder == CHECKPOINTS and _SIZE.fullmatch(name):
            self.exported.append(int(name))
        elif plain and folder == KEPT and _SIZE.fullmatch(name):
            self.kept.append(int(name))
        elif plain and folder == COSIGNED:
            (self.unfinished if name.startswith(".") else self.cosigned).append(path)
        elif plain and path in _STAGED:
            self.unfinished.append(path)
        elif path != CHECKPOINT or not plain:
            self.foreign.append(path)

    def _add_tile(self, level: int, index: int, width: int) -> None:
        if width < WIDTH:
            self._partial.setdefault((level, index), set()).add(width)
            return
        page, place = divmod(index, _PAGE)
        self._full[level, page] = self._full.get((level, page), 0) | 1 << place


def _is_needed(tile: Tile, sizes: Sequence[int]) -> bool:
    """Whether one of the trees of these sizes has this partial tile; the smallest size is the first."""
    each = 8 * max(tile.level, 0)
    hashes = tile.index * WIDTH + tile.width
    place = bisect_left(sizes, hashes << each)
    return place < len(sizes) and sizes[place] >> each == hashes


def _files(root: Path) -> Iterator[str]:
    """Paths of everything that is no folder; a link to a folder is not followed and is one of them."""
    for folder, folders, names in os.walk(root):
        below = Path(folder)
        for name in [*names, *(one for one in folders if (below / one).is_symlink())]:
            yield (below / name).relative_to(root).as_posix()
