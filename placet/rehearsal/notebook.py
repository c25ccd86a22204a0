"""What a rehearsal has found so far: a file that it can go on from, so that its length costs no memory.

All of a stretch is written at once, with where the next one begins: whenever the process ends, the file is that of a
rehearsal that stopped between two stretches. It is a SQLite file and nobody's format but this release's.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from placet.errors import InputError
from placet.rehearsal.outcome import Outcome
from placet.rehearsal.share import Judged, Standing, pruned_leaf, tell_standing

SCHEMA: Final = "placet.dev/policy-replay-notebook/v1"
_HINT: Final = "Remove the file, or name another one, to begin anew."
_TABLES: Final = """\
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE counts (name TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE outcomes (
    idx INTEGER PRIMARY KEY, verdict TEXT NOT NULL, code TEXT NOT NULL,
    namespace TEXT NOT NULL, model TEXT NOT NULL, reasons TEXT NOT NULL, missing TEXT NOT NULL, value TEXT NOT NULL
);
CREATE INDEX outcomes_by_code ON outcomes (verdict, code, idx);
CREATE TABLE standing (
    workload TEXT PRIMARY KEY, idx INTEGER NOT NULL, projection TEXT NOT NULL, answer TEXT, value TEXT
) WITHOUT ROWID;
"""
_ADMIT: Final = """\
INSERT INTO standing VALUES (:workload, :idx, :projection, :answer, :value)
ON CONFLICT (workload) DO UPDATE
SET idx = :idx, projection = :projection, answer = :answer, value = :value
WHERE NOT (:carried AND standing.projection = :projection)"""


class Notebook:
    """An open file. Use ``open_notebook``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def begin(cls, connection: sqlite3.Connection, facts: Mapping[str, str]) -> Self:
        """Take a connection to a file: an empty one is begun.

        Args:
            connection: without transactions of its own.
            facts: what the rehearsal is of; a file of another one is refused.

        Raises:
            InputError: ``notebook_foreign``.
        """
        made = cls(connection)
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            connection.executescript(f"BEGIN; {_TABLES} COMMIT;")
            with made.writing():
                made._put({"schema": SCHEMA, **facts})
            return made
        if not {"facts", "counts", "outcomes", "standing"} <= tables or made.fact("schema") != SCHEMA:
            raise InputError("it is no file of a replay", code="notebook_foreign", hint=_HINT)
        return made

    def fact(self, name: str) -> str:
        """What was noted under a name; "" for nothing."""
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return "" if row is None else str(row[0])

    @property
    def next(self) -> int:
        """Index of the first leaf that has not been judged."""
        return int(self.fact("next") or 0)

    def note(self, facts: Mapping[str, str]) -> None:
        """Write facts."""
        with self.writing():
            self._put(facts)

    def add(self, judged: Judged, *, end: int) -> None:
        """Take what came of the next stretch.

        Args:
            judged: of it.
            end: where the one after it begins.
        """
        with self.writing():
            if self.fact("in_time") == "1":  # leaves without bytes are of the time of those before them
                for index in judged.pruned_first:
                    judged.count(pruned_leaf(index))
            counts = {"decisions": judged.decisions, "reproduced": judged.reproduced, "sealed": judged.sealed}
            for name, count in {**judged.counts, **counts}.items():
                self._connection.execute(
                    "INSERT INTO counts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET count = count + excluded.count",
                    (name, count),
                )
            self._connection.executemany("INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _rows(judged.outcomes))
            for standing in judged.standing:
                self._stand(standing)
            facts = {"next": str(end), "anchor": judged.anchor}
            if judged.in_time is not None:
                facts["in_time"] = str(int(judged.in_time))
            self._put(facts)

    def unjudged(self, limit: int) -> list[int]:
        """Decisions by which workloads are admitted, and that were not judged again yet; the first ones."""
        rows = self._connection.execute("SELECT idx FROM standing WHERE answer IS NULL ORDER BY idx LIMIT ?", (limit,))
        return [index for (index,) in rows]

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """Say of such decisions what came of them."""
        with self.writing():
            for outcome in outcomes:
                told = tell_standing(outcome)
                self._connection.execute(
                    "UPDATE standing SET answer = ?, value = ? WHERE idx = ?",
                    (told["answer"], _render(told), outcome.index),
                )

    def counts(self) -> dict[str, int]:
        """Name -> count."""
        return dict(self._connection.execute("SELECT name, count FROM counts"))

    def outcomes(self, verdict: str) -> Iterator[dict[str, Any]]:
        """What is shown one by one, by code and in order."""
        asked = "SELECT value FROM outcomes WHERE verdict = ? ORDER BY code, idx"
        for (value,) in self._connection.execute(asked, (verdict,)):
            yield json.loads(value)

    def groups(self, code: str) -> Iterator[tuple[str, str, str, str, int]]:
        """Of a change: namespace, model, reasons, missing roles, and how many decisions; most first."""
        asked = (
            "SELECT namespace, model, reasons, missing, count(*) FROM outcomes WHERE verdict = 'changed' AND code = ? "
            "GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 2, 3, 4"
        )
        yield from self._connection.execute(asked, (code,))

    def standing(self, answer: str) -> Iterator[dict[str, Any]]:
        """Workloads that are admitted now and of which a rehearsal says so, in order of their decisions."""
        for (value,) in self._connection.execute("SELECT value FROM standing WHERE answer = ? ORDER BY idx", (answer,)):
            yield json.loads(value)

    def answers(self) -> dict[str, int]:
        """Answer -> how many workloads that are admitted now have it."""
        return dict(self._connection.execute("SELECT answer, count(*) FROM standing GROUP BY 1 ORDER BY 1"))

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: all of it is there, or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _put(self, facts: Mapping[str, str]) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", list(facts.items()))

    def _stand(self, one: Standing) -> None:
        workload = _render(list(one.key))
        if not one.admitted:
            self._connection.execute("DELETE FROM standing WHERE workload = ?", (workload,))
            return
        values = {
            "workload": workload,
            "idx": one.index,
            "projection": one.projection,
            "carried": one.carried,
            "answer": None if one.outcome is None else one.outcome["answer"],
            "value": None if one.outcome is None else _render(one.outcome),
        }
        self._connection.execute(_ADMIT, values)


@contextlib.contextmanager
def open_notebook(path: Path | None, facts: Mapping[str, str]) -> Iterator[Notebook]:
    """The file of a rehearsal, which one process at a time has.

    Args:
        path: where it is kept; None for one that is gone at the end.
        facts: see ``Notebook.begin``; those that another file has decide.

    Raises:
        InputError: it can't be used, is of another rehearsal, or another process has it.
    """
    with contextlib.ExitStack() as stack:
        if path is None:
            # SQLite's own temporary database: on the disk where it grows, and gone with the connection.
            name, folder = "", tempfile.gettempdir()
        else:
            name, folder = str(path), str(path)
        try:
            connection = sqlite3.connect(name, timeout=1.0, isolation_level=None)
            stack.callback(connection.close)
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            yield Notebook.begin(connection, facts)
        except sqlite3.Error as exc:
            raise InputError(
                f"{folder} can't be used for the replay: {exc}", code="notebook_foreign", hint=_HINT
            ) from exc


def _rows(outcomes: Iterable[Outcome]) -> Iterator[tuple[Any, ...]]:
    for one in outcomes:
        after = one.after or {}
        yield (
            one.index,
            one.verdict.value,
            one.code,
            one.subject.get("namespace", ""),
            one.subject.get("model", ""),
            ", ".join(_reasons(one)),
            ", ".join(after.get("missing_roles", ())),
            _render(one.render()),
        )


def _reasons(one: Outcome) -> list[str]:
    """What speaks against it: of a change for the better what spoke against it before."""
    before, after = one.before or {}, one.after or {}
    if after.get("fault"):
        return ["no decision"]
    if after.get("violations") or not after.get("allowed"):
        return list(after.get("violations", ()))
    gained = [rule for rule in after.get("tolerated", ()) if rule not in before.get("tolerated", ())]
    return gained or list(before.get("violations", ()))


def _render(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
