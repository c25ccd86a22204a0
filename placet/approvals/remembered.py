"""What was found out before about bytes that cannot change: bounded, by digest, the same for every request.

Only facts that are true for ever are kept here: that a key made a signature over some bytes, and how bytes read that
such a signature covers. Whether the key is still trusted, whether the approval was revoked or has expired, and whether
it is for this request, is asked each time, of the keyring and the clock of that time (docs/adr/0022).
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from typing import Final, Generic, TypeVar

from placet.approvals.keys import PublicKey, check_signature

MAX_ENTRIES: Final = 4096
MAX_READ_BYTES: Final = 8 * 1024
"""Longer texts are read anew each time: what they are read into takes several times their length."""

_V = TypeVar("_V")
_all: Final[list[Remembered]] = []  # type: ignore[type-arg]  # of every kind of value


class Remembered(Generic[_V]):
    """Values by the SHA-256 of what they follow from; the one that was asked for longest ago goes first.

    Threads share it. A forked child starts with an empty one. For the life of a process: made once, in a module.
    """

    __slots__ = ("_lock", "_size", "_values")

    def __init__(self, size: int = MAX_ENTRIES) -> None:
        self._size = size
        self.forget()
        _all.append(self)

    def find(self, key: bytes) -> _V | None:
        """The value, or None."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def keep(self, key: bytes, value: _V) -> None:
        """Remember the value until there are too many."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._size:
                self._values.popitem(last=False)

    def forget(self) -> None:
        """Start with none; for tests and measurements, and after a fork, when another thread may hold the lock."""
        self._lock = threading.Lock()
        self._values: OrderedDict[bytes, _V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)


_SIGNATURES: Final[Remembered[bool]] = Remembered()


def check_signature_once(key: PublicKey, message: bytes, signature: bytes) -> bool:
    """What ``check_signature`` says, asked of it once for a signature that is good.

    A signature that is not is checked again each time: failures are anybody's to make, in any number, and would push
    out what is worth keeping.
    """
    known = signature_key(key, message, signature)
    if _SIGNATURES.find(known) is not None:
        return True
    if not check_signature(key, message, signature):
        return False
    _SIGNATURES.keep(known, True)  # noqa: FBT003 - the value is the fact itself
    return True


def signature_key(key: PublicKey, message: bytes, signature: bytes) -> bytes:
    """SHA-256 over everything that the check depends on, each part of fixed length or with its length before it.

    The fingerprint is the digest of the whole key with its kind; the scheme, which follows from the key, is named
    beside it so that no later scheme for the same key can meet an old entry.
    """
    parts = hashlib.sha256(b"%b %b %d " % (key.fingerprint.encode(), key.scheme.encode(), len(signature)))
    parts.update(signature)
    parts.update(message)
    return parts.digest()


def forget_all() -> None:
    """Forget everything; for tests and measurements."""
    for one in _all:
        one.forget()


os.register_at_fork(after_in_child=forget_all)
