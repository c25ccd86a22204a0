"""A whole gate in memory and on a temporary file: the desk's keyring, the shipped policy, a real record.

>>> desk = GateDesk.open(tmp_path)
>>> desk.decide(desk.review(manifest)).allowed
False
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.revocations import Revocations
from placet.audit.log import AuditLog
from placet.audit.person_keys import PersonKeys
from placet.breakglass.record import LogGlass
from placet.breakglass.statement import TokenStatement
from placet.cluster import ClusterFacts, NoAutoscalers
from placet.decide import Deadline, Gate, History, NoHistory
from placet.decision import Decision
from placet.exemptions.folder import Exemptions
from placet.parents import Parents
from placet.policy.data import PolicyData, load_policy_data
from placet.policy.engine import PolicyEngine
from placet.policy.wasm import EmbeddedEngine
from placet.record import LogRecorder, Recorder
from placet.residents import Residents
from placet.review import parse_review
from placet.workload import read_workload
from tests.simulators.desk import ApprovalDesk
from tests.simulators.ledger import Ledger, WatchedGate
from tests.simulators.spaces import NamespaceStore

DATA = Path(__file__).parents[1] / "data"
ORIGIN = "placet.dev/log/prod-eu-1"
# Compiling the policies comes out of the first decision of an engine: long enough on a busy machine.
PATIENCE_S = 120.0


@dataclass
class DeskTrust:
    """The desk's keyring, verified at the desk's time."""

    desk: ApprovalDesk
    revocations: Revocations

    def load(self, now: datetime) -> tuple[VerifiedKeyring, Revocations]:
        assert now == self.desk.now
        return self.desk.keyring, self.revocations


@dataclass
class GateDesk:
    """A gate, the people who sign, and the record.

    Attributes:
        desk: keys, persons, the clock.
        gate: decides and records.
        log: the record.
        trust: what the gate believes in.
        ledger: what was signed, and what was let in on which ground.
        spaces: the Namespaces that the gate looks up.
    """

    desk: ApprovalDesk
    gate: Gate
    log: AuditLog
    trust: DeskTrust
    engine: PolicyEngine
    data: PolicyData
    history: History
    ledger: Ledger
    spaces: NamespaceStore

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        engine: PolicyEngine | None = None,
        data: PolicyData | None = None,
        recorder: Recorder | None = None,
        cluster_facts: ClusterFacts | None = None,
        parents: Parents | None = None,
        residents: Residents | None = None,
        exemptions: Exemptions | None = None,
        spaces: NamespaceStore | None = None,
        remembered: Parents | None = None,
        persons: PersonKeys | None = None,
    ) -> Self:
        """A gate for the desk's cluster with an empty record in ``folder``."""
        desk = ApprovalDesk.standard()
        spaces = spaces or NamespaceStore()
        data = data or load_policy_data(None)
        engine = engine or EmbeddedEngine.default(data)
        log = AuditLog.open(folder / "record.sqlite", origin=ORIGIN)
        kept = LogRecorder(log, cluster=desk.cluster, persons=persons)
        trust = DeskTrust(desk, Revocations.none())
        gate = WatchedGate(
            cluster=desk.cluster,
            policy_data=data,
            engine=engine,
            trust=trust,
            history=kept,
            cluster_facts=cluster_facts or NoAutoscalers(),
            recorder=recorder or kept,
            clock=lambda: desk.now,
            parents=parents,
            residents=residents,
            exemptions=exemptions,
            namespaces=spaces,
            remembered=remembered,
            glass=LogGlass(log, cluster=desk.cluster, persons=persons),
        )
        gate.ledger = Ledger(data, spaces)
        return cls(desk, gate, log, trust, engine, data, kept, gate.ledger, spaces)

    def planner(self, *, history: History | None = None) -> Gate:
        """The same gate as ``placet plan`` has it: nothing is recorded."""
        planner = WatchedGate(
            cluster=self.desk.cluster,
            policy_data=self.data,
            engine=self.engine,
            trust=self.trust,
            history=history or NoHistory(),
            cluster_facts=NoAutoscalers(),
            recorder=None,
            clock=lambda: self.desk.now,
        )
        planner.ledger = self.ledger
        return planner

    def decide(self, review: dict[str, Any], *, environment: str = "production") -> Decision:
        """Send one review."""
        request = parse_review(json.dumps(review).encode())
        return self.gate.decide(request, environment=environment, deadline=Deadline(PATIENCE_S))

    def approve(self, manifest: dict[str, Any], *roles: str, **terms: Any) -> dict[str, Any]:
        """The manifest with approvals on it, each by the first who holds the role."""
        signed = copy.deepcopy(manifest)
        workload = read_workload(signed, kinds=self.data.kinds)
        self.ledger.sign(signed)
        annotations = signed["metadata"].setdefault("annotations", {})
        for role in roles:
            annotations[f"placet.dev/approval.{role}"] = self.desk.approve(workload, role=role, **terms)
        return signed

    def let_in(
        self, manifest: dict[str, Any], *, by: Sequence[str] = ("gina", "hugo"), **terms: Any
    ) -> tuple[dict[str, Any], TokenStatement]:
        """The manifest with a break-glass token on it, and the token; not signed for in the ledger."""
        carried = copy.deepcopy(manifest)
        token = self.desk.token(read_workload(carried, kinds=self.data.kinds), **terms)
        carried["metadata"].setdefault("annotations", {})["placet.dev/break-glass"] = self.desk.break_glass(
            token, by=by
        )
        return carried, token


def example() -> dict[str, Any]:
    """The Deployment that a real API server sent, as created."""
    review = json.loads((DATA / "reviews" / "deployment-llama-create.json").read_bytes())
    created: dict[str, Any] = review["request"]["object"]
    return created


def review(
    manifest: dict[str, Any],
    *,
    old: dict[str, Any] | None = None,
    operation: str | None = None,
    dry_run: bool = False,
    username: str = "deployer@example.org",
    uid: str | None = None,
) -> dict[str, Any]:
    """The review that an API server would send about an object of apps/v1."""
    found: dict[str, Any] = json.loads((DATA / "reviews" / "deployment-llama-create.json").read_bytes())
    request = found["request"]
    request["uid"] = uid or str(uuid.uuid4())
    request["object"] = manifest
    request["oldObject"] = old
    request["operation"] = operation or ("CREATE" if old is None else "UPDATE")
    request["dryRun"] = dry_run
    request["userInfo"]["username"] = username
    request["name"] = manifest["metadata"].get("name", "")
    request["namespace"] = manifest["metadata"].get("namespace", "")
    return found


def namespace_review(
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    *,
    operation: str = "UPDATE",
    subresource: str = "",
    name: str = "team-a",
    username: str = "tina@example.org",
    groups: tuple[str, ...] = ("tenants", "system:authenticated"),
    dry_run: bool = False,
    uid: str | None = None,
) -> dict[str, Any]:
    """The review that a real API server sends about a Namespace, whose name is also the request's namespace.

    Args:
        before: labels of the old object; None for no labels at all.
        after: labels of the new one.
        operation: the old object is left out of a CREATE.
        subresource: ``status`` or ``finalize``.
        name: of the Namespace.
        username: who asks.
        groups: of whom.
        dry_run: whether nothing is kept.
        uid: of the request; another one each time.
    """

    def namespace(labels: dict[str, Any] | None) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": name, "uid": "db12e1b1-df96-4cbc-8900-e97e81d4932b"}
        if labels is not None:
            metadata["labels"] = labels
        spec, status = {"finalizers": ["kubernetes"]}, {"phase": "Active"}
        return {"kind": "Namespace", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": status}

    request = {
        "uid": uid or str(uuid.uuid4()),
        "kind": {"group": "", "version": "v1", "kind": "Namespace"},
        "resource": {"group": "", "version": "v1", "resource": "namespaces"},
        "name": name,
        "namespace": name,
        "operation": operation,
        "userInfo": {"username": username, "groups": list(groups)},
        "object": namespace(after),
        "oldObject": None if operation == "CREATE" else namespace(before),
        "dryRun": dry_run,
    }
    if subresource:
        request["subResource"] = subresource
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}
