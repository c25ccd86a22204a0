"""What records are found by, written into the tables of a SQLite store."""

from __future__ import annotations

import sqlite3
from typing import Final

from placet.audit.terms import TermBlock

_INSERT_BLOCK: Final = "INSERT OR IGNORE INTO blocks (block, earliest, latest) VALUES (?, ?, ?)"


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
