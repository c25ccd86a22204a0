"""A small cluster with a past, for the target of the whole decision: what was approved, admitted, taken back, stored.

Nothing that is asked changes it: the gate of the target keeps no record. All is signed for one environment, one
namespace and the risk level ``medium``, which ten replicas still have and eleven have not.
"""

from __future__ import annotations

import copy
import functools
import json
import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from placet.cluster import NoAutoscalers
from placet.decide import Deadline, Gate
from placet.decision import Decision
from placet.evidence.kinds import COVERAGE_TYPE, CYCLONEDX_TYPE, PLAN_TYPE, TEST_RESULT_TYPE
from placet.evidence.statement import coverage_predicate, model_predicate, plan_predicate, rollback_predicate
from placet.review import parse_review
from placet.workload import read_workload
from tests.simulators.cluster import ObjectStore, pod, replica_set, review_of, scale_review
from tests.simulators.exemptions import ExemptionShelf, add_exempters, exemption_of, sign_exemption
from tests.simulators.gate import GateDesk, example, review
from tests.simulators.spaces import NamespaceStore

Json = dict[str, Any]

ENVIRONMENT: Final = "production"
NAMESPACE: Final = "ml-serving"
# Every namespace that there is, with its label: those of the label's own environment, and those that name none.
LABELS: Final = {
    NAMESPACE: ENVIRONMENT,
    "ml-staging": "staging",
    "ml-lab": "development",
    "ml-plain": None,
    "ml-empty": "",
    "ml-odd": "Staging",
}
ROLES: Final = ("technical", "security", "business")
MOST_REPLICAS: Final = 10  # of medium risk in production, all else as it is attested here
LEVEL: Final = "medium"
EXEMPTER: Final = "fay@example.org"
APPROVAL: Final = "placet.dev/approval."
EVIDENCE: Final = "placet.dev/evidence."
_ENOUGH_S: Final = 600.0
_TIME: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Approved:
    """One content of one workload that people signed.

    Attributes:
        obj: with its approvals and evidence on it.
        admitted: whether the gate let it in, so that the record knows it.
        revoked: whether one of its approvals was taken back.
    """

    obj: Json
    admitted: bool = True
    revoked: bool = False

    @property
    def name(self) -> str:
        return str(self.obj["metadata"]["name"])

    def signed(self, prefix: str) -> dict[str, str]:
        """What stands under the annotations of a prefix."""
        return {key: value for key, value in self.obj["metadata"]["annotations"].items() if key.startswith(prefix)}


@dataclass(slots=True)
class World:
    """All of it.

    Attributes:
        gate: decides, and keeps nothing.
        approved: every content that was ever signed.
        store: what can be looked up.
        stored: the same by uid, for the oracle.
        approvers: names of the persons who sign; none of them may ask.
        glassed: what two persons let in by break-glass, with their token on it; nobody approved it.
        exempted: what needs no approval, by the word of ``EXEMPTER``.
        seeds: the name of an honest or a hopeless review -> the review and whether it is allowed.
    """

    gate: Gate
    approved: list[Approved]
    store: ObjectStore
    stored: dict[str, Json]
    approvers: frozenset[str]
    glassed: Json
    exempted: list[Json] = field(default_factory=list)
    seeds: dict[str, tuple[Json, bool]] = field(default_factory=dict)


def attest(desk: GateDesk, manifest: Json) -> Json:
    """With evidence that makes a seen model medium, for the last time just so."""
    workload, now = read_workload(manifest), desk.desk.now
    model = model_predicate(workload.model, parameters=70_600_000_000, classification="internal", made_at=now)
    statements = {
        "coverage": (
            COVERAGE_TYPE,
            coverage_predicate(lines=(75, 100), branches=(0, 0), issued_at=now, lifetime=_TIME),
        ),
        "model": (CYCLONEDX_TYPE, model),
        "rollback": (TEST_RESULT_TYPE, rollback_predicate(3, finished_at=now)),
        "strategy": (PLAN_TYPE, plan_predicate("blue_green", issued_at=now, lifetime=_TIME)),
    }
    about = {"coverage": "image", "model": "model", "rollback": "projection", "strategy": "projection"}
    signed = copy.deepcopy(manifest)
    for name, (kind, predicate) in statements.items():
        value = desk.desk.attest(workload, kind, predicate, about=about[name])
        signed["metadata"]["annotations"][f"{EVIDENCE}{name}"] = value
    return signed


def workload(name: str, **server: Any) -> Json:
    """The example under another name, with other fields in its one container."""
    manifest = example()
    metadata = manifest["metadata"]
    for key in ("managedFields", "uid", "creationTimestamp", "generation"):
        metadata.pop(key, None)
    metadata["annotations"].pop("kubectl.kubernetes.io/last-applied-configuration", None)
    metadata["name"] = name
    manifest["spec"]["template"]["spec"]["containers"][0] |= server
    return manifest


def _reading() -> Json:
    """A workload that gets its metadata through the downward API, and has an AppArmor profile by annotation."""
    key = "metadata.labels['app.kubernetes.io/name']"
    manifest = workload("reader", env=[{"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": key}}}])
    profile = {"container.apparmor.security.beta.kubernetes.io/server": "localhost/strict"}
    manifest["spec"]["template"]["metadata"]["annotations"] = profile
    return manifest


def proxy() -> Json:
    """What serves no model, and is exempted."""
    labels = {"app": "proxy"}
    container = {"name": "nginx", "image": f"registry.example/nginx@sha256:{'ab' * 32}", "args": ["-g", "daemon off;"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "proxy", "namespace": NAMESPACE, "labels": dict(labels)},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def _namespaces() -> NamespaceStore:
    store = NamespaceStore()
    for name, label in LABELS.items():
        store.put(name, label)
    return store


class _Builder:
    def __init__(self, desk: GateDesk, store: ObjectStore) -> None:
        self.desk, self.store = desk, store
        self.approved: list[Approved] = []

    def sign(self, manifest: Json, *, admit: bool = True, old: Json | None = None, level: str = LEVEL) -> Json:
        signed = attest(self.desk, manifest)
        roles = (*ROLES, "executive") if level == "critical" else ROLES
        signed = self.desk.approve(signed, *roles, max_risk=level)
        if admit:
            decision = self._decide(review(signed, old=old))
            assert decision.allowed, decision.violations
            assert decision.findings is not None
            assert level in {"critical", decision.findings.assessment.level}
        self.approved.append(Approved(copy.deepcopy(signed), admitted=admit))
        return signed

    def _decide(self, asked: Json) -> Decision:
        """With time enough for the first decision of an instrumented process."""
        request = parse_review(json.dumps(asked).encode())
        return self.desk.gate.decide(request, environment=ENVIRONMENT, deadline=Deadline(_ENOUGH_S))

    def revoke(self, signed: Json) -> None:
        read = self._decide(review(signed, uid="a-revocation")).recorded
        assert read is not None
        self.desk.desk.document["revokedApprovals"] += [read.leaf["approvals"][1]["approval_id"]]
        self.desk.desk.document["version"] += 1
        self.approved[-1] = Approved(self.approved[-1].obj, revoked=True)


def stripped(manifest: Json) -> Json:
    """Without approvals; its evidence stays."""
    bare = copy.deepcopy(manifest)
    annotations = bare["metadata"]["annotations"]
    bare["metadata"]["annotations"] = {key: value for key, value in annotations.items() if not key.startswith(APPROVAL)}
    return bare


def _with(manifest: Json, **spec: Any) -> Json:
    return {**copy.deepcopy(manifest), "spec": {**copy.deepcopy(manifest["spec"]), **spec}}


@functools.cache
def open_world() -> World:
    """The one world of this process; the policies are compiled once."""
    folder = tempfile.mkdtemp(prefix="placet-fuzz-")
    store = ObjectStore()
    desk = GateDesk.open(Path(folder), parents=store, cluster_facts=NoAutoscalers())
    builder = _Builder(desk, store)
    builder.sign(workload("scout"), level="critical")  # a model that was seen is less of a risk
    taken = builder.sign(workload("taken", workingDir="/taken"))
    builder.revoke(taken)
    first = builder.sign(workload("llama"))
    second = builder.sign(workload("llama", args=["--model=/models/llama-3.1-70b", "--seed=2"]), old=first)
    reader = builder.sign(_reading())
    waiting = builder.sign(workload("waiting", workingDir="/srv"), admit=False)
    desk.desk.glass_keepers()
    glassed, _ = desk.let_in(workload("glass", workingDir="/glass"))
    alone, _ = desk.let_in(workload("glass", workingDir="/glass"), by=["gina"])
    fixed = {"uid": "00000000-0000-4000-8000-000000000001", "resourceVersion": "7"}
    deployment = store.put({**second, "metadata": {**second["metadata"], **fixed}})
    made = replica_set(deployment)
    made["metadata"]["uid"] = "00000000-0000-4000-8000-000000000002"
    made = store.put(made)
    add_exempters(desk.desk)
    exempted = proxy()
    shelf = ExemptionShelf({"proxy": sign_exemption(desk.desk, exemption_of(desk.desk, read_workload(exempted)))})
    fixed = {"uid": "00000000-0000-4000-8000-000000000003", "resourceVersion": "7"}
    pages = store.put({**exempted, "metadata": {**exempted["metadata"], **fixed}})
    serving = replica_set(pages, name="proxy-7d9f")
    serving["metadata"]["uid"] = "00000000-0000-4000-8000-000000000004"
    serving = store.put(serving)
    gate = Gate(
        cluster=desk.desk.cluster,
        policy_data=desk.data,
        engine=desk.engine,
        trust=desk.trust,
        history=desk.history,
        cluster_facts=NoAutoscalers(),
        recorder=None,
        clock=lambda: desk.desk.now,
        parents=store,
        exemptions=shelf,
        namespaces=_namespaces(),
    )
    approvers = frozenset(f"{name}@example.org" for name in desk.desk.signers)
    stored = {one["metadata"]["uid"]: one for one in (deployment, made, pages, serving)}
    world = World(gate, builder.approved, store, stored, approvers, glassed, [exempted])
    labelled, other = proxy(), proxy()
    labelled["metadata"]["labels"]["placet.dev/model"] = "llama-3.1-70b"
    other["spec"]["template"]["spec"]["containers"][0]["command"] = ["python3", "-m", "server"]
    touched = copy.deepcopy(second)
    touched["metadata"]["labels"]["team"] = "serving"
    child, kept = replica_set(deployment, name="llama-8e0f"), pod(made)
    ephemeral = {**kept["spec"], "ephemeralContainers": [{"name": "debugger", "image": "busybox:1"}]}
    debug = {**copy.deepcopy(kept), "spec": ephemeral}
    world.seeds = {
        "create": (review(waiting), True),
        "create-reading": (review(reader), True),
        "create-taken": (review(taken), False),
        "create-bare": (review(stripped(first)), False),
        "touch": (review(touched, old=second), True),
        "touch-taken": (review({**taken, "status": {"replicas": 4}}, old=taken), False),
        "change": (review(first, old=second), True),
        "undo": (review(stripped(first), old=second), True),
        "undo-reading": (review(stripped(reader), old=_with(reader, template=second["spec"]["template"])), True),
        "more": (review(_with(second, replicas=9), old=second), True),
        "too-many": (review(_with(second, replicas=11), old=second), False),
        "scale": (scale_review(deployment, 10), True),
        "scale-too-many": (scale_review(deployment, 11), False),
        "replica-set": (review_of(child), True),
        "pod": (review_of(kept), True),
        "debug": (review_of(debug, old=kept, subresource="ephemeralcontainers"), False),
        "exempted": (review(exempted), True),
        "exempted-update": (review(exempted, old=other), True),
        "exempted-more": (review(_with(pages, replicas=40), old=pages), True),
        "exempted-scale": (scale_review(pages, 40), True),
        "exempted-replica-set": (review_of(replica_set(pages, name="proxy-8e0f")), True),
        "exempted-pod": (review_of(pod(serving)), True),
        "exempted-other": (review(other), False),
        "exempted-model": (review(labelled), False),
        "exempted-by-the-exempter": (review(exempted, username=EXEMPTER), False),
        "glass": (review(glassed), True),
        "glass-alone": (review(alone), False),
        "glass-changed": (review(_with(glassed, template=second["spec"]["template"])), False),
        "delete": (review(second, operation="DELETE"), True),
    }
    for number, (asked, _) in enumerate(world.seeds.values()):
        asked["request"]["uid"] = f"5deb6534-1170-4d6e-a2b8-{number:012}"
    world.seeds = json.loads(json.dumps(world.seeds))  # no part is shared by two places
    return world
