"""A store that was tampered with is found out, and one that was not is accepted."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from placet.audit.log import AuditLog
from placet.errors import AuditError, InputError
from tests.second_verifier import verify as verify_second
from tests.simulators.bothways import verify_file
from tests.simulators.tampering import (
    ATTACKS,
    LOG_KEY,
    ORIGIN,
    OTHER_KEY,
    SIGNED,
    SIZE,
    START,
    Attack,
    append,
    build_log,
    copy_of,
    fork,
    saved_notes,
    surgery,
)

KEYS = [LOG_KEY.verifier]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_log(tmp_path_factory.mktemp("log") / "record.db")


@pytest.fixture
def store(built: Path, tmp_path: Path) -> Path:
    return copy_of(built, tmp_path)


def test_accepts_what_placet_wrote(store: Path) -> None:
    result = verify_file(store, KEYS, saved=saved_notes(store))
    assert result.findings == ()
    assert result.verified
    assert (result.size, result.signed_size, result.checkpoints) == (SIZE, SIGNED[-1], len(SIGNED))
    assert result.by_type == {"decision": SIZE - 1, "heartbeat": 1}
    assert (result.allowed, result.denied) == (14, 6)
    assert result.saved == ("saved-5.note", "saved-12.note", "saved-18.note")
    assert result.notes == ("the last 3 leaves are not signed for yet: keep the next checkpoint and verify again",)


def test_the_second_verifier_accepts_it_too(store: Path) -> None:
    assert verify_second(str(store), str(LOG_KEY.verifier), [raw.decode() for _, raw in saved_notes(store)]) == []


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "_"))
def test_finds_every_attack_and_names_it(attack: Attack, built: Path, store: Path) -> None:
    with surgery(store) as database:
        attack.work(database)
    saved = saved_notes(built) if attack.needs_saved else []
    result = verify_file(store, KEYS, saved=saved)
    assert not result.verified
    assert attack.kind in result.kinds
    assert result.first_bad_index == attack.index


@pytest.mark.parametrize(
    "attack", [attack for attack in ATTACKS if attack.in_log], ids=lambda attack: attack.name.replace(" ", "_")
)
def test_the_second_verifier_finds_what_concerns_the_log(attack: Attack, built: Path, store: Path) -> None:
    with surgery(store) as database:
        attack.work(database)
    saved = [raw.decode() for _, raw in saved_notes(built)] if attack.needs_saved else []
    assert verify_second(str(store), str(LOG_KEY.verifier), saved)


@pytest.mark.parametrize("attack", [one for one in ATTACKS if one.needs_saved], ids=lambda attack: attack.name)
def test_what_only_a_saved_checkpoint_can_tell_passes_without_one(attack: Attack, store: Path) -> None:
    with surgery(store) as database:
        attack.work(database)
    assert verify_file(store, KEYS).verified


def test_finds_every_change_of_one_byte_of_every_leaf(store: Path) -> None:
    with sqlite3.connect(store) as database:
        leaves = database.execute("SELECT idx, leaf FROM leaves WHERE idx IN (2, 8) ORDER BY idx").fetchall()
    database.close()
    for index, leaf in leaves:
        for place in range(0, len(leaf), 1 if len(leaf) < 200 else 13):
            changed = leaf[:place] + bytes([leaf[place] ^ 1]) + leaf[place + 1 :]
            with surgery(store) as connection:
                connection.execute("UPDATE leaves SET leaf = ? WHERE idx = ?", (changed, index))
            result = verify_file(store, KEYS)
            assert not result.verified, place
            assert result.first_bad_index == index, place
        with surgery(store) as connection:
            connection.execute("UPDATE leaves SET leaf = ? WHERE idx = ?", (leaf, index))
    assert verify_file(store, KEYS).verified


@pytest.mark.parametrize("column", ["root", "frontier", "note"])
def test_finds_every_change_of_one_byte_of_a_checkpoint(store: Path, column: str) -> None:
    with sqlite3.connect(store) as database:
        (kept,) = database.execute(f"SELECT {column} FROM checkpoints WHERE size = 12").fetchone()  # noqa: S608 - from the list above
    database.close()
    raw = kept.encode() if isinstance(kept, str) else kept
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        value = (
            changed.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()
            if column == "note"
            else changed
        )
        with surgery(store) as connection:
            connection.execute(f"UPDATE checkpoints SET {column} = ? WHERE size = 12", (value,))  # noqa: S608
        assert "checkpoint_invalid" in verify_file(store, KEYS).kinds, place


def test_finds_another_history_by_the_same_key(store: Path, tmp_path: Path) -> None:
    other = fork(tmp_path / "other.db", at=9, size=SIZE, signed=(12, 18))
    result = verify_file(other, KEYS, saved=saved_notes(store))
    assert result.kinds == ("fork",)
    assert result.first_bad_index == 5
    assert result.saved == ("saved-5.note",)


def test_finds_two_histories_in_one_store(store: Path, tmp_path: Path) -> None:
    other = fork(tmp_path / "other.db", at=9, size=SIZE, signed=(12, 18))
    foreign = dict(saved_notes(other))["saved-12.note"].decode()
    with surgery(store) as database:
        database.execute("UPDATE checkpoints SET note = ? WHERE size = 12", (foreign,))
    assert verify_file(store, KEYS).kinds == ("checkpoint_invalid", "fork")


def test_finds_a_store_that_was_restored_from_yesterday(built: Path, tmp_path: Path) -> None:
    yesterday = build_log(tmp_path / "yesterday.db", size=12, signed=(5, 12))
    result = verify_file(yesterday, KEYS, saved=saved_notes(built))
    assert result.kinds == ("rolled_back",)
    assert result.first_bad_index == 12


def test_a_trigger_that_was_removed_is_found(store: Path) -> None:
    with sqlite3.connect(store) as database:
        database.execute("DROP TRIGGER leaves_no_update")
    database.close()
    assert verify_file(store, KEYS).kinds == ("schema_changed",)


def test_a_view_in_the_place_of_a_table_is_found_and_not_read(store: Path) -> None:
    with sqlite3.connect(store) as database:
        database.execute("ALTER TABLE leaves RENAME TO hidden")
        database.execute("CREATE VIEW leaves AS SELECT * FROM hidden")
    database.close()
    result = verify_file(store, KEYS)
    assert result.size == 0
    assert "schema_changed" in result.kinds


def test_every_damaged_byte_of_the_file_is_harmless_or_found(store: Path, tmp_path: Path) -> None:
    raw = store.read_bytes()
    accepted = verify_file(store, KEYS)
    damaged = tmp_path / "damaged.db"
    for place in range(0, len(raw), 997):
        damaged.write_bytes(raw[:place] + bytes([raw[place] ^ 0xFF]) + raw[place + 1 :])
        try:
            result = verify_file(damaged, KEYS)
        except AuditError:
            continue  # not even recognised as a record
        assert not result.verified or result == accepted, place


@pytest.mark.parametrize("size", [0, 1, 99, 100, 4096, 5000])
def test_a_truncated_file_is_an_answer_and_no_trace(store: Path, size: int) -> None:
    store.write_bytes(store.read_bytes()[:size])
    try:
        assert not verify_file(store, KEYS).verified
    except AuditError as exc:
        assert exc.code == "store_foreign"


def test_what_is_no_database_is_an_answer_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_bytes(b"not a database at all, but long enough to be taken for one" * 100)
    assert verify_file(path, KEYS).kinds == ("store_corrupt",)


def test_a_missing_file_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a file"):
        verify_file(tmp_path / "none.db", KEYS)


def test_another_database_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE leaves (x)")
    database.close()
    with pytest.raises(AuditError, match="no record of placet"):
        verify_file(path, KEYS)


def test_another_key_accepts_nothing(store: Path) -> None:
    result = verify_file(store, [OTHER_KEY.verifier])
    assert result.kinds == ("checkpoint_invalid",)
    assert result.signed_size == 0


def test_a_former_key_still_counts(store: Path) -> None:
    assert verify_file(store, [OTHER_KEY.verifier, LOG_KEY.verifier]).verified


def test_a_saved_checkpoint_of_another_key_is_the_users_mistake(store: Path, tmp_path: Path) -> None:
    foreign = build_log(tmp_path / "foreign.db", key=OTHER_KEY)
    with pytest.raises(InputError, match="no trusted key"):
        verify_file(store, KEYS, saved=saved_notes(foreign))


def test_a_store_without_checkpoints_says_that_nothing_is_signed_for(tmp_path: Path) -> None:
    result = verify_file(build_log(tmp_path / "new.db", signed=()), KEYS)
    assert result.verified
    assert result.signed_size == 0
    assert "no checkpoint signs for these leaves" in result.notes[0]


def test_an_empty_log_is_accepted(tmp_path: Path) -> None:
    result = verify_file(build_log(tmp_path / "empty.db", size=0, signed=()), KEYS)
    assert (result.verified, result.size, result.notes) == (True, 0, ())


def test_a_live_store_is_verified_while_it_is_written(tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path / "live.db", origin=ORIGIN, key=LOG_KEY)
    append(log, 0)
    log.checkpoint()
    append(log, 1)
    result = verify_file(tmp_path / "live.db", KEYS)
    append(log, 2)
    log.close()
    assert (result.verified, result.size, result.signed_size) == (True, 2, 1)


def test_erased_attachments_are_noted_and_nothing_else(store: Path) -> None:
    with surgery(store) as database:
        database.execute("DELETE FROM blobs WHERE idx < 4")
    result = verify_file(store, KEYS)
    assert result.verified
    assert result.notes[-1] == "3 attachments were erased or never kept; the leaves still have their digests"


def test_silence_and_a_clock_that_ran_back_are_noted(tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path / "record.db", origin=ORIGIN, key=LOG_KEY)
    log.heartbeat(START)
    append(log, 1, time="2026-11-22T19:00:00.000000Z")
    append(log, 3, time="2026-11-22T18:59:00.000000Z")
    log.checkpoint()
    log.close()
    result = verify_file(tmp_path / "record.db", KEYS)
    assert result.verified
    assert result.notes == (
        "1 leaves are dated before the one in front of them, the first is leaf 2",
        (
            "1 times nothing was written for longer than two heartbeats; "
            "the longest silence lasted 1:00:00 and ended with leaf 1"
        ),
    )


def test_progress_counts_up_to_the_end(store: Path) -> None:
    steps: list[tuple[int, int]] = []
    verify_file(store, KEYS, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (SIZE, SIZE)
