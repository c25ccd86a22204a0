"""A team in a cluster with controllers: its gate with look-ups, its Helm releases, and what became of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from placet.audit.query import Query, find
from placet.audit.stores.file import open_readonly
from tests.e2e.controlplane import ControlPlane
from tests.e2e.gateprocess import Team
from tests.e2e.processes import clean_environment, poll_until, program_path

CHART: Final = Path(__file__).parents[1] / "data" / "charts" / "model"
NAMESPACE: Final = "ml-serving"
DEPLOYER: Final = "dora@example.com"
GATE: Final = "placet-gate"
PATIENCE_S: Final = 40.0
# One role, two where the risk is critical: each signature is a process, and who has to sign is tested elsewhere.
ROLES: Final = ("security",)
DATA: Final = {
    "environments": {"production": {"approvals": [*ROLES]}},
    "risk_approvals": {
        "low": [*ROLES],
        "medium": [*ROLES],
        "high": [*ROLES],
        "critical": [*ROLES, "executive"],
    },
}
Json = dict[str, Any]

# All that the gate may read for its look-ups; docs/lookups.md lists the same.
GATE_ROLE: Final[Json] = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "placet-lookups"},
    "rules": [
        {
            "apiGroups": ["apps"],
            "resources": ["deployments", "replicasets", "statefulsets", "daemonsets"],
            "verbs": ["get"],
        },
        {"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["replicationcontrollers"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch"]},
        {"apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": ["list", "watch"]},
    ],
}


def prepare(plane: ControlPlane) -> Path:
    """Namespace, deployer, and the gate's account with no more than it needs. Gives the gate's kubeconfig."""
    plane.create_namespace(NAMESPACE, {"placet.dev/environment": "production"})
    plane.kubeconfig_for(DEPLOYER, ["developers"])
    plane.kubectl("create", "clusterrolebinding", "developers", "--clusterrole=edit", f"--user={DEPLOYER}")
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(GATE_ROLE))
    plane.kubectl("create", "clusterrolebinding", GATE, "--clusterrole=placet-lookups", f"--user={GATE}")
    return plane.kubeconfig_for(GATE)


def helm(plane: ControlPlane, *arguments: str, user: str = DEPLOYER) -> subprocess.CompletedProcess[str]:
    """Run helm; the caller looks at the exit code."""
    return subprocess.run(
        [program_path("helm"), "--kubeconfig", str(plane._kubeconfigs[user]), "-n", NAMESPACE, *arguments],
        env=clean_environment(plane.folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


class Release:
    """One Helm release of the model chart.

    Attributes:
        name: of the release, and of its Deployment.
        file: what it renders to, where people approve it.
    """

    def __init__(self, plane: ControlPlane, team: Team, name: str) -> None:
        self.plane = plane
        self.team = team
        self.name = name
        self.file = f"{name}.yaml"
        self._values: Json = {}

    def set(self, **values: Any) -> None:
        """Change values, and render anew; what was signed before stays in them."""
        self._values |= values
        self._write()
        done = helm(self.plane, "template", self.name, str(CHART), "-f", str(self._values_file))
        assert done.returncode == 0, done.stderr
        (self.team.folder / self.file).write_text(done.stdout, encoding="utf-8")

    def sign(self, *roles: str, rollback_minutes: int | None = 3) -> None:
        """Attest and approve what it renders to, and take that over into the values."""
        common = ("-f", self.file, "--key", "keys/pipeline.key", "--write")
        rollback = () if rollback_minutes is None else ("--rollback-minutes", str(rollback_minutes))
        self.team.attest_coverage(self.file)
        self.team.run("evidence", "attest", "--parameters", "70600000000", "--data-classification", "confidential",
                      *rollback, *common)  # fmt: skip
        self.team.approve(self.file, *roles)
        found = self.deployment_in_file()["metadata"]["annotations"]
        signed = {key: text for key, text in found.items() if key.startswith(("placet.dev/app", "placet.dev/ev"))}
        self._values["annotations"] = signed
        self._write()

    def deployment_in_file(self) -> Json:
        text = (self.team.folder / self.file).read_text(encoding="utf-8")
        (found,) = [one for one in yaml.safe_load_all(text) if one and one["kind"] == "Deployment"]
        return dict(found)

    def install(self) -> subprocess.CompletedProcess[str]:
        return helm(self.plane, "install", self.name, str(CHART), "-f", str(self._values_file))

    def upgrade(self) -> subprocess.CompletedProcess[str]:
        return helm(self.plane, "upgrade", self.name, str(CHART), "-f", str(self._values_file))

    def admitted(self, *, rollback_minutes: int | None = 3, roles: Sequence[str] = ROLES, **values: Any) -> None:
        """Sign what the values say and bring it in; it must get in."""
        self.set(annotations={}, **values)
        self.sign(*roles, rollback_minutes=rollback_minutes)
        exists = self.plane.kubectl("get", "deployment", self.name, "-n", NAMESPACE, check=False).returncode == 0
        done = self.upgrade() if exists else self.install()
        assert done.returncode == 0, done.stderr

    def remove(self) -> None:
        done = helm(self.plane, "uninstall", self.name, "--wait")
        assert done.returncode == 0, done.stderr

    @property
    def live(self) -> Json:
        return get(self.plane, "deployment", self.name)

    @property
    def _values_file(self) -> Path:
        return self.team.folder / f"{self.name}-values.yaml"

    def _write(self) -> None:
        self._values_file.write_text(yaml.safe_dump(self._values), encoding="utf-8")


def get(plane: ControlPlane, kind: str, name: str) -> Json:
    return dict(json.loads(plane.kubectl("get", kind, name, "-n", NAMESPACE, "-o", "json").stdout))


def children(plane: ControlPlane, kind: str, app: str) -> list[Json]:
    selector = f"app.kubernetes.io/name={app}"
    listed = plane.kubectl("get", kind, "-n", NAMESPACE, "-l", selector, "-o", "json").stdout
    return list(json.loads(listed)["items"])


def wait_for(what: str, happened: Callable[[], bool], team: Team | None = None) -> None:
    """Poll until it happened.

    Raises:
        AssertionError: it did not, with the end of the record.
    """
    if not poll_until(happened, PATIENCE_S):
        told = "" if team is None else json.dumps(decisions(team)[-3:], indent=1)
        raise AssertionError(f"{what} did not happen in {PATIENCE_S:g} s\n{told}")


def decisions(team: Team, **wanted: Any) -> list[Json]:
    """Decisions in the record, oldest first, with index and leaf hash; those whose members are as wanted."""
    with open_readonly(team.folder / "record.sqlite") as reader:  # asked often: `placet audit list` starts a process
        page = find(reader, Query(), limit=5000)
    assert not page.cursor, "there are more"
    found = [{**one.body, "index": one.index, "leaf_hash": one.leaf_hash.hex()} for one in reversed(page.found)]
    return [one for one in found if all(one[key] == value for key, value in wanted.items())]


def without_decision(text: str) -> str:
    """The refusal without its last line, which names the decision."""
    return text[text.index("placet refuses") : text.index("\ndecision ")]
