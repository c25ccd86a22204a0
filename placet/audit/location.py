"""Where a record is: a SQLite file, or a database of a PostgreSQL server by its address without a password."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from placet.errors import InputError

if TYPE_CHECKING:  # the configuration and every option need this module, and none of them opens a store
    from placet.audit.stores import Auditable, Store
    from placet.audit.stores.upgrade import Progress, Upgraded

SCHEMES: Final = ("postgresql://", "postgres://")
OPEN_DEADLINE_S: Final = 5.0
# What libpq takes in an address, but for what is secret and for ``options``, which would change how the server works.
_PARAMETERS: Final = frozenset(
    {
        "application_name",
        "channel_binding",
        "connect_timeout",
        "dbname",
        "gssencmode",
        "host",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "krbsrvname",
        "passfile",
        "port",
        "require_auth",
        "service",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslrootcert",
        "target_session_attrs",
        "tcp_user_timeout",
        "user",
    }
)
_FORM: Final = "Write it as postgresql://user@host:port/database?sslmode=verify-full."
_SECRETS: Final = (
    "Give the password by PGPASSWORD, PGPASSFILE or PGSERVICE in the environment: an address is shown and recorded."
)


class DatabaseUrl(str):
    """Address of a PostgreSQL database, ``postgresql://user@host:port/database?sslmode=...``; it holds no secret."""

    __slots__ = ()


StoreLocation: TypeAlias = Path | DatabaseUrl


def is_url(text: str) -> bool:
    """Whether a text is the address of a database, and not the path of a file."""
    return text.startswith(SCHEMES)


def parse_location(text: str, *, folder: Path | None = None) -> StoreLocation:
    """What ``record.store``, ``--store`` and ``PLACET_AUDIT_STORE`` name.

    Args:
        text: the path of a file, or the address of a database.
        folder: what a relative path starts from; the working folder without it.

    Raises:
        InputError: the address holds a password, or says what an address may not. The message never repeats it.
    """
    if not is_url(text):
        return Path(text) if folder is None else folder / text
    import psycopg  # noqa: PLC0415 - libpq itself says what it would read; only for who needs it
    from psycopg import conninfo  # noqa: PLC0415

    try:
        names = set(conninfo.conninfo_to_dict(text))
    except (psycopg.Error, ValueError):
        raise InputError("the address of the record's database can't be read", hint=_FORM) from None
    if "password" in names:
        raise InputError("the address of the record's database holds a password", hint=_SECRETS)
    if unknown := sorted(names - _PARAMETERS):
        raise InputError(
            f"the address of the record's database may not say {', '.join(unknown)}",
            hint=f"It may say {', '.join(sorted(_PARAMETERS))}.",
        )
    return DatabaseUrl(text)


def open_store(
    location: StoreLocation, *, origin: str, create: bool = True, deadline_s: float = OPEN_DEADLINE_S
) -> Store:
    """Open a record to write to it.

    Args:
        location: where it is.
        origin: the log that is, or will be, kept there.
        create: whether a missing file is made. Tables of a database are made by `placet audit init-store` alone.
        deadline_s: seconds to wait for another process that holds it.

    Raises:
        StoreUnavailable: it can't be opened.
        AuditError: it is no record, that of another log, or may not be written durably.
        TamperError: its state row is missing.
    """
    if isinstance(location, Path):
        from placet.audit.stores.sqlite import SqliteStore  # noqa: PLC0415 - as above

        return SqliteStore.open(location, origin=origin, create=create, deadline_s=deadline_s)
    from placet.audit.stores.postgres.store import PostgresStore  # noqa: PLC0415 - libpq only for who needs it

    return PostgresStore.open(location, origin=origin, deadline_s=deadline_s)


def open_reader(location: StoreLocation) -> AbstractContextManager[Auditable]:
    """One view of a record, which it can't change.

    Raises:
        InputError: there is no such file.
        AuditError: ``store_foreign`` when it is no record, or one of a newer version.
        StoreUnavailable: it can't be read, ``store_corrupt`` when it is damaged.
    """
    if isinstance(location, Path):
        from placet.audit.stores.file import open_readonly  # noqa: PLC0415 - see open_store

        return open_readonly(location)
    from placet.audit.stores.postgres.store import open_view  # noqa: PLC0415 - libpq only for who needs it

    return open_view(location)


def plan_upgrade(location: StoreLocation) -> Upgraded:
    """What ``upgrade_store`` would do; raises as it does."""
    if isinstance(location, Path):
        from placet.audit.stores.upgrade import plan_file  # noqa: PLC0415 - see open_store

        return plan_file(location)
    from placet.audit.stores.postgres.upgrade import plan_database  # noqa: PLC0415 - libpq only for who needs it

    return plan_database(location)


def upgrade_store(location: StoreLocation, *, progress: Progress, rebuild: bool = False) -> Upgraded:
    """Take a record of an earlier version to the newest, all or nothing.

    Args:
        location: where it is; a database as its owner.
        progress: told leaves done and leaves there are.
        rebuild: whether what records are found by is made anew after it, in a transaction of its own; otherwise what
            is missing of it is added, block by block, while gates go on.

    Raises:
        InputError: there is no such file.
        AuditError: ``store_foreign``: no record, or of a newer version; ``tampered``: it is not what placet wrote.
        StoreUnavailable: it can't be written to.
    """
    if isinstance(location, Path):
        from placet.audit.stores.upgrade import complete_file, rebuild_file, upgrade_file  # noqa: PLC0415 - as above

        done = upgrade_file(location, progress=progress)
        index = rebuild_file if rebuild else complete_file
        return replace(done, blocks=index(location, progress=progress))
    from placet.audit.stores.postgres.upgrade import (  # noqa: PLC0415 - libpq only for who needs it
        complete_database,
        rebuild_database,
        upgrade_database,
    )

    done = upgrade_database(location, progress=progress)
    index_database = rebuild_database if rebuild else complete_database
    return replace(done, blocks=index_database(location, progress=progress))


def is_here(location: StoreLocation) -> bool:
    """Whether a record can be expected there: a file that is not on this machine can't, a database always."""
    return not isinstance(location, Path) or location.is_file()
