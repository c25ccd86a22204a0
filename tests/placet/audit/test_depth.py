"""Verifying the leaves alone finds each change of them, and says what it has not looked at."""

from __future__ import annotations

import gc
import json
from datetime import timedelta
from pathlib import Path
from typing import Final
from unittest import mock

import click
import pytest
from click.testing import CliRunner

from placet.audit import verify
from placet.audit.depth import Depth, fewer_collections
from placet.audit.findings import Verification
from placet.audit.holds import render_hold
from placet.audit.location import StoreLocation, open_reader
from placet.audit.log import AuditLog
from placet.audit.tile_writer import write_tiles
from placet.audit.tiles_verify import verify_tiles
from placet.audit.verify import verify_file
from placet.cli import root
from tests.simulators.bothways import verify_shared
from tests.simulators.bulk import build_bulk
from tests.simulators.tampering import (
    ATTACKS,
    LOG_KEY,
    ORIGIN,
    SIZE,
    START,
    Attack,
    allow,
    build_log,
    copy_of,
    saved_notes,
    surgery,
)

KEYS: Final = [LOG_KEY.verifier]
BLOCKS: Final = 2
_BESIDE: Final = (
    ("a column", "UPDATE leaves SET requester = 'somebody' WHERE idx = 700"),
    ("an attachment", "UPDATE blobs SET content = zeroblob(9) WHERE idx = 700"),
    ("an attachment that was added", "INSERT INTO blobs VALUES (700, 'other', zeroblob(32), x'00')"),
)
_FOUND_BY: Final = (
    ("a term", "UPDATE terms SET members = zeroblob(128) WHERE block = 1 AND term = (SELECT max(term) FROM terms)"),
    ("a block", "UPDATE blocks SET latest = 'z' WHERE block = 1"),
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_log(tmp_path_factory.mktemp("log") / "record.db")


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = build_bulk(tmp_path_factory.mktemp("indexed") / "record.db", BLOCKS * 1024)
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    assert log.index_blocks(99) == BLOCKS
    log.close()
    return path


@pytest.mark.parametrize("depth", [Depth.LEAVES, Depth.RECORDS])
@pytest.mark.parametrize(
    "attack", [one for one in ATTACKS if one.in_log], ids=lambda attack: attack.name.replace(" ", "_")
)
def test_every_change_of_the_log_is_found_and_named_alike(
    attack: Attack, depth: Depth, built: Path, tmp_path: Path
) -> None:
    store = copy_of(built, tmp_path)
    with surgery(store) as database:
        attack.work(database)
    saved = saved_notes(built) if attack.needs_saved else []
    for stretch in (1, 4, 512):
        with mock.patch.object(verify, "STRETCH", stretch):
            result = verify_file(store, KEYS, saved=saved, depth=depth)
        assert not result.verified
        assert attack.kind in result.kinds
        assert result.first_bad_index == attack.index


def test_every_changed_byte_of_a_leaf_is_found(built: Path, tmp_path: Path) -> None:
    with open_reader(built) as reader:
        lengths = [len(one.raw_leaf) for one in reader.leaves(0, SIZE)]
    store = copy_of(built, tmp_path)
    for index in range(0, SIZE, 5):
        for place in range(0, lengths[index], 97):
            with surgery(store) as database:
                (raw,) = database.execute("SELECT leaf FROM leaves WHERE idx = ?", (index,)).fetchone()
                other = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
                database.execute("UPDATE leaves SET leaf = ? WHERE idx = ?", (other, index))
            assert verify_file(store, KEYS, depth=Depth.LEAVES).first_bad_index == index
            with surgery(store) as database:
                database.execute("UPDATE leaves SET leaf = ? WHERE idx = ?", (raw, index))
    assert verify_file(store, KEYS, depth=Depth.LEAVES).verified


def test_what_was_not_looked_at_is_said(indexed: Path) -> None:
    results = {depth: verify_file(indexed, KEYS, depth=depth) for depth in Depth}
    whole = results[Depth.ALL]
    for depth, result in results.items():
        assert result.verified
        assert result.render()["depth"] == depth.value
        assert (result.size, result.root, result.by_type) == (whole.size, whole.root, whole.by_type)
        assert (result.checkpoints, result.signed_size) == (whole.checkpoints, whole.signed_size)
        assert [note for note in result.notes if note not in whole.notes] == [depth.note][: depth is not Depth.ALL]
    assert (whole.allowed or 0) + (whole.denied or 0) == BLOCKS * 1024
    assert (results[Depth.RECORDS].allowed, results[Depth.RECORDS].denied) == (whole.allowed, whole.denied)
    assert (results[Depth.LEAVES].allowed, results[Depth.LEAVES].denied) == (None, None)
    assert not any(line.startswith("decisions") for line in results[Depth.LEAVES].lines())


@pytest.mark.parametrize(("name", "statement"), [*_BESIDE, *_FOUND_BY], ids=lambda value: str(value)[:30])
def test_each_depth_finds_what_it_looks_at(name: str, statement: str, indexed: Path, tmp_path: Path) -> None:
    store = copy_of(indexed, tmp_path)
    with surgery(store) as database:
        database.execute(statement)
    found = {depth: not verify_file(store, KEYS, depth=depth).verified for depth in Depth}
    assert found[Depth.ALL], name
    assert found[Depth.RECORDS] == ((name, statement) in _BESIDE)
    assert not found[Depth.LEAVES]


@pytest.mark.parametrize("depth", Depth)
def test_several_processes_give_the_same_answer(depth: Depth, indexed: Path, tmp_path: Path) -> None:
    def both(store: Path) -> Verification:
        alone = verify_file(store, KEYS, depth=depth)
        assert verify_shared(store, KEYS, share=100, depth=depth) == alone
        return alone

    assert both(indexed).verified
    store = copy_of(indexed, tmp_path)
    with surgery(store) as database:
        database.execute("UPDATE leaves SET leaf = CAST(leaf || x'20' AS BLOB) WHERE idx = 1500")
    in_block = 1024  # a leaf that can't be read says nothing that it could be found by
    assert both(store).first_bad_index == (in_block if depth is Depth.ALL else 1500)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--resume", "state.json"), "--resume would take"),
        (("--apiserver-log", "audit.log"), "--apiserver-log needs what the leaves say"),
        (("--proof", "proof.json"), "--depth is for a store or --tiles, not for --proof"),
    ],
)
def test_what_it_does_not_go_with_is_refused(built: Path, options: tuple[str, ...], words: str) -> None:
    arguments = ["audit", "verify", "--store", str(built), "--log-key", str(LOG_KEY.verifier)]
    done = CliRunner().invoke(root, [*arguments, "--depth", "leaves", *options])
    assert done.exit_code == click.UsageError.exit_code
    assert words in done.output


def test_the_command_says_how_deep_it_went(built: Path) -> None:
    arguments = ["audit", "verify", "--store", str(built), "--log-key", str(LOG_KEY.verifier)]
    done = CliRunner().invoke(root, [*arguments, "--depth", "leaves"])
    assert done.exit_code == 0, done.output
    assert Depth.LEAVES.note in done.output


def test_collections_are_as_often_as_before_afterwards() -> None:
    before = gc.get_threshold()
    with fewer_collections():
        assert gc.get_threshold()[0] >= before[0]
        with fewer_collections():
            assert gc.get_threshold()[0] >= before[0]
    assert gc.get_threshold() == before


@pytest.mark.parametrize("depth", Depth)
def test_either_store_is_verified_at_each_depth(depth: Depth, location: StoreLocation) -> None:
    build_log(location)
    assert verify_file(location, KEYS, depth=depth).verified
    with surgery(location) as database:
        allow(database, 8)
    result = verify_file(location, KEYS, depth=depth)
    assert "leaf_changed" in result.kinds
    assert result.first_bad_index == 8


def test_leaves_that_are_passed_over_are_no_silence(tmp_path: Path) -> None:
    """Two leaves that tell of others are read, and the hours between them are not."""
    log = AuditLog.open(tmp_path / "record.db", origin=ORIGIN, key=LOG_KEY)
    for number in range(40):
        now = START + timedelta(minutes=10 * number)
        if number in {3, 35}:
            covered = ((0, number),)
            log.append(
                render_hold(f"c-{number}", covered=covered, scope="all", by="lee", reason="suit", ticket="1", now=now)
            )
        log.heartbeat(now)
    log.checkpoint()
    log.close()
    with open_reader(tmp_path / "record.db") as reader:
        (tmp_path / "tiles").mkdir()
        write_tiles(tmp_path / "tiles", reader, KEYS)
    told = []
    for depth in Depth:
        with mock.patch.object(verify, "STRETCH", 4):
            told.append(verify_file(tmp_path / "record.db", KEYS, depth=depth))
        told.append(verify_tiles(tmp_path / "tiles", KEYS, depth=depth))
    assert all(result.verified and result.by_type == {"heartbeat": 40, "hold": 2} for result in told)
    assert not [note for result in told for note in result.notes if "silence" in note]


def test_published_leaves_are_verified_alone_from_the_command_line(built: Path, tmp_path: Path) -> None:
    tiles = tmp_path / "tiles"
    with open_reader(built) as reader:
        write_tiles(tiles, reader, KEYS)
    arguments = ["audit", "verify", "--tiles", str(tiles), "--log-key", str(LOG_KEY.verifier), "--depth"]
    answers = {depth: CliRunner().invoke(root, [*arguments, depth.value, "-o", "json"]) for depth in Depth}
    told = {depth: json.loads(done.stdout) for depth, done in answers.items()}
    assert {depth: one["depth"] for depth, one in told.items()} == {
        Depth.LEAVES: "leaves",
        Depth.RECORDS: "all",  # of tiles there is nothing else
        Depth.ALL: "all",
    }
    assert told[Depth.LEAVES]["root"] == told[Depth.ALL]["root"]
    whole = verify_tiles(tiles, KEYS)
    assert whole.allowed
    assert (told[Depth.LEAVES]["allowed"], told[Depth.ALL]["allowed"]) == (None, whole.allowed)
    bundle = tiles / "tile/entries/000.p" / str(whole.size)
    bundle.write_bytes(bundle.read_bytes().replace(b"llama", b"lemma", 1))
    done = CliRunner().invoke(root, [*arguments, "leaves"])
    assert done.exit_code == 1
    assert "leaf_changed" in done.output
