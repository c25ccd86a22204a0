"""Records are found by what they say, newest first, page by page."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.audit import query
from placet.audit.location import StoreLocation, open_reader
from placet.audit.log import AuditLog
from placet.audit.query import Query, Searchable, find
from placet.audit.stores.reader import CONDITIONS
from placet.audit.tile_folder import TileFolder
from placet.audit.tile_search import TileSearch
from placet.audit.tile_writer import write_tiles
from placet.errors import InputError, TamperError
from tests.simulators.postgres import PostgresServer
from tests.simulators.tampering import LOG_KEY, ORIGIN, START, append, build_log, surgery
from tests.simulators.tileslog import MemoryLog

APPROVED: dict[str, Any] = {
    "approvals": [{"approval_id": "a-1", "role": "security", "person": "sam"}],
    "rejected": [{"approval_id": "a-2", "role": "legal", "code": "expired"}, "odd"],
    "images": ["registry.example.com/vllm@sha256:77"],
    "exemption": {"persons": ["fay"]},
    "message": "No VALID approval \u00c4",
    "advice": ["renew it"],
    "projection": f"sha256:{'5' * 64}",
}


@pytest.fixture(scope="module", params=["sqlite", "postgres", "tiles"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreLocation]:
    if request.param == "sqlite":
        yield _fill(tmp_path_factory.mktemp("log") / "record.db")
        return
    if request.param == "tiles":
        folder = tmp_path_factory.mktemp("published")
        log = AuditLog.open(_fill(folder / "record.db"), origin=ORIGIN, key=LOG_KEY)
        log.checkpoint()
        log.close()
        with open_reader(folder / "record.db") as reader:
            write_tiles(folder / "tiles", reader, [LOG_KEY.verifier])
        yield folder / "tiles"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.own_record() as url:
        yield _fill(url)


def _fill(path: StoreLocation) -> StoreLocation:
    log = AuditLog.open(path, origin=ORIGIN)
    log.heartbeat(START)
    append(log, 1)
    append(log, 2, environment="staging", user="bob@example.org")
    append(log, 3, kind="StatefulSet", namespace="other", model={"name": "mistral"})
    append(log, 4)
    append(log, 5, **APPROVED)
    append(log, 8, violations=[{"rule": "images.pinned", "code": "not_pinned"}])
    log.close()
    return path


@contextlib.contextmanager
def _searching(store: StoreLocation) -> Iterator[Searchable]:
    if isinstance(store, Path) and store.is_dir():
        yield TileSearch(TileFolder(store))
        return
    with open_reader(store) as reader:
        yield reader


def _find(store: StoreLocation, **asked: Any) -> list[int]:
    with _searching(store) as reader:
        return [one.index for one in find(reader, Query(**asked), limit=100).found]


@pytest.mark.parametrize(
    ("asked", "indexes"),
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"type": ""}, [6, 5, 4, 3, 2, 1, 0]),
        ({"type": "heartbeat"}, [0]),
        ({"kind": "StatefulSet"}, [3]),
        ({"name": "llama-2"}, [6, 5, 2]),
        ({"namespace": "other"}, [3]),
        ({"environment": "staging"}, [2]),
        ({"model": "mistral"}, [3]),
        ({"user": "bob@example.org"}, [2]),
        ({"allowed": True}, [5, 3, 2, 1]),
        ({"allowed": False}, [6, 4]),
        ({"violation": "role_missing"}, [4]),
        ({"violation": "approvals.required"}, [4]),
        ({"violation": "approvals.required:role_missing"}, [4]),
        ({"violation": "role"}, []),
        ({"violation": "%"}, []),
        ({"violation": "|"}, []),
        ({"since": START + timedelta(seconds=4)}, [6, 5, 4]),
        ({"until": START + timedelta(seconds=4)}, [3, 2, 1]),
        ({"since": START + timedelta(seconds=2), "until": START + timedelta(seconds=5)}, [4, 3, 2]),
        ({"kind": "Deployment", "environment": "production", "allowed": True}, [5, 1]),
        ({"name": "' OR 1=1 --"}, []),
        ({"role": "security"}, [5]),
        ({"role": "legal"}, [5]),
        ({"role": "secur"}, []),
        ({"person": "sam"}, [5]),
        ({"person": "fay"}, [5]),
        ({"approval": "a-1"}, [5]),
        ({"approval": "a-2"}, [5]),
        ({"approval": "a"}, []),
        ({"projection": f"sha256:{'5' * 64}"}, [5]),
        ({"image": "vllm@sha256:77"}, [5]),
        ({"image": "VLLM"}, []),
        ({"text": "valid APPROVAL \u00e4"}, [5]),
        ({"text": "RENEW"}, [5]),
        ({"text": "expired"}, []),
        ({"person": "sam", "environment": "staging"}, []),
    ],
)
def test_finds_what_meets_every_condition(store: StoreLocation, asked: dict[str, Any], indexes: list[int]) -> None:
    assert _find(store, **asked) == indexes


def test_pages_of_what_is_read_to_be_found_follow_each_other_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "_CHUNK", 2)
    log = AuditLog.open(tmp_path / "record.db", origin=ORIGIN)
    for number in range(12):
        append(log, number, **(APPROVED if number % 3 == 0 else {}))
    seen: list[int] = []
    cursor = ""
    for number in range(100, 103):
        with open_reader(tmp_path / "record.db") as reader:
            page = find(reader, Query(person="sam"), limit=2, after=cursor)
        seen += [one.index for one in page.found]
        append(log, number, **APPROVED)
        cursor = page.cursor
        if not cursor:
            break
    log.close()
    assert seen == [9, 6, 3, 0]


def test_pages_of_tiles_follow_each_other_over_the_ends_of_bundles(tmp_path: Path) -> None:
    write_tiles(tmp_path, MemoryLog.of(600), [LOG_KEY.verifier])
    seen: list[int] = []
    cursor = ""
    while not seen or cursor:
        page = find(TileSearch(TileFolder(tmp_path)), Query(type="heartbeat"), limit=100, after=cursor)
        seen += [one.index for one in page.found]
        cursor = page.cursor
    assert seen == list(range(599, -1, -1))


def test_every_condition_of_a_search_is_one_that_tiles_know(tmp_path: Path) -> None:
    write_tiles(tmp_path, MemoryLog.of(1), [LOG_KEY.verifier])
    searched = TileSearch(TileFolder(tmp_path))
    for name in CONDITIONS.keys() - {"before", "start", "indexes", "segments"}:
        assert searched.search({name: "\U0010ffff"}, before=None, limit=1) == [] or name in {"until", "pruned"}


def test_an_entry_that_is_not_the_one_of_its_hash_or_is_missing_is_not_shown(tmp_path: Path) -> None:
    write_tiles(tmp_path, MemoryLog.of(300), [LOG_KEY.verifier])
    bundle = tmp_path / "tile" / "entries" / "000"
    raw = bundle.read_bytes()
    bundle.write_bytes(raw.replace(b"heartbeat", b"heartbeaT", 1))
    with pytest.raises(TamperError, match="leaf 0 was changed"):
        _find(tmp_path, type="heartbeat", until=START + timedelta(seconds=1))
    bundle.unlink()
    with pytest.raises(TamperError, match="is missing"):
        _find(tmp_path, type="heartbeat", until=START + timedelta(seconds=1))


def test_pages_follow_each_other_whatever_is_written_meanwhile(location: StoreLocation) -> None:
    path = build_log(location, size=9, signed=())
    seen: list[int] = []
    cursor = ""
    log = AuditLog.open(path, origin=ORIGIN)
    for number in range(100, 104):
        with open_reader(path) as reader:
            page = find(reader, Query(type=""), limit=3, after=cursor)
        seen += [one.index for one in page.found]
        append(log, number)
        cursor = page.cursor
        if not cursor:
            break
    log.close()
    assert seen == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert cursor == ""


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "9" * 30, "\u0661"])
def test_what_is_no_cursor_is_the_users_mistake(store: StoreLocation, cursor: str) -> None:
    with _searching(store) as reader, pytest.raises(InputError, match="cursor"):
        find(reader, Query(), limit=1, after=cursor)


def test_a_record_that_was_changed_is_not_shown(location: StoreLocation) -> None:
    build_log(location, size=5, signed=())
    with surgery(location) as database:
        database.execute("UPDATE leaves SET leaf = x'00' WHERE idx = 3")
    with pytest.raises(TamperError) as caught:
        _find(location)
    assert caught.value.index == 3
