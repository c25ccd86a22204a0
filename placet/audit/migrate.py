"""Copy a record into another store: leaves, attachments and checkpoints byte for byte.

What the target has already must be the beginning of what the source has, to the last byte: so a copy that was broken
off goes on, and one into another log's store is refused. Each batch is durable before the next is read. At the end the
target is read again, and the roots of both are computed from their leaves. Of a leaf that was pruned there is its hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from placet.audit.merkle import Frontier
from placet.audit.record import PRUNED_COLUMNS, Leaf
from placet.audit.stored import read_stored
from placet.audit.stores import Auditable, Entry, Store, StoredCheckpoint, hash_of
from placet.errors import AuditError, TamperError

Progress = Callable[[int, int], None]
OpenTarget = Callable[[], AbstractContextManager[Auditable]]
_BATCH: Final = 256
_DEADLINE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a copy came to.

    Attributes:
        size: leaves of the source, and now of the target.
        root: of both, 32 bytes, computed from the leaves of each.
        copied: leaves that were not there before.
        checkpoints: of both.
    """

    size: int
    root: bytes
    copied: int
    checkpoints: int


def migrate(source: Auditable, target: Store, open_target: OpenTarget, *, progress: Progress) -> Migrated:
    """Copy what the target lacks.

    Args:
        source: one view of the record.
        target: where it goes to; of the same log.
        open_target: a new view of the target, each time that it is called.
        progress: told leaves done and leaves there are.

    Raises:
        AuditError: ``target_differs``: what the target has is not the beginning of the source.
        TamperError: the source is not what was hashed, or the target not what was copied.
        StoreUnavailable: one of them can't be read or written; what was copied until then stays, and is gone on from.
    """
    total = source.state().size
    with open_target() as before:
        held = _require_prefix(source, before, progress, total)
    for batch in _batches(_entries(source, held, total)):
        append_batch(target, batch)
        progress(batch[-1].index + 1, total)
    checkpoints = _copy_checkpoints(source, target)
    with open_target() as after:
        root = _require_same(source, after, total)
    return Migrated(total, root, total - held, checkpoints)


def _require_prefix(source: Auditable, target: Auditable, progress: Progress, total: int) -> int:
    """Size of the target, all of which is the beginning of the source."""
    size = target.state().size
    if size > total:
        raise _differs(f"it has {size} leaves where the record has {total}")
    for ours, theirs in zip(source.leaves(0, size), target.leaves(0, size), strict=True):
        if (ours.index, ours.raw_leaf, ours.leaf_hash) != (theirs.index, theirs.raw_leaf, theirs.leaf_hash):
            raise _differs(f"its leaf {theirs.index} is another one")
        if ours.index % _BATCH == 0:
            progress(ours.index, total)
    return size


def _differs(how: str) -> AuditError:
    return AuditError(
        f"the target is not the beginning of the record: {how}",
        code="target_differs",
        hint="Copy into an empty store, or into one that an earlier copy of the same record began.",
    )


def _entries(source: Auditable, start: int, end: int) -> Iterator[Entry]:
    """Leaves of the source with what stands beside them, each checked against its hash."""
    blobs = _Blobs(source)
    index = start
    for stored in source.leaves(start, end):
        if stored.index != index:
            raise TamperError(f"leaf {index} is missing", index=index, code="missing")
        leaf = read_stored(stored) if stored.raw_leaf else Leaf(b"", {}, PRUNED_COLUMNS)
        yield Entry(index, leaf, hash_of(stored), blobs.beside(index))
        index += 1
    if index != end:
        raise TamperError(f"leaf {index} is missing", index=index, code="missing")


class _Blobs:
    """Attachments of a store, in step with its leaves."""

    def __init__(self, source: Auditable) -> None:
        self._rows = source.raw_blobs()
        self._next = next(self._rows, None)

    def beside(self, index: int) -> Mapping[str, bytes]:
        """Those of one leaf; indexes ascend from call to call."""
        found: dict[str, bytes] = {}
        while self._next is not None and self._next[0] <= index:
            at, name, _, content = self._next
            if at == index:
                found[name] = content
            self._next = next(self._rows, None)
        return found


def _batches(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def append_batch(target: Store, batch: Sequence[Entry]) -> None:
    """Put leaves where the target ends, durably.

    Raises:
        AuditError: ``target_differs``: it does not end before the first of them.
        StoreUnavailable: it can't be written.
    """
    transaction = target.begin(deadline_s=_DEADLINE_S)
    try:
        frontier = transaction.state()
        if frontier.size != batch[0].index:
            raise _differs(f"somebody else writes to it: it has {frontier.size} leaves, and {batch[0].index} were read")
        for entry in batch:
            frontier.append(entry.leaf_hash)
        transaction.insert(batch)
        transaction.put_state(frontier)
        transaction.commit()
    finally:
        transaction.rollback()


def _copy_checkpoints(source: Auditable, target: Store) -> int:
    transaction = target.begin(deadline_s=_DEADLINE_S)
    count = 0
    try:
        for size, root, frontier, note in source.raw_checkpoints():
            transaction.put_checkpoint(StoredCheckpoint(size, root, frontier, note.encode()))
            count += 1
        transaction.commit()
    finally:
        transaction.rollback()
    return count


def _require_same(source: Auditable, target: Auditable, total: int) -> bytes:
    """The root of both, from their leaves; attachments and checkpoints are compared as they are."""
    ours, theirs = _root(source, total), _root(target, total)
    if ours != theirs or target.state().size != total or target.state().root() != ours:
        raise TamperError("the copy has another root than the record", code="fork")
    for what, one, other in (
        ("attachments", source.raw_blobs(), target.raw_blobs()),
        ("checkpoints", source.raw_checkpoints(), target.raw_checkpoints()),
    ):
        for left, right in _pairs(one, other):
            if left != right:
                raise _differs(f"it has other {what} beside leaf {(left or right or ('?',))[0]}")
    return ours


def _root(reader: Auditable, size: int) -> bytes:
    tree = Frontier()
    for stored in reader.leaves(0, size):
        tree.append(hash_of(stored))
    return tree.root()


def _pairs(one: Iterator[tuple[Any, ...]], other: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, Any]]:
    while True:
        left, right = next(one, None), next(other, None)
        if left is None and right is None:
            return
        yield (None if left is None else tuple(left)), (None if right is None else tuple(right))
