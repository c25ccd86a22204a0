"""What a row of a store says: a leaf, or the state."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from placet.audit.merkle import Frontier
from placet.audit.stores import StoredLeaf
from placet.audit.stores.failure import store_error, unavailable
from placet.errors import FormatError, TamperError

STATE: Final = "SELECT size, frontier FROM state WHERE id = 1"


def read_row(row: tuple[Any, Any, Any]) -> StoredLeaf:
    """A leaf from a row of its index, bytes and hash. A damaged page can give anything.

    Raises:
        StoreUnavailable: ``store_corrupt``: the values are not of those types.
    """
    index, raw_leaf, leaf_hash = row
    if (type(index), type(raw_leaf), type(leaf_hash)) != (int, bytes, bytes):
        raise unavailable("store_corrupt", "a leaf in it is none")
    return StoredLeaf(index, raw_leaf, leaf_hash)


def read_state(connection: sqlite3.Connection) -> Frontier:
    """Size and frontier of the one state row.

    Raises:
        StoreUnavailable: it can't be read.
        TamperError: it is not there, or is not a frontier.
    """
    try:
        return parse_state(connection.execute(STATE).fetchone())
    except sqlite3.Error as exc:
        raise store_error(exc) from exc


def parse_state(row: Any) -> Frontier:
    """Size and frontier as the state row has them.

    Raises:
        TamperError: it is not there, or is not a frontier.
    """
    if row is None:
        raise TamperError("the state row of the record is missing", code="state_changed")
    try:
        return Frontier.parse(row[0], row[1])
    except FormatError as exc:
        raise TamperError("the state row of the record is not a frontier", code="state_changed") from exc
