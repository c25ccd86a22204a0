"""HTTP servers for ``placet serve``: which needs each one meets, by trying, and what a request costs.

    python benchmarks/bench_servers.py [--seconds 3] [--callers 1 8 64] [--only placet uvicorn] [--quick] [-o json]

Servers that are no dependencies of placet are measured where they are installed; in a virtual environment of its own:

    pip install -e . granian gunicorn hypercorn uvicorn

``--quick`` leaves out the probe that waits 101 s. Rates and costs are given beside our own server in the same run: the
ratios say something elsewhere too. The caller is Python on the same cores, so rates are what both reach together; CPU
is the server's alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import uvloop

HERE: Final = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benchmarks.server_candidates import CANDIDATES, installed  # noqa: E402 - after the path is set
from benchmarks.server_probes import PROBES, REQUEST, Candidate, probe_keep_alive  # noqa: E402
from tests.e2e.authority import Authority  # noqa: E402


class Caller(asyncio.Protocol):
    """Sends the next request when the last one is answered."""

    def __init__(self, latencies: list[float]) -> None:
        self._latencies = latencies
        self._received = b""
        self._begun = 0.0
        self.running = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: Any = transport
        self.send()

    def send(self) -> None:
        """One request."""
        self._begun = time.perf_counter()
        self._transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        """Perhaps all of the answer."""
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found or len(rest) < int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(head.decode())
        self._received = b""
        self._latencies.append(time.perf_counter() - self._begun)
        if self.running:
            self.send()


async def measure(candidate: Candidate, callers: int, seconds: float) -> dict[str, float]:
    """Requests a second, CPU microseconds of the server a request, and latency in milliseconds."""
    loop, latencies = asyncio.get_running_loop(), list[float]()
    made = [
        await loop.create_connection(
            lambda: Caller(latencies), "127.0.0.1", candidate.port, ssl=candidate.context, server_hostname="localhost"
        )
        for _ in range(callers)
    ]
    await asyncio.sleep(0.5)
    latencies.clear()
    cpu_s, begun = candidate.cpu_s(), time.perf_counter()
    await asyncio.sleep(seconds)
    count, elapsed, used = len(latencies), time.perf_counter() - begun, candidate.cpu_s() - cpu_s
    for transport, caller in made:
        caller.running = False
        transport.close()
    ordered = sorted(latencies) or [0.0]
    return {
        "per_s": count / elapsed,
        "cpu_us": used / max(count, 1) * 1e6,
        "p50_ms": statistics.median(ordered) * 1e3,
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1e3,
    }


def main() -> None:
    """Probe, measure, print."""
    parser = argparse.ArgumentParser(description="HTTP servers: needs met and costs of a request.")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3, help="each candidate in turn, so often; medians are shown")
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--only", nargs="+", choices=list(CANDIDATES), default=list(CANDIDATES))
    parser.add_argument("--quick", action="store_true", help="without the probe that waits 101 s")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    asked = parser.parse_args()
    names = [name for name in asked.only if installed(name)]
    for name in set(asked.only) - set(names):
        print(f"{name} is not installed and not measured", file=sys.stderr)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        authority = Authority(folder, "bench authority")
        client = authority.client("bench")

        def fresh(name: str, purpose: str) -> Candidate:
            place = folder / purpose
            place.mkdir(exist_ok=True)
            return Candidate(name, place, authority, client)

        needs = {name: find_needs(fresh, name) for name in names}
        if not asked.quick:
            find_patience(fresh, names, needs)
        costs: dict[str, dict[int, list[dict[str, float]]]] = {name: {} for name in names}
        for turn in range(asked.rounds):
            for name in names:
                with fresh(name, f"costs-{turn}") as candidate:
                    for callers in asked.callers:
                        found = uvloop.run(measure(candidate, callers, asked.seconds))
                        costs[name].setdefault(callers, []).append(found)
    medians = {
        name: {
            callers: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            for callers, runs in by_callers.items()
        }
        for name, by_callers in costs.items()
    }
    if asked.output == "json":
        print(json.dumps({"needs": needs, "costs": medians}, indent=2))
        return
    show(names, needs, medians)


def find_needs(fresh: Callable[[str, str], Candidate], name: str) -> dict[str, bool | str]:
    """What a candidate does with each need, on a server of its own each time."""
    found: dict[str, bool | str] = {}
    for number, (need, probe) in enumerate(PROBES.items()):
        with fresh(name, f"probe-{number}") as candidate, fresh("placet", f"spare-{name}-{number}") as spare:
            found[need] = probe(candidate, spare)
        print(f"{name}: {need}: {found[need]}", file=sys.stderr)
    return found


def find_patience(
    fresh: Callable[[str, str], Candidate], names: list[str], needs: dict[str, dict[str, bool | str]]
) -> None:
    """The one probe that takes long, for all candidates at once."""
    with contextlib.ExitStack() as running, ThreadPoolExecutor(len(names)) as pool:
        candidates = [running.enter_context(fresh(name, "idle")) for name in names]
        for name, kept in zip(names, pool.map(probe_keep_alive, candidates), strict=True):
            needs[name]["idle for 101 s, then served"] = kept


def show(
    names: list[str], needs: dict[str, dict[str, bool | str]], costs: dict[str, dict[int, dict[str, float]]]
) -> None:
    """As Markdown tables."""
    print(f"| need | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for need in needs[names[0]]:
        cells = ("yes" if needs[name][need] is True else f"no: {needs[name][need]}" for name in names)
        print(f"| {need} | {' | '.join(cells)} |")
    print(f"\n| req/s, CPU us a request, p99 ms | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for callers in costs[names[0]]:
        first = costs[names[0]][callers]
        row = [f"{callers} callers"]
        for name in names:
            cost = costs[name][callers]
            ratio = f"{cost['per_s'] / first['per_s']:.2f} x, {cost['cpu_us'] / first['cpu_us']:.2f} x"
            row.append(f"{cost['per_s']:,.0f}/s, {cost['cpu_us']:.0f} us, {cost['p99_ms']:.1f} ms ({ratio})")
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
