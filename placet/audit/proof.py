"""Proof files: a leaf, why it is in the log, and the checkpoint that says so. One verifies alone, with the log's key.

The members ``leaf``, ``index``, ``size`` and ``hashes`` are those that tools/sumdb reads.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from placet.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from placet.audit.merkle import (
    HASH_BYTES,
    consistency_ranges,
    hash_leaf,
    hash_ranges,
    inclusion_ranges,
    verify_consistency,
    verify_inclusion,
)
from placet.audit.note import VerifierKey
from placet.audit.query import is_index
from placet.audit.record import Leaf, parse_leaf
from placet.audit.stores import ProofSource, StoredLeaf
from placet.canonical import parse_json
from placet.errors import AuditError, FormatError, TamperError

PROOF_SCHEMA: Final = "placet.dev/audit-proof/v1"
CONSISTENCY_SCHEMA: Final = "placet.dev/audit-consistency/v1"
MAX_PROOF_BYTES: Final = 1024 * 1024
_MAX_HASHES: Final = 64


@dataclass(frozen=True, slots=True)
class VerifiedInclusion:
    """A leaf that is in the log; built by ``verify_proof`` alone."""

    index: int
    leaf: Leaf
    checkpoint: VerifiedCheckpoint


@dataclass(frozen=True, slots=True)
class VerifiedExtension:
    """Two checkpoints of one history; built by ``verify_proof`` alone."""

    old: VerifiedCheckpoint
    new: VerifiedCheckpoint
    hashes: tuple[bytes, ...]


def find_leaf(reader: ProofSource, wanted: str) -> StoredLeaf | None:
    """The leaf that a person means: by decision id, by uid of the request, or by index."""
    found = reader.find_decision(wanted) or reader.find_uid(wanted)
    if found is None and is_index(wanted):
        found = next(reader.leaves(int(wanted), int(wanted) + 1), None)
    return found


def prove_inclusion(
    reader: ProofSource,
    stored: StoredLeaf,
    keys: Sequence[VerifierKey],
    *,
    published: VerifiedCheckpoint | None = None,
) -> bytes:
    """Make the proof file of a leaf, against one checkpoint.

    The stored hashes are not believed: a proof that would not verify is not written.

    Args:
        reader: a view of a store, or a folder of tiles.
        stored: the leaf.
        keys: trusted verifier keys of the log.
        published: the checkpoint to prove under, with the cosignatures that its note carries; by default the last one
            that the reader has.

    Raises:
        AuditError: ``not_signed_yet`` when no checkpoint has the leaf.
        TamperError: the store is not what was signed.
    """
    checkpoint = find_checkpoint(reader, stored.index, keys, published)
    ranges = inclusion_ranges(stored.index, checkpoint.size)
    try:
        hashes = hash_ranges(ranges, reader.leaf_hashes(checkpoint.size))
    except FormatError as exc:
        raise TamperError(f"the store has fewer leaves than {checkpoint.size}", code="truncated") from exc
    document = {
        "schema": PROOF_SCHEMA,
        "log_key": str(signing_key(checkpoint, keys)),
        "checkpoint": checkpoint.note,
        "index": stored.index,
        "size": checkpoint.size,
        "leaf": encode_part(stored.raw_leaf),
        "hashes": [encode_part(part) for part in hashes],
    }
    raw = _render(document)
    verify_proof(raw, keys)
    return raw


def prove_consistency(reader: ProofSource, raw_old: bytes, keys: Sequence[VerifierKey]) -> bytes:
    """Make the file that shows that the last checkpoint in the store extends a saved one.

    Raises:
        FormatError, TamperError: the saved note is none of this log, or the store does not extend it.
        AuditError: ``not_signed_yet`` when the store has no checkpoint of that size or more.
    """
    old = verify_checkpoint(raw_old, keys)
    latest = reader.latest_checkpoint(at_least=old.size)
    if latest is None:
        raise AuditError(f"the store has no checkpoint of {old.size} leaves or more", code="not_signed_yet")
    new = read_latest(latest.raw_note, keys)
    ranges = consistency_ranges(old.size, new.size) if 0 < old.size < new.size else []
    document = {
        "schema": CONSISTENCY_SCHEMA,
        "log_key": str(signing_key(new, keys)),
        "old_checkpoint": old.note,
        "checkpoint": new.note,
        "hashes": [encode_part(part) for part in hash_ranges(ranges, reader.leaf_hashes(new.size))],
    }
    raw = _render(document)
    verify_proof(raw, keys)
    return raw


def verify_proof(raw: bytes, keys: Sequence[VerifierKey]) -> VerifiedInclusion | VerifiedExtension:
    """Verify a proof file with nothing but the log's key.

    Args:
        raw: the file, unverified.
        keys: trusted verifier keys of the log. The key that the file names is not believed.

    Raises:
        FormatError: not a proof file.
        TamperError: it proves nothing.
    """
    document = parse_json(raw, max_bytes=MAX_PROOF_BYTES)
    if not isinstance(document, dict):
        raise FormatError("not a proof file", code="proof_malformed")
    checkpoint = verify_checkpoint(_text(document, "checkpoint").encode(), keys)
    if _text(document, "log_key") not in {str(key) for key in keys}:
        raise TamperError("the proof is by another key than the one that is trusted", code="proof_invalid")
    hashes = read_hashes(document)
    if document.get("schema") == CONSISTENCY_SCHEMA:
        _require_members(document, {"schema", "log_key", "old_checkpoint", "checkpoint", "hashes"})
        old = verify_checkpoint(_text(document, "old_checkpoint").encode(), keys)
        verify_consistency(
            old_size=old.size, old_root=old.root, new_size=checkpoint.size, new_root=checkpoint.root, hashes=hashes
        )
        return VerifiedExtension(old, checkpoint, tuple(hashes))
    if document.get("schema") != PROOF_SCHEMA:
        raise FormatError("not a proof file of a schema that is known", code="proof_malformed")
    _require_members(document, {"schema", "log_key", "checkpoint", "index", "size", "leaf", "hashes"})
    index, raw_leaf = document["index"], decode_part(_text(document, "leaf"))
    if type(index) is not int or document["size"] != checkpoint.size or type(document["size"]) is not int:
        raise TamperError("the proof is not for the size of its checkpoint", code="proof_invalid")
    verify_inclusion(hash_leaf(raw_leaf), index=index, size=checkpoint.size, hashes=hashes, root=checkpoint.root)
    return VerifiedInclusion(index, parse_leaf(raw_leaf), checkpoint)


def find_checkpoint(
    reader: ProofSource, index: int, keys: Sequence[VerifierKey], published: VerifiedCheckpoint | None = None
) -> VerifiedCheckpoint:
    """The checkpoint that a leaf is proved under: the published one where one is given, else the reader's last.

    Raises:
        AuditError: ``not_signed_yet`` when it does not have the leaf.
        TamperError: no trusted key has signed the reader's.
    """
    if published is not None:
        if published.size > index:
            return published
        hint = "Publish the record again, let the witness cosign, and prove with that checkpoint."
        message = f"the checkpoint is of {published.size} leaves, and does not sign for leaf {index}"
        raise AuditError(message, code="not_signed_yet", hint=hint)
    latest = reader.latest_checkpoint(at_least=index + 1)
    if latest is None:
        hint = "The server signs a checkpoint within a minute; then try again."
        raise AuditError(f"no checkpoint signs for leaf {index} yet", code="not_signed_yet", hint=hint)
    return read_latest(latest.raw_note, keys)


def read_latest(raw_note: bytes, keys: Sequence[VerifierKey]) -> VerifiedCheckpoint:
    """The last checkpoint of a store, verified.

    Raises:
        TamperError: it is not one that a trusted key has signed.
    """
    try:
        return verify_checkpoint(raw_note, keys)
    except FormatError as exc:
        raise TamperError("the last checkpoint in the store can't be read", code="checkpoint_invalid") from exc


def signing_key(checkpoint: VerifiedCheckpoint, keys: Sequence[VerifierKey]) -> VerifierKey:
    """The trusted key that signed: after a change of keys there are several."""
    for key in keys:
        try:
            verify_checkpoint(checkpoint.note.encode(), [key])
        except TamperError:
            continue
        return key
    raise TamperError("no trusted key has signed the checkpoint", code="checkpoint_invalid")


def _render(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _require_members(document: dict[str, Any], names: set[str]) -> None:
    if document.keys() != names:
        raise FormatError("the proof file has other members than a proof has", code="proof_malformed")


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise FormatError(f"the proof file has no text {name!r}", code="proof_malformed")
    return value


def read_hashes(document: dict[str, Any]) -> list[bytes]:
    """The member ``hashes``, each of 32 bytes.

    Raises:
        FormatError: anything else.
    """
    listed = document.get("hashes")
    if (
        not isinstance(listed, list)
        or len(listed) > 2 * _MAX_HASHES
        or not all(isinstance(part, str) for part in listed)
    ):
        raise FormatError("the proof file has no list of hashes", code="proof_malformed")
    hashes = [decode_part(part) for part in listed]
    if any(len(part) != HASH_BYTES for part in hashes):
        raise FormatError("a hash of the proof file is not 32 bytes", code="proof_malformed")
    return hashes


def encode_part(raw: bytes) -> str:
    """Bytes as proof files have them: standard base64."""
    return base64.b64encode(raw).decode()


def decode_part(text: str) -> bytes:
    """Read standard base64 in its one spelling.

    Raises:
        FormatError: anything else.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise FormatError("the proof file holds something that is not base64", code="proof_malformed") from exc
    if base64.b64encode(raw).decode() != text:
        raise FormatError("the proof file holds base64 in another spelling", code="proof_malformed")
    return raw
