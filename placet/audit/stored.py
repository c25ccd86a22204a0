"""Leaves as a store has them, held against their hashes, and what was decided before as they say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from placet.audit.merkle import hash_leaf
from placet.audit.record import Leaf, parse_leaf
from placet.audit.stores import Reader, StoredLeaf, require_bytes
from placet.canonical import Digest
from placet.errors import FormatError, TamperError

MAX_ADMITTED: Final = 4
MAX_REVISIONS: Final = 16
MAX_ELSEWHERE: Final = 32
_VERIFY: Final = "Run `placet audit verify` on this store."


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision that is in the log.

    Attributes:
        index: its place in the log.
        leaf_hash: its hash in the tree.
        leaf: its body.
        request_digest: of the request that was decided.
    """

    index: int
    leaf_hash: Digest
    leaf: Mapping[str, Any]
    request_digest: Digest


def admitted_in(
    reader: Reader, *, cluster: str, environment: str, namespace: str, kind: str, name: str, projection: Digest
) -> list[Mapping[str, Any]]:
    """What ``AuditLog.admitted`` says, of one view of a store.

    Raises:
        TamperError: what is stored is not what was hashed.
    """
    found = reader.approvals_of(
        cluster=cluster,
        environment=environment,
        namespace=namespace,
        kind=kind,
        name=name,
        projection=str(projection),
        limit=MAX_ADMITTED,
    )
    return [read_recorded(stored).leaf for stored in found]


def approved_in(
    reader: Reader, *, cluster: str, environment: str, namespace: str, kind: str, name: str
) -> list[Mapping[str, Any]]:
    """What ``AuditLog.approved`` says, of one view of a store.

    Raises:
        TamperError: what is stored is not what was hashed.
    """
    found = reader.approved_of(
        cluster=cluster, environment=environment, namespace=namespace, kind=kind, name=name, limit=MAX_REVISIONS
    )
    return [read_recorded(stored).leaf for stored in found]


def approved_elsewhere_in(reader: Reader, *, environment: str, projection: Digest) -> list[Mapping[str, Any]]:
    """What ``AuditLog.approved_elsewhere`` says, of one view of a store.

    Raises:
        TamperError: what is stored is not what was hashed.
    """
    found = reader.approved_elsewhere(environment=environment, projection=str(projection), limit=MAX_ELSEWHERE)
    return [read_recorded(stored).leaf for stored in found]


def read_recorded(stored: StoredLeaf) -> Recorded:
    """A decision as the store has it.

    Raises:
        AuditError: as for ``read_stored``.
        TamperError: the same, or it names no request.
    """
    leaf = read_stored(stored)
    try:
        request_digest = Digest.parse(leaf.columns.request_digest or "")
    except FormatError as exc:
        raise leaf_malformed(stored.index) from exc
    return Recorded(stored.index, Digest(stored.leaf_hash.hex()), leaf.body, request_digest)


def read_stored(stored: StoredLeaf) -> Leaf:
    """A leaf as the store has it.

    Raises:
        AuditError: ``pruned``: its bytes are not there any more.
        TamperError: it is not what was hashed, or none of ours.
    """
    require_bytes(stored)
    if hash_leaf(stored.raw_leaf) != stored.leaf_hash:
        raise TamperError(f"leaf {stored.index} was changed", index=stored.index, code="leaf_changed", hint=_VERIFY)
    try:
        return parse_leaf(stored.raw_leaf)
    except FormatError as exc:
        raise leaf_malformed(stored.index) from exc


def leaf_malformed(index: int) -> TamperError:
    """What is to be said of a leaf that is the one that was hashed, and is none of ours."""
    return TamperError(f"leaf {index} can't be read", index=index, code="leaf_malformed", hint=_VERIFY)
