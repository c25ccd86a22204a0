"""Checkpoints in a ConfigMap: never fewer leaves over more, never one history over another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from placet.audit.checkpoint import sign_checkpoint
from placet.audit.log import AuditLog
from placet.audit.saved import Misfit, SavedCheckpoints, accept, find_misfits
from placet.errors import AuditError, TamperError
from placet.publish.api import CREATED, UNCHANGED, UPDATED
from placet.publish.checkpoints import HISTORY, NEWEST, ExportedCheckpoints
from tests.simulators.apiobjects import ObjectServer
from tests.simulators.tampering import LOG_KEY, ORIGIN, OTHER_KEY, START, append

KEYS = [LOG_KEY.verifier]


def log_at(path: Path) -> AuditLog:
    return AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)


def exporter(server: ObjectServer, log: AuditLog) -> ExportedCheckpoints:
    return ExportedCheckpoints(
        server.connect(), namespace="witness", name="placet-checkpoint", keys=KEYS, reading=log.reading
    )


def grow(log: AuditLog, start: int, count: int) -> str:
    for number in range(start, start + count):
        append(log, number)
    return log.checkpoint()


def held(server: ObjectServer) -> dict[str, str]:
    (found,) = server.of("configmaps")
    data: dict[str, str] = found["data"]
    return data


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return log_at(tmp_path / "record.db")


def test_the_newest_is_written_as_it_was_signed_and_some_before_it(log: AuditLog, server: ObjectServer) -> None:
    exported = exporter(server, log)
    assert exported.export() == UNCHANGED
    notes = []
    for number in range(HISTORY + 3):
        notes.append(grow(log, number, 1))
        assert exported.export() == (UPDATED if number else CREATED)
        assert exported.export() == UNCHANGED
    found = dict(held(server))
    assert found.pop(NEWEST) == notes[-1]
    assert found == {str(size): notes[size - 1] for size in range(3, HISTORY + 3)}
    assert exporter(server, log).compare() is True


def test_a_slower_replica_writes_nothing_over_a_faster_one(log: AuditLog, server: ObjectServer) -> None:
    grow(log, 0, 2)
    slow, fast = exporter(server, log), exporter(server, log)
    slow.export()
    older = log.latest_checkpoint()
    newer = grow(log, 2, 2)
    fast.export()
    with log.reading() as reader:
        stored = reader.latest_checkpoint()
    assert stored is not None
    assert older is not None
    slow.size = 0
    assert slow.export() == UNCHANGED
    assert held(server)[NEWEST] == newer


def test_a_record_that_was_put_back_is_noticed_and_overwrites_nothing(
    tmp_path: Path, log: AuditLog, server: ObjectServer
) -> None:
    grow(log, 0, 2)
    log.close()
    shutil.copyfile(tmp_path / "record.db", tmp_path / "backup.db")
    log = log_at(tmp_path / "record.db")
    newest = grow(log, 2, 2)
    exporter(server, log).export()
    restored = log_at(tmp_path / "backup.db")
    for _ in range(2):
        with pytest.raises(TamperError) as caught:
            exporter(server, restored).compare()
        assert caught.value.code == "rolled_back"
        with pytest.raises(TamperError):
            exporter(server, restored).export()
    assert held(server)[NEWEST] == newest
    # It has grown past the exported one, with other leaves.
    grow(restored, 100, 3)
    with pytest.raises(TamperError) as caught:
        exporter(server, restored).export()
    assert caught.value.code == "fork"
    assert held(server)[NEWEST] == newest


def test_what_people_gave_up_is_gone_on_from(tmp_path: Path, log: AuditLog, server: ObjectServer) -> None:
    grow(log, 0, 2)
    log.close()
    shutil.copyfile(tmp_path / "record.db", tmp_path / "backup.db")
    log = log_at(tmp_path / "record.db")
    folder = tmp_path / "saved"
    SavedCheckpoints.open(folder, KEYS, log.reading).save(grow(log, 2, 2))
    exporter(server, log).export()
    restored = log_at(tmp_path / "backup.db")
    misfits: list[Misfit] = find_misfits(folder, KEYS, restored.reading)
    accept(restored, folder, KEYS, misfits, reason="the disk burnt", now=START)
    exported = exporter(server, restored)
    assert exported.compare() is False
    assert exported.export() == UPDATED
    assert held(server)[NEWEST] == restored.latest_checkpoint()


@pytest.mark.parametrize("content", ["", "no note", "\ud800", "x" * 100_000])
def test_what_is_no_checkpoint_of_this_log_is_said_and_kept(log: AuditLog, server: ObjectServer, content: str) -> None:
    exported = exporter(server, log)
    grow(log, 0, 1)
    exported.export()
    held(server)[NEWEST] = content
    grow(log, 1, 1)
    with pytest.raises(TamperError) as caught:
        exported.export()
    assert caught.value.code == "exported_checkpoint_invalid"
    assert held(server)[NEWEST] == content


def test_a_checkpoint_of_another_key_is_none(log: AuditLog, server: ObjectServer) -> None:
    exported = exporter(server, log)
    grow(log, 0, 1)
    exported.export()
    held(server)[NEWEST] = sign_checkpoint(OTHER_KEY, size=9, root=bytes(32)).note
    with pytest.raises(TamperError):
        exported.compare()


def test_what_others_wrote_beside_goes_with_the_next(log: AuditLog, server: ObjectServer) -> None:
    exported = exporter(server, log)
    grow(log, 0, 1)
    exported.export()
    held(server)["0"] = held(server)["7"] = held(server)["note"] = "anything"
    grow(log, 1, 1)
    exported.export()
    assert sorted(held(server)) == ["1", NEWEST]


def test_an_export_that_is_forbidden_is_an_error_that_names_the_rights(log: AuditLog, server: ObjectServer) -> None:
    grow(log, 0, 1)
    server.fail = lambda method, _path: 403 if method == "POST" else None
    with pytest.raises(AuditError) as caught:
        exporter(server, log).export()
    assert caught.value.code == "checkpoint_unexported"
