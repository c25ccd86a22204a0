"""Reading a store: every query that asks and changes nothing, and how SQLite answers it."""

from __future__ import annotations

import itertools
import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, ClassVar, Final

from placet.audit.merkle import MAX_SIZE, Frontier
from placet.audit.record import PRUNED, Columns
from placet.audit.stores import Key, RawRow, StoredCheckpoint, StoredLeaf, past, schema
from placet.audit.stores.failure import store_error, unavailable
from placet.audit.stores.places import PlaceSearch, Wanted
from placet.audit.stores.rows import STATE, parse_state, read_row
from placet.audit.terms import TermBlock

COLUMNS: Final = tuple(field.name for field in fields(Columns))
values_of: Final[Callable[[Columns], tuple[Any, ...]]] = attrgetter(*COLUMNS)  # a tenth of the time of ``astuple``
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
# By the content alone: a sum is no column, so that no planner takes the leaves in their order to find it there.
_CONTENT_ELSEWHERE: Final = """\
SELECT idx, leaf, leaf_hash FROM leaves
WHERE projection = :projection AND approved = 1 AND environment <> :environment
ORDER BY idx + 0 LIMIT :limit"""
_RAW_BLOBS: Final = "SELECT idx, name, sha256, content FROM blobs"
_OF_TYPE: Final = "leaf_type = :type AND leaf_type <> 'decision'"  # the words of the partial index
# condition of a search -> how it is asked
CONDITIONS: Final = {
    "type": "leaf_type = :type",
    "pruned": "leaf_type <> :pruned",
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
    "start": "idx >= :start",
    "indexes": "idx IN (SELECT value FROM json_each(:indexes))",
    "segments": "segment IN (SELECT value FROM json_each(:segments))",
}
_KEYS: Final = "(SELECT value ->> 0 AS block, value ->> 1 AS term FROM json_each(:keys))"


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

    Attributes:
        shape: the tables of this version; those of an earlier one are read too.
    """

    __slots__ = ("_unkept", "shape")
    conditions: ClassVar[Mapping[str, str]] = CONDITIONS
    newest_leaves: ClassVar[str] = "leaves NOT INDEXED"  # by their index alone
    keys: ClassVar[str] = _KEYS

    def __init__(self, shape: past.Shape) -> None:
        self.shape = shape
        self._unkept = set(COLUMNS) - set(shape.columns)  # conditions of these names find what they don't ask too

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
        return (read_row(row) for row in rows)

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
            if not (isinstance(note, str) and (type(size), type(root), type(frontier)) == (int, bytes, bytes)):
                raise unavailable("store_corrupt", "a checkpoint in it is none")
            return StoredCheckpoint(size, root, frontier, note.encode("utf-8", "surrogateescape"))
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
        return (read_row(row) for row in rows)

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
        return [read_row(row) for row in rows]

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
        return [read_row(row) for row in rows]

    def approved_elsewhere(self, *, environment: str, projection: str, limit: int) -> list[StoredLeaf]:
        """See ``Reader``."""
        rows = self._rows(_CONTENT_ELSEWHERE, environment=environment, projection=projection, limit=limit)
        return [read_row(row) for row in rows]

    def attachment(self, index: int, name: str) -> bytes | None:
        """See ``Reader``."""
        for (content,) in self._rows(
            "SELECT content FROM blobs WHERE idx = :idx AND name = :name", idx=index, name=name
        ):
            return bytes(content)
        return None

    def search(
        self, conditions: Mapping[str, Any], *, before: int | None, limit: int, start: int = 0
    ) -> list[StoredLeaf]:
        """See ``Reader``."""
        asked = {name: value for name, value in conditions.items() if name not in self._unkept}
        if before is None and start:
            before = MAX_SIZE  # between two bounds a planner that knows nothing expects few
        asked |= ({} if before is None else {"before": before}) | ({"start": start} if start else {})
        where = " AND ".join(self.conditions[name] for name in asked) or "1 = 1"
        # Behind the blocks few leaves are left: an index over all that there are, and a sort, would take far longer.
        leaves = f"SELECT idx, leaf, leaf_hash FROM {self.newest_leaves}" if start else _LEAF  # noqa: S608 - our own words
        rows = self._rows(f"{leaves} WHERE {where} ORDER BY idx DESC LIMIT :limit", limit=limit, **asked)
        return [read_row(row) for row in rows]

    def blocks(self) -> int:
        """See ``Reader``."""
        if not self.shape.has_terms:
            return 0
        return int(next(self._rows("SELECT coalesce(max(block) + 1, 0) FROM blocks"))[0])

    def find_places(self, wanted: Wanted) -> Iterator[int]:
        """See ``Reader``."""
        if not self.shape.has_terms:
            return iter(())
        return PlaceSearch(self._rows, self.conditions, self._list, wanted).indexes(
            with_segments=self.shape.has_segments
        )

    def leaves_at(self, indexes: Sequence[int]) -> list[StoredLeaf]:
        """See ``Reader``."""
        if not indexes:
            return []
        rows = self._rows(f"{_LEAF} WHERE {self.conditions['indexes']}", indexes=self._list(indexes))
        return sorted((read_row(row) for row in rows), key=lambda one: one.index, reverse=True)

    @abstractmethod
    def _list(self, numbers: Sequence[int]) -> Any:
        """Numbers as one value of a statement."""

    @abstractmethod
    def _keys(self, keys: Sequence[Key]) -> Mapping[str, Any]:
        """Pairs of numbers as the values of ``keys``."""

    def raw_blocks(self) -> Iterator[tuple[Any, Any, Any]]:
        """See ``Auditable``."""
        if not self.shape.has_terms:
            return iter(())
        return self._many("SELECT block, earliest, latest FROM blocks ORDER BY block")

    def raw_terms(self, start: int = 0) -> Iterator[tuple[Any, Any, Any]]:
        """See ``Auditable``."""
        if not self.shape.has_terms:
            return iter(())
        asked = "SELECT block, term, members FROM terms WHERE block >= :start ORDER BY block, term"
        return self._many(asked, start=start)

    def raw_person_terms(self) -> Iterator[tuple[Any, Any, Any]]:
        """See ``Auditable``."""
        if not self.shape.has_terms:
            return iter(())
        return self._many("SELECT block, term, members FROM terms WHERE block < 0 ORDER BY block DESC, term")

    def members_at(self, keys: Sequence[Key]) -> Mapping[Key, bytes]:
        """See ``Reader``."""
        if not self.shape.has_terms or not keys:
            return {}
        rows = self._rows(f"{_MEMBERS_AT} {self.keys} k", **self._keys(keys))
        return {(int(number), int(term)): bytes(members) for number, term, members in rows if members is not None}

    def blocks_without(self, term: int, most: int) -> list[int]:
        """See ``Reader``."""
        if not self.shape.has_terms:
            return []
        return [int(row[0]) for row in self._rows(_WITHOUT, term=term, limit=most)]

    def segments(self) -> list[int]:
        """See ``Reader``."""
        if not self.shape.has_segments:
            return []
        return [int(row[0]) for row in self._rows("SELECT segment FROM segments ORDER BY segment")]

    def block(self, number: int) -> TermBlock | None:
        """See ``Reader``."""
        for earliest, latest in self._rows("SELECT earliest, latest FROM blocks WHERE block = :block", block=number):
            rows = self._all("SELECT term, members FROM terms WHERE block = :block ORDER BY term", block=number)
            return TermBlock(number, earliest, latest, tuple((row[0], row[1]) for row in rows))
        return None

    def pruned_between(self, start: int, end: int) -> int:
        """See ``Reader``."""
        values = {"type": PRUNED, "start": start, "before": end}
        where = " AND ".join((_OF_TYPE, self.conditions["start"], self.conditions["before"]))
        return int(next(self._rows(f"SELECT count(*) FROM leaves WHERE {where}", **values))[0])  # noqa: S608 - our own words

    def raw_segments(self) -> Iterator[tuple[Any, Any, Any, Any]]:
        """See ``Auditable``."""
        if not self.shape.has_segments:
            return iter(())
        return self._many("SELECT segment, earliest, latest, parts FROM segments ORDER BY segment")

    def raw_postings(self, start: int = 0) -> Iterator[tuple[Any, Any, Any]]:
        """See ``Auditable``."""
        if not self.shape.has_segments:
            return iter(())
        where = " WHERE segment >= :start" if start else ""
        asked = f"SELECT segment, first, entries FROM postings{where} ORDER BY segment, first"  # noqa: S608 - our own words
        return self._many(asked, **({"start": start} if start else {}))

    def raw_states(self) -> list[tuple[Any, Any, Any]]:
        """See ``Auditable``."""
        return [(row[0], row[1], row[2]) for row in self._rows("SELECT origin, size, frontier FROM state")]

    def raw_rows(self, start: int = 0, end: int | None = None) -> Iterator[RawRow]:
        """See ``Auditable``."""
        asked, values = self._asked(start, end)
        for row in self._many(asked, **values):
            yield RawRow(row[0], row[1], self._columns(row[3:]), row[2])

    def stretch(self, start: int, end: int) -> list[tuple[Any, ...]]:
        """See ``Auditable``."""
        asked, values = self._asked(start, end)
        columns = list(zip(*self._all(asked, **values), strict=True))
        if len(self.shape.columns) == len(COLUMNS) or not columns:
            return columns
        said = dict(zip(self.shape.columns, columns[3:], strict=True))
        unsaid = (past.NOT_KEPT,) * len(columns[0])
        return [*columns[:3], *(said.get(name, unsaid) for name in COLUMNS)]

    def leaf_stretch(self, start: int, end: int) -> list[tuple[Any, ...]]:
        """See ``Auditable``."""
        where, values = _between(start, end)
        rows = self._all(f"SELECT idx, leaf_hash, leaf FROM leaves{where} ORDER BY idx", **values)  # noqa: S608 - our own names
        return list(zip(*rows, strict=True))

    def _asked(self, start: int, end: int | None) -> tuple[str, dict[str, int]]:
        where, values = _between(start, end)
        names = ", ".join(self.shape.columns)
        return f"SELECT idx, leaf_hash, leaf, {names} FROM leaves{where} ORDER BY idx", values  # noqa: S608 - our own names

    def _columns(self, found: tuple[Any, ...]) -> tuple[Any, ...]:
        """The columns of this version, with what says nothing for those that the store has not got."""
        if len(self.shape.columns) == len(COLUMNS):
            return found
        said = dict(zip(self.shape.columns, found, strict=True))
        return tuple(said.get(name, past.NOT_KEPT) for name in COLUMNS)

    def raw_checkpoints(self) -> Iterator[tuple[Any, Any, Any, Any]]:
        """See ``Auditable``."""
        return self._many(f"{_CHECKPOINT} ORDER BY size")

    def attachment_names(self, end: int) -> Iterator[tuple[int, str]]:
        """See ``Auditable``."""
        return self._many("SELECT idx, name FROM blobs WHERE idx < :end ORDER BY idx, name", end=end)

    def raw_blobs(self, start: int = 0, end: int | None = None) -> Iterator[tuple[Any, Any, Any, Any]]:
        """See ``Auditable``."""
        where, values = _between(start, end)
        rows = self._many(f"{_RAW_BLOBS}{where} ORDER BY idx, name", **values)
        if not start or end is not None:
            return rows
        return itertools.chain(self._rows(f"{_RAW_BLOBS} WHERE idx IS NULL"), rows)  # which no bound would find

    def _one(self, statement: str, **values: Any) -> StoredLeaf | None:
        for row in self._rows(statement, **values):
            return read_row(row)
        return None


_WITHOUT: Final = (
    "SELECT block FROM blocks b WHERE NOT EXISTS (SELECT 1 FROM terms WHERE block = -1 - b.block AND term = :term) "
    "ORDER BY block LIMIT :limit"
)
# By key each: no planner has another idea, whatever it thinks of how many there are.
_MEMBERS_AT: Final = (
    "SELECT k.block, k.term, (SELECT members FROM terms t WHERE t.block = k.block AND t.term = k.term) FROM"
)


class SqliteReader(TableReader):
    """One view of the tables through a connection that is inside a read transaction.

    Args:
        connection: of the file.
        lenient: reads text of any bytes. Given to a reader that has to compare what is damaged: from the first text on
            that is not UTF-8 it is used, and not before, since it takes a third of the time of reading.
    """

    __slots__ = ("_connection", "_lenient")

    def __init__(
        self,
        connection: sqlite3.Connection,
        shape: past.Shape = past.NEWEST,
        *,
        lenient: Callable[[bytes], str] | None = None,
    ) -> None:
        super().__init__(shape)
        self._connection = connection
        self._lenient = lenient

    def _list(self, numbers: Sequence[int]) -> Any:
        return json.dumps(list(numbers))

    def _keys(self, keys: Sequence[Key]) -> Mapping[str, Any]:
        return {"keys": json.dumps(list(keys))}

    def damage(self) -> list[str]:
        """See ``Auditable``."""
        found = [str(row[0]) for row in self._rows("PRAGMA integrity_check(20)")]
        return [] if found == ["ok"] else found

    def schema_differences(self) -> list[str]:
        """See ``Auditable``."""
        try:
            try:
                return schema.differences(self._connection, self.shape.objects)
            except sqlite3.OperationalError as exc:
                if not self._relents(exc):
                    raise
                return schema.differences(self._connection, self.shape.objects)
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
