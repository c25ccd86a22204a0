"""Hold the projection of many real workloads against a real API server.

For every object of a built-in workload kind: the digest of what a person wrote has to equal the digest of what the
API server makes of it, in a dry run, created, updated (a label, the replicas) and restarted (the annotation that
``kubectl rollout restart`` writes). Prints what the API server takes and whatever is unstable, with the paths.

    python tools/projection_corpus.py --objects objects.jsonl
    python tools/projection_corpus.py --objects objects.jsonl --kubectl-every 1
"""

from __future__ import annotations

import argparse
import collections
import copy
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml

from placet.apiserver import api_root
from placet.errors import WorkloadError
from placet.manifests import parse_manifests
from placet.model import Projection
from placet.projection import Kind, explain_difference, find_kind, project
from tests.e2e.apiclient import ControlPlaneError
from tests.e2e.controlplane import ControlPlane

NAMESPACE: Final = "projection-corpus"
RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"
SAMPLE_EVERY: Final = 12


@dataclass
class Tally:
    """What came of the objects."""

    seen: int = 0
    accepted: collections.Counter[str] = field(default_factory=collections.Counter)
    refused: list[str] = field(default_factory=list)
    unstable: list[str] = field(default_factory=list)
    compared: collections.Counter[str] = field(default_factory=collections.Counter)


class Cluster:
    """One namespace of the control plane, reached over HTTP."""

    def __init__(self, plane: ControlPlane) -> None:
        self._api = plane.api
        self._accounts: set[str] = set()
        self._api.create("/api/v1/namespaces", _named("v1", "Namespace", NAMESPACE))
        self.need_account("default")

    def need_account(self, name: str) -> None:
        """A service account for pods to run as; there is no controller that makes any."""
        if name not in self._accounts:
            self._accounts.add(name)
            path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
            self._api.create(path, _named("v1", "ServiceAccount", name), may_exist=True)

    def send(self, method: str, kind: Kind, name: str, body: Mapping[str, Any] | None, query: str = "") -> Any:
        """The object that the API server answers with; ControlPlaneError where it refuses."""
        prefix = api_root(kind.api_version)
        path = f"{prefix}/namespaces/{NAMESPACE}/{kind.name.lower()}s{f'/{name}' if name else ''}{query}"
        status, answer = self._api.request(method, path, body)
        parsed = json.loads(answer)
        if status not in {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED}:
            raise ControlPlaneError(str(parsed.get("message", status)))
        return parsed


def main() -> int:
    """Run it; 1 where anything is unstable."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=Path, required=True, help="JSON lines, each with an object under 'object'")
    parser.add_argument("--verbose", action="store_true", help="also print what the API server refuses, and why")
    parser.add_argument(
        "--kubectl-every",
        type=int,
        default=SAMPLE_EVERY,
        metavar="N",
        help="of so many objects one also goes through kubectl apply itself, which is slower (default: %(default)s)",
    )
    options = parser.parse_args()
    tally = Tally()
    with ControlPlane(apiserver_arguments=["--allow-privileged=true"]) as plane:
        cluster = Cluster(plane)
        for number, obj in _objects(options.objects):
            if sys.stderr.isatty():
                print(f"\r{number}", end="", file=sys.stderr)
            _hold(f"{options.objects.name}:{number}", obj, cluster, tally)
            if tally.seen % options.kubectl_every == 0:
                _hold_kubectl(f"{options.objects.name}:{number}", obj, plane, tally)
    _report(tally, verbose=options.verbose)
    return 1 if tally.unstable or not tally.accepted else 0


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            obj = json.loads(line).get("object", {})
            if find_kind(obj) is not None:
                yield number, obj


def _named(api_version: str, kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}


def _hold(where: str, obj: dict[str, Any], cluster: Cluster, tally: Tally) -> None:
    """One object through its life."""
    kind = find_kind(obj)
    if kind is None:
        return
    tally.seen += 1
    sent = _placed(obj)
    try:
        if kind.name == "Pod":
            spec = sent.get("spec") or {}
            cluster.need_account(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")
        dry = cluster.send("POST", kind, "", sent, "?dryRun=All")
        current = cluster.send("POST", kind, "", sent)
    except ControlPlaneError as exc:
        tally.refused.append(f"{where} {kind.name}: {str(exc)[:160]}")
        return
    tally.accepted[kind.name] += 1
    label = f"{where} {kind.name}"
    try:
        written = project(obj)
        _compare(f"{label} dry run", written, dry, tally)
        _compare(f"{label} create", written, current, tally)
        for step, change in (("update", _update), ("restart", _restart)):
            changed = change(copy.deepcopy(current), kind)
            if changed is not None:
                current = cluster.send("PUT", kind, current["metadata"]["name"], changed)
                _compare(f"{label} {step}", written, current, tally)
    except WorkloadError as exc:
        tally.unstable.append(f"{label}: accepted by the API server, not by the projection: {exc}")
    finally:
        cluster.send(
            "DELETE", kind, current["metadata"]["name"], None, "?gracePeriodSeconds=0&propagationPolicy=Background"
        )


def _hold_kubectl(where: str, obj: dict[str, Any], plane: ControlPlane, tally: Tally) -> None:
    """The same for a YAML file that kubectl apply and we each read in our own way."""
    text = yaml.safe_dump(_placed(obj), sort_keys=False)
    ran = plane.kubectl("apply", "--dry-run=server", "-o", "json", "-f", "-", stdin=text, check=False)
    if ran.returncode == 0:
        (manifest,) = parse_manifests(text.encode(), file=where)
        _compare(f"{where} kubectl apply --dry-run=server", project(manifest.object), json.loads(ran.stdout), tally)


def _compare(label: str, written: Projection, answer: Mapping[str, Any], tally: Tally) -> None:
    tally.compared[label.split(" ", 1)[1].partition(" ")[2] or label] += 1
    held = project(answer)
    if held.digest != written.digest:
        differences = (
            "\n    ".join(explain_difference(written.canonical, held.canonical)) or "nothing that can be shown"
        )
        tally.unstable.append(f"{label}:\n    {differences}")


def _placed(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The object in our namespace, without what only a stored object has."""
    placed = copy.deepcopy(dict(obj))
    metadata = {**(placed.get("metadata") or {}), "namespace": NAMESPACE}
    placed["metadata"] = {name: value for name, value in metadata.items() if name not in {"uid", "resourceVersion"}}
    return placed


def _template(obj: dict[str, Any], kind: Kind) -> dict[str, Any]:
    current = obj
    for step in kind.template:
        current = current.get(step) or {}
    return current


def _update(obj: dict[str, Any], _kind: Kind) -> dict[str, Any]:
    """A label, and one replica more where the kind has them."""
    obj["metadata"].setdefault("labels", {})["projection-corpus"] = "updated"
    if isinstance(obj["spec"].get("replicas"), int):
        obj["spec"]["replicas"] += 1
    return obj


def _restart(obj: dict[str, Any], kind: Kind) -> dict[str, Any] | None:
    """What ``kubectl rollout restart`` does, for the kinds whose template may change."""
    if kind.name in {"Pod", "Job"}:
        return None
    metadata = _template(obj, kind).setdefault("metadata", {})
    metadata.setdefault("annotations", {})[RESTARTED_AT] = "2026-11-22T18:00:00Z"
    return obj


def _report(tally: Tally, *, verbose: bool) -> None:
    print(f"{tally.seen} objects of built-in workload kinds; the API server takes {sum(tally.accepted.values())}:")
    for kind, count in sorted(tally.accepted.items()):
        print(f"  {kind}: {count}")
    print(f"{sum(tally.compared.values())} comparisons: {dict(sorted(tally.compared.items()))}")
    if verbose:
        print("refused:", *tally.refused, sep="\n  ")
    print(f"unstable: {len(tally.unstable)}", *tally.unstable, sep="\n  ")


if __name__ == "__main__":
    sys.exit(main())
