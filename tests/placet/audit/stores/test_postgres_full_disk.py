"""A database server whose disk is full: told by its code, nothing that was acknowledged lost, nothing there twice.

The disk is a real one of a few megabytes (``tests.simulators.smalldisk``). Where tables stand on it, PostgreSQL refuses
the statement (SQLSTATE 53100). Where its write-ahead log does, it ends every connection, and recovers once it can.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing

import pytest

from placet.audit.location import DatabaseUrl
from placet.audit.log import AuditLog
from placet.audit.stores.postgres.store import open_view
from placet.audit.verify import verify_file
from placet.errors import StoreUnavailable
from tests.e2e.processes import poll_until
from tests.simulators.postgres import PostgresServer, running_server
from tests.simulators.smalldisk import SmallDisk
from tests.simulators.tampering import LOG_KEY, ORIGIN, append, decision

MEBIBYTES = {"data": 64, "wal": 16}
SPARE = (0, 4096, 8192, 20_000, 70_000)
MOST = 3000
SETTINGS = "min_wal_size = 2MB\nmax_wal_size = 64MB\n"  # no checkpoint makes room again meanwhile
MADE_BEFORE = """\
SELECT count(*) FROM pg_ls_waldir()
WHERE name ~ '^[0-9A-F]{24}$' AND name > pg_walfile_name(pg_current_wal_insert_lsn())
"""


@pytest.fixture(params=["data", "wal"])
def disk(request: pytest.FixtureRequest) -> SmallDisk:
    return SmallDisk(request.param, mebibytes=MEBIBYTES[request.param])


@pytest.fixture
def server(disk: SmallDisk) -> Iterator[PostgresServer]:
    with running_server(settings=SETTINGS, disk=disk) as running:
        yield running


def fill(server: PostgresServer, disk: SmallDisk, spare: int) -> None:
    """Leave so many bytes, and one segment of the write-ahead log at most that was made before."""
    disk.fill(spare=spare)
    with server.admin() as connection:
        while True:
            connection.execute("SELECT pg_current_xact_id()")  # written to the segment that is begun by it
            (left,) = connection.execute(MADE_BEFORE).fetchone() or (0,)
            if left <= 1:
                return
            connection.execute("SELECT pg_switch_wal()")


def append_until_full(log: AuditLog, number: int) -> int:
    """Number of the first decision that was not acknowledged; those before it were."""
    for one in range(number, number + MOST):
        try:
            append(log, one)
        except StoreUnavailable as exc:
            assert exc.code == "store_full", exc
            assert "No space left on device" in str(exc)
            assert "Free space on the database server's volume" in exc.hint
            return one
    pytest.fail("the disk was never full")


def uids(url: DatabaseUrl) -> list[str]:
    """Of every leaf, in order."""
    with open_view(url) as reader:
        return [str(row.raw_columns[2]) for row in reader.raw_rows()]


def expected(size: int) -> list[str]:
    return [str(decision(number)["uid"]) for number in range(size)]


def test_nothing_is_lost_and_nothing_twice_wherever_the_disk_is_full(server: PostgresServer, disk: SmallDisk) -> None:
    url = server.make_record("record")
    log = AuditLog.open(url, origin=ORIGIN, key=LOG_KEY)
    done = 0
    with closing(log):
        for spare in SPARE:
            append(log, done)
            done += 1
            fill(server, disk, spare)
            done = append_until_full(log, done)
            with pytest.raises(StoreUnavailable):
                append(log, done)
            assert not log.health().writable
            disk.free()
            assert poll_until(server.answers, 60), server.log()
            append(log, done)  # which was asked for before, and is there once
            done += 1
            assert log.health().writable
            log.checkpoint()
    assert uids(url) == expected(done)
    result = verify_file(url, [LOG_KEY.verifier])
    assert (result.kinds, result.size) == ((), done)


def test_a_server_that_dies_on_a_full_disk_comes_back_with_all_that_it_acknowledged(
    server: PostgresServer, disk: SmallDisk
) -> None:
    url = server.make_record("record")
    with closing(AuditLog.open(url, origin=ORIGIN, key=LOG_KEY)) as log:
        append(log, 0)
        fill(server, disk, 0)
        done = append_until_full(log, 1)
        server.stop(signal.SIGKILL)
        with pytest.raises(StoreUnavailable) as caught:
            append(log, done)
        assert caught.value.code == "store_unavailable"
        disk.free()
        server.start()
        append(log, done)
    assert uids(url) == expected(done + 1)
    assert verify_file(url, [LOG_KEY.verifier]).verified


def test_tables_on_a_full_disk_are_still_read_and_verified() -> None:
    disk = SmallDisk("data", mebibytes=MEBIBYTES["data"])
    with running_server(settings=SETTINGS, disk=disk) as server:
        url = server.make_record("record")
        with closing(AuditLog.open(url, origin=ORIGIN, key=LOG_KEY)) as log:
            append(log, 0)
            fill(server, disk, 0)
            done = append_until_full(log, 1)
            assert uids(url) == expected(done)
            assert verify_file(url, [LOG_KEY.verifier]).kinds == ()
