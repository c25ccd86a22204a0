"""Tables of the SQLite store, version 4, as in docs/formats-audit.md; ``placet audit verify`` compares them.

Whoever changes anything here counts ``VERSION`` up, keeps what it was in ``placet.audit.stores.past``, and adds a step
to ``placet.audit.stores.steps`` and to ``placet.audit.stores.postgres.upgrade``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

APPLICATION_ID: Final = 0x706C6374  # "plct", in the header of the file
VERSION: Final = 4

# The leaf stands last: a scan of the hashes then never follows its overflow pages.
_LEAVES: Final = """\
CREATE TABLE leaves (
  idx INTEGER PRIMARY KEY CHECK (idx >= 0),
  leaf_hash BLOB NOT NULL CHECK (length(leaf_hash) = 32),
  leaf_type TEXT NOT NULL,
  time TEXT NOT NULL,
  uid TEXT UNIQUE,
  decision_id TEXT UNIQUE,
  request_digest TEXT,
  cluster TEXT NOT NULL,
  environment TEXT NOT NULL,
  namespace TEXT NOT NULL,
  kind TEXT NOT NULL,
  object_name TEXT NOT NULL,
  requester TEXT NOT NULL,
  model TEXT NOT NULL,
  projection TEXT NOT NULL,
  allowed INTEGER CHECK (allowed IN (0, 1)),
  approved INTEGER CHECK (approved IN (0, 1)),
  violations TEXT NOT NULL,
  leaf BLOB NOT NULL CHECK (length(leaf) <= 32768)
) STRICT"""

_STATE: Final = """\
CREATE TABLE state (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  origin TEXT NOT NULL,
  size INTEGER NOT NULL CHECK (size >= 0),
  frontier BLOB NOT NULL
) STRICT"""

_CHECKPOINTS: Final = """\
CREATE TABLE checkpoints (
  size INTEGER PRIMARY KEY CHECK (size >= 0),
  root BLOB NOT NULL CHECK (length(root) = 32),
  frontier BLOB NOT NULL,
  note TEXT NOT NULL
) STRICT"""

_BLOBS: Final = """\
CREATE TABLE blobs (
  idx INTEGER NOT NULL,
  name TEXT NOT NULL,
  sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
  content BLOB NOT NULL,
  UNIQUE (idx, name)
) STRICT"""

# What records are found by: which leaves of a block of 1,024 say a term. Derived from leaves, and made anew where need
# be, so that nothing guards it but ``placet audit verify``. Blocks stand one behind the other: one is written, and
# compared, in one place.
_BLOCKS: Final = """\
CREATE TABLE blocks (
  block INTEGER PRIMARY KEY CHECK (block >= 0),
  earliest TEXT NOT NULL,
  latest TEXT NOT NULL
) STRICT"""

_TERMS: Final = """\
CREATE TABLE terms (
  block INTEGER NOT NULL,
  term INTEGER NOT NULL,
  members BLOB NOT NULL CHECK (length(members) >= 2),
  PRIMARY KEY (block, term)
) STRICT, WITHOUT ROWID"""

# The same of 16 blocks at once, sorted by term, so that a search asks once for 16,384 leaves. Parts stand on pages of
# their own table, two on one; what finds them is small.
_SEGMENTS: Final = """\
CREATE TABLE segments (
  segment INTEGER PRIMARY KEY CHECK (segment >= 0),
  earliest TEXT NOT NULL,
  latest TEXT NOT NULL,
  parts INTEGER NOT NULL CHECK (parts >= 0)
) STRICT"""

_POSTINGS: Final = """\
CREATE TABLE postings (
  segment INTEGER NOT NULL,
  first INTEGER NOT NULL,
  entries BLOB NOT NULL CHECK (length(entries) >= 14),
  PRIMARY KEY (segment, first)
) STRICT"""

_INDEXES: Final = {
    "leaves_by_object": (
        "CREATE INDEX leaves_by_object ON leaves (environment, namespace, kind, object_name, idx) WHERE allowed = 1"
    ),
    "leaves_by_model": "CREATE INDEX leaves_by_model ON leaves (model, environment, cluster, idx) WHERE approved = 1",
    "leaves_by_content": (
        "CREATE INDEX leaves_by_content ON leaves "
        "(projection, object_name, namespace, kind, environment, cluster, idx) WHERE approved = 1"
    ),
    "leaves_by_type": "CREATE INDEX leaves_by_type ON leaves (leaf_type, idx) WHERE leaf_type <> 'decision'",
}


def _refusal(table: str, verb: str) -> str:
    return (
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END"
    )


# Attachments may be erased, never changed. The state row is the one thing that is written over.
_REFUSED: Final = (
    ("leaves", "UPDATE"),
    ("leaves", "DELETE"),
    ("checkpoints", "UPDATE"),
    ("checkpoints", "DELETE"),
    ("state", "DELETE"),
    ("blobs", "UPDATE"),
)

# Also what INSERT OR REPLACE would delete without asking the trigger on DELETE.
_IN_ORDER: Final = (
    "CREATE TRIGGER leaves_in_order BEFORE INSERT ON leaves "
    "WHEN NEW.idx <> (SELECT coalesce(max(idx) + 1, 0) FROM leaves) "
    "BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END"
)

# name in sqlite_schema -> (type, statement)
OBJECTS: Final[dict[str, tuple[str, str]]] = {
    "leaves": ("table", _LEAVES),
    "state": ("table", _STATE),
    "checkpoints": ("table", _CHECKPOINTS),
    "blobs": ("table", _BLOBS),
    "blocks": ("table", _BLOCKS),
    "terms": ("table", _TERMS),
    "segments": ("table", _SEGMENTS),
    "postings": ("table", _POSTINGS),
    **{name: ("index", statement) for name, statement in _INDEXES.items()},
    "leaves_in_order": ("trigger", _IN_ORDER),
    **{f"{table}_no_{verb.lower()}": ("trigger", _refusal(table, verb)) for table, verb in _REFUSED},
}

TABLES: Final = frozenset(name for name, (kind, _) in OBJECTS.items() if kind == "table")


def create(connection: sqlite3.Connection, *, origin: str) -> None:
    """Make the tables of an empty log, inside the caller's transaction."""
    for _, statement in OBJECTS.values():
        connection.execute(statement)
    connection.execute("INSERT INTO state (id, origin, size, frontier) VALUES (1, ?, 0, x'')", (origin,))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def differences(connection: sqlite3.Connection, expected: Mapping[str, tuple[str, str]] = OBJECTS) -> list[str]:
    """Names of tables, indexes, triggers and views that are missing, changed or foreign."""
    found = read_objects(connection)
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def read_objects(connection: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """What is there: name -> (type, statement)."""
    return {
        str(name): (str(kind), str(statement))
        for kind, name, statement in connection.execute(
            "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
        )
    }
