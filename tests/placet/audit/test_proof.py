"""A proof file verifies alone, and proves nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.audit.proof import (
    VerifiedExtension,
    VerifiedInclusion,
    find_leaf,
    prove_consistency,
    prove_inclusion,
    verify_proof,
)
from placet.audit.stores.file import open_readonly
from placet.errors import AuditError, FormatError, TamperError
from tests.simulators.tampering import LOG_KEY, OTHER_KEY, build_log, copy_of, decision, fork, saved_notes, surgery

KEYS = [LOG_KEY.verifier]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_log(tmp_path_factory.mktemp("log") / "record.db")


def _prove(store: Path, wanted: str) -> bytes:
    with open_readonly(store) as reader:
        found = find_leaf(reader, wanted)
        assert found is not None
        return prove_inclusion(reader, found, KEYS)


@pytest.mark.parametrize("wanted", ["decision-6", "uid-6", "6"])
def test_a_record_is_proved_by_id_uid_or_index(store: Path, wanted: str) -> None:
    verified = verify_proof(_prove(store, wanted), KEYS)
    assert isinstance(verified, VerifiedInclusion)
    assert (verified.index, verified.leaf.body, verified.checkpoint.size) == (6, decision(6), 18)


@pytest.mark.parametrize("index", range(18))
def test_every_signed_leaf_can_be_proved(store: Path, index: int) -> None:
    verified = verify_proof(_prove(store, str(index)), KEYS)
    assert isinstance(verified, VerifiedInclusion)
    assert verified.index == index


@pytest.mark.parametrize("wanted", ["", "decision-99", "99", "-1", "9" * 30, "0x6", "\u0666"])
def test_what_is_not_there_is_not_found(store: Path, wanted: str) -> None:
    with open_readonly(store) as reader:
        assert find_leaf(reader, wanted) is None


def test_a_leaf_that_is_not_signed_for_yet_is_not_proved(store: Path) -> None:
    with pytest.raises(AuditError) as caught:
        _prove(store, "20")
    assert caught.value.code == "not_signed_yet"


def test_a_store_that_was_tampered_with_proves_nothing(store: Path, tmp_path: Path) -> None:
    for statement in (
        "UPDATE leaves SET leaf_hash = zeroblob(32) WHERE idx = 9",
        "UPDATE leaves SET leaf = x'00' WHERE idx = 6",
        "DELETE FROM leaves WHERE idx = 17",
        "UPDATE checkpoints SET note = 'x' WHERE size = 18",
    ):
        tampered = copy_of(store, tmp_path)
        with surgery(tampered) as database:
            database.execute(statement)
        with pytest.raises(TamperError):
            _prove(tampered, "uid-6")


def test_every_saved_checkpoint_is_extended(store: Path) -> None:
    for name, raw in saved_notes(store):
        with open_readonly(store) as reader:
            verified = verify_proof(prove_consistency(reader, raw, KEYS), KEYS)
        assert isinstance(verified, VerifiedExtension)
        assert f"saved-{verified.old.size}.note" == name
        assert verified.new.size == 18


def test_a_checkpoint_of_another_history_is_not_extended(store: Path, tmp_path: Path) -> None:
    other = fork(tmp_path / "other.db", at=9, size=14, signed=(12,))
    with open_readonly(store) as reader, pytest.raises(TamperError) as caught:
        prove_consistency(reader, dict(saved_notes(other))["saved-12.note"], KEYS)
    assert caught.value.code == "fork"


def test_a_store_that_is_older_extends_nothing(store: Path, tmp_path: Path) -> None:
    older = build_log(tmp_path / "older.db", size=12, signed=(5, 12))
    with open_readonly(older) as reader, pytest.raises(AuditError) as caught:
        prove_consistency(reader, dict(saved_notes(store))["saved-18.note"], KEYS)
    assert caught.value.code == "not_signed_yet"


def test_a_proof_needs_the_key_that_is_trusted(store: Path) -> None:
    raw = _prove(store, "6")
    with pytest.raises(TamperError):
        verify_proof(raw, [OTHER_KEY.verifier])
    with pytest.raises(TamperError):
        verify_proof(raw, [])
    assert verify_proof(raw, [OTHER_KEY.verifier, LOG_KEY.verifier])


def test_every_change_of_one_byte_of_a_proof_is_found(store: Path) -> None:
    raw = _prove(store, "6")
    meaning = json.loads(raw)
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        try:
            verify_proof(changed, KEYS)
        except (FormatError, TamperError):
            continue
        assert json.loads(changed) == meaning, place  # a space between two members


@pytest.mark.parametrize(
    "change",
    [
        {"index": 5},
        {"index": -1},
        {"index": 6.0},
        {"index": True},
        {"index": "6"},
        {"size": 17},
        {"size": None},
        {"hashes": []},
        {"hashes": None},
        {"hashes": ["AAAA"]},
        {"hashes": [1]},
        {"leaf": ""},
        {"leaf": "!"},
        {"leaf": 1},
        {"checkpoint": ""},
        {"checkpoint": None},
        {"log_key": str(OTHER_KEY.verifier)},
        {"schema": "placet.dev/audit-consistency/v1"},
        {"schema": "other"},
        {"more": 1},
    ],
)
def test_a_proof_with_another_member_is_refused(store: Path, change: dict[str, Any]) -> None:
    document = json.loads(_prove(store, "6")) | change
    with pytest.raises((FormatError, TamperError)):
        verify_proof(json.dumps(document).encode(), KEYS)


@pytest.mark.parametrize("name", ["schema", "log_key", "checkpoint", "index", "size", "leaf", "hashes"])
def test_a_proof_without_a_member_is_refused(store: Path, name: str) -> None:
    document = json.loads(_prove(store, "6"))
    del document[name]
    with pytest.raises((FormatError, TamperError)):
        verify_proof(json.dumps(document).encode(), KEYS)


def test_a_checkpoint_from_elsewhere_does_not_fit(store: Path) -> None:
    document = json.loads(_prove(store, "6"))
    for _, note in saved_notes(store)[:2]:
        with pytest.raises(TamperError):
            verify_proof(json.dumps(document | {"checkpoint": note.decode()}).encode(), KEYS)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["schema", "log_key", "checkpoint", "hashes", "leaf", "index", "size"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_bytes_do_more_than_fail(raw: bytes) -> None:
    with pytest.raises((FormatError, TamperError)):
        verify_proof(raw, KEYS)
