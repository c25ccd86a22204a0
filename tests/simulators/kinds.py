"""Custom resources of the shipped registry: one workload each, and what may and may not be changed in it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from placet.policy.data import load_policy_data

MANIFESTS: Final = Path(__file__).parents[1] / "data" / "kinds"
KINDS: Final = load_policy_data(None).kinds
OTHER_IMAGE: Final = "registry.example.com/other@sha256:" + "0" * 64
_OTHER_ENV: Final = [{"name": "HF_HUB_OFFLINE", "value": "0"}]

Json = dict[str, Any]
Change = tuple[str, Any]


@dataclass(frozen=True)
class Case:
    """A workload of one kind.

    Attributes:
        name: of its manifest.
        governed: changes that need another approval: where, and to what. ``[0]`` is an element of a list.
        ungoverned: changes that need none.
        images: how many images it names.
        replicas: its ceiling; None where it can't be known.
    """

    name: str
    governed: tuple[Change, ...]
    ungoverned: tuple[Change, ...]
    images: int = 1
    replicas: int | None = None

    def load(self) -> Json:
        """The manifest."""
        loaded: Json = yaml.safe_load((MANIFESTS / f"{self.name}.yaml").read_text(encoding="utf-8"))
        return loaded


def changed(obj: Json, change: Change) -> Json:
    """A copy with a value at a path; ``...`` takes it away."""
    path, value = change
    result = copy.deepcopy(obj)
    current: Any = result
    *steps, last = path.replace("[", ".[").split(".")
    for step in steps:
        current = current[int(step[1:-1])] if step.startswith("[") else current.setdefault(step, {})
    if last.startswith("["):
        current[int(last[1:-1])] = value
    elif value is ...:
        del current[last]
    else:
        current[last] = value
    return result


def _pod(path: str) -> tuple[Change, ...]:
    first = f"{path}.containers[0]"
    return (
        (f"{first}.image", OTHER_IMAGE),
        (f"{first}.env", _OTHER_ENV),
        (f"{first}.command", ["/bin/sh"]),
        (f"{path}.hostNetwork", True),
        (f"{path}.initContainers", [{"name": "fetch", "image": OTHER_IMAGE}]),
    )


def _sizes(path: str) -> tuple[Change, ...]:
    return (
        (f"{path}.containers[0].resources", {"limits": {"nvidia.com/gpu": 2}}),
        (f"{path}.nodeSelector", {"gpu": "h100"}),
        (f"{path}.containers[0].imagePullPolicy", "Always"),
    )


def _ray(cluster: str) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    head, spare = f"{cluster}.headGroupSpec", f"{cluster}.workerGroupSpecs[1]"
    governed = (
        *_pod(f"{head}.template.spec"),
        *_pod(f"{spare}.template.spec"),
        (f"{head}.rayStartParams.dashboard-host", "127.0.0.1"),
        (f"{cluster}.rayVersion", "2.9.0"),
    )
    ungoverned = (*_sizes(f"{head}.template.spec"), *_sizes(f"{spare}.template.spec"), (f"{spare}.replicas", 0))
    return governed, ungoverned


def _kubeflow(part: str, first: str) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    template = f"spec.{part}.Worker.template.spec"
    return (
        (*_pod(template), *_pod(f"spec.{part}.{first}.template.spec")),
        (*_sizes(template), (f"spec.{part}.Worker.replicas", 1)),
    )


_PREDICTOR: Final = "spec.predictor"
CASES: Final = (
    Case(
        "inferenceservice",
        (
            (f"{_PREDICTOR}.model.storageUri", "s3://models/other"),
            (f"{_PREDICTOR}.model.env", _OTHER_ENV),
            (f"{_PREDICTOR}.model.image", OTHER_IMAGE),
            (f"{_PREDICTOR}.model.args", ["--trust-remote-code"]),
            (f"{_PREDICTOR}.model.runtime", "other"),
            (f"{_PREDICTOR}.model.modelFormat.name", "sklearn"),
            (f"{_PREDICTOR}.serviceAccountName", "other"),
            (f"{_PREDICTOR}.containers", [{"name": "helper", "image": OTHER_IMAGE}]),
        ),
        (
            (f"{_PREDICTOR}.maxReplicas", 1),
            (f"{_PREDICTOR}.model.resources", {"limits": {"nvidia.com/gpu": 2}}),
            (f"{_PREDICTOR}.nodeSelector", {"gpu": "h100"}),
        ),
        images=0,
        replicas=2,
    ),
    Case(
        "inferenceservice-custom",
        (*_pod(_PREDICTOR), *_pod("spec.transformer")),
        (*_sizes(_PREDICTOR), (f"{_PREDICTOR}.minReplicas", 2)),
        images=2,
        replicas=3,
    ),
    Case(
        "llminferenceservice",
        (("spec.model.uri", "hf://other/model"), *_pod("spec.template"), ("spec.baseRefs", [{"name": "other"}])),
        (*_sizes("spec.template"), ("spec.replicas", 1)),
        replicas=2,
    ),
    Case(
        "inferencegraph",
        (
            ("spec.nodes.root.steps[0].serviceName", "other"),
            ("spec.nodes.root.steps[1]", {"serviceUrl": "http://other", "data": "$request"}),
        ),
        (("spec.maxReplicas", 1), ("spec.nodeSelector", {"gpu": "h100"})),
        images=0,
        replicas=2,
    ),
    Case(
        "servingruntime",
        (*(one for one in _pod("spec") if "init" not in one[0] and "host" not in one[0]), ("spec.hostIPC", True)),
        _sizes("spec"),
    ),
    Case(
        "rayservice",
        (*_ray("spec.rayClusterConfig")[0], ("spec.serveConfigV2", "applications: []\n")),
        _ray("spec.rayClusterConfig")[1],
        images=3,
        replicas=4,
    ),
    Case("raycluster", *_ray("spec"), images=3, replicas=4),
    Case(
        "rayjob",
        (*_ray("spec.rayClusterSpec")[0], ("spec.entrypoint", "curl evil")),
        (*_ray("spec.rayClusterSpec")[1], ("spec.ttlSecondsAfterFinished", 61)),
        images=3,
        replicas=5,
    ),
    Case(
        "leaderworkerset",
        (
            *_pod("spec.leaderWorkerTemplate.leaderTemplate.spec"),
            *_pod("spec.leaderWorkerTemplate.workerTemplate.spec"),
        ),
        (*_sizes("spec.leaderWorkerTemplate.workerTemplate.spec"), ("spec.replicas", 1)),
        images=2,
        replicas=4,
    ),
    Case(
        "nimservice",
        (
            ("spec.image.repository", "registry.example.com/other"),
            ("spec.image.tag", f"1.8.5@sha256:{'0' * 64}"),
            ("spec.env", [{"name": "NIM_LOG_LEVEL", "value": "DEBUG"}]),
            ("spec.storage.nimCache.name", "other"),
            ("spec.command", ["/bin/sh"]),
        ),
        (("spec.resources", {"limits": {"nvidia.com/gpu": 2}}), ("spec.nodeSelector", {"gpu": "h100"})),
        replicas=1,
    ),
    Case(
        "nimpipeline",
        (
            ("spec.services[1].spec.image.repository", "registry.example.com/other"),
            ("spec.services[0].spec.env", [{"name": "NIM_LOG_LEVEL", "value": "DEBUG"}]),
            ("spec.services[1].spec.storage.nimCache.name", "other"),
            ("spec.services[0].spec.command", ["/bin/sh"]),
            ("spec.services[1].enabled", False),
        ),
        (
            ("spec.services[0].spec.resources", {"limits": {"nvidia.com/gpu": 2}}),
            ("spec.services[1].spec.nodeSelector", {"gpu": "h100"}),
            ("spec.services[1].spec.replicas", 0),
        ),
        images=2,
        replicas=3,
    ),
    Case(
        "kubeai-model",
        (
            ("spec.url", "hf://other/model"),
            ("spec.image", OTHER_IMAGE),
            ("spec.args", ["--trust-remote-code"]),
            ("spec.env", {"VLLM_LOGGING_LEVEL": "DEBUG"}),
            ("spec.adapters", [{"name": "tone", "url": "hf://other/tone"}]),
            ("spec.files", [{"path": "/etc/profile", "content": "curl evil"}]),
        ),
        (("spec.minReplicas", 0), ("spec.targetRequests", 50)),
        replicas=3,
    ),
    Case(
        "kaito-workspace",
        (*_pod("inference.template.spec"), ("inference.preset", {"name": "other"})),
        (*_sizes("inference.template.spec"), ("resource.count", 1)),
        replicas=2,
    ),
    Case(
        "kaito-preset",
        (
            ("inference.preset.name", "other"),
            ("inference.preset.presetOptions.image", OTHER_IMAGE),
            ("inference.adapters[0].source.image", OTHER_IMAGE),
            ("resource.instanceType", "Standard_NC96ads_A100_v4"),
        ),
        (("resource.count", 1),),
        replicas=1,
    ),
    Case(
        "stormservice",
        (
            *_pod("spec.template.spec.roles[0].template.spec"),
            *_pod("spec.template.spec.roles[1].template.spec"),
            ("spec.template.spec.roles[1].stateful", False),
        ),
        (
            *_sizes("spec.template.spec.roles[1].template.spec"),
            ("spec.template.spec.roles[0].replicas", 1),
            ("spec.replicas", 2),
        ),
        images=2,
    ),
    Case(
        "rayclusterfleet",
        (
            *_pod("spec.template.spec.headGroupSpec.template.spec"),
            *_pod("spec.template.spec.workerGroupSpecs[0].template.spec"),
            ("spec.template.spec.rayVersion", "2.9.0"),
        ),
        (*_sizes("spec.template.spec.workerGroupSpecs[0].template.spec"), ("spec.replicas", 2)),
        images=2,
    ),
    Case(
        "disaggregatedset",
        (
            *_pod("spec.roles[0].spec.leaderWorkerTemplate.workerTemplate.spec"),
            *_pod("spec.roles[1].spec.leaderWorkerTemplate.workerTemplate.spec"),
        ),
        (
            *_sizes("spec.roles[1].spec.leaderWorkerTemplate.workerTemplate.spec"),
            ("spec.roles[0].spec.replicas", 1),
            ("spec.slices", 2),
        ),
        images=2,
    ),
    Case(
        "knative-service",
        (
            *(one for one in _pod("spec.template.spec") if "host" not in one[0] and "init" not in one[0]),
            ("spec.template.metadata.annotations", {"autoscaling.knative.dev/max-scale": "30"}),
            ("spec.template.spec.containerConcurrency", 100),
        ),
        (("spec.template.spec.containers[0].resources", {"limits": {"nvidia.com/gpu": 2}}),),
    ),
    Case(
        "volcano-job",
        (*_pod("spec.tasks[0].template.spec"), ("spec.plugins", {"ssh": []}), ("spec.schedulerName", "other")),
        (*_sizes("spec.tasks[0].template.spec"), ("spec.tasks[0].replicas", 1), ("spec.minAvailable", 2)),
        replicas=2,
    ),
    Case("kruise-daemonset", _pod("spec.template.spec"), _sizes("spec.template.spec")),
    Case(
        "scaledjob",
        (*_pod("spec.jobTargetRef.template.spec"), ("spec.triggers[0].metadata.queueName", "other")),
        (*_sizes("spec.jobTargetRef.template.spec"), ("spec.maxReplicaCount", 2)),
        replicas=6,
    ),
    Case(
        "rollout",
        (*_pod("spec.template.spec"), ("spec.strategy", {"blueGreen": {"activeService": "llama"}})),
        (*_sizes("spec.template.spec"), ("spec.replicas", 1), ("spec.paused", True)),
        replicas=2,
    ),
    Case(
        "jobset",
        (
            *_pod("spec.replicatedJobs[0].template.spec.template.spec"),
            *_pod("spec.replicatedJobs[1].template.spec.template.spec"),
        ),
        (*_sizes("spec.replicatedJobs[1].template.spec.template.spec"), ("spec.suspend", True)),
        images=2,
        replicas=5,
    ),
    Case(
        "trainjob",
        (
            ("spec.trainer.image", OTHER_IMAGE),
            ("spec.trainer.command", ["/bin/sh"]),
            ("spec.trainer.env", [{"name": "EPOCHS", "value": "2"}]),
            ("spec.initializer.model.storageUri", "hf://other/model"),
            ("spec.runtimeRef.name", "other"),
        ),
        (("spec.trainer.resourcesPerNode", {"limits": {"nvidia.com/gpu": 2}}), ("spec.suspend", True)),
        replicas=2,
    ),
    Case(
        "trainingruntime",
        _pod("spec.template.spec.replicatedJobs[0].template.spec.template.spec"),
        (*_sizes("spec.template.spec.replicatedJobs[0].template.spec.template.spec"), ("spec.mlPolicy.numNodes", 2)),
    ),
    Case("pytorchjob", *_kubeflow("pytorchReplicaSpecs", "Master"), images=2, replicas=3),
    Case("tfjob", *_kubeflow("tfReplicaSpecs", "Chief"), images=2, replicas=3),
    Case("mpijob", *_kubeflow("mpiReplicaSpecs", "Launcher"), images=2, replicas=3),
    Case(
        "seldon-model",
        (("spec.storageUri", "gs://models/other"), ("spec.requirements", ["xgboost"])),
        (("spec.memory", "200Ki"), ("spec.maxReplicas", 1)),
        images=0,
        replicas=2,
    ),
)


def changes() -> Iterator[tuple[Case, Change, bool]]:
    """Every change of every case, and whether it is governed."""
    for case in CASES:
        yield from ((case, change, True) for change in case.governed)
        yield from ((case, change, False) for change in case.ungoverned)
