"""How long `placet audit list` takes to find records, by every condition and combinations of them.

    python benchmarks/bench_find.py [--quick] [--records 1000000] [--only sqlite] [--json FILE]

A record of so many decisions is made by the stores' own insert statements, batch by batch, in a SQLite file and in a
PostgreSQL database; then the blocks of terms, as a gate makes them behind its appends. Values are as unevenly spread as
in a cluster: every record has some role, one in a thousand another, and what is combined is rare with common, common
with common, and what is nowhere. Each query is asked for its first page of 50 and for one deep in the record, from
opening the store to the last record read and held against its hash.

Held in the same run: what is found on the first page of a smaller record is what reading all of it finds.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # records and the server are those of the tests

from benchmarks.load import BenchmarkError  # noqa: E402 - after the path is set
from benchmarks.machine import say  # noqa: E402
from benchmarks.results import Spread, bench, parser, render_table, run_command  # noqa: E402
from placet.audit.location import StoreLocation, open_reader, open_store  # noqa: E402
from placet.audit.log import AuditLog, render_time  # noqa: E402
from placet.audit.merkle import hash_leaf  # noqa: E402
from placet.audit.query import Query, find, read_found  # noqa: E402
from placet.audit.record import render_leaf, search_values  # noqa: E402
from placet.audit.stores import Entry, Store  # noqa: E402
from placet.audit.terms import BLOCK  # noqa: E402
from tests.simulators.postgres import running_server  # noqa: E402
from tests.simulators.tampering import ORIGIN, START, Body, decision  # noqa: E402

_BATCH: Final = 4096
_PAGE: Final = 50
_RARE: Final = 1000
_SAY_EVERY_S: Final = 20
_CHECKED: Final = 20_000  # what reading everything takes no time for
_EVERY_S: Final = 30  # between two decisions: a year of them is about a million
_CODES: Final = ("role_missing", "not_pinned", "expired", "risk_too_high", "evidence_missing", "window_closed")
_HUNT: Final = "the model has no valid approval of the role security; ask for one with placet approve"


def made(number: int) -> Body:
    """A decision; what is rare in it is so by the number."""
    mixed = number * 2654435761 % 2**32
    revision = number // 20
    digest = hashlib.sha256(str(revision).encode()).hexdigest()
    denied = mixed % 12 == 0
    name = f"llama-{mixed % 499}"
    approval = {
        "approval_id": f"{digest[:8]}-{revision}",
        "role": "security",
        "person": f"person-{mixed % 41}",
        "statement": f"sha256:{digest}",
    }
    rare = {"approval_id": f"x-{revision}", "role": "executive", "person": "cfo"}
    changes: Body = {
        "time": render_time(START + timedelta(seconds=_EVERY_S * number)),
        "environment": ("production", "staging", "production", "development")[mixed % 4],
        "namespace": f"team-{(mixed >> 4) % 7}" if mixed % 3 else f"team-{(mixed >> 4) % 211}",
        "kind": "StatefulSet" if mixed % 17 == 0 else "Deployment",
        "name": name,
        "user": "system:serviceaccount:argocd:deployer" if mixed % 5 else f"person-{mixed % 61}@example.org",
        "model": {"name": f"model-{mixed % 13}", "version": "1.0.0", "digest": f"sha256:{digest}"},
        "allowed": not denied,
        "approved": not denied,
        "violations": [{"rule": "approvals.required", "code": _CODES[(mixed >> 7) % 6]}] if denied else [],
        "approvals": [approval, approval | {"role": "technical"}] + ([rare] if number % _RARE == _RARE // 2 else []),
        "images": [f"registry.example.com/serving/vllm-openai:v1.{revision % 50}@sha256:{digest}"],
        "projection": f"sha256:{digest}",
        "message": f"{name}: {_HUNT}" if denied else f"{name} may run",
        "advice": [f"renew what expires, ticket-{number}"] if number % _RARE == 0 else [],
    }
    return decision(number) | changes


def queries(records: int) -> dict[str, Query]:
    """Every condition, rare and common, and combinations."""
    middle = START + timedelta(seconds=_EVERY_S * records // 2)
    revision = records // 3 // 20
    digest = hashlib.sha256(str(revision).encode()).hexdigest()
    week = {"since": middle, "until": middle + timedelta(days=7)}
    return {
        "nothing asked": Query(),
        "object, days back": Query(kind="Deployment", name="llama-7", namespace="team-3", since=middle),
        "name": Query(name="llama-7"),
        "namespace, common": Query(namespace="team-3"),
        "namespace, rare": Query(namespace="team-200"),
        "user, common": Query(user="system:serviceaccount:argocd:deployer"),
        "user, rare": Query(user="person-60@example.org"),
        "model": Query(model="model-7"),
        "environment": Query(environment="production"),
        "decision": Query(allowed=False),
        "violation": Query(violation="approvals.required:not_pinned"),
        "role, on every record": Query(role="security"),
        "role, rare": Query(role="executive"),
        "person": Query(person="person-7"),
        "approval": Query(approval=f"{digest[:8]}-{revision}"),
        "projection": Query(projection=f"sha256:{digest}"),
        "image, on every record": Query(image="serving/vllm-openai"),
        "image, rare": Query(image=f"sha256:{digest}"),
        "time range": Query(since=middle, until=middle + timedelta(days=7)),
        "text, common": Query(text="no valid approval"),
        "text, rare": Query(text=f"ticket {records // 2 // _RARE * _RARE}"),
        "text, nowhere": Query(text="valid zebra"),
        "nowhere": Query(person="nobody"),
        "common role, rare role": Query(role="security", person="cfo"),
        "rare role, denied, a week": Query(role="executive", allowed=False, **week),  # type: ignore[arg-type]
        "common and common, never together": Query(name="llama-7", model="model-1", namespace="team-1", allowed=False),
        "ten conditions": Query(
            kind="Deployment", environment="production", allowed=False, violation="role_missing", role="security",
            person="person-7", image="vllm", text="valid approval", since=START,
            user="system:serviceaccount:argocd:deployer",
        ),
    }  # fmt: skip


def fill(stores: list[Store], records: int) -> None:
    """The same decisions in every store, by its own insert statements."""
    last = time.monotonic()
    for start in range(0, records, _BATCH):
        leaves = [render_leaf(made(number)) for number in range(start, min(start + _BATCH, records))]
        entries = [Entry(start + place, leaf, hash_leaf(leaf.raw), {}) for place, leaf in enumerate(leaves)]
        for store in stores:
            transaction = store.begin(deadline_s=60)
            try:
                frontier = transaction.state()
                for entry in entries:
                    frontier.append(entry.leaf_hash)
                transaction.insert(entries)
                transaction.put_state(frontier)
                transaction.commit()
            finally:
                transaction.rollback()
        if time.monotonic() - last > _SAY_EVERY_S:
            last = time.monotonic()
            say(f"{start + len(leaves)} of {records} records")


def add_terms(store: Store, records: int) -> dict[str, float]:
    """Make the blocks; milliseconds that one takes, and that it stands in the way of an append at most."""
    begun = time.perf_counter()
    log = AuditLog(store)
    if log.index_blocks(records) != records // BLOCK:
        raise BenchmarkError("blocks are missing")
    return {"block_ms": (time.perf_counter() - begun) * 1e3 / max(records // BLOCK, 1)}


def ask(store: StoreLocation, query: Query, after: str) -> tuple[float, list[int]]:
    """Milliseconds of one page, and what is on it."""
    begun = time.perf_counter()
    with open_reader(store) as reader:
        page = find(reader, query, limit=_PAGE, after=after)
    return (time.perf_counter() - begun) * 1e3, [one.index for one in page.found]


def check(store: StoreLocation, records: int) -> None:
    """That what is found is what reading everything finds."""
    with open_reader(store) as reader:
        bodies = [read_found(one).body for one in reader.leaves(0, records)]
    for name, query in queries(records).items():
        expected = [at for at, body in enumerate(bodies) if query.matches(search_values(body), body)][::-1][:_PAGE]
        if ask(store, query, "")[1] != expected:
            raise BenchmarkError(f"{name}: not what reading everything finds")


def measure(store: StoreLocation, records: int, times: int) -> dict[str, dict[str, Any]]:
    """Each query's times, first page and deep page."""
    found: dict[str, dict[str, Any]] = {}
    for name, query in queries(records).items():
        first = [ask(store, query, "") for _ in range(times)]
        deep = [ask(store, query, str(records // 10)) for _ in range(times)]
        found[name] = {
            "found": len(first[0][1]),
            "first_ms": Spread.of(taken for taken, _ in first).as_json(),
            "deep_ms": Spread.of(taken for taken, _ in deep).as_json(),
        }
    return found


@contextlib.contextmanager
def opened(folder: Path, only: str) -> Iterator[dict[str, StoreLocation]]:
    """Where the records go."""
    with contextlib.ExitStack() as stack:
        places: dict[str, StoreLocation] = {}
        if only != "postgres":
            places["sqlite"] = folder / "record.db"
        if only != "sqlite":
            places["postgres"] = stack.enter_context(running_server()).make_record("find")
        yield places


def run(folder: Path, records: int, times: int, only: str) -> dict[str, Any]:
    """Everything of one size."""
    with opened(folder, only) as places:
        stores = {name: open_store(place, origin=ORIGIN) for name, place in places.items()}
        fill(list(stores.values()), records)
        blocks = {name: add_terms(store, records) for name, store in stores.items()}
        for store in stores.values():
            store.close()
        say("made the records and their terms")
        if records <= _CHECKED:
            for place in places.values():
                check(place, records)
        sizes = {name: place.stat().st_size for name, place in places.items() if isinstance(place, Path)}
        return {
            "records": records,
            "blocks": blocks,
            "bytes": sizes,
            "queries": {name: measure(place, records, times) for name, place in places.items()},
        }


def render(result: dict[str, Any]) -> str:
    """The table in Markdown."""
    stores = list(result["queries"])
    head = [
        "milliseconds, median (least to most)",
        *(f"{name}, {page} page" for name in stores for page in ("first", "deep")),
    ]
    rows = []
    for name in result["queries"][stores[0]]:
        cells = (result["queries"][store][name][page] for store in stores for page in ("first_ms", "deep_ms"))
        rows.append([name, *(f"{cell['median']:.1f} ({cell['least']:.1f} to {cell['most']:.1f})" for cell in cells)])
    return render_table(head, rows)


def main() -> None:
    """Measure and print."""
    asked_of = parser(__doc__)
    asked_of.add_argument("--records", type=int, help="default: 1000000, quick 5000")
    asked_of.add_argument("--times", type=int, default=5, help="each query is asked (default: %(default)s)")
    asked_of.add_argument("--only", choices=("sqlite", "postgres"), default="", help="one store alone")
    asked = asked_of.parse_args()
    with bench(asked) as (folder, results):
        if not asked.quick:
            run(folder, 5 * BLOCK + 100, 1, asked.only)  # what is found is held against reading everything
            for left in folder.iterdir():
                left.unlink()
        results["find"] = run(folder, asked.records or (5000 if asked.quick else 1_000_000), asked.times, asked.only)
    print(render(results["find"]))
    for name, block in results["find"]["blocks"].items():
        print(f"{name}: a block of {BLOCK} leaves takes {block['block_ms']:.0f} ms to make, behind the appends")


if __name__ == "__main__":
    run_command(main)
