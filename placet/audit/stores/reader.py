"""Reading a store: every query that asks and changes nothing, and how SQLite answers it."""

from __future__ import annotations

import itertools
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any, ClassVar, Final

from placet.audit.merkle import Frontier
from placet.audit.record import Columns
from placet.audit.stores import RawRow, StoredCheckpoint, StoredLeaf, schema
from placet.audit.stores.failure import store_error
from placet.errors import FormatError, TamperError

COLUMNS: Final = tuple(field.name for field in fields(Columns))
values_of: Final[Callable[[Columns], tuple[Any, ...]]] = attrgetter(*COLUMNS)  # a tenth of the time of ``astuple``
STATE: Final = "SELECT size, frontier FROM state WHERE id = 1"
_LEAF: Final = "SELECT idx, leaf, leaf_hash FROM leaves"
_CHECKPOINT: Final = "SELECT size, root, frontier, note FROM checkpoints"
_MODEL_SEEN: Final = """\
SELECT 1 FROM leaves
WHERE model = :model AND environment = :environment AND cluster = :cluster AND approved = 1
LIMIT 1"""
_LAST_APPROVED: Final = """\
SELECT idx, leaf, leaf_hash FROM leaves
WHERE environment = :environment AND namespace = :namespace AND kind = :kind
  AND object_name = :name AND allowed = 1 AND approved = 1
ORDER BY idx DESC LIMIT 1"""
_APPROVALS_OF: Final = """\
SELECT idx, leaf, leaf_hash FROM leaves
WHERE projection = :projection AND object_name = :name AND namespace = :namespace AND kind = :kind
  AND environment = :environment AND cluster = :cluster AND approved = 1
ORDER BY idx DESC LIMIT :limit"""
_APPROVED_OF: Final = """\
SELECT idx, leaf, leaf_hash FROM leaves
WHERE environment = :environment AND namespace = :namespace AND kind = :kind
  AND object_name = :name AND allowed = 1 AND approved = 1 AND cluster = :cluster
ORDER BY idx DESC LIMIT :limit"""
_RAW_ROWS: Final = f"SELECT idx, leaf_hash, leaf, {', '.join(COLUMNS)} FROM leaves"  # noqa: S608 - our own names
_RAW_BLOBS: Final = "SELECT idx, name, sha256, content FROM blobs"
_OF_TYPE: Final = "leaf_type = :type AND leaf_type <> 'decision'"  # the words of the partial index
# condition of a search -> how it is asked
CONDITIONS: Final = {
    "type": "leaf_type = :type",
    "kind": "kind = :kind",
    "name": "object_name = :name",
    "namespace": "namespace = :namespace",
    "environment": "environment = :environment",
    "model": "model = :model",
    "user": "requester = :user",
    "allowed": "allowed = :allowed",
    "projection": "projection = :projection",
    "violation": "instr(violations, '|' || :violation || '|') > 0",
    "since": "time >= :since",
    "until": "time < :until",
    "before": "idx < :before",
}


def _between(start: int, end: int | None) -> tuple[str, dict[str, int]]:
    """The condition on an index, and its values; none at all where everything is asked for."""
    asked = {} if start == 0 else {"start": start}
    conditions = ["idx >= :start"] if asked else []
    if end is not None:
        asked["end"] = end
        conditions.append("idx < :end")
    return f" WHERE {' AND '.join(conditions)}" if conditions else "", asked


class TableReader(ABC):
    """Queries of one view of the tables; a store says how they are put to it.

    Statements name their values ``:name``. Whatever the store, they are to the letter the same, but for what is in
    ``conditions``.
    """

    __slots__ = ()
    conditions: ClassVar[Mapping[str, str]] = CONDITIONS

    @abstractmethod
    def _rows(self, statement: str, **values: Any) -> Iterator[Any]:
        """A few rows."""

    @abstractmethod
    def _many(self, statement: str, **values: Any) -> Iterator[Any]:
        """More rows than fit into memory."""

    def _all(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Rows that fit into memory, at once."""
        return list(self._rows(statement, **values))

    def state(self) -> Frontier:
        """See ``Reader``."""
        return parse_state(next(self._rows(STATE), None))

    def leaves(self, start: int, end: int) -> Iterator[StoredLeaf]:
        """See ``Reader``."""
        rows = self._many(f"{_LEAF} WHERE idx >= :start AND idx < :end ORDER BY idx", start=start, end=end)
        return (StoredLeaf(*row) for row in rows)

    def leaf_hashes(self, end: int) -> Iterator[bytes]:
        """See ``Reader``."""
        return (
            leaf_hash
            for (leaf_hash,) in self._many("SELECT leaf_hash FROM leaves WHERE idx < :end ORDER BY idx", end=end)
        )

    def latest_checkpoint(self, *, at_least: int = 0) -> StoredCheckpoint | None:
        """See ``Reader``."""
        for size, root, frontier, note in self._rows(
            f"{_CHECKPOINT} WHERE size >= :size ORDER BY size DESC LIMIT 1", size=at_least
        ):
            return StoredCheckpoint(size, root, frontier, note.encode())
        return None

    def find_uid(self, uid: str) -> StoredLeaf | None:
        """See ``Reader``."""
        return self._one(f"{_LEAF} WHERE uid = :uid", uid=uid)

    def find_decision(self, decision_id: str) -> StoredLeaf | None:
        """See ``Reader``."""
        return self._one(f"{_LEAF} WHERE decision_id = :id", id=decision_id)

    def latest(self, leaf_type: str) -> StoredLeaf | None:
        """See ``Reader``; ``leaf_type`` is any but ``decision``."""
        return self._one(f"{_LEAF} WHERE {_OF_TYPE} ORDER BY idx DESC LIMIT 1", type=leaf_type)

    def of_type(self, leaf_type: str, *, start: int) -> Iterator[StoredLeaf]:
        """See ``Reader``."""
        rows = self._many(f"{_LEAF} WHERE {_OF_TYPE} AND idx >= :start ORDER BY idx", type=leaf_type, start=start)
        return (StoredLeaf(*row) for row in rows)

    def model_seen(self, *, cluster: str, environment: str, model: str) -> bool:
        """See ``Reader``."""
        rows = self._rows(_MODEL_SEEN, cluster=cluster, environment=environment, model=model)
        return next(rows, None) is not None

    def last_approved(self, *, environment: str, namespace: str, kind: str, name: str) -> StoredLeaf | None:
        """See ``Reader``."""
        return self._one(_LAST_APPROVED, environment=environment, namespace=namespace, kind=kind, name=name)

    def approvals_of(
        self, *, cluster: str, environment: str, namespace: str, kind: str, name: str, projection: str, limit: int
    ) -> list[StoredLeaf]:
        """See ``Reader``."""
        rows = self._rows(
            _APPROVALS_OF,
            cluster=cluster,
            environment=environment,
            namespace=namespace,
            kind=kind,
            name=name,
            projection=projection,
            limit=limit,
        )
        return [StoredLeaf(*row) for row in rows]

    def approved_of(
        self, *, cluster: str, environment: str, namespace: str, kind: str, name: str, limit: int
    ) -> list[StoredLeaf]:
        """See ``Reader``."""
        rows = self._rows(
            _APPROVED_OF,
            cluster=cluster,
            environment=environment,
            namespace=namespace,
            kind=kind,
            name=name,
            limit=limit,
        )
        return [StoredLeaf(*row) for row in rows]

    def attachment(self, index: int, name: str) -> bytes | None:
        """See ``Reader``."""
        for (content,) in self._rows(
            "SELECT content FROM blobs WHERE idx = :idx AND name = :name", idx=index, name=name
        ):
            return bytes(content)
        return None

    def search(self, conditions: Mapping[str, Any], *, before: int | None, limit: int) -> list[StoredLeaf]:
        """See ``Reader``."""
        asked = dict(conditions) | ({} if before is None else {"before": before})
        where = " AND ".join(self.conditions[name] for name in asked) or "1 = 1"
        rows = self._rows(f"{_LEAF} WHERE {where} ORDER BY idx DESC LIMIT :limit", limit=limit, **asked)
        return [StoredLeaf(*row) for row in rows]

    def raw_states(self) -> list[tuple[Any, Any, Any]]:
        """See ``Auditable``."""
        return [(row[0], row[1], row[2]) for row in self._rows("SELECT origin, size, frontier FROM state")]

    def raw_rows(self, start: int = 0, end: int | None = None) -> Iterator[RawRow]:
        """See ``Auditable``."""
        where, values = _between(start, end)
        for row in self._many(f"{_RAW_ROWS}{where} ORDER BY idx", **values):
            yield RawRow(row[0], row[1], row[3:], row[2])

    def stretch(self, start: int, end: int) -> list[tuple[Any, ...]]:
        """See ``Auditable``."""
        where, values = _between(start, end)
        return self._all(f"{_RAW_ROWS}{where} ORDER BY idx", **values)

    def raw_checkpoints(self) -> Iterator[tuple[Any, Any, Any, Any]]:
        """See ``Auditable``."""
        return self._many(f"{_CHECKPOINT} ORDER BY size")

    def raw_blobs(self, start: int = 0, end: int | None = None) -> Iterator[tuple[Any, Any, Any, Any]]:
        """See ``Auditable``."""
        where, values = _between(start, end)
        rows = self._many(f"{_RAW_BLOBS}{where} ORDER BY idx, name", **values)
        if not start or end is not None:
            return rows
        return itertools.chain(self._rows(f"{_RAW_BLOBS} WHERE idx IS NULL"), rows)  # which no bound would find

    def _one(self, statement: str, **values: Any) -> StoredLeaf | None:
        for row in self._rows(statement, **values):
            return StoredLeaf(*row)
        return None


class SqliteReader(TableReader):
    """One view of the tables through a connection that is inside a read transaction.

    Args:
        connection: of the file.
        lenient: reads text of any bytes. Given to a reader that has to compare what is damaged: from the first text on
            that is not UTF-8 it is used, and not before, since it takes a third of the time of reading.
    """

    __slots__ = ("_connection", "_lenient")

    def __init__(self, connection: sqlite3.Connection, *, lenient: Callable[[bytes], str] | None = None) -> None:
        self._connection = connection
        self._lenient = lenient

    def damage(self) -> list[str]:
        """See ``Auditable``."""
        found = [str(row[0]) for row in self._rows("PRAGMA integrity_check(20)")]
        return [] if found == ["ok"] else found

    def schema_differences(self) -> list[str]:
        """See ``Auditable``."""
        try:
            try:
                return schema.differences(self._connection)
            except sqlite3.OperationalError as exc:
                if not self._relents(exc):
                    raise
                return schema.differences(self._connection)
        except (sqlite3.Error, UnicodeDecodeError) as exc:
            raise store_error(exc) from exc

    def _rows(self, statement: str, **values: Any) -> Iterator[Any]:
        given = 0
        try:
            try:
                for row in self._connection.execute(statement, values):
                    yield row  # ... ``yield from`` would close the cursor, which complains once its connection is
                    given += 1
            except sqlite3.OperationalError as exc:
                if not self._relents(exc):
                    raise
                # the same statement in the same view gives the same rows: on behind those that were given
                for row in itertools.islice(self._connection.execute(statement, values), given, None):
                    yield row
        except (sqlite3.Error, UnicodeDecodeError) as exc:
            raise store_error(exc) from exc

    def _all(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError):
            return super()._all(statement, **values)  # which knows what to do, or what to say

    def _relents(self, error: sqlite3.OperationalError) -> bool:
        """Whether the error is of text that is not UTF-8, and can be read from now on."""
        if self._lenient is None or "decode to UTF-8" not in str(error):
            return False
        self._connection.text_factory = self._lenient
        return True

    _many = _rows  # SQLite gives one row at a time


def read_state(connection: sqlite3.Connection) -> Frontier:
    """Size and frontier of the one state row.

    Raises:
        StoreUnavailable: it can't be read.
        TamperError: it is not there, or is not a frontier.
    """
    try:
        return parse_state(connection.execute(STATE).fetchone())
    except sqlite3.Error as exc:
        raise store_error(exc) from exc


def parse_state(row: Any) -> Frontier:
    """Size and frontier as the state row has them.

    Raises:
        TamperError: it is not there, or is not a frontier.
    """
    if row is None:
        raise TamperError("the state row of the record is missing", code="state_changed")
    try:
        return Frontier.parse(row[0], row[1])
    except FormatError as exc:
        raise TamperError("the state row of the record is not a frontier", code="state_changed") from exc
