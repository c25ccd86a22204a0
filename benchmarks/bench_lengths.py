"""How much memory `placet audit verify` takes over records of 10^5, 10^6 and 10^7 leaves, and how its rate holds.

    python benchmarks/bench_lengths.py [--quick] [--sizes 100000 1000000] [--stores 100000 1000000] [--json FILE]

A record is published tiles, or a store of SQLite with all its terms; both are written straight to the disk, without
waiting for it, and removed again. Each is verified by a process of its own, which tells the most resident memory that
it ever had (VmHWM) and the CPU time that it took; the first row is such a process with nothing to verify. Leaves are as
small as decisions get, since what could grow with a record is what is kept for each leaf: 10^7 take 5 GB.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the key and the tables are those of the tests

from benchmarks.load import BenchmarkError  # noqa: E402 - after the path is set
from benchmarks.machine import say  # noqa: E402
from benchmarks.results import bench, parser, render_table, run_command  # noqa: E402
from placet.audit.checkpoint import sign_checkpoint  # noqa: E402
from placet.audit.indexing import add_blocks  # noqa: E402
from placet.audit.location import open_store  # noqa: E402
from placet.audit.merkle import Frontier, hash_leaves  # noqa: E402
from placet.audit.record import SCHEMA, parse_leaf, render_leaf  # noqa: E402
from placet.audit.stores.reader import values_of  # noqa: E402
from placet.audit.terms import BLOCK  # noqa: E402
from placet.audit.tile_folder import CHECKPOINT, CHECKPOINTS  # noqa: E402
from placet.audit.tiles import ENTRIES, WIDTH, Tile, TileTree, render_bundle  # noqa: E402
from tests.simulators.bulk import INSERT_LEAF  # noqa: E402
from tests.simulators.tampering import LOG_KEY, ORIGIN, surgery  # noqa: E402

MIB: Final = 1 << 20
SPACE_BYTES: Final = 1000  # for each leaf, at most: as a store has it
_BATCH: Final = 1024
_MARK: Final = "7777777777"
_VERIFY: Final = """\
import json, sys, time
from pathlib import Path
from placet.audit.tiles_verify import verify_tiles
from placet.audit.verify import verify_file
from tests.simulators.tampering import LOG_KEY
path = Path(sys.argv[1])
size = 0
if path.exists():
    result = (verify_tiles if path.is_dir() else verify_file)(path, [LOG_KEY.verifier])
    size = result.size if result.verified else -1
lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({"size": size, "most": int(lines["VmHWM"].split()[0]) * 1024, "cpu_s": time.process_time()}))
"""


def leaves(size: int) -> Iterator[list[bytes]]:
    """Decisions that differ in their ids alone, so many at a time that they fill tiles and blocks."""
    body = {
        "schema": SCHEMA,
        "type": "decision",
        "time": "2026-11-22T18:00:00.000000Z",
        "uid": f"uid-{_MARK}",
        "decision_id": f"decision-{_MARK}",
        "request_digest": f"sha256:{'0' * 64}",
        "environment": "production",
        "namespace": "ml",
        "kind": "Deployment",
        "name": "llama",
        "user": "alice@example.org",
        "allowed": True,
        "violations": [],
    }
    parts = render_leaf(body).raw.replace(b"%", b"%%").replace(_MARK.encode(), b"%010d")
    for start in range(0, size, _BATCH):
        yield [parts % (number, number) for number in range(start, min(start + _BATCH, size))]


def write_folder(root: Path, size: int) -> Path:
    """A folder of tiles with a checkpoint of all its leaves."""
    tree, frontier = TileTree(), Frontier()

    def put(tile: Tile, raw: bytes) -> None:
        path = root / tile.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)

    for batch in leaves(size):
        for start in range(0, len(batch), WIDTH):
            bundle = batch[start : start + WIDTH]
            put(Tile(ENTRIES, (tree.size + WIDTH - 1) // WIDTH, len(bundle)), render_bundle(bundle))
            hashes = hash_leaves(bundle)
            frontier.extend(hashes)
            for tile, raw in tree.extend(hashes):
                put(tile, raw)
    for tile, raw in tree.partial():
        put(tile, raw)
    note = sign_checkpoint(LOG_KEY, size=size, root=frontier.root()).note.encode()
    (root / CHECKPOINTS).mkdir()
    (root / CHECKPOINTS / str(size)).write_bytes(note)
    (root / CHECKPOINT).write_bytes(note)
    return root


def write_store(path: Path, size: int) -> Path:
    """A SQLite store with a checkpoint of all its leaves, and every block of terms."""
    open_store(path, origin=ORIGIN).close()
    frontier = Frontier()
    with surgery(path) as database:
        index = itertools.count()
        for batch in leaves(size):
            hashes = hash_leaves(batch)
            frontier.extend(hashes)
            columns = (values_of(parse_leaf(raw).columns) for raw in batch)
            rows = zip(hashes, batch, columns, index, strict=False)  # the index last: none of it is lost
            database.executemany(INSERT_LEAF, ((at, leaf_hash, raw, *said) for leaf_hash, raw, said, at in rows))
        database.execute("UPDATE state SET size = ?, frontier = ?", (frontier.size, frontier.render()))
        note = sign_checkpoint(LOG_KEY, size=size, root=frontier.root()).note
        claimed = (frontier.size, frontier.root(), frontier.render(), note)
        database.execute("INSERT INTO checkpoints VALUES (?, ?, ?, ?)", claimed)
    store = open_store(path, origin=ORIGIN)
    try:
        add_blocks(store, size // BLOCK)
    finally:
        store.close()
    return path


def verify_apart(path: Path, size: int) -> dict[str, Any]:
    """Verify a record in another process."""
    ran = subprocess.run([sys.executable, "-c", _VERIFY, path], cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise BenchmarkError(f"verifying {path.name} ended with {ran.returncode}: {ran.stderr.strip()[-500:]}")
    told: dict[str, Any] = json.loads(ran.stdout)
    if told.pop("size") != size:
        raise BenchmarkError(f"{path.name} was not verified")
    return told


def measure(folder: Path, sizes: list[int], stores: list[int]) -> list[dict[str, Any]]:
    """One row for each record, and one for the program alone."""
    alone = verify_apart(folder / "nothing", 0)
    rows: list[dict[str, Any]] = [{"record": "nothing", "leaves": 0, **alone}]
    for kind, write, asked in (("tiles", write_folder, sizes), ("SQLite", write_store, stores)):
        for size in asked:
            if (free := shutil.disk_usage(folder).free) < 2 * size * SPACE_BYTES:
                raise BenchmarkError(f"{size} leaves need {2 * size * SPACE_BYTES} bytes of disk, there are {free}")
            path = folder / f"{kind}-{size}"
            write(path, size)
            say(f"wrote {size} leaves, {kind}")
            told = verify_apart(path, size)
            rows.append({"record": kind, "leaves": size, **told, "per_s": size / (told["cpu_s"] - alone["cpu_s"])})
            say(f"verified {size} leaves, {kind}: {told['most'] / MIB:.1f} MiB at most")
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return rows


def render(rows: list[dict[str, Any]]) -> str:
    """The table in Markdown."""
    lines = [
        [
            row["record"],
            f"{row['leaves']:,}",
            f"{row['most'] / MIB:.1f}",
            f"{(row['most'] - rows[0]['most']) / MIB:+.1f}",
            f"{row['per_s']:,.0f}" if "per_s" in row else "",
        ]
        for row in rows
    ]
    return render_table(["record", "leaves", "MiB at most", "above nothing", "records/s and core"], lines)


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--sizes", type=int, nargs="*", help="of tiles (default: 10^5, 10^6, 10^7; quick 10^4, 10^5)")
    made.add_argument("--stores", type=int, nargs="*", help="of SQLite stores (default: 10^5, 10^6; quick 10^4)")
    asked = made.parse_args()
    sizes = asked.sizes if asked.sizes is not None else ([10**4, 10**5] if asked.quick else [10**5, 10**6, 10**7])
    stores = asked.stores if asked.stores is not None else ([10**4] if asked.quick else [10**5, 10**6])
    with bench(asked) as (folder, results):
        results["lengths"] = measure(folder, sizes, stores)
    print(render(results["lengths"]))


if __name__ == "__main__":
    run_command(main)
