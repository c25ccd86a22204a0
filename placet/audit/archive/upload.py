"""Bringing the archive up to the store. What is locked stays for years, so that nothing is sent before it is proved.

For every few thousand leaves, ending at a signed checkpoint:

1. the leaves are read and hashed, and compared with every checkpoint on the way: those of the store, and those that
   were exported into the bucket;
2. ``checkpoints/<size>`` says where this leads to, so that whoever looks meanwhile knows what new objects are about;
3. tiles, bundles and attachments, each compared with what the server says that it has;
4. the manifest.

It may be stopped at any moment, and run again. Names are written once: what is there with the same content is taken as
it is, what is there with other content ends the run.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from placet.audit.archive.bucket import Bucket, Held
from placet.audit.archive.holdings import find_exported, read_exported, read_item, read_newest, refuse
from placet.audit.archive.layout import Item, Manifest, attachment_path, render_manifest
from placet.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from placet.audit.merkle import HASH_BYTES, hash_leaf
from placet.audit.note import VerifierKey
from placet.audit.record import attachment_digests, parse_leaf
from placet.audit.stores import Auditable, StoredLeaf, require_bytes
from placet.audit.tile_folder import CHECKPOINTS
from placet.audit.tiles import ENTRIES, WIDTH, Tile, TileTree, edge_of, levels_of, parse_hashes, render_bundle
from placet.canonical import Digest
from placet.errors import AuditError, FormatError, InputError, TamperError

Progress = Callable[[int, int], None]
OpenSource = Callable[[], AbstractContextManager[Auditable]]
LEAVES_A_MANIFEST: Final = 4096
_WORKERS: Final = 8
_WINDOW: Final = 32
_PROGRESS_EVERY: Final = 256
_SET_UP: Final = (
    "docs/operations.md says how to make such a bucket. Object Lock comes with its making, on most servers."
)


@dataclass(frozen=True, slots=True)
class Archived:
    """What a run has done.

    Attributes:
        origin: of the log.
        before: leaves that the archive had.
        size: leaves that it has.
        manifests: how many were written.
        objects: objects that were uploaded, without those that were there.
        locked_until: aware UTC; None where nothing is locked, or nothing was written.
    """

    origin: str
    before: int
    size: int
    manifests: int
    objects: int
    locked_until: datetime | None


def require_lock(bucket: Bucket) -> None:
    """Refuse a bucket that would not hold what it is given, or hold what it may have to give up.

    Raises:
        InputError: ``archive_unlocked`` or ``archive_lock_default``.
        AuditError: the server can't be asked.
    """
    versioned, (locked, by_default) = bucket.is_versioned(), bucket.lock_rule()
    if not versioned or not locked:
        lacking = "Object Lock" if versioned else "versions and Object Lock"
        raise InputError(
            f"{bucket}: the bucket has no {lacking}: whoever may write to it could shorten the archive",
            code="archive_unlocked",
            hint=f"{_SET_UP} --unlocked archives without.",
        )
    if by_default:
        raise InputError(
            f"{bucket}: the bucket locks every object by default, also attachments that may have to be erased",
            code="archive_lock_default",
            hint="Remove its default retention: the archive locks each object that it wants locked.",
        )


def lock_date(now: datetime, days: int) -> datetime:
    """Until when objects of today are locked: a midnight, so that a run that goes on agrees with the one before."""
    day = (now.astimezone(UTC) + timedelta(days=days + 1)).date()
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def write_archive(
    bucket: Bucket,
    open_source: OpenSource,
    keys: Sequence[VerifierKey],
    *,
    locked_until: datetime | None,
    now: datetime,
    progress: Progress = lambda _done, _total: None,
) -> Archived:
    """Bring the archive up to the newest signed checkpoint of a store.

    Args:
        bucket: where to; ``require_lock`` has looked at it.
        open_source: a view of the store. It is opened after the bucket was read: others export checkpoints meanwhile.
        keys: verifier keys of the log; what none of them signed is not archived.
        locked_until: aware UTC; None where objects are not to be locked.
        now: aware UTC, for the manifests.
        progress: told leaves done and leaves there are.

    Raises:
        AuditError: ``not_signed_yet``; or the server refuses, can't be reached or answers what can't be.
        TamperError: the archive is not a prefix of the store, the store is not what was signed, or somebody touched
            the archive; nothing more was uploaded.
    """
    newest = read_newest(bucket, keys)
    before = newest[2].size if newest else 0
    exported = {
        size: read_exported(bucket, size, version, keys)
        for size, version in find_exported(bucket, refuse)
        if size > before
    }
    with open_source() as source:
        return _Run(bucket, source, keys, exported, newest, locked_until, now, progress).run()


class _Run:
    """One run."""

    def __init__(
        self,
        bucket: Bucket,
        source: Auditable,
        keys: Sequence[VerifierKey],
        exported: dict[int, VerifiedCheckpoint],
        newest: tuple[Manifest, Digest, VerifiedCheckpoint] | None,
        locked_until: datetime | None,
        now: datetime,
        progress: Progress,
    ) -> None:
        self._bucket = bucket
        self._source = source
        self._keys = keys
        self._exported = exported
        self._newest = newest
        self._until = locked_until
        self._now = now.astimezone(UTC).replace(microsecond=0)
        self._progress = progress
        self._before = newest[2].size if newest else 0
        self._edge_items = {item.path: item for item in newest[0].items} if newest else {}
        self._tree = self._read_edge()
        self._resumed = bool(exported)  # what a run that was stopped has sent may be there
        self._sent = 0
        self._blobs = source.raw_blobs(self._before)
        self._blob: tuple[Any, Any, Any, Any] | None = None

    def run(self) -> Archived:
        """Everything, a manifest at a time."""
        latest = self._latest()
        manifests = 0
        size = self._before
        if self._newest is None or latest.size > self._before:
            for end, notes, bundle, tiles, leaves in self._chunks(latest):
                self._upload(end, notes, bundle, tiles, leaves)
                manifests, size = manifests + 1, end
        return Archived(latest.origin, self._before, size, manifests, self._sent, self._until if manifests else None)

    # -- what is to be archived

    def _read_edge(self) -> TileTree:
        """The last tiles of the archive: authentic, as they fold to the root that is signed."""
        if self._newest is None:
            return TileTree()
        edge: list[list[bytes]] = [[] for _ in levels_of(self._before)]
        for tile in edge_of(self._before):
            item = self._edge_items.get(tile.path)
            if tile.level == ENTRIES or item is None:
                continue
            raw = read_item(self._bucket, item, limit=WIDTH * HASH_BYTES) or b""
            edge[tile.level] = parse_hashes(raw) if len(raw) == tile.width * HASH_BYTES else []
        try:
            tree = TileTree(self._before, edge)
        except FormatError:
            tree = None
        if tree is None or tree.frontier().root() != self._newest[2].root:
            refuse("tile_changed", f"the tiles in {self._bucket} are not those of its newest manifest")
        return tree

    def _latest(self) -> VerifiedCheckpoint:
        last = None
        for size, _root, _frontier, note in self._source.raw_checkpoints():
            last = (size, note)
        if last is None:
            hint = "The server signs one within a minute."
            raise AuditError("the store has no checkpoint yet", code="not_signed_yet", hint=hint)
        latest = self._verified(*last)
        for size, what in ((self._before, "has"), (max(self._exported, default=0), "has a checkpoint of")):
            if latest.size < size:
                raise TamperError(
                    f"the store is signed for {latest.size} leaves, and {self._bucket} {what} {size}: "
                    "the store was rolled back, or is another one",
                    index=latest.size,
                    code="rolled_back",
                    hint="Look for the newer store first. A prefix of its own holds what comes after a rollback.",
                )
        if self._newest and latest.size == self._before and latest.root != self._newest[2].root:
            raise TamperError(f"{self._bucket} has another tree of {latest.size} leaves than the store", code="fork")
        return latest

    def _verified(self, size: Any, note: Any) -> VerifiedCheckpoint:
        raw = note.encode(errors="surrogateescape") if isinstance(note, str) else bytes(note or b"")
        try:
            verified = verify_checkpoint(raw, self._keys)
        except FormatError as exc:
            raise TamperError(f"the checkpoint of {size} leaves can't be read", code="checkpoint_invalid") from exc
        if verified.size != size:
            raise TamperError(f"the checkpoint of {size} leaves is of {verified.size}", code="checkpoint_invalid")
        return verified

    def _due(self, latest: VerifiedCheckpoint) -> Iterator[VerifiedCheckpoint | None]:
        """Checkpoints of the store that the archive lacks, in order."""
        for size, _root, _frontier, note in self._source.raw_checkpoints():
            if isinstance(size, int) and (self._newest is None or size > self._before) and size <= latest.size:
                yield self._verified(size, note)
        yield None

    def _chunks(
        self, latest: VerifiedCheckpoint
    ) -> Iterator[tuple[int, list[str], list[bytes], list[tuple[str, bytes]], list[bytes]]]:
        """End, notes, the last bundle, full tiles and bundles, and leaves, of what each manifest adds; proved."""
        tree, due, since = self._tree, self._due(latest), self._before
        claim = next(due)
        notes: list[str] = []
        bundle: list[bytes] = []
        tiles: list[tuple[str, bytes]] = []
        leaves: list[bytes] = []
        for stored in itertools.chain([None], self._leaves(latest.size)):
            if stored is not None:
                require_bytes(stored)
                bundle.append(stored.raw_leaf)
                if not self._grow(stored, bundle, tiles):
                    continue
                leaves.append(stored.raw_leaf)
            self._require_exported(tree)
            while claim is not None and tree.size == claim.size:
                self._require_root(claim, tree)
                notes.append(claim.note)
                claim = next(due)
                if claim is None or tree.size - since >= LEAVES_A_MANIFEST:
                    yield tree.size, notes, bundle, tiles, leaves
                    since, notes, tiles, leaves = tree.size, [], [], []
            if tree.size % _PROGRESS_EVERY == 0:
                self._progress(tree.size, latest.size)

    def _leaves(self, end: int) -> Iterator[StoredLeaf]:
        place = self._before - self._before % WIDTH
        for stored in self._source.leaves(place, end):
            if stored.index != place:
                break
            yield stored
            place += 1
        if place != end:
            raise TamperError(f"leaf {place} of the store is missing", index=place, code="missing")

    def _grow(self, stored: StoredLeaf, bundle: list[bytes], tiles: list[tuple[str, bytes]]) -> bool:
        """Add one leaf to the tree, and what is full now to the tiles; False where the archive has the leaf."""
        found = hash_leaf(stored.raw_leaf)
        if stored.index < self._before:
            if found != self._tree.edge[0][stored.index % WIDTH]:
                self._differ(stored.index)
            return False
        for tile, raw in self._tree.append(found):
            if tile.level == 0:
                tiles.append((Tile(ENTRIES, tile.index).path, render_bundle(bundle)))
                bundle.clear()
            tiles.append((tile.path, raw))
        return True

    def _require_root(self, claim: VerifiedCheckpoint, tree: TileTree) -> None:
        root = tree.frontier().root()
        if root != claim.root:
            raise TamperError(
                f"the leaves of the store up to {claim.size} are not those that were signed",
                index=self._before,
                code="rewritten",
                hint="`placet audit verify` over the store and over the archive says which.",
            )

    def _require_exported(self, tree: TileTree) -> None:
        """What was exported is of this history, whether the store has that checkpoint or not."""
        other = self._exported.get(tree.size)
        if other is not None and other.root != tree.frontier().root():
            raise TamperError(
                f"{CHECKPOINTS}/{tree.size} in {self._bucket} is of another history than the store",
                index=self._before,
                code="fork",
            )

    def _differ(self, index: int) -> None:
        raise TamperError(
            f"leaf {index} of the store is not the one in {self._bucket}: that is the archive of another history, "
            "or the store was changed",
            index=index,
            code="fork",
            hint="`placet audit verify`, with --store and with --tiles, says which of the two was signed.",
        )

    # -- sending it

    def _upload(
        self,
        end: int,
        notes: list[str],
        bundle: list[bytes],
        tiles: list[tuple[str, bytes]],
        leaves: list[bytes],
    ) -> None:
        """Steps 2 to 4."""
        number = self._newest[0].number + 1 if self._newest else 0
        before = self._newest[0].size if self._newest else 0
        self._store(f"{CHECKPOINTS}/{end}", notes[-1].encode(), self._until)
        edge = [(tile.path, raw) for tile, raw in self._tree.partial()]
        if bundle:
            edge.append((Tile(ENTRIES, end // WIDTH, end % WIDTH).path, render_bundle(bundle)))
        carried = [self._edge_items[path] for path, _ in edge if path in self._edge_items]
        fresh = [(path, raw, self._until) for path, raw in [*tiles, *edge] if path not in self._edge_items]
        items = self._store_all(itertools.chain(fresh, self._attachments(before, leaves)))
        manifest = Manifest(
            origin=self._keys[0].name,
            number=number,
            previous=str(self._newest[1]) if self._newest else "",
            created=self._now,
            locked_until=self._until,
            before=before,
            size=end,
            notes=tuple(notes),
            items=tuple(sorted([*carried, *items])),
        )
        raw = render_manifest(manifest)
        self._put_manifest(manifest.path, raw)
        self._newest = (manifest, Digest.of(raw), verify_checkpoint(notes[-1].encode(), self._keys))
        self._edge_items = {item.path: item for item in manifest.items}

    def _attachments(self, before: int, leaves: Sequence[bytes]) -> Iterator[tuple[str, bytes, datetime | None]]:
        """Those beside the leaves of one manifest, each the one that its leaf has the digest of."""
        for place, raw_leaf in enumerate(leaves):
            index = before + place
            while self._blob is None or self._blob[0] <= index:
                if self._blob is not None and self._blob[0] == index:
                    yield self._attachment(index, raw_leaf, self._blob[1], self._blob[3])
                self._blob = next(self._blobs, None)
                if self._blob is None:
                    return

    def _attachment(self, index: int, raw_leaf: bytes, name: str, content: bytes) -> tuple[str, bytes, datetime | None]:
        leaf = parse_leaf(raw_leaf)
        if attachment_digests(leaf.body).get(name) != str(Digest.of(content)):
            raise TamperError(
                f"the attachment {name!r} of leaf {index} is not what the leaf has the digest of",
                index=index,
                code="attachment_changed",
            )
        path, lasting = attachment_path(leaf.type, index, name)
        return path, content, self._until if lasting else None

    def _put_manifest(self, path: str, raw: bytes) -> None:
        version = self._bucket.put(path, raw, locked_until=self._until)
        held = self._bucket.head(path, version or "")
        # Where the answer to the first try was lost, the name is taken by the very same bytes.
        if version is None and (held is None or held.sha256 != hashlib.sha256(raw).digest()):
            raise AuditError(
                f"{self._bucket}/{path} was written by another run meanwhile",
                code="archive_changed",
                hint="Let one run at a time; run it again, it goes on from there.",
            )
        self._require_held(path, raw, held, self._until)
        self._sent += 1

    def _store_all(self, objects: Iterable[tuple[str, bytes, datetime | None]]) -> list[Item]:
        """Upload in parallel, a few at a time."""
        items: list[Item] = []
        waiting: deque[Future[Item]] = deque()
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="archive") as pool:
            try:
                for one in objects:
                    waiting.append(pool.submit(self._store, *one))
                    if len(waiting) >= _WINDOW:
                        items.append(waiting.popleft().result())
                items += [one.result() for one in waiting]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return items

    def _store(self, path: str, raw: bytes, until: datetime | None) -> Item:
        """One object, sent or found; what the server has of it is compared with what it should have."""
        held = self._bucket.head(path) if self._resumed else None
        if held is None:
            version = self._bucket.put(path, raw, locked_until=until)
            held = self._bucket.head(path, version or "")
            self._sent += version is not None
        if held is not None and until is not None and (held.locked_until is None or held.locked_until < until):
            self._require_content(path, raw, held)
            self._bucket.extend(path, held.version, until)
            held = self._bucket.head(path, held.version)
        self._require_held(path, raw, held, until)
        return Item(path, hashlib.sha256(raw).digest(), len(raw), held.version if held else "")

    def _require_held(self, path: str, raw: bytes, held: Held | None, until: datetime | None) -> None:
        if held is None:
            raise AuditError(
                f"{self._bucket}/{path} is not there after it was sent",
                code="archive_changed",
                hint="Somebody else writes to the archive, or the server loses what it took.",
            )
        self._require_content(path, raw, held)
        if until is not None and (held.locked_until is None or held.locked_until < until):
            raise AuditError(
                f"{self._bucket}/{path} is not locked as it was asked",
                code="archive_unlocked",
                hint="The server takes the lock and does not keep it; --unlocked archives without.",
            )

    def _require_content(self, path: str, raw: bytes, held: Held) -> None:
        found = held.sha256
        if not found and held.size == len(raw):  # this server keeps no such checksum: read it back
            found = hashlib.sha256(self._bucket.get(path, held.version, limit=len(raw)) or b"").digest()
        if held.size != len(raw) or found != hashlib.sha256(raw).digest():
            refuse("object_overwritten", f"{self._bucket}/{path} is there with other content than the log's")
