"""What ``plan``, ``score`` and ``approve`` share: the gate as the webhook would build it, without a record to write."""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from placet.approvals.revocations import KeptRevocations
from placet.assemble import build_gate, build_trust, find_readable_persons, load_policies
from placet.audit.location import StoreLocation, is_here
from placet.breakglass.record import Glass, NoGlass, StoredGlass
from placet.canonical import Digest
from placet.cli import clock
from placet.cli.workloads import Source, no_workload
from placet.cluster import Ceiling, ClusterFacts, KubernetesCluster, ManifestCluster, NoAutoscalers, UnknownCluster
from placet.config import Config, load_config
from placet.decide import Deadline, Gate, History, NoHistory
from placet.decision import Decision
from placet.errors import InputError
from placet.manifests import Manifest
from placet.policy.data import PolicyData
from placet.policy.wasm import EmbeddedEngine
from placet.projection import Kinds
from placet.review import AdmissionRequest, GroupVersionKind
from placet.revoked import load_recorded
from placet.stored_history import StoredHistory

DECISION_BUDGET_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Session:
    """A gate for the command line.

    Attributes:
        config: as loaded.
        gate: the gate; it writes no record.
        environment: a name, not yet checked.
        requester: "" when not given.
        manifests: the workloads among what was given, in order; non-empty.
        namespace: of objects that name none.
        kinds: what counts as a workload.
        assumptions: sentences that say what was assumed for want of a record or an API server.
        glass: what the record knows of break-glass.
        data: policy data.
    """

    config: Config
    gate: Gate
    environment: str
    requester: str
    manifests: tuple[Manifest, ...]
    namespace: str
    kinds: Kinds
    assumptions: tuple[str, ...]
    glass: Glass
    data: PolicyData

    def request(self, manifest: Manifest) -> AdmissionRequest:
        """What the API server would ask about this manifest, were it created now."""
        metadata = manifest.object.get("metadata", {})
        group, _, version = str(manifest.object.get("apiVersion", "")).rpartition("/")
        return AdmissionRequest(
            uid=str(uuid.uuid4()),
            kind=GroupVersionKind(group, version, str(manifest.object.get("kind", ""))),
            subresource="",
            operation="CREATE",
            name=str(metadata.get("name", "")),
            namespace=str(metadata.get("namespace") or self.namespace),
            username=self.requester,
            groups=(),
            object=manifest.object,
            old_object=None,
            dry_run=True,
            digest=Digest.of(b""),
        )

    def decide(self, manifest: Manifest) -> Decision:
        """The decision that the webhook would come to."""
        return self.gate.decide(
            self.request(manifest), environment=self.environment, deadline=Deadline(DECISION_BUDGET_S)
        )


def open_session(
    source: Source,
    *,
    environment: str | None,
    config_file: Path,
    record: StoreLocation | None,
    requester: str,
    adapt: Callable[[PolicyData], PolicyData] | None = None,
    effective_time: datetime | None = None,
) -> Session:
    """Load everything that a judgement on the command line needs.

    Args:
        source: what to judge.
        environment: where it is going; None for what the namespace's label says.
        config_file: the gate's configuration.
        record: a gate's record, or None.
        requester: "" when not known.
        adapt: makes the policy data that are judged by of those of the configuration. The engine is then always the
            one in this process: an OPA server that was given other data would stop judging for the gate.
        effective_time: the day whose rules are tried; None for today's.

    Raises:
        PlacetError: a file can't be used, or holds no workload.
    """
    config = load_config(config_file)
    environment = source.environment(environment)
    data, _ = load_policies(config, now=clock.now_utc())
    data = (data if adapt is None else adapt(data)).at_time(effective_time)
    _require_known(environment, data.value["environments"])
    manifests = source.load()
    workloads = tuple(manifest for manifest in manifests if data.kinds.may_be_workload(manifest.object))
    if not workloads:
        raise no_workload(source.names())
    history, cluster_facts, assumptions = _sources(config, record, source, requester, manifests)
    persons = None if record is None else find_readable_persons(config)
    glass = NoGlass() if record is None else StoredGlass(record, cluster=config.cluster, persons=persons)
    gate = build_gate(
        config,
        data=data,
        # A server that others ask as well is never given other data or another day.
        engine=None if adapt is None and effective_time is None else _own_engine(data),
        trust=build_trust(config, kept=_recorded(config, record)),
        recorder=None,
        history=history,
        cluster_facts=cluster_facts,
        clock=lambda: datetime.now(UTC),
        glass=glass,
    )
    return Session(
        config, gate, environment, requester, workloads, source.namespace, data.kinds, assumptions, glass, data
    )


def _own_engine(data: PolicyData) -> EmbeddedEngine:
    engine = EmbeddedEngine.default(data)
    engine.prepare()
    return engine


def _recorded(config: Config, record: StoreLocation | None) -> KeptRevocations:
    """What was once revoked, by the record that is named, else by the configuration's where it is on this machine."""
    store = record or config.store
    return KeptRevocations(load_recorded(store, cluster=config.cluster) if record or is_here(store) else ())


def _require_known(environment: str, known: Collection[str]) -> None:
    if environment not in known:
        close = difflib.get_close_matches(environment, known, n=1)
        meant = f"Did you mean {close[0]}? " if close else ""
        raise InputError(
            f"the policy data has no environment {environment[:80]}",
            hint=f"{meant}Known are {', '.join(sorted(known))}.",
        )


def _sources(
    config: Config, record: StoreLocation | None, source: Source, requester: str, manifests: Sequence[Manifest]
) -> tuple[History, ClusterFacts, tuple[str, ...]]:
    assumptions: list[str] = []
    history: History = NoHistory()
    if record is None:
        assumptions.append("the model has never run in this environment (--record asks the record)")
    else:
        if not is_here(record):
            raise InputError(
                f"there is no record {record}",
                hint="--record takes the SQLite file of a gate's record.",
            )
        history = StoredHistory(record, cluster=config.cluster)
    cluster: ClusterFacts = UnknownCluster()
    if source.cluster is not None:
        cluster = KubernetesCluster(source.cluster.files, context=source.cluster.context or None)
    elif config.autoscalers == "none":
        cluster = NoAutoscalers()
    else:
        assumptions.append("an autoscaler may scale beyond 10 replicas (--kubeconfig asks the API server)")
    if not requester:
        assumptions.append("whoever applies it has not signed any of its approvals (--as names them)")
    objects = [
        {**item.object, "metadata": {"namespace": source.namespace, **(item.object.get("metadata") or {})}}
        for item in manifests
    ]
    return history, _Planned(cluster, ManifestCluster(objects)), tuple(assumptions)


@dataclass(frozen=True, slots=True)
class _Planned:
    """Autoscalers of the cluster, and those that are about to be applied with the workload."""

    cluster: ClusterFacts
    planned: ManifestCluster

    def autoscaler_ceiling(self, *, namespace: str, kind: str, name: str) -> Ceiling:
        now = self.cluster.autoscaler_ceiling(namespace=namespace, kind=kind, name=name)
        soon = self.planned.autoscaler_ceiling(namespace=namespace, kind=kind, name=name)
        if not (now.known and soon.known):
            return Ceiling(known=False)
        found = [ceiling.replicas for ceiling in (now, soon) if ceiling.replicas is not None]
        return Ceiling(known=True, replicas=max(found, default=None))
