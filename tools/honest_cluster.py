"""The workloads of ``tools/honest.py`` on a real API server, whose own controllers make what becomes of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from placet.apiserver import api_root
from placet.audit.query import Query, find
from placet.audit.stores.file import open_readonly
from placet.projection import find_kind
from tests.e2e.apiclient import ControlPlaneError
from tests.e2e.clusterlife import GATE_ROLE
from tests.e2e.controlplane import ControlPlane
from tests.e2e.gateprocess import Team
from tests.e2e.processes import poll_until
from tools.honest import ENVIRONMENT, NAMESPACE, Answer, Entry, Json, Tally, disguised, found_team, touched

GATE: Final = "placet-gate"
SETTLED_S: Final = 180.0
_LONGEST_NAME: Final = 40
_REPLACED: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController"})
_MAKERS: Final = _REPLACED - {"DaemonSet"} | {"Job"}  # of Pods, in a cluster without a node


class Cluster:
    """A control plane behind a gate in ``coverage: detect``."""

    def __init__(self, plane: ControlPlane, team: Team) -> None:
        self._api = plane.api
        self._team = team
        self._accounts: set[str] = {"default"}

    def ask(self, step: str, method: str, obj: Json, *, name: str = "") -> tuple[Answer | None, Any]:
        """Send one request; no answer of the gate where the API server itself refuses, and what it said."""
        path = (
            f"{api_root(obj['apiVersion'])}/namespaces/{NAMESPACE}/{obj['kind'].lower()}s{f'/{name}' if name else ''}"
        )
        status, raw = self._api.request(method, path, obj)
        answer = json.loads(raw)
        if status in {HTTPStatus.OK, HTTPStatus.CREATED}:
            return Answer(step, allowed=True, codes=()), answer
        if "denied the request: placet refuses" not in answer.get("message", ""):
            return None, answer.get("message")
        about = [one for one in self.decisions() if one["name"] == obj["metadata"]["name"] and not one["allowed"]]
        return Answer(step, allowed=False, codes=_codes(about[-1])), answer

    def decisions(self) -> list[Mapping[str, Any]]:
        """Those in the record, oldest first."""
        with open_readonly(self._team.folder / "record.sqlite") as reader:
            return [one.body for one in reversed(find(reader, Query(), limit=100_000).found)]

    def need_account(self, obj: Json) -> None:
        """Make the service account that the object's Pods run as."""
        spec = obj
        kind = find_kind(obj)
        for step in (*(kind.template if kind else ()), "spec"):
            spec = spec[step]
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        if name not in self._accounts:
            self._accounts.add(name)
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
            self._api.create(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", account, may_exist=True)

    def life(self, obj: Json, *, serves: bool) -> tuple[list[Answer], str]:
        """Created and updated, or refused; with what the API server itself says against it."""
        answer, stored = self.ask("create", "POST", obj)
        if answer is None:
            return [], str(stored)
        answers = [answer]
        name = obj["metadata"]["name"]
        if not serves:
            changed = touched(stored)
            del changed["metadata"]["resourceVersion"]  # controllers write meanwhile
            again, said = self.ask("update", "PUT", changed, name=name)
            return ([*answers, again], "") if again else ([], f"update: {said}")
        if obj["kind"] in _REPLACED and not answer.allowed:
            (_, _, other), *_ = disguised(obj)
            made, _ = self.ask("create", "POST", other)
            again, _ = self.ask("becomes one", "PUT", obj, name=name)
            answers += [one for one in (again,) if made and one]
        return answers, ""


def hold_on_api_server(entries: Iterable[Entry], folder: Path) -> Tally:
    """Every workload of a built-in kind through a real API server."""
    tally = Tally(why_unasked="kinds that this API server has no schema of")
    with ControlPlane(controllers=True, apiserver_arguments=["--allow-privileged=true"]) as plane:
        plane.create_namespace(NAMESPACE, {"placet.dev/environment": ENVIRONMENT})
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(GATE_ROLE))
        plane.kubectl(
            "create", "clusterrolebinding", GATE, f"--clusterrole={GATE_ROLE['metadata']['name']}", f"--user={GATE}"
        )
        team = found_team(folder)
        team.configure({"parents": "lookup", "kubeconfig": str(plane.kubeconfig_for(GATE))})
        certificate = plane.serving_certificate(["127.0.0.1"])
        with team.webhook(certificate) as url:
            selector = {"matchLabels": {"placet.dev/environment": ENVIRONMENT}}
            plane.install_webhook("gate", url, certificate.ca_pem, namespace_selector=selector)
            _hold(Cluster(plane, team), entries, tally)
    return tally


def _hold(cluster: Cluster, entries: Iterable[Entry], tally: Tally) -> None:
    lives: list[tuple[Entry, list[Answer]]] = []
    waiting: set[str] = set()
    for entry in entries:
        obj = entry.object
        if find_kind(obj) is None:
            tally.unasked[f"{obj.get('apiVersion')} {obj['kind']}"] += 1
            continue
        obj = _named(obj, entry)
        try:
            cluster.need_account(obj)
        except (ControlPlaneError, KeyError, TypeError) as exc:
            tally.turned_away.append(f"{entry.shown}  {type(exc).__name__}")
            continue
        answers, said = cluster.life(obj, serves=entry.serves)
        if not answers:
            tally.turned_away.append(f"{entry.shown}  {said[:160]}")
            continue
        if obj["kind"] in _MAKERS and answers[0].allowed:
            waiting.add(obj["metadata"]["name"])
        lives.append((entry, answers))
    made = _children(cluster, waiting)
    for entry, answers in lives:
        # Of a model server only its harmless former self got in.
        tally.take(entry, answers if entry.serves else [*answers, *made.get(_name(entry), ())])
    if never := len(waiting - made.keys()):
        tally.turned_away.append(f"{never} workloads of which controllers could make nothing")


def _children(cluster: Cluster, waiting: set[str]) -> dict[str, list[Answer]]:
    """What the gate said of what controllers made, by the name of the workload, once each has Pods or time is over."""

    def made() -> dict[str, list[Answer]]:
        found: dict[str, list[Answer]] = {}
        for one in cluster.decisions():
            if one["operation"] == "CREATE" and one["user"].startswith("system:serviceaccount:kube-system:"):
                name = f"{one['name'].partition(_END)[0]}{_END}"
                found.setdefault(name, []).append(Answer(one["kind"], one["allowed"], _codes(one)))
        return found

    def settled() -> bool:
        found = made()
        return all(any(one.step == "Pod" for one in found.get(name, ())) for name in waiting)

    poll_until(settled, SETTLED_S)
    return made()


_END: Final = "-end"


def _name(entry: Entry) -> str:
    metadata = entry.object["metadata"]
    own = str(metadata.get("name") or metadata.get("generateName", "made")).lower().strip("-.")
    return f"{own[:_LONGEST_NAME].strip('-.')}-c{entry.id}{_END}"


def _named(obj: Json, entry: Entry) -> Json:
    """The object under a name that no other one has, with one replica."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "generateName"}
    named = {**obj, "metadata": {**metadata, "name": _name(entry)}}
    spec = obj.get("spec")
    if isinstance(spec, dict) and isinstance(spec.get("replicas"), int):
        named["spec"] = {**spec, "replicas": 1}
    return named


def _codes(decision: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{one['rule']}/{one['code']}" for one in decision["violations"])
