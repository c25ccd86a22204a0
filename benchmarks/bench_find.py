"""How long `placet audit list` takes to find records: the worst page of every kind of query, and the median.

    python benchmarks/bench_find.py [--quick] [--records 1000000] [--store sqlite|postgresql|both] [--json FILE]

Each store has so many decisions, with what they are found by, as a gate leaves it behind its appends. It is made once
and kept in the cache (``benchmarks/found_stores.py``), 1.3 KB a record. Values are as unevenly spread as in a cluster:
every record has some role, one in a thousand another. Asked are every condition alone, rare and common, all pairs of
conditions, combinations of up to ten by chance, terms that are each on half of the records and never on the same, and
what is nowhere. Each is asked for the first page of 50, one in the middle, one deep in the record and the last, newest
first; a time is from opening the store to the last record read and held against its hash. CPU is that of this process,
and says of SQLite what a busy neighbour doesn't.

Held in the same run: a block of the records is what the gate's own code makes of them, and in a smaller record what is
found is what reading all of it finds.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # records and the server are those of the tests

from benchmarks.found_records import (  # noqa: E402 - after the path is set
    BASE,
    CODES,
    DEPLOYER,
    EVERY_S,
    RARE,
    digest_of,
    make_records,
    make_rows,
    require_honest,
)
from benchmarks.found_stores import build_by_appends, build_sqlite, kept  # noqa: E402
from benchmarks.load import BenchmarkError  # noqa: E402
from benchmarks.machine import say  # noqa: E402
from benchmarks.results import bench, parser, render_table, run_command  # noqa: E402
from placet.audit.location import StoreLocation, open_reader  # noqa: E402
from placet.audit.query import Query, find, read_found  # noqa: E402
from placet.audit.record import search_values  # noqa: E402
from placet.audit.segments import SEGMENT, SegmentMaker  # noqa: E402
from placet.audit.stores.reader import values_of  # noqa: E402
from placet.audit.terms import BLOCK  # noqa: E402
from tests.simulators.postgres import running_server  # noqa: E402
from tests.simulators.tampering import START  # noqa: E402

_PAGE: Final = 50
_CHECKED: Final = SEGMENT + 3 * BLOCK + 100  # what reading everything takes no time for
_CHANCES: Final = 60
STORES: Final = ("sqlite", "postgresql")


def conditions(records: int) -> dict[str, list[Any]]:
    """Of every condition a common value and a rare one."""
    middle = START + timedelta(seconds=EVERY_S * records // 2)
    base = min(records, BASE)
    revision = base // 3 // 20
    digest = digest_of(revision)
    return {
        "kind": ["Deployment", "StatefulSet"],
        "name": ["llama-8"],
        "namespace": ["team-3", "team-200"],
        "environment": ["production", "development"],
        "model": ["model-7"],
        "user": [DEPLOYER, "person-60@example.org"],
        "allowed": [True, False],
        "violation": ["approvals.required", f"approvals.required:{CODES[1]}"],
        "role": ["security", "executive"],
        "person": ["person-7", "cfo"],
        "approval": [f"{digest[:8]}-{revision}"],
        "projection": [f"sha256:{digest[:16]}"],
        "image": ["serving/vllm-openai", f"sha256:{digest[:16]}"],
        "text": ["may run", "no valid approval", f"ticket {base // 2 // RARE * RARE}"],
        "since": [middle],
        "until": [middle],
    }


def queries(records: int) -> dict[str, list[Query]]:
    """Kind of query -> those that are asked."""
    values = conditions(records)
    alone = {name: [Query(**{name: one}) for one in some] for name, some in values.items()}
    middle = values["since"][0]
    week = {"since": middle, "until": middle + timedelta(days=7)}
    longago: dict[str, Any] = {"since": START, "until": START + timedelta(days=2)}
    chance = random.Random(55)  # noqa: S311 - the same combinations each time
    some = []
    for _ in range(_CHANCES):
        names = chance.sample(sorted(values), chance.randint(3, 10))
        some.append(Query(**{name: chance.choice(values[name]) for name in names}))
    return {
        "nothing asked": [Query(), Query(type="")],
        **{f"{name} alone" if name in {"since", "until"} else name: asked for name, asked in alone.items()},
        "resource, days back": [Query(kind="Deployment", name="llama-8", namespace="team-1", since=middle)],
        "time range": [Query(**week), Query(**longago), Query(type="", **longago)],
        "time range far back and rare": [
            Query(role="executive", allowed=False, **week),
            Query(person="cfo", **longago),
            Query(text="no valid approval", **longago),
        ],
        "rare with common": [
            Query(role="security", person="cfo"),
            Query(environment="production", text=values["text"][2]),
            Query(user=DEPLOYER, approval=values["approval"][0]),
        ],
        "common with common, never together": [
            Query(text="blue green"),
            Query(allowed=True, violation="approvals.required"),
            Query(name="llama-8", model="model-1", environment="production"),
        ],
        "nowhere": [
            Query(person="nobody"),
            Query(text="valid zebra"),
            Query(type="heartbeat"),
            Query(role="security", environment="production", person="nobody", user=DEPLOYER),
        ],
        "every pair of conditions": [
            Query(**{one: a, other: b})
            for one, other in itertools.combinations(values, 2)
            for a in values[one]
            for b in values[other]
        ],
        "three to ten conditions": some,
        "all at once": [
            Query(
                kind="Deployment", name="llama-8", namespace="team-1", environment="production", model="model-8",
                user=DEPLOYER, allowed=False, violation="role_missing", role="security", person="person-7",
                image="registry.example.com/serving/vllm-openai", text="no valid approval of the role security",
                since=START,
            )
        ],
    }  # fmt: skip


def hold_records() -> None:
    """Hold what is made quickly, and what says the same again later, against what the gate makes of it."""
    for leaves, block in itertools.islice(make_records(BASE + BLOCK), 0, None, BASE // BLOCK):
        require_honest([(one.leaf.raw, one.leaf_hash, values_of(one.leaf.columns)) for one in leaves], block)


def time_of_segment(records: int = SEGMENT) -> dict[str, float]:
    """Milliseconds that merging the blocks of one segment takes."""
    blocks = [block for _, block in make_rows(records) if block is not None]
    begun, cpu = time.perf_counter(), time.process_time()
    maker = SegmentMaker(0)
    for block in blocks:
        maker.add(block)
    return {
        "segment_ms": (time.perf_counter() - begun) * 1e3,
        "segment_cpu_ms": (time.process_time() - cpu) * 1e3,
    }


@dataclass(frozen=True, slots=True)
class Asked:
    """One page.

    Attributes:
        ms: from opening the store to the last record.
        cpu_ms: of this process, in the same time.
        indexes: of what was found.
    """

    ms: float
    cpu_ms: float
    indexes: list[int]


def ask(place: StoreLocation, query: Query, after: str) -> Asked:
    """Ask for one page."""
    begun, cpu = time.perf_counter(), time.process_time()
    with open_reader(place) as reader:
        page = find(reader, query, limit=_PAGE, after=after)
    took, used = time.perf_counter() - begun, time.process_time() - cpu
    return Asked(took * 1e3, used * 1e3, [one.index for one in page.found])


def check(place: StoreLocation, records: int) -> None:
    """That what is found is what reading everything finds."""
    with open_reader(place) as reader:
        bodies = [read_found(one).body for one in reader.leaves(0, records)]
    values = [search_values(body) for body in bodies]
    for kind, asked in queries(records).items():
        for query in asked[:4]:
            expected = [at for at in range(records - 1, -1, -1) if query.matches(values[at], bodies[at])][:_PAGE]
            if ask(place, query, "").indexes != expected:
                raise BenchmarkError(f"{kind}: not what reading everything finds: {query}")


def measure(place: StoreLocation, records: int, times: int) -> dict[str, dict[str, Any]]:
    """Each kind's pages: how many, the median, and the worst of them and which it was."""
    pages = {"first": "", "middle": str(records // 2), "deep": str(records // 10), "last": str(_PAGE)}
    found: dict[str, dict[str, Any]] = {}
    for kind, asked in queries(records).items():
        taken: list[tuple[float, float, float, str]] = []
        for query, (page, after) in itertools.product(asked, pages.items()):
            runs = [ask(place, query, after) for _ in range(times)]
            wall = [run.ms for run in runs]
            cpu = statistics.median(run.cpu_ms for run in runs)
            taken.append((statistics.median(wall), max(wall), cpu, f"{page} page of {_words(query)}"))
        worst, most = max(taken), max(one[2] for one in taken)
        say(f"{kind}: {len(taken)} pages, the worst {worst[0]:.0f} ms ({worst[3]}), or {most:.0f} ms of CPU")
        found[kind] = {
            "pages": len(taken),
            "median_ms": statistics.median(one[0] for one in taken),
            "worst_ms": worst[0],
            "worst": worst[3],
            "slowest_single_ms": max(one[1] for one in taken),
            "worst_cpu_ms": most,
        }
    return found


def _words(query: Query) -> str:
    plain = Query()
    return " ".join(
        f"{name}={getattr(query, name)}"
        for name in query.__dataclass_fields__
        if getattr(query, name) != getattr(plain, name)
    )


@contextlib.contextmanager
def small(name: str, folder: Path, records: int) -> Iterator[StoreLocation]:
    """A store that is made for this once."""
    if name == "sqlite":
        path = folder / "record.db"
        build_sqlite(path, records)
        yield path
        path.unlink()
    else:
        with running_server() as server:
            place = server.make_record("find")
            build_by_appends(name, place, records)
            yield place


def run(name: str, folder: Path, records: int, times: int) -> dict[str, Any]:
    """Everything of one store and size."""
    few = min(records, _CHECKED)
    with small(name, folder, few) as place:
        check(place, few)
        say(f"{name}: what is found is what reading everything finds")
        if records == few:
            return {"records": records, "bytes": _size_of(place), "queries": measure(place, records, times)}
    with kept(name, records) as place:
        return {"records": records, "bytes": _size_of(place), "queries": measure(place, records, times)}


def _size_of(place: StoreLocation) -> int | None:
    return place.stat().st_size if isinstance(place, Path) else None


def render(result: dict[str, Any]) -> str:
    """The table in Markdown: of each kind of query the median page and the worst."""
    stores = [name for name in STORES if name in result["stores"]]
    head = ["milliseconds a page", "pages", *itertools.chain(*((f"{n}, median", "worst", "worst CPU") for n in stores))]
    rows = []
    for kind in result["stores"][stores[0]]["queries"]:
        found = [result["stores"][name]["queries"][kind] for name in stores]
        cells = itertools.chain(
            *((f"{one['median_ms']:.1f}", f"{one['worst_ms']:.1f}", f"{one['worst_cpu_ms']:.1f}") for one in found)
        )
        rows.append([kind, f"{found[0]['pages']}", *cells])
    return render_table(head, rows)


def worst_of(result: dict[str, Any], name: str) -> float:
    """The worst page of a store, milliseconds: the median of the times that it was asked for."""
    return max(float(one["worst_ms"]) for one in result["stores"][name]["queries"].values())


def main() -> None:
    """Measure and print."""
    asked_of = parser(__doc__)
    asked_of.add_argument("--records", type=int, help="default: 1000000, quick 20000")
    asked_of.add_argument("--times", type=int, default=3, help="each page is asked for (default: %(default)s)")
    asked_of.add_argument("--store", choices=(*STORES, "both"), default="both", help="default: %(default)s")
    asked = asked_of.parse_args()
    records = asked.records or (_CHECKED if asked.quick else 1_000_000)
    with bench(asked) as (folder, results):
        results["find"] = {"records": records, "stores": {}}
        hold_records()
        merging = time_of_segment()
        for name in STORES if asked.store == "both" else (asked.store,):
            results["find"]["stores"][name] = {**run(name, folder, records, asked.times), **merging}
    print(render(results["find"]))
    for name, store in results["find"]["stores"].items():
        kind, worst = max(store["queries"].items(), key=lambda one: one[1]["worst_ms"])
        print(
            f"{name}: the worst page of {records:,} records took {worst['worst_ms']:.0f} ms: {kind}, {worst['worst']};"
        )
        print(
            f"  of {SEGMENT:,} records it takes {store['segment_cpu_ms']:.0f} ms of CPU to merge what they are found by"
        )


if __name__ == "__main__":
    run_command(main)
