"""Checkpoints that are kept outside of the store: what notices that the store is yesterday's.

    <folder>/<size>                     the signed note of that size; never written over
    <folder>/restored-<index>/<size>    those after the leaf of that index, which gave up others; see ``accept``

A store that agrees with itself may still be older than what was signed: a backup that was restored. Nothing inside it
can show that; the newest note in this folder can.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from placet.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from placet.audit.log import AuditLog, render_time
from placet.audit.merkle import Frontier
from placet.audit.note import VerifierKey
from placet.audit.record import RESTORED, SCHEMA
from placet.audit.stored import read_stored
from placet.audit.stores import Reader
from placet.errors import AuditError, FormatError, TamperError

MAX_NOTE_BYTES: Final = 64 * 1024
MAX_REASON: Final = 500
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_RESTORED_FOLDER: Final = re.compile(r"restored-(0|[1-9][0-9]{0,18})", re.ASCII)
Reading = Callable[[], AbstractContextManager[Reader]]


@dataclass(frozen=True, slots=True)
class Misfit:
    """A saved checkpoint that the store can't have led to.

    Attributes:
        folder: ``""`` or ``restored-<index>``.
        saved: the checkpoint, verified.
        size: leaves that the store has.
    """

    folder: str
    saved: VerifiedCheckpoint
    size: int

    @property
    def error(self) -> TamperError:
        """What to say of it."""
        hint = (
            "Put the newest store back. How to go on without it is in docs/operations.md: "
            f"placet audit accept-rollback --give-up {self.saved.size}."
        )
        if self.saved.size > self.size:
            sentence = (
                f"the record is older than what was signed: it has {self.size} leaves, and the saved checkpoint of "
                f"{self.saved.size} says that {self.saved.size - self.size} more were there (rolled_back)"
            )
            return TamperError(sentence, index=self.size, code="rolled_back", hint=hint)
        sentence = f"the record is not the one of the saved checkpoint of {self.saved.size} leaves (fork)"
        return TamperError(sentence, code="fork", hint=hint)


class SavedCheckpoints:
    """A folder of saved checkpoints, for one process that signs."""

    def __init__(self, folder: Path, keys: Sequence[VerifierKey], *, compared: bool) -> None:
        """Use :meth:`open`.

        Attributes:
            compared: whether there was a checkpoint to compare with.
        """
        self._folder = folder
        self._keys = keys
        self.compared = compared

    @classmethod
    def open(cls, folder: Path, keys: Sequence[VerifierKey], reading: Reading) -> SavedCheckpoints:
        """Compare a store with the newest checkpoints that were saved.

        Args:
            folder: of the checkpoints; made where it is missing. The one that it is in has to be there.
            keys: verifier keys of the log.
            reading: opens a view of the store.

        Raises:
            TamperError: ``rolled_back`` or ``fork``: the store is not what was signed; or
                ``saved_checkpoint_invalid``: the newest file is no checkpoint of this log.
            AuditError: ``checkpoints_unreadable``.
            StoreUnavailable: the store can't be read.
        """
        misfits = find_misfits(folder, keys, reading)
        if misfits:
            raise misfits[0].error
        with reading() as reader:
            newest = reader.latest(RESTORED)
        into = folder if newest is None else folder / f"restored-{newest.index}"
        return cls(into, keys, compared=bool(_load_newest(folder, keys)))

    def save(self, note: str) -> None:
        """Write a signed note under its size, unless it is there.

        Raises:
            TamperError: ``fork``: another root was signed for this size. ``saved_checkpoint_invalid``.
            AuditError: ``checkpoint_unsaved``: it is not durable there; what is there is whole.
        """
        signed = verify_checkpoint(note.encode(), self._keys)
        path = self._folder / str(signed.size)
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if not path.exists() and _publish(path, note.encode()):
                return
        except OSError as exc:
            raise AuditError(
                f"the checkpoint of {signed.size} leaves can't be saved: {exc.filename}: {exc.strerror}",
                code="checkpoint_unsaved",
                hint="Make the folder of record.checkpoints writable; it is tried again each second.",
            ) from exc
        if _load(path, self._keys).root != signed.root:
            raise TamperError(
                f"two histories were signed: {path} has another root for {signed.size} leaves",
                code="fork",
                hint="Two gates sign with one key on different stores, or the store was replaced. Keep both.",
            )


def find_misfits(folder: Path, keys: Sequence[VerifierKey], reading: Reading) -> list[Misfit]:
    """The newest checkpoint of each folder that the store can't have led to and that nobody gave up.

    Where the store has a checkpoint of the same size, that one is compared; else the root is made from the leaf hashes.
    Whether each leaf is the one that was hashed is what ``placet audit verify`` says.

    Raises:
        TamperError: ``saved_checkpoint_invalid``; or a leaf about given-up checkpoints is not the one that was hashed.
        AuditError: ``checkpoints_unreadable``.
        StoreUnavailable: the store can't be read.
    """
    newest = _load_newest(folder, keys)  # before the store: other replicas go on signing
    with reading() as reader:
        size = reader.state().size
        given_up = _given_up(reader)
        return [
            Misfit(name, saved, size)
            for name, saved in newest
            if (name, saved.size, saved.root.hex()) not in given_up
            and (saved.size > size or _root_at(reader, saved.size, keys) != saved.root)
        ]


def accept(
    log: AuditLog, folder: Path, keys: Sequence[VerifierKey], misfits: Sequence[Misfit], *, reason: str, now: datetime
) -> int:
    """Go on with the store as it is: a leaf says which checkpoints are given up, and why. Its index.

    Args:
        log: opened with its key; it signs only what agrees with itself.
        folder: of the saved checkpoints.
        keys: verifier keys of the log.
        misfits: what ``find_misfits`` found, not empty.
        reason: a person's words.
        now: aware UTC.

    Raises:
        AuditError: it could not be recorded; the checkpoints still count.
    """
    log.checkpoint()  # a store that contradicts itself is not gone on with
    body = {
        "schema": SCHEMA,
        "type": RESTORED,
        "time": render_time(now),
        "size": misfits[0].size,
        "given_up": [{"folder": one.folder, "size": one.saved.size, "root": one.saved.root.hex()} for one in misfits],
        "reason": reason[:MAX_REASON],
    }
    index = log.append(body).index
    SavedCheckpoints(folder / f"restored-{index}", keys, compared=True).save(log.checkpoint())
    return index


def find_given_up(reader: Reader) -> set[tuple[int, str]]:
    """Size and root, in hexadecimal, of each checkpoint that people gave up, wherever it was kept.

    Raises:
        TamperError: such a leaf is not the one that was hashed.
    """
    return {(size, root) for _, size, root in _given_up(reader)}


def _given_up(reader: Reader) -> set[tuple[str, int, str]]:
    bodies: list[Any] = [read_stored(stored).body for stored in reader.of_type(RESTORED, start=0)]
    return {(str(one["folder"]), int(one["size"]), str(one["root"])) for body in bodies for one in body["given_up"]}


def _load_newest(folder: Path, keys: Sequence[VerifierKey]) -> list[tuple[str, VerifiedCheckpoint]]:
    """Of the folder, and of each one in it that follows a given-up checkpoint: its name, and the largest."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        names = [entry.name for entry in folder.iterdir() if _RESTORED_FOLDER.fullmatch(entry.name)]
        found = [(name, _largest(folder / name)) for name in ("", *sorted(names))]
    except OSError as exc:
        raise AuditError(
            f"the saved checkpoints can't be read: {exc.filename}: {exc.strerror}",
            code="checkpoints_unreadable",
            hint="Nothing else says whether the record is the newest: make record.checkpoints readable.",
        ) from exc
    return [(name, _load(path, keys)) for name, path in found if path is not None]


def _largest(folder: Path) -> Path | None:
    sizes = [int(entry.name) for entry in folder.iterdir() if _SIZE.fullmatch(entry.name)]
    return folder / str(max(sizes)) if sizes else None


def _load(path: Path, keys: Sequence[VerifierKey]) -> VerifiedCheckpoint:
    try:
        with path.open("rb") as stream:
            saved = verify_checkpoint(stream.read(MAX_NOTE_BYTES), keys)
    except OSError as exc:
        raise AuditError(
            f"the saved checkpoint {path} can't be read: {exc.strerror}", code="checkpoints_unreadable"
        ) from exc
    except (FormatError, TamperError) as exc:
        raise _invalid(path, str(exc)) from exc
    if str(saved.size) != path.name:
        raise _invalid(path, f"it is of {saved.size} leaves")
    return saved


def _invalid(path: Path, why: str) -> TamperError:
    return TamperError(
        f"{path} is no saved checkpoint of this log: {why}",
        code="saved_checkpoint_invalid",
        hint="Find out who wrote it. The log's key signs them; with another key, or a damaged file, nothing says "
        "whether the record is the newest. Moving the file away makes the one before it count.",
    )


def _root_at(reader: Reader, size: int, keys: Sequence[VerifierKey]) -> bytes:
    """Root of the first leaves of a store that has at least so many."""
    stored = reader.latest_checkpoint()
    if stored is not None and stored.size == size:
        with contextlib.suppress(FormatError, TamperError):  # then the leaves say it
            return verify_checkpoint(stored.raw_note, keys).root
    tree = Frontier()
    for leaf_hash in reader.leaf_hashes(size):
        tree.append(leaf_hash)
    return tree.root()


def _publish(path: Path, raw: bytes) -> bool:
    """Give a durable file its name, unless something has it; False then."""
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    file = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(made, path)
    except FileExistsError:
        return False
    finally:
        made.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True
