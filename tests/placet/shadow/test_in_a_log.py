"""Leaves of type shadow in a real log: verified, found, published as tiles, and pruned when their time has come."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from placet.audit.location import open_reader
from placet.audit.log import AuditLog
from placet.audit.prune import look, prune
from placet.audit.query import Query, find
from placet.audit.record import SHADOW
from placet.audit.retention import Retention
from placet.audit.tile_folder import TileFolder
from placet.audit.tile_search import TileSearch
from placet.audit.tile_writer import write_tiles
from placet.audit.tiles_verify import verify_tiles
from placet.shadow.leaves import Candidate, render_begun
from tests.simulators.aged import NOW, OLD, append_aged
from tests.simulators.bothways import verify_file
from tests.simulators.tampering import LOG_KEY, ORIGIN

KEYS = [LOG_KEY.verifier]
DIGEST = "sha256:" + "1" * 64


def begun(moment: datetime) -> dict[str, object]:
    return render_begun(Candidate(DIGEST, DIGEST, DIGEST, 0, "0" * 16), cluster="prod-eu-1", moment=moment)


def build(folder: Path) -> Path:
    log = AuditLog.open(folder / "record.db", origin=ORIGIN, key=LOG_KEY)
    for number, moment in enumerate((OLD, NOW)):
        log.append(begun(moment))
        append_aged(log, number, moment)
    log.checkpoint()
    log.close()
    return folder / "record.db"


def test_they_are_verified_and_found_in_the_store_and_in_its_tiles(tmp_path: Path) -> None:
    store = build(tmp_path)
    result = verify_file(store, KEYS)
    assert (result.findings, dict(result.by_type)[SHADOW]) == ((), 2)
    with open_reader(store) as reader:
        assert [one.index for one in find(reader, Query(type=SHADOW), limit=9).found] == [2, 0]
        write_tiles(tmp_path / "tiles", reader, KEYS)
    tiles = TileFolder(tmp_path / "tiles")
    assert verify_tiles(tmp_path / "tiles", KEYS).findings == ()
    assert [one.index for one in find(TileSearch(tiles), Query(type=SHADOW), limit=9).found] == [2, 0]


def test_they_go_with_what_the_log_says_of_itself(tmp_path: Path) -> None:
    store = build(tmp_path)
    looked = look(store, KEYS, Retention(), now=NOW)
    assert dict(looked.plan.types)[SHADOW] == 1

    def sign(_seconds: float) -> None:
        log = AuditLog.open(store, origin=ORIGIN, key=LOG_KEY, create=False)
        log.checkpoint()
        log.close()

    prune(store, KEYS, looked, Retention(), by="sam", reason="terms", now=NOW, pause=sign)
    assert verify_file(store, KEYS).findings == ()
    with open_reader(store) as reader:
        assert [one.index for one in find(reader, Query(type=SHADOW), limit=9).found] == [2]
