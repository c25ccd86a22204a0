"""Take a SQLite store of an earlier version to the newest: all of it, or nothing.

One transaction, which no other writer shares. Before it, tables and leaves must be what placet wrote; after it, the
tables must be those of a new store to the letter, and the root of the leaves, computed from their bytes, what it was.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from placet.audit.indexing import make_segment, missing_segments
from placet.audit.merkle import Frontier, hash_leaf
from placet.audit.segments import Segment
from placet.audit.stores import past, schema
from placet.audit.stores.blocks import put_block, put_segment
from placet.audit.stores.failure import store_error
from placet.audit.stores.file import read_version, uri
from placet.audit.stores.reader import SqliteReader, TableReader
from placet.audit.stores.rows import read_state
from placet.audit.stores.steps import steps_from
from placet.audit.terms import BLOCK, TermBlock, make_block
from placet.errors import AuditError, InputError, TamperError

Progress = Callable[[int, int], None]
_PROGRESS_EVERY: Final = 256
_BUSY_S: Final = 5.0
VERIFY_FIRST: Final = "Run `placet audit verify` on it; nothing was changed."


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What an upgrade came to, or would.

    Attributes:
        before: version that the store was of.
        version: that it is of now.
        steps: what was done, a sentence without its subject each; none where nothing had to be.
        size: leaves.
        root: of them, 32 bytes, before and after.
        blocks: how many blocks of terms were made anew.
    """

    before: int
    version: int
    steps: tuple[str, ...]
    size: int = 0
    root: bytes = b""
    blocks: int = 0


def no_progress(_done: int, _total: int) -> None:
    """Tell nobody."""


def plan_file(path: Path) -> Upgraded:
    """What ``upgrade_file`` would do; raises as it does."""
    with _opened(path, "mode=ro") as connection:
        return _planned(connection, path)


def upgrade_file(path: Path, *, progress: Progress = no_progress) -> Upgraded:
    """Take the file to the newest version.

    Args:
        path: of the file; another writer is waited for, five seconds.
        progress: told leaves done and leaves there are, twice.

    Raises:
        InputError: there is no such file.
        AuditError: ``store_foreign``: no record, or of a newer version; ``tampered``: it is not what placet wrote.
        StoreUnavailable: it can't be written to, or another process writes.
    """
    with _opened(path, "mode=rw") as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        done = run_steps(connection, path, progress=progress)
        connection.execute("COMMIT")
    return done


def rebuild_file(path: Path, *, progress: Progress = no_progress) -> int:
    """Make what records are found by anew, all of it or nothing; gives the number of blocks.

    Args:
        path: of a file of the newest version.
        progress: told leaves done and leaves there are.

    Raises:
        AuditError: ``store_foreign``.
        StoreUnavailable: it can't be written to, or another process writes.
    """
    with _opened(path, "mode=rw") as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        read_version(connection, path)
        for table in ("postings", "segments", "terms", "blocks"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
        reader = SqliteReader(connection)
        count = 0
        for block in each_block(reader, progress):
            count += put_block(connection, block)
        for segment in each_segment(reader):
            put_segment(connection, segment)
        connection.execute("COMMIT")
    return count


def complete_file(path: Path, *, progress: Progress = no_progress) -> int:
    """Make what records are found by as far as it is not there, each piece in a transaction of its own.

    Args:
        path: of a file of the newest version; gates go on appending meanwhile.
        progress: told leaves done and leaves there are.

    Returns:
        Blocks that were made.

    Raises:
        AuditError: ``store_foreign``.
        StoreUnavailable: it can't be written to, or another process writes.
    """
    with _opened(path, "mode=rw") as connection:
        connection.execute("PRAGMA synchronous = FULL")
        read_version(connection, path)
        reader = SqliteReader(connection)
        count = 0
        for number in range(reader.blocks(), reader.state().size // BLOCK):
            connection.execute("BEGIN IMMEDIATE")
            for block in each_block(reader, progress, start=number, end=number + 1):
                count += put_block(connection, block)
            connection.execute("COMMIT")
        for number in missing_segments(reader):
            connection.execute("BEGIN IMMEDIATE")
            segment = make_segment(reader, number)
            if segment is not None:
                put_segment(connection, segment)
            connection.execute("COMMIT")
    return count


def each_segment(reader: TableReader) -> Iterator[Segment]:
    """The segment of every 16 blocks, made from them."""
    for number in missing_segments(reader):
        segment = make_segment(reader, number)
        if segment is not None:
            yield segment


def each_block(
    reader: TableReader, progress: Progress, *, start: int = 0, end: int | None = None
) -> Iterator[TermBlock]:
    """The block of every 1,024 leaves, made from them; of these numbers."""
    size = reader.state().size
    for number in range(start, size // BLOCK if end is None else end):
        leaves = reader.leaves(number * BLOCK, (number + 1) * BLOCK)
        block = make_block(number, (one.raw_leaf for one in leaves))
        if block is None:
            raise TamperError("a leaf is missing", index=number * BLOCK, code="missing", hint=VERIFY_FIRST)
        yield block
        progress((number + 1) * BLOCK, size)


def run_steps(connection: sqlite3.Connection, path: Path, *, progress: Progress = no_progress) -> Upgraded:
    """The same inside a write transaction of the caller's, who commits, or rolls back when this raises."""
    planned = _planned(connection, path)
    if not planned.steps:
        return planned
    size, root = _read_tree(connection, progress)
    for step in steps_from(planned.before):
        step.run(connection)
        connection.execute(f"PRAGMA user_version = {step.version}")
        if changed := schema.differences(connection, step.expected):
            raise AuditError(
                f"the step to version {step.version} made another {', '.join(changed)}", code="store_corrupt"
            )
    if _read_tree(connection, progress) != (size, root):
        raise root_changed()
    return Upgraded(planned.before, planned.version, planned.steps, size, root)


def root_changed() -> TamperError:
    """A step did what no step may; nothing of it stays."""
    return TamperError("the upgrade would change the root of the record", code="rewritten", hint=VERIFY_FIRST)


@contextlib.contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise InputError(f"{path} is not a file", hint="Name the SQLite file of a record.")
    connection = None
    try:
        connection = sqlite3.connect(uri(path, mode), uri=True, timeout=_BUSY_S, isolation_level=None)
        connection.execute("PRAGMA trusted_schema = OFF")
        yield connection
    except (sqlite3.Error, UnicodeDecodeError) as exc:
        raise store_error(exc) from exc
    finally:
        if connection is not None:
            connection.close()  # what was not committed is rolled back


def _planned(connection: sqlite3.Connection, path: Path) -> Upgraded:
    version = read_version(connection, path)
    shape = past.read_shape(connection, version)
    changed = ["its version"] if shape is None else schema.differences(connection, shape.objects)
    if changed:
        raise AuditError(
            f"{path} is not what placet made of version {version}: {', '.join(changed)}",
            code="tampered",
            hint=VERIFY_FIRST,
        )
    return Upgraded(version, schema.VERSION, tuple(step.says for step in steps_from(version)))


def _read_tree(connection: sqlite3.Connection, progress: Progress) -> tuple[int, bytes]:
    """Number and root of the leaves, by their bytes; they must be those that the state row says."""
    state = read_state(connection)
    tree = Frontier()
    for index, raw, stored in connection.execute("SELECT idx, leaf, leaf_hash FROM leaves ORDER BY idx"):
        leaf_hash = hash_leaf(raw)
        if index != tree.size or leaf_hash != stored:
            raise TamperError(f"leaf {tree.size} was changed", index=tree.size, code="leaf_changed", hint=VERIFY_FIRST)
        tree.append(leaf_hash)
        if tree.size % _PROGRESS_EVERY == 0:
            progress(tree.size, state.size)
    if (tree.size, tree.root()) != (state.size, state.root()):
        raise TamperError("the state row is not that of the leaves", code="state_changed", hint=VERIFY_FIRST)
    return tree.size, tree.root()
