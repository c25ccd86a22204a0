"""One bit of a store is another one, on a page of every kind: a clear error or the truth, and nothing false signed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

import pytest

from placet.audit.checkpoint import verify_checkpoint
from placet.audit.log import AuditLog
from placet.audit.merkle import Frontier, hash_leaf
from placet.audit.record import render_leaf
from placet.audit.verify import verify_file
from placet.errors import AuditError
from tests.simulators.tampering import LOG_KEY, ORIGIN, append, decision

KEYS: Final = [LOG_KEY.verifier]
LEAVES: Final = 160
NEXT: Final = 500
_KINDS: Final = {0x02: "index interior", 0x05: "table interior", 0x0A: "index leaf", 0x0D: "table leaf"}
_PER_KIND: Final = 2
_PLACES: Final = (0, 3, 5, 9, 700, 2048, 4000)  # kind, cells, start of content, a pointer, content


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with pages of every kind: trees of two levels, overflow, free pages of erased attachments."""
    path = tmp_path_factory.mktemp("log") / "record.db"
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    for number in range(LEAVES):
        append(log, number, **({"message": "x" * 9000} if number % 40 == 7 else {}))
    log.checkpoint()
    log.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DELETE FROM blobs WHERE idx < 150")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


def pages_by_kind(path: Path) -> dict[str, list[int]]:
    """Kind -> offsets of pages of it."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[16:18], "big")
    found: dict[str, list[int]] = {"header": [0]}
    for offset in range(size, len(raw), size):
        found.setdefault(_KINDS.get(raw[offset], "overflow or free"), []).append(offset)
    return found


def roots_of(path: Path) -> dict[int, bytes]:
    """What may be signed: the root of the true leaves, and with the one that is appended next."""
    connection = sqlite3.connect(path)
    leaves = [raw for (raw,) in connection.execute("SELECT leaf FROM leaves ORDER BY idx")]
    connection.close()
    tree = Frontier()
    roots = {}
    for raw in [*leaves, render_leaf(decision(NEXT)).raw]:
        tree.append(hash_leaf(raw))
        roots[tree.size] = tree.root()
    return roots


def test_a_flipped_bit_on_a_page_of_any_kind_signs_nothing_false(built: Path, tmp_path: Path) -> None:
    kinds = pages_by_kind(built)
    assert kinds.keys() == {"header", "overflow or free", *_KINDS.values()}
    true, raw = roots_of(built), built.read_bytes()
    refused: dict[str, int] = {}
    damaged = tmp_path / "record.db"
    for kind, offsets in kinds.items():
        for offset in {*offsets[:_PER_KIND], offsets[-1]}:
            for place in _PLACES:
                at = offset + place
                for suffix in ("-wal", "-shm"):
                    damaged.with_name(damaged.name + suffix).unlink(missing_ok=True)
                damaged.write_bytes(raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :])
                notes = []
                try:
                    log = AuditLog.open(damaged, origin=ORIGIN, key=LOG_KEY)
                    try:
                        append(log, NEXT)
                        notes.append(log.checkpoint())
                    finally:
                        log.close()
                except AuditError as exc:
                    assert exc.code not in {"", "error"}, (kind, place)
                    refused[kind] = refused.get(kind, 0) + 1
                for note in notes:
                    signed = verify_checkpoint(note.encode(), KEYS)
                    assert true[signed.size] == signed.root, f"{kind} at {place}: a false root was signed"
                try:
                    result = verify_file(damaged, KEYS)
                except AuditError:
                    continue  # not even recognised as a record
                assert not result.verified or result.root == true[result.size], (kind, place)
    assert refused["header"] > 0
    assert refused["table interior"] > 0
