"""Milliseconds that a webhook adds to a create and to an update, through a real kube-apiserver.

    python benchmarks/bench_api.py [--quick] [--times 200] [--json FILE]

One API server, with the servers of bench_peers.py behind it, each registered for a namespace of its own, so that the
creates and updates of all of them take turns one by one. The webhooks are reached by the machine's name: an API server
speaks HTTP/2 to localhost, and HTTP/1.1 to any other name, as it does to a Service. A call is made on one keep-alive
connection and timed by its caller; what is shown is the median, and what it is above that without a webhook.

* a create is of a new Deployment; placet's carries approvals that were never seen before, as any real one does;
* an update changes a label of a Deployment that runs, as controllers and people do all day. placet verifies its
  approvals again, and judges and records the update.

Held in the same run: each webhook was called once for each call, by the API server's own count and by HTTP/1.1; a
forbidden image is refused in each namespace whose webhook looks; placet recorded exactly the calls that it let in.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the servers are started by what the tests start them with

from benchmarks.gatekeeper import running_gatekeeper, wait_until_refusing  # noqa: E402 - after the path is set
from benchmarks.load import BenchmarkError, Server  # noqa: E402
from benchmarks.machine import say  # noqa: E402
from benchmarks.results import Spread, bench, parser, render_table, run_command  # noqa: E402
from benchmarks.reviews import Approvers, with_foreign_image  # noqa: E402
from benchmarks.servers import Gate, Site, running_allow, running_opa  # noqa: E402
from tests.e2e.controlplane import ControlPlane  # noqa: E402
from tests.e2e.registration import workload_rules  # noqa: E402
from tests.simulators.gate import review  # noqa: E402

NONE: Final = "no webhook"
PLACET: Final = "placet"
_LABEL: Final = "placet.dev/benchmark"
_WARMUP: Final = 5


class Caller:
    """The API server over one keep-alive connection, as an administrator.

    Args:
        plane: whose API server.
    """

    def __init__(self, plane: ControlPlane) -> None:
        files = plane.authority.client("benchmark", ["system:masters"])
        context = ssl.create_default_context(cafile=plane.authority.path)
        context.load_cert_chain(files.certificate, files.key)
        parts = urlsplit(plane.url)
        self._connection = http.client.HTTPSConnection(str(parts.hostname), parts.port, timeout=40, context=context)
        self._connection.connect()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[float, int, dict[str, Any]]:
        """Milliseconds, status and answer."""
        content = b"" if body is None else json.dumps(body).encode()
        begun = time.perf_counter()
        self._connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        raw = answer.read()
        return (time.perf_counter() - begun) * 1e3, answer.status, json.loads(raw)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


@dataclass(slots=True)
class Lane:
    """A namespace with the webhook that looks at it.

    Attributes:
        name: in the table.
        namespace: of its Deployments.
        webhook: name of the webhook, "" where there is none.
        create_ms: each create.
        update_ms: each update.
        calls: creates and updates so far.
    """

    name: str
    namespace: str
    webhook: str
    create_ms: list[float] = field(default_factory=list)
    update_ms: list[float] = field(default_factory=list)
    calls: int = 0

    def once(self, caller: Caller, manifest: dict[str, Any]) -> None:
        """Create a Deployment, update it, delete it; the deletion is not timed."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments"
        name = manifest["metadata"]["name"]
        taken, created = self._timed(caller, "POST", path, manifest)
        self.create_ms.append(taken)
        created["metadata"]["labels"]["example.com/touched"] = "yes"
        taken, _ = self._timed(caller, "PUT", f"{path}/{name}", created)
        self.update_ms.append(taken)
        caller.call("DELETE", f"{path}/{name}")

    def _timed(self, caller: Caller, method: str, path: str, body: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
        taken, status, answer = caller.call(method, path, body)
        if status not in {http.client.OK, http.client.CREATED}:
            raise BenchmarkError(f"{self.name}: {method} {path} was answered {status}: {answer.get('message')}")
        self.calls += 1
        return taken, answer

    def require_refused(self, caller: Caller, manifest: dict[str, Any]) -> None:
        """Show that the webhook looks at what is created here."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments?dryRun=All"
        _, status, answer = caller.call("POST", path, manifest)
        if "denied the request" not in answer.get("message", ""):
            raise BenchmarkError(f"{self.name} let a forbidden image in: {status} {answer.get('message')}")


def open_lanes(plane: ControlPlane, servers: Mapping[str, Server]) -> list[Lane]:
    """A namespace for each server and one without; all webhooks are in force."""
    lanes = []
    for number, (name, server) in enumerate([(NONE, None), *servers.items()]):
        namespace = f"lane-{number}"
        plane.create_namespace(namespace, {_LABEL: namespace})
        lane = Lane(name, namespace, "")
        lanes.append(lane)
        if server is None:
            continue
        rules = [rule for rule in workload_rules() if "apps" in rule["apiGroups"]]
        selector = {"matchLabels": {_LABEL: namespace}}
        ca = server.ca_file.read_bytes()
        registration = plane.install_webhook(f"bench-{number}", server.url, ca, rules, namespace_selector=selector)
        lane.webhook = registration.webhook
    return lanes


def measure(folder: Path, times: int) -> dict[str, Any]:
    """All lanes, in turns."""
    site = Site.open(folder / "site")
    gate = Gate(site)
    with contextlib.ExitStack() as stack:
        plane = stack.enter_context(ControlPlane())
        allow = stack.enter_context(running_allow(site))
        gatekeeper = stack.enter_context(running_gatekeeper(site, plane))
        servers = [
            allow,
            stack.enter_context(running_opa(site, decision_log=False)),
            stack.enter_context(running_opa(site, decision_log=True)),
            gatekeeper,
            stack.enter_context(gate.running()),
        ]
        approvers = Approvers(gate.folder)
        lanes = open_lanes(plane, {one.name: one for one in servers})
        total = times + _WARMUP
        say(f"signing {total} workloads")
        manifests = [
            [approvers.manifest(number + 1, namespace=lane.namespace) for number in range(total)] for lane in lanes
        ]
        wait_until_refusing(gatekeeper, review(with_foreign_image(manifests[0][0])))
        caller = Caller(plane)
        stack.callback(caller.close)
        for lane, own in zip(lanes[2:], manifests[2:], strict=True):
            lane.require_refused(caller, with_foreign_image(own[0]))
        before = {lane.webhook: plane.api.webhook_calls(lane.webhook) for lane in lanes[1:]}
        for number in range(total):
            for lane, own in zip(lanes, manifests, strict=True):
                lane.once(caller, own[number])
            if number + 1 in {_WARMUP, _WARMUP + times // 2, total}:
                say(f"{number + 1} of {total} creates and updates done")
        for lane in lanes[1:]:
            require_called(lane, plane.api.webhook_calls(lane.webhook) - before[lane.webhook])
        require_http_1(allow)
        if (found := gate.records()) != lanes[-1].calls:
            raise BenchmarkError(f"placet let {lanes[-1].calls} calls in, and its record has {found}")
    gate.verify_record()
    return {"times": times, "rows": [collect(lane) for lane in lanes]}


def require_called(lane: Lane, found: int) -> None:
    """Hold the API server's count of its calls against ours.

    Raises:
        BenchmarkError: a call did not pass the webhook.
    """
    if found != lane.calls:
        raise BenchmarkError(f"{lane.name}: {lane.calls} creates and updates, and the webhook was called {found} times")


def require_http_1(allow: Server) -> None:
    """See by the server that allows everything what the API server spoke to it.

    Raises:
        BenchmarkError: it was not HTTP/1.1 alone.
    """
    parts = urlsplit(allow.url)
    context = ssl.create_default_context(cafile=allow.ca_file)
    connection = http.client.HTTPSConnection(str(parts.hostname), parts.port, timeout=10, context=context)
    try:
        connection.request("GET", "/protocols")
        spoken = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    if set(spoken) != {"HTTP/1.1"}:
        raise BenchmarkError(
            f"the API server spoke {', '.join(spoken)} to the webhooks, and HTTP/1.1 is what a Service gets: "
            "give this machine another name than localhost"
        )


def collect(lane: Lane) -> dict[str, Any]:
    """The numbers of a lane, for the report; its first calls, which open connections, left out."""
    found: dict[str, Any] = {"name": lane.name}
    for key, values in (("create", lane.create_ms), ("update", lane.update_ms)):
        counted = sorted(values[_WARMUP:])
        found[key] = {
            "p50_ms": Spread.of(counted).median,
            "p90_ms": counted[int(len(counted) * 0.9)],
        }
    return found


def render(api: dict[str, Any]) -> str:
    """The table in Markdown."""
    none = next(row for row in api["rows"] if row["name"] == NONE)
    head = ["milliseconds"]
    for kind in ("create", "update"):
        head += [f"{kind} p50", "added", f"{kind} p90"]
    rows = []
    for row in api["rows"]:
        cells = [row["name"]]
        for kind in ("create", "update"):
            added = row[kind]["p50_ms"] - none[kind]["p50_ms"]
            cells += [f"{row[kind]['p50_ms']:.2f}", "" if row is none else f"+{added:.2f}"]
            cells.append(f"{row[kind]['p90_ms']:.2f}")
        rows.append(cells)
    return render_table(head, rows)


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--times", type=int, help="creates and updates of each (default: 300, quick 30)")
    asked = made.parse_args()
    with bench(asked) as (folder, results):
        results["api"] = measure(folder, asked.times or (30 if asked.quick else 300))
    print(render(results["api"]))


if __name__ == "__main__":
    run_command(main)
