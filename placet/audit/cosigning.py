"""A witness: a second process, of somebody else, that cosigns a log's checkpoints while the log only ever grows.

What it remembers of a log is the last note that it has cosigned, in one file; its own cosignature makes that authentic.
It is durable before the note is given away: a witness that is killed in between signs the same tree again, and never
one that contradicts what somebody has already.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from placet.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from placet.audit.cosignature import Cosigner, verify_cosignatures
from placet.audit.durable import replace_file
from placet.audit.merkle import consistency_ranges, verify_consistency
from placet.audit.note import VerifierKey
from placet.audit.proof import VerifiedExtension, verify_proof
from placet.audit.tile_folder import TileFolder, read_note
from placet.errors import AuditError, FormatError, InputError, StoreUnavailable, TamperError

Prove = Callable[[VerifiedCheckpoint, VerifiedCheckpoint], Sequence[bytes]]
_STATE_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A checkpoint that was cosigned.

    Attributes:
        checkpoint: what was cosigned.
        before: size of the one before; None for the first.
        note: the note with the witness's line.
    """

    checkpoint: VerifiedCheckpoint
    before: int | None
    note: bytes


def cosign_checkpoint(
    raw_note: bytes,
    *,
    log_keys: Sequence[VerifierKey],
    cosigner: Cosigner,
    state: Path,
    prove: Prove,
    now: datetime,
    first: bool = False,
) -> Witnessed:
    """Cosign a checkpoint if it extends the last one that this witness has cosigned.

    Args:
        raw_note: the log's checkpoint, unverified.
        log_keys: verifier keys of the log.
        cosigner: this witness's key.
        state: file with the last cosigned note of this log.
        prove: the consistency proof between two checkpoints, unverified.
        now: aware UTC.
        first: whether there is no state yet, which has to be said; a state that is lost is not begun anew by itself.

    Raises:
        FormatError: the checkpoint is no signed note.
        TamperError: no key of the log signed it, or it does not extend what was cosigned: ``rolled_back``, ``fork``.
        InputError: there is no state and ``first`` is not set, or the other way round.
        AuditError: ``state_invalid`` when the state is not this witness's; ``clock_back``.
        StoreUnavailable: the state can't be kept; nothing was signed.
    """
    checkpoint = verify_checkpoint(raw_note, log_keys)
    if any(key.public == cosigner.verifier.public for key in log_keys):
        raise InputError("the witness has the log's own key", hint="`placet audit witness-key FILE --new` makes one.")
    with _only_one(state):
        last = _last(state, log_keys, cosigner, now=now)
        if (last is None) != first:
            raise _state_error(state, first=first)
        if last is not None:
            _require_extension(last, checkpoint, prove)
        note = cosigner.cosign(raw_note, moment=now)
        replace_file(state, note, mode=_STATE_MODE)
    return Witnessed(checkpoint, None if last is None else last.size, note)


def prove_by_tiles(folder: Path, raw_note: bytes) -> Prove:
    """Consistency proofs out of a folder of tiles."""

    def prove(old: VerifiedCheckpoint, new: VerifiedCheckpoint) -> Sequence[bytes]:
        tiles = TileFolder(folder, raw_note=raw_note)
        return tiles.hash_ranges(consistency_ranges(old.size, new.size)) if 0 < old.size < new.size else []

    return prove


def prove_by_file(raw_proof: bytes, log_keys: Sequence[VerifierKey]) -> Prove:
    """The consistency proof that `placet audit prove --consistency` wrote, if it is the one that is asked for."""

    def prove(old: VerifiedCheckpoint, new: VerifiedCheckpoint) -> Sequence[bytes]:
        verified = verify_proof(raw_proof, log_keys)
        if not isinstance(verified, VerifiedExtension) or (
            (verified.old.size, verified.old.root, verified.new.size, verified.new.root)
            != (old.size, old.root, new.size, new.root)
        ):
            raise InputError(
                f"the proof is not the one from {old.size} to {new.size} leaves",
                hint="Make it with `placet audit prove --consistency STATE`, STATE being this witness's state file.",
            )
        return verified.hashes

    return prove


def _last(
    state: Path, log_keys: Sequence[VerifierKey], cosigner: Cosigner, *, now: datetime
) -> VerifiedCheckpoint | None:
    raw = read_note(state)
    if raw is None:
        return None
    try:
        last = verify_checkpoint(raw, log_keys)
        own = verify_cosignatures(raw, [cosigner.verifier])
    except (FormatError, TamperError) as exc:
        raise AuditError(f"{state} is not this witness's state of this log: {exc}", code="state_invalid") from exc
    if not own:
        raise AuditError(f"{state} was not cosigned by this witness", code="state_invalid")
    if own[0].moment > now:
        raise AuditError(
            f"the last checkpoint was cosigned at {own[0].moment.isoformat()}, which is later than now",
            code="clock_back",
            hint="Set this machine's clock right.",
        )
    return last


def _require_extension(last: VerifiedCheckpoint, new: VerifiedCheckpoint, prove: Prove) -> None:
    if new.origin != last.origin:
        raise TamperError(f"the checkpoint is of {new.origin}, the state of {last.origin}", code="checkpoint_invalid")
    if new.size < last.size:
        raise TamperError(
            f"the log shows {new.size} leaves, and had {last.size} before", index=new.size, code="rolled_back"
        )
    if new.size == last.size and new.root != last.root:
        raise TamperError(f"the log has signed two trees of {new.size} leaves", code="fork")
    hashes = [] if new.root == last.root or not last.size else prove(last, new)
    verify_consistency(old_size=last.size, old_root=last.root, new_size=new.size, new_root=new.root, hashes=hashes)


def _state_error(state: Path, *, first: bool) -> InputError:
    if first:
        return InputError(f"{state} exists already", hint="Leave --first out: the witness goes on from there.")
    return InputError(
        f"there is no {state}",
        hint="For a log that this witness has never seen, give --first. If the file was lost, put it back: a witness "
        "that begins anew would cosign a log that was cut back.",
    )


@contextlib.contextmanager
def _only_one(state: Path) -> Iterator[None]:
    """Two processes with one state would each go on from what the other has left behind."""
    try:
        lock = os.open(state.with_name(f"{state.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise StoreUnavailable(f"{state} can't be written: {exc.strerror}", code="file_unwritable") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
