"""Every store and every format of the record: each single change is found and named, and nothing honest is accused.

A table of changes for each; ``make attack`` prints how many there were. What no such file can show is in
docs/formats-audit.md: a history that was written anew together with every checkpoint that anybody kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from placet.audit.checkpoint import verify_checkpoint
from placet.audit.cosignature import require_witnesses
from placet.audit.findings import KINDS
from placet.audit.location import DatabaseUrl, StoreLocation
from placet.audit.saved import SavedCheckpoints
from placet.audit.stores.file import open_readonly
from placet.audit.tile_writer import write_tiles
from placet.audit.tiles_verify import verify_tiles
from placet.audit.verify import verify_file as verify_store_file
from placet.errors import FormatError, PlacetError
from placet.spool.denial import Denial, parse_denial, render_denial
from placet.spool.lane import DAMAGED
from placet.spool.spool import Spool
from placet.spool.tally import SLOT_BYTES, TallyFile
from tests.golden.audit.build import WITNESS
from tests.golden.spool.build import FOLDER as SPOOLED
from tests.simulators.alterations import (
    EVERY_ATTACK,
    MORE_ATTACKS,
    NOTE_CODES,
    TRIED,
    Altered,
    alter_bytes,
    alter_lines,
    refused,
)
from tests.simulators.postgres import PostgresServer, running_server
from tests.simulators.tampering import (
    LOG_KEY,
    SIGNED,
    SIZE,
    START,
    Attack,
    build_log,
    copy_of,
    decision,
    fork,
    policy_input_of,
    saved_notes,
    surgery,
)
from tests.simulators.tileslog import MemoryLog, content_of

KEYS: Final = [LOG_KEY.verifier]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_log(tmp_path_factory.mktemp("log") / "record.db")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another history by the same key: the same first leaves and sizes."""
    return fork(tmp_path_factory.mktemp("fork") / "record.db", at=4, size=SIZE, signed=SIGNED)


# --- stores ----------------------------------------------------------------------------------------------------------


def _attack(store: StoreLocation, attack: Attack, saved: list[tuple[str, bytes]]) -> None:
    with surgery(store) as database:
        attack.work(database)
    result = verify_store_file(store, KEYS, saved=saved if attack.needs_saved else [])
    assert not result.verified
    assert attack.kind in result.kinds
    assert set(result.kinds) <= KINDS.keys()
    assert result.first_bad_index == attack.index


@pytest.mark.parametrize("attack", EVERY_ATTACK, ids=lambda attack: attack.name.replace(" ", "_"))
def test_a_change_of_a_sqlite_file_is_found_and_named(attack: Attack, built: Path, tmp_path: Path) -> None:
    _attack(copy_of(built, tmp_path), attack, saved_notes(built))
    TRIED["SQLite"] += 1


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with running_server() as server:
        build_log(server.make_record("built"))
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[DatabaseUrl]:
    with postgres.copy_of("built") as url:
        yield url


@pytest.mark.parametrize("attack", MORE_ATTACKS, ids=lambda attack: attack.name.replace(" ", "_"))
def test_a_change_of_a_postgresql_database_is_found_and_named(
    attack: Attack, database: DatabaseUrl, built: Path
) -> None:
    """The other attacks are those of tests/placet/audit/stores/test_postgres_tampering.py."""
    _attack(database, attack, saved_notes(built))
    TRIED["PostgreSQL"] += 1


def test_a_store_that_was_exchanged_for_another_of_the_same_key_is_a_fork(built: Path, other: Path) -> None:
    assert verify_store_file(other, KEYS).verified, "nothing in itself shows it"
    for name, note in saved_notes(built)[1:]:
        result = verify_store_file(other, KEYS, saved=[(name, note)])
        assert (result.verified, result.kinds) == (False, ("fork",))
        TRIED["SQLite"] += 1


# --- tiles -----------------------------------------------------------------------------------------------------------

_OF_ENTRIES: Final = {"leaf_changed", "truncated", "missing", "inserted", "tile_missing", "leaf_malformed", "reordered"}


def _named(path: str) -> set[str]:
    """What a change of such a file may be called."""
    if path.startswith("checkpoint"):
        return {"checkpoint_invalid", "checkpoint_missing", "file_added", "fork", "rewritten"}
    return _OF_ENTRIES if "entries" in path else {"tile_changed", "tile_missing"}


def test_a_change_of_a_published_file_is_found_and_named(tmp_path: Path) -> None:
    honest, foreign = tmp_path / "tiles", tmp_path / "foreign"
    write_tiles(honest, MemoryLog.of(530, (300, 530)), KEYS)
    write_tiles(foreign, MemoryLog.of(530, (300, 530), fork_at=3), KEYS)
    theirs = content_of(foreign)
    files = content_of(honest)
    for path, raw in files.items():
        swapped = [Altered("it is that of another log", theirs[path])] if theirs[path] != raw else []
        neighbours = [one for one in files if one != path and one.rpartition("/")[0] == path.rpartition("/")[0]]
        moved = [Altered(f"it is {one}", files[one]) for one in neighbours[:1]]
        for altered in [*alter_bytes(raw, step=max(1, len(raw) // 7)), *swapped, *moved]:
            (honest / path).write_bytes(altered.raw)
            result = verify_tiles(honest, KEYS)
            assert not result.verified, (path, altered.name)
            assert set(result.kinds) <= _named(path), (path, altered.name, result.findings)
            TRIED["tiles"] += 1
        (honest / path).write_bytes(raw)
    assert verify_tiles(honest, KEYS).verified


# --- notes -----------------------------------------------------------------------------------------------------------


def test_a_change_of_a_cosigned_checkpoint_is_found_and_named(built: Path, other: Path) -> None:
    raw = WITNESS.cosign(saved_notes(built)[-1][1], moment=START)
    theirs = WITNESS.cosign(saved_notes(other)[-1][1], moment=START)
    lines, foreign = raw.splitlines(keepends=True), theirs.splitlines(keepends=True)
    swapped = [
        Altered(f"line {place} is that of another log", b"".join([*lines[:place], foreign[place], *lines[place + 1 :]]))
        for place in range(len(lines))
        if foreign[place] != lines[place]
    ]

    def open_it(altered: bytes) -> None:
        verify_checkpoint(altered, KEYS)
        require_witnesses(altered, [WITNESS.verifier], 1)

    harmless = []
    for altered in [*alter_bytes(raw), *alter_lines(raw), *swapped]:
        try:
            open_it(altered.raw)
        except PlacetError as exc:
            assert exc.code in NOTE_CODES | {"cosignature_invalid", "witness_missing"}, (altered.name, exc.code)
        else:
            harmless.append(altered.name)
        TRIED["cosigned checkpoints"] += 1
    # the text is signed and each line stands for itself: their order, and a line that is there twice, say nothing else
    assert harmless == ["line 4 is there twice", "lines 4 and 5 are exchanged", "line 5 is there twice"]


def test_a_change_of_the_newest_saved_checkpoint_is_found_and_named(built: Path, other: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for (_, note), size in zip(saved_notes(built), SIGNED, strict=True):
        (folder / str(size)).write_bytes(note)
    newest = folder / str(SIGNED[-1])
    raw = newest.read_bytes()

    def compare(store: Path = built) -> None:
        with open_readonly(store):
            SavedCheckpoints.open(folder, KEYS, lambda: open_readonly(store))

    compare()
    for altered in [*alter_bytes(raw), *alter_lines(raw)]:
        newest.write_bytes(altered.raw)
        if altered.name == "line 4 is there twice":
            compare()  # the same signature twice is one signature
        else:
            refused(compare, altered.name, "saved_checkpoint_invalid")
        TRIED["saved checkpoints"] += 1
    newest.write_bytes(saved_notes(built)[0][1])
    refused(compare, "it is that of another size", "saved_checkpoint_invalid")
    newest.write_bytes(saved_notes(other)[-1][1])
    refused(compare, "it is that of another log", "fork")
    newest.write_bytes(raw)
    refused(lambda: compare(other), "the store is another one", "fork")
    newest.rename(folder / "19")
    refused(compare, "it has another name", "saved_checkpoint_invalid")
    TRIED["saved checkpoints"] += 4


# --- the spool -------------------------------------------------------------------------------------------------------


def test_a_change_of_a_denial_that_waits_is_found_and_named() -> None:
    raw = (SPOOLED / "0000000000000007.denial").read_bytes()
    honest = parse_denial(raw)
    for altered in [*alter_bytes(raw), *alter_lines(raw)]:
        refused(lambda altered=altered: parse_denial(altered.raw), altered.name, "spool_damaged")  # type: ignore[misc]
        TRIED["the spool"] += 1
    body = {"leaf": dict(honest.leaf), "attachments": {"input": policy_input_of(4)}}
    for name, leaf, attachments in (
        ("it allows", body["leaf"] | {"allowed": True}, body["attachments"]),
        ("it is not spooled", {k: v for k, v in body["leaf"].items() if k != "spooled"}, body["attachments"]),
        ("its attachment is another's", body["leaf"], {"input": policy_input_of(5)}),
    ):
        refused(lambda leaf=leaf, kept=attachments: render_denial(Denial(leaf, kept)), name, "not_a_denial")  # type: ignore[misc]
        TRIED["the spool"] += 1


def test_a_damaged_denial_in_a_lane_is_named_and_the_others_stay(tmp_path: Path) -> None:
    lane = tmp_path / "spool" / "lane-0"
    lane.mkdir(parents=True)
    raw = render_denial(Denial(decision(8, spooled={"at": "x", "cause": "store_full"}), {}))
    (lane / "0000000000000001.denial").write_bytes(raw)
    (lane / "0000000000000002.denial").write_bytes(raw)  # there twice
    (lane / "0000000000000003.denial").write_bytes(raw[:-1])
    spool = Spool(tmp_path / "spool", max_bytes=1 << 20, max_denials=100)
    try:
        found = spool.find("uid-8")
        assert found is not None
        (held,) = spool.lanes()
        while (waiting := spool.first(held)) is not None:
            try:
                spool.load(waiting)
            except FormatError as exc:
                assert exc.code == "spool_damaged"
                assert spool.set_aside(waiting) == "lane-0-0000000000000003.denial"
            else:
                spool.recorded(waiting)
        assert (tmp_path / "spool" / DAMAGED / "lane-0-0000000000000003.denial").read_bytes() == raw[:-1]
        assert spool.standing().damaged == ("lane-0-0000000000000003.denial",)
    finally:
        spool.close()
    TRIED["the spool"] += 2


def test_a_change_of_the_counts_is_found_and_the_other_slot_stands(tmp_path: Path) -> None:
    path = Path(shutil.copy(SPOOLED / "tally", tmp_path))
    raw = path.read_bytes()

    def load(content: bytes) -> Any:
        path.write_bytes(content)
        counts = TallyFile(path)
        try:
            return counts.load()
        finally:
            counts.close()

    newer, length = load(raw), len(raw[:SLOT_BYTES].rstrip(b"\0"))
    older = load(raw[:0] + bytes(SLOT_BYTES) + raw[SLOT_BYTES:])
    assert newer != older
    assert newer.complete is False or older.complete
    for place in range(length - 1):
        damaged = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        assert load(damaged) == older, place
        TRIED["the spool"] += 1
    both = bytes([raw[0] ^ 1]) + raw[1:SLOT_BYTES] + bytes([raw[SLOT_BYTES] ^ 1]) + raw[SLOT_BYTES + 1 :]
    assert load(both).complete is False, "and says that the counts are not all"
