"""Nobody is told that a record is durable when it is not, whatever fails and wherever."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from placet.audit.log import AuditLog
from placet.audit.stores import sqlite as sqlite_store
from placet.audit.stores.sqlite import SqliteStore
from placet.errors import AuditError, StoreUnavailable, TamperError
from tests.simulators.bothways import verify_file
from tests.simulators.faults import STEPS, FaultyStore
from tests.simulators.tampering import LOG_KEY, ORIGIN, append, decision, policy_input_of

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.db"


@pytest.fixture
def log(path: Path) -> Iterator[AuditLog]:
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    yield log
    log.close()


def _uids(path: Path) -> list[str]:
    """What is in the store, after a restart."""
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    log.checkpoint()
    log.close()
    assert verify_file(path, [LOG_KEY.verifier]).findings == ()
    connection = sqlite3.connect(path)
    try:
        return [uid for (uid,) in connection.execute("SELECT uid FROM leaves WHERE uid IS NOT NULL ORDER BY idx")]
    finally:
        connection.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), MemoryError()], ids=["store", "interrupt", "memory"])
def test_a_fault_at_any_step_is_no_success_and_the_next_append_works(
    path: Path, step: str, error: BaseException | None, *, after: bool
) -> None:
    store = FaultyStore(SqliteStore.open(path, origin=ORIGIN))
    log = AuditLog(store)
    append(log, 0)
    store.fail(step, after=after, error=error)
    with pytest.raises(StoreUnavailable if error is None else type(error)):
        append(log, 1)
    durable = (step, after) == ("commit", True)
    assert (log.find_uid("uid-1") is not None) == durable
    body = decision(1)
    again = log.append(body, uid="uid-1", attachments={"input": policy_input_of(1)})
    assert (again.index, again.replayed) == (1, durable)
    append(log, 2)
    log.close()
    assert _uids(path) == ["uid-0", "uid-1", "uid-2"]


def test_a_full_store_says_so_and_goes_on_when_there_is_space(path: Path) -> None:
    store = SqliteStore.open(path, origin=ORIGIN)
    log = AuditLog(store)
    append(log, 0)
    assert store._writer is not None
    store._writer.execute("PRAGMA max_page_count = 1")  # SQLite takes the present size
    acknowledged = [0]
    for number in range(1, 200):
        try:
            append(log, number)
        except StoreUnavailable as exc:
            assert exc.code == "store_full"
            assert "Free space" in exc.hint
            break
        acknowledged.append(number)
    else:
        pytest.fail("the store never was full")
    assert log.health().code in {"", "store_full"}
    store._drop_writer()
    append(log, 500)
    assert log.health().writable
    log.close()
    assert _uids(path) == [f"uid-{number}" for number in [*acknowledged, 500]]


def test_a_locked_store_says_so_within_the_deadline_and_goes_on(path: Path) -> None:
    moments = iter(range(100))
    pauses: list[float] = []
    store = SqliteStore.open(path, origin=ORIGIN, clock=lambda: next(moments) * 0.1, pause=pauses.append)
    log = AuditLog(store, clock=lambda: 0.0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    body = decision(0)
    with pytest.raises(StoreUnavailable) as caught:
        log.append(body, uid="uid-0", deadline_s=0.35)
    assert caught.value.code == "store_locked"
    assert pauses == [0.0005, 0.001, 0.002]
    assert log.health().code == "store_locked"
    other.execute("ROLLBACK")
    other.close()
    append(log, 0)
    assert log.health().writable
    log.close()


def test_a_read_only_store_says_so_and_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog.open(path, origin=ORIGIN)
    append(log, 0)
    store = log._store
    assert isinstance(store, SqliteStore)
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_store, "uri", lambda file, _parameters: f"file:{file}?mode=ro")
        store._drop_writer()
        with pytest.raises(StoreUnavailable) as caught:
            append(log, 1)
        assert caught.value.code == "store_readonly"
        assert log.health().code == "store_readonly"
    append(log, 1)
    log.close()
    assert _uids(path) == ["uid-0", "uid-1"]


def test_a_file_that_was_moved_away_is_not_written_to(log: AuditLog, path: Path) -> None:
    append(log, 0)
    away = path.with_name("away.db")
    path.rename(away)
    with pytest.raises(StoreUnavailable) as caught:
        append(log, 1)
    assert caught.value.code == "store_unavailable"
    with pytest.raises(StoreUnavailable):
        log.find_uid("uid-0")
    assert not path.exists()
    assert not log.health().writable
    away.rename(path)
    append(log, 1)
    assert log.health().writable


def test_an_older_copy_in_its_place_is_found_at_the_next_append(log: AuditLog, path: Path) -> None:
    append(log, 0)
    with sqlite3.connect(path) as source, sqlite3.connect(path.with_name("old.db")) as target:
        source.backup(target)
    source.close()
    target.close()
    append(log, 1)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    path.with_name("old.db").replace(path)
    with pytest.raises(TamperError) as caught:
        append(log, 2)
    assert caught.value.code == "rolled_back"
    assert not log.health().writable


def test_a_damaged_store_says_so(log: AuditLog, path: Path) -> None:
    append(log, 0)
    log.close()
    path.write_bytes(b"damaged" * 1000)
    with pytest.raises(StoreUnavailable) as caught:
        AuditLog.open(path, origin=ORIGIN)
    assert caught.value.code == "store_corrupt"


def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="No such file or directory"):
        AuditLog.open(tmp_path / "none" / "record.db", origin=ORIGIN)


def test_health_recovers_without_any_append(path: Path) -> None:
    store = FaultyStore(SqliteStore.open(path, origin=ORIGIN))
    log = AuditLog(store)
    store.fail("commit", after=False)
    with pytest.raises(StoreUnavailable):
        append(log, 0)
    store.fail("commit", after=False)
    assert log.health().code == "store_full"
    assert log.health().writable
    log.close()


def test_health_believes_in_the_store_again_only_after_it_has_written_to_it(path: Path) -> None:
    store = FaultyStore(SqliteStore.open(path, origin=ORIGIN))
    log = AuditLog(store)
    append(log, 0)
    wal = path.with_name(f"{path.name}-wal")
    before = wal.stat().st_size
    assert log.health().writable
    assert wal.stat().st_size == before  # nothing has failed, nothing needs to be proved
    store.fail("commit", after=False)
    with pytest.raises(StoreUnavailable):
        append(log, 1)
    assert log.health().writable
    assert wal.stat().st_size > before
    assert log.size() == 1
    log.close()


_LOOP = """\
import sys
from pathlib import Path
from placet.audit.log import AuditLog
from tests.simulators.tampering import ORIGIN, append
log = AuditLog.open(Path(sys.argv[1]), origin=ORIGIN)
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    append(log, number)
    print(number, flush=True)
"""


def _child(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_was_acknowledged_survives_a_kill(path: Path) -> None:
    acknowledged: list[int] = []
    for turn, patience in enumerate((1, 7, 400)):
        with _child(_LOOP, path, turn * 10_000, turn * 10_000 + 5000) as child:
            assert child.stdout is not None
            acknowledged.extend(int(child.stdout.readline()) for _ in range(patience))
            child.kill()
            acknowledged.extend(
                int(line) for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")
            )
    stored = [int(uid.removeprefix("uid-")) for uid in _uids(path)]
    assert stored == sorted(stored)
    assert set(acknowledged) <= set(stored)
    assert len(stored) <= len(acknowledged) + 3  # at most one append was under way at each kill


def test_processes_that_share_a_file_lose_nothing(path: Path) -> None:
    AuditLog.open(path, origin=ORIGIN).close()
    children = [_child(_LOOP, path, start, start + 60) for start in (0, 1000)]
    log = AuditLog.open(path, origin=ORIGIN)
    for number in range(2000, 2060):
        append(log, number)
    for child in children:
        with child:
            child.communicate()
        assert child.returncode == 0
    log.close()
    assert sorted(_uids(path)) == sorted(f"uid-{start + number}" for start in (0, 1000, 2000) for number in range(60))


_FILE_LIMIT = """\
import resource, sys
from pathlib import Path
from placet.audit.log import AuditLog
from placet.errors import StoreUnavailable
from tests.simulators.tampering import ORIGIN, append
path = Path(sys.argv[1])
log = AuditLog.open(path, origin=ORIGIN)
append(log, 0)
for number in range(1, 40):
    wal = path.with_name(path.name + "-wal")
    size = wal.stat().st_size if wal.exists() else 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1400 * number, resource.RLIM_INFINITY))
    try:
        append(log, number)
        print("durable", number)
    except StoreUnavailable as exc:
        print(exc.code, number)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
append(log, 40)
print("durable 40")
"""


def test_a_write_that_fails_half_way_leaves_nothing_behind(path: Path) -> None:
    with _child(_FILE_LIMIT, path) as child:
        output, _ = child.communicate()
    lines = [line.split() for line in output.splitlines()]
    durable = [int(number) for word, number in lines if word == "durable"]
    failed = [int(number) for word, number in lines if word != "durable"]
    assert failed
    assert len(durable) > 1
    assert _uids(path) == [f"uid-{number}" for number in [0, *durable]]


def test_a_child_does_not_use_what_its_parent_opened(log: AuditLog, path: Path) -> None:
    append(log, 0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        codes = []
        for attempt in (lambda: append(log, 1), lambda: AuditLog.open(path, origin=ORIGIN)):
            try:
                attempt()
                codes.append("none")
            except AuditError as exc:
                codes.append(exc.code)
        log.close()
        os.write(writer, " ".join(codes).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    assert os.read(reader, 100) == b"forked forked"
    os.close(reader)
    append(log, 1)


def test_a_copy_of_the_file_alone_is_enough_after_close(log: AuditLog, path: Path, tmp_path: Path) -> None:
    append(log, 0)
    log.checkpoint()
    log.close()
    copied = Path(shutil.copy(path, tmp_path / "copy.db"))
    copied.chmod(0o400)
    assert verify_file(copied, [LOG_KEY.verifier]).size == 1
