"""Write what the benchmarks measured into docs/performance.md.

    python benchmarks/report.py build/bench docs/performance.md    # what `make bench` left there
    python benchmarks/report.py build/bench                        # only print it

A table stands between ``<!-- made: NAME -->`` and ``<!-- end -->``. A benchmark that has not been run leaves its table
as it is, and is named.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the tables are the benchmarks' own

from benchmarks import (  # noqa: E402 - after the path is set
    bench_api,
    bench_commits,
    bench_find,
    bench_growth,
    bench_lengths,
    bench_peers,
    bench_records,
    bench_replay,
    bench_verify,
)
from benchmarks.results import render_table  # noqa: E402

BLOCK: Final = re.compile(r"(<!-- made: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_GATEKEEPER: Final = bench_peers.GATEKEEPER
_FLAT: Final = 1.10
_WARM: Final = 1.5
_HALF: Final = 0.5
_VERIFIED: Final = 100_000
_VERIFYING: Final = (
    ("leaves", "a store's leaves, `--depth leaves`"),
    ("records", "records of a store, `--depth records`"),
    ("verifying", "all of a store"),
    ("tiles_leaves", "the leaves of tiles, `--depth leaves`"),
    ("tiles", "all of tiles"),
)
_BUSY: Final = 1.0  # load average before a run above which its figures are said to be of a machine that did other work
_BENCH: Final = ("peers", "api", "records", "growth", "steps")
_FILES: Final = ("peers", "api", "records", "growth", "steps", "commits", "verify", "find", "lengths", "replay")


def load_results(folder: Path) -> dict[str, Any]:
    """Name of the benchmark -> its results, for those that were run."""
    found = {}
    for name in _FILES:
        file = folder / f"{name}.json"
        if file.is_file():
            found[name] = json.loads(file.read_text(encoding="utf-8"))
    if large := [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("find-*.json"))]:
        found["find-large"] = _together(large)
    return found


def _together(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Runs over more records than others, each of a store of its own, as one; of the longest record there is."""
    records = max(run["find"]["records"] for run in runs)
    stores = {
        name: store for run in runs for name, store in run["find"]["stores"].items() if store["records"] == records
    }
    return {"find": {"records": records, "stores": stores}}


def fill(text: str, results: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The document with every table made anew that there are results for, and the names of the others."""
    left: list[str] = []

    def put(block: re.Match[str]) -> str:
        table = TABLES[block["name"]]
        try:
            made = table(results)
        except KeyError as missing:
            left.append(f"{block['name']} (no results of {missing})")
            return block[0]
        return f"{block[1]}{made}{block[3]}"

    return BLOCK.sub(put, text), left


def render_machine(results: Mapping[str, Any]) -> str:
    """The machine, and how the run was made."""
    return _machine(results["peers"]["machine"], [results[name] for name in _BENCH if name in results], "bench")


def render_audit_machine(results: Mapping[str, Any]) -> str:
    """The same for what was measured of the record."""
    return _machine(results["commits"]["machine"], [results["commits"], results["verify"]], "bench-audit")


def _machine(machine: Mapping[str, Any], parts: list[Any], target: str) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        ["processor", f"{machine['cpu']}, {machine['cores']} cores shared by server and load generator"],
        ["memory", f"{machine['memory_gib']} GiB"],
        ["kernel", machine["kernel"]],
        ["disk", f"{machine['file_system']}, {machine['commits_per_s']:,.0f} synced writes of a page a second"],
        ["versions", versions],
        ["taken", f"{machine['taken']}, load average before the run {machine['load_average']:.2f}"],
    ]
    quick = any(part.get("quick") for part in parts)
    warning = (
        f"**Preliminary: a quick run (`make {target} QUICK=1`), which shows what is measured, not how fast it is.**\n\n"
        if quick
        else ""
    )
    if machine["load_average"] > _BUSY:
        warning += (
            f"**Taken beside other work** (load average {machine['load_average']:.2f} before the run): "
            "the ratios within a table hold, the rates do not.\n\n"
        )
    return warning + render_table(["", "the machine"], lines, text=True)


def render_aims(results: Mapping[str, Any]) -> str:
    """What was aimed at, and what came out."""
    peers, api, growth = results["peers"]["peers"], results["api"]["api"], results["growth"]["growth"]
    keys = [str(callers) for callers in peers["callers"]]
    rates = {row["name"]: {key: row[key]["per_s"]["median"] for key in (*keys, "evidence")} for row in peers["rows"]}
    where = f"at {' / '.join(keys)} callers"
    rows = []
    for name, aim in (
        (bench_peers.COLD, 1.0),
        (bench_peers.COLD_TWICE, 1.0),
        (bench_peers.WARM, _WARM),
        (bench_peers.WARM_TWICE, _WARM),
    ):
        ratios = [rates[name][key] / rates[_GATEKEEPER][key] for key in keys]
        shown = " / ".join(f"{ratio:.2f}" for ratio in ratios)
        said = f"{name}: at least {aim:.1f} x {_GATEKEEPER}'s reviews/s"
        rows.append([said, f"{shown} {where}", _met(ratio >= aim for ratio in ratios)])
    for kind in ("create", "update"):
        added = {row["name"]: row[kind]["p50_ms"] for row in api["rows"]}
        ours, theirs = (added[name] - added[bench_api.NONE] for name in (bench_api.PLACET, _GATEKEEPER))
        said = f"no more added to an API {kind} than {_GATEKEEPER} adds"
        rows.append([said, f"{ours:.2f} ms, {_GATEKEEPER} {theirs:.2f} ms", _met([ours <= theirs])])
    first, last = growth[0], growth[-1]
    ratio = last["cpu_us"]["median"] / first["cpu_us"]["median"]
    said = f"a decision costs the same with {first['records']:,} and {last['records']:,} records, within 10 %"
    rows.append([said, f"{ratio:.2f} x the CPU", _met([ratio <= _FLAT])])
    return render_table(["aim", "came out", ""], rows, text=True)


def render_audit_aims(results: Mapping[str, Any]) -> str:
    """What was aimed at for the record, and what came out."""
    rows = []
    commits, lengths = results["commits"]["commits"], results["commits"]["lengths"]
    for store in dict.fromkeys(row["store"] for row in commits):
        mine = [row for row in commits if row["store"] == store]
        callers = " / ".join(str(row["callers"]) for row in mine)
        ratios = [row["ratio"]["median"] for row in mine]
        said = f"{store}: at least half of its own commits a second"
        out = f"{' / '.join(f'{ratio:.2f}' for ratio in ratios)} at {callers} callers"
        rows.append([said, out, _met(ratio >= _HALF for ratio in ratios)])
    for store in dict.fromkeys(row["store"] for row in lengths):
        first, *_, last = [row for row in lengths if row["store"] == store]
        # of a database the server does what grows, if anything does, and its time shows on the clock alone
        name, words = ("ratio", "time") if store == "PostgreSQL" else ("cpu_ratio", "CPU")
        said = (
            f"{store}: an append costs the same with {first['records']:,} and {last['records']:,} leaves, within 10 %"
        )
        out = f"{bench_commits.shown(last[name])} x the {words}"
        rows.append([said, out, _met([last[name]["median"] <= _FLAT])])
    for name, words in _VERIFYING:
        rates = [row[f"{name}_per_s"]["median"] for row in results["verify"]["verify"]]
        out = " / ".join(f"{rate:,.0f}" for rate in rates)
        sizes = " / ".join(f"{row['leaf_bytes']}" for row in results["verify"]["verify"])
        said = f"{words}: at least {_VERIFIED:,} records a second and core"
        rows.append([said, f"{out} with leaves of {sizes} bytes", _met(rate >= _VERIFIED for rate in rates)])
    if "lengths" in results:
        rows += [_memory_aim(kind, results["lengths"]["lengths"]) for kind in ("tiles", "SQLite")]
    for name in ("find", "find-large"):
        if name in results:
            rows += bench_find.render_aims(results[name]["find"])
    return render_table(["aim", "came out", ""], rows, text=True)


def _memory_aim(kind: str, lengths: list[dict[str, Any]]) -> list[str]:
    mine = [row for row in lengths if row["record"] == kind]
    taken = " / ".join(f"{row['most'] / bench_lengths.MIB:.0f}" for row in mine)
    sizes = " / ".join(f"{row['leaves']:,}" for row in mine)
    flat = max(row["most"] for row in mine) <= _FLAT * min(row["most"] for row in mine)
    return [f"{kind}: verified in constant memory, within 10 %", f"{taken} MiB for {sizes} leaves", _met([flat])]


def _met(each: Any) -> str:
    answers = list(each)
    return "met" if all(answers) else "met in part" if any(answers) else "missed"


def render_steps(results: Mapping[str, Any]) -> str:
    """The profile of a decision by step; microseconds of CPU in each step alone."""
    steps: dict[str, dict[str, float]] = results["steps"]
    modes = list(steps)
    names = list(dict.fromkeys(name for mode in modes for name in steps[mode]))
    names.sort(key=lambda name: -max(steps[mode].get(name, 0) for mode in modes))
    rows = [[name, *(f"{steps[mode].get(name, 0):,.0f}" for mode in modes)] for name in names]
    rows.append(["all", *(f"{sum(steps[mode].values()):,.0f}" for mode in modes)])
    return render_table(["CPU us in the step alone", *modes], rows)


TABLES: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "machine": render_machine,
    "aims": render_aims,
    "peers": lambda results: bench_peers.render(results["peers"]["peers"]),
    "api": lambda results: bench_api.render(results["api"]["api"]),
    "records": lambda results: bench_records.render(results["records"]["records"]),
    "growth": lambda results: bench_growth.render(results["growth"]["growth"]),
    "steps": render_steps,
    "audit-machine": render_audit_machine,
    "audit-aims": render_audit_aims,
    "commits": lambda results: bench_commits.render(results["commits"]["commits"]),
    "lengths": lambda results: bench_commits.render_growth(results["commits"]["lengths"]),
    "verify": lambda results: bench_verify.render(results["verify"]["verify"]),
    "verify-lengths": lambda results: bench_lengths.render(results["lengths"]["lengths"]),
    "find": lambda results: bench_find.render(results["find"]["find"]),
    "find-large": lambda results: bench_find.render(results["find-large"]["find"]),
    "replay": lambda results: bench_replay.render(results["replay"]["replay"]),
    "replay-aim": lambda results: bench_replay.render_aim(results["replay"]["replay"]),
}


def main() -> int:
    """Run the command line and return the exit status."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folder", type=Path, help="with the results, one JSON file a benchmark")
    made.add_argument("document", type=Path, nargs="?", help="to write into; printed when it is left out")
    made.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES), help="which tables are printed")
    asked = made.parse_args()
    results = load_results(asked.folder)
    if not results:
        print(f"{asked.folder} has no results; run: make bench", file=sys.stderr)
        return 1
    if asked.document is None:
        text, left = fill("".join(f"<!-- made: {name} -->\n<!-- end -->\n\n" for name in asked.only), results)
        print(re.sub(r"<!-- .* -->\n", "", text))
    else:
        text, left = fill(asked.document.read_text(encoding="utf-8"), results)
        asked.document.write_text(text, encoding="utf-8")
    for name in left:
        print(f"left as it was: {name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
