"""The built-in workload kinds, and where each keeps its pod template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from placet.errors import WorkloadError
from placet.projection.pods import CLAIM_TEMPLATE, POD_SPEC, POD_TEMPLATE
from placet.projection.shapes import Record, Records, Shape, kind_of

_OBJECT: Final = frozenset({"apiVersion", "kind", "metadata", "status"})


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of workload.

    Attributes:
        group: API group, "" for core.
        version: API version.
        name: the kind's name.
        record: its fields, from the root of the object.
        template: steps from the object to its pod template; () where the object is a pod itself.
    """

    group: str
    version: str
    name: str
    record: Record
    template: tuple[str, ...]

    @property
    def api_version(self) -> str:
        """``apps/v1``, or ``v1`` for core."""
        return f"{self.group}/{self.version}" if self.group else self.version


def _rooted(definition: str, spec: Shape) -> Record:
    return Record(definition, {"spec": spec}, _OBJECT)


def _templated(definition: str, *ungoverned: str, **governed: Shape) -> Record:
    return Record(definition, {"template": POD_TEMPLATE, **governed}, frozenset(ungoverned))


_REPLICATED: Final = ("minReadySeconds", "replicas", "selector")
_JOB_SPEC: Final = _templated(
    "batch.v1.JobSpec",
    "activeDeadlineSeconds",
    "backoffLimit",
    "backoffLimitPerIndex",
    "completionMode",
    "completions",
    "managedBy",
    "manualSelector",
    "maxFailedIndexes",
    "parallelism",
    "podFailurePolicy",
    "podReplacementPolicy",
    "scheduling",
    "selector",
    "successPolicy",
    "suspend",
    "ttlSecondsAfterFinished",
)
_CRON_JOB_SPEC: Final = Record(
    "batch.v1.CronJobSpec",
    {"jobTemplate": Record("batch.v1.JobTemplateSpec", {"spec": _JOB_SPEC}, frozenset({"metadata"}))},
    frozenset(
        {
            "concurrencyPolicy",
            "failedJobsHistoryLimit",
            "schedule",
            "startingDeadlineSeconds",
            "successfulJobsHistoryLimit",
            "suspend",
            "timeZone",
        }
    ),
)
_DEPLOYMENT_SPEC: Final = _templated(
    "apps.v1.DeploymentSpec",
    *_REPLICATED,
    "paused",
    "progressDeadlineSeconds",
    "revisionHistoryLimit",
    "strategy",
)
_STATEFUL_SET_SPEC: Final = _templated(
    "apps.v1.StatefulSetSpec",
    *_REPLICATED,
    "ordinals",
    "persistentVolumeClaimRetentionPolicy",
    "podManagementPolicy",
    "revisionHistoryLimit",
    "serviceName",
    "updateStrategy",
    volumeClaimTemplates=Records(CLAIM_TEMPLATE),
)
_DAEMON_SET_SPEC: Final = _templated(
    "apps.v1.DaemonSetSpec", "minReadySeconds", "revisionHistoryLimit", "selector", "updateStrategy"
)

_TEMPLATE: Final = ("spec", "template")
KINDS: Final = (
    Kind("", "v1", "Pod", _rooted("core.v1.Pod", POD_SPEC), ()),
    Kind(
        "",
        "v1",
        "ReplicationController",
        _rooted("core.v1.ReplicationController", _templated("core.v1.ReplicationControllerSpec", *_REPLICATED)),
        _TEMPLATE,
    ),
    Kind("apps", "v1", "Deployment", _rooted("apps.v1.Deployment", _DEPLOYMENT_SPEC), _TEMPLATE),
    Kind("apps", "v1", "StatefulSet", _rooted("apps.v1.StatefulSet", _STATEFUL_SET_SPEC), _TEMPLATE),
    Kind("apps", "v1", "DaemonSet", _rooted("apps.v1.DaemonSet", _DAEMON_SET_SPEC), _TEMPLATE),
    Kind(
        "apps",
        "v1",
        "ReplicaSet",
        _rooted("apps.v1.ReplicaSet", _templated("apps.v1.ReplicaSetSpec", *_REPLICATED)),
        _TEMPLATE,
    ),
    Kind("batch", "v1", "Job", _rooted("batch.v1.Job", _JOB_SPEC), _TEMPLATE),
    Kind(
        "batch",
        "v1",
        "CronJob",
        _rooted("batch.v1.CronJob", _CRON_JOB_SPEC),
        ("spec", "jobTemplate", "spec", "template"),
    ),
)
_BY_NAME: Final = {(kind.api_version, kind.name): kind for kind in KINDS}


def find_kind(obj: Mapping[str, Any]) -> Kind | None:
    """The object's kind where it is one of ours, None where it is not; apiVersion and kind must match exactly."""
    api_version, name = obj.get("apiVersion"), obj.get("kind")
    if not isinstance(api_version, str) or not isinstance(name, str):
        return None
    return _BY_NAME.get((api_version, name))


def require_kind(obj: Mapping[str, Any]) -> Kind:
    """The object's kind.

    Raises:
        WorkloadError: code ``kind_unknown``.
    """
    if not isinstance(obj, dict):
        raise WorkloadError(f"the object must be an object, not {kind_of(obj)}", code="object_mistyped")
    kind = find_kind(obj)
    if kind is None:
        known = ", ".join(f"{kind.api_version} {kind.name}" for kind in KINDS)
        api_version, name = _clipped(obj.get("apiVersion")), _clipped(obj.get("kind"))
        raise WorkloadError(
            f"apiVersion {api_version} with kind {name} is no workload that is known",
            code="kind_unknown",
            hint=f"Workloads are: {known}.",
        )
    return kind


def _clipped(value: Any) -> str:
    return repr(value[:64]) if isinstance(value, str) else kind_of(value)
