"""A verification goes on where the log's key proves that it may, and nowhere else; in memory that does not grow."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from placet.audit.merkle import Frontier
from placet.audit.resume import Prefix, load_state, parse_state, render_state, write_state
from placet.cli import root
from placet.errors import FormatError, InputError, TamperError
from tests.simulators.bothways import verify_file
from tests.simulators.bulk import build_bulk
from tests.simulators.tampering import (
    LOG_KEY,
    OTHER_KEY,
    SIGNED,
    SIZE,
    allow,
    build_log,
    copy_of,
    cover_up,
    delete,
    saved_notes,
    surgery,
    truncate,
)

KEYS = [LOG_KEY.verifier]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_log(tmp_path_factory.mktemp("log") / "record.db")


@pytest.fixture
def store(built: Path, tmp_path: Path) -> Path:
    return copy_of(built, tmp_path)


@pytest.fixture
def prefix(built: Path) -> Prefix:
    """That of the last checkpoint."""
    kept: list[Prefix] = []
    assert verify_file(built, KEYS, keep=kept.append).verified
    (found,) = kept
    return found


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["audit", "verify", *map(str, arguments)], catch_exceptions=False)


def test_goes_on_after_the_last_leaf_that_is_signed_for(store: Path, prefix: Prefix) -> None:
    assert prefix.tree.size == SIGNED[-1]
    whole, rest = verify_file(store, KEYS), verify_file(store, KEYS, prefix=prefix)
    assert rest.verified
    assert (rest.root, rest.size, rest.signed_size) == (whole.root, whole.size, whole.signed_size)
    assert rest.resumed_at == SIGNED[-1]
    assert sum(rest.by_type.values()) == SIZE - SIGNED[-1]
    assert f"the first {SIGNED[-1]} leaves were verified before and were not read again" in rest.notes


def test_what_was_changed_after_it_is_found(store: Path, prefix: Prefix) -> None:
    with surgery(store) as database:
        allow(database, 20)
    result = verify_file(store, KEYS, prefix=prefix)
    assert result.kinds == ("column_changed", "leaf_changed")
    assert result.first_bad_index == 20


def test_a_gap_after_it_is_found(store: Path, prefix: Prefix) -> None:
    with surgery(store) as database:
        delete(database, SIGNED[-1], SIGNED[-1] + 1)
    result = verify_file(store, KEYS, prefix=prefix)
    assert result.kinds[0] == "missing"
    assert result.first_bad_index == SIGNED[-1]


def test_another_history_of_what_was_verified_does_not_go_on(store: Path, prefix: Prefix) -> None:
    with surgery(store) as database:
        allow(database, 8)
        cover_up(database)
    result = verify_file(store, KEYS, prefix=prefix)
    assert not result.verified, "the state row is that of other leaves"


@pytest.mark.parametrize("checkpoints", [False, True])
def test_a_store_that_was_cut_back_below_it_is_found(store: Path, prefix: Prefix, *, checkpoints: bool) -> None:
    with surgery(store) as database:
        truncate(database, 12, checkpoints=checkpoints)
        cover_up(database)
    result = verify_file(store, KEYS, prefix=prefix)
    assert "rolled_back" in result.kinds
    assert result.first_bad_index == 12


def test_nothing_is_kept_of_a_store_in_which_something_is_wrong(store: Path) -> None:
    kept: list[Prefix] = []
    with surgery(store) as database:
        allow(database, 20)
    assert not verify_file(store, KEYS, keep=kept.append).verified
    assert kept == []


def test_a_state_proves_itself_or_is_refused(prefix: Prefix) -> None:
    raw = render_state(prefix)
    assert parse_state(raw, KEYS) == prefix
    with pytest.raises(TamperError):
        parse_state(raw, [OTHER_KEY.verifier])
    value = json.loads(raw)
    smaller = Frontier(8, [bytes(32)])
    changes: list[dict[str, Any]] = [
        {"size": prefix.tree.size + 1},
        {"size": 8, "frontier": smaller.render().hex()},
        {"frontier": "00" * 64},
        {"frontier": "zz"},
        {"frontier": ""},
        {"size": -1},
        {"size": True},
        {"size": "18"},
        {"checkpoint": ""},
        {"checkpoint": value["checkpoint"].replace("\n18\n", "\n17\n")},
        {"schema": "placet.dev/audit-verify-state/v2"},
        {"more": 1},
    ]
    for change in changes:
        with pytest.raises((FormatError, TamperError)):
            parse_state(json.dumps(value | change).encode(), KEYS)


def test_every_changed_byte_of_a_state_is_refused_or_says_the_same(prefix: Prefix) -> None:
    raw = render_state(prefix)
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        try:
            found = parse_state(changed, KEYS)
        except (FormatError, TamperError):
            continue
        assert found.tree == prefix.tree, place


@given(st.binary())
def test_nothing_but_our_errors_escapes(raw: bytes) -> None:
    with pytest.raises((FormatError, TamperError)):
        parse_state(raw, KEYS)


def test_a_state_is_written_whole_and_one_that_is_not_there_is_none(tmp_path: Path, prefix: Prefix) -> None:
    path = tmp_path / "state.json"
    assert load_state(path, KEYS) is None
    write_state(path, prefix)
    assert load_state(path, KEYS) == prefix
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]
    with pytest.raises(InputError):
        write_state(tmp_path / "none" / "state.json", prefix)


def test_the_command_goes_on_and_refuses_a_state_that_proves_nothing(store: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    options = ("--store", store, "--log-key", LOG_KEY.verifier, "--resume", state)
    assert run(*options).exit_code == 0
    again = run(*options)
    assert again.exit_code == 0
    assert f"note         the first {SIGNED[-1]} leaves were verified before and were not read again" in again.stdout
    assert json.loads(run(*options, "-o", "json").stdout)["resumed_at"] == SIGNED[-1]
    state.write_text("{}")
    refused = run(*options)
    assert refused.exit_code == 2
    assert "can't be gone on from" in refused.stderr


def test_a_saved_checkpoint_of_fewer_leaves_makes_it_begin_anew(store: Path, tmp_path: Path) -> None:
    state, note = tmp_path / "state.json", tmp_path / "saved.note"
    note.write_bytes(dict(saved_notes(store))["saved-12.note"])
    options = ("--store", store, "--log-key", LOG_KEY.verifier, "--resume", state, "--checkpoint", note)
    run(*options)
    again = run(*options, "-o", "json")
    assert json.loads(again.stdout)["resumed_at"] == 0
    assert json.loads(again.stdout)["saved_checkpoints"] == [str(note)]
    assert "is of fewer leaves than" in again.stderr


def test_options_that_do_not_go_together_are_refused(store: Path, tmp_path: Path) -> None:
    common = ("--store", store, "--log-key", LOG_KEY.verifier)
    assert run(*common, "--resume", tmp_path / "state", "--apiserver-log", tmp_path / "log").exit_code == 2
    assert run(*common, "--governed", "ml").exit_code == 2


def test_memory_does_not_grow_with_the_record(tmp_path: Path) -> None:
    peaks = {}
    for size in (1000, 10_000):
        store = build_bulk(tmp_path / f"{size}.db", size, signed_every=500)
        tracemalloc.start()
        result = verify_file(store, KEYS)
        peaks[size] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert result.verified
        assert result.size == size
    assert peaks[10_000] < 1.2 * peaks[1000] + 100_000, peaks
