"""Where leaves are kept. One store a module; the log knows them by these two interfaces alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from placet.audit.merkle import Frontier, hash_leaf
from placet.audit.record import Leaf
from placet.audit.segments import Segment
from placet.audit.terms import TermBlock
from placet.errors import AuditError

if TYPE_CHECKING:
    from placet.audit.stores.places import Wanted


Key = tuple[int, int]
"""Where the members of a term stand: a block's number, or that of its persons' terms, and the term."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A leaf with its place.

    Attributes:
        index: 0 for the first leaf of the log.
        leaf: the leaf.
        leaf_hash: 32 bytes.
        attachments: name -> bytes kept beside the leaf; the body has their digests as ``<name>_digest``.
        digested: the same with their SHA-256 as ``digested`` makes it, where that was done before: a writer that
            others wait for need not hash.
    """

    index: int
    leaf: Leaf
    leaf_hash: bytes
    attachments: Mapping[str, bytes]
    digested: Sequence[tuple[str, bytes, bytes]] | None = None

    def kept(self) -> Sequence[tuple[str, bytes, bytes]]:
        """Name, SHA-256 and content of each attachment."""
        return self.digested if self.digested is not None else digested(self.attachments)


def digested(attachments: Mapping[str, bytes]) -> list[tuple[str, bytes, bytes]]:
    """Name, SHA-256 and content of each."""
    return [(name, hashlib.sha256(content).digest(), content) for name, content in attachments.items()]


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """A leaf as a store gave it back: not verified against anything.

    Attributes:
        raw_leaf: its bytes; none where it was pruned.
        leaf_hash: 32 bytes, as stored.
    """

    index: int
    raw_leaf: bytes
    leaf_hash: bytes


def hash_of(stored: StoredLeaf) -> bytes:
    """The hash of a leaf's bytes; of a pruned one, whose bytes are gone, the one that it left behind.

    That one is worth what the tree says that it makes with the others.
    """
    return hash_leaf(stored.raw_leaf) if stored.raw_leaf else stored.leaf_hash


def require_bytes(stored: StoredLeaf) -> None:
    """Tell a leaf whose bytes were removed from one that was changed; whether that was allowed, verifying says.

    Raises:
        AuditError: ``pruned``.
    """
    if not stored.raw_leaf:
        raise AuditError(
            f"leaf {stored.index} was pruned: its hash is there, and its contents are not",
            code="pruned",
            hint="`placet audit list --type prune` says when and why; `placet audit verify`, whether that explains it.",
        )


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint as a store gave it back: not verified.

    Attributes:
        raw_note: the signed note.
        raw_frontier: hashes of the frontier at that size; they are worth what folding them to the signed root says.
    """

    size: int
    root: bytes
    raw_frontier: bytes
    raw_note: bytes


class Transaction(Protocol):
    """A write transaction that no other writer shares. Nothing of it is durable before ``commit`` has returned."""

    def state(self) -> Frontier:
        """Size and frontier as stored."""

    def find_uids(self, uids: Sequence[str]) -> dict[str, StoredLeaf]:
        """Decisions that these request uids already have."""

    def newest_note(self) -> str:
        """The signed note of the largest checkpoint, not verified; "" where there is none.

        To be asked after ``state``, and where leaves were inserted, after ``commit``.
        """

    def insert(self, entries: Sequence[Entry]) -> None:
        """Add leaves with their attachments."""

    def put_state(self, frontier: Frontier) -> None:
        """Replace size and frontier."""

    def try_out(self, entries: Sequence[Entry], frontier: Frontier) -> None:
        """Write leaves and the state that they lead to, and take both back; raises where an append would find no room.

        To be asked after ``state``; what else the transaction does is not touched.
        """

    def put_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """Keep a checkpoint; one of the same size that is there already stays."""

    def commit(self) -> None:
        """Make it durable. Where this raises, nobody may be told that it is.

        Raises:
            AuditError: ``store_conflict`` or ``record_refused``: for certain nothing was written. What was supposed is
                not so, or a leaf can't be stored.
        """

    def rollback(self) -> None:
        """Forget it. Never raises; does nothing after ``commit``."""


class ProofSource(Protocol):
    """What proofs are made from: one unchanging view of a store, or a folder of tiles."""

    def leaves(self, start: int, end: int) -> Iterator[StoredLeaf]:
        """Leaves with ``start`` <= index < ``end`` in order of index."""

    def leaf_hashes(self, end: int) -> Iterator[bytes]:
        """Stored hashes of the leaves before ``end`` in order of index."""

    def latest_checkpoint(self, *, at_least: int = 0) -> StoredCheckpoint | None:
        """The largest checkpoint, or None where there is none of that size or more."""

    def find_uid(self, uid: str) -> StoredLeaf | None:
        """The decision of an admission request."""

    def find_decision(self, decision_id: str) -> StoredLeaf | None:
        """The decision of that id."""


class Reader(ProofSource, Protocol):
    """One unchanging view of a store."""

    def state(self) -> Frontier:
        """Size and frontier as stored."""

    def latest(self, leaf_type: str) -> StoredLeaf | None:
        """The newest leaf of a type."""

    def of_type(self, leaf_type: str, *, start: int) -> Iterator[StoredLeaf]:
        """Leaves of a type, any but ``decision``, with ``start`` <= index in order of index."""

    def model_seen(self, *, cluster: str, environment: str, model: str) -> bool:
        """Whether a decision has admitted the model there before, as approved."""

    def last_approved(self, *, environment: str, namespace: str, kind: str, name: str) -> StoredLeaf | None:
        """The newest decision that admitted the object with every approval that it needed."""

    def approvals_of(
        self, *, cluster: str, environment: str, namespace: str, kind: str, name: str, projection: str, limit: int
    ) -> list[StoredLeaf]:
        """Decisions that admitted this content of the object, approved then; newest first."""

    def approved_of(
        self, *, cluster: str, environment: str, namespace: str, kind: str, name: str, limit: int
    ) -> list[StoredLeaf]:
        """Decisions that admitted the object, approved then; newest first."""

    def approved_elsewhere(self, *, environment: str, projection: str, limit: int) -> list[StoredLeaf]:
        """Decisions that admitted this content of any object in other environments, approved then; earliest first."""

    def attachment(self, index: int, name: str) -> bytes | None:
        """What is kept beside a leaf; None when it was erased or never kept."""

    def search(
        self, conditions: Mapping[str, Any], *, before: int | None, limit: int, start: int = 0
    ) -> list[StoredLeaf]:
        """Leaves with ``start`` <= index that meet every condition, newest first; see ``placet.audit.query``.

        A store of an earlier version leaves conditions out that it has no column for: whoever asks looks at the leaves.
        """

    def blocks(self) -> int:
        """How many blocks of leaves are found by their terms; none in a store of a version without them."""

    def find_places(self, wanted: Wanted) -> Iterator[int]:
        """Indexes of the leaves in blocks that have the terms that are wanted, and are of the time, newest first.

        Raises:
            TamperError: what is stored is no such thing.
        """

    def leaves_at(self, indexes: Sequence[int]) -> list[StoredLeaf]:
        """These leaves, newest first; the ones that are there."""

    def segments(self) -> list[int]:
        """Numbers of the segments that there are; none in a store of a version without them."""

    def block(self, number: int) -> TermBlock | None:
        """What the leaves of a block are found by, as stored; None where there is no such block."""

    def pruned_between(self, start: int, end: int) -> int:
        """How many leaves with ``start`` <= index < ``end`` were pruned."""

    def members_at(self, keys: Sequence[Key]) -> Mapping[Key, bytes]:
        """Members of those terms that are there, by number and term: of a block, or of its persons' terms."""

    def blocks_without(self, term: int, most: int) -> list[int]:
        """Numbers of the first blocks among whose persons' terms this one is not."""


class RawRow(NamedTuple):
    """A row of leaves exactly as stored, for the verifier: values of any type, whatever the schema once said.

    Attributes:
        raw_columns: the search columns in the order of ``placet.audit.record.Columns``.
    """

    index: Any
    raw_hash: Any
    raw_columns: tuple[Any, ...]
    raw_leaf: Any


class Auditable(Reader, Protocol):
    """What a verifier reads beyond what the log itself needs. It trusts none of it."""

    def damage(self) -> list[str]:
        """What the store's own check finds broken, a sentence each; empty when nothing is."""

    def schema_differences(self) -> list[str]:
        """Names of tables, indexes and triggers that are not what placet made."""

    def raw_states(self) -> list[tuple[Any, Any, Any]]:
        """Origin, size and frontier of every state row; there should be one."""

    def raw_rows(self, start: int = 0, end: int | None = None) -> Iterator[RawRow]:
        """Every leaf with ``start`` <= index, and with no number for one where ``start`` is 0, in order of index.

        Args:
            start: the first index; where it is 0, whatever stands in its place is given too.
            end: the index after the last, or None for all that there are.
        """

    def stretch(self, start: int, end: int) -> list[tuple[Any, ...]]:
        """The columns of ``raw_rows(start, end)`` at once: indexes, hashes, leaves and each search column.

        Each has a value of every row; where there are no rows there are no columns.
        """

    def leaf_stretch(self, start: int, end: int) -> list[tuple[Any, ...]]:
        """The first three of the columns of ``stretch``."""

    def raw_checkpoints(self) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Size, root, frontier and note of every checkpoint in order of size."""

    def attachment_names(self, end: int) -> Iterator[tuple[int, str]]:
        """Index and name of every attachment of leaves before ``end``, in order of both."""

    def raw_blocks(self) -> Iterator[tuple[Any, Any, Any]]:
        """Number, earliest and latest time of every block in order; none in a version without them."""

    def raw_terms(self, start: int = 0) -> Iterator[tuple[Any, Any, Any]]:
        """Block, term and members of every such row with ``start`` <= block, in order of block and term."""

    def raw_segments(self) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Number, earliest and latest time, and parts of every segment in order; none in a version without them."""

    def raw_postings(self, start: int = 0) -> Iterator[tuple[Any, Any, Any]]:
        """Segment, first term and entries of every part with ``start`` <= segment, in order of both."""

    def raw_person_terms(self) -> Iterator[tuple[Any, Any, Any]]:
        """Number, term and members of every row of a negative number, the greatest number first."""

    def raw_blobs(self, start: int = 0, end: int | None = None) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Index, name, SHA-256 and content of every attachment of such leaves in order of index.

        Those with no number for an index are given where ``start`` is 0, or ``end`` is None.
        """


class Store(Protocol):
    """A durable place for one log, used by many threads."""

    @property
    def origin(self) -> str:
        """The log that is kept here."""

    @property
    def remote(self) -> bool:
        """Whether each question is a trip to a server, so that it is quicker to be refused than to ask."""

    def begin(self, *, deadline_s: float, supposed: Frontier | None = None) -> Transaction:
        """Become the only writer.

        Args:
            deadline_s: seconds to wait for another one.
            supposed: what the caller supposes the state to be. A remote store may then believe it, and others may write
                as well until ``commit``, which refuses when it is not so. None where it has to be asked.

        Raises:
            StoreUnavailable: ``store_locked`` when another writer stayed longer than ``deadline_s`` seconds;
                ``store_full``, ``store_readonly``, ``store_unavailable``.
        """

    def reading(self) -> AbstractContextManager[Reader]:
        """One view of what is committed now."""

    def add_block(self, block: TermBlock) -> bool:
        """Keep what leaves are found by; False where the block is there already, or another process adds it now.

        It does not stand in the way of appends for longer than it takes to write it.

        Raises:
            StoreUnavailable: as for ``begin``.
        """

    def add_segment(self, segment: Segment, *, pruned: int) -> bool:
        """Keep what the leaves of many blocks are found by; False where it is there, or leaves were pruned meanwhile.

        Args:
            segment: made from the blocks of one view.
            pruned: of its leaves, how many were pruned in that view.

        Raises:
            StoreUnavailable: as for ``begin``.
        """

    def add_terms(self, number: int, rows: Sequence[tuple[int, bytes]]) -> None:
        """Keep terms under a number that no block has, all or none; those that are there stay.

        Raises:
            StoreUnavailable: as for ``begin``.
        """

    def close(self) -> None:
        """Release everything. Never raises."""
