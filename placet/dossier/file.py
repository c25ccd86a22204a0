"""The proof file of version 2: one checkpoint, and every leaf of a case with its path to it and its attachments.

The bytes are specified in docs/formats-audit.md. A file is anybody's to make: it is read strictly and within bounds.
What was read has been verified as far as the log goes: signature, paths, digests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from placet.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from placet.audit.log import MAX_KEYRING_BYTES
from placet.audit.merkle import hash_leaf, inclusion_proofs, verify_inclusion
from placet.audit.note import VerifierKey
from placet.audit.person_keys import Opener
from placet.audit.proof import decode_part, encode_part, find_checkpoint, read_hashes, signing_key
from placet.audit.record import MAX_LEAF_BYTES, attachment_digests, parse_leaf
from placet.audit.stores import Reader
from placet.canonical import Digest, parse_json
from placet.dossier.case import Case, open_case
from placet.dossier.leaves import Held, ListedLeaves, StoreLeaves
from placet.dossier.names import open_names, read_openings, render_openings
from placet.errors import FormatError, TamperError

DOSSIER_SCHEMA: Final = "placet.dev/audit-proof/v2"
OPENED_SCHEMA: Final = "placet.dev/audit-proof/v3"
"""The same with names of persons opened."""
SCHEMAS: Final = (DOSSIER_SCHEMA, OPENED_SCHEMA)
MAX_FILE_BYTES: Final = 16 * 1024 * 1024
MAX_LEAVES: Final = 64
MAX_ATTACHMENTS: Final = 8
_MAX_DEPTH: Final = 6
_MEMBERS: Final = {
    DOSSIER_SCHEMA: {"schema", "log_key", "checkpoint", "size", "leaves"},
    OPENED_SCHEMA: {"schema", "log_key", "checkpoint", "size", "leaves", "persons"},
}
_LEAF_MEMBERS: Final = {"index", "leaf", "hashes", "attachments"}


@dataclass(frozen=True, slots=True)
class Dossier:
    """A file of which everything is in the log. Built by ``verify_file`` alone.

    Attributes:
        checkpoint: that everything is under.
        subject: what is proved.
        leaves: all that the file holds.
        case: what of it the subject rested on.
    """

    checkpoint: VerifiedCheckpoint
    subject: Held
    leaves: ListedLeaves
    case: Case


def render_file(
    reader: Reader,
    index: int,
    keys: Sequence[VerifierKey],
    *,
    opener: Opener | None = None,
    published: VerifiedCheckpoint | None = None,
) -> bytes:
    """Write the proof file of a leaf and everything that it rested on, under one checkpoint.

    What is in the store is not believed: a file that would not verify is not written.

    Args:
        reader: one view of the store.
        index: of the leaf.
        keys: trusted verifier keys of the log.
        opener: opens the names that it has keys for, in the file for ever; None to leave them sealed.
        published: the checkpoint to prove under, with the cosignatures that its note carries; by default the last one
            in the store, which has none.

    Raises:
        AuditError: ``not_signed_yet`` when no checkpoint has the leaf, or one that it rested on.
        TamperError: the store is not what was signed, or published.
    """
    leaves = StoreLeaves(reader)
    held = leaves.at(index)
    if held is None:
        raise TamperError(f"leaf {index} is not there", index=index, code="missing")
    case = open_case(leaves, held)
    checkpoint = find_checkpoint(reader, max(case.used), keys, published)
    try:
        paths = inclusion_proofs(case.used, checkpoint.size, reader.leaf_hashes(checkpoint.size))
    except FormatError as exc:
        raise TamperError(f"the store has fewer leaves than {checkpoint.size}", code="truncated") from exc
    document = {
        "schema": DOSSIER_SCHEMA,
        "log_key": str(signing_key(checkpoint, keys)),
        "checkpoint": checkpoint.note,
        "size": checkpoint.size,
        "leaves": [
            {
                "index": place,
                "leaf": encode_part(_raw_leaf(reader, place)),
                "hashes": [encode_part(part) for part in paths[place]],
                "attachments": _attachments(reader, place, case.used[place]),
            }
            for place in [index, *sorted(case.used.keys() - {index})]
        ],
    }
    persons = {} if opener is None else render_openings(case, opener)
    if persons:
        document |= {"schema": OPENED_SCHEMA, "persons": persons}
    raw = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
    verify_file(raw, keys)
    return raw


def verify_file(raw: bytes, keys: Sequence[VerifierKey]) -> Dossier:
    """Read a proof file and verify against the log's key: its checkpoint, each leaf's path, each attachment's digest.

    Args:
        raw: the file, unverified.
        keys: trusted verifier keys of the log. The key that the file names is not believed.

    Raises:
        FormatError: ``proof_malformed`` or ``too_large``: not a proof file of version 2 or 3.
        TamperError: a part of it is not in the log, or nothing that the subject rested on; the message names it.
    """
    document = parse_json(raw, max_bytes=MAX_FILE_BYTES, max_depth=_MAX_DEPTH)
    if not isinstance(document, dict) or document.get("schema") not in SCHEMAS:
        raise FormatError("not a proof file of version 2 or 3", code="proof_malformed")
    _require_members(document, _MEMBERS[document["schema"]])
    checkpoint = verify_checkpoint(_text(document, "checkpoint").encode("utf-8", "replace"), keys)
    if _text(document, "log_key") not in {str(key) for key in keys}:
        raise TamperError("the proof is by another key than the one that is trusted", code="proof_invalid")
    if document["size"] != checkpoint.size or type(document["size"]) is not int:
        raise TamperError("the proof is not for the size of its checkpoint", code="proof_invalid")
    listed = document["leaves"]
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_LEAVES:
        raise FormatError(f"the proof file has no list of 1 to {MAX_LEAVES} leaves", code="proof_malformed")
    held: dict[int, Held] = {}
    attachments: dict[tuple[int, str], bytes] = {}
    for entry in listed:
        found = _read_leaf(entry, checkpoint)
        if found.index in held:
            raise FormatError(f"leaf {found.index} is in the proof file twice", code="proof_malformed")
        held[found.index] = found
        attachments.update(_read_attachments(entry["attachments"], found))
    subject = next(iter(held.values()))
    leaves = ListedLeaves(held, attachments)
    case = open_case(leaves, subject)
    _require_related(case, leaves)
    if document["schema"] == OPENED_SCHEMA:
        open_names(case, read_openings(document["persons"]))
    return Dossier(checkpoint, case.subject, leaves, case)


def _read_leaf(entry: object, checkpoint: VerifiedCheckpoint) -> Held:
    if not isinstance(entry, dict):
        raise FormatError("a leaf of the proof file is not an object", code="proof_malformed")
    _require_members(entry, _LEAF_MEMBERS)
    index, text = entry["index"], _text(entry, "leaf")
    if type(index) is not int or len(text) > 2 * MAX_LEAF_BYTES:
        raise FormatError("a leaf of the proof file has no index, or is too large", code="proof_malformed")
    raw_leaf = decode_part(text)
    verify_inclusion(
        hash_leaf(raw_leaf), index=index, size=checkpoint.size, hashes=read_hashes(entry), root=checkpoint.root
    )
    return Held(index, parse_leaf(raw_leaf).body)


def _read_attachments(value: object, held: Held) -> dict[tuple[int, str], bytes]:
    if not isinstance(value, dict) or len(value) > MAX_ATTACHMENTS:
        raise FormatError(f"leaf {held.index} of the proof file has no object of attachments", code="proof_malformed")
    digests = attachment_digests(held.body)
    found = {}
    for name in value:
        content = decode_part(_text(value, name))
        if len(content) > MAX_KEYRING_BYTES:
            raise FormatError(f"an attachment of leaf {held.index} is too large", code="too_large")
        if digests.get(name) != str(Digest.of(content)):
            message = f"the attachment {name[:40]!r} is not what leaf {held.index} has the digest of"
            raise TamperError(message, index=held.index, code="attachment_changed")
        found[held.index, name] = content
    return found


def _require_related(case: Case, leaves: ListedLeaves) -> None:
    for index in sorted(leaves.held):
        if index not in case.used:
            message = f"leaf {index} is in the log, and leaf {case.subject.index} does not rest on it"
            raise TamperError(message, index=index, code="proof_unrelated")
    for index, name in sorted(leaves.attachments):
        if name not in case.used[index]:
            message = f"leaf {case.subject.index} does not rest on the attachment {name[:40]!r} of leaf {index}"
            raise TamperError(message, index=index, code="proof_unrelated")


def _raw_leaf(reader: Reader, index: int) -> bytes:
    stored = next(reader.leaves(index, index + 1), None)
    if stored is None:
        raise TamperError(f"leaf {index} is not there", index=index, code="missing")
    return stored.raw_leaf


def _attachments(reader: Reader, index: int, names: set[str]) -> dict[str, str]:
    found = {name: reader.attachment(index, name) for name in sorted(names)}
    return {name: encode_part(content) for name, content in found.items() if content is not None}


def _require_members(document: Mapping[str, Any], names: set[str]) -> None:
    if document.keys() != names:
        raise FormatError("the proof file has other members than a proof has", code="proof_malformed")


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise FormatError(f"the proof file has no text {name[:40]!r}", code="proof_malformed")
    return value
