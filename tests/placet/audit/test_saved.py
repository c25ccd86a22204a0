"""A store that is older than what was signed, or another one, is noticed at the start by the saved checkpoints."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from placet.audit.log import AuditLog
from placet.audit.note import LogKey
from placet.audit.record import RESTORED
from placet.audit.saved import Misfit, SavedCheckpoints, accept, find_misfits
from placet.audit.stores.file import open_readonly
from placet.errors import AuditError, PlacetError, TamperError
from tests.simulators.bothways import verify_file
from tests.simulators.tampering import LOG_KEY, ORIGIN, OTHER_KEY, append, surgery

KEYS: Final = [LOG_KEY.verifier]
NOW: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "record.db"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@contextmanager
def log_in(store: Path, key: LogKey = LOG_KEY) -> Iterator[AuditLog]:
    log = AuditLog.open(store, origin=ORIGIN, key=key)
    try:
        yield log
    finally:
        log.close()


def opened(folder: Path, store: Path) -> SavedCheckpoints:
    return SavedCheckpoints.open(folder, KEYS, lambda: open_readonly(store))


def misfits(folder: Path, store: Path) -> list[Misfit]:
    return find_misfits(folder, KEYS, lambda: open_readonly(store))


def grow(store: Path, folder: Path, numbers: range, *, key: LogKey = LOG_KEY) -> None:
    """Append, sign and save, each."""
    with log_in(store, key) as log:
        saved = opened(folder, store)
        for number in numbers:
            append(log, number)
            saved.save(log.checkpoint())


def copied(store: Path, name: str) -> Path:
    copy = store.with_name(name)
    with sqlite3.connect(store) as source:
        source.execute("VACUUM INTO ?", (str(copy),))
    source.close()
    return copy


def put_back(copy: Path, store: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        store.with_name(store.name + suffix).unlink(missing_ok=True)
    store.write_bytes(copy.read_bytes())


def sizes(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_checkpoint_is_a_file_named_for_its_size(store: Path, folder: Path) -> None:
    grow(store, folder, range(3))
    assert sizes(folder) == ["1", "2", "3"]
    with log_in(store) as log:
        assert (folder / "3").read_text(encoding="utf-8") == log.checkpoint()


def test_a_saved_checkpoint_is_never_written_over(store: Path, folder: Path) -> None:
    grow(store, folder, range(2))
    before = (folder / "2").stat()
    with log_in(store) as log:
        opened(folder, store).save(log.checkpoint())
    after = (folder / "2").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_nothing_to_compare_with_is_known(store: Path, folder: Path) -> None:
    log_in(store).__enter__().close()
    assert opened(folder, store).compared is False
    grow(store, folder, range(1))
    assert opened(folder, store).compared is True


def test_a_backup_of_yesterday_is_noticed(store: Path, folder: Path) -> None:
    grow(store, folder, range(3))
    backup = copied(store, "backup.db")
    grow(store, folder, range(3, 5))
    put_back(backup, store)
    with pytest.raises(TamperError, match=r"it has 3 leaves.*of 5 says that 2 more") as caught:
        opened(folder, store)
    assert caught.value.code == "rolled_back"
    assert "--give-up 5" in caught.value.hint


def test_a_store_that_is_gone_is_noticed(store: Path, folder: Path) -> None:
    grow(store, folder, range(2))
    store.unlink()
    log_in(store).__enter__().close()
    with pytest.raises(TamperError) as caught:
        opened(folder, store)
    assert caught.value.code == "rolled_back"


def test_a_backup_that_has_grown_past_the_checkpoint_is_noticed(store: Path, folder: Path) -> None:
    """Somebody ran it without the folder for a while."""
    grow(store, folder, range(3))
    backup = copied(store, "backup.db")
    grow(store, folder, range(3, 5))
    put_back(backup, store)
    with log_in(store) as log:
        for number in range(100, 104):
            append(log, number)
        log.checkpoint()
    with pytest.raises(TamperError) as caught:
        opened(folder, store)
    assert caught.value.code == "fork"


def test_a_backup_that_has_grown_to_the_very_size_of_the_checkpoint_is_noticed(store: Path, folder: Path) -> None:
    grow(store, folder, range(3))
    backup = copied(store, "backup.db")
    grow(store, folder, range(3, 5))
    put_back(backup, store)
    with log_in(store) as log:
        append(log, 100)
        append(log, 101)
        log.checkpoint()
    with pytest.raises(TamperError) as caught:
        opened(folder, store)
    assert caught.value.code == "fork"


def test_a_store_that_is_ahead_of_its_last_saved_checkpoint_is_fine(store: Path, folder: Path) -> None:
    grow(store, folder, range(3))
    with log_in(store) as log:
        append(log, 3)
        log.checkpoint()
        append(log, 4)
    assert misfits(folder, store) == []


def test_a_replica_that_signs_while_another_compares_is_no_rollback(store: Path, folder: Path) -> None:
    grow(store, folder, range(2))

    @contextmanager
    def reading() -> Iterator[Any]:
        grow(store, folder, range(2, 3))
        with open_readonly(store) as reader:
            yield reader

    assert find_misfits(folder, KEYS, reading) == []


def _other_key(file: Path) -> None:
    with log_in(file.parent.parent / "other.db", OTHER_KEY) as log:
        for number in range(2):
            append(log, number)
        file.write_text(log.checkpoint(), encoding="utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-5]),
        lambda file: file.write_bytes(os.urandom(200)),
        lambda file: file.write_text(file.read_text(encoding="utf-8").replace("\n2\n", "\n3\n"), encoding="utf-8"),
        lambda file: file.rename(file.with_name("7")),
        _other_key,
    ],
    ids=["empty", "torn", "noise", "another size", "renamed", "another key"],
)
def test_a_newest_file_that_is_no_checkpoint_of_this_log_is_refused_by_name(
    store: Path, folder: Path, damage: Callable[[Path], object]
) -> None:
    grow(store, folder, range(2))
    damage(folder / "2")
    with pytest.raises(TamperError) as caught:
        opened(folder, store)
    assert caught.value.code == "saved_checkpoint_invalid"
    assert str(folder / max(sizes(folder))) in str(caught.value)


def test_what_is_no_size_is_passed_over(store: Path, folder: Path) -> None:
    grow(store, folder, range(2))
    for name in (".3.abcd", "03", "3.txt", "latest"):
        (folder / name).write_bytes(b"whatever")
    assert misfits(folder, store) == []


def test_a_folder_that_can_not_be_read_refuses_with_a_code(store: Path, folder: Path) -> None:
    log_in(store).__enter__().close()
    folder.write_bytes(b"a file")
    with pytest.raises(AuditError) as caught:
        opened(folder, store)
    assert caught.value.code == "checkpoints_unreadable"


def test_two_checkpointers_on_one_store_save_the_same(store: Path, folder: Path) -> None:
    with log_in(store) as first, log_in(store) as second:
        append(first, 0)
        for log in (first, second, first):
            opened(folder, store).save(log.checkpoint())
    assert sizes(folder) == ["1"]


def test_two_checkpointers_of_one_key_on_two_stores_are_found_out(store: Path, folder: Path) -> None:
    """A volume for each replica where one was meant: nobody signs two histories in silence."""
    grow(store, folder, range(2))
    with log_in(store.with_name("other.db")) as other:
        append(other, 7)
        append(other, 8)
        with pytest.raises(TamperError) as caught:
            SavedCheckpoints(folder, KEYS, compared=True).save(other.checkpoint())
    assert caught.value.code == "fork"


@pytest.mark.parametrize("call", ["mkdir", "open", "fsync", "link"])
def test_a_disk_that_is_full_while_a_checkpoint_is_saved_leaves_none_or_a_whole_one(
    store: Path, folder: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with log_in(store) as log:
        saved = opened(folder, store)
        append(log, 0)
        note = log.checkpoint()

        def full(*_arguments: Any, **_terms: Any) -> None:
            raise OSError(28, "No space left on device", str(folder))

        with monkeypatch.context() as patch:
            patch.setattr(Path if call == "mkdir" else os, call, full)
            with pytest.raises(AuditError) as caught:
                saved.save(note)
        assert caught.value.code == "checkpoint_unsaved"
        assert sizes(folder) == []
        saved.save(note)
    assert sizes(folder) == ["1"]


# -- going on with what there is


def restore(store: Path, folder: Path) -> int:
    found = misfits(folder, store)
    with log_in(store) as log:
        return accept(log, folder, KEYS, found, reason="the volume is lost", now=NOW)


def rolled_back(store: Path, folder: Path) -> None:
    """Three leaves, where a checkpoint of five was saved."""
    grow(store, folder, range(3))
    backup = copied(store, "backup.db")
    grow(store, folder, range(3, 5))
    put_back(backup, store)


def test_accepting_is_recorded_and_the_gate_goes_on_in_a_folder_of_its_own(store: Path, folder: Path) -> None:
    rolled_back(store, folder)
    before = {name: (folder / name).read_bytes() for name in sizes(folder)}
    assert restore(store, folder) == 3
    with log_in(store) as log:
        ((index, body),) = log.since(RESTORED, 0)
    assert (index, body["size"], body["reason"]) == (3, 3, "the volume is lost")
    assert [(one["folder"], one["size"]) for one in body["given_up"]] == [("", 5)]
    grow(store, folder, range(10, 13))  # past the size that was given up
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert sizes(folder / "restored-3") == ["4", "5", "6", "7"]
    assert misfits(folder, store) == []


def test_an_auditor_with_the_given_up_checkpoint_still_sees_it(store: Path, folder: Path) -> None:
    rolled_back(store, folder)
    restore(store, folder)
    result = verify_file(store, KEYS, saved=[("kept", (folder / "5").read_bytes())])
    assert result.kinds == ("rolled_back",)


@pytest.mark.parametrize("which", ["backup", "lost"])
def test_after_accepting_neither_the_backup_nor_the_lost_store_is_taken(store: Path, folder: Path, which: str) -> None:
    grow(store, folder, range(3))
    backup = copied(store, "backup.db")
    grow(store, folder, range(3, 5))
    lost = copied(store, "lost.db")
    put_back(backup, store)
    restore(store, folder)
    put_back({"backup": backup, "lost": lost}[which], store)
    assert misfits(folder, store) != []


def test_a_rollback_after_a_rollback_is_noticed_and_can_be_accepted_too(store: Path, folder: Path) -> None:
    rolled_back(store, folder)
    restore(store, folder)
    backup = copied(store, "second.db")
    grow(store, folder, range(10, 12))
    put_back(backup, store)
    (found,) = misfits(folder, store)
    assert (found.folder, found.saved.size, found.size) == ("restored-3", 6, 4)
    assert restore(store, folder) == 4
    assert misfits(folder, store) == []
    assert verify_file(store, KEYS).verified


def test_a_store_that_contradicts_itself_is_not_gone_on_with(store: Path, folder: Path) -> None:
    rolled_back(store, folder)
    with log_in(store) as log:
        append(log, 3)  # the newest checkpoint in the store does not have it yet
    with surgery(store) as database:
        database.execute("UPDATE leaves SET leaf = CAST(replace(leaf, 'alice', 'mallo') AS BLOB) WHERE idx = 3")
    found = misfits(folder, store)
    with log_in(store) as log, pytest.raises(PlacetError):
        accept(log, folder, KEYS, found, reason="x", now=NOW)
    assert len(misfits(folder, store)) == 1


def test_killed_between_the_leaf_and_its_checkpoint_the_gate_goes_on(
    store: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rolled_back(store, folder)
    with monkeypatch.context() as patch:
        patch.setattr(SavedCheckpoints, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            restore(store, folder)
    assert misfits(folder, store) == []
    grow(store, folder, range(10, 11))
    assert sizes(folder / "restored-3") == ["5"]
