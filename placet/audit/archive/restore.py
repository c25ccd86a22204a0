"""A store made of an archive alone, or of a folder of tiles, and the proof that it is the same log.

What comes out of the archive is believed by the signatures of the log's key: the leaves by the checkpoints, attachments
by the digests in their leaves. Versions of objects are those that the manifests name, so that what was overwritten or
hidden is restored all the same.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, Protocol

from placet.audit.archive.bucket import Bucket
from placet.audit.archive.holdings import (
    Link,
    find_manifests,
    read_chain,
    read_item,
    require_archive,
    require_origin,
)
from placet.audit.archive.layout import ERASABLE, MAX_ATTACHMENT_BYTES, Item, Manifest, parse_attachment_path
from placet.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from placet.audit.merkle import Frontier, hash_leaf
from placet.audit.migrate import append_batch
from placet.audit.note import VerifierKey
from placet.audit.record import attachment_digests, parse_leaf
from placet.audit.stores import Auditable, Entry, Store, StoredCheckpoint, StoredLeaf, hash_of, require_bytes
from placet.audit.tile_folder import CHECKPOINTS, MAX_BUNDLE_BYTES, TileFolder, exported_sizes, read_note
from placet.audit.tiles import ENTRIES, WIDTH, Tile, full_in, parse_bundle
from placet.canonical import Digest
from placet.errors import AuditError, FormatError, TamperError

Progress = Callable[[int, int], None]
OpenTarget = Callable[[], AbstractContextManager[Auditable]]
_WORKERS: Final = 8
_AHEAD: Final = 8
_DEADLINE_S: Final = 30.0
_PRUNED: Final = b""  # bytes of a leaf that are gone from the target, whose hash stays
_HINT: Final = "`placet audit verify --tiles` says more. What was restored until here is right, and is gone on from."


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restoration came to.

    Attributes:
        origin: of the log.
        size: leaves.
        root: 32 bytes, computed from the leaves of the store, and signed by the log's key.
        copied: leaves that were not there before.
        attachments: that were put beside leaves.
        erased: attachments that the archive had once, and has no more.
        checkpoints: of the store.
        notes: what somebody did to the archive that did not matter.
    """

    origin: str
    size: int
    root: bytes
    copied: int
    attachments: int
    erased: int
    checkpoints: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Leaves that end at a checkpoint.

    Attributes:
        before: index of the first.
        size: index after the last.
        leaves: one after the other, in order.
        attachments: index -> name -> content.
        checkpoints: of more than ``before`` leaves, the last of ``size``, verified.
    """

    before: int
    size: int
    leaves: Iterator[bytes]
    attachments: Iterator[tuple[int, str, bytes]]
    checkpoints: Sequence[VerifiedCheckpoint]


class RestoreSource(Protocol):
    """What a store is made of.

    Attributes:
        origin: of the log.
        size: leaves that it has.
        erased: attachments that were not there any more, of those that were read.
        notes: what somebody did to it that did not matter.
    """

    origin: str
    size: int
    erased: int
    notes: list[str]

    def parts(self) -> Iterator[Part]:
        """All of it, in order."""


def restore(
    source: RestoreSource, target: Store, open_target: OpenTarget, *, progress: Progress = lambda _done, _total: None
) -> Restored:
    """Fill a store, or go on with one that was begun; nothing is left out and nothing written over.

    Args:
        source: an archive, or a folder of tiles.
        target: of the same log; what it has must be the beginning of the source.
        open_target: a new view of the target, each time that it is called.
        progress: told leaves done and leaves there are.

    Raises:
        TamperError: the source is not what was signed, or the target not what was restored.
        AuditError: ``target_differs``; or the source can't be read.
        StoreUnavailable: the target can't be written; what was written until then stays, and is gone on from.
    """
    tree, put, checkpoints = Frontier(), 0, 0
    with open_target() as before:
        held = before.state().size
        if held > source.size:
            raise _differs(f"it has {held} leaves where the archive has {source.size}")
        theirs = before.leaves(0, held)
        for part in source.parts():
            due = deque(part.checkpoints)
            beside = _Beside(part.attachments)
            notes = _reached(tree, due)
            batch: list[Entry] = []
            for index, raw in zip(range(part.before, part.size), part.leaves, strict=True):
                require_bytes(StoredLeaf(index, raw, b""))
                entry = _entry(index, raw, beside.of(index))
                tree.append(entry.leaf_hash)
                notes += _reached(tree, due)
                if index < held:
                    mine = next(theirs, None)
                    if mine is None or mine.raw_leaf not in {raw, _PRUNED}:
                        raise _differs(f"its leaf {index} is another one")
                else:
                    batch.append(entry)
                if len(batch) == WIDTH:
                    put += _write(target, batch)
                    batch = []
                if (index + 1) % WIDTH == 0:
                    progress(index + 1, source.size)
            put += _write(target, batch)
            checkpoints += _write_checkpoints(target, notes)
    root = _require_same(source, target, open_target, tree)
    return Restored(
        origin=source.origin,
        size=source.size,
        root=root,
        copied=source.size - held,
        attachments=put,
        erased=source.erased,
        checkpoints=checkpoints,
        notes=tuple(source.notes),
    )


def _reached(tree: Frontier, due: deque[VerifiedCheckpoint]) -> list[StoredCheckpoint]:
    """Checkpoints of the size of the tree, which is what they say.

    Raises:
        TamperError: ``rewritten``.
    """
    found = []
    while due and due[0].size == tree.size:
        one = due.popleft()
        if one.root != tree.root():
            raise TamperError(
                f"the leaves up to {tree.size} are not those that were signed", code="rewritten", hint=_HINT
            )
        found.append(StoredCheckpoint(one.size, one.root, b"".join(tree.hashes), one.note.encode()))
    return found


class _Beside:
    """Attachments, in step with the leaves."""

    def __init__(self, rows: Iterator[tuple[int, str, bytes]]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def of(self, index: int) -> dict[str, bytes]:
        """Those of one leaf; indexes ascend from call to call."""
        found: dict[str, bytes] = {}
        while self._next is not None and self._next[0] <= index:
            if self._next[0] < index:
                raise TamperError(f"an attachment stands beside no leaf: {self._next[0]}", code="manifest_changed")
            found[self._next[1]] = self._next[2]
            self._next = next(self._rows, None)
        return found


def _entry(index: int, raw: bytes, attachments: dict[str, bytes]) -> Entry:
    try:
        leaf = parse_leaf(raw)
    except FormatError as exc:
        raise TamperError(f"leaf {index}: {exc}", index=index, code="leaf_malformed", hint=_HINT) from exc
    digests = attachment_digests(leaf.body)
    for name, content in attachments.items():
        if digests.get(name) != str(Digest.of(content)):
            raise TamperError(
                f"the attachment {name!r} of leaf {index} is not what the leaf has the digest of",
                index=index,
                code="attachment_changed",
                hint=_HINT,
            )
    return Entry(index, leaf, hash_leaf(raw), attachments)


def _write(target: Store, batch: Sequence[Entry]) -> int:
    if batch:
        append_batch(target, batch)
    return sum(len(entry.attachments) for entry in batch)


def _write_checkpoints(target: Store, notes: Sequence[StoredCheckpoint]) -> int:
    transaction = target.begin(deadline_s=_DEADLINE_S)
    try:
        for one in notes:
            transaction.put_checkpoint(one)
        transaction.commit()
    finally:
        transaction.rollback()
    return len(notes)


def _require_same(source: RestoreSource, target: Store, open_target: OpenTarget, signed: Frontier) -> bytes:
    """The root of what the store has now, read again; it is what the newest checkpoint says."""
    tree = Frontier()
    with open_target() as after:
        for stored in after.leaves(0, source.size):
            tree.append(hash_of(stored))
        state = after.state()
    if (tree.size, tree.root()) != (signed.size, signed.root()) or (state.size, state.root()) != (
        tree.size,
        tree.root(),
    ):
        raise TamperError(f"{target.origin}: the store has another root than the archive", code="fork")
    return tree.root()


def _differs(how: str) -> AuditError:
    return AuditError(
        f"the target is not the beginning of the archive: {how}",
        code="target_differs",
        hint="Restore into a new store, or into one that an earlier restoration of the same archive began.",
    )


class ArchiveSource:
    """An archive to restore from.

    Args:
        bucket: with the archive.
        keys: verifier keys of the log.

    Raises:
        TamperError: a manifest is missing or changed.
        InputError: there is no archive, or it is that of another log.
    """

    def __init__(self, bucket: Bucket, keys: Sequence[VerifierKey]) -> None:
        self.notes: list[str] = []
        self.erased = 0
        self._bucket = bucket
        self._keys = keys
        self._links: list[Link] = find_manifests(bucket, self._report)
        require_archive(self._links, bucket)
        ((_, newest),) = read_chain(bucket, self._links[-1:], self._report)
        require_origin(bucket, newest, keys)
        self.size = list(newest.checkpoints(keys))[-1].size
        self.origin = keys[0].name

    def parts(self) -> Iterator[Part]:
        """See ``RestoreSource``."""
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="archive") as pool:
            for _, manifest in read_chain(self._bucket, self._links, self._report):
                yield Part(
                    manifest.before,
                    manifest.size,
                    self._leaves(pool, manifest),
                    self._attachments(pool, manifest),
                    list(manifest.checkpoints(self._keys)),
                )

    def _report(self, kind: str, sentence: str) -> None:
        if kind in {"manifest_missing", "manifest_changed"}:
            _refuse(kind, sentence)
        self.notes.append(sentence)

    def _leaves(self, pool: ThreadPoolExecutor, manifest: Manifest) -> Iterator[bytes]:
        """Leaves that the manifest added, from its bundles: those that are full at its end, and the last one."""
        known = {item.path: item for item in manifest.items}
        tiles = [Tile(ENTRIES, n) for n in range(manifest.before // WIDTH, full_in(manifest.size, ENTRIES))]
        if manifest.size % WIDTH and manifest.size > manifest.before:
            tiles.append(Tile(ENTRIES, manifest.size // WIDTH, manifest.size % WIDTH))
        fetched = _ahead(pool, self._bucket, [self._item(known, tile) for tile in tiles], MAX_BUNDLE_BYTES)
        for tile, (item, raw) in zip(tiles, fetched, strict=True):
            try:
                leaves = parse_bundle(raw or b"")
            except FormatError as exc:
                raise TamperError(f"{item.path}: {exc}", code="leaf_changed", hint=_HINT) from exc
            if len(leaves) != tile.width:
                code = "missing" if raw is None else "truncated"
                raise TamperError(f"{item.path} is not there, or cut short", index=tile.span[0], code=code, hint=_HINT)
            yield from leaves[max(manifest.before - tile.index * WIDTH, 0) :]

    def _item(self, known: dict[str, Item], tile: Tile) -> Item:
        item = known.get(tile.path)
        if item is None:
            _refuse("manifest_changed", f"no manifest names {tile.path}")
        return item

    def _attachments(self, pool: ThreadPoolExecutor, manifest: Manifest) -> Iterator[tuple[int, str, bytes]]:
        named = sorted((*found, item) for item in manifest.items if (found := parse_attachment_path(item.path)))
        fetched = _ahead(pool, self._bucket, [item for _, _, item in named], MAX_ATTACHMENT_BYTES)
        for (index, name, item), (_, raw) in zip(named, fetched, strict=True):
            if raw is not None:
                yield index, name, raw
            elif item.path.startswith(f"{ERASABLE}/"):
                self.erased += 1
            else:
                _refuse("attachment_missing", f"{item.path} is not there")


class FolderSource:
    """A folder of tiles to restore from; it has no attachments.

    Raises:
        InputError: there is no such folder, or nothing was published in it.
        TamperError: its checkpoint is not the log's.
    """

    def __init__(self, root: Path, keys: Sequence[VerifierKey]) -> None:
        self.notes: list[str] = ["a folder of tiles has no attachments: the store has none of them"]
        self.erased = 0
        self._folder = TileFolder(root)
        self._keys = keys
        self._newest = verify_checkpoint((self._folder.latest_checkpoint() or _nothing()).raw_note, keys)
        self.size = self._newest.size
        self.origin = keys[0].name

    def parts(self) -> Iterator[Part]:
        """See ``RestoreSource``: one part."""
        sizes = [size for size in exported_sizes(self._folder.root) if size < self.size]
        earlier = [
            verify_checkpoint(read_note(self._folder.root / CHECKPOINTS / str(one)) or b"", self._keys) for one in sizes
        ]
        leaves = itertools.chain.from_iterable(self._folder.entries(n) for n in range(-(-self.size // WIDTH)))
        yield Part(0, self.size, leaves, iter(()), [*earlier, self._newest])


def _nothing() -> NoReturn:
    raise TamperError("the folder has no checkpoint", code="checkpoint_missing")


def _refuse(kind: str, sentence: str) -> NoReturn:
    raise TamperError(sentence, code=kind, hint=_HINT)


def _ahead(
    pool: ThreadPoolExecutor, bucket: Bucket, items: Sequence[Item], limit: int
) -> Iterator[tuple[Item, bytes | None]]:
    """Read objects in order, a few ahead."""
    waiting: deque[tuple[Item, Future[bytes | None]]] = deque()
    for item in items:
        waiting.append((item, pool.submit(read_item, bucket, item, limit=limit)))
        if len(waiting) > _AHEAD:
            first, fetched = waiting.popleft()
            yield first, fetched.result()
    for item, fetched in waiting:
        yield item, fetched.result()
