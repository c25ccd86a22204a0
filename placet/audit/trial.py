"""Leaves that are written to find out whether there is room for leaves, and taken back."""

from __future__ import annotations

import os
from typing import Final

from placet.audit.merkle import hash_leaf
from placet.audit.record import Columns, Leaf
from placet.audit.stores import Entry

_ENTRIES: Final = 8  # more than one: the next decisions should find room as well
_LEAF_BYTES: Final = 1500  # stands in the row itself, and no store makes it smaller
_ATTACHMENT_BYTES: Final = 8192
_TYPE: Final = "trial"


def trial_entries(index: int) -> list[Entry]:
    """A few leaves that take as much room as decisions do, and are none.

    Args:
        index: of the first one.
    """
    return [_make_entry(index + number) for number in range(_ENTRIES)]


def _make_entry(index: int) -> Entry:
    raw = b"%s\n%s" % (_TYPE.encode(), os.urandom(_LEAF_BYTES))
    said = os.urandom(16).hex()
    columns = Columns(_TYPE, "", uid=f"{_TYPE}-{said}", decision_id=f"{_TYPE}-{said}")
    return Entry(index, Leaf(raw, {}, columns), hash_leaf(raw), {_TYPE: os.urandom(_ATTACHMENT_BYTES)})
