"""What an API server's audit log says, put in order beside the leaves of the record: many requests in little memory.

Both sides are kept in a temporary database, which SQLite holds in memory while it is small and in an unnamed file
beyond that. ``placet.audit.crosscheck`` asks it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from placet.audit.apiserver import ApiRequest, Mark, load_lines, to_microseconds
from placet.audit.checkpoint import parse_checkpoint, verify_checkpoint
from placet.audit.claims import Claim, Source
from placet.audit.doubts import Doubts
from placet.audit.note import VerifierKey, parse_note
from placet.audit.person_keys import Opener
from placet.audit.persons import find_nonce, find_sealed
from placet.audit.record import DECISION, search_columns
from placet.errors import FormatError, InputError, TamperError

_CACHE_KIB: Final = 65_536
_BATCH: Final = 1000
_PROGRESS_EVERY: Final = 1024

NAMESPACES: Final = "namespaces"
JUDGED: Final = frozenset({"CREATE", "UPDATE"})
# (group, resource with its subresource) -> kind of the built-in workloads, as the webhook's rules name them; custom
# ones are those of the kind registry.
BUILT_IN: Final[Mapping[tuple[str, str], str]] = {
    ("", "pods"): "Pod",
    ("", "pods/ephemeralcontainers"): "Pod",
    ("", "pods/resize"): "Pod",
    ("", "replicationcontrollers"): "ReplicationController",
    ("", "replicationcontrollers/scale"): "ReplicationController",
    ("apps", "deployments"): "Deployment",
    ("apps", "deployments/scale"): "Deployment",
    ("apps", "statefulsets"): "StatefulSet",
    ("apps", "statefulsets/scale"): "StatefulSet",
    ("apps", "daemonsets"): "DaemonSet",
    ("apps", "replicasets"): "ReplicaSet",
    ("apps", "replicasets/scale"): "ReplicaSet",
    ("batch", "jobs"): "Job",
    ("batch", "cronjobs"): "CronJob",
}

_TABLES: Final = """\
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE requests (
  id INTEGER PRIMARY KEY, digest BLOB UNIQUE, file INTEGER, line INTEGER, user TEXT, grp TEXT, resource TEXT,
  subresource TEXT, namespace TEXT, name TEXT, kind TEXT, code INTEGER, dry INTEGER, received INTEGER, ended INTEGER
);
CREATE TABLE marks (request INTEGER, webhook TEXT, decision_id TEXT, idx INTEGER, hash BLOB);
CREATE TABLE notes (digest BLOB PRIMARY KEY, size INTEGER, root BLOB, file INTEGER, line INTEGER);
CREATE TABLE leaves (
  idx INTEGER PRIMARY KEY, hash BLOB, decision_id TEXT, allowed INTEGER, user TEXT, grp TEXT, subresource TEXT,
  namespace TEXT, name TEXT, kind TEXT, time INTEGER
);
CREATE TABLE claims (idx INTEGER PRIMARY KEY, request INTEGER);
CREATE TABLE settled (request INTEGER PRIMARY KEY);
"""
PRUNED_ID: Final = ""
"""Stands for the decision id of a leaf whose bytes are gone; no decision has an empty one."""
_INDEXES: Final = """\
CREATE INDEX marks_by_index ON marks (idx);
CREATE INDEX marks_by_request ON marks (request);
CREATE INDEX requests_by_time ON requests (namespace, received);
CREATE INDEX leaves_by_time ON leaves (namespace, time);
"""


@dataclass(frozen=True, slots=True)
class Period:
    """From when to when the audit log tells, microseconds since 1970, both ends included."""

    first_us: int
    last_us: int


class Witness:
    """An API server's audit log, read, and the leaves that it is held against.

    Args:
        keys: verifier keys of the log that is verified; the first one's name is its origin.
        kinds: (group, resource with its subresource) -> kind of the custom resources that the gate is asked about.
        since: aware; requests that arrived earlier are left out.
        until: aware; requests that arrived then or later are left out.
        opener: opens the names of who asked; a name that stays sealed is not compared.
    """

    def __init__(
        self,
        keys: Sequence[VerifierKey],
        *,
        kinds: Mapping[tuple[str, str], str],
        since: datetime | None = None,
        until: datetime | None = None,
        opener: Opener | None = None,
    ) -> None:
        self.keys = keys
        self._opener = opener
        self.custom = dict(kinds)
        self._kinds = {**self.custom, **BUILT_IN}
        self._since_us = None if since is None else to_microseconds(since)
        self._until_us = None if until is None else to_microseconds(until)
        self.database = sqlite3.connect("", isolation_level=None)
        self.database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self.database.executescript(_TABLES)
        self.database.execute("BEGIN")
        self.files: list[str] = []
        self.doubts = Doubts()
        self.period: Period | None = None
        self.torn = 0
        self.sealed = 0
        self.repeated = 0
        self._own: set[str] = set()
        self._foreign: set[str] = set()
        self._leaves: list[tuple[Any, ...]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Forget everything."""
        self.database.close()

    def load(self, paths: Iterable[Path], *, progress: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """Read files of the audit log, in any order; an event that stands in two of them counts once.

        Raises:
            InputError: a file can't be read, or none has an event of a write.
        """
        read = 0
        for path in paths:
            self.files.append(str(path))
            for line in load_lines(path):
                read += 1
                if line.request is not None:
                    self._add(line.request, line.number)
                elif line.torn:
                    self.torn += 1
                elif line.fault:
                    self.doubts.add("witness_damaged", f"{path}:{line.number} is no audit event: {line.fault}")
                if read % _PROGRESS_EVERY == 0:
                    progress(read, read)
        if self.period is None:
            raise InputError(
                "the audit log has no write to an object that was answered in the time that is asked about",
                code="audit_log_empty",
                hint="Log create, update and patch of workloads at level Metadata or above; see docs/operations.md.",
            )
        # What a gate of another log wrote before its first checkpoint can be told only now.
        strangers = [(webhook,) for webhook in self._foreign - self._own]
        self.database.executemany("DELETE FROM marks WHERE webhook = ?", strangers)
        self.database.executescript(_INDEXES)
        self.database.execute("BEGIN")

    def _add(self, request: ApiRequest, line: int) -> None:
        if self._since_us is not None and request.received_us < self._since_us:
            return
        if self._until_us is not None and request.received_us >= self._until_us:
            return
        self._extend(request.ended_us)
        marks = [mark for mark in request.marks if self._is_ours(mark, line)]
        kind = self._kinds.get((request.group, target_of(request.resource, request.subresource)), "")
        if not kind and not marks and request.resource != NAMESPACES:
            return
        values = (
            request.digest, len(self.files) - 1, line, request.user, request.group, request.resource,
            request.subresource, "" if request.resource == NAMESPACES else request.namespace, request.name, kind,
            request.code, request.dry_run,
            request.received_us, request.ended_us,
        )  # fmt: skip
        added = self.database.execute(
            f"INSERT OR IGNORE INTO requests VALUES (NULL{', ?' * len(values)})",  # noqa: S608 - question marks
            values,
        )
        if not added.rowcount:
            self.repeated += 1
            return
        rows = [(added.lastrowid, mark.webhook, mark.decision_id, mark.index, mark.leaf_hash) for mark in marks]
        self.database.executemany("INSERT INTO marks VALUES (?, ?, ?, ?, ?)", rows)

    def _extend(self, moment_us: int) -> None:
        period = self.period or Period(moment_us, moment_us)
        self.period = Period(min(period.first_us, moment_us), max(period.last_us, moment_us))

    def _is_ours(self, mark: Mark, line: int) -> bool:
        """Whether it is of this log; one that names none is, since before its first checkpoint a log has no name."""
        where = f"{self.files[-1]}:{line}: {mark.webhook}"
        if mark.fault:
            self.doubts.add("annotation_invalid", f"{where}: {mark.fault}")
            return False
        if not mark.checkpoint:
            return True
        note = mark.checkpoint.encode()
        digest = hashlib.sha256(note).digest()
        if self.database.execute("SELECT 1 FROM notes WHERE digest = ?", (digest,)).fetchone():
            return True
        origin = _origin(note)
        if origin and all(origin != key.name for key in self.keys):
            self._foreign.add(mark.webhook)
            return False
        self._own.add(mark.webhook)
        try:
            verified = verify_checkpoint(note, self.keys)
        except (FormatError, TamperError) as exc:
            self.doubts.add("annotation_invalid", f"{where}: its checkpoint: {exc}", index=mark.index)
            return True  # what it says of a leaf is held against the log all the same
        values = (digest, verified.size, verified.root, len(self.files) - 1, line)
        self.database.execute("INSERT INTO notes VALUES (?, ?, ?, ?, ?)", values)
        return True

    def claims(self) -> Iterator[Claim]:
        """What the checkpoints in annotations say, in order of size."""
        rows = self.database.execute("SELECT size, root, file, line FROM notes ORDER BY size, file, line")
        for size, root, file, line in rows:
            yield Claim(size, root, Source.WITNESS, f"the checkpoint in {self.files[file]}:{line}")

    def add_leaf(self, index: Any, leaf_hash: bytes, body: Mapping[str, Any] | None) -> None:
        """The next leaf of the record.

        Args:
            index: where it stands.
            leaf_hash: of its bytes as they are.
            body: what it says; None where it can't be read.
        """
        if not isinstance(index, int):
            return
        row: tuple[Any, ...] = (index, leaf_hash, *(None,) * 9)
        if body is not None and body["type"] == DECISION and body.get("operation") in JUDGED:
            columns = search_columns(body)
            user = self._user(body, columns.requester)
            # The API server calls a Namespace its own namespace, but not when it makes one.
            namespace = "" if columns.kind == "Namespace" else columns.namespace
            said = (_text(body, "group"), _text(body, "subresource"), namespace, columns.object_name)
            row = (
                index, leaf_hash, columns.decision_id, columns.allowed, user, *said, columns.kind,
                _time(columns.time),
            )  # fmt: skip
        self._put(row)

    def add_pruned(self, index: Any, leaf_hash: bytes) -> None:
        """The next leaf of the record, of which only the hash is left."""
        if isinstance(index, int):
            self._put((index, leaf_hash, PRUNED_ID, *(None,) * 8))

    def _put(self, row: tuple[Any, ...]) -> None:
        self._leaves.append(row)
        if len(self._leaves) >= _BATCH:
            self.flush()

    def _user(self, body: Mapping[str, Any], requester: str) -> str | None:
        """Who asked, as the API server would have it; None where that is sealed and there is no key for it."""
        nonce = find_nonce(body)
        if nonce is None or requester not in set(find_sealed(requester, nonce)):
            return requester
        opening = None if self._opener is None else self._opener.salt(requester, nonce)
        if opening is None:
            self.sealed += 1
            return None
        return opening[1]

    def flush(self) -> None:
        """Write what ``add_leaf`` has gathered."""
        # Two rows of one index are a finding of the verifier; here the first stands.
        self.database.executemany(f"INSERT OR IGNORE INTO leaves VALUES (?{', ?' * 10})", self._leaves)  # noqa: S608
        self._leaves.clear()


def target_of(resource: str, subresource: str) -> str:
    """As a webhook's rules name it: ``deployments`` or ``deployments/scale``."""
    return f"{resource}/{subresource}" if subresource else resource


def _origin(note: bytes) -> str:
    """The log that a note names, not verified; "" where it is no checkpoint."""
    try:
        return parse_checkpoint(parse_note(note)[0]).origin
    except FormatError:
        return ""


def _time(text: str) -> int | None:
    try:
        return to_microseconds(datetime.fromisoformat(text))
    except ValueError:  # 31 February
        return None


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""
