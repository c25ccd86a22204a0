"""A record of many leaves, written straight into its tables: an append waits for the disk, and these need not last."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from placet.audit.checkpoint import sign_checkpoint
from placet.audit.log import AuditLog
from placet.audit.merkle import Frontier, hash_leaf
from placet.audit.record import render_leaf
from placet.audit.stores.reader import COLUMNS, values_of
from placet.canonical import Digest
from tests.simulators.tampering import LOG_KEY, ORIGIN, Body, decision, policy_input_of, surgery

_BATCH: Final = 1000
INSERT_LEAF: Final = f"INSERT INTO leaves (idx, leaf_hash, leaf, {', '.join(COLUMNS)}) VALUES ({', '.join('?' * 19)})"  # noqa: S608


def plain(number: int) -> tuple[Body, dict[str, bytes]]:
    """A decision and what is kept beside it."""
    return decision(number), {"input": policy_input_of(number)}


def build_bulk(
    path: Path, size: int, *, made: Callable[[int], tuple[Body, dict[str, bytes]]] = plain, signed_every: int = 1000
) -> Path:
    """A record of ``size`` decisions with a checkpoint every so many; nothing in it is hurried but the disk.

    Args:
        path: of the file.
        size: number of leaves.
        made: number -> body and attachments; the digests of these are put into the body.
        signed_every: leaves between two checkpoints.
    """
    AuditLog.open(path, origin=ORIGIN, key=LOG_KEY).close()
    tree = Frontier()
    with surgery(path) as database:
        for start in range(0, size, _BATCH):
            rows = list(_rows(start, min(start + _BATCH, size), made))
            database.executemany(INSERT_LEAF, [row for row, _ in rows])
            blobs = [blob for _, kept in rows for blob in kept]
            database.executemany("INSERT INTO blobs VALUES (?, ?, ?, ?)", blobs)
            for (_, leaf_hash, *_), _ in rows:
                tree.append(leaf_hash)
                if tree.size % signed_every == 0:
                    _sign(database, tree)
        database.execute("UPDATE state SET size = ?, frontier = ?", (tree.size, tree.render()))
    return path


def _rows(
    start: int, end: int, made: Callable[[int], tuple[Body, dict[str, bytes]]]
) -> Iterator[tuple[tuple[Any, ...], list[tuple[Any, ...]]]]:
    for number in range(start, end):
        body, kept = made(number)
        digests = {name: Digest.of(content) for name, content in kept.items()}
        leaf = render_leaf(body | {f"{name}_digest": str(digest) for name, digest in digests.items()})
        row = (number, hash_leaf(leaf.raw), leaf.raw, *values_of(leaf.columns))
        yield row, [(number, name, bytes.fromhex(digests[name].hex), content) for name, content in kept.items()]


def _sign(database: sqlite3.Connection, tree: Frontier) -> None:
    note = sign_checkpoint(LOG_KEY, size=tree.size, root=tree.root()).note
    database.execute("INSERT INTO checkpoints VALUES (?, ?, ?, ?)", (tree.size, tree.root(), tree.render(), note))
