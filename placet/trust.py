"""The keyring and the revocations as files: read at each decision, verified again when anything about them changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

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

    def load(self, now: datetime) -> tuple[VerifiedKeyring, Revocations]:
        """The keyring and the revocations of this moment.

        Raises:
            KeyringError: none that can be trusted now.
            AuditError: a new keyring could not be recorded.
        """
        keyring = self._keyring(now)
        if self._folder is None:
            return keyring, Revocations.none()
        return keyring, load_revocations(self._folder, keyring=keyring)

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
