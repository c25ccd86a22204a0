"""A second verifier of placet's record, in about fifty lines, after docs/formats-audit.md and nothing of placet's code.

python tests/second_verifier.py record.db VKEY [saved.note ...]
"""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def root_of(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256(b"").digest()
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + root_of(hashes[:split]) + root_of(hashes[split:])).digest()


def open_note(note: str, vkey: str) -> tuple[int, bytes]:
    """Size and root of a checkpoint that the key has signed in its own name; ValueError otherwise."""
    name, key_id, key = vkey.split("+", 2)
    text, _, lines = note.rpartition("\n\n")
    origin, size, root = (text + "\n").splitlines()[:3]
    for line in lines.splitlines():
        _, signer, encoded = line.split(" ")
        raw = base64.b64decode(encoded, validate=True)
        if (signer, raw[:4].hex()) == (name, key_id) and origin == name:
            public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key)[1:])
            public.verify(raw[4:], (text + "\n").encode())
            return int(size), base64.b64decode(root)
    raise ValueError("the key has not signed the note")


def verify(path: str, vkey: str, saved: list[str]) -> list[str]:
    """Sentences about what is wrong; none means that the leaves are those that were signed."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    rows = database.execute("SELECT idx, leaf, leaf_hash FROM leaves ORDER BY idx").fetchall()
    notes = [*(note for (note,) in database.execute("SELECT note FROM checkpoints")), *saved]
    states = database.execute("SELECT size, frontier FROM state").fetchall()
    database.close()
    problems = [f"index {index} where {place} should be" for place, (index, _, _) in enumerate(rows) if index != place]
    prunes = [json.loads(leaf.partition(b"\n")[2]) for _, leaf, _ in rows if leaf.startswith(b"prune\n")]
    gone = {index for prune in prunes for start, end in prune["leaves"] for index in range(start, end)}
    pruned = [not leaf and index in gone for index, leaf, _ in rows]
    hashes = [
        stored if taken else hashlib.sha256(b"\x00" + leaf).digest()
        for (_, leaf, stored), taken in zip(rows, pruned, strict=True)
    ]
    for (index, leaf, stored), computed, taken in zip(rows, hashes, pruned, strict=True):
        if taken:
            continue
        kind, _, document = leaf.partition(b"\n")
        try:
            body = json.loads(document)
        except ValueError:
            body = {}
        again = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        if stored != computed or again != document or body.get("type") != kind.decode(errors="replace"):
            problems.append(f"leaf {index} is not what was hashed, or not canonical")
    for note in notes:
        try:
            size, root = open_note(note, vkey)
        except (ValueError, InvalidSignature) as exc:
            problems.append(f"a checkpoint is not the log's: {exc!r}")
            continue
        if size > len(rows) or root_of(hashes[:size]) != root:
            problems.append(f"the leaves are not those that the checkpoint of {size} signs for")
    parts, start = [], 0
    for bit in reversed(range(len(rows).bit_length())):
        if len(rows) >> bit & 1:
            parts.append(root_of(hashes[start : start + (1 << bit)]))
            start += 1 << bit
    return problems + ([] if states == [(len(rows), b"".join(parts))] else ["the state row is not that of the leaves"])


if __name__ == "__main__":
    found = verify(sys.argv[1], sys.argv[2], [Path(name).read_text(encoding="utf-8") for name in sys.argv[3:]])
    print(*found or ["verified"], sep="\n")  # noqa: T201 - a program
    sys.exit(bool(found))
