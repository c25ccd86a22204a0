"""Publishing a log as tiles: static files that any web server can give away, written as the log grows.

A run goes from the checkpoint that the folder has to the newest one of the store, in this order:

1. everything is read and hashed, and compared with each checkpoint on the way; nothing is written yet;
2. the checkpoint to come is put into ``.writing``, so that whoever looks meanwhile knows what new files are about;
3. tiles and entry bundles, each whole and durable;
4. every checkpoint into ``checkpoints``, none ever over another;
5. ``checkpoint``;
6. partial tiles whose full ones are there now are removed, and then the mark in ``.writing``.

So it may be stopped at any moment, and run again. What the store says about its own tree is not asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from placet.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from placet.audit.durable import STAGING, DurableFolder, open_folder
from placet.audit.note import VerifierKey, parse_note
from placet.audit.stores import StoredLeaf, hash_of
from placet.audit.tile_folder import CHECKPOINT, CHECKPOINTS, KEPT, TileFolder, exported_sizes, read_note
from placet.audit.tiles import ENTRIES, WIDTH, Tile, TileTree, edge_of, full_in, levels_of, render_bundle
from placet.errors import AuditError, FormatError, TamperError

MARK = f"{STAGING}/{CHECKPOINT}"
Progress = Callable[[int, int], None]
_PROGRESS_EVERY = 256


class TileSource(Protocol):
    """What tiles are made of: leaves and signed checkpoints. Any store's reader is one."""

    def leaves(self, start: int, end: int) -> Iterator[StoredLeaf]:
        """Leaves with ``start`` <= index < ``end`` in order of index."""

    def raw_checkpoints(self) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Size, root, frontier and note of every checkpoint in order of size."""


@dataclass(frozen=True, slots=True)
class Published:
    """What a run has done.

    Attributes:
        origin: of the log.
        size: of the tree that is published now.
        before: of the one that was; 0 in a new folder.
        files: tiles and bundles that were written.
        checkpoints: checkpoints that were added to ``checkpoints``.
    """

    origin: str
    size: int
    before: int
    files: int
    checkpoints: int


def write_tiles(
    root: Path,
    source: TileSource,
    keys: Sequence[VerifierKey],
    *,
    progress: Progress = lambda _done, _total: None,
) -> Published:
    """Bring a folder of tiles up to the newest checkpoint of a store.

    Args:
        root: of the folder; made where it is missing.
        source: one unchanging view of the store.
        keys: verifier keys of the log; a checkpoint that none of them signed is not published.
        progress: told leaves done and leaves there are, of reading and then of writing.

    Raises:
        AuditError: ``not_signed_yet`` when the store has no checkpoint.
        TamperError: the folder's tree is not a prefix of the store's, the store's leaves are not those that were
            signed, or the folder's tiles are not those of its checkpoint; with the first index that differs.
        StoreUnavailable: the folder can't be written, or somebody else writes it.
    """
    with open_folder(root) as folder:
        return _Writer(root, folder, source, keys, progress).run()


class _Writer:
    """One run."""

    def __init__(
        self,
        root: Path,
        folder: DurableFolder,
        source: TileSource,
        keys: Sequence[VerifierKey],
        progress: Progress,
    ) -> None:
        self._root = root
        self._folder = folder
        self._source = source
        self._keys = keys
        self._progress = progress
        self._files = 0
        self._published = self._read_published()
        self._before = self._published.checkpoint.size if self._published else 0
        self._start = self._before - self._before % WIDTH  # the last bundle is written again, with what came to it
        self._edge = self._read_edge()

    def run(self) -> Published:
        """Steps 1 to 6."""
        exported = set(exported_sizes(self._root))
        missing = [size for size in self._sizes() if size not in exported or size > self._before]
        latest = self._latest()
        resumed = (self._root / MARK).exists()
        self._check(latest)
        if latest.size == self._before and not missing and not resumed and self._published is not None:
            return Published(latest.origin, latest.size, self._before, 0, 0)
        self._folder.write(MARK, latest.note.encode())
        self._folder.sync()
        self._write(latest.size)
        self._folder.sync()
        added = self._export(set(missing))
        if self._published is None or latest.size > self._before:
            self._folder.sync()
            self._folder.write(CHECKPOINT, latest.note.encode())
        self._folder.sync()
        self._sweep(0 if resumed else self._before, latest.size)
        self._folder.remove(MARK)
        return Published(latest.origin, latest.size, self._before, self._files, added)

    def _read_published(self) -> TileFolder | None:
        raw = read_note(self._root / CHECKPOINT)
        if raw is None:
            return None
        try:
            verify_checkpoint(raw, self._keys)
        except FormatError as exc:
            raise TamperError(f"{self._root / CHECKPOINT} can't be read: {exc}", code="checkpoint_invalid") from exc
        return TileFolder(self._root, raw_note=raw)

    def _read_edge(self) -> TileTree:
        """The last tile of each level as the folder has it: authentic, as it folds to the root that is signed."""
        if self._published is None:
            return TileTree()
        wanted = {tile.level: tile.index for tile in edge_of(self._before) if tile.level != ENTRIES}
        edge = [
            self._published.hashes(level, wanted[level]) if level in wanted else [] for level in levels_of(self._before)
        ]
        tree = TileTree(self._before, edge)
        if tree.frontier().root() != self._published.checkpoint.root:
            hint = "`placet audit verify --tiles` says which; a new folder can be written beside this one."
            raise TamperError(
                f"the tiles in {self._root} are not those of its checkpoint", code="tile_changed", hint=hint
            )
        return tree

    def _rows(self) -> Iterator[tuple[int, VerifiedCheckpoint]]:
        """Each checkpoint of the store, verified, that the folder has not got yet."""
        for size, _root, _frontier, note in self._source.raw_checkpoints():
            if isinstance(size, int) and size > self._before:
                yield size, self._verified(size, note)

    def _verified(self, size: int, note: Any) -> VerifiedCheckpoint:
        raw = note.encode(errors="surrogateescape") if isinstance(note, str) else bytes(note or b"")
        try:
            verified = verify_checkpoint(raw, self._keys)
        except FormatError as exc:
            raise TamperError(f"the checkpoint of {size} leaves can't be read", code="checkpoint_invalid") from exc
        if verified.size != size:
            raise TamperError(f"the checkpoint of {size} leaves is of {verified.size}", code="checkpoint_invalid")
        return verified

    def _sizes(self) -> Iterator[int]:
        return (size for size, *_ in self._source.raw_checkpoints() if isinstance(size, int))

    def _latest(self) -> VerifiedCheckpoint:
        """The newest checkpoint of the store; it is at least as large as the folder's, and the same where equal."""
        last = None
        for size, _root, _frontier, note in self._source.raw_checkpoints():
            last = (size, note)
        if last is None:
            hint = "The server signs one within a minute."
            raise AuditError("the store has no checkpoint yet", code="not_signed_yet", hint=hint)
        latest = self._verified(*last)
        if latest.size < self._before:
            raise TamperError(
                f"the store is signed for {latest.size} leaves, and {self._root} has {self._before}: "
                "the store was rolled back, or is another one",
                index=latest.size,
                code="rolled_back",
            )
        if self._published and latest.size == self._before and latest.root != self._published.checkpoint.root:
            self._differ()
            raise TamperError(
                f"{self._root} has another tree of {latest.size} leaves than the store's key has signed", code="fork"
            )
        return latest

    def _check(self, latest: VerifiedCheckpoint) -> None:
        """Step 1: what is new continues what is published, and is what the store's checkpoints sign for."""
        tree, good = self._edge.frontier(), self._before
        due = itertools.chain(self._rows(), [None])
        claim = next(due)
        for stored in self._leaves(latest.size):
            if stored.index < self._before:
                if hash_of(stored) != self._edge.edge[0][stored.index - self._start]:
                    self._differ()
                continue
            tree.append(hash_of(stored))
            if claim is not None and tree.size == claim[0]:
                if tree.root() != claim[1].root:
                    self._differ()
                    raise TamperError(
                        f"the leaves of the store up to {tree.size} are not those that were signed",
                        index=good,
                        code="rewritten",
                    )
                good, claim = tree.size, next(due)
            if tree.size % _PROGRESS_EVERY == 0:
                self._progress(tree.size, latest.size)

    def _leaves(self, end: int) -> Iterator[StoredLeaf]:
        place = self._start
        for stored in self._source.leaves(self._start, end):
            if stored.index != place:
                break
            yield stored
            place += 1
        if place != end:
            raise TamperError(f"leaf {place} of the store is missing", index=place, code="missing")

    def _differ(self) -> None:
        """Say which leaf is the first that the folder and the store have differently; nothing where all are alike."""
        if self._published is None:
            return
        ours = self._source.leaves(0, self._before)
        for index, theirs in enumerate(self._published.leaf_hashes(self._before)):
            stored = next(ours, None)
            if stored is None or stored.index != index or hash_of(stored) != theirs:
                raise TamperError(
                    f"leaf {index} of the store is not the one in {self._root}: that holds the tiles of another "
                    "history, or the store was changed",
                    index=index,
                    code="fork",
                    hint="`placet audit verify`, with --store and with --tiles, says which of the two was signed.",
                )

    def _write(self, size: int) -> None:
        """Step 3. The leaves are those that step 1 has seen: both read one view of the store."""
        if size == self._before:
            return
        tree, bundle = self._edge, []
        claims = itertools.chain((claim for claim, _ in self._rows()), [None])
        due = next(claims)
        for stored in self._leaves(size):
            bundle.append(stored.raw_leaf)
            if stored.index < self._before:
                continue
            for tile, raw in tree.append(hash_of(stored)):
                if tile.level == 0:
                    self._put_bundle(Tile(ENTRIES, tile.index), bundle)
                    bundle = []
                self._put(tile, raw)
            if tree.size == due:
                self._put_partial(tree, bundle, size)
                due = next(claims)
            if tree.size % _PROGRESS_EVERY == 0:
                self._progress(tree.size, size)

    def _put_partial(self, tree: TileTree, bundle: Sequence[bytes], size: int) -> None:
        """The partial tiles of a checkpoint, but for those that will be full at the end of this run."""
        for tile, raw in tree.partial():
            if tile.index < full_in(size, tile.level):
                continue
            if tile.level == 0:
                self._put_bundle(Tile(ENTRIES, tile.index, tile.width), bundle)
            self._put(tile, raw)

    def _put_bundle(self, tile: Tile, leaves: Sequence[bytes]) -> None:
        """A bundle; of one from which the store has pruned, the leaves that are left."""
        if all(leaves):
            self._put(tile, render_bundle(leaves))
            return
        (self._root / KEPT).mkdir(exist_ok=True)
        for place, raw in enumerate(leaves):
            if raw:
                self._folder.write(f"{KEPT}/{tile.index * WIDTH + place}", raw)

    def _put(self, tile: Tile, raw: bytes) -> None:
        self._folder.write(tile.path, raw)
        self._files += 1

    def _export(self, missing: set[int]) -> int:
        """Step 4. One that is there already is of the same tree, or this is another log."""
        added = 0
        for size, _root, _frontier, note in self._source.raw_checkpoints():
            if size not in missing:
                continue
            name, verified = f"{CHECKPOINTS}/{size}", self._verified(size, note)
            if self._folder.add(name, verified.note.encode()):
                added += 1
            elif _text(read_note(self._root / name) or b"") != _text(verified.note.encode()):
                raise TamperError(f"{self._root / name} is another checkpoint than the store's", code="fork")
        return added

    def _sweep(self, before: int, size: int) -> None:
        for level in (ENTRIES, *levels_of(size)):
            for index in range(full_in(before, level), full_in(size, level)):
                self._folder.remove(f"{Tile(level, index).path}.p")


def _text(raw: bytes) -> str:
    try:
        return parse_note(raw)[0]
    except FormatError:
        return ""
