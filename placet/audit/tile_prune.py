"""Prune a folder of tiles: entry bundles go, hashes stay.

Only what leaves of type ``prune`` name that the folder itself has, under its own checkpoint, and only bundles before
the index up to which everything has had its time: a prefix, as tlog-tiles wants it. The leaves of such a bundle that
stay are put beside it, into ``kept``, before it is removed. So it may be stopped at any moment, and run again.

All tiles of hashes stay, also those that tlog-tiles lets a log leave out: every proof can be made as before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from placet.audit import spans
from placet.audit.durable import open_folder
from placet.audit.holds import held_by
from placet.audit.note import VerifierKey
from placet.audit.pruning import Ledger
from placet.audit.record import HOLD, PRUNE
from placet.audit.spans import Span
from placet.audit.tile_folder import KEPT, TileFolder, read_tile
from placet.audit.tile_listing import Listing
from placet.audit.tiles import ENTRIES, WIDTH, Tile
from placet.audit.tiles_verify import verify_tiles
from placet.errors import TamperError

Progress = Callable[[int, int], None]
_WORDS: Final = tuple(f"{kind}\n".encode() for kind in (HOLD, PRUNE))


@dataclass(frozen=True, slots=True)
class PrunedTiles:
    """What goes from a folder, or went.

    Attributes:
        minimum: entries before this index need not be served any more: the *minimum index* of tlog-tiles.
        bundles: indexes of entry bundles.
        leaves: how many leaves went with them.
        kept: how many of their leaves stay, in ``kept``.
    """

    minimum: int
    bundles: tuple[int, ...]
    leaves: int
    kept: int


def prune_tiles(
    root: Path,
    keys: Sequence[VerifierKey],
    *,
    held: Sequence[Span] = (),
    dry_run: bool = True,
    progress: Progress = lambda _done, _total: None,
) -> PrunedTiles:
    """Remove the bundles whose time has come.

    Args:
        root: of the folder.
        keys: verifier keys of the log.
        held: leaves that a hold covers which the folder does not know of yet.
        dry_run: whether to say only what would go.
        progress: told leaves done and leaves there are.

    Raises:
        TamperError: ``not_verified``: the folder is not what was signed.
        StoreUnavailable: it can't be written, or somebody else writes it.
    """
    verification = verify_tiles(root, keys, progress=progress)
    if not verification.verified:
        raise TamperError(
            f"the folder is not what was signed ({', '.join(verification.kinds)}): nothing is removed from it",
            index=verification.first_bad_index,
            code="not_verified",
            hint="Keep it as evidence; `placet audit verify --tiles` says what is wrong.",
        )
    folder = TileFolder(root)
    ledger = _ledger(folder)
    gone = spans.subtract(
        spans.merge(span for one in ledger.prunes for span in one.removal.leaves),
        spans.merge((*held, *held_by(ledger.holds))),
    )
    last = ledger.before // WIDTH
    bundles = tuple(
        index for index in range(last) if _overlaps(gone, index) and read_tile(root, Tile(ENTRIES, index)) is not None
    )
    stays = {
        index: [place for place in range(index * WIDTH, (index + 1) * WIDTH) if not spans.covers(gone, place)]
        for index in bundles
    }
    outlived = [index for index in Listing.of_folder(root).kept if spans.covers(gone, index)]
    if not dry_run and (bundles or outlived):
        _remove(root, folder, stays, outlived)
    kept = sum(map(len, stays.values()))
    return PrunedTiles(last * WIDTH, bundles, len(bundles) * WIDTH - kept + len(outlived), kept)


def _ledger(folder: TileFolder) -> Ledger:
    found = ((stored.index, stored.raw_leaf) for stored in folder.leaves(0, folder.size))
    return Ledger((index, raw) for index, raw in found if raw.startswith(_WORDS))


def _overlaps(gone: Sequence[Span], index: int) -> bool:
    return bool(spans.count(gone) - spans.count(spans.subtract(gone, [(index * WIDTH, (index + 1) * WIDTH)])))


def _remove(root: Path, tiles: TileFolder, stays: Mapping[int, Sequence[int]], outlived: Sequence[int]) -> None:
    with open_folder(root) as folder:
        (root / KEPT).mkdir(exist_ok=True)
        for index, places in stays.items():
            leaves = tiles.entries(index)
            for place in places:
                folder.write(f"{KEPT}/{place}", leaves[place - index * WIDTH])
            folder.sync()
            folder.remove(f"{Tile(ENTRIES, index).path}.p")
            folder.remove(Tile(ENTRIES, index).path)
        for place in outlived:
            folder.remove(f"{KEPT}/{place}")
