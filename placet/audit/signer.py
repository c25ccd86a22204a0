"""The signer of checkpoints. It believes the leaves, and what it has signed before; never the stored frontier."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from placet.audit.checkpoint import VerifiedCheckpoint, sign_checkpoint, verify_checkpoint
from placet.audit.merkle import MAX_SIZE, Frontier, hash_leaf
from placet.audit.note import LogKey, VerifierKey
from placet.audit.stores import Reader, Store, StoredCheckpoint
from placet.errors import FormatError, TamperError

_COMMIT_DEADLINE_S: Final = 5.0


class CheckpointSigner:
    """Signs the size and root that it has recomputed from the leaves.

    The first time, it starts from the last checkpoint in the store: a frontier that folds to a root with our own
    signature is authentic wherever it was kept. From then on it starts from its own memory.
    """

    def __init__(self, store: Store, key: LogKey, *, former_keys: Sequence[VerifierKey] = ()) -> None:
        self._store = store
        self._key = key
        self._trusted = (*key.verifiers, *former_keys)
        self._signed: Frontier | None = None
        self._lock = threading.Lock()

    @property
    def signed_size(self) -> int:
        """Size of the last checkpoint that this signer has made or verified; 0 before the first."""
        return self._signed.size if self._signed else 0

    def sign(self) -> VerifiedCheckpoint:
        """Sign what is committed now; where nothing is new, the last checkpoint again.

        Raises:
            TamperError: the store does not extend what was signed before, or contradicts itself.
            StoreUnavailable: it can't be read, or the checkpoint can't be kept.
        """
        with self._lock:
            with self._store.reading() as reader:
                latest = self._latest(reader)
                tree = self._extend(reader, latest)
            if latest is not None and latest.size == tree.size:
                self._signed = tree
                return latest
            signed = sign_checkpoint(self._key, size=tree.size, root=tree.root())
            self._keep(StoredCheckpoint(tree.size, signed.root, tree.render(), signed.note.encode()))
            self._signed = tree
            return signed

    def _latest(self, reader: Reader) -> VerifiedCheckpoint | None:
        """The last checkpoint in the store, verified; the first time, its frontier becomes our memory."""
        stored = reader.latest_checkpoint()
        if stored is None:
            if self._signed is not None:
                raise TamperError("the checkpoints were removed from the record", code="rolled_back")
            return None
        if self._signed is not None and stored.size < self._signed.size:
            raise TamperError(
                f"the checkpoint of {self._signed.size} leaves was removed from the record", code="rolled_back"
            )
        try:
            verified = verify_checkpoint(stored.raw_note, self._trusted)
            frontier = Frontier.parse(verified.size, stored.raw_frontier)
        except FormatError as exc:
            raise TamperError("the last checkpoint in the record can't be read", code="checkpoint_invalid") from exc
        if (verified.size, verified.root) != (stored.size, stored.root) or frontier.root() != verified.root:
            raise TamperError(
                "the last checkpoint in the record is not the one that was signed", code="checkpoint_invalid"
            )
        if self._signed is None:
            self._signed = frontier
        return verified

    def _extend(self, reader: Reader, latest: VerifiedCheckpoint | None) -> Frontier:
        """The tree of all leaves, from the last one that was signed on."""
        claimed = reader.state()
        tree = self._signed.copy() if self._signed is not None else Frontier()
        if claimed.size < max(tree.size, latest.size if latest else 0):
            raise TamperError(f"the record has shrunk to {claimed.size} leaves", index=claimed.size, code="truncated")
        for stored in reader.leaves(tree.size, MAX_SIZE):
            if stored.index != tree.size:
                raise TamperError(f"leaf {tree.size} is missing", index=tree.size, code="missing")
            leaf_hash = hash_leaf(stored.raw_leaf)
            if leaf_hash != stored.leaf_hash:
                raise TamperError(f"leaf {tree.size} was changed", index=tree.size, code="leaf_changed")
            tree.append(leaf_hash)
            if latest is not None and tree.size == latest.size and tree.root() != latest.root:
                raise TamperError(f"the first {tree.size} leaves are not those that were signed", code="fork")
        if tree.size != claimed.size:
            raise TamperError(
                f"the record has {tree.size} leaves and says {claimed.size}",
                index=min(tree.size, claimed.size),
                code="state_changed",
            )
        if tree != claimed:
            raise TamperError("the frontier in the record is not that of its leaves", code="state_changed")
        return tree

    def _keep(self, checkpoint: StoredCheckpoint) -> None:
        transaction = self._store.begin(deadline_s=_COMMIT_DEADLINE_S)
        try:
            transaction.put_checkpoint(checkpoint)
            transaction.commit()
        finally:
            transaction.rollback()
