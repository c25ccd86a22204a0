"""Appends a second of the record, beside the bare commit rate of the same file system in the same run.

    python benchmarks/bench_append.py [--folder DIR] [--seconds 2] [--threads 1 8 64] [-o json]

The bare rate is what one thread reaches that writes one page and syncs it, again and again: no log can commit each
record by itself faster than that. The ratio says what group commit makes of it; the rates belong to this machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the record that is measured is the one of the tests

from benchmarks.machine import bare_commits_per_s  # noqa: E402 - after the path is set
from placet.audit.log import AuditLog  # noqa: E402
from placet.audit.note import LogKey  # noqa: E402
from placet.audit.verify import verify_file  # noqa: E402
from tests.simulators.tampering import LOG_KEY, decision, policy_input_of  # noqa: E402

_KEY: Final[LogKey] = LOG_KEY


def appends(folder: Path, threads: int, seconds: float) -> dict[str, float]:
    """Appends a second by so many callers, and their latency in milliseconds."""
    path = folder / f"record-{threads}.db"
    log = AuditLog.open(path, origin=_KEY.name, key=_KEY)
    latencies: list[list[float]] = [[] for _ in range(threads)]
    start = threading.Barrier(threads + 1)
    end = [0.0]

    def call(caller: int) -> None:
        attachments = {"input": policy_input_of(0)}
        start.wait()
        number = 0
        while (begun := time.perf_counter()) < end[0]:
            uid = f"{caller}-{number}"
            body = decision(0) | {"uid": uid, "decision_id": uid}
            log.append(body, uid=uid, attachments=attachments)
            latencies[caller].append(time.perf_counter() - begun)
            number += 1

    callers = [threading.Thread(target=call, args=(caller,)) for caller in range(threads)]
    for caller in callers:
        caller.start()
    end[0] = time.perf_counter() + seconds
    start.wait()
    for caller in callers:
        caller.join()
    every = sorted(latency for mine in latencies for latency in mine)
    log.checkpoint()
    log.close()
    result = verify_file(path, [_KEY.verifier])
    if not result.verified or result.size != len(every):
        raise SystemExit(f"{len(every)} appends were acknowledged, the record has {result.size}: {result.kinds}")
    return {
        "per_s": len(every) / seconds,
        "p50_ms": statistics.median(every) * 1e3,
        "p99_ms": every[int(len(every) * 0.99)] * 1e3,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Appends a second of the record, beside the bare commit rate.")
    parser.add_argument("--folder", type=Path, help="where to write; the file system is what is measured")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        bare = bare_commits_per_s(folder, asked.seconds)
        runs: list[dict[str, Any]] = []
        for threads in asked.threads:
            run: dict[str, Any] = {"threads": threads, **appends(folder, threads, asked.seconds)}
            runs.append(run | {"ratio": run["per_s"] / bare})
            print(f"{threads} threads done", file=sys.stderr)
    if asked.output == "json":
        print(json.dumps({"bare_commits_per_s": bare, "runs": runs}, indent=2))
        return
    print(f"bare commits {bare:>10,.0f}/s")
    for run in runs:
        latency = f"p50 {run['p50_ms']:.2f} ms, p99 {run['p99_ms']:.2f} ms"
        print(f"{run['threads']:>3} threads  {run['per_s']:>10,.0f}/s  {run['ratio']:.2f} x bare  {latency}")


if __name__ == "__main__":
    main()
