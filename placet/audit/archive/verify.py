"""Verify an archive: is all of it there, is it what the log's key has signed, and is nothing in its way?

The verifier is that of a folder of tiles, over the versions of objects that the manifests name. Beyond that: the chain
of manifests, attachments against the digests in their leaves, exported checkpoints, and names whose newest version is
another one than the archive's, or a delete marker. The server is believed in what versions there are, and in nothing
else.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

from placet.audit.archive.bucket import Bucket, Key
from placet.audit.archive.holdings import (
    find_exported,
    find_manifests,
    read_chain,
    read_exported,
    read_item,
    read_manifest,
    report_touched,
    require_archive,
    require_origin,
)
from placet.audit.archive.layout import (
    ERASABLE,
    KEPT,
    MANIFESTS,
    MAX_ATTACHMENT_BYTES,
    Item,
    Manifest,
    parse_attachment_path,
)
from placet.audit.attachments import Attachments
from placet.audit.checkpoint import VerifiedCheckpoint
from placet.audit.claims import Claim, Source
from placet.audit.depth import Depth
from placet.audit.doubts import CrossCheck
from placet.audit.findings import Findings, Verification
from placet.audit.note import VerifierKey
from placet.audit.pruned import PrunedLeaves
from placet.audit.record import parse_leaf
from placet.audit.tile_folder import CHECKPOINT, CHECKPOINTS, MAX_BUNDLE_BYTES
from placet.audit.tile_listing import Listing
from placet.audit.tiles import ENTRIES, TILES_FOLDER, WIDTH, Tile
from placet.audit.tiles_verify import TilesVerifier
from placet.errors import FormatError, TamperError

Progress = Callable[[int, int], None]
_TOPS: Final = frozenset({CHECKPOINTS, ERASABLE, KEPT, MANIFESTS, TILES_FOLDER})
_WORKERS: Final = 8
_AHEAD: Final = 8
_CACHED: Final = 32


def verify_archive(
    bucket: Bucket,
    keys: Sequence[VerifierKey],
    *,
    saved: Sequence[tuple[str, bytes]] = (),
    progress: Progress = lambda _done, _total: None,
    depth: Depth = Depth.ALL,
) -> Verification:
    """Verify an archive, without changing it.

    Args:
        bucket: with the archive.
        keys: verifier keys of the log: the present one first, then those from before a change of keys; non-empty.
        saved: (name, signed note) of checkpoints that were kept elsewhere, unverified.
        progress: told leaves done and leaves there are.
        depth: what is verified: with ``LEAVES`` no attachment is read.

    Raises:
        InputError: there is no archive, it is that of another log, or a saved checkpoint is none of this log.
        AuditError: the server can't be asked.
    """
    findings = Findings()
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="archive") as pool:
        try:
            files = _ArchiveFiles(bucket, keys, findings, pool)
            return _ArchiveVerifier(files, keys, saved, progress, findings, depth).run()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _ArchiveListing(Listing):
    """Tiles of an archive. Runs that were stopped leave partial tiles, of sizes that they have announced."""

    def __init__(self) -> None:
        super().__init__()
        self.announced: set[int] = set()

    def surplus(self, size: int, exported: Sequence[int], pending: int | None) -> Iterator[tuple[Tile, bool]]:
        """See ``Listing``."""
        return super().surplus(size, sorted({*exported, *self.announced}), pending)


class _Names:
    """Names below one folder, in step with what the manifests name there; both in the server's order."""

    def __init__(self, bucket: Bucket, folder: str, findings: Findings) -> None:
        self._keys = bucket.keys(f"{folder}/")
        self._findings = findings
        self._next = next(self._keys, None)
        self.foreign: list[str] = []

    def meet(self, item: Item) -> None:
        """Hold one item against what is there under its name; whether it can be read is seen when it is."""
        self.skip(until=item.path)
        if self._next is not None and self._next.path == item.path:
            report_touched(self._next, item.version, self._findings.add)
            self._next = next(self._keys, None)

    def skip(self, until: str = "") -> None:
        """Set apart what no manifest names, up to a path or to the end."""
        while self._next is not None and (not until or self._next.path < until):
            if self._next.versions:
                self.foreign.append(self._next.path)
            self._next = next(self._keys, None)


class _ArchiveFiles:
    """The objects of an archive, as the verifier of a folder asks for files."""

    def __init__(
        self, bucket: Bucket, keys: Sequence[VerifierKey], findings: Findings, pool: ThreadPoolExecutor
    ) -> None:
        self.listing = _ArchiveListing()
        self.bucket = bucket
        self.exported: list[tuple[int, VerifiedCheckpoint]] = []
        self.locked = True
        self._keys = keys
        self._findings = findings
        self._pool = pool
        self._ends: dict[int, str] = {}
        self._items: dict[str, Item] = {}
        self._cache: OrderedDict[str, Future[bytes | None]] = OrderedDict()
        self._links = find_manifests(bucket, findings.add)
        require_archive(self._links, bucket)
        self._read_exported()
        self._read_manifests()
        self._read_names()

    def __str__(self) -> str:
        return str(self.bucket)

    @property
    def size(self) -> int:
        """Leaves that the newest manifest has."""
        return max(self._ends, default=0)

    # -- what is there

    def _read_exported(self) -> None:
        for size, version in find_exported(self.bucket, self._findings.add):
            try:
                self.exported.append((size, read_exported(self.bucket, size, version, self._keys)))
            except TamperError as exc:
                self._findings.add(exc.code, str(exc))
        self.listing.announced = {size for size, _ in self.exported}
        self.listing.cosigned = [f"{CHECKPOINTS}/{size}" for size, _ in self.exported]

    def _read_manifests(self) -> None:
        names = {folder: _Names(self.bucket, folder, self._findings) for folder in (ERASABLE, KEPT)}
        for link, manifest in read_chain(self.bucket, self._links, self._findings.add):
            require_origin(self.bucket, manifest, self._keys)
            try:
                self._ends[manifest.size] = list(manifest.checkpoints(self._keys))[-1].note
            except TamperError as exc:
                self._findings.add(exc.code, str(exc))
            for item in manifest.items:
                folder = item.path.partition("/")[0]
                if folder == TILES_FOLDER:
                    self._items[item.path] = item
                else:
                    names[folder].meet(item)
            self._check_lock(manifest, link.version)
        self.listing.exported = sorted(self._ends)
        pending = max(self.listing.announced, default=0)
        for names_below in names.values():
            names_below.skip()
            for path in names_below.foreign:
                found = parse_attachment_path(path)
                if found is not None and self.size <= found[0] < pending:
                    self.listing.unfinished.append(path)
                else:
                    self.listing.foreign.append(path)

    def _check_lock(self, manifest: Manifest, version: str) -> None:
        if manifest.locked_until is None:
            self.locked = False
            return
        until = self.bucket.lock_of(manifest.path, version)
        if until is None or until < manifest.locked_until:
            self._findings.add("lock_missing", f"{manifest.path} is not locked until {manifest.locked_until:%Y-%m-%d}")

    def _read_names(self) -> None:
        for key in self.bucket.keys(f"{TILES_FOLDER}/"):
            item = self._items.get(key.path)
            if item is not None:
                report_touched(key, item.version, self._findings.add)
                if item.version not in key.versions:
                    continue  # not there, which is found as of a file
            elif not key.versions:
                continue
            else:
                self._items[key.path] = _unnamed(key)
            self.listing.add(key.path)
        self.listing.foreign += sorted({top for top in self.bucket.tops() if top not in _TOPS})
        self.listing.foreign.sort()

    # -- reading it

    def manifests(self) -> Iterator[Manifest]:
        """Every manifest that can be read, once more; what is wrong with the others has been said."""
        for link in self._links:
            try:
                yield read_manifest(self.bucket, link)[0]
            except TamperError:
                continue

    def note(self, path: str) -> bytes | None:
        """See ``TileFiles``: the newest checkpoint of the manifests, or that of one of them."""
        size = self.size if path == CHECKPOINT else int(path.rpartition("/")[2])
        note = self._ends.get(size)
        return None if note is None else note.encode()

    def tile(self, tile: Tile) -> bytes | None:
        """See ``TileFiles``."""
        for index in range(tile.index + 1, tile.index + _AHEAD + 1) if tile.level <= 0 else ():
            self._fetch(Tile(tile.level, index).path)
        wanted = self._fetch(tile.path) or self._fetch(tile.full.path)
        raw = None if wanted is None else wanted.result()
        limit = _limit(tile)
        if raw is not None and len(raw) > limit:
            raise FormatError(f"{tile.path} is larger than such an object can be", code="too_large")
        return raw

    def kept(self, index: int) -> bytes | None:
        """See ``TileFiles``: an archive has whole bundles only."""
        del index
        return None

    def _fetch(self, path: str) -> Future[bytes | None] | None:
        """The bytes of an object, on the way; None where there is none."""
        item = self._items.get(path)
        if item is None:
            return None
        if path not in self._cache:
            self._cache[path] = self._pool.submit(read_item, self.bucket, item, limit=MAX_BUNDLE_BYTES)
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return self._cache[path]

    def attachments(self) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Index, name, SHA-256 and content of each attachment, in order of index; without those that are not there."""
        waiting: deque[tuple[int, str, Item, Future[bytes | None]]] = deque()
        for manifest in self.manifests():
            named = [(*found, item) for item in manifest.items if (found := parse_attachment_path(item.path))]
            for index, name, item in sorted(named):
                fetched = self._pool.submit(read_item, self.bucket, item, limit=MAX_ATTACHMENT_BYTES)
                waiting.append((index, name, item, fetched))
                if len(waiting) > _AHEAD:
                    yield from self._arrived(waiting.popleft())
        for one in waiting:
            yield from self._arrived(one)

    def _arrived(self, one: tuple[int, str, Item, Future[bytes | None]]) -> Iterator[tuple[int, str, bytes, bytes]]:
        index, name, item, fetched = one
        content = fetched.result()
        if content is not None:
            yield index, name, item.sha256, content
        elif item.path.startswith(f"{KEPT}/"):
            self._findings.add("attachment_missing", f"{item.path} is not there", index=index)


def _unnamed(key: Key) -> Item:
    return Item(key.path, b"", 0, key.first)


def _limit(tile: Tile) -> int:
    return MAX_BUNDLE_BYTES if tile.level == ENTRIES else WIDTH * 32


class _ArchiveVerifier(TilesVerifier):
    """The state of one pass."""

    def __init__(
        self,
        files: _ArchiveFiles,
        keys: Sequence[VerifierKey],
        saved: Sequence[tuple[str, bytes]],
        progress: Progress,
        findings: Findings,
        depth: Depth,
    ) -> None:
        self._archive = files
        beside = iter(()) if depth is Depth.LEAVES else files.attachments()
        self._attachments = Attachments(beside, findings, PrunedLeaves((), findings))
        self._erased = 0
        super().__init__(files, keys, saved, progress, findings, depth=depth)

    def _read_pending(self) -> int | None:
        ahead = [size for size, _ in self._archive.exported if size > self._archive.size]
        if ahead:
            self._notes.append(f"checkpoints up to {max(ahead)} leaves are there, ahead of the newest manifest")
        return max(ahead, default=None)

    def _read_checkpoint(self) -> tuple[int, bytes]:
        # Where no manifest has a checkpoint of the log, that was found already, and nothing can be held against it.
        return super()._read_checkpoint() if self._archive.size or self._exported else (0, b"")

    def _store_claims(self) -> Iterable[Claim]:
        for manifest in self._archive.manifests():
            try:
                yield from (Claim(found.size, found.root, Source.STORE) for found in manifest.checkpoints(self._keys))
            except TamperError:
                continue  # said when it was read first

    def _cosigned_claims(self) -> Iterator[Claim]:
        for size, found in self._archive.exported:
            if size <= self._size:
                yield Claim(size, found.root, Source.SAVED, f"{CHECKPOINTS}/{size}")

    def _count(self, index: int, raw: bytes) -> None:
        super()._count(index, raw)
        self._check_beside(index, raw)

    def _count_all(self, start: int, leaves: Sequence[bytes]) -> None:
        super()._count_all(start, leaves)
        for index, raw in enumerate(leaves, start):
            self._check_beside(index, raw)

    def _check_beside(self, index: int, raw: bytes) -> None:
        if self._depth is Depth.LEAVES:
            return
        try:
            body = parse_leaf(raw).body
        except FormatError:
            body = None
        self._attachments.skip_to(index)
        self._erased += self._attachments.check(index, body)

    def _result(self, crosscheck: CrossCheck | None) -> Verification:
        self._attachments.skip_to(self._size)
        self._attachments.finish()
        notes = []
        if self._erased:
            notes.append(f"{self._erased} attachments were erased or never kept; the leaves still have their digests")
        if not self._archive.locked:
            notes.append("objects of this archive are not locked: whoever may write to the bucket can remove them")
        found = super()._result(crosscheck)
        ahead = sum(size > self._size for size, _ in self._archive.exported)
        return replace(found, saved_given=found.saved_given - ahead, notes=(*found.notes, *notes))
