"""What PostgreSQL and libpq say when they can't, in our words."""

from __future__ import annotations

from typing import Final

import psycopg

from placet.errors import AuditError, StoreUnavailable

APPEND_ONLY: Final = "PL001"  # SQLSTATE of our triggers
_SENTENCES: Final = {
    "store_locked": (
        "another process holds the record's store",
        "It is tried again with the next request; pg_stat_activity shows who holds the row of placet.state.",
    ),
    "store_full": (
        "the record's store is full",
        "Free space on the database server's volume or enlarge it; placet goes on by itself.",
    ),
    "store_readonly": (
        "the record's store can't be written to",
        "Connect to the primary as the role that `placet audit init-store` made; placet goes on by itself.",
    ),
    "store_corrupt": (
        "the record's store is damaged",
        "Keep the database as evidence, run `placet audit verify` on a copy, and restore the last backup.",
    ),
    "store_unavailable": (
        "the record's store can't be reached",
        "Check the database server, record.store and the password's environment; placet goes on by itself.",
    ),
}
# SQLSTATE, or its first two characters -> code
_CODES: Final = {
    "55P03": "store_locked",  # lock_not_available
    "40P01": "store_locked",  # deadlock_detected
    "53100": "store_full",  # disk_full
    "25006": "store_readonly",  # read_only_sql_transaction
    "42501": "store_readonly",  # insufficient_privilege
    "XX001": "store_corrupt",  # data_corrupted
    "XX002": "store_corrupt",  # index_corrupted
}
_NO_RECORD: Final = {"42P01", "3F000", "42703", "42883"}  # undefined table, schema, column, function
_REFUSED: Final = ("22", "23", "54")  # data exception, integrity constraint, program limit
_MISPLACED: Final = "leaves_pkey"
_STATE: Final = "state"


def unavailable(code: str, detail: str = "") -> StoreUnavailable:
    """The error of a code, with its sentence and hint."""
    sentence, hint = _SENTENCES[code]
    error = StoreUnavailable(f"{sentence}: {detail}" if detail else sentence, code=code, hint=hint)
    error.shown = sentence  # libpq names the server, and its address
    return error


def foreign(where: object, what: str, hint: str) -> AuditError:
    """There is no record, or none that this program knows."""
    error = AuditError(f"{where} {what}", code="store_foreign", hint=hint)
    error.shown = f"the record's database {what.partition(':')[0]}"
    return error


def store_error(error: psycopg.Error) -> AuditError:
    """The error of ours for one of PostgreSQL's.

    ``store_conflict``: the place of the leaf is taken or not the next one, or the state row is not what was supposed.
    ``record_refused``: any other constraint. ``store_foreign``: a table is not there.
    """
    state = error.sqlstate or ""
    said = _first_line(error)
    misplaced = (state == "23505" and error.diag.constraint_name == _MISPLACED) or (
        state == "23514" and error.diag.table_name == _STATE
    )
    if state == APPEND_ONLY or misplaced:
        return _refused("store_conflict", said)
    if state in _NO_RECORD:
        return foreign("the database", f"holds no record of this version: {said}", INIT_HINT)
    if state[:2] in _REFUSED or (isinstance(error, psycopg.DataError) and not state):
        return _refused("record_refused", said)
    return unavailable(_CODES.get(state, "store_unavailable"), said)


def _refused(code: str, said: str) -> AuditError:
    error = AuditError(f"the store refused the record: {said}", code=code)
    error.shown = "the store refused the record"
    return error


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone rather than the statement wrong."""
    state = error.sqlstate or ""
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and state[:2] in {"", "08", "57"}


INIT_HINT: Final = "Its owner makes the tables with `placet audit init-store`."


def _first_line(error: psycopg.Error) -> str:
    """What the server said, without its DETAIL, which repeats values of the row."""
    message = error.diag.message_primary or str(error)
    return " ".join(message.split("\n", maxsplit=1)[0].split())[:300]
