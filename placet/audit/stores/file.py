"""The file of a SQLite store: making it, telling it from another one, opening it without changing it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from placet.audit.stores import past, schema
from placet.audit.stores.failure import store_error
from placet.audit.stores.reader import SqliteReader
from placet.errors import AuditError, InputError

KNOWN_VERSIONS: Final = frozenset(shape.version for shape in past.SHAPES)


def uri(path: Path, parameters: str) -> str:
    """The path as SQLite takes it with parameters."""
    return f"file:{quote(os.fspath(path.absolute()))}?{parameters}"


def identity(path: Path) -> tuple[int, int]:
    """Device and inode of the file; raises OSError where there is none."""
    status = path.stat()
    return status.st_dev, status.st_ino


def create_file(path: Path) -> None:
    """Make an empty file that only its owner can read, unless there is one; SQLite would use the umask."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def sync_folder(path: Path) -> None:
    """Make the file's name durable."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of the tables, of a file that this program can read.

    Raises:
        AuditError: ``store_foreign``: it is no record, or one of a newer version.
        sqlite3.Error: it can't be read.
    """
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if application != schema.APPLICATION_ID:
        raise AuditError(f"{path} is a SQLite file but no record of placet", code="store_foreign")
    if version not in KNOWN_VERSIONS:
        raise AuditError(
            f"{path} is a record of version {version}, written by a newer placet; this one knows {schema.VERSION}",
            code="store_foreign",
            hint="Use the placet that wrote it, or a newer one.",
        )
    return int(version)


def _any_text(raw: bytes) -> str:
    """What is damaged must be compared, not refused by the decoder."""
    return raw.decode("utf-8", errors="surrogateescape")


@contextlib.contextmanager
def open_readonly(path: Path) -> Iterator[SqliteReader]:
    """One view of a store file, live or a copy, that can't change it.

    A file without a write-ahead log is opened as immutable, so that a copy on a read-only medium can be read.

    Raises:
        InputError: there is no such file.
        AuditError: ``store_foreign`` when it is no record, or one of a newer version.
        StoreUnavailable: it can't be read, ``store_corrupt`` when it is damaged.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file", hint="Name the SQLite file of a record.")
    log = path.with_name(f"{path.name}-wal")
    parameters = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    connection = None
    try:
        connection = sqlite3.connect(uri(path, parameters), uri=True, timeout=5.0, isolation_level=None)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("BEGIN")
        shape = past.read_shape(connection, read_version(connection, path)) or past.NEWEST
        yield SqliteReader(connection, shape, lenient=_any_text)
    except (sqlite3.Error, UnicodeDecodeError) as exc:
        raise store_error(exc) from exc
    finally:
        if connection is not None:
            connection.close()
