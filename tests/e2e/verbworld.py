"""A cluster behind a gate for the verbs of kubectl: what has to get in and what must not, held against the record."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import yaml

from tests.e2e.builtin import NAMESPACE, path
from tests.e2e.clusterlife import DEPLOYER, Json, decisions
from tests.e2e.controlplane import ControlPlane
from tests.e2e.gateprocess import Team

# One signature is enough here: what is tested is which content it holds for.
ONE = ["technical"]
DATA = {
    "environments": {"production": {"approvals": ONE}, "staging": {"approvals": ONE, "coverage": "detect"}},
    "risk_approvals": dict.fromkeys(("low", "medium", "high", "critical"), ONE),
}
DETECTING = "detecting"
MISSING = "approvals.required/role_missing"
NEXT = "next, by someone who may sign as technical: placet approve"


class World:
    """A cluster with controllers behind a gate, with workloads from before the gate."""

    def __init__(self, plane: ControlPlane, team: Team) -> None:
        self.plane = plane
        self.team = team

    def send(self, method: str, where: str, obj: Json | None = None) -> tuple[int, Json]:
        status, body = self.plane.api.request(method, where, obj)
        return status, json.loads(body)

    def kubectl(self, *arguments: str, stdin: str | None = None, namespace: str = NAMESPACE) -> Any:
        return self.plane.kubectl(*arguments, "-n", namespace, user=DEPLOYER, stdin=stdin, check=False)

    def must(self, *arguments: str, stdin: str | None = None, namespace: str = NAMESPACE) -> str:
        done = self.kubectl(*arguments, stdin=stdin, namespace=namespace)
        assert done.returncode == 0, (arguments, done.stderr)
        return str(done.stdout)

    def refused(self, code: str, *arguments: str, stdin: str | None = None, namespace: str = NAMESPACE) -> str:
        """The message of what has to be refused with a code; the record has the refusal."""
        done = self.kubectl(*arguments, stdin=stdin, namespace=namespace)
        assert done.returncode != 0, (arguments, done.stdout)
        newest = self.newest(user=DEPLOYER)
        assert f"denied the request: placet refuses {'to scale ' * (newest['subresource'] == 'scale')}" in done.stderr
        assert f"decision {newest['decision_id']}" in done.stderr
        told = {f"{one['rule']}/{one['code']}" for one in newest["violations"]} | {
            one["code"] for one in newest["rejected"]
        }
        assert not newest["allowed"], newest
        assert code in told, (arguments, told, done.stderr)
        return str(done.stderr)

    def approve(self, *objects: Json, environment: str = "production") -> list[Json]:
        """The objects with approvals of their content, signed in one run."""
        file = self.team.folder / "approve.yaml"
        file.write_text(yaml.safe_dump_all(json.loads(json.dumps(objects)), sort_keys=False), encoding="utf-8")
        self.team.approve(file.name, "technical", environment=environment)
        return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))

    def admit(self, obj: Json, *, environment: str = "production") -> Json:
        (approved,) = self.approve(obj, environment=environment)
        status, live = self.send("POST", path(obj), approved)
        assert status == HTTPStatus.CREATED, live
        return live

    def newest(self, **wanted: Any) -> Json:
        return decisions(self.team, **wanted)[-1]

    def pods(self, app: str) -> list[Json]:
        return list(self.send("GET", f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app={app}")[1]["items"])
