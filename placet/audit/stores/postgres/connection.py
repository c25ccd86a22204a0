"""Connections to the database: how long they wait, and what they must be told before a record is trusted to them.

libpq has no time-out for an answer. A server that was stopped, or whose disk hangs, is left by the client's own clock:
the connection is closed, and what it was doing is not known to be done.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import conninfo
from psycopg.abc import PQGen
from psycopg.rows import TupleRow

from placet.audit.location import DatabaseUrl
from placet.audit.stores.postgres import schema
from placet.audit.stores.postgres.arrays import register_arrays
from placet.audit.stores.postgres.failure import INIT_HINT, foreign, unavailable
from placet.errors import AuditError

MINIMUM_SERVER: Final = 150_000
_CONNECT_S: Final = 2  # libpq waits no shorter
_POLL_S: Final = 0.1
_DURABLE: Final = {"on", "remote_apply", "remote_write", "local"}
# A replica that stopped, or whose node is gone, must not hold the state row for ever. A statement is planned once, when
# the record may be empty, and a plan for an empty table reads all of it: whatever there is an index for uses it.
_SESSION: Final = """\
SELECT set_config('synchronous_commit', current_setting('synchronous_commit'), false),
  set_config('search_path', 'placet, pg_catalog, pg_temp', false), set_config('client_encoding', 'UTF8', false),
  set_config('idle_in_transaction_session_timeout', %(idle)s, false), set_config('statement_timeout', '0', false),
  set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '2', false),
  set_config('tcp_keepalives_count', '3', false), set_config('bytea_output', 'hex', false),
  set_config('jit', 'off', false), set_config('enable_seqscan', 'off', false)"""
_FACTS: Final = """\
SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
  obj_description(to_regnamespace('placet'), 'pg_namespace'),
  current_setting('synchronous_commit'), current_setting('fsync'), current_setting('full_page_writes')"""
_RIGHTS: Final = """\
SELECT current_user::text,
  has_table_privilege('placet.leaves', 'INSERT') AND has_table_privilege('placet.blobs', 'INSERT')
    AND has_table_privilege('placet.checkpoints', 'INSERT')
    AND has_table_privilege('placet.blocks', 'INSERT') AND has_table_privilege('placet.terms', 'INSERT')
    AND has_table_privilege('placet.segments', 'INSERT') AND has_table_privilege('placet.postings', 'INSERT')
    AND has_column_privilege('placet.state', 'frontier', 'UPDATE'),
  has_any_column_privilege('placet.leaves', 'UPDATE') OR has_any_column_privilege('placet.checkpoints', 'UPDATE')
    OR has_table_privilege('placet.leaves', 'DELETE, TRUNCATE, TRIGGER')
    OR has_table_privilege('placet.checkpoints', 'DELETE, TRUNCATE, TRIGGER')
    OR has_schema_privilege('placet', 'CREATE')
    OR pg_has_role((SELECT relowner FROM pg_class WHERE oid = 'placet.leaves'::regclass), 'MEMBER')"""

T: TypeAlias = Any


class Link(psycopg.Connection[TupleRow]):
    """A connection that leaves a server which does not answer.

    Attributes:
        give_up: moment on the monotonic clock after which no answer is waited for; None without an end.
        answer_s: the longest that one answer is waited for, seconds; None without an end.
    """

    give_up: float | None = None
    answer_s: float | None = None

    def wait(self, gen: PQGen[T], interval: float = _POLL_S, timeout: float | None = None) -> T:
        """See ``psycopg.Connection``.

        Raises:
            psycopg.OperationalError: there was no answer in time; the connection is closed.
        """
        ends = [] if self.give_up is None else [self.give_up]
        if self.answer_s is not None:
            ends.append(time.monotonic() + self.answer_s)
        if not ends or timeout is not None:
            return super().wait(gen, interval, timeout)
        end = min(ends)
        try:
            return super().wait(gen, interval, max(end - time.monotonic(), 0.001))
        except psycopg.OperationalError:
            if time.monotonic() < end:
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError("the database server does not answer") from None


def connect(url: DatabaseUrl, *, idle_s: float, application: str = "placet") -> Link:
    """A new connection, whose settings a change of the server's no longer reaches.

    Args:
        url: of the database.
        idle_s: seconds after which the server ends a transaction in which nothing is asked; 0 for never.
        application: how it is called in ``pg_stat_activity``.

    Raises:
        psycopg.Error: there is none.
    """
    link = Link.connect(
        conninfo_of(url),
        autocommit=True,
        connect_timeout=_CONNECT_S,
        application_name=application,
        prepare_threshold=3,
    )
    try:
        register_arrays(link)
        link.execute(_SESSION, {"idle": f"{int(idle_s * 1000)}"})
    except BaseException:
        link.close()
        raise
    return link


def is_silent(link: Link) -> bool:
    """Whether the server has said nothing since it was asked last: one that has closed the connection has."""
    heard = select.poll()  # a gate may have more files open than ``select`` knows
    heard.register(link.pgconn.socket, select.POLLIN)
    return not heard.poll(0)


def require_database(link: Link, where: DatabaseUrl) -> None:
    """Check that a record can be kept in the database.

    Raises:
        AuditError: ``store_foreign``.
        psycopg.Error: it can't be read.
    """
    _require_database(_facts(link), where)


def _require_database(facts: tuple[Any, ...], where: DatabaseUrl) -> None:
    server, encoding, *_ = facts
    if server < MINIMUM_SERVER:
        raise foreign(where, f"is on PostgreSQL {server // 10000}", "Use PostgreSQL 15 or newer.")
    if encoding != "UTF8":
        raise foreign(where, f"has the encoding {encoding}", "Make a database with ENCODING 'UTF8'.")


def require_version(link: Link, where: DatabaseUrl) -> None:
    """Check that the database holds a record of the version that this program writes.

    Raises:
        AuditError: ``store_foreign``: it is no record, or one of another version; the hint says which command helps.
        psycopg.Error: it can't be read.
    """
    version = read_version(link, where)
    if version < schema.VERSION:
        raise foreign(
            where,
            f"holds a record of version {version}; this placet writes {schema.VERSION}",
            "Its owner takes it along with `placet audit upgrade-store --store URL`; gates may go on meanwhile.",
        )


def read_version(link: Link, where: DatabaseUrl) -> int:
    """The version of the tables, of a record that this program can read.

    Raises:
        AuditError: ``store_foreign``: it is no record, or one of a newer version.
        psycopg.Error: it can't be read.
    """
    facts = _facts(link)  # asked once: each question is a trip
    _require_database(facts, where)
    comment = facts[2]
    if comment is None or not comment.startswith(schema.COMMENT_START):
        raise foreign(where, "holds no record of placet", INIT_HINT)
    said = comment.removeprefix(schema.COMMENT_START)
    known = {str(version): version for version in range(schema.EARLIEST, schema.VERSION + 1)}
    if said not in known:
        raise foreign(
            where,
            f"holds a record of version {said[:20]}, made by a newer placet; this one knows {schema.VERSION}",
            "Use the placet that made it, or a newer one.",
        )
    return known[said]


def require_durable(link: Link, where: DatabaseUrl) -> None:
    """Check that a commit which has returned survives the server.

    Raises:
        AuditError: ``store_unavailable``: it might not.
        psycopg.Error: it can't be read.
    """
    *_, commit, fsync, pages = _facts(link)
    if commit not in _DURABLE:
        raise _not_durable(where, "synchronous_commit", commit)
    for name, value in (("fsync", fsync), ("full_page_writes", pages)):
        if value != "on":
            raise _not_durable(where, name, value)


def require_role(link: Link, where: DatabaseUrl) -> None:
    """Check that the role may add to the record and, as far as PostgreSQL goes, may not change it.

    Raises:
        StoreUnavailable: ``store_readonly``: it may not add.
        AuditError: ``store_role``: it may change or remove.
        psycopg.Error: it can't be read.
    """
    row = link.execute(_RIGHTS).fetchone() or ("", False, True)
    if not row[1]:
        raise unavailable("store_readonly", f"the role {row[0]} may not add to {where}")
    if row[2]:
        raise AuditError(
            f"the role {row[0]} may change or remove what is in {where}",
            code="store_role",
            hint="Connect as the role that `placet audit init-store` made for the gate, neither as the owner nor as a "
            "superuser.",
        )


def not_durable_now(where: DatabaseUrl, name: str) -> AuditError:
    """A setting that was changed while the server ran."""
    return _not_durable(where, name, "off")


def _not_durable(where: DatabaseUrl, name: str, value: str) -> AuditError:
    error = unavailable("store_unavailable", f"{where} has {name} = {value}, and what it says is stored may be lost")
    error.hint = f"Set {name} = on for the server, the database and the role."
    return error


def _facts(link: Link) -> tuple[Any, ...]:
    row = link.execute(_FACTS).fetchone()
    return row if row is not None else (0, "", None, "", "", "")


def conninfo_of(url: DatabaseUrl, environment: Callable[[str], str | None] = os.environ.get) -> str:
    """What libpq is told: the address, and that another machine must show who it is where nothing else is said."""
    said = conninfo.conninfo_to_dict(url)
    host = str(said.get("host") or said.get("hostaddr") or environment("PGHOST") or "")
    own = all(one in {"", "localhost", "127.0.0.1", "::1"} or one.startswith(("/", "@")) for one in host.split(","))
    decided = said.get("sslmode") or said.get("service") or environment("PGSSLMODE") or environment("PGSERVICE")
    return url if own or decided else conninfo.make_conninfo(url, sslmode="verify-full")
