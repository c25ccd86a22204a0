"""A log that can be tampered with.

A small store with fixed keys and times is made once; each attack gets a copy of it. Triggers are out of the way while
it works and are put back after it, as somebody who owns the file would do::

    path = build_log(tmp_path / "record.db")
    with surgery(path) as database:
        database.execute("DELETE FROM leaves WHERE idx = 7")
    assert verify_file(path, [LOG_KEY.verifier]).kinds == ("missing",)

A careless attacker changes what matters. A careful one then calls ``cover_up``, which makes hashes, search columns and
state agree with the leaves again. Nobody here has the log's key, but for ``fork``.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet.audit.checkpoint import sign_checkpoint
from placet.audit.location import StoreLocation
from placet.audit.log import AuditLog, render_time
from placet.audit.merkle import Frontier, hash_leaf
from placet.audit.note import LogKey
from placet.audit.record import parse_leaf, render_leaf
from placet.audit.stores.reader import COLUMNS
from placet.audit.stores.schema import OBJECTS
from placet.canonical import Digest
from tests.simulators.pgsurgery import database_surgery

Body = dict[str, Any]
_L = TypeVar("_L", bound=StoreLocation)

ORIGIN: Final = "placet.dev/log/test"
LOG_KEY: Final = LogKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER_KEY: Final = LogKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
START: Final = datetime(2026, 11, 22, 18, tzinfo=UTC)
SIZE: Final = 21
SIGNED: Final = (5, 12, 18)  # sizes of the checkpoints in the store


def decision(number: int, **changes: Any) -> Body:
    """Body of a decision leaf; what follows from the number is different for each."""
    policy_input = policy_input_of(number)
    body: Body = {
        "schema": "placet.dev/record/v1",
        "type": "decision",
        "decision_id": f"decision-{number}",
        "uid": f"uid-{number}",
        "time": render_time(START + timedelta(seconds=number)),
        "cluster": "prod-eu-1",
        "environment": "production",
        "operation": "UPDATE",
        "dry_run": False,
        "group": "apps",
        "version": "v1",
        "kind": "Deployment",
        "subresource": "",
        "namespace": "ml",
        "name": f"llama-{number % 3}",
        "object_uid": "",
        "user": "alice@example.org",
        "allowed": number % 4 != 0,
        "approved": number % 4 != 0,
        "mode": "enforce",
        "violations": [] if number % 4 else [{"rule": "approvals.required", "code": "role_missing"}],
        "warnings": [],
        "risk": {
            "score": 665,
            "level": "high",
            "factors": {"model_complexity": 8},
            "inputs_digest": f"sha256:{'1' * 64}",
        },
        "required_roles": ["technical", "security"],
        "granted_roles": ["technical", "security"] if number % 4 else ["technical"],
        "approvals": [],
        "rejected": [],
        "images": [],
        "projection": f"sha256:{'2' * 64}",
        "model": {"name": "llama-3.1-70b", "version": "1.0.0", "digest": f"sha256:{'3' * 64}"},
        "request_digest": str(Digest.of(f"request {number}".encode())),
        "input_digest": str(Digest.of(policy_input)),
        "latency_us": 1500,
    }
    return body | changes


def policy_input_of(number: int) -> bytes:
    """What is attached to the decision of that number."""
    return f'{{"uid":"uid-{number}"}}'.encode()


def append(log: AuditLog, number: int, **changes: Any) -> None:
    """Append a decision with its attachment."""
    body = decision(number, **changes)
    log.append(body, uid=body["uid"], attachments={"input": policy_input_of(number)})


def build_log(path: _L, *, size: int = SIZE, signed: tuple[int, ...] = SIGNED, key: LogKey = LOG_KEY) -> _L:
    """A store with ``size`` leaves, a heartbeat third, and checkpoints at the given sizes; closed, without a WAL."""
    log = AuditLog.open(path, origin=ORIGIN, key=key)
    for number in range(size):
        if number == 2:
            log.heartbeat(START + timedelta(seconds=number))
        else:
            append(log, number)
        if number + 1 in signed:
            log.checkpoint()
    log.close()
    return path


@contextlib.contextmanager
def surgery(path: StoreLocation) -> Iterator[sqlite3.Connection]:
    """A connection that may do anything; the triggers are back afterwards."""
    if not isinstance(path, Path):
        with database_surgery(path) as database:
            yield cast("sqlite3.Connection", database)  # takes the same statements
        return
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        triggers = {name: statement for name, (kind, statement) in OBJECTS.items() if kind == "trigger"}
        for name in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        yield connection
        for statement in triggers.values():
            connection.execute(statement)
        connection.execute("COMMIT")
    finally:
        connection.close()


def cover_up(database: sqlite3.Connection) -> None:
    """Make hashes, columns, indexes without gaps and the state row agree with the leaves."""
    rows = database.execute("SELECT idx, leaf FROM leaves ORDER BY idx").fetchall()
    blobs = {idx: (name, sha256, content) for idx, name, sha256, content in database.execute("SELECT * FROM blobs")}
    database.execute("DELETE FROM leaves")
    database.execute("DELETE FROM blobs")
    tree = Frontier()
    for index, (old_index, raw) in enumerate(rows):
        tree.append(hash_leaf(raw))
        values = (index, hash_leaf(raw), raw, *astuple(parse_leaf(raw).columns))
        names = f"idx, leaf_hash, leaf, {', '.join(COLUMNS)}"
        database.execute(f"INSERT INTO leaves ({names}) VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608
        if old_index in blobs:
            database.execute("INSERT INTO blobs VALUES (?, ?, ?, ?)", (index, *blobs[old_index]))
    database.execute("UPDATE state SET size = ?, frontier = ?", (tree.size, tree.render()))


def sign_anew(database: sqlite3.Connection, key: LogKey) -> None:
    """Sign what is there, as somebody can who has the log's key; after ``cover_up``."""
    sizes = [size for (size,) in database.execute("SELECT size FROM checkpoints ORDER BY size")]
    database.execute("DELETE FROM checkpoints")
    tree = Frontier()
    for (leaf_hash,) in database.execute("SELECT leaf_hash FROM leaves ORDER BY idx").fetchall():
        tree.append(leaf_hash)
        if tree.size in sizes:
            note = sign_checkpoint(key, size=tree.size, root=tree.root()).note
            values = (tree.size, tree.root(), tree.render(), note)
            database.execute("INSERT INTO checkpoints VALUES (?, ?, ?, ?)", values)


def raw_leaf(database: sqlite3.Connection, index: int) -> bytes:
    """Bytes of a leaf."""
    (raw,) = database.execute("SELECT leaf FROM leaves WHERE idx = ?", (index,)).fetchone()
    assert isinstance(raw, bytes)
    return raw


def put_leaf(database: sqlite3.Connection, index: int, raw: bytes) -> None:
    """Replace the bytes of a leaf and nothing else."""
    database.execute("UPDATE leaves SET leaf = ? WHERE idx = ?", (raw, index))


def allow(database: sqlite3.Connection, index: int) -> None:
    """Turn a denial into an allow."""
    body = dict(parse_leaf(raw_leaf(database, index)).body) | {"allowed": True, "violations": []}
    put_leaf(database, index, render_leaf(body).raw)


def exchange(database: sqlite3.Connection, first: int, second: int, what: str) -> None:
    """Exchange one column of two leaves."""
    rows = dict(database.execute(f"SELECT idx, {what} FROM leaves WHERE idx IN (?, ?)", (first, second)).fetchall())  # noqa: S608
    database.execute(f"UPDATE leaves SET {what} = NULL WHERE idx = ?" if what == "uid" else "SELECT ?", (first,))  # noqa: S608
    for index, other in ((second, first), (first, second)):
        database.execute(f"UPDATE leaves SET {what} = ? WHERE idx = ?", (rows[other], index))  # noqa: S608


def exchange_rows(database: sqlite3.Connection, first: int, second: int) -> None:
    """Exchange two leaves with everything that stands beside them."""
    for old, new in ((first, 10**6), (second, first), (10**6, second)):
        database.execute("UPDATE leaves SET idx = ? WHERE idx = ?", (new, old))
        database.execute("UPDATE blobs SET idx = ? WHERE idx = ?", (new, old))


def insert_at(database: sqlite3.Connection, index: int, body: Body) -> None:
    """Put a leaf in, and move what follows on."""
    for (old,) in database.execute("SELECT idx FROM leaves WHERE idx >= ? ORDER BY idx DESC", (index,)).fetchall():
        database.execute("UPDATE leaves SET idx = idx + 1 WHERE idx = ?", (old,))
        database.execute("UPDATE blobs SET idx = idx + 1 WHERE idx = ?", (old,))
    leaf = render_leaf(body)
    values = (index, leaf.hash, leaf.raw, *astuple(leaf.columns))
    names = f"idx, leaf_hash, leaf, {', '.join(COLUMNS)}"
    database.execute(f"INSERT INTO leaves ({names}) VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608


def delete(database: sqlite3.Connection, first: int, end: int) -> None:
    """Take leaves out, with their attachments."""
    for table in ("leaves", "blobs"):
        database.execute(f"DELETE FROM {table} WHERE idx >= ? AND idx < ?", (first, end))  # noqa: S608


def truncate(database: sqlite3.Connection, size: int, *, checkpoints: bool) -> None:
    """Cut the log back to a size, perhaps with the checkpoints beyond it."""
    delete(database, size, 10**9)
    if checkpoints:
        database.execute("DELETE FROM checkpoints WHERE size > ?", (size,))


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to tamper with a store.

    Attributes:
        name: says who did what.
        work: does it, inside ``surgery``.
        kind: what a verifier must call it.
        index: first bad leaf that it must name; None where it can't know one.
        in_log: whether leaves, order or signatures are concerned, and not only what stands beside them.
        needs_saved: whether only a checkpoint that was kept elsewhere can tell.
    """

    name: str
    work: Callable[[sqlite3.Connection], object]
    kind: str
    index: int | None
    in_log: bool = True
    needs_saved: bool = False


def _then_cover_up(work: Callable[[sqlite3.Connection], object]) -> Callable[[sqlite3.Connection], None]:
    def both(database: sqlite3.Connection) -> None:
        work(database)
        cover_up(database)

    return both


def _sql(statement: str, *values: Any) -> Callable[[sqlite3.Connection], object]:
    return lambda database: database.execute(statement, values)


def _other_note(database: sqlite3.Connection) -> None:
    (root,) = database.execute("SELECT root FROM checkpoints WHERE size = 12").fetchone()
    note = sign_checkpoint(OTHER_KEY, size=12, root=root).note
    database.execute("UPDATE checkpoints SET note = ? WHERE size = 12", (note,))


def _allow_and_rehash(database: sqlite3.Connection) -> None:
    index = 8
    allow(database, index)
    raw = raw_leaf(database, index)
    columns = parse_leaf(raw).columns
    assignments = ", ".join(f"{name} = ?" for name in COLUMNS)
    values = (hash_leaf(raw), *astuple(columns), index)
    database.execute(f"UPDATE leaves SET leaf_hash = ?, {assignments} WHERE idx = ?", values)  # noqa: S608


ATTACKS: Final = (
    Attack("a denial becomes an allow", lambda db: allow(db, 8), "leaf_changed", 8),
    Attack("a denial becomes an allow, covered up", _then_cover_up(lambda db: allow(db, 8)), "rewritten", 5),
    Attack("the last signed leaf is changed, covered up", _then_cover_up(lambda db: allow(db, 16)), "rewritten", 12),
    Attack("a leaf is changed that is not signed for", lambda db: allow(db, 20), "leaf_changed", 20),
    Attack("leaf and hash are changed", _allow_and_rehash, "rewritten", 5),
    Attack(
        "a stored hash is changed", _sql("UPDATE leaves SET leaf_hash = zeroblob(32) WHERE idx = 9"), "leaf_changed", 9
    ),
    Attack(
        "a space is put into a leaf",
        lambda db: put_leaf(db, 3, raw_leaf(db, 3).replace(b":", b": ", 1)),
        "leaf_malformed",
        3,
    ),
    Attack("a leaf is emptied", lambda db: put_leaf(db, 3, b""), "leaf_malformed", 3),
    Attack("a leaf is deleted", lambda db: delete(db, 7, 8), "missing", 7),
    Attack("the first leaf is deleted", lambda db: delete(db, 0, 1), "missing", 0),
    Attack("a leaf is deleted, covered up", _then_cover_up(lambda db: delete(db, 7, 8)), "rewritten", 5),
    Attack("the last leaf is deleted", lambda db: delete(db, SIZE - 1, SIZE), "truncated", SIZE - 1),
    Attack("two leaves are exchanged", lambda db: exchange(db, 6, 9, "leaf"), "reordered", 6),
    Attack("two rows are exchanged", lambda db: exchange_rows(db, 6, 9), "reordered", 6),
    Attack(
        "two neighbours are exchanged, covered up",
        _then_cover_up(lambda db: exchange_rows(db, 13, 14)),
        "reordered",
        13,
    ),
    Attack("two rows are exchanged that are not signed for", lambda db: exchange_rows(db, 18, 19), "reordered", 18),
    Attack("a leaf is put in", _then_cover_up(lambda db: insert_at(db, 7, decision(99))), "inserted", 7),
    Attack("a leaf is put in at the front", _then_cover_up(lambda db: insert_at(db, 0, decision(99))), "inserted", 0),
    Attack("a leaf is added behind the state", lambda db: insert_at(db, SIZE, decision(99)), "inserted", SIZE),
    Attack("the log is cut back", lambda db: truncate(db, 10, checkpoints=False), "truncated", 10),
    Attack(
        "the log is cut back, covered up",
        _then_cover_up(lambda db: truncate(db, 10, checkpoints=False)),
        "truncated",
        10,
    ),
    Attack(
        "everything is cut back",
        _then_cover_up(lambda db: truncate(db, 10, checkpoints=True)),
        "rolled_back",
        10,
        needs_saved=True,
    ),
    Attack("all leaves are removed", lambda db: delete(db, 0, SIZE), "truncated", 0),
    Attack("the state says less", _sql("UPDATE state SET size = 16, frontier = zeroblob(32)"), "state_changed", None),
    Attack("the frontier is changed", _sql("UPDATE state SET frontier = zeroblob(96)"), "state_changed", 18),
    Attack(
        "the state is of another log",
        _sql("UPDATE state SET origin = 'placet.dev/log/other'"),
        "state_changed",
        None,
        in_log=False,
    ),
    Attack("the state row is removed", _sql("DELETE FROM state"), "state_changed", None),
    Attack("a checkpoint is by another key", _other_note, "checkpoint_invalid", None),
    Attack(
        "a checkpoint is emptied", _sql("UPDATE checkpoints SET note = '' WHERE size = 12"), "checkpoint_invalid", None
    ),
    Attack(
        "a checkpoint's root is changed",
        _sql("UPDATE checkpoints SET root = zeroblob(32) WHERE size = 12"),
        "checkpoint_invalid",
        None,
        in_log=False,
    ),
    Attack(
        "a checkpoint's frontier is changed",
        _sql("UPDATE checkpoints SET frontier = zeroblob(64) WHERE size = 12"),
        "checkpoint_invalid",
        None,
        in_log=False,
    ),
    Attack(
        "a checkpoint is moved",
        _sql("UPDATE checkpoints SET size = 13 WHERE size = 12"),
        "checkpoint_invalid",
        None,
        in_log=False,
    ),
    Attack(
        "a record can be found by another user",
        _sql("UPDATE leaves SET requester = 'eve' WHERE idx = 6"),
        "column_changed",
        6,
        in_log=False,
    ),
    Attack(
        "a denial can be found as an allow",
        _sql("UPDATE leaves SET allowed = 1 WHERE idx = 8"),
        "column_changed",
        8,
        in_log=False,
    ),
    Attack(
        "a denied model can be found as approved",
        _sql("UPDATE leaves SET approved = 1 WHERE idx = 8"),
        "column_changed",
        8,
        in_log=False,
    ),
    Attack("a uid is moved to another leaf", lambda db: exchange(db, 6, 9, "uid"), "column_changed", 6, in_log=False),
    Attack(
        "an attachment is changed",
        _sql("UPDATE blobs SET content = x'00' WHERE idx = 6"),
        "attachment_changed",
        6,
        in_log=False,
    ),
    Attack(
        "an attachment's digest is changed",
        _sql("UPDATE blobs SET sha256 = zeroblob(32) WHERE idx = 6"),
        "attachment_changed",
        6,
        in_log=False,
    ),
    Attack(
        "an attachment is renamed",
        _sql("UPDATE blobs SET name = 'other' WHERE idx = 6"),
        "attachment_changed",
        6,
        in_log=False,
    ),
    Attack(
        "an attachment stands beside no leaf",
        _sql("UPDATE blobs SET idx = 1000 WHERE idx = 6"),
        "attachment_changed",
        1000,
        in_log=False,
    ),
)


def fork(path: Path, *, at: int, size: int, signed: tuple[int, ...]) -> Path:
    """Another history by the log's own key: the same leaves before ``at``, others from there on."""
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    for number in range(size):
        if number == 2:
            log.heartbeat(START + timedelta(seconds=number))
        else:
            append(log, number, **({"user": "mallory@example.org"} if number >= at else {}))
        if number + 1 in signed:
            log.checkpoint()
    log.close()
    return path


def saved_notes(path: Path) -> list[tuple[str, bytes]]:
    """What somebody has kept of a log: every checkpoint, by name."""
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT size, note FROM checkpoints ORDER BY size").fetchall()
    finally:
        connection.close()
    return [(f"saved-{size}.note", note.encode()) for size, note in rows]


def copy_of(path: Path, folder: Path) -> Path:
    """A copy to work on."""
    return Path(shutil.copy(path, folder / "tampered.db"))
