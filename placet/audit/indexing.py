"""Keep what leaves are found by, behind the appends: block by block, each of them once all of its leaves are there."""

from __future__ import annotations

from placet.audit.stores import Store
from placet.audit.terms import BLOCK, make_block


def add_blocks(store: Store, most: int) -> int:
    """Add so many blocks at most that are whole and not kept yet.

    Appends go on meanwhile. Where another process does the same, one of the two does nothing.

    Returns:
        Blocks that were added.

    Raises:
        StoreUnavailable: the store can't be read or written.
    """
    with store.reading() as reader:
        number, size = reader.blocks(), reader.state().size
    added = 0
    while added < most and (number + 1) * BLOCK <= size:
        with store.reading() as reader:
            leaves = reader.leaves(number * BLOCK, (number + 1) * BLOCK)
            block = make_block(number, (one.raw_leaf for one in leaves))
        if block is None or not store.add_block(block):
            break
        added, number = added + 1, number + 1
    return added
