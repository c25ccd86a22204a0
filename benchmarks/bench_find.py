"""How long `placet audit list` takes to find records: the worst page of every kind of query, and the median.

    python benchmarks/bench_find.py [--quick] [--records 1000000] [--store sqlite|postgresql|both] [--json FILE]

Each store has so many decisions, with what they are found by, as a gate leaves it behind its appends. It is made once
and kept in the cache (``benchmarks/found_stores.py``), 1.3 KB a record. Values are as unevenly spread as in a cluster:
every record has some role, one in a thousand another. Asked are every condition alone, rare and common, all pairs of
conditions, combinations of up to ten by chance, terms that are each on half of the records and never on the same, and
what is nowhere. Each is asked for the first page of 50, one in the middle, one deep in the record and the last, newest
first; a time is from opening the store to the last record read and held against its hash. CPU is that of this process
and of the database's, *undisturbed* the time without what the two waited for a core that others had: on a machine that
does other work these say what the time itself doesn't.

Names opened: as whoever has the keys of persons asks, in a record whose blocks a gate has gone through.

Held in the same run: a block of the records is what the gate's own code makes of them, and in a smaller record what is
found is what reading all of it finds.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # records and the server are those of the tests

from benchmarks.cores import NOTHING, spent  # noqa: E402
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
from placet.audit.person_keys import Opener, Person  # noqa: E402
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
AIMS_MS: Final = {1_000_000: 100, 10_000_000: 1000}
"""Records -> what every page is to be found in; more of them have a second too."""
_PERSONS: Final = 300
_ABSENT: Final = "person-299@example.org"  # there is a key, and no record
_backend: Final = attrgetter("_link.info.backend_pid")


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


def opened_queries(records: int) -> dict[str, list[Query]]:
    """The same with names opened."""
    values = conditions(records)
    return {
        "text, names opened": [
            Query(text=one) for one in (*values["text"], "valid zebra", "person 60", "example", _ABSENT)
        ],
        "person, names opened": [Query(person=one) for one in (*values["person"], _ABSENT, "nobody")],
        "user, names opened": [Query(user=one) for one in (*values["user"], _ABSENT)],
        "combined, names opened": [
            Query(role="security", person="cfo"),
            Query(environment="production", person=_ABSENT),
            Query(environment="production", text=values["text"][2]),
            Query(user=_ABSENT, person="cfo", text="no valid approval"),
        ],
    }


def all_queries(records: int) -> list[tuple[str, Query, Opener | None]]:
    """Kind, query, and what opens names."""
    plain = [(kind, query, None) for kind, some in queries(records).items() for query in some]
    opener = make_opener()
    return [*plain, *((kind, query, opener) for kind, some in opened_queries(records).items() for query in some)]


def make_opener() -> Opener:
    """Opens the names of some persons; half of them stand in the records as they are."""
    names = [f"person-{number}{where}" for number in range(_PERSONS) for where in ("", "@example.org")]
    keys = [hashlib.sha256(name.encode()).digest() for name in names]
    return Opener([Person(key.hex()[:32], name, key, Path(name)) for name, key in zip(names, keys, strict=True)])


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
        cpu_ms: of this process and of the database's, in the same time.
        waited_ms: what they waited for a core.
        indexes: of what was found.
    """

    ms: float
    cpu_ms: float
    waited_ms: float
    indexes: list[int]


def ask(place: StoreLocation, query: Query, after: str, opener: Opener | None = None) -> Asked:
    """Ask for one page."""
    before, begun, cpu = spent(), time.perf_counter(), time.process_time()
    with open_reader(place) as reader:
        page = find(reader, query, limit=_PAGE, after=after, opener=opener)
        server = NOTHING if isinstance(place, Path) else spent(_backend(reader))
    took, used = time.perf_counter() - begun, time.process_time() - cpu
    waited = spent().since(before).waited_ms + server.waited_ms
    return Asked(took * 1e3, used * 1e3 + server.cpu_ms, waited, [one.index for one in page.found])


def check(place: StoreLocation, records: int) -> None:
    """That what is found is what reading everything finds."""
    with open_reader(place) as reader:
        bodies = [read_found(one).body for one in reader.leaves(0, records)]
    values = [search_values(body) for body in bodies]
    for kind, asked in itertools.groupby(all_queries(records), key=lambda one: one[0]):
        for _, query, opener in itertools.islice(asked, 4):
            expected = [at for at in range(records - 1, -1, -1) if query.matches(values[at], bodies[at])][:_PAGE]
            if ask(place, query, "", opener).indexes != expected:
                raise BenchmarkError(f"{kind}: not what reading everything finds: {query}")


def measure(place: StoreLocation, records: int, times: int) -> dict[str, dict[str, Any]]:
    """Each kind's pages: how many, the median, and the worst of them and which it was."""
    pages = {"first": "", "middle": str(records // 2), "deep": str(records // 10), "last": str(_PAGE)}
    found: dict[str, dict[str, Any]] = {}
    for kind, asked in itertools.groupby(all_queries(records), key=lambda one: one[0]):
        taken: list[tuple[float, float, float, float, str]] = []
        for (_, query, opener), (page, after) in itertools.product(asked, pages.items()):
            runs = [ask(place, query, after, opener) for _ in range(times)]
            wall = [run.ms for run in runs]
            alone = statistics.median(max(run.ms - run.waited_ms, run.cpu_ms) for run in runs)
            cpu = statistics.median(run.cpu_ms for run in runs)
            taken.append((statistics.median(wall), max(wall), alone, cpu, f"{page} page of {_words(query)}"))
        worst, alone, most = max(taken), max(one[2] for one in taken), max(one[3] for one in taken)
        say(
            f"{kind}: {len(taken)} pages, the worst {worst[0]:.0f} ms ({worst[4]}); {alone:.0f} ms undisturbed, "
            f"{most:.0f} ms of CPU"
        )
        found[kind] = {
            "pages": len(taken),
            "median_ms": statistics.median(one[0] for one in taken),
            "worst_ms": worst[0],
            "worst": worst[4],
            "slowest_single_ms": max(one[1] for one in taken),
            "worst_undisturbed_ms": alone,
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
            return _measured(place, records, times)
    with kept(name, records) as place:
        return _measured(place, records, times)


def _measured(place: StoreLocation, records: int, times: int) -> dict[str, Any]:
    before = os.getloadavg()[0]
    found = measure(place, records, times)
    size = place.stat().st_size if isinstance(place, Path) else None
    return {"records": records, "bytes": size, "load_averages": [before, os.getloadavg()[0]], "queries": found}


def render(result: dict[str, Any]) -> str:
    """The table in Markdown: of each kind of query the median page and the worst."""
    stores = [name for name in STORES if name in result["stores"]]
    columns = ("median", "worst", "undisturbed", "CPU")
    head = [
        "milliseconds a page",
        "pages",
        *(f"{name}, {one}" if one == columns[0] else one for name in stores for one in columns),
    ]
    rows = []
    for kind in result["stores"][stores[0]]["queries"]:
        found = [result["stores"][name]["queries"][kind] for name in stores]
        names = ("median_ms", "worst_ms", "worst_undisturbed_ms", "worst_cpu_ms")
        rows.append([kind, f"{found[0]['pages']}", *(f"{one[name]:.1f}" for one in found for name in names)])
    return render_table(head, rows)


def worst_of(result: dict[str, Any], name: str) -> tuple[str, dict[str, Any]]:
    """The kind of query with the worst page of a store, by the median of the times that it was asked for."""
    queries: dict[str, dict[str, Any]] = result["stores"][name]["queries"]
    return max(queries.items(), key=lambda one: float(one[1]["worst_ms"]))


def render_aims(result: dict[str, Any]) -> list[list[str]]:
    """For each store what was aimed at, what came out, and whether it is met."""
    records = result["records"]
    aim = next((ms for most, ms in AIMS_MS.items() if records <= most), max(AIMS_MS.values()))
    rows = []
    for name, store in result["stores"].items():
        kind, worst = worst_of(result, name)
        late = sum(one["worst_ms"] >= aim for one in store["queries"].values())
        undisturbed = max(one["worst_undisturbed_ms"] for one in store["queries"].values())
        pages = sum(one["pages"] for one in store["queries"].values())
        load = " to ".join(f"{one:.1f}" for one in store["load_averages"])
        out = (
            f"the worst of {pages:,} pages {worst['worst_ms']:.0f} ms ({kind}), undisturbed {undisturbed:.0f} ms, "
            f"load average {load}"
        )
        met = "missed" if late == len(store["queries"]) else "met in part" if late else "met"
        rows.append([f"{name}: every query's page in {aim:,} ms at {records:,} records", out, met])
    return rows


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
    print(render_table(["aim", "came out", ""], render_aims(results["find"]), text=True))
    for name, store in results["find"]["stores"].items():
        print(f"{name}: the worst page is the {worst_of(results['find'], name)[1]['worst']};")
        print(
            f"  of {SEGMENT:,} records it takes {store['segment_cpu_ms']:.0f} ms of CPU to merge what they are found by"
        )


if __name__ == "__main__":
    run_command(main)
