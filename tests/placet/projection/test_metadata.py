"""What containers get of a pod's metadata: which keys, which values, from where, and which are left out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from placet.errors import WorkloadError
from placet.projection import KINDS, Kind, project, project_child

APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
BOTH = ("metadata.labels", "metadata.annotations")
BY_NAME = {kind.name: kind for kind in KINDS}


def workload(kind: str, *paths: str, metadata: Any = None, **spec: Any) -> dict[str, Any]:
    """Containers of all three lists, and one file a path."""
    items = [{"path": f"p{number}", "fieldRef": {"fieldPath": path}} for number, path in enumerate(paths)]
    content: dict[str, Any] = {
        "containers": [{"name": "server", "image": "a"}],
        "initContainers": [{"name": "prepare"}],
        "ephemeralContainers": [{"name": "debug"}],
        "volumes": [{"name": "about", "downwardAPI": {"items": items}}],
        **spec,
    }
    found = BY_NAME[kind]
    holder: dict[str, Any] = {"spec": content, **({} if metadata is None else {"metadata": metadata})}
    for step in reversed(found.template):
        holder = {step: holder}
    return {"apiVersion": found.api_version, "kind": kind, **holder}


def pod_of(obj: dict[str, Any]) -> dict[str, Any]:
    (found,) = json.loads(project(obj).canonical)["podTemplates"]
    assert isinstance(found, dict)
    return found


def values(obj: dict[str, Any]) -> Any:
    return pod_of(obj).get("fieldValues")


def refusal(obj: dict[str, Any]) -> WorkloadError:
    with pytest.raises(WorkloadError) as caught:
        project(obj)
    return caught.value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_values_are_those_of_the_metadata_beside_the_pod_spec(kind: Kind) -> None:
    metadata = {"labels": {"app": "x", "other": "y"}, "annotations": {"a/b": "", "c": "d"}}
    paths = ("metadata.labels['app']", "metadata.annotations['a/b']", "metadata.annotations['gone']", "metadata.name")
    obj = workload(kind.name, *paths, metadata=metadata)
    assert values(obj) == {"metadata.labels['app']": "x", "metadata.annotations['a/b']": ""}
    assert values(workload(kind.name, *BOTH, metadata=metadata)) == {
        "metadata.labels": metadata["labels"],
        "metadata.annotations": metadata["annotations"],
    }


@pytest.mark.parametrize("field", ["containers", "initContainers", "ephemeralContainers"])
def test_variables_of_all_containers_are_looked_through(field: str) -> None:
    env = [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}}]
    obj = workload("Deployment", metadata={"labels": {"app": "x"}}, **{field: [{"name": "one", "env": env}]})
    if field != "containers":
        assert obj["spec"]["template"]["spec"]["containers"]
    assert values(obj) == {"metadata.labels['app']": "x"}


@pytest.mark.parametrize("metadata", [None, {}, {"labels": None}, {"labels": {}}, {"labels": {"other": "x"}}, [], "x"])
def test_member_is_absent_where_nothing_is_read(metadata: Any) -> None:
    assert "fieldValues" not in pod_of(workload("Deployment", "metadata.name", "metadata.labelsx", metadata=metadata))
    if not isinstance(metadata, list | str):
        assert values(workload("Deployment", "metadata.labels['app']", metadata=metadata)) is None


@pytest.mark.parametrize(
    ("metadata", "path", "where"),
    [
        ([], "metadata.labels", "spec.template.metadata"),
        ("x", "metadata.labels['a']", "spec.template.metadata"),
        ({"labels": []}, "metadata.labels['a']", "spec.template.metadata.labels"),
        ({"labels": ["a"]}, "metadata.labels", "spec.template.metadata.labels"),
        ({"labels": {"a": 5}}, "metadata.labels['a']", "spec.template.metadata.labels[a]"),
        ({"labels": {"a": None}}, "metadata.labels['a']", "spec.template.metadata.labels[a]"),
        ({"annotations": {"a": 5}}, "metadata.annotations", "spec.template.metadata.annotations[a]"),
        ({"annotations": {"\x1b": 5}}, "metadata.annotations", "spec.template.metadata.annotations[?]"),
    ],
)
def test_refuses_metadata_of_another_type_where_it_is_read(metadata: Any, path: str, where: str) -> None:
    error = refusal(workload("Deployment", path, metadata=metadata))
    assert (error.code, str(error).partition(": ")[0]) == ("field_mistyped", where)


def test_refuses_more_entries_than_are_read() -> None:
    many = {"annotations": {f"k{number}": "" for number in range(2001)}}
    assert refusal(workload("Deployment", "metadata.annotations", metadata=many)).code == "too_many"


@pytest.mark.parametrize(
    ("key", "value", "left_out"),
    [
        ("kubectl.kubernetes.io/last-applied-configuration", "{}", True),
        ("kubectl.kubernetes.io/restartedAt", "2026-11-22T12:00:00Z", True),
        ("kubectl.kubernetes.io/restartedAt", "2026-11-22T12:00:00.123456789-07:30", True),
        ("kubectl.kubernetes.io/restartedAt", "2026-13-22T12:00:00Z", False),
        ("kubectl.kubernetes.io/restartedAt", "2026-11-22T12:00:00Z\n", False),
        ("kubectl.kubernetes.io/restartedAt", "2026-11-22T12:00:00.1234567890Z", False),
        ("kubectl.kubernetes.io/restartedAt", "", False),
        ("placet.dev/approval.security", "x", True),
        ("placet.dev/evidence.tests", "x", True),
        ("placet.dev/model-version", "x", False),
        ("pod-template-hash", "an annotation, which no controller writes", False),
    ],
)
def test_whole_annotations_are_without_what_comes_and_goes(key: str, value: str, left_out: bool) -> None:
    obj = workload("Deployment", "metadata.annotations", metadata={"annotations": {key: value}})
    assert values(obj) == (None if left_out else {"metadata.annotations": {key: value}})
    alone = workload("Deployment", f"metadata.annotations['{key}']", metadata={"annotations": {key: value}})
    assert values(alone) == {f"metadata.annotations['{key}']": value}


WRITTEN = [
    ("Deployment", "labels", ["pod-template-hash"]),
    ("ReplicaSet", "labels", ["pod-template-hash"]),
    ("DaemonSet", "labels", ["controller-revision-hash", "pod-template-generation"]),
    (
        "StatefulSet",
        "labels",
        ["controller-revision-hash", "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"],
    ),
    *(
        (
            kind,
            "labels",
            [
                "batch.kubernetes.io/job-name",
                "batch.kubernetes.io/controller-uid",
                "batch.kubernetes.io/job-completion-index",
                "job-name",
                "controller-uid",
            ],
        )
        for kind in ("Job", "CronJob")
    ),
    ("Job", "annotations", ["batch.kubernetes.io/job-completion-index"]),
    ("Pod", "annotations", ["kubernetes.io/limit-ranger"]),
]
FORMS = {
    "batch.kubernetes.io/job-completion-index": "7",
    "kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu, memory request for container server; cpu limit for x",
}


@pytest.mark.parametrize(("kind", "field", "keys"), WRITTEN)
def test_keys_that_a_controller_writes_are_left_out_of_its_kind_and_of_pods(
    kind: str, field: str, keys: list[str]
) -> None:
    metadata = {field: dict.fromkeys(keys, "v")}
    made = {field: {key: FORMS.get(key, "v") for key in keys}}
    paths = [f"metadata.{field}['{key}']" for key in keys]
    assert kind == "Pod" or values(workload(kind, f"metadata.{field}", *paths, metadata=metadata)) is None
    assert values(workload("Pod", f"metadata.{field}", *paths, metadata=made)) is None
    # Nobody writes over it there: it would run as it stands.
    assert values(workload("ReplicationController", *paths, metadata=metadata)) == dict.fromkeys(paths, "v")


@pytest.mark.parametrize("key", sorted(FORMS))
def test_an_annotation_that_a_controller_would_not_write_so_counts_in_a_pod(key: str) -> None:
    path = f"metadata.annotations['{key}']"
    metadata = {"annotations": {key: "v"}}
    assert values(workload("Pod", path, metadata=metadata)) == {path: "v"}


@pytest.mark.parametrize("kind", ["ReplicaSet", "DaemonSet", "StatefulSet", "Job", "ReplicationController"])
def test_pod_projects_as_its_parent_with_the_keys_of_its_controller(kind: str) -> None:
    own = {"labels": {"app": "x"}, "annotations": {"note": "y"}}
    added = {key: "v" for name, field, keys in WRITTEN if name == kind and field == "labels" for key in keys}
    parent = workload(kind, *BOTH, metadata=own)
    metadata = {
        "labels": {**own["labels"], **added},
        "annotations": {**own["annotations"], "kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu"},
    }
    assert project_child(workload("Pod", *BOTH, metadata=metadata), parent) == project(parent)
    metadata["labels"]["app"] = "z"
    assert project_child(workload("Pod", *BOTH, metadata=metadata), parent) != project(parent)


PROFILES = [
    ("runtime/default", {"type": "RuntimeDefault"}),
    ("unconfined", {"type": "Unconfined"}),
    ("localhost/a/b", {"type": "Localhost", "localhostProfile": "a/b"}),
]
LISTS = [("containers", "server"), ("initContainers", "prepare"), ("ephemeralContainers", "debug")]


@pytest.mark.parametrize(("annotation", "profile"), PROFILES)
@pytest.mark.parametrize(("field", "name"), LISTS)
@pytest.mark.parametrize("kind", ["Pod", "Deployment", "CronJob"])
def test_apparmor_annotation_equals_the_field(kind: str, field: str, name: str, annotation: str, profile: Any) -> None:
    context = {"runAsUser": 5}
    bare = {field: [{"name": name, "securityContext": context}]}
    full = {field: [{"name": name, "securityContext": {**context, "appArmorProfile": profile}}]}
    annotated = {"annotations": {f"{APPARMOR}{name}": annotation}}
    expected = project(workload(kind, **full))
    assert project(workload(kind, metadata=annotated, **bare)) == expected != project(workload(kind, **bare))
    assert project(workload(kind, metadata={"annotations": {f"{APPARMOR}{name}": "unconfined"}}, **full)) == expected


def test_apparmor_annotation_that_says_what_the_pod_says_is_not_said_again() -> None:
    pod_level = {"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}
    for annotation, same in (("runtime/default", True), ("unconfined", False)):
        annotated = workload("Pod", metadata={"annotations": {f"{APPARMOR}server": annotation}}, **pod_level)
        assert (project(annotated) == project(workload("Pod", **pod_level))) is same


@pytest.mark.parametrize("annotations", [None, [], {f"{APPARMOR}other": "x"}, {f"{APPARMOR}server": ""}, {APPARMOR: 5}])
def test_apparmor_annotation_that_says_nothing_changes_nothing(annotations: Any) -> None:
    assert project(workload("Pod", metadata={"annotations": annotations})) == project(workload("Pod"))


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("hunter2", "field_invalid"),
        ("localhost/", "field_invalid"),
        ("RuntimeDefault", "field_invalid"),
        (" unconfined", "field_invalid"),
        ("docker/default", "field_invalid"),
        (5, "field_mistyped"),
        ([], "field_mistyped"),
    ],
)
def test_refuses_an_apparmor_annotation_that_is_no_profile(value: Any, code: str) -> None:
    error = refusal(workload("Deployment", metadata={"annotations": {f"{APPARMOR}server": value}}))
    assert error.code == code
    assert str(error).startswith(f"spec.template.metadata.annotations[{APPARMOR}server]: must be ")
    assert "hunter2" not in str(error)
