"""Find records in published tiles: every entry is read, newest first, a bundle at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from placet.audit.query import read_found
from placet.audit.record import Columns, parse_leaf
from placet.audit.stores import Key, StoredLeaf
from placet.audit.stores.places import Wanted
from placet.audit.tile_folder import TileFolder
from placet.audit.tiles import WIDTH

# condition of a search -> whether a leaf meets it, as the columns of a store do
_MEETS: Final[Mapping[str, Callable[[Columns, Any], bool]]] = {
    "type": lambda columns, asked: columns.leaf_type == asked,
    "kind": lambda columns, asked: columns.kind == asked,
    "name": lambda columns, asked: columns.object_name == asked,
    "namespace": lambda columns, asked: columns.namespace == asked,
    "environment": lambda columns, asked: columns.environment == asked,
    "model": lambda columns, asked: columns.model == asked,
    "user": lambda columns, asked: columns.requester == asked,
    "allowed": lambda columns, asked: columns.allowed == asked,
    "projection": lambda columns, asked: columns.projection == asked,
    "violation": lambda columns, asked: f"|{asked}|" in columns.violations,
    "since": lambda columns, asked: columns.time >= asked,
    "until": lambda columns, asked: columns.time < asked,
    "pruned": lambda columns, asked: columns.leaf_type != asked,
}


@dataclass(frozen=True, slots=True)
class TileSearch:
    """Searches a folder of tiles as ``Reader.search`` does a store, in constant memory and the time of reading it all.

    Attributes:
        folder: whose tree is searched. Whether it is what was signed, ``verify_tiles`` says and nobody else.
    """

    folder: TileFolder

    def members_at(self, keys: Sequence[Key]) -> Mapping[Key, bytes]:
        """None, as there are no blocks."""
        del keys
        return {}

    def blocks(self) -> int:
        """None: nobody has signed by what the leaves are found, and they are all read."""
        return 0

    def find_places(self, wanted: Wanted) -> Iterator[int]:
        """None, as there are no blocks."""
        del wanted
        return iter(())

    def leaves_at(self, indexes: Sequence[int]) -> list[StoredLeaf]:
        """These leaves, newest first."""
        return [next(self.folder.leaves(index, index + 1)) for index in sorted(indexes, reverse=True)]

    def search(
        self, conditions: Mapping[str, Any], *, before: int | None, limit: int, start: int = 0
    ) -> list[StoredLeaf]:
        """Leaves that meet every condition, newest first.

        Raises:
            TamperError: a leaf is not the one whose hash stands in the tiles, or is malformed; a tile is missing.
        """
        found: list[StoredLeaf] = []
        for stored in self._backwards(start, self.folder.size if before is None else min(before, self.folder.size)):
            if not stored.raw_leaf:
                continue  # pruned: what is left of it says nothing
            read_found(stored)
            columns = parse_leaf(stored.raw_leaf).columns
            if all(_MEETS[name](columns, asked) for name, asked in conditions.items()):
                found.append(stored)
                if len(found) == limit:
                    break
        return found

    def _backwards(self, first: int, end: int) -> Iterator[StoredLeaf]:
        while end > first:
            start = max(first, (end - 1) // WIDTH * WIDTH)
            yield from reversed(list(self.folder.leaves(start, end)))
            end = start
