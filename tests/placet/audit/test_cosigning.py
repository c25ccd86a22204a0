"""A witness cosigns a log that grows, and nothing else, whatever happens to it in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet.audit import cosigning as module
from placet.audit.checkpoint import VerifiedCheckpoint
from placet.audit.cosignature import Cosigner, verify_cosignatures
from placet.audit.cosigning import Prove, Witnessed, cosign_checkpoint, prove_by_file, prove_by_tiles
from placet.audit.note import LogKey
from placet.audit.proof import prove_consistency
from placet.audit.tile_folder import TileFolder
from placet.audit.tile_writer import write_tiles
from placet.errors import AuditError, InputError, PlacetError, StoreUnavailable, TamperError
from tests.simulators.tampering import LOG_KEY, ORIGIN, OTHER_KEY, START
from tests.simulators.tileslog import MemoryLog

KEYS = [LOG_KEY.verifier]
WITNESS = Cosigner("witness.example.org/w1", Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34))))
STEPS = (0, 5, 250, 300, 530)
LOG = MemoryLog.of(530, STEPS)


@dataclass
class Stand:
    """One witness, with its state and the log's folder."""

    root: Path

    @property
    def state(self) -> Path:
        return self.root / "state"

    def see(
        self,
        log: MemoryLog,
        *,
        first: bool = False,
        now: datetime = START,
        prove: Prove | None = None,
        cosigner: Cosigner = WITNESS,
    ) -> Witnessed:
        """Publish the log into a new folder and cosign what it shows."""
        size = log.signed[-1]
        folder = self.root / f"tiles-{len(list(self.root.iterdir()))}"
        write_tiles(folder, log, KEYS)
        note = log.note(size).encode()
        return cosign_checkpoint(
            note,
            log_keys=KEYS,
            cosigner=cosigner,
            state=self.state,
            prove=prove or prove_by_tiles(folder, note),
            now=now,
            first=first,
        )


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def at(size: int) -> MemoryLog:
    return MemoryLog(LOG.raw[:size], tuple(one for one in STEPS if one <= size))


def _no_proof(_old: VerifiedCheckpoint, _new: VerifiedCheckpoint) -> Sequence[bytes]:
    return []


def test_a_log_that_grows_is_cosigned_each_time(stand: Stand) -> None:
    before = None
    for number, size in enumerate((*STEPS, 530)):
        moment = START + timedelta(minutes=number)
        done = stand.see(at(size), first=number == 0, now=moment)
        assert (done.checkpoint.size, done.before) == (size, before)
        assert verify_cosignatures(done.note, [WITNESS.verifier])[0].moment == moment
        assert stand.state.read_bytes() == done.note
        before = size


def test_the_state_is_the_witnesss_alone(stand: Stand) -> None:
    stand.see(at(5), first=True)
    assert stand.state.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("log", "code"),
    [
        (at(250), "rolled_back"),
        (MemoryLog.of(300, fork_at=299), "fork"),
        (MemoryLog.of(530, fork_at=3), "fork"),
        (MemoryLog.of(530, fork_at=299), "fork"),
    ],
    ids=["smaller", "other root", "other history", "other last leaf"],
)
def test_what_does_not_extend_the_last_one_is_refused_and_nothing_is_signed(
    stand: Stand, log: MemoryLog, code: str
) -> None:
    stand.see(at(300), first=True)
    before = stand.state.read_bytes()
    with pytest.raises(TamperError) as refused:
        stand.see(log)
    assert refused.value.code == code
    assert stand.state.read_bytes() == before
    assert stand.see(at(530)).before == 300


def test_a_proof_that_proves_nothing_is_refused(stand: Stand) -> None:
    stand.see(at(300), first=True)
    with pytest.raises(TamperError):
        stand.see(at(530), prove=_no_proof)


def test_a_checkpoint_by_another_key_or_of_another_log_is_refused(stand: Stand) -> None:
    for key in (OTHER_KEY, LogKey("placet.dev/log/other", LOG_KEY.private)):
        note = MemoryLog(LOG.raw, (530,), key).note(530).encode()
        with pytest.raises(TamperError):
            cosign_checkpoint(
                note, log_keys=KEYS, cosigner=WITNESS, state=stand.state, prove=_no_proof, now=START, first=True
            )
    assert not stand.state.exists()


def test_a_lost_state_is_not_begun_anew_by_itself(stand: Stand) -> None:
    with pytest.raises(InputError):
        stand.see(at(300))
    stand.see(at(300), first=True)
    with pytest.raises(InputError):
        stand.see(at(530), first=True)


def test_a_state_that_was_changed_is_refused(stand: Stand) -> None:
    stand.see(at(300), first=True)
    good = stand.state.read_bytes()
    other = Cosigner(WITNESS.name, Ed25519PrivateKey.from_private_bytes(bytes(range(9, 41))))
    smaller = LOG.note(5).encode()
    for bad in (
        b"",
        b"nothing",
        good[:-9],
        good.replace(b"\n300\n", b"\n299\n"),
        smaller,
        other.cosign(smaller, moment=START),
    ):
        stand.state.write_bytes(bad)
        with pytest.raises(AuditError) as refused:
            stand.see(at(530))
        assert refused.value.code == "state_invalid"


def test_a_clock_that_ran_back_is_told(stand: Stand) -> None:
    stand.see(at(5), first=True)
    with pytest.raises(AuditError) as refused:
        stand.see(at(250), now=START - timedelta(seconds=1))
    assert refused.value.code == "clock_back"


def test_the_logs_own_key_is_no_witness(stand: Stand) -> None:
    with pytest.raises(InputError):
        stand.see(at(5), first=True, cosigner=Cosigner("witness.example.org/w1", LOG_KEY.private))


def test_the_state_is_kept_before_the_note_is_given_away(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    stand.see(at(5), first=True)

    def full(path: Path, _raw: bytes, **_named: object) -> None:
        raise StoreUnavailable(f"{path} can't be written", code="file_unwritable")

    with monkeypatch.context() as patch:
        patch.setattr(module, "replace_file", full)
        with pytest.raises(StoreUnavailable):
            stand.see(at(250))
    assert stand.see(at(250)).before == 5


def test_a_consistency_proof_does_in_the_place_of_tiles(stand: Stand, tmp_path: Path) -> None:
    stand.see(at(300), first=True)
    write_tiles(tmp_path / "all", LOG, KEYS)
    raw = prove_consistency(TileFolder(tmp_path / "all"), stand.state.read_bytes(), KEYS)
    wrong = prove_consistency(TileFolder(tmp_path / "all"), LOG.note(250).encode(), KEYS)
    with pytest.raises(InputError):
        stand.see(at(530), prove=prove_by_file(wrong, KEYS))
    with pytest.raises(PlacetError):
        stand.see(at(530), prove=prove_by_file(b"{}", KEYS))
    assert stand.see(at(530), prove=prove_by_file(raw, KEYS)).before == 300


def test_after_a_change_of_the_logs_key_the_witness_goes_on(stand: Stand) -> None:
    """During the change checkpoints carry both signatures; afterwards the witness is given both keys."""
    stand.see(at(300), first=True)
    new = LogKey(ORIGIN, OTHER_KEY.private)
    note = MemoryLog(LOG.raw, (530,), new).note(530).encode()
    write_tiles(stand.root / "all", LOG, KEYS)
    done = cosign_checkpoint(
        note,
        log_keys=[new.verifier, LOG_KEY.verifier],
        cosigner=WITNESS,
        state=stand.state,
        prove=prove_by_tiles(stand.root / "all", note),
        now=START,
    )
    assert done.before == 300
