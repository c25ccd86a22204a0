"""Where tiles are read from, a file at a time: a folder here, an archive in placet.audit.archive.verify."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from placet.audit.tile_folder import read_kept, read_note, read_tile
from placet.audit.tile_listing import Listing
from placet.audit.tiles import Tile


class TileFiles(Protocol):
    """Where tiles are: a folder, or an archive."""

    @property
    def listing(self) -> Listing:
        """Which files there are."""

    def note(self, path: str) -> bytes | None:
        """A note; None where it is not there. Raises ``FormatError`` where it is too large for one."""

    def tile(self, tile: Tile) -> bytes | None:
        """A tile, or the full one where the partial one is gone; None where neither is there. Raises likewise."""

    def kept(self, index: int) -> bytes | None:
        """A leaf that stays of a bundle that was pruned; None where it is not there. Raises likewise."""


class FolderFiles:
    """The files of a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.listing = Listing.of_folder(root)

    def __str__(self) -> str:
        return str(self._root)

    def note(self, path: str) -> bytes | None:
        """See ``TileFiles``."""
        return read_note(self._root / path)

    def tile(self, tile: Tile) -> bytes | None:
        """See ``TileFiles``."""
        return read_tile(self._root, tile)

    def kept(self, index: int) -> bytes | None:
        """See ``TileFiles``."""
        return read_kept(self._root, index)
