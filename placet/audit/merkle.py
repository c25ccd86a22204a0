"""The Merkle tree of RFC 6962 section 2.1: frontier, root, inclusion and consistency proofs.

Hashes are 32 raw bytes. A tree is known by its frontier: the roots of the perfect subtrees that its size is the sum
of, the largest first, at most 64 of them. A proof is described by the ranges of leaves whose subtree roots it holds,
so that one pass over the leaves makes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from placet.errors import FormatError, TamperError

HASH_BYTES: Final = 32
MAX_SIZE: Final = 2**63 - 1
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


def hash_leaf(leaf: bytes) -> bytes:
    """SHA-256 of 0x00 and the leaf (RFC 6962 section 2.1)."""
    return hashlib.sha256(_LEAF + leaf).digest()


def hash_leaves(leaves: Iterable[bytes]) -> list[bytes]:
    """``hash_leaf`` of each: a call for each of 100,000 a second is a twentieth of the time that there is."""
    sha256 = hashlib.sha256
    return [sha256(_LEAF + leaf).digest() for leaf in leaves]


def hash_node(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and the two children (RFC 6962 section 2.1)."""
    return hashlib.sha256(_NODE + left + right).digest()


class Frontier:
    """A tree that grows by one leaf at a time and remembers only what it needs for that.

    Attributes:
        size: number of leaves.
        hashes: roots of the perfect subtrees, the largest first; as many as ``size`` has one bits.
    """

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(hashes)
        if not 0 <= size <= MAX_SIZE:
            raise FormatError("the size of a tree is between 0 and 2**63 - 1", code="frontier_invalid")
        if len(self.hashes) != size.bit_count() or any(len(part) != HASH_BYTES for part in self.hashes):
            raise FormatError(f"not the frontier of a tree of {size} leaves", code="frontier_invalid")

    @classmethod
    def parse(cls, size: int, raw: bytes) -> Frontier:
        """Read the hashes one after the other.

        Raises:
            FormatError: not as many hashes as a tree of this size has.
        """
        return cls(size, (raw[start : start + HASH_BYTES] for start in range(0, len(raw), HASH_BYTES)))

    def render(self) -> bytes:
        """The hashes one after the other."""
        return b"".join(self.hashes)

    def append(self, leaf_hash: bytes) -> None:
        """Add the hash of one leaf."""
        carried = leaf_hash
        bit = self.size
        while bit & 1:
            carried = hash_node(self.hashes.pop(), carried)
            bit >>= 1
        self.hashes.append(carried)
        self.size += 1

    def extend(self, leaf_hashes: Iterable[bytes]) -> None:
        """Add the hashes of several leaves: what as many ``append`` do, level by level."""
        sha256, low, level = hashlib.sha256, [], list(leaf_hashes)
        bits = self.size
        self.size += len(level)
        while level:
            if bits & 1:
                level.insert(0, self.hashes.pop())
            if len(level) & 1:
                low.append(level.pop())
            half = iter(level)
            level = [sha256(_NODE + left + right).digest() for left, right in zip(half, half, strict=True)]
            bits >>= 1
        self.hashes += reversed(low)

    def append_subtree(self, root: bytes, height: int) -> None:
        """Add ``2 ** height`` leaves at once, of which the root is known.

        Args:
            root: of the perfect tree of these leaves.
            height: of it; the size of this tree is a multiple of its leaves.
        """
        carried, bits = root, self.size >> height
        if bits << height != self.size:
            raise FormatError(f"a tree of {self.size} leaves has no place for that one", code="frontier_invalid")
        while bits & 1:
            carried = hash_node(self.hashes.pop(), carried)
            bits >>= 1
        self.hashes.append(carried)
        self.size += 1 << height

    def root(self) -> bytes:
        """The root of the tree; ``EMPTY_ROOT`` when it has no leaf."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = hash_node(left, root)
        return root

    def copy(self) -> Frontier:
        """An independent tree of the same leaves."""
        return Frontier(self.size, self.hashes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frontier):
            return NotImplemented
        return self.size == other.size and self.hashes == other.hashes

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Frontier(size={self.size}, root={self.root().hex()})"


def _split(size: int) -> int:
    """The largest power of two smaller than ``size`` (k of RFC 6962 section 2.1); ``size`` >= 2."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Ranges ``[start, end)`` of leaves whose roots are the inclusion proof (RFC 6962 section 2.1.1), in proof order.

    Raises:
        FormatError: the index is not in the tree.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise FormatError(f"there is no leaf {index} in a tree of {size} leaves", code="index_outside")
    ranges = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """Ranges of leaves whose roots are the consistency proof (RFC 6962 section 2.1.2), in proof order.

    Raises:
        FormatError: ``old`` is 0 or larger than ``new``.
    """
    if not 0 < old <= new <= MAX_SIZE:
        raise FormatError(f"no proof leads from {old} to {new} leaves", code="index_outside")
    ranges = []
    start, end = 0, new
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start:
        ranges.append((start, end))  # the old tree is not itself a node on the way: its last perfect subtree
    return ranges[::-1]


def hash_ranges(ranges: Sequence[tuple[int, int]], leaf_hashes: Iterable[bytes]) -> list[bytes]:
    """Subtree roots of disjoint ranges, in one pass.

    Args:
        ranges: in any order; the answer is in the same.
        leaf_hashes: hashes of leaves 0, 1, 2 and so on, at least to the last range's end.

    Raises:
        FormatError: fewer leaves than the ranges ask for.
    """
    ordered = sorted(ranges)
    roots: dict[tuple[int, int], bytes] = {}
    stream = enumerate(leaf_hashes)
    for start, end in ordered:
        tree = Frontier()
        for index, leaf_hash in stream:
            if index >= start:
                tree.append(leaf_hash)
            if index + 1 == end:
                break
        if tree.size != end - start:
            raise FormatError(f"fewer than {end} leaves", code="index_outside")
        roots[start, end] = tree.root()
    return [roots[span] for span in ranges]


def inclusion_proofs(indices: Iterable[int], size: int, leaf_hashes: Iterable[bytes]) -> dict[int, list[bytes]]:
    """Inclusion proofs of several leaves of one tree, in one pass over its leaf hashes.

    Args:
        indices: of the leaves.
        size: of the tree.
        leaf_hashes: as for ``hash_ranges``.

    Raises:
        FormatError: an index is not in the tree, or there are fewer leaves than ``size``.
    """
    wanted = {index: inclusion_ranges(index, size) for index in indices}
    # What a leaf is in is put together from its halves, so that no two ranges that are read overlap.
    inner: set[tuple[int, int]] = set()
    for index in wanted:
        start, end = 0, size
        while end - start > 1:
            inner.add((start, end))
            middle = start + _split(end - start)
            start, end = (start, middle) if index < middle else (middle, end)
    siblings = {span for ranges in wanted.values() for span in ranges}
    outer = sorted((siblings | {(index, index + 1) for index in wanted}) - inner)
    roots = dict(zip(outer, hash_ranges(outer, leaf_hashes), strict=True))

    def root_of(start: int, end: int) -> bytes:
        if (start, end) not in roots:
            middle = start + _split(end - start)
            roots[start, end] = hash_node(root_of(start, middle), root_of(middle, end))
        return roots[start, end]

    return {index: [root_of(*span) for span in ranges] for index, ranges in wanted.items()}


def verify_inclusion(leaf_hash: bytes, *, index: int, size: int, hashes: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf is in a tree (RFC 9162 section 2.1.3.2).

    Raises:
        TamperError: it is not, or the proof is not one for this index and size.
    """
    problem = TamperError(
        f"leaf {index} is not in the tree of {size} leaves that was signed", index=index, code="proof_invalid"
    )
    if not 0 <= index < size <= MAX_SIZE:
        raise problem
    remaining = _proof(hashes)
    node, last, current = index, size - 1, leaf_hash
    for sibling in remaining:
        if last == 0:
            raise problem
        if node & 1 or node == last:
            current = hash_node(sibling, current)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            current = hash_node(current, sibling)
        node, last = node >> 1, last >> 1
    if last or current != root:
        raise problem


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, hashes: Sequence[bytes]
) -> None:
    """Check that the larger tree holds the smaller one as its first leaves (RFC 9162 section 2.1.4.2).

    An empty old tree is a prefix of every tree, by no proof at all.

    Raises:
        TamperError: it does not, or the proof is not one for these sizes.
    """
    problem = TamperError(f"the tree of {new_size} leaves does not extend the one of {old_size}", code="fork")
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise problem
    if old_size in (0, new_size):
        expected = EMPTY_ROOT if old_size == 0 else new_root
        if hashes or old_root != expected:
            raise problem
        return
    path = _proof(hashes)
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    # where the old tree is a perfect subtree, its root starts the proof and is not repeated in it
    first = old_root if node == 0 else next(path, b"")
    small = large = first
    for sibling in path:
        if last == 0:
            raise problem
        if node & 1 or node == last:
            small, large = hash_node(sibling, small), hash_node(sibling, large)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            large = hash_node(large, sibling)
        node, last = node >> 1, last >> 1
    if last or small != old_root or large != new_root:
        raise problem


def _proof(hashes: Sequence[bytes]) -> Iterator[bytes]:
    if any(len(part) != HASH_BYTES for part in hashes):
        raise TamperError("a proof holds something that is no hash", code="proof_invalid")
    return iter(hashes)
