"""The keyring and the revocations as files: read at each decision, verified again when anything about them changed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from placet.approvals.keyring import VerifiedKeyring, load_keyring, load_roots, verify_keyring
from placet.approvals.keys import PublicKey
from placet.approvals.revocations import Revocations, load_revocations


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
    ) -> None:
        """Load the roots; the keyring is read at each decision.

        Args:
            keyring_file: the signed keyring.
            root_files: public keys that may sign it.
            threshold: how many of them must have.
            revocations: folder of signed revocations, or None.
            newest_version: the newest version that was ever in force here.
            on_change: told of each new version before it counts; when it raises, the keyring does not count.

        Raises:
            KeyringError, SigningKeyError: a root can't be used.
        """
        self._file = keyring_file
        self._roots: tuple[PublicKey, ...] = load_roots(root_files)
        self._threshold = threshold
        self._folder = revocations
        self._newest = newest_version
        self._on_change = on_change
        self._lock = threading.Lock()
        self._announced = 0
        self._verified: tuple[bytes, VerifiedKeyring] | None = None
        self._revoked: tuple[tuple[Any, ...], Revocations] | None = None

    def load(self, now: datetime) -> tuple[VerifiedKeyring, Revocations]:
        """The keyring and the revocations of this moment.

        Raises:
            KeyringError: none that can be trusted now.
            AuditError: a new keyring could not be recorded.
        """
        keyring = self._keyring(now)
        return keyring, self._revocations(self._folder, keyring) if self._folder is not None else Revocations.none()

    def _revocations(self, folder: Path, keyring: VerifiedKeyring) -> Revocations:
        state = (str(keyring.digest), *_list_state(folder))
        with self._lock:
            if self._revoked is not None and self._revoked[0] == state:
                return self._revoked[1]
        found = load_revocations(folder, keyring=keyring)
        with self._lock:
            self._revoked = (state, found)
        return found

    def _keyring(self, now: datetime) -> VerifiedKeyring:
        raw = load_keyring(self._file)
        with self._lock:
            kept = self._verified
            if kept is not None and kept[0] == raw and kept[1].issued <= now < kept[1].expires:
                return kept[1]
            keyring = verify_keyring(
                raw, roots=self._roots, threshold=self._threshold, now=now, minimum_version=self._newest
            )
            if self._on_change is not None and keyring.version != self._announced:
                self._on_change(keyring, now)
                self._announced = keyring.version
            self._newest = max(self._newest, keyring.version)
            self._verified = (raw, keyring)
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
