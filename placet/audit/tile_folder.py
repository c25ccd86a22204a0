"""Reading a folder of tiles: as a log that proofs can be made from, with nothing but the files.

Nothing that is read here is verified: a proof that is made of it is, before it is given away, and
``placet.audit.tiles_verify`` looks at the whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from placet.audit.checkpoint import parse_checkpoint
from placet.audit.merkle import HASH_BYTES, Frontier
from placet.audit.note import MAX_NOTE_BYTES, parse_note
from placet.audit.record import MAX_LEAF_BYTES, parse_leaf
from placet.audit.stores import StoredCheckpoint, StoredLeaf
from placet.audit.tiles import ENTRIES, WIDTH, Tile, parse_bundle, parse_hashes, width_at
from placet.errors import AuditError, FormatError, InputError, TamperError

CHECKPOINT: Final = "checkpoint"
CHECKPOINTS: Final = "checkpoints"
COSIGNED: Final = "cosigned"
KEPT: Final = "kept"
"""Of bundles that were pruned: each leaf that stays, under its index. Only a folder that was pruned has it."""
MAX_BUNDLE_BYTES: Final = WIDTH * (2 + 0xFFFF)
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


class TileFolder:
    """A folder in the layout of C2SP tlog-tiles.

    Args:
        root: of the folder.
        raw_note: the checkpoint whose tree is read; by default the one in the folder.

    Raises:
        InputError: there is no such folder, or no checkpoint in it.
        FormatError: the checkpoint can't be read.
    """

    def __init__(self, root: Path, *, raw_note: bytes | None = None) -> None:
        if not root.is_dir():
            raise InputError(f"{root} is not a folder", hint="`placet audit tiles --out` writes one.")
        raw = raw_note if raw_note is not None else read_note(root / CHECKPOINT)
        if raw is None:
            raise InputError(f"{root} has no checkpoint", hint="`placet audit tiles --out` writes it as its last step.")
        text, _ = parse_note(raw)
        self.root: Final = root
        self.checkpoint: Final = parse_checkpoint(text)
        self._raw_note = raw

    @property
    def size(self) -> int:
        """Leaves of the tree that is read."""
        return self.checkpoint.size

    def hashes(self, level: int, index: int) -> list[bytes]:
        """The hashes of a tile, as many as the tree has there.

        Raises:
            TamperError: it is not there, or not whole.
        """
        width = width_at(self.size, level, index)
        raw = read_tile(self.root, Tile(level, index, width))
        hashes = [] if raw is None else _parsed(parse_hashes, raw)
        if len(hashes) < width:
            raise TamperError(f"{Tile(level, index, width).path} is missing, or cut short", code="tile_missing")
        return hashes[:width]

    def entries(self, index: int) -> list[bytes]:
        """The leaves of a bundle, as many as the tree has there; no bytes for those that were pruned.

        Raises:
            TamperError: it is not there, or not whole.
        """
        width = width_at(self.size, ENTRIES, index)
        raw = read_tile(self.root, Tile(ENTRIES, index, width))
        if raw is None and (self.root / KEPT).is_dir():
            return [read_kept(self.root, index * WIDTH + place) or b"" for place in range(width)]
        leaves = [] if raw is None else _parsed(parse_bundle, raw)
        if len(leaves) < width:
            raise TamperError(f"{Tile(ENTRIES, index, width).path} is missing, or cut short", code="tile_missing")
        return leaves[:width]

    def range_root(self, start: int, end: int) -> bytes:
        """The root of the leaves from ``start`` until ``end``, a range as RFC 6962 splits trees, by few tiles.

        Raises:
            TamperError: a tile is not there, or not whole.
        """
        parts: list[bytes] = []
        for level in range(7, -1, -1):
            each = 1 << 8 * level
            while end - start >= each:
                index, place = divmod(start // each, WIDTH)
                count = min((end - start) // each, WIDTH - place)
                tree = Frontier()
                for part in self.hashes(level, index)[place : place + count]:
                    tree.append(part)
                parts += tree.hashes
                start += count * each
        whole = Frontier()
        whole.hashes = parts  # perfect subtrees, the largest first: all that folding them needs
        return whole.root()

    def hash_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Roots of ranges, as ``placet.audit.merkle.hash_ranges`` makes them of every leaf."""
        return [self.range_root(start, end) for start, end in ranges]

    # -- as a reader of a store

    def leaves(self, start: int, end: int) -> Iterator[StoredLeaf]:
        """Leaves with ``start`` <= index < ``end``, with the hashes that stand in the tiles."""
        end = min(end, self.size)
        for index in range(start // WIDTH, -(-end // WIDTH)):
            for place, (raw, leaf_hash) in enumerate(zip(self.entries(index), self.hashes(0, index), strict=True)):
                if start <= index * WIDTH + place < end:
                    yield StoredLeaf(index * WIDTH + place, raw, leaf_hash)

    def leaf_hashes(self, end: int) -> Iterator[bytes]:
        """Hashes of the leaves before ``end``."""
        end = min(end, self.size)
        for index in range(-(-end // WIDTH)):
            yield from self.hashes(0, index)[: end - index * WIDTH]

    def latest_checkpoint(self, *, at_least: int = 0) -> StoredCheckpoint | None:
        """The checkpoint whose tree is read, or None where it is smaller."""
        if self.size < at_least:
            return None
        return StoredCheckpoint(self.size, self.checkpoint.root, b"", self._raw_note)

    def find_uid(self, uid: str) -> StoredLeaf | None:
        """The decision of an admission request; every leaf is read."""
        return self._find("uid", uid)

    def find_decision(self, decision_id: str) -> StoredLeaf | None:
        """The decision of that id; every leaf is read."""
        return self._find("decision_id", decision_id)

    def _find(self, member: str, wanted: str) -> StoredLeaf | None:
        sought = wanted.encode()
        for stored in self.leaves(0, self.size):
            if sought in stored.raw_leaf:  # the text is in the bytes as it is: ids need no escape
                try:
                    leaf = parse_leaf(stored.raw_leaf)
                except FormatError:
                    continue  # proves nothing, so that it can't be the one
                if getattr(leaf.columns, member) == wanted:
                    return stored
        return None


def read_note(path: Path) -> bytes | None:
    """A note, or None where there is no such file.

    Raises:
        FormatError: it is too large for one.
        AuditError: it can't be read.
    """
    return _read(path, MAX_NOTE_BYTES)


def read_tile(root: Path, tile: Tile) -> bytes | None:
    """The bytes of a tile, or those of the full one where the partial one is gone; None where neither is there.

    Raises:
        FormatError: it is too large for one.
        AuditError: it can't be read.
    """
    limit = MAX_BUNDLE_BYTES if tile.level == ENTRIES else WIDTH * HASH_BYTES
    raw = _read(root / tile.path, limit)
    return _read(root / tile.full.path, limit) if raw is None and tile.width < WIDTH else raw


def read_kept(root: Path, index: int) -> bytes | None:
    """A leaf that stayed when its bundle was pruned, or None where there is no such file.

    Raises:
        FormatError: it is too large for one.
        AuditError: it can't be read.
    """
    return _read(root / KEPT / str(index), MAX_LEAF_BYTES)


def exported_sizes(root: Path) -> list[int]:
    """Sizes of the checkpoints that are in the folder, the smallest first; other names are passed over."""
    folder = root / CHECKPOINTS
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if _SIZE.fullmatch(name))


def _parsed(parse: Callable[[bytes], list[bytes]], raw: bytes) -> list[bytes]:
    try:
        return parse(raw)
    except FormatError as exc:
        raise TamperError(str(exc), code="tile_changed") from exc


def _read(path: Path, limit: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise AuditError(f"{path} can't be read: {exc.strerror}", code="tiles_unreadable") from exc
    if len(raw) > limit:
        raise FormatError(f"{path} is larger than such a file can be", code="too_large")
    return raw
