"""Bundles go from a folder of tiles, hashes stay, and what is gone is explained."""

from __future__ import annotations

import copy
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from placet.audit.depth import Depth
from placet.audit.location import open_reader
from placet.audit.log import AuditLog
from placet.audit.merkle import EMPTY_ROOT, Frontier
from placet.audit.proof import prove_consistency, prove_inclusion, verify_proof
from placet.audit.prune import look, prune
from placet.audit.query import Query, find
from placet.audit.record import parse_leaf
from placet.audit.retention import Retention
from placet.audit.tile_folder import TileFolder
from placet.audit.tile_prune import PrunedTiles, prune_tiles
from placet.audit.tile_search import TileSearch
from placet.audit.tile_writer import write_tiles
from placet.audit.tiles_verify import verify_tiles
from placet.audit.verify import verify_file
from placet.audit.witness import Witness
from placet.errors import TamperError
from tests.simulators.aged import NOW, OLD, YOUNG, append_aged, other
from tests.simulators.apiserverlog import WEBHOOK, event_of, write_log
from tests.simulators.tampering import LOG_KEY, ORIGIN

KEYS = [LOG_KEY.verifier]
TERMS = Retention()
REVOCATION, YOUNG_FROM, LEAVES = 100, 600, 780
SIZE = LEAVES + 2  # and a heartbeat of now, and the prune
MINIMUM = 512
Made = tuple[Path, Path]


def make(folder: Path) -> Made:
    """A record of which the first 600 leaves have had their time, but for a revocation, pruned; and its tiles."""
    store, tiles = folder / "record.db", folder / "tiles"
    log = AuditLog.open(store, origin=ORIGIN, key=LOG_KEY)
    for number in range(LEAVES):
        moment = (OLD if number < YOUNG_FROM else YOUNG) + timedelta(seconds=number)
        if number == REVOCATION:
            log.append(other("revocation", moment, approval_id="a-1", role="technical", environment="production"))
        elif number % 50 == 0:
            append_aged(log, number, moment, allowed=False, approved=False)
        else:
            log.heartbeat(moment)
        if number in {99, 399}:
            log.checkpoint()
    log.heartbeat(NOW)
    log.checkpoint()
    publish(store, tiles)

    def sign(_seconds: float) -> None:
        log.checkpoint()

    prune(store, KEYS, look(store, KEYS, TERMS, now=NOW), TERMS, by="sam", reason="", now=NOW, pause=sign)
    log.close()
    publish(store, tiles)
    return store, tiles


def publish(store: Path, tiles: Path) -> None:
    with open_reader(store) as reader:
        write_tiles(tiles, reader, KEYS)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("pruned"))


@pytest.fixture
def made(built: Made, tmp_path: Path) -> Made:
    shutil.copytree(built[0].parent, tmp_path / "copy")
    return tmp_path / "copy" / "record.db", tmp_path / "copy" / "tiles"


def bundles(tiles: Path) -> set[str]:
    return {path.relative_to(tiles).as_posix() for path in (tiles / "tile/entries").rglob("*") if path.is_file()}


def test_looking_says_which_bundles_would_go_and_removes_none(made: Made) -> None:
    before = bundles(made[1])
    assert prune_tiles(made[1], KEYS) == PrunedTiles(MINIMUM, (0, 1), MINIMUM - 1, 1)
    assert bundles(made[1]) == before
    assert not (made[1] / "kept").exists()


def test_a_pruned_folder_verifies_and_keeps_every_hash_and_what_has_no_end(made: Made) -> None:
    tiles = made[1]
    before, hashes = (
        bundles(tiles),
        {path: path.read_bytes() for path in (tiles / "tile/0").rglob("*") if path.is_file()},
    )
    prune_tiles(tiles, KEYS, dry_run=False)
    assert bundles(tiles) == before - {"tile/entries/000", "tile/entries/001"}
    assert {path: path.read_bytes() for path in hashes} == hashes
    assert [path.name for path in (tiles / "kept").iterdir()] == [str(REVOCATION)]
    result = verify_tiles(tiles, KEYS)
    assert result.findings == ()
    assert result.signed_size == result.size == SIZE
    assert result.by_type["revocation"] == 1
    (note,) = [note for note in result.notes if "explains" in note]
    assert "explains that 511 leaves" in note
    quick = verify_tiles(tiles, KEYS, depth=Depth.LEAVES)
    assert (quick.findings, quick.by_type, quick.notes) == ((), result.by_type, (Depth.LEAVES.note, note))


def test_what_is_left_of_a_pruned_folder_is_found(made: Made) -> None:
    def found(leaf_type: str) -> list[int]:
        return [one.index for one in find(TileSearch(TileFolder(made[1])), Query(type=leaf_type), limit=1000).found]

    everything = found("")
    assert found("revocation") == [REVOCATION]
    prune_tiles(made[1], KEYS, dry_run=False)
    assert found("revocation") == [REVOCATION]
    assert found("") == [index for index in everything if index >= MINIMUM or index == REVOCATION]


def test_an_audit_log_that_names_pruned_leaves_is_no_finding(made: Made, tmp_path: Path) -> None:
    leaves = list(TileFolder(made[1]).leaves(0, SIZE))
    events = [
        event_of(parse_leaf(one.raw_leaf).body, index=one.index, leaf_hash=one.leaf_hash)
        for one in leaves
        if one.raw_leaf.startswith(b"decision\n")
    ]
    assert [event for event in events if int(event["annotations"][f"{WEBHOOK}/log-index"]) < MINIMUM]
    prune_tiles(made[1], KEYS, dry_run=False)
    with Witness(KEYS, kinds={}) as witness:
        witness.load([write_log(tmp_path / "audit.log", events)])
        found = verify_tiles(made[1], KEYS, witness=witness)
    assert found.findings == ()
    assert found.crosscheck is not None
    assert found.crosscheck.counts == {}
    assert found.crosscheck.notes == ("10 requests name leaves that were pruned, and whose hashes are theirs",)
    forged = copy.deepcopy(events)
    forged[0]["annotations"][f"{WEBHOOK}/leaf-hash"] = f"sha256:{'0' * 64}"
    with Witness(KEYS, kinds={}) as witness:
        witness.load([write_log(tmp_path / "audit.log", forged)])
        found = verify_tiles(made[1], KEYS, witness=witness)
    assert found.crosscheck is not None
    assert found.crosscheck.counts == {"leaf_differs": 1}
    with Witness(KEYS, kinds={}) as witness:
        witness.load([write_log(tmp_path / "audit.log", events)])
        stored = verify_file(made[0], KEYS, witness=witness)
    assert stored.findings == ()
    assert stored.crosscheck is not None
    assert stored.crosscheck.counts == {}


def test_a_second_run_finds_nothing_to_do(made: Made) -> None:
    prune_tiles(made[1], KEYS, dry_run=False)
    assert prune_tiles(made[1], KEYS, dry_run=False) == PrunedTiles(MINIMUM, (), 0, 0)


def test_a_run_that_was_stopped_in_the_middle_verifies_and_is_finished(made: Made) -> None:
    tiles = made[1]
    first = TileFolder(tiles).entries(0)
    prune_tiles(tiles, KEYS, dry_run=False)
    shutil.copy(tiles / "kept" / str(REVOCATION), tiles / "kept" / "x")
    (tiles / "kept" / "x").unlink()
    raw = b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in first)
    (tiles / "tile/entries/000").write_bytes(raw)  # what stays was put beside it, and the bundle not removed yet
    assert verify_tiles(tiles, KEYS).verified
    assert prune_tiles(tiles, KEYS, dry_run=False).bundles == (0,)
    assert verify_tiles(tiles, KEYS).verified


def test_everything_that_stays_is_proved_from_the_folder_against_old_and_new_checkpoints(made: Made) -> None:
    tiles = made[1]
    prune_tiles(tiles, KEYS, dry_run=False)
    folder = TileFolder(tiles)
    leaves = [stored for stored in folder.leaves(0, folder.size) if stored.raw_leaf]
    assert [stored.index for stored in leaves] == [REVOCATION, *range(MINIMUM, SIZE)]
    for stored in (leaves[0], leaves[1], leaves[-1]):
        verify_proof(prove_inclusion(folder, stored, KEYS), KEYS)
    for size in (100, 400, LEAVES + 1):
        verify_proof(prove_consistency(folder, (tiles / "checkpoints" / str(size)).read_bytes(), KEYS), KEYS)
    assert folder.checkpoint.root != EMPTY_ROOT


def test_publishing_goes_on_after_a_prune(made: Made) -> None:
    store, tiles = made
    prune_tiles(tiles, KEYS, dry_run=False)
    log = AuditLog.open(store, origin=ORIGIN, key=LOG_KEY)
    for _ in range(100):
        log.heartbeat(NOW)
    log.checkpoint()
    log.close()
    publish(store, tiles)
    result = verify_tiles(tiles, KEYS)
    assert (result.findings, result.size) == ((), SIZE + 100)


def test_a_new_folder_of_a_pruned_record_verifies(made: Made, tmp_path: Path) -> None:
    publish(made[0], tmp_path / "new")
    result = verify_tiles(tmp_path / "new", KEYS)
    assert result.findings == ()
    assert result.root == verify_tiles(made[1], KEYS).root
    assert (tmp_path / "new" / "kept" / str(REVOCATION)).is_file()


def test_a_bundle_that_is_gone_without_a_word_is_named(made: Made) -> None:
    (made[1] / "tile/entries/002").unlink()
    result = verify_tiles(made[1], KEYS)
    assert "missing" in result.kinds
    assert result.first_bad_index == MINIMUM


def test_a_leaf_that_has_to_stay_and_is_gone_is_named(made: Made) -> None:
    prune_tiles(made[1], KEYS, dry_run=False)
    (made[1] / "kept" / str(REVOCATION)).unlink()
    result = verify_tiles(made[1], KEYS)
    assert result.kinds == ("missing",)
    assert result.first_bad_index == 0


def test_a_leaf_that_stays_and_was_changed_is_named(made: Made) -> None:
    prune_tiles(made[1], KEYS, dry_run=False)
    path = made[1] / "kept" / str(REVOCATION)
    path.write_bytes(path.read_bytes().replace(b"a-1", b"a-2"))
    result = verify_tiles(made[1], KEYS)
    assert (result.kinds, result.first_bad_index) == (("leaf_changed",), REVOCATION)


def test_a_hash_of_a_pruned_leaf_that_was_changed_is_named(made: Made) -> None:
    prune_tiles(made[1], KEYS, dry_run=False)
    path = made[1] / "tile/0/000"
    raw = bytearray(path.read_bytes())
    raw[64] ^= 1
    path.write_bytes(raw)
    assert not verify_tiles(made[1], KEYS).verified


def test_a_file_among_those_that_stay_that_is_of_no_leaf_is_named(made: Made) -> None:
    prune_tiles(made[1], KEYS, dry_run=False)
    (made[1] / "kept" / "9999").write_bytes(b"x")
    assert verify_tiles(made[1], KEYS).kinds == ("file_added",)


def test_nothing_goes_that_a_hold_covers_which_the_folder_does_not_know(made: Made) -> None:
    assert prune_tiles(made[1], KEYS, held=((0, 10_000),), dry_run=False) == PrunedTiles(MINIMUM, (), 0, 0)
    part = prune_tiles(made[1], KEYS, held=((3, 6),), dry_run=False)
    assert (part.bundles, part.kept) == ((0, 1), 4)
    assert verify_tiles(made[1], KEYS).verified
    after = prune_tiles(made[1], KEYS, dry_run=False)  # the hold is gone
    assert after.leaves == 3
    assert [path.name for path in (made[1] / "kept").iterdir()] == [str(REVOCATION)]
    assert verify_tiles(made[1], KEYS).verified


def test_nothing_is_removed_from_a_folder_that_is_not_what_was_signed(made: Made) -> None:
    path = made[1] / "tile/entries/000"
    path.write_bytes(path.read_bytes().replace(b"decision-50", b"decision-51"))
    before = bundles(made[1])
    with pytest.raises(TamperError, match="nothing is removed"):
        prune_tiles(made[1], KEYS, dry_run=False)
    assert bundles(made[1]) == before


def test_a_folder_whose_record_was_never_pruned_loses_nothing(tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path / "record.db", origin=ORIGIN, key=LOG_KEY)
    for number in range(300):
        log.heartbeat(OLD + timedelta(seconds=number))
    log.checkpoint()
    log.close()
    publish(tmp_path / "record.db", tmp_path / "tiles")
    assert prune_tiles(tmp_path / "tiles", KEYS, dry_run=False) == PrunedTiles(0, (), 0, 0)
    assert Frontier().root() == EMPTY_ROOT
