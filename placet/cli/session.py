"""What ``plan``, ``score`` and ``approve`` share: the gate as the webhook would build it, without a record to write."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from placet.assemble import build_gate, build_trust
from placet.canonical import Digest
from placet.cli.trust_options import config_option
from placet.cluster import Ceiling, ClusterFacts, KubernetesCluster, ManifestCluster, NoAutoscalers, UnknownCluster
from placet.config import Config, load_config
from placet.decide import Deadline, Gate, History, NoHistory
from placet.decision import Decision
from placet.errors import InputError
from placet.manifests import Manifest, load_manifests
from placet.projection.kinds import KINDS
from placet.record import StoredHistory
from placet.review import AdmissionRequest, GroupVersionKind

DECISION_BUDGET_S: Final = 30.0
_WORKLOAD_KINDS: Final = frozenset(kind.name for kind in KINDS)
_F = TypeVar("_F", bound=Callable[..., Any])


def situation_options(function: _F) -> _F:
    """Options of every command that judges manifests."""
    options = (
        click.option(
            "-f", "--filename", "filenames", multiple=True, required=True, help="A file, a folder or - (repeatable)."
        ),
        click.option("-e", "--environment", required=True, help="Where it is going: production, staging, development."),
        click.option("-n", "--namespace", help="The namespace of objects that name none.", default="default"),
        config_option,
        click.option(
            "--record", type=click.Path(path_type=Path), help="A record, to know whether the model was here before."
        ),
        click.option(
            "--kubeconfig", type=click.Path(path_type=Path), help="An API server, to know how far autoscalers may go."
        ),
        click.option("--as", "requester", default="", help="Who will apply it, as the cluster knows them."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Session:
    """A gate for the command line.

    Attributes:
        config: as loaded.
        gate: the gate; it writes no record.
        environment: a name, not yet checked.
        requester: "" when not given.
        manifests: the workloads among what was given, in order; non-empty.
        assumptions: sentences that say what was assumed for want of a record or an API server.
    """

    config: Config
    gate: Gate
    environment: str
    requester: str
    manifests: tuple[Manifest, ...]
    namespace: str
    assumptions: tuple[str, ...]

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
            namespace=str(metadata.get("namespace", self.namespace)),
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
    *,
    filenames: Sequence[str],
    environment: str,
    namespace: str,
    config_file: Path,
    record: Path | None,
    kubeconfig: Path | None,
    requester: str,
) -> Session:
    """Load everything that a judgement on the command line needs.

    Raises:
        PlacetError: a file can't be used, or holds no workload.
    """
    config = load_config(config_file)
    manifests = load_manifests(filenames)
    workloads = tuple(manifest for manifest in manifests if manifest.object.get("kind") in _WORKLOAD_KINDS)
    if not workloads:
        raise InputError(
            f"no workload in {', '.join(filenames)}",
            hint="placet judges Pods, Deployments, StatefulSets, DaemonSets, ReplicaSets, ReplicationControllers, "
            "Jobs and CronJobs.",
        )
    history, cluster_facts, assumptions = _sources(config, record, kubeconfig, requester, manifests, namespace)
    gate = build_gate(
        config,
        trust=build_trust(config),
        recorder=None,
        history=history,
        cluster_facts=cluster_facts,
        clock=lambda: datetime.now(UTC),
    )
    gate.settings(environment)
    return Session(config, gate, environment, requester, workloads, namespace, assumptions)


def _sources(
    config: Config,
    record: Path | None,
    kubeconfig: Path | None,
    requester: str,
    manifests: Sequence[Manifest],
    namespace: str,
) -> tuple[History, ClusterFacts, tuple[str, ...]]:
    assumptions: list[str] = []
    history: History = NoHistory()
    if record is None:
        assumptions.append("the model has never run in this environment (--record asks the record)")
    else:
        if not record.is_file():
            raise InputError(f"there is no record {record}", hint="--record takes the SQLite file of a gate's record.")
        history = StoredHistory(record, cluster=config.cluster)
    cluster: ClusterFacts = UnknownCluster()
    if kubeconfig is not None:
        cluster = KubernetesCluster(str(kubeconfig))
    elif config.autoscalers == "none":
        cluster = NoAutoscalers()
    else:
        assumptions.append("an autoscaler may scale beyond 10 replicas (--kubeconfig asks the API server)")
    if not requester:
        assumptions.append("whoever applies it has not signed any of its approvals (--as names them)")
    objects = [
        {**item.object, "metadata": {"namespace": namespace, **(item.object.get("metadata") or {})}}
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
