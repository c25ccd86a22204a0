"""A log in memory that tiles are made of, and the same tiles made by the words of the specification alone.

Leaves are short, so that trees of many hundred leaves are made in no time; keys and times are fixed.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from placet.audit.checkpoint import sign_checkpoint
from placet.audit.merkle import Frontier, hash_leaf
from placet.audit.note import LogKey
from placet.audit.record import render_leaf
from placet.audit.stores import StoredLeaf
from tests.simulators.tampering import LOG_KEY


def leaf(number: int, word: str = "") -> bytes:
    """A heartbeat, another one for each number and word."""
    body = {
        "schema": "placet.dev/record/v1",
        "type": "heartbeat",
        "time": f"2026-11-22T18:{number // 60 % 60:02d}:{number % 60:02d}.000000Z",
        "interval_s": number,
    }
    return render_leaf(body | ({"word": word} if word else {})).raw


@dataclass
class MemoryLog:
    """Leaves, and a signed checkpoint at each size in ``signed``."""

    raw: list[bytes]
    signed: tuple[int, ...]
    key: LogKey = field(default=LOG_KEY)

    @classmethod
    def of(cls, size: int, signed: tuple[int, ...] = (), *, fork_at: int | None = None) -> MemoryLog:
        """A log of that size; from ``fork_at`` on it has another history."""
        words = ("" if fork_at is None or number < fork_at else "other" for number in range(size))
        return cls([leaf(number, word) for number, word in enumerate(words)], signed or (size,))

    def note(self, size: int) -> str:
        """The signed checkpoint of that size."""
        return sign_checkpoint(self.key, size=size, root=naive_root([hash_leaf(raw) for raw in self.raw[:size]])).note

    def leaves(self, start: int, end: int) -> Iterator[StoredLeaf]:
        """As a store's reader."""
        for index in range(start, min(end, len(self.raw))):
            yield StoredLeaf(index, self.raw[index], hash_leaf(self.raw[index]))

    def raw_checkpoints(self) -> Iterator[tuple[Any, Any, Any, Any]]:
        """As a store's reader."""
        tree = Frontier()
        place = 0
        for size in self.signed:
            while place < size:
                tree.append(hash_leaf(self.raw[place]))
                place += 1
            yield size, tree.root(), tree.render(), sign_checkpoint(self.key, size=size, root=tree.root()).note


def naive_root(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256(b"").digest()
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + naive_root(hashes[:split]) + naive_root(hashes[split:])).digest()


def naive_tiles(raw: list[bytes]) -> dict[str, bytes]:
    """Path -> content of every tile and entry bundle of a tree, as C2SP tlog-tiles describes them."""
    files: dict[str, bytes] = {}
    hashes = [hashlib.sha256(b"\x00" + one).digest() for one in raw]
    for start in range(0, len(raw), 256):
        entries = raw[start : start + 256]
        content = b"".join(len(one).to_bytes(2, "big") + one for one in entries)
        files[_path("entries", start // 256, len(entries))] = content
    for level in itertools.count():
        if not hashes:
            return files
        for start in range(0, len(hashes), 256):
            part = hashes[start : start + 256]
            files[_path(str(level), start // 256, len(part))] = b"".join(part)
        hashes = [naive_root(hashes[start : start + 256]) for start in range(0, len(hashes) - 255, 256)]
    raise AssertionError


def _path(level: str, index: int, width: int) -> str:
    groups: list[str] = []
    while True:
        groups.insert(0, f"{index % 1000:03d}")
        index //= 1000
        if not index:
            break
    name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return f"tile/{level}/{name}" + ("" if width == 256 else f".p/{width}")


def content_of(root: Path) -> dict[str, bytes]:
    """Path -> content of all that is published in a folder; what a writer keeps for itself is left out."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.relative_to(root).as_posix().startswith(".writing/")
    }
