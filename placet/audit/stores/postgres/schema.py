"""Tables of the PostgreSQL store: those of the SQLite store, in PostgreSQL's words, and what guards them.

Tables and indexes are made from the statements of ``placet.audit.stores.schema``: there is one description of them.
Types differ by name alone. Text is compared byte by byte (collation ``C``), as SQLite does. Triggers are this store's
own: PostgreSQL's are functions, and it has TRUNCATE.
"""

from __future__ import annotations

import importlib.resources
import json
from typing import Any, Final

import psycopg

from placet.audit.stores import schema
from placet.audit.stores.postgres.failure import APPEND_ONLY

NAMESPACE: Final = "placet"
VERSION: Final = schema.VERSION
COMMENT_START: Final = "record of placet, version "
EARLIEST: Final = 2  # there was no version 1 of it
TABLES: Final = ("leaves", "state", "checkpoints", "blobs", "blocks", "terms", "segments", "postings")
_ADDED_TO: Final = tuple(name for name in TABLES if name != "state")
_REFUSED: Final = (
    ("leaves", "UPDATE"),
    ("leaves", "DELETE"),
    ("leaves", "TRUNCATE"),
    ("checkpoints", "UPDATE"),
    ("checkpoints", "DELETE"),
    ("checkpoints", "TRUNCATE"),
    ("state", "DELETE"),
    ("state", "TRUNCATE"),
    ("blobs", "UPDATE"),
    ("blobs", "TRUNCATE"),
)
_REFUSE: Final = f"BEGIN RAISE EXCEPTION 'the record is append-only' USING ERRCODE = '{APPEND_ONLY}'; END"
# The function is VOLATILE: for each row it sees those that the same statement has inserted before.
_IN_ORDER: Final = (
    "BEGIN IF NEW.idx <> (SELECT coalesce(max(idx) + 1, 0) FROM placet.leaves) THEN "  # noqa: S608 - our own words
    f"RAISE EXCEPTION 'the record is append-only' USING ERRCODE = '{APPEND_ONLY}'; END IF; RETURN NEW; END"
)
FUNCTIONS: Final = {"refuse": _REFUSE, "require_order": _IN_ORDER}
SEARCH_PATH: Final = "pg_catalog, pg_temp"


def create_statements(origin: str) -> list[str]:
    """What makes an empty record, in order; for its owner, in one transaction."""
    return [
        f"CREATE SCHEMA {NAMESPACE}",
        comment_statement(VERSION),
        *(translated(statement) for kind, statement in schema.OBJECTS.values() if kind in {"table", "index"}),
        *(
            f"CREATE FUNCTION {NAMESPACE}.{name}() RETURNS trigger LANGUAGE plpgsql "
            f"SET search_path = {SEARCH_PATH} AS $${body}$$"
            for name, body in FUNCTIONS.items()
        ),
        *(definition for _, definition in TRIGGERS.values()),
        f"INSERT INTO {NAMESPACE}.state (id, origin, size, frontier) VALUES (1, {_quoted(origin)}, 0, '')",  # noqa: S608 - quoted
    ]


def comment_statement(version: int) -> str:
    """What says of which version the tables are."""
    return f"COMMENT ON SCHEMA {NAMESPACE} IS {_quoted(f'{COMMENT_START}{version}')}"


def grant_statements(*, gate: str, auditor: str = "") -> list[str]:
    """What the roles may do: the gate adds and reads, an auditor reads; nobody but the owner changes a table."""
    statements = [
        f"REVOKE ALL ON SCHEMA {NAMESPACE} FROM PUBLIC",
        *_role(gate),
        f"GRANT SELECT, INSERT ON {_all(*_ADDED_TO)} TO {_name(gate)}",
        f"GRANT SELECT, UPDATE (size, frontier) ON {_all('state')} TO {_name(gate)}",
    ]
    if auditor:
        statements += [*_role(auditor), f"GRANT SELECT ON {_all(*TABLES)} TO {_name(auditor)}"]
    return statements


def _role(role: str) -> list[str]:
    make = (
        f"DO $do$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {_quoted(role)}) THEN "
        f"CREATE ROLE {_name(role)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE; END IF; END $do$"
    )
    return [make, f"GRANT USAGE ON SCHEMA {NAMESPACE} TO {_name(role)}"]


def _all(*tables: str) -> str:
    return ", ".join(f"{NAMESPACE}.{table}" for table in tables)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'


def translated(statement: str) -> str:
    """A statement of the SQLite schema for PostgreSQL."""
    for ours, theirs in (
        ("CREATE TABLE ", f"CREATE TABLE {NAMESPACE}."),
        (") STRICT, WITHOUT ROWID", ")"),
        (") STRICT", ")"),
        (" INTEGER", " bigint"),
        (" TEXT", ' text COLLATE "C"'),
        (" BLOB", " bytea"),
        (" ON leaves ", f" ON {NAMESPACE}.leaves "),
    ):
        statement = statement.replace(ours, theirs)
    return statement


def _triggers() -> dict[str, tuple[str, str]]:
    found = {}
    for table, verb in _REFUSED:
        name, each = f"{table}_no_{verb.lower()}", "STATEMENT" if verb == "TRUNCATE" else "ROW"
        found[name] = (table, _trigger(name, verb, table, each, "refuse"))
    found["leaves_in_order"] = ("leaves", _trigger("leaves_in_order", "INSERT", "leaves", "ROW", "require_order"))
    return found


def _trigger(name: str, verb: str, table: str, each: str, function: str) -> str:
    """As ``pg_get_triggerdef`` writes it too."""
    return (
        f"CREATE TRIGGER {name} BEFORE {verb} ON {NAMESPACE}.{table} FOR EACH {each} "
        f"EXECUTE FUNCTION {NAMESPACE}.{function}()"
    )


# name -> (table, statement)
TRIGGERS: Final = _triggers()

# Everything in our schema as PostgreSQL writes it down, a line each: kind, name, definition. A trigger that was
# disabled has another ``tgenabled``, a table whose rows a policy hides another ``relrowsecurity``.
_INVENTORY: Final = """\
SELECT CASE c.relkind WHEN 'i' THEN 'index' ELSE 'table' END, c.relname::text,
  CASE WHEN c.relkind = 'i' THEN
    pg_get_indexdef(c.oid) || CASE WHEN i.indisvalid AND i.indisready AND i.indislive THEN '' ELSE ' INVALID' END
  ELSE concat_ws(' ', c.relkind, c.relpersistence, c.relrowsecurity, c.relhasrules, c.relispartition,
    (SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef,
      a.attidentity, a.attgenerated, l.collname), ', ' ORDER BY a.attnum)
     FROM pg_attribute a LEFT JOIN pg_collation l ON l.oid = a.attcollation
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)) END
FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.relnamespace = 'placet'::regnamespace
UNION ALL
SELECT 'constraint', conname::text, concat_ws(' ', conrelid::regclass, pg_get_constraintdef(oid), convalidated)
FROM pg_constraint WHERE connamespace = 'placet'::regnamespace AND contype <> 'n'
UNION ALL
SELECT 'trigger', tgname::text, pg_get_triggerdef(oid) || ' ' || tgenabled::text FROM pg_trigger
WHERE NOT tgisinternal AND tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'placet'::regnamespace)
UNION ALL
SELECT 'function', proname::text, concat_ws(' ', prosecdef, provolatile, proconfig::text, prosrc)
FROM pg_proc WHERE pronamespace = 'placet'::regnamespace"""


def read_inventory(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """What is there: kind and name -> definition."""
    return {f"{kind} {name}": str(definition) for kind, name, definition in connection.execute(_INVENTORY)}


def differences(connection: psycopg.Connection[Any], version: int = VERSION) -> list[str]:
    """Names of tables, indexes, triggers, functions and whatever else is missing, changed or foreign."""
    found, made = read_inventory(connection), load_inventory(version)
    return sorted({_bare(key) for key in found.keys() | made.keys() if found.get(key) != made.get(key)})


def load_inventory(version: int = VERSION) -> dict[str, str]:
    """What ``read_inventory`` finds in a new record of that version, from PostgreSQL 15 to 18."""
    raw = importlib.resources.files(__package__).joinpath(f"inventory-{version}.json").read_bytes()
    made: dict[str, str] = json.loads(raw)
    return made


def _bare(key: str) -> str:
    """Name of an object; a constraint is named with its table, which it is a part of."""
    return key.split(" ", maxsplit=1)[1]
