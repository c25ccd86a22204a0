"""A team with keys, a gate on files as the webhook has one, and the reviews that its API server would send."""

from __future__ import annotations

import copy
import hashlib
import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from placet.audit.log import AuditLog
from placet.audit.note import LogKey
from placet.canonical import Digest
from placet.cluster import NoAutoscalers
from placet.decide import Deadline, Gate
from placet.environments import Namespaces
from placet.policy.data import load_policy_data
from placet.policy.wasm import EmbeddedEngine
from placet.record import LogRecorder
from placet.review import parse_review
from placet.trust import FileTrust
from placet.workload import read_workload
from tests.simulators.desk import ApprovalDesk
from tests.simulators.gate import example
from tests.simulators.tampering import LOG_KEY
from webhook.admission import review

# How many signatures a review carries -> where it goes. Without evidence only an environment that believes declared
# facts lets the model in.
ENVIRONMENTS: Final = {3: "development", 7: "production"}
APPROVERS: Final = ("technical", "security", "business")
_KEY: Final[LogKey] = LOG_KEY
_DECLARED: Final = {
    "parameters": "70600000000",
    "data-classification": "confidential",
    "test-coverage": "85/100",
    "rollback-minutes": "3",
    "deployment-strategy": "blue_green",
}
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass
class Team:
    """One team.

    Attributes:
        desk: persons, keys and the clock.
        log: the record.
        gate: decides, by the files that the desk wrote.
        planner: the same gate without a record.
        engine: the gate's.
        signatures: on each review: 3 of approvals, and 4 of evidence where there are 7.
    """

    desk: ApprovalDesk
    log: AuditLog
    gate: Gate
    planner: Gate
    engine: EmbeddedEngine
    signatures: int
    _made: int = 0
    _salt: str = field(default_factory=lambda: uuid.uuid4().hex)
    _risk_inputs: Digest | None = None

    @classmethod
    def open(cls, folder: Path, *, signatures: int, namespaces: Namespaces | None = None) -> Self:
        """A gate whose keyring, revocations and record are files in a new folder.

        Args:
            folder: to be made.
            signatures: on each review.
            namespaces: where the Namespace of each review is looked up; None to believe the path.
        """
        folder.mkdir()
        desk = ApprovalDesk.standard(environment=ENVIRONMENTS[signatures])
        files = desk.write(folder / "keys")
        data = load_policy_data(None)
        engine = EmbeddedEngine.default(data)
        engine.prepare()
        log = AuditLog.open(folder / "record.sqlite", origin=_KEY.name, key=_KEY)
        recorder = LogRecorder(log, cluster=desk.cluster)
        trust = FileTrust(
            keyring_file=files["keyring"],
            root_files=[files["roots"]],
            threshold=desk.root_threshold,
            revocations=files["revocations"],
        )

        def gate(kept_by: LogRecorder | None) -> Gate:
            return Gate(
                cluster=desk.cluster,
                policy_data=data,
                engine=engine,
                trust=trust,
                history=recorder,
                cluster_facts=NoAutoscalers(),
                recorder=kept_by,
                clock=lambda: desk.now,
                namespaces=namespaces,
            )

        return cls(desk, log, gate(recorder), gate(None), engine, signatures)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the record and the engine."""
        self.log.close()
        self.engine.close()

    def admit(self, body: bytes) -> bytes:
        """One decision: the bytes of a review in, those of its answer out; it must be let in and recorded."""
        answer = review(self.gate, body, environment=self.desk.environment, deadline=Deadline(10))
        response = answer["response"]
        if not response["allowed"] or "log-index" not in response["auditAnnotations"]:
            raise SystemExit(f"a review that was to be let in was not: {response}")
        return json.dumps(answer, separators=(",", ":")).encode()

    def fill(self, records: int) -> None:
        """Append decisions until there are so many, all of one real decision under other uids and models."""
        self.admit(self.bodies("warm", 1)[0])
        body = dict(self.log_body(0))
        attachments = {"input": b"{}"}
        digest = f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
        body = {key: value for key, value in body.items() if not key.startswith("content_")} | {"input_digest": digest}
        for number in range(self.log.size(), records):
            uid = str(uuid.UUID(int=number))
            # one in ten is of the model that the reviews name
            model = body["model"] if number % 10 == 0 else body["model"] | {"name": f"model-{number % 1000}"}
            self.log.append(body | {"uid": uid, "decision_id": uid, "model": model}, uid=uid, attachments=attachments)
        self.log.checkpoint()

    def log_body(self, index: int) -> Any:
        """Body of a leaf."""
        with self.log._store.reading() as reader:  # noqa: SLF001 - no command of the product reads single leaves
            (stored,) = reader.leaves(index, index + 1)
        return json.loads(stored.raw_leaf.partition(b"\n")[2])

    def bodies(self, mode: str, count: int) -> list[bytes]:
        """Reviews of a mode, each with a uid of its own."""
        if mode == "cold":
            return [self._body(self._signed(self._next())) for _ in range(count)]
        signed = self._signed(0)
        old = None
        if mode == "update":
            old = copy.deepcopy(signed)
            signed["spec"]["replicas"] -= 1
            signed["metadata"]["generation"] = 2
        return [self._body(signed, old=old) for _ in range(count)]

    def _next(self) -> int:
        self._made += 1
        return self._made

    def _signed(self, number: int) -> dict[str, Any]:
        """A Deployment as Helm sends it, three approvals and the evidence on it; its image depends on the number."""
        manifest = copy.deepcopy(example())
        metadata, pod = manifest["metadata"], manifest["spec"]["template"]["spec"]
        metadata.pop("managedFields")  # what a review is made of beside signatures is not what is measured
        annotations = metadata["annotations"]
        annotations.pop(_LAST_APPLIED)
        # of this team alone: the desk's keys are the same in every run, and signatures are remembered by the process
        image = hashlib.sha256(f"image {self._salt} {number}".encode()).hexdigest()
        pod["containers"][0]["image"] = f"registry.example.com/serving/vllm-openai@sha256:{image}"
        workload = read_workload(manifest)
        if self.signatures == len(APPROVERS):
            annotations |= {f"placet.dev/{name}": text for name, text in _DECLARED.items()}
        else:
            evidence = self.desk.evidence(workload)
            annotations |= {f"placet.dev/evidence.{name}": envelope for name, envelope in evidence.items()}
        seen = self._risk_inputs = self._risk_inputs or self._assess(manifest)
        for role in APPROVERS:
            approval = self.desk.approve(workload, role=role, risk_inputs=seen)
            annotations[f"placet.dev/approval.{role}"] = approval
        return manifest

    def _assess(self, manifest: dict[str, Any]) -> Digest:
        """What approvers see before they sign; it hangs on facts that are the same for every workload here."""
        request = parse_review(self._body(manifest))
        decision = self.planner.decide(request, environment=self.desk.environment, deadline=Deadline(10))
        if decision.findings is None:
            raise SystemExit(f"the workload can't be assessed: {decision.violations}")
        return decision.findings.risk_inputs

    def _body(self, manifest: dict[str, Any], *, old: dict[str, Any] | None = None) -> bytes:
        metadata = manifest["metadata"]
        kind = {"group": "apps", "version": "v1", "kind": "Deployment"}
        resource = {"group": "apps", "version": "v1", "resource": "deployments"}
        request = {
            "uid": str(uuid.uuid4()),
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "operation": "CREATE" if old is None else "UPDATE",
            "userInfo": {"username": "deployer@example.org", "groups": ["system:authenticated"]},
            "object": manifest,
            "oldObject": old,
            "dryRun": False,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        }
        document = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}
        return json.dumps(document, separators=(",", ":")).encode()
