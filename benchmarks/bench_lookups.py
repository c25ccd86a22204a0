"""What a memory of parents saves: reviews of a Deployment's Pods with it and without, side by side.

    python benchmarks/bench_lookups.py [--quick] [--times 400] [--json FILE]

One real API server with a Deployment and its ReplicaSet, and two gates in this process on one record, of the same keys
and policies: one looks up both parents of each Pod, the other remembers the Deployment (`lookups.cache: informer`).
They take turns, review by review, in an order that changes; each Pod is a new one, and each decision is recorded
durably. The memory is real, kept up by its watch meanwhile.

Held in the same run: each review was let in as a child, and the record says of each whether the Deployment was
remembered; should the memory have grown old under the load, the run fails and measures nothing.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the cluster and the approvers are those of the tests

from benchmarks.load import BenchmarkError  # noqa: E402 - after the path is set
from benchmarks.results import Spread, bench, parser, render_table, run_command  # noqa: E402
from placet.cluster import NoAutoscalers  # noqa: E402
from placet.decide import Deadline, Gate  # noqa: E402
from placet.informer.informer import Informer  # noqa: E402
from placet.parents import KubernetesParents, Parents  # noqa: E402
from placet.record import LogRecorder  # noqa: E402
from placet.review import parse_review  # noqa: E402
from tests.e2e.controlplane import ControlPlane  # noqa: E402
from tests.e2e.processes import poll_until  # noqa: E402
from tests.simulators.cluster import pod, replica_set, review_of  # noqa: E402
from tests.simulators.gate import GateDesk, example, review  # noqa: E402

ROLES: Final = ("technical", "security", "business", "executive")
ASKED: Final = "both parents looked up"
REMEMBERED: Final = "the Deployment remembered"
_WARMUP: Final = 10
_PATIENCE_S: Final = 60.0
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"


def open_gate(desk: GateDesk, parents: Parents, remembered: Parents | None) -> Gate:
    """A gate of the desk's that looks parents up."""
    recorder = LogRecorder(desk.log, cluster=desk.desk.cluster)
    return Gate(
        cluster=desk.desk.cluster,
        policy_data=desk.data,
        engine=desk.engine,
        trust=desk.trust,
        history=recorder,
        cluster_facts=NoAutoscalers(),
        recorder=recorder,
        clock=lambda: desk.desk.now,
        parents=parents,
        remembered=remembered,
    )


def store_parents(plane: ControlPlane, desk: GateDesk) -> dict[str, Any]:
    """An approved Deployment and its ReplicaSet, as the API server stores them; gives the ReplicaSet."""
    signed = desk.approve(example(), *ROLES)
    if not desk.decide(review(signed)).allowed:
        raise BenchmarkError("the Deployment was not let in")
    namespace = signed["metadata"]["namespace"]
    plane.create_namespace(namespace)
    path = f"/apis/apps/v1/namespaces/{namespace}"
    for key in ("uid", "resourceVersion", "managedFields", "creationTimestamp", "generation"):
        signed["metadata"].pop(key, None)
    deployment = plane.api.create(f"{path}/deployments", signed)
    return plane.api.create(f"{path}/replicasets", replica_set(deployment))


def decide(gate: Gate, made: dict[str, Any], suffix: str, *, remembered: bool) -> float:
    """Milliseconds of one review of a new Pod.

    Raises:
        BenchmarkError: it was not decided in the way that is measured.
    """
    raw = json.dumps(review_of(pod(made, suffix=suffix))).encode()
    begun = time.perf_counter()
    decision = gate.decide(parse_review(raw), environment="production", deadline=Deadline(_PATIENCE_S))
    taken = (time.perf_counter() - begun) * 1e3
    if not decision.allowed or decision.change != "child" or decision.lineage is None:
        raise BenchmarkError(f"a Pod was not let in as a child: {[item.code for item in decision.violations]}")
    if decision.lineage.root.remembered is not remembered:
        raise BenchmarkError(f"the Deployment was{'' if decision.lineage.root.remembered else ' not'} remembered")
    return taken


def measure(folder: Path, times: int) -> dict[str, Any]:
    """Both gates, in turns."""
    with ControlPlane() as plane:
        kubeconfig = str(plane.kubeconfig_path())
        desk = GateDesk.open(folder)
        informer = Informer(kubeconfig, max_age_s=15.0)
        try:
            made = store_parents(plane, desk)
            informer.start()
            if not poll_until(lambda: all(one.listed for one in informer.standings()), _PATIENCE_S):
                raise BenchmarkError(f"nothing is remembered: {informer.standings()}")
            gates = [
                (False, open_gate(desk, KubernetesParents(kubeconfig), None)),
                (True, open_gate(desk, KubernetesParents(kubeconfig), informer)),
            ]
            taken: dict[bool, list[float]] = {False: [], True: []}
            suffixes = map("".join, itertools.product(_ALPHABET, repeat=5))
            for number in range(times + _WARMUP):
                for remembered, gate in gates if number % 2 else reversed(gates):
                    taken[remembered].append(decide(gate, made, next(suffixes), remembered=remembered))
        finally:
            informer.stop()
            desk.log.close()
    rows = [{"name": REMEMBERED if key else ASKED, **collect(values)} for key, values in taken.items()]
    ratios = [asked / kept for asked, kept in zip(taken[False][_WARMUP:], taken[True][_WARMUP:], strict=True)]
    return {"times": times, "rows": rows, "ratio": Spread.of(ratios).median}


def collect(values: list[float]) -> dict[str, float]:
    """The numbers of a gate; its first reviews, which open connections, left out."""
    counted = sorted(values[_WARMUP:])
    return {"p50_ms": Spread.of(counted).median, "p90_ms": counted[int(len(counted) * 0.9)]}


def render(lookups: dict[str, Any]) -> str:
    """The table in Markdown, and the ratio."""
    rows = [[row["name"], f"{row['p50_ms']:.2f}", f"{row['p90_ms']:.2f}"] for row in lookups["rows"]]
    table = render_table(["milliseconds of a Pod's review", "p50", "p90"], rows)
    return f"{table}\nwithout the memory a review takes {lookups['ratio']:.2f} x as long (median of pairs)"


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--times", type=int, help="reviews of each (default: 400, quick 20)")
    asked = made.parse_args()
    with bench(asked) as (folder, results):
        results["lookups"] = measure(folder, asked.times or (20 if asked.quick else 400))
    print(render(results["lookups"]))


if __name__ == "__main__":
    run_command(main)
