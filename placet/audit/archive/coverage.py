"""Whether an archive holds what is about to be removed from the record, by the archive's manifests.

The chain of manifests is read as whoever verifies the archive reads it; every checkpoint in it has to be the log's, and
the newest of the tree that the record is. What a manifest names, a run has uploaded and read back before it wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence

from placet.audit import spans
from placet.audit.archive.bucket import Bucket
from placet.audit.archive.holdings import find_manifests, read_chain, refuse, require_origin
from placet.audit.archive.layout import parse_attachment_path
from placet.audit.merkle import Frontier
from placet.audit.note import VerifierKey
from placet.audit.pruning import Removal
from placet.audit.spans import Span
from placet.audit.stores import Auditable
from placet.audit.tile_listing import Listing
from placet.audit.tiles import WIDTH


def find_unarchived(
    bucket: Bucket, keys: Sequence[VerifierKey], reader: Auditable, removals: Sequence[Removal]
) -> tuple[int, str] | None:
    """The first index of what an archive does not hold, and "leaf" or the attachment's name; None where it holds all.

    Args:
        bucket: with the archive.
        keys: of the log.
        reader: one view of the record; what is gone from it already is not asked for.
        removals: what is to go.

    Raises:
        AuditError: the server can't be asked.
        InputError: it is the archive of another log.
        TamperError: somebody touched the archive, or it is that of another history than the record.
    """
    leaves = spans.merge(span for one in removals for span in one.leaves)
    names = {name for one in removals for name in one.attachments}
    alone = {name: spans.merge(span for one in removals for span in one.attachments.get(name, ())) for name in names}
    wanted = {
        (index, name)
        for index, name in reader.attachment_names(reader.state().size)
        if spans.covers(leaves, index) or spans.covers(alone.get(name, ()), index)
    }
    archived, held = _read(bucket, keys, reader, wanted)
    first = _first_leaf(reader, spans.subtract(leaves, archived))
    missing = min(wanted - held, default=None)
    if first is not None and (missing is None or first <= missing[0]):
        return first, "leaf"
    return missing


def _read(
    bucket: Bucket, keys: Sequence[VerifierKey], reader: Auditable, wanted: set[tuple[int, str]]
) -> tuple[tuple[Span, ...], set[tuple[int, str]]]:
    """Which leaves the archive has, and which of the attachments that are asked for."""
    listing, held = Listing(), set[tuple[int, str]]()
    size, root = 0, Frontier().root()
    for _, manifest in read_chain(bucket, find_manifests(bucket, refuse), refuse):
        require_origin(bucket, manifest, keys)
        for checkpoint in manifest.checkpoints(keys):
            size, root = checkpoint.size, checkpoint.root
        for item in manifest.items:
            attachment = parse_attachment_path(item.path)
            if attachment is None:
                listing.add(item.path)
            elif attachment in wanted:
                held.add(attachment)
    _require_same(bucket, reader, size, root)
    bundles = ((index * WIDTH, width) for index, width in listing.bundles())
    return spans.merge((start, min(start + width, size)) for start, width in bundles), held


def _require_same(bucket: Bucket, reader: Auditable, size: int, root: bytes) -> None:
    tree = Frontier()
    if size <= reader.state().size:
        tree.extend(list(reader.leaf_hashes(size)))
    if (tree.size, tree.root()) != (size, root):
        refuse("history_differs", f"{bucket} is the archive of another history than the record's, signed by its key")


def _first_leaf(reader: Auditable, found: Sequence[Span]) -> int | None:
    """The first of these leaves that has its bytes still."""
    for start, end in found:
        for stored in reader.leaves(start, end):
            if stored.raw_leaf:
                return stored.index
    return None
