"""The log's key is changed without a moment at which somebody with one trusted key can't verify."""

from __future__ import annotations

from pathlib import Path

import pytest

from placet.audit.checkpoint import verify_checkpoint
from placet.audit.log import AuditLog
from placet.audit.note import LogKey, VerifierKey, parse_note
from placet.audit.proof import find_leaf, prove_inclusion, verify_proof
from placet.audit.stores.file import open_readonly
from placet.audit.tile_writer import write_tiles
from placet.audit.tiles_verify import verify_tiles
from placet.errors import InputError, TamperError
from tests.simulators.bothways import verify_file
from tests.simulators.tampering import LOG_KEY, ORIGIN, OTHER_KEY, append

OLD, NEW = LOG_KEY, OTHER_KEY
BOTH = LogKey(OLD.name, OLD.private, successor=NEW)


def _grow(path: Path, key: LogKey, number: int, *, former: tuple[VerifierKey, ...] = ()) -> bytes:
    """One process: a leaf, and the checkpoint over it."""
    log = AuditLog.open(path, origin=ORIGIN, key=key, former_keys=former)
    try:
        append(log, number)
        return log.checkpoint().encode()
    finally:
        log.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.db"


def test_during_the_change_either_key_alone_verifies_the_same_checkpoint(path: Path) -> None:
    note = _grow(path, BOTH, 0)
    text, signatures = parse_note(note)
    assert [name for name, _ in signatures] == [ORIGIN, ORIGIN]
    assert [raw[:4] for _, raw in signatures] == [OLD.verifier.key_id, NEW.verifier.key_id]
    assert note == BOTH.sign(text).encode()  # equal states still give equal bytes
    for keys in ([OLD.verifier], [NEW.verifier], [NEW.verifier, OLD.verifier]):
        assert verify_checkpoint(note, keys).size == 1


def test_a_wrong_signature_of_either_key_condemns_the_checkpoint_for_whoever_knows_it(path: Path) -> None:
    text, _ = parse_note(_grow(path, BOTH, 0))
    wrong = text.replace("\n1\n", "\n2\n")
    mixed = (OLD.sign(text) + NEW.signature_line(wrong)).encode()
    assert verify_checkpoint(mixed, [OLD.verifier]).size == 1
    for keys in ([NEW.verifier], [OLD.verifier, NEW.verifier]):
        with pytest.raises(TamperError):
            verify_checkpoint(mixed, keys)


def test_the_change_goes_through_in_three_starts_and_the_whole_record_verifies(path: Path, tmp_path: Path) -> None:
    notes = [_grow(path, OLD, 0), _grow(path, BOTH, 1), _grow(path, NEW, 2)]
    keys = [NEW.verifier, OLD.verifier]
    result = verify_file(path, keys, saved=[(str(place), note) for place, note in enumerate(notes)])
    assert result.verified, result.findings
    assert (result.signed_size, len(result.saved)) == (3, 3)
    with open_readonly(path) as reader:
        write_tiles(tmp_path / "tiles", reader, keys)
        leaf = find_leaf(reader, "0")
        assert leaf is not None
        verify_proof(prove_inclusion(reader, leaf, keys), [NEW.verifier])
    assert verify_tiles(tmp_path / "tiles", keys).verified
    for one in keys:
        with pytest.raises(InputError):  # each has signed two of the three
            verify_file(path, [one], saved=[("a", notes[0]), ("c", notes[2])])


def test_replicas_in_the_middle_of_the_change_go_on_from_each_others_checkpoints(path: Path) -> None:
    """A rolling restart: the one before has only the old key, or already only the new one."""
    for number, key in enumerate((OLD, BOTH, OLD, BOTH, NEW, BOTH, NEW)):
        assert verify_checkpoint(_grow(path, key, number), [*key.verifiers]).size == number + 1


def test_without_both_signatures_in_between_the_new_key_does_not_start_by_itself(path: Path) -> None:
    _grow(path, OLD, 0)
    with pytest.raises(TamperError, match="no trusted key has signed"):
        _grow(path, NEW, 1)
    assert verify_checkpoint(_grow(path, NEW, 2, former=(OLD.verifier,)), [NEW.verifier]).size == 3
