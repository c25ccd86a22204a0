"""Records a second and core that `placet audit verify` verifies, beside plain hashing of the same bytes.

    python benchmarks/bench_verify.py [--quick] [--records 50000] [--json FILE]

In one run, by one thread of one process, in turns, of one store in the page cache:

* plain hashing: SHA-256 of each leaf and of each attachment, already in memory, and of the tree. No verifier that
  hashes is faster: this is the base line, told in bytes too;
* reading: every column of every leaf and attachment, through SQLite, and nothing done with it;
* read and hashed: both, which is the floor of what reads a store;
* parsing: JSON of each leaf to Python values and back with sorted keys, which is one way to see that it is canonical;
* pages: the store's own check of its pages and indexes, which is SQLite's work;
* verifying: all else that `placet audit verify` does, of a store with all that records are found by; blocks alone: of
  one without segments, so that the difference is what these cost; records: with `--depth records`, nothing that
  records are found by; strictly: as *verifying* without the quick way through plain leaves;
* leaves: with `--depth leaves`; leaves, read and hashed: the floor of that;
* whole: all of `placet audit verify`, pages and terms too;
* tiles, read and hashed: the floor of what reads tiles;
* tiles: all of `placet audit verify --tiles` over the same leaves, published; tiles, leaves: with `--depth leaves`.

Then the whole again on the wall clock, with one process and with two.

Two sizes of record: that of a real admission with two attachments, and a small one without any. With --memory also the
most memory that verifying takes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import shutil
import sqlite3
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from unittest import mock

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # records are those of the tests

import orjson  # noqa: E402 - after the path is set

from benchmarks.machine import say  # noqa: E402
from benchmarks.results import Spread, bench, parser, render_table, run_command  # noqa: E402
from placet.audit import verify as verifier  # noqa: E402
from placet.audit.certify import STRETCH  # noqa: E402
from placet.audit.depth import Depth  # noqa: E402
from placet.audit.findings import Verification  # noqa: E402
from placet.audit.indexing import add_blocks  # noqa: E402
from placet.audit.location import open_store  # noqa: E402
from placet.audit.merkle import Frontier, hash_leaves  # noqa: E402
from placet.audit.stores.file import open_readonly  # noqa: E402
from placet.audit.tile_writer import write_tiles  # noqa: E402
from placet.audit.tiles import ENTRIES, WIDTH, Tile, split_bundle  # noqa: E402
from placet.audit.tiles_verify import verify_tiles  # noqa: E402
from placet.audit.verify import verify_file, verify_store  # noqa: E402
from tests.simulators.bulk import build_bulk, plain  # noqa: E402
from tests.simulators.tampering import LOG_KEY, ORIGIN, Body  # noqa: E402

KEYS: Final = [LOG_KEY.verifier]
JOBS: Final = (1, 2)
SIGNED_EVERY: Final = 1000
_RATIOS: Final = (
    ("verifying", "strictly"),
    ("verifying", "hashing"),
    ("verifying", "read_and_hashed"),
    ("records", "read_and_hashed"),
    ("leaves", "leaves_read_and_hashed"),
    ("tiles", "hashing"),
    ("tiles", "tiles_read_and_hashed"),
    ("tiles_leaves", "tiles_read_and_hashed"),
)
_SIZES: Final = {"input": 1450, "content": 470}  # bytes, as the records of the end-to-end tests have them on average


def real(number: int) -> tuple[Body, dict[str, bytes]]:
    """A decision of 2.7 KB with two attachments, as an admission leaves it."""
    body, _ = plain(number)
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    approval = {
        "approval_id": digest[:32],
        "role": "security",
        "key": f"sha256:{digest}",
        "person": "sam",
        "statement": f"sha256:{digest}",
        "expires": "2026-12-22T18:00:00.000000Z",
    }
    changes: Body = {
        "advice": [],
        "approvals": [approval, approval],
        "coverage": {"cause": "strict", "governed": True, "object": "new", "reasons": []},
        "images": [f"registry.example.com/serving/vllm-openai@sha256:{digest}"] * 2,
        "message": "no valid approval; next, by someone who may sign: placet approve. " * 4,
        "place": {"environment": "production", "label": "production", "uid": digest[:36]},
        "policy": {"data_digest": f"sha256:{digest}", "engine": "embedded", "revision": f"sha256:{digest}"},
    }
    return body | changes, {name: (digest * 32).encode()[:size] for name, size in _SIZES.items()}


def small(number: int) -> tuple[Body, dict[str, bytes]]:
    """A decision of 1.2 KB with nothing beside it."""
    body, _ = plain(number)
    body.pop("input_digest")
    return body, {}


def measure(folder: Path, records: int, rounds: int, *, memory: bool) -> list[dict[str, Any]]:
    """All rates of both kinds of record."""
    rows = []
    for name, made in (("as admissions leave them", real), ("small, alone", small)):
        store = build_bulk(folder / f"{made.__name__}.db", records, made=made, signed_every=SIGNED_EVERY)
        say(f"made {records} records, {name}")
        rows.append({"name": name, "records": records, **_measure_store(store, records, rounds)})
        if memory:
            rows[-1]["peak_bytes"] = _peak(store)
    return rows


def _measure_store(store: Path, records: int, rounds: int) -> dict[str, Any]:
    tiles = store.with_suffix(".tiles")
    tiles.mkdir()
    with open_readonly(store) as reader:
        write_tiles(tiles, reader, KEYS)
    with contextlib.closing(sqlite3.connect(store)) as database:
        leaves = [leaf for (leaf,) in database.execute("SELECT leaf FROM leaves ORDER BY idx")]
        blobs = [blob for (blob,) in database.execute("SELECT content FROM blobs ORDER BY idx, name")]
    indexed = _with_terms(store)
    blocks = _without_segments(indexed)
    steps: dict[str, Callable[[], object]] = {
        "hashing": lambda: _hash([(leaves, blobs)]),
        "reading": lambda: sum(1 for _ in _read(store)),
        "read_and_hashed": lambda: _hash(_read(store)),
        "parsing": lambda: [_there_and_back(leaf) for leaf in leaves],
        "pages": lambda: _check_pages(store),
        "strictly": lambda: _verify_strictly(indexed, records),
        "verifying": lambda: _verify(indexed, records),
        "blocks_alone": lambda: _verify(blocks, records),
        "records": lambda: _verify(indexed, records, Depth.RECORDS),
        "leaves_read_and_hashed": lambda: _hash(_read_leaves(indexed)),
        "leaves": lambda: _verify(indexed, records, Depth.LEAVES),
        "whole": lambda: _require(verify_file(indexed, KEYS), records),
        "tiles_read_and_hashed": lambda: _hash(_read_tiles(tiles, records)),
        "tiles": lambda: _require(verify_tiles(tiles, KEYS), records),
        "tiles_leaves": lambda: _require(verify_tiles(tiles, KEYS, depth=Depth.LEAVES), records),
    }
    clocks = {f"jobs_{jobs}": functools.partial(verify_file, indexed, KEYS, jobs=jobs) for jobs in JOBS}
    taken: dict[str, list[float]] = {name: [] for name in (*steps, *clocks)}
    for number in range(rounds):
        for name, step in steps.items():
            started = time.process_time()
            step()
            taken[name].append(records / (time.process_time() - started))
        for name, run in clocks.items():
            started = time.perf_counter()
            _require(run(), records)
            taken[name].append(records / (time.perf_counter() - started))
        say(f"round {number + 1} of {rounds} done")
    shutil.rmtree(tiles)
    return {
        "leaf_bytes": sum(map(len, leaves)) // records,
        "attached_bytes": sum(map(len, blobs)) // records,
        **{f"{name}_per_s": Spread.of(found).as_json() for name, found in taken.items()},
    }


def _with_terms(store: Path) -> Path:
    """The same record with all that it is found by."""
    copy = store.with_suffix(".terms.db")
    shutil.copy(store, copy)
    opened = open_store(copy, origin=ORIGIN)
    try:
        add_blocks(opened, sys.maxsize)
    finally:
        opened.close()
    return copy


def _without_segments(store: Path) -> Path:
    """The same record with blocks alone, as it was before segments."""
    copy = store.with_suffix(".blocks.db")
    shutil.copy(store, copy)
    with contextlib.closing(sqlite3.connect(copy)) as database, database:
        database.execute("DELETE FROM postings")
        database.execute("DELETE FROM segments")
    return copy


def _hash(parts: Iterable[tuple[Sequence[bytes], Sequence[bytes]]]) -> bytes:
    """The hashes that no verifier can leave out, of leaves and attachments; gives the root."""
    tree = Frontier()
    for leaves, blobs in parts:
        tree.extend(hash_leaves(leaves))
        for blob in blobs:
            hashlib.sha256(blob).digest()
    return tree.root()


def _read(store: Path) -> Iterator[tuple[Sequence[bytes], Sequence[bytes]]]:
    """Every row, as a verifier reads them: leaves, and attachments."""
    with open_readonly(store) as reader:
        size = reader.state().size
        for start in range(0, size, STRETCH):
            end = min(start + STRETCH, size)
            yield reader.stretch(start, end)[2], [row[3] for row in reader.raw_blobs(start, end)]


def _read_leaves(store: Path) -> Iterator[tuple[Sequence[bytes], Sequence[bytes]]]:
    """Every leaf, and nothing beside it."""
    with open_readonly(store) as reader:
        size = reader.state().size
        for start in range(0, size, STRETCH):
            yield reader.leaf_stretch(start, min(start + STRETCH, size))[2], ()


def _read_tiles(root: Path, records: int) -> Iterator[tuple[Sequence[bytes], Sequence[bytes]]]:
    """Every bundle."""
    for index in range(-(-records // WIDTH)):
        tile = Tile(ENTRIES, index, min(WIDTH, records - index * WIDTH))
        yield split_bundle((root / tile.path).read_bytes())[0], ()


def _there_and_back(leaf: bytes) -> bytes:
    return orjson.dumps(orjson.loads(leaf.partition(b"\n")[2]), option=orjson.OPT_SORT_KEYS)


def _check_pages(store: Path) -> None:
    with open_readonly(store) as reader:
        reader.damage()


class _WithoutPages:
    """A reader whose pages are not checked: that is SQLite's work and not the verifier's."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def damage(self) -> list[str]:
        """None looked for."""
        return []


def _verify(store: Path, records: int, depth: Depth = Depth.ALL) -> None:
    with open_readonly(store) as reader:
        _require(verify_store(_WithoutPages(reader), KEYS, depth=depth), records)


def _verify_strictly(store: Path, records: int) -> None:
    with mock.patch.object(verifier, "certify", return_value=None), mock.patch.object(verifier, "STRETCH", records):
        _verify(store, records)


def _require(result: Verification, records: int) -> None:
    if not result.verified or result.size != records:
        raise SystemExit(f"the record does not verify: {result.findings}")


def _peak(store: Path) -> int:
    tracemalloc.start()
    try:
        verify_file(store, KEYS)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def render(rows: list[dict[str, Any]]) -> str:
    """The table in Markdown."""
    head = [
        "records/s and core",
        *(f"{row['name']} ({row['leaf_bytes']} + {row['attached_bytes']} bytes)" for row in rows),
    ]
    lines = [[_named(name), *(str(Spread(**row[f"{name}_per_s"])) for row in rows)] for name in _steps(rows)]
    lines.insert(1, ["hashing, MB/s", *(f"{_hashed_bytes_per_s(row) / 1e6:,.0f}" for row in rows)])
    lines += [
        [f"{_named(name)}: x {_named(other)}", *(f"{_ratio(row, name, other):.2f}" for row in rows)]
        for name, other in _RATIOS
    ]
    clocks = [[f"--jobs {jobs}", *(str(Spread(**row[f"jobs_{jobs}_per_s"])) for row in rows)] for jobs in JOBS]
    return render_table(head, lines) + "\n" + render_table(["records/s on the wall clock", *head[1:]], clocks)


def _named(step: str) -> str:
    words = step.replace("_", " ").replace("tiles leaves", "tiles, leaves")
    return words.replace("tiles read", "tiles, read").replace("leaves read", "leaves, read")


def _hashed_bytes_per_s(row: dict[str, Any]) -> float:
    """Bytes of records; those of the tree are not counted."""
    per_s: float = row["hashing_per_s"]["median"] * (row["leaf_bytes"] + row["attached_bytes"])
    return per_s


def _ratio(row: dict[str, Any], name: str, other: str) -> float:
    ratio: float = row[f"{name}_per_s"]["median"] / row[f"{other}_per_s"]["median"]
    return ratio


def _steps(rows: list[dict[str, Any]]) -> Iterator[str]:
    names = (name.removesuffix("_per_s") for name in rows[0] if name.endswith("_per_s"))
    return (name for name in names if not name.startswith("jobs_"))


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--records", type=int, help="of each store, whole thousands (default: 50000, quick 5000)")
    made.add_argument("--rounds", type=int, help="default: 3, quick 1")
    made.add_argument("--memory", action="store_true", help="also the most memory that Python takes; slow")
    asked = made.parse_args()
    records, rounds = asked.records or (5000 if asked.quick else 50_000), asked.rounds or (1 if asked.quick else 3)
    if records % SIGNED_EVERY:
        made.error(f"tiles end at a checkpoint: give whole {SIGNED_EVERY:,}s of records")
    with bench(asked) as (folder, results):
        results["verify"] = measure(folder, records, rounds, memory=asked.memory)
    print(render(results["verify"]))
    for row in results["verify"]:
        if "peak_bytes" in row:
            print(f"{row['name']}: {row['peak_bytes'] / 2**20:.1f} MiB at most")


if __name__ == "__main__":
    run_command(main)
