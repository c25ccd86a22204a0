"""What records are found by, written into the tables of a SQLite store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from placet.audit.segments import Segment
from placet.audit.terms import TermBlock

_INSERT_BLOCK: Final = "INSERT OR IGNORE INTO blocks (block, earliest, latest) VALUES (?, ?, ?)"
_INSERT_SEGMENT: Final = "INSERT OR IGNORE INTO segments (segment, earliest, latest, parts) VALUES (?, ?, ?, ?)"


def put_block(connection: sqlite3.Connection, block: TermBlock) -> bool:
    """Keep what the leaves of a block are found by, inside the caller's transaction; False where it is there.

    Raises:
        sqlite3.Error: it can't be written.
    """
    made = connection.execute(_INSERT_BLOCK, (block.number, block.earliest, block.latest)).rowcount
    if made:
        rows = ((block.number, *row) for row in block.rows)
        connection.executemany("INSERT INTO terms (block, term, members) VALUES (?, ?, ?)", rows)
    return bool(made)


def put_segment(connection: sqlite3.Connection, segment: Segment) -> bool:
    """Keep what the leaves of a segment are found by, inside the caller's transaction; False where it is there.

    Raises:
        sqlite3.Error: it can't be written.
    """
    row = (segment.number, segment.earliest, segment.latest, len(segment.rows))
    made = connection.execute(_INSERT_SEGMENT, row).rowcount
    if made:
        rows = ((segment.number, *row) for row in segment.rows)
        connection.executemany("INSERT INTO postings (segment, first, entries) VALUES (?, ?, ?)", rows)
    return bool(made)


def drop_segments(connection: sqlite3.Connection, numbers: Iterable[int]) -> None:
    """Take them away; what they are found by is read from their blocks until they are made again."""
    for number in numbers:
        connection.execute("DELETE FROM postings WHERE segment = ?", (number,))
        connection.execute("DELETE FROM segments WHERE segment = ?", (number,))


def put_terms(connection: sqlite3.Connection, number: int, rows: Sequence[tuple[int, bytes]]) -> None:
    """Keep terms under a number, inside the caller's transaction; those that are there stay.

    Raises:
        sqlite3.Error: they can't be written.
    """
    asked = "INSERT OR IGNORE INTO terms (block, term, members) VALUES (?, ?, ?)"
    connection.executemany(asked, ((number, *row) for row in rows))
