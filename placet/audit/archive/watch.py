"""Every checkpoint into the bucket, soon after it was signed: what shows a store that was rolled back since.

The gate has no part in it: it signs into its store, and this reads the store. So an answer never waits for a bucket,
and a bucket that is down leaves checkpoints to be exported later, all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from placet.audit.archive.bucket import Bucket
from placet.audit.archive.holdings import find_exported, read_exported, refuse
from placet.audit.checkpoint import verify_checkpoint
from placet.audit.note import VerifierKey
from placet.audit.stores import Auditable
from placet.audit.tile_folder import CHECKPOINTS
from placet.errors import FormatError, TamperError


class Exporter:
    """Exports checkpoints that were signed since it last looked.

    Args:
        bucket: with, or for, the archive of the log.
        keys: verifier keys of the log.
        after: leaves of the newest checkpoint that is in the bucket; see ``newest_exported``.
    """

    def __init__(self, bucket: Bucket, keys: Sequence[VerifierKey], *, after: int) -> None:
        self._bucket = bucket
        self._keys = keys
        self._after = after

    def export(self, source: Auditable, locked_until: datetime | None) -> int:
        """Upload what is new; says how many.

        Args:
            source: a view of the store.
            locked_until: aware UTC; None where objects are not to be locked.

        Raises:
            TamperError: the store's checkpoint is not the log's, or the bucket has another one of that size: ``fork``;
                or the store ends before what was exported: ``rolled_back``.
            AuditError: the server can't be asked; nothing is forgotten by that.
        """
        latest = source.latest_checkpoint()
        if latest is not None and latest.size == self._after:
            return 0
        count, last = 0, -1
        for size, _root, _frontier, note in source.raw_checkpoints():
            last = size
            if size > self._after:
                count += self._put(size, str(note), locked_until)
                self._after = size
        if last < self._after:
            raise TamperError(
                f"the store is signed for {max(last, 0)} leaves, and {self._bucket} has a checkpoint of {self._after}: "
                "the store was rolled back, or is another one",
                index=max(last, 0),
                code="rolled_back",
                hint="Look for the newer store first; docs/operations.md says how to go on without.",
            )
        return count

    def _put(self, size: int, note: str, locked_until: datetime | None) -> bool:
        path = f"{CHECKPOINTS}/{size}"
        try:
            ours = verify_checkpoint(note.encode(), self._keys)
        except FormatError as exc:
            raise TamperError(f"the checkpoint of {size} leaves can't be read", code="checkpoint_invalid") from exc
        if self._bucket.put(path, note.encode(), locked_until=locked_until) is not None:
            return True
        theirs = read_exported(self._bucket, size, "", self._keys)
        if theirs.root != ours.root:
            raise TamperError(f"{self._bucket}/{path} is of another history than the store", code="fork")
        return False


def newest_exported(bucket: Bucket) -> int:
    """Leaves of the newest checkpoint that is in the bucket; -1 where there is none.

    Raises:
        TamperError: one is hidden or was overwritten.
    """
    return max((size for size, _ in find_exported(bucket, refuse)), default=-1)
