"""What SQLite says when it can't, in our words."""

from __future__ import annotations

import sqlite3
from typing import Final

from placet.errors import AuditError, StoreUnavailable

_PRIMARY: Final = 0xFF
_CODES: Final = {
    sqlite3.SQLITE_BUSY: "store_locked",
    sqlite3.SQLITE_LOCKED: "store_locked",
    sqlite3.SQLITE_FULL: "store_full",
    sqlite3.SQLITE_READONLY: "store_readonly",
    sqlite3.SQLITE_CORRUPT: "store_corrupt",
    sqlite3.SQLITE_NOTADB: "store_corrupt",
}
_MISPLACED: Final = {
    sqlite3.SQLITE_CONSTRAINT_ROWID,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_TRIGGER,
}
_SENTENCES: Final = {
    "store_locked": (
        "another process holds the record's store",
        "It is tried again with the next request; find out which process writes to the file.",
    ),
    "store_full": ("the record's store is full", "Free space on its volume or enlarge it; placet goes on by itself."),
    "store_readonly": (
        "the record's store can't be written to",
        "Make the file, its folder and its volume writable; placet goes on by itself.",
    ),
    "store_corrupt": (
        "the record's store is damaged",
        "Keep the file as evidence, run `placet audit verify` on a copy, and restore the last backup.",
    ),
    "store_unavailable": (
        "the record's store can't be reached",
        "Check that the file, its folder and its volume are there; placet goes on by itself.",
    ),
}


def unavailable(code: str, detail: str = "") -> StoreUnavailable:
    """The error of a code, with its sentence and hint."""
    sentence, hint = _SENTENCES[code]
    error = StoreUnavailable(f"{sentence}: {detail}" if detail else sentence, code=code, hint=hint)
    error.shown = sentence
    return error


def is_busy(error: sqlite3.Error) -> bool:
    """Whether waiting may help."""
    return _primary(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def store_error(error: sqlite3.Error | UnicodeDecodeError) -> AuditError:
    """The error of ours for one of SQLite's: ``StoreUnavailable``, or for a broken constraint ``AuditError``.

    ``store_conflict``: the place of the leaf is taken or not the next one. ``record_refused``: any other constraint.
    """
    if isinstance(error, UnicodeDecodeError):  # SQLite's message quotes the damaged bytes, and Python can't show it
        return unavailable("store_corrupt")
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(error, sqlite3.IntegrityError):
        refused = "store_conflict" if code in _MISPLACED else "record_refused"
        return AuditError(f"the store refused the record: {error}", code=refused)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:  # no space for the -shm file
        return unavailable("store_full", str(error))
    return unavailable(_CODES.get(_primary(error), "store_unavailable"), str(error))


def _primary(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR) & _PRIMARY
