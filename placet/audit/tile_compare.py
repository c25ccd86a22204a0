"""The files of tiles, each held against the hashes that the log has there; the full one of a place and partial ones."""

from __future__ import annotations

from placet.audit.findings import Findings
from placet.audit.merkle import hash_leaf
from placet.audit.tile_files import TileFiles
from placet.audit.tiles import ENTRIES, WIDTH, Tile, parse_hashes, split_bundle
from placet.errors import FormatError


class TileComparison:
    """Tells ``findings`` of each file that differs; of levels above the lowest only at the end, by ``report_above``."""

    def __init__(self, files: TileFiles, findings: Findings) -> None:
        self._files = files
        self._findings = findings
        self._above: list[tuple[Tile, int]] = []

    def raw(self, tile: Tile) -> bytes | None:
        """What a file holds; None where there is none."""
        try:
            return self._files.tile(tile)
        except FormatError:
            return b""  # too large to be one; comparing says so

    def compare(self, level: int, index: int, hashes: list[bytes], *, right: int | None) -> None:
        """Hold every file of one tile, full or partial, against its hashes, but for the one that is right already."""
        for width in self._files.listing.widths(level, index):
            if width > len(hashes) or width == right:
                continue  # no checkpoint needs it, which is said already; or of the unfinished run
            tile = Tile(level, index, width)
            raw = self.raw(tile)
            if raw is not None:
                self._compare_file(tile, raw, hashes[:width])

    def _compare_file(self, tile: Tile, raw: bytes, hashes: list[bytes]) -> None:
        if tile.level == ENTRIES:
            leaves, whole = split_bundle(raw)
            found = [hash_leaf(leaf) for leaf in leaves]
            kind, what = "leaf_changed", "entry"
        else:
            found, whole = [raw[start : start + 32] for start in range(0, len(raw), 32)], True
            kind, what = "tile_changed", "hash"
        if found == hashes and whole:
            return
        start = tile.index * WIDTH
        wrong = [place for place, one in enumerate(hashes) if place >= len(found) or found[place] != one]
        first = start + (wrong[0] if wrong else len(hashes))
        if len(found) < len(hashes) and found == hashes[: len(found)]:
            kind = "truncated" if tile.level == ENTRIES else kind
            self._findings.add(kind, f"{tile.path} is cut short", index=first, end=start + len(hashes))
        elif len(found) != len(hashes) or not whole:
            kind = "inserted" if tile.level == ENTRIES and len(found) > len(hashes) else kind
            sentence = f"{tile.path} has {len(found)} of {what} where the log has {len(hashes)}"
            self._findings.add(kind, sentence, index=first)
        else:
            moved = {hashes[place] for place in wrong} & {found[place] for place in wrong}
            for place in wrong:
                swapped = tile.level == ENTRIES and found[place] in moved and hashes[place] in moved
                words = "the entry is another one of this log, in this one's place" if swapped else f"the {what}"
                sentence = f"{tile.path}: {words if swapped else f'{words} is not the one that the log has there'}"
                self._findings.add("reordered" if swapped else kind, sentence, index=start + place)

    def compare_above(self, tile: Tile, raw: bytes) -> None:
        """Hold every file of a tile above the lowest level against what it is when made anew."""
        expected = parse_hashes(raw)
        for width in self._files.listing.widths(tile.level, tile.index):
            if width > len(expected):
                continue  # counted as a file that no checkpoint needs, or of the unfinished run
            found = self.raw(Tile(tile.level, tile.index, width)) or b""
            if found == b"".join(expected[:width]):
                continue
            places = [place for place in range(width) if found[place * 32 : place * 32 + 32] != expected[place]]
            self._above.append((Tile(tile.level, tile.index, width), places[0] if places else width - 1))

    def report_above(self, *, as_changed: bool) -> None:
        """Tell of the levels above that differ.

        Args:
            as_changed: they were changed themselves; not where the signed root speaks against the entries.
        """
        for tile, place in self._above:
            each = 1 << 8 * tile.level
            start = (tile.index * WIDTH + place) * each
            if as_changed:
                sentence = f"{tile.path}: hash {place} is not that of the tile below"
                self._findings.add("tile_changed", sentence, index=start, end=start + each)
            else:
                sentence = f"entries and hashes of leaves agree with each other, and not with {tile.path}"
                self._findings.add("rewritten", sentence, index=start, end=start + each)
