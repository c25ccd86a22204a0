"""A record goes from one store into another and back, and is the same to the last byte."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from placet.audit.location import DatabaseUrl, StoreLocation, open_reader, open_store
from placet.audit.log import AuditLog
from placet.audit.migrate import Migrated, migrate
from placet.audit.stores import Auditable
from placet.errors import AuditError, StoreUnavailable, TamperError
from tests.simulators.bothways import verify_file
from tests.simulators.faults import FaultyStore
from tests.simulators.postgres import PostgresServer
from tests.simulators.tampering import (
    LOG_KEY,
    ORIGIN,
    SIGNED,
    SIZE,
    append,
    build_log,
    saved_notes,
    surgery,
)


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[DatabaseUrl]:
    with postgres.own_record() as url:
        yield url


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return build_log(tmp_path / "record.db")


def _migrate(source: StoreLocation, target: StoreLocation) -> Migrated:
    with open_reader(source) as reader:
        store = open_store(target, origin=ORIGIN)
        try:
            return migrate(reader, store, partial(open_reader, target), progress=lambda _done, _total: None)
        finally:
            store.close()


def _content(location: StoreLocation) -> list[object]:
    def read(reader: Auditable) -> list[object]:
        return [
            reader.raw_states(),
            list(reader.raw_rows()),
            [tuple(row) for row in reader.raw_checkpoints()],
            [tuple(row) for row in reader.raw_blobs()],
        ]

    with open_reader(location) as reader:
        return read(reader)


def test_there_and_back_everything_is_the_same(file: Path, url: DatabaseUrl, tmp_path: Path) -> None:
    there = _migrate(file, url)
    assert (there.size, there.copied, there.checkpoints) == (SIZE, SIZE, len(SIGNED))
    back = tmp_path / "back.db"
    assert _migrate(url, back).root == there.root
    assert _content(file) == _content(url) == _content(back)
    for location in (url, back):
        assert verify_file(location, [LOG_KEY.verifier], saved=saved_notes(file)).verified


def test_what_was_copied_is_not_copied_again_and_what_came_after_is(file: Path, url: DatabaseUrl) -> None:
    _migrate(file, url)
    assert _migrate(file, url).copied == 0
    log = AuditLog.open(file, origin=ORIGIN, key=LOG_KEY)
    append(log, 30)
    log.checkpoint()
    log.close()
    done = _migrate(file, url)
    assert (done.copied, done.size, done.checkpoints) == (1, SIZE + 1, len(SIGNED) + 1)
    assert _content(file) == _content(url)


@pytest.mark.parametrize("step", ["begin", "insert", "put_state", "commit"])
@pytest.mark.parametrize("after", [False, True])
def test_a_copy_that_was_broken_off_goes_on(
    file: Path, location: StoreLocation, monkeypatch: pytest.MonkeyPatch, step: str, *, after: bool
) -> None:
    monkeypatch.setattr("placet.audit.migrate._BATCH", 4)
    target = location if isinstance(location, DatabaseUrl) else location.with_name("target.db")
    store = FaultyStore(open_store(target, origin=ORIGIN))
    told: list[int] = []

    def fail_later(done: int, total: int) -> None:
        told.append(done)
        assert total == SIZE
        if done == 8:
            store.fail(step, after=after)

    with open_reader(file) as reader:
        with pytest.raises(StoreUnavailable):
            migrate(reader, store, partial(open_reader, target), progress=fail_later)
        store.close()
    assert told == [4, 8]
    done = _migrate(file, target)
    assert done.copied == SIZE - (12 if step == "commit" and after else 8)
    assert _content(file) == _content(target)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE leaves SET leaf = x'00' WHERE idx = 3",
        "UPDATE blobs SET content = x'00' WHERE idx = 3",
        "UPDATE checkpoints SET note = 'other' WHERE size = 5",
        "DELETE FROM blobs WHERE idx = 3",
    ],
)
def test_a_target_that_is_not_the_beginning_is_refused(file: Path, url: DatabaseUrl, statement: str) -> None:
    _migrate(file, url)
    with surgery(url) as database:
        database.execute(statement)
    with pytest.raises(AuditError) as caught:
        _migrate(file, url)
    assert caught.value.code == "target_differs"


def test_a_target_that_is_longer_or_of_another_history_is_left_as_it_is(
    file: Path, url: DatabaseUrl, tmp_path: Path
) -> None:
    build_log(url, size=3, signed=())
    before = _content(url)
    other = AuditLog.open(tmp_path / "other.db", origin=ORIGIN)
    append(other, 7)
    other.close()
    for source in (tmp_path / "other.db", build_log(tmp_path / "short.db", size=2, signed=())):
        with pytest.raises(AuditError) as caught:
            _migrate(source, url)
        assert caught.value.code == "target_differs"
    assert _content(url) == before
    assert _migrate(file, url).copied == SIZE - 3  # the same leaves, so a beginning


def test_a_record_that_was_tampered_with_is_not_copied_further(file: Path, url: DatabaseUrl) -> None:
    with surgery(file) as database:
        database.execute("UPDATE leaves SET leaf = x'00' WHERE idx = 3")
    with pytest.raises(TamperError) as caught:
        _migrate(file, url)
    assert caught.value.code == "leaf_changed"
    with open_reader(url) as reader:
        assert reader.state().size == 0


def test_a_store_of_another_log_is_no_target(file: Path, postgres: PostgresServer) -> None:
    other = postgres.make_record("other", origin="placet.dev/log/other")
    with pytest.raises(AuditError) as caught:
        _migrate(file, other)
    assert caught.value.code == "origin_differs"
    postgres.drop_database("other")
