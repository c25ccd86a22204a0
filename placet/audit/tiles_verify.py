"""Verify a folder of tiles: is every entry, every tile and every file what the log's key has signed?

One pass over the entries. The hashes of a bundle and those of its tile of level 0 are held against each other, and
where they differ, against the level above or the signed root, which says which of the two was changed. The levels above
are made anew and compared. Nothing that is read is believed but the signatures of the given keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from placet.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from placet.audit.claims import Claim, ClaimCheck, Source
from placet.audit.crosscheck import check_witness
from placet.audit.depth import Depth, fewer_collections
from placet.audit.doubts import CrossCheck
from placet.audit.findings import Findings, Verification
from placet.audit.merkle import Frontier, hash_leaf, hash_leaves
from placet.audit.note import VerifierKey
from placet.audit.pruned import PrunedLeaves
from placet.audit.record import HOLD, PRUNE
from placet.audit.tile_compare import TileComparison
from placet.audit.tile_files import FolderFiles, TileFiles
from placet.audit.tile_folder import CHECKPOINT, CHECKPOINTS, KEPT
from placet.audit.tile_leaves import TileLeaves, UnreadLeaves
from placet.audit.tile_writer import MARK
from placet.audit.tiles import ENTRIES, WIDTH, Tile, TileTree, full_in, root_of, split_bundle, width_at
from placet.audit.witness import Witness
from placet.errors import FormatError, InputError, TamperError

Progress = Callable[[int, int], None]
_WORDS: Final = tuple(f"{kind}\n".encode() for kind in (HOLD, PRUNE))


def verify_tiles(
    root: Path,
    keys: Sequence[VerifierKey],
    *,
    saved: Sequence[tuple[str, bytes]] = (),
    progress: Progress = lambda _done, _total: None,
    witness: Witness | None = None,
    governed: Sequence[str] = (),
    depth: Depth = Depth.ALL,
) -> Verification:
    """Verify a folder of tiles, without changing it.

    Args:
        root: of the folder.
        keys: verifier keys of the log: the present one first, then those from before a change of keys; non-empty.
        saved: (name, signed note) of checkpoints that were kept elsewhere, unverified.
        progress: told leaves done and leaves there are.
        witness: an API server's audit log that was loaded before this; the published leaves are held against it.
        governed: namespaces that it is held against; see ``check_witness``.
        depth: what is verified; ``LEAVES`` goes without a witness. The others are the same: in tiles no leaf is found.

    Raises:
        InputError: there is no such folder, nothing was published in it yet, or a saved checkpoint is none of this log.
        AuditError: a file can't be read.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder", hint="`placet audit tiles --out` writes one.")
    with fewer_collections():
        return TilesVerifier(FolderFiles(root), keys, saved, progress, Findings(), witness, depth=depth).run(governed)


class TilesVerifier:
    """The state of one pass over a folder; ``placet.audit.archive.verify`` is one over an archive."""

    def __init__(
        self,
        files: TileFiles,
        keys: Sequence[VerifierKey],
        saved: Sequence[tuple[str, bytes]],
        progress: Progress,
        findings: Findings,
        witness: Witness | None = None,
        *,
        depth: Depth = Depth.ALL,
    ) -> None:
        self._depth = Depth.LEAVES if depth is Depth.LEAVES else Depth.ALL
        self._files = files
        self._keys = keys
        self._witness = witness
        self._progress = progress
        self._findings = findings
        self._listing = files.listing
        self._compared = TileComparison(files, findings)
        self._notes: list[str] = [self._depth.note] if self._depth.note else []
        self._saved_given = len(saved)
        self._saved = [self._saved_claim(name, raw) for name, raw in saved]
        self._pending = self._read_pending()
        self._exported = self._read_exported()
        self._size, self._root_signed = self._read_checkpoint()
        self._claims = ClaimCheck(
            iter(self._store_claims()),
            [*self._saved, *self._cosigned_claims()],
            () if witness is None else witness.claims(),
        )
        self._tree = TileTree()
        self._frontier = Frontier()
        self._broken = False
        self._kept = {index for index in self._listing.kept if index < self._size}
        self._missing = list(self._listing.missing(self._size, sorted(self._exported)))
        pruned = bool(self._listing.kept) or any(tile.level == ENTRIES for tile in self._missing)
        self._pruned = PrunedLeaves(self._words() if pruned else (), self._findings)
        reads = UnreadLeaves if self._depth is Depth.LEAVES else TileLeaves
        self._leaves = reads(self._findings, self._pruned, witness)

    def run(self, governed: Sequence[str] = ()) -> Verification:
        """The whole of it."""
        self._report_files()
        self._claims.meet(self._frontier, self._frontier, None)
        for index in range(-(-self._size // WIDTH)):
            self._bundle(index)
            self._progress(min((index + 1) * WIDTH, self._size), self._size)
        for tile, raw in self._tree.partial():
            if tile.level:
                self._compared.compare_above(tile, raw)
        self._compared.report_above(as_changed=self._broken or self._frontier.root() == self._root_signed)
        self._claims.finish(self._frontier.size, self._findings, broken=self._broken)
        self._pruned.finish(self._claims.held_size)
        return self._result(None if self._witness is None else check_witness(self._witness, governed=governed))

    # -- what is signed

    def _saved_claim(self, name: str, raw: bytes) -> Claim:
        try:
            checkpoint = verify_checkpoint(raw, self._keys)
        except (FormatError, TamperError) as exc:
            raise InputError(
                f"{name} can't be held against the tiles: {exc}", code="checkpoint_invalid", hint=exc.hint
            ) from exc
        return Claim(checkpoint.size, checkpoint.root, Source.SAVED, name)

    def _opened(self, path: str) -> VerifiedCheckpoint | None:
        """A checkpoint of the folder; None where it is not there, or is not the log's, which is a finding."""
        try:
            raw = self._files.note(path)
            return None if raw is None else verify_checkpoint(raw, self._keys)
        except (FormatError, TamperError) as exc:
            self._findings.add("checkpoint_invalid", f"{path}: {exc}")
            return None

    def _read_pending(self) -> int | None:
        """The size that an unfinished run leads to, as the log has signed it."""
        found = self._opened(MARK)
        if found is not None:
            self._notes.append(f"a run of `placet audit tiles` towards {found.size} leaves is under way or was stopped")
        return None if found is None else found.size

    def _read_exported(self) -> dict[int, bytes]:
        roots = {}
        for size in self._listing.exported:
            found = self._opened(f"{CHECKPOINTS}/{size}")
            if found is not None and found.size != size:
                self._findings.add("checkpoint_invalid", f"{CHECKPOINTS}/{size} is a checkpoint of {found.size} leaves")
            elif found is not None:
                roots[size] = found.root
        return roots

    def _read_checkpoint(self) -> tuple[int, bytes]:
        before = self._findings.total
        found = self._opened(CHECKPOINT)
        if found is not None:
            if found.size not in self._listing.exported:
                self._findings.add("checkpoint_missing", f"{CHECKPOINTS}/{found.size} is not there")
            return found.size, found.root
        known = [size for size in self._exported if self._pending is None or size < self._pending]
        if not known and self._findings.total == before:
            raise InputError(
                f"{self._files} has no checkpoint: nothing was published in it yet",
                hint="Run `placet audit tiles --out` to its end.",
            )
        if self._findings.total == before:
            self._findings.add("checkpoint_missing", f"{CHECKPOINT} is not there")
        largest = max(known, default=0)
        return largest, self._exported.get(largest, b"")

    def _store_claims(self) -> Iterable[Claim]:
        claims = {(size, raw) for size, raw in self._exported.items()} | {(self._size, self._root_signed)}
        unfinished = self._pending or 0
        return [
            Claim(size, raw, Source.STORE)
            for size, raw in sorted(claims)
            if raw and not self._size < size <= unfinished
        ]

    def _cosigned_claims(self) -> Iterator[Claim]:
        for path in self._listing.cosigned:
            found = self._opened(path)
            if found is not None and not self._size < found.size <= (self._pending or 0):
                yield Claim(found.size, found.root, Source.SAVED, path)

    # -- which files there are

    def _report_files(self) -> None:
        for path in self._listing.foreign:
            self._findings.add("file_added", f"{path} does not belong into a folder of tiles")
        sizes = sorted(self._exported)
        left = len(self._listing.unfinished)
        for tile, unfinished in self._listing.surplus(self._size, sizes, self._pending):
            left += unfinished
            if not unfinished:
                sentence = f"{tile.path} is not needed by any checkpoint: it was added, or its checkpoint removed"
                self._findings.add("file_added", sentence)
        if left:
            self._notes.append(f"{left} files are those of an unfinished run, and were not looked at")
        for index in self._listing.kept:
            if index >= self._size:
                self._findings.add("file_added", f"{KEPT}/{index} is of no leaf that stays", index=index)
        for tile in self._missing:
            if self._is_pruned(tile):
                continue
            kind = "missing" if tile.level == ENTRIES else "tile_missing"
            if tile.width < WIDTH and tile.width < width_at(self._size, tile.level, tile.index):
                kind = "tile_missing"  # an older checkpoint's: no entry is lost
            start, end = tile.span
            self._findings.add(kind, f"{tile.path} is not there", index=start, end=end)

    # -- what was pruned

    def _words(self) -> Iterator[tuple[int, bytes]]:
        """Every leaf that may tell of a prune or a hold."""
        for index in range(-(-self._size // WIDTH)):
            for place, leaf in enumerate(self._read_leaves(index, width_at(self._size, ENTRIES, index))[0] or ()):
                if leaf.startswith(_WORDS):
                    yield index * WIDTH + place, leaf
        for index in self._kept:
            leaf = self._read_kept(index)
            if leaf.startswith(_WORDS):
                yield index, leaf

    def _read_kept(self, index: int) -> bytes:
        try:
            return self._files.kept(index) or b""
        except FormatError:
            return b""  # too large to be a leaf; comparing says so

    def _is_pruned(self, tile: Tile) -> bool:
        """Whether each leaf of a bundle that is not there was pruned, or stands beside it."""
        start, end = tile.span
        return tile.level == ENTRIES and all(
            index in self._kept or self._pruned.explains(index) for index in range(start, end)
        )

    def _check_kept(self, index: int, hashes: list[bytes] | None, *, whole: bool) -> None:
        """Leaves of a bundle that stand alone; those that are nowhere were pruned, where the bundle is not there."""
        for place, one in enumerate(hashes or ()):
            at = index * WIDTH + place
            if at in self._kept:
                leaf = self._read_kept(at)
                if hash_leaf(leaf) != one:
                    words = f"{KEPT}/{at} is not the leaf that the log has there"
                    self._findings.add("leaf_changed", words, index=at)
                elif not whole:
                    self._count(at, leaf)
            elif not whole and self._pruned.explains(at):
                self._pruned.take_leaf(at)
                if self._witness is not None:
                    self._witness.add_pruned(at, one)

    # -- entries and level 0

    def _bundle(self, index: int) -> None:
        width = width_at(self._size, ENTRIES, index)
        leaves, whole = self._read_leaves(index, width)
        tile, exact = self._read_hashes(index, width)
        entries = None if leaves is None else hash_leaves(leaves)
        hashes = self._judge(index, width, entries, tile)
        if leaves and entries == hashes and self._witness is None:
            self._count_all(index * WIDTH, leaves)
        else:
            for place, (leaf, leaf_hash) in enumerate(zip(leaves or (), entries or (), strict=True)):
                if place < width and (hashes is None or leaf_hash == hashes[place]):
                    self._count(index * WIDTH + place, leaf)
        self._check_kept(index, hashes, whole=leaves is not None)
        if hashes is None:
            self._broken = True  # from here on no root can be made
            return
        # These two files are right already; others of the same place are of older checkpoints.
        self._compared.compare(ENTRIES, index, hashes, right=width if whole and entries == hashes else None)
        self._compared.compare(0, index, hashes, right=width if exact and tile == hashes else None)
        if not self._broken:
            self._grow(hashes)

    def _read_leaves(self, index: int, width: int) -> tuple[list[bytes] | None, bool]:
        """The leaves that a bundle has whole, None without one, and whether nothing follows them."""
        raw = self._compared.raw(Tile(ENTRIES, index, width))
        return (None, False) if raw is None else split_bundle(raw)

    def _read_hashes(self, index: int, width: int) -> tuple[list[bytes] | None, bool]:
        """The hashes that a tile has whole, None without one, and whether nothing follows them."""
        raw = self._compared.raw(Tile(0, index, width))
        if raw is None:
            return None, False
        return [raw[start : start + 32] for start in range(0, len(raw) - 31, 32)], len(raw) % 32 == 0

    def _judge(
        self, index: int, width: int, entries: list[bytes] | None, tile: list[bytes] | None
    ) -> list[bytes] | None:
        """The hashes that the log has there, as far as can be told: those that what lies above vouches for."""
        candidates = [one[:width] for one in (entries, tile) if one is not None and len(one) >= width]
        if not candidates:
            return None
        if all(one == candidates[0] for one in candidates):
            return candidates[0]
        for one in candidates:
            if self._vouched(index, one):
                return one
        return candidates[0]

    def _vouched(self, index: int, hashes: list[bytes]) -> bool:
        if index < full_in(self._size, 0):
            parent, place = divmod(index, WIDTH)
            raw = self._compared.raw(Tile(1, parent, width_at(self._size, 1, parent))) or b""
            return raw[place * 32 : place * 32 + 32] == root_of(hashes)
        if self._broken:
            return False
        tree = self._frontier.copy()
        for one in hashes:
            tree.append(one)
        return tree.root() == self._root_signed

    def _count(self, index: int, raw: bytes) -> None:
        """A leaf whose hash is that of the log."""
        self._leaves.add(index, raw)

    def _count_all(self, start: int, leaves: Sequence[bytes]) -> None:
        """Several that follow on each other."""
        self._leaves.add_all(start, leaves)

    def _grow(self, hashes: list[bytes]) -> None:
        full = self._tree.extend(hashes)
        root = self._tree.newest_root if len(hashes) == WIDTH else b""
        self._claims.grow(self._frontier, self._frontier, hashes, root=root)
        for tile, raw in full:
            if tile.level:
                self._compared.compare_above(tile, raw)

    # -- the answer

    def _result(self, crosscheck: CrossCheck | None) -> Verification:
        if self._size > self._claims.held_size and not self._broken and not self._findings.total:
            self._notes.append("no checkpoint signs for these leaves")
        indexes = [self._findings.first_index, None if crosscheck is None else crosscheck.first_bad_index]
        return Verification(
            origin=self._keys[0].name,
            size=self._size,
            root=self._frontier.root(),
            by_type=dict(sorted(self._leaves.types.items())),
            allowed=None if self._depth is Depth.LEAVES else self._leaves.answers[1],
            denied=None if self._depth is Depth.LEAVES else self._leaves.answers[0],
            checkpoints=self._claims.held,
            saved=tuple(self._claims.held_saved),
            saved_given=self._saved_given + len(self._listing.cosigned),
            signed_size=self._claims.held_size,
            findings=tuple(self._findings.listed),
            findings_total=self._findings.total,
            first_bad_index=min((index for index in indexes if index is not None), default=None),
            crosscheck=crosscheck,
            depth=self._depth.value,
            notes=(*self._notes, *self._pruned.notes(), *self._leaves.pace.notes()),
        )
