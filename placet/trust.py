"""The keyring and the revocations as files: read at each decision, verified again when anything about them changed.

A keyring file that can't be trusted does not take away the keyring that is in force: that one was signed, is the
newest that was ever seen here, and holds until it expires (ADR 21). Revocations have no such grace: what can't be read
refuses. And one that has counted goes on counting when its file is gone (ADR 26).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from placet.approvals.keyring import VerifiedKeyring, load_keyring, load_roots, verify_keyring
from placet.approvals.keys import PublicKey
from placet.approvals.revocations import KeptRevocations, Revocation, Revocations, load_revocations
from placet.canonical import Digest
from placet.errors import KeyringError

_LOOK_AGAIN: Final = timedelta(seconds=1)
_SETTLED_NS: Final = 2_000_000_000


@dataclass(frozen=True, slots=True)
class _Refused:
    """A keyring file that does not count.

    Attributes:
        raw: its bytes, None when it could not be read.
        at: when it was looked at; some faults pass with time.
        error: why it does not count.
    """

    raw: bytes | None
    at: datetime
    error: KeyringError


class _WatchedFile:
    """The bytes of the keyring's file, read again when anything about the file has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: tuple[tuple[int, ...], bytes] | None = None

    def load(self) -> bytes:
        """What is in the file now.

        Raises:
            KeyringError: it can't be read.
        """
        state, kept = self._state(), self._kept
        if kept is not None and kept[0] == state:
            return kept[1]
        raw = load_keyring(self._path)
        # Two writes within one tick of the file system's clock leave the same times behind.
        self._kept = (state, raw) if state and time.time_ns() - state[-1] > _SETTLED_NS else None
        return raw

    def _state(self) -> tuple[int, ...]:
        """What changes when the file does; the time of its last change last. Asked before the file is read."""
        try:
            state = os.stat(self._path)  # noqa: PTH116 - at each decision; Path takes several times as long
        except OSError:
            return ()
        return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


class FileTrust:
    """Keyring and revocations from disk. A version is never replaced by an older one, also not across a restart.

    Thread-safe. Reading the keyring at each decision is what lets a new one take effect at once.
    """

    def __init__(
        self,
        *,
        keyring_file: Path,
        root_files: Sequence[Path],
        threshold: int,
        revocations: Path | None,
        newest_version: int = 0,
        on_change: Callable[[VerifiedKeyring, datetime], None] | None = None,
        kept: KeptRevocations | None = None,
    ) -> None:
        """Load the roots; the keyring is read at each decision.

        Args:
            keyring_file: the signed keyring.
            root_files: public keys that may sign it.
            threshold: how many of them must have.
            revocations: folder of signed revocations, or None.
            newest_version: the newest version that was ever in force here.
            on_change: told of each keyring that is another one before it counts; when it raises, it does not count.
            kept: revocations that count whatever the folder holds; those of the folder are added to it. None to start
                with none.

        Raises:
            KeyringError, SigningKeyError: a root can't be used.
        """
        self._file = _WatchedFile(keyring_file)
        self._roots: tuple[PublicKey, ...] = load_roots(root_files)
        self._threshold = threshold
        self._folder = revocations
        self._newest = newest_version
        self._on_change = on_change
        self._lock = threading.Lock()
        self._announced: Digest | None = None
        self._verified: tuple[bytes, VerifiedKeyring] | None = None
        self._refused: _Refused | None = None
        self._kept_revocations = kept or KeptRevocations()
        self._taken_up: tuple[tuple[Any, ...], frozenset[tuple[str, str, str]]] | None = None

    @property
    def in_force(self) -> VerifiedKeyring | None:
        """The keyring that was accepted last, which may have expired since; None before the first."""
        kept = self._verified
        return None if kept is None else kept[1]

    @property
    def refused(self) -> KeyringError | None:
        """Why the keyring's file does not count at present; None when it does."""
        refused = self._refused
        return None if refused is None else refused.error

    def load(self, now: datetime) -> tuple[VerifiedKeyring, Revocations]:
        """The keyring and the revocations of this moment.

        Raises:
            KeyringError: the file can't be trusted now, and no keyring that was in force before still holds; or
                ``revocations_unreadable``.
            AuditError: a new keyring could not be recorded.
        """
        keyring = self._keyring(now)
        if self._folder is not None:
            self._take_up(self._folder, keyring)
        return keyring, self._kept_revocations.now

    def find_missing(self) -> tuple[Revocation, ...]:
        """Revocations that count, and that neither the folder has, when it was read last, nor the keyring in force.

        Nothing before the folder was read for the first time.
        """
        with self._lock:
            taken_up, keyring, kept = self._taken_up, self.in_force, self._kept_revocations.now
        if taken_up is None and self._folder is not None:
            return ()
        there = frozenset[tuple[str, str, str]]() if taken_up is None else taken_up[1]
        listed = frozenset[str]() if keyring is None else keyring.revoked_approvals
        return tuple(one for one in kept if one.key not in there and one.approval_id not in listed)

    def enter_office(self, kept: KeptRevocations) -> None:
        """What was found here counts for all who share ``kept`` from now on, and what they find counts here."""
        with self._lock:
            if kept is not self._kept_revocations:
                kept.add(self._kept_revocations.unrecorded())
                self._kept_revocations = kept

    def _take_up(self, folder: Path, keyring: VerifiedKeyring) -> None:
        """Let what the folder holds count, where that was not done in this state of the folder."""
        state = (str(keyring.digest), *_list_state(folder))
        with self._lock:
            if self._taken_up is not None and self._taken_up[0] == state:
                return
        found = load_revocations(folder, keyring=keyring)
        with self._lock:
            self._kept_revocations.add(found)
            self._taken_up = (state, frozenset(one.key for one in found))

    def _keyring(self, now: datetime) -> VerifiedKeyring:
        raw: bytes | None = None
        missing: KeyringError | None = None
        try:
            raw = self._file.load()
        except KeyringError as error:
            missing = error
        with self._lock:
            kept = self._kept(now)
            if kept is not None and raw is not None and kept[0] == raw:
                self._refused = None
                return kept[1]
            refused = self._refused
            if kept is not None and refused is not None and refused.raw == raw and now - refused.at < _LOOK_AGAIN:
                return kept[1]
            try:
                if raw is None:
                    raise missing or KeyringError("the keyring can't be read", code="keyring_missing")
                return self._accept(raw, now)
            except KeyringError as error:
                self._refused = _Refused(raw, now, error)
                if kept is None:
                    raise
                return kept[1]

    def _kept(self, now: datetime) -> tuple[bytes, VerifiedKeyring] | None:
        """What is in force and holds at this moment."""
        kept = self._verified
        return kept if kept is not None and kept[1].issued <= now < kept[1].expires else None

    def _accept(self, raw: bytes, now: datetime) -> VerifiedKeyring:
        keyring = verify_keyring(
            raw, roots=self._roots, threshold=self._threshold, now=now, minimum_version=self._newest
        )
        if self._on_change is not None and keyring.digest != self._announced:
            self._on_change(keyring, now)
            self._announced = keyring.digest
        self._newest = max(self._newest, keyring.version)
        self._verified = (raw, keyring)
        self._refused = None
        return keyring


def _list_state(folder: Path) -> tuple[Any, ...]:
    """What changes when a file of the folder does: names, inodes, sizes, times. Read before the files are.

    Every atomic replacement has another inode, and every write another change time.
    """
    try:
        with os.scandir(folder) as entries:
            return tuple(
                sorted(
                    (entry.name, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
                    for entry in entries
                    for state in (entry.stat(),)
                )
            )
    except OSError:
        return (object(),)  # equal to nothing: the loader says what is wrong
