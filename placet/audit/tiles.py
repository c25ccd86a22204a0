"""The layout of C2SP tlog-tiles (https://c2sp.org/tlog-tiles): which files a tree of one size has, and their bytes.

A *tile* is up to 256 consecutive hashes of one level; level 0 has the hashes of leaves, each level above the roots of
full tiles below. An *entry bundle* is the leaves of one tile of level 0, each behind its length. A full tile never
changes; one that is not full yet is *partial*, and there is one file for each width that a checkpoint needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from placet.audit.merkle import HASH_BYTES, MAX_SIZE, Frontier
from placet.errors import FormatError

WIDTH: Final = 256
ENTRIES: Final = -1  # the level of entry bundles, as golang.org/x/mod/sumdb/tlog has it
TILES_FOLDER: Final = "tile"
_BITS: Final = 8
_LENGTH_BYTES: Final = 2
_MAX_ENTRY_BYTES: Final = 0xFFFF
_GROUP: Final = 1000


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """One file of the layout.

    Attributes:
        level: 0 to 7, or ``ENTRIES``.
        index: from 0, in its level.
        width: 1 to 256 hashes, or entries; 256 is a full one.
    """

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Its path below the folder: ``tile/0/x001/234.p/17``."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"{TILES_FOLDER}/{level}/{render_index(self.index)}{partial}"

    @property
    def full(self) -> Tile:
        """The tile that this one grows to."""
        return Tile(self.level, self.index)

    @property
    def span(self) -> tuple[int, int]:
        """The first leaf under it, and the one after the last."""
        each = 1 << _BITS * max(self.level, 0)
        first = self.index * WIDTH * each
        return first, first + self.width * each


def render_index(index: int) -> str:
    """An index as path elements of three digits, all but the last behind an ``x``: 1234067 is ``x001/x234/067``."""
    text = f"{index % _GROUP:03d}"
    while index >= _GROUP:
        index //= _GROUP
        text = f"x{index % _GROUP:03d}/{text}"
    return text


def width_at(size: int, level: int, index: int) -> int:
    """Hashes that a tile has in a tree of that size, 0 to 256."""
    return min(max((size >> _BITS * max(level, 0)) - index * WIDTH, 0), WIDTH)


def levels_of(size: int) -> range:
    """The levels that have a tile, the lowest first; that of entries is not among them."""
    return range(-(-size.bit_length() // _BITS))


def edge_of(size: int) -> Iterator[Tile]:
    """The partial tiles of a tree: at most one of each level, and a bundle."""
    for level in (ENTRIES, *levels_of(size)):
        count = size >> _BITS * max(level, 0)
        if count % WIDTH:
            yield Tile(level, count // WIDTH, count % WIDTH)


def full_in(size: int, level: int) -> int:
    """How many full tiles a level has."""
    return size >> _BITS * (max(level, 0) + 1)


def render_bundle(leaves: Sequence[bytes]) -> bytes:
    """An entry bundle: each leaf behind its length, two bytes, the more significant first.

    Raises:
        FormatError: a leaf of more than 65,535 bytes.
    """
    if any(len(leaf) > _MAX_ENTRY_BYTES for leaf in leaves):
        raise FormatError("a leaf is too long for an entry bundle", code="too_large")
    return b"".join(len(leaf).to_bytes(_LENGTH_BYTES, "big") + leaf for leaf in leaves)


def parse_bundle(raw: bytes) -> list[bytes]:
    """The leaves of an entry bundle.

    Raises:
        FormatError: it ends within a leaf.
    """
    leaves, whole = split_bundle(raw)
    if not whole:
        raise FormatError("the entry bundle ends within an entry", code="bundle_malformed")
    return leaves


def split_bundle(raw: bytes) -> tuple[list[bytes], bool]:
    """The leaves that a bundle has whole, and whether nothing follows them."""
    leaves: list[bytes] = []
    place = 0
    while place < len(raw):
        start = place + _LENGTH_BYTES
        end = start + int.from_bytes(raw[place:start], "big")
        if end > len(raw):
            return leaves, False
        leaves.append(raw[start:end])
        place = end
    return leaves, True


def parse_hashes(raw: bytes) -> list[bytes]:
    """The hashes of a tile.

    Raises:
        FormatError: not a multiple of 32 bytes.
    """
    if len(raw) % HASH_BYTES:
        raise FormatError("the tile ends within a hash", code="tile_malformed")
    return [raw[start : start + HASH_BYTES] for start in range(0, len(raw), HASH_BYTES)]


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root of consecutive subtrees of one height, as of leaves."""
    tree = Frontier()
    tree.extend(hashes)
    return tree.root()


class TileTree:
    """A tree that grows by one leaf at a time and remembers the last tile of each level.

    Args:
        size: number of leaves there are already.
        edge: hashes of the partial tile of each level, the lowest first; of a level without one, none.

    Attributes:
        newest_root: root of the leaves of the tile of level 0 that was filled last; nothing before the first.

    Raises:
        FormatError: not as many hashes as a tree of this size has there.
    """

    def __init__(self, size: int = 0, edge: Sequence[Sequence[bytes]] = ()) -> None:
        self.size = size
        self.edge = [list(hashes) for hashes in edge]
        self.newest_root = b""
        if not 0 <= size <= MAX_SIZE or [len(hashes) for hashes in self.edge] != [
            (size >> _BITS * level) % WIDTH for level in range(len(self.edge))
        ]:
            raise FormatError(f"not the last tiles of a tree of {size} leaves", code="tile_malformed")

    def append(self, leaf_hash: bytes) -> list[tuple[Tile, bytes]]:
        """Add the hash of a leaf.

        Returns:
            The tiles that are full now, with their bytes.
        """
        full: list[tuple[Tile, bytes]] = []
        carried, level = leaf_hash, 0
        self.size += 1
        while True:
            if level == len(self.edge):
                self.edge.append([])
            self.edge[level].append(carried)
            if len(self.edge[level]) < WIDTH:
                return full
            hashes, self.edge[level] = self.edge[level], []
            full.append((Tile(level, full_in(self.size, level) - 1), b"".join(hashes)))
            carried = root_of(hashes)
            self.newest_root = self.newest_root if level else carried
            level += 1

    def extend(self, leaf_hashes: Sequence[bytes]) -> list[tuple[Tile, bytes]]:
        """Add the hashes of several leaves; gives what as many ``append`` give."""
        full: list[tuple[Tile, bytes]] = []
        place = 0
        while place < len(leaf_hashes):
            room = WIDTH - len(self.edge[0]) if self.edge else WIDTH
            last = place + room - 1  # the one that fills the tile
            if last > place:
                if not self.edge:
                    self.edge.append([])
                part = leaf_hashes[place:last]
                self.edge[0].extend(part)
                self.size += len(part)
            if last < len(leaf_hashes):
                full += self.append(leaf_hashes[last])
            place += room
        return full

    def partial(self) -> Iterator[tuple[Tile, bytes]]:
        """The tiles that are not full, with their bytes; without the bundle."""
        for tile in edge_of(self.size):
            if tile.level != ENTRIES:
                yield tile, b"".join(self.edge[tile.level])

    def frontier(self) -> Frontier:
        """The frontier of the whole tree."""
        parts: list[bytes] = []
        for hashes in reversed(self.edge):
            tree = Frontier()
            for part in hashes:
                tree.append(part)
            parts += tree.hashes
        return Frontier(self.size, parts)
