"""Keep what leaves are found by, behind the appends: blocks, each once all its leaves are there, and then segments."""

from __future__ import annotations

from placet.audit.segments import BLOCKS, SEGMENT, Segment, SegmentMaker
from placet.audit.stores import Reader, Store
from placet.audit.terms import BLOCK, make_block
from placet.errors import FormatError


def add_blocks(store: Store, most: int) -> int:
    """Add so many blocks at most that are whole and not kept yet, and of segments as many as that many blocks make.

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
    add_segments(store, -(-most // BLOCKS))
    return added


def add_segments(store: Store, most: int) -> int:
    """Add so many segments at most whose blocks are all there.

    Raises:
        StoreUnavailable: the store can't be read or written.
    """
    with store.reading() as reader:
        missing = missing_segments(reader)
    added = 0
    for number in missing[:most]:
        with store.reading() as reader:
            pruned = reader.pruned_between(number * SEGMENT, (number + 1) * SEGMENT)
            segment = make_segment(reader, number)
        if segment is None or not store.add_segment(segment, pruned=pruned):
            break
        added += 1
    return added


def missing_segments(reader: Reader) -> list[int]:
    """Numbers of the segments that could be there and are not."""
    there = set(reader.segments())
    return [number for number in range(reader.blocks() // BLOCKS) if number not in there]


def make_segment(reader: Reader, number: int) -> Segment | None:
    """A segment from the blocks that are stored; None where one of them is missing, or is none."""
    maker = SegmentMaker(number)
    done = None
    for block_number in range(number * BLOCKS, (number + 1) * BLOCKS):
        block = reader.block(block_number)
        if block is None:
            return None
        try:
            done = maker.add(block)
        except FormatError:  # records are then found by its blocks, which say so, as verifying does
            return None
    return done
