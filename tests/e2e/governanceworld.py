"""A gate that asks for the whole list of the governance framework, in a cluster with a namespace for each environment.

What people type is typed: each step is a command line of ``placet``, run in this process because there are many.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import shutil
import signal
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from unittest.mock import Mock, patch

import yaml
from click.testing import CliRunner

from placet.approvals.envelope import parse_annotation, render_annotation
from placet.approvals.signing import load_signer, sign_statement
from placet.approvals.statement import ApprovalStatement, parse_statement, render_statement
from placet.cli import clock, root
from placet.policy.profiles import load_profile
from tests.e2e.apiclient import ApiClient
from tests.e2e.controlplane import ControlPlane
from tests.e2e.gateprocess import Team
from tests.e2e.governance_map import EVIDENCE, reports
from tests.e2e.processes import poll_until
from tools import bundle as builder

POLICIES: Final = Path(__file__).parents[2] / "policies"
EXAMPLE: Final = Path(__file__).parents[2] / "manifests" / "examples" / "llama-deployment.yaml"
MODEL: Final = "llama-3.1-70b"
DEPLOYER: Final = "dora@example.com"
RELOAD_S: Final = 30.0
ON_CALL: Final = "otto@example.com"
ENVIRONMENTS: Final = ("production", "staging", "development", "lab")
PEOPLE: Final[Mapping[str, str]] = {"technical": "tara", "security": "sam", "business": "bea", "executive": "eve"}
# Beside what the shipped profile says: what is a team's own, and an environment that asks for the checks alone.
OVERLAY: Final[Mapping[str, Any]] = {
    "environments": {
        "lab": {
            "approvals": ["technical"],
            "max_level": "high",
            "bindings": ["projection"],
            "pin_images": True,
            "mode": "enforce",
            "coverage": "strict",
            "accept_declared": False,
            "requires": ["checks.documentation_review", "checks.performance_validation"],
        }
    },
    # The content must have been admitted to staging, without a day of waiting: that is for the model that soaks.
    "limits": {"models": {MODEL: {"soak_hours": 0}}, "environments": {"production": {"monitors": 2}}},
    "change": {
        "windows": {
            "any-time": {
                "environments": ["production"],
                "days": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
                "from": "00:00",
                "to": "24:00",
                "timezone": "UTC",
            }
        }
    },
    "residency": {"clusters": {"e2e": "eu"}},
}
_RULE: Final = re.compile(r"^- ([a-z]+[./][a-z_/.]+): ", re.MULTILINE)
Json = dict[str, Any]


def merged(base: Any, over: Any) -> Any:
    """Mappings by key, everything else as a whole: as an overlay is merged."""
    if isinstance(base, dict) and isinstance(over, Mapping):
        return {key: merged(base.get(key), over[key]) if key in over else base[key] for key in {**base, **over}}
    return copy.deepcopy(over)


@dataclass(frozen=True)
class Answer:
    """What the API server said.

    Attributes:
        status: 201 or 200 where it was let in.
        message: why not.
    """

    status: int
    message: str

    @property
    def admitted(self) -> bool:
        return self.status in {200, 201}

    @property
    def rules(self) -> set[str]:
        """What the refusal names."""
        return set(_RULE.findall(self.message))


class GovernanceWorld:
    """A control plane, a team and its running gate.

    Attributes:
        plane: the cluster.
        team: keys, keyring, configuration and record.
        complete: environment -> the workload with everything on it.
    """

    def __init__(self, plane: ControlPlane, team: Team) -> None:
        self.plane = plane
        self.team = team
        self.complete: dict[str, Json] = {}
        self._port = int(plane.url.rpartition(":")[2])
        self._users: dict[str, ApiClient] = {}

    # --- people

    def placet(self, *arguments: str, code: int = 0) -> str:
        """A command of placet in the team's folder, in this process; gives what it printed."""
        with contextlib.chdir(self.team.folder):
            done = CliRunner().invoke(root, list(arguments), catch_exceptions=False)
        if done.exit_code != code:
            raise AssertionError(f"placet {' '.join(arguments)}: {done.exit_code}\n{done.output}")
        return done.output

    def attest(self, name: str, *kinds: str) -> None:
        """The evidence of these kinds, by the commands of the map, into a manifest."""
        for kind in kinds:
            self.sign(name, EVIDENCE[kind])

    def sign(self, name: str, command: Sequence[str]) -> None:
        """``placet evidence ...`` on a manifest."""
        self.placet("evidence", *command, "-f", f"{name}.yaml", "--key", "keys/pipeline.key", "--write")

    def approve(self, name: str, environment: str, *roles: str, by: str = "") -> None:
        """``placet approve`` in each role, up to critical risk."""
        for role in roles:
            self.placet("approve", "-f", f"{name}.yaml", "-n", environment, "-e", environment, "--role", role,
                        "--key", f"keys/{by or PEOPLE[role]}.key", "--max-risk", "critical", "--yes")  # fmt: skip

    def approve_otherwise(self, name: str, role: str, **changes: Any) -> None:
        """Sign another statement than the command would: one that says less."""
        signer = load_signer(str(self.team.folder / "keys" / f"{PEOPLE[role]}.key"))
        said = replace(self.approval(name, role), approval_id=str(uuid.uuid4()), **changes)
        with self.edited(name) as manifest:
            signed = render_annotation(sign_statement(signer, render_statement(said)))
            manifest["metadata"]["annotations"][f"placet.dev/approval.{role}"] = signed

    def approval(self, name: str, role: str) -> ApprovalStatement:
        """What the approval on a manifest says."""
        carried = self.read(name)["metadata"]["annotations"][f"placet.dev/approval.{role}"]
        statement = parse_statement(parse_annotation(carried).payload)
        assert isinstance(statement, ApprovalStatement)
        return statement

    @contextlib.contextmanager
    def ago(self, **span: float) -> Iterator[None]:
        """What is typed in the block was typed some time ago."""
        stopped = Mock(now=Mock(return_value=clock.now_utc() - timedelta(**span)))
        with patch.object(clock, "datetime", stopped):  # commands have the function itself under names of their own
            yield

    # --- manifests

    def read(self, name: str) -> Json:
        return dict(yaml.safe_load((self.team.folder / f"{name}.yaml").read_text(encoding="utf-8")))

    def write(self, name: str, manifest: Json) -> None:
        (self.team.folder / f"{name}.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")

    def draw(self, name: str, environment: str, *without: str, approved: bool = True) -> Path:
        """The complete workload of an environment as a manifest, without some kinds of evidence."""
        manifest = copy.deepcopy(self.complete[environment])
        gone = {f"placet.dev/evidence.{annotation(kind)}" for kind in without}
        annotations = manifest["metadata"]["annotations"]
        assert gone <= annotations.keys()
        manifest["metadata"]["annotations"] = {
            key: text
            for key, text in annotations.items()
            if key not in gone and (approved or not key.startswith("placet.dev/approval."))
        }
        self.write(name, manifest)
        return self.team.folder / f"{name}.yaml"

    @contextlib.contextmanager
    def edited(self, name: str) -> Iterator[Json]:
        """A manifest to change in an editor; written at the end of the block."""
        manifest = self.read(name)
        yield manifest
        self.write(name, manifest)

    def lacking(self, name: str) -> set[str]:
        """Items of the production checklist that a manifest does not meet."""
        with contextlib.chdir(self.team.folder):
            asked = [
                "checklist",
                "-f",
                f"{name}.yaml",
                "-n",
                "production",
                "-e",
                "production",
                "--record",
                "record.sqlite",
            ]
            done = CliRunner().invoke(root, [*asked, "-o", "json"], catch_exceptions=False)
        (workload,) = json.loads(done.stdout)["workloads"]
        states = {one["item"]: one["state"] for group in workload["groups"] for one in group["items"]}
        assert len(states) == 16
        found = {item for item, state in states.items() if state not in {"met", "not_asked"}}
        assert done.exit_code == (1 if found else 0)
        return found

    # --- the cluster

    def user(self, name: str, *groups: str) -> None:
        """Somebody who may edit what is in the cluster."""
        files = self.plane.authority.client(name, groups)
        self._users[name] = ApiClient(self._port, self.plane.authority.path, files)
        self.plane.kubeconfig_for(name, groups)
        self.plane.grant(name, "edit")

    def deploy(self, name: str, environment: str, *, user: str = DEPLOYER, dry_run: bool = False) -> Answer:
        """Create the Deployment of a manifest in the namespace of an environment, or replace it."""
        manifest = self.read(name)
        manifest["metadata"]["namespace"] = environment
        path = f"/apis/apps/v1/namespaces/{environment}/deployments"
        there = f"{path}/{manifest['metadata']['name']}"
        method, path = ("PUT", there) if self.plane.api.exists(there) else ("POST", path)
        status, body = self._users[user].request(method, f"{path}{'?dryRun=All' if dry_run else ''}", manifest)
        return Answer(status, str(json.loads(body).get("message", "")))

    def remove(self, environment: str) -> None:
        """Delete the Deployment, so that the next one is new."""
        self.plane.api.request("DELETE", f"/apis/apps/v1/namespaces/{environment}/deployments/llama")

    def reload(self, name: str, environment: str, *, admits: bool, **changes: Any) -> None:
        """Change the policy data under the running gate, and wait until it answers otherwise for a manifest."""
        self.configure(**changes)
        self.wait_until(name, environment, admits=admits)

    def wait_until(self, name: str, environment: str, *, admits: bool) -> None:
        """Have the gate read its files again, and wait until it answers so."""
        assert self.team.process is not None
        self.team.process.send_signal(signal.SIGHUP)  # it would notice, too, but not at once
        waited = poll_until(lambda: self.deploy(name, environment, dry_run=True).admitted is admits, RELOAD_S)
        assert waited, self.deploy(name, environment, dry_run=True).message or "it is still let in"

    def configure(self, **changes: Any) -> None:
        """Write the policy data: the shipped profile, the overlay, and these changes."""
        data = merged(merged(yaml.safe_load(load_profile("governance")), OVERLAY), changes)
        (self.team.folder / "policy-data.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")


@contextlib.contextmanager
def governed(folder: Path) -> Iterator[GovernanceWorld]:
    """The whole of it, with a workload that production has everything of."""
    with ControlPlane() as plane:
        team = Team(folder)
        world = GovernanceWorld(plane, team)
        with world.ago(days=200):  # keys that can have signed what has grown old
            world.placet("init", ".", "--cluster", "e2e", "--no-passphrase", "--autoscalers", "none")
        world.configure()
        _entitle(world)
        for name, content in reports(f"{clock.now_utc():%Y-%m-%dT%H:%M:%SZ}").items():
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
        for environment in ENVIRONMENTS:
            plane.create_namespace(environment, {"placet.dev/environment": environment})
        world.user(DEPLOYER, "developers")
        world.user(ON_CALL, "sre-on-call")
        certificate = plane.serving_certificate(["127.0.0.1"])
        with team.webhook(certificate) as url:
            for environment in ENVIRONMENTS:
                plane.install_webhook(
                    environment,
                    url.replace("/production", f"/{environment}"),
                    certificate.ca_pem,
                    namespace_selector={"matchLabels": {"placet.dev/environment": environment}},
                )
            _complete(world)
            yield world


def _entitle(world: GovernanceWorld) -> None:
    """The pipeline may attest every kind, the approvers sign for the lab too, and tara in two roles; the roots sign."""
    facts = [argument for kind in EVIDENCE for argument in ("--fact", kind)]
    world.placet("keyring", "grant", "pipeline@example.com", *facts)
    world.placet("keyring", "grant", "tara@example.com", "--role", "security", "--environment", "production",
                 "--max-risk", "critical")  # fmt: skip
    for role, name in PEOPLE.items():
        world.placet("keyring", "grant", f"{name}@example.com", "--role", role, "--environment", "lab",
                     "--max-risk", "critical")  # fmt: skip
    world.placet("keyring", "renew")
    for number in (1, 2):
        world.placet("keyring", "sign", "--key", f"keys/root-{number}.key")


def _complete(world: GovernanceWorld) -> None:
    """Evidence of everything, all approvals in each environment, and the content admitted to staging."""
    manifest = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    del manifest["metadata"]["namespace"]
    world.write("attested", manifest)
    world.attest("attested", *EVIDENCE)
    for environment in ENVIRONMENTS:
        world.write(environment, world.read("attested"))
        world.approve(environment, environment, *PEOPLE)
        world.complete[environment] = world.read(environment)
    staged = world.deploy("staging", "staging")
    assert staged.admitted, staged.message


def annotation(kind: str) -> str:
    """The name under which the commands put a kind of evidence."""
    return {"rollback_drill": "rollback", "model_bom": "model", "deployment_plan": "strategy"}.get(
        kind, kind.replace("_", "-")
    )


def compile_policies(folder: Path, rule: str, before: str, after: str) -> None:
    """The shipped policies with another text in one file, compiled into a folder as a gate reads it."""
    sources = folder.with_name(f"{folder.name}-sources")
    shutil.copytree(POLICIES, sources)
    file = sources / rule
    text = file.read_text(encoding="utf-8")
    assert text.count(before) == 1
    file.write_text(text.replace(before, after), encoding="utf-8")
    for name, content in builder.build(builder.find_opa(), sources).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
