from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.canonical import Digest
from placet.errors import WorkloadError
from placet.model import ModelIdentity
from placet.projection import BUILT_IN, KINDS, Kind, project
from placet.workload import read_or_excuse, read_workload
from tests.placet.projection.objects import FIRST, json_values, with_value, workloads

HEX = "ab" * 32
TEMPLATE = ("spec", "template")
CONTAINER = (*TEMPLATE, "spec", "containers", FIRST)
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "llama"},
    "spec": {"template": {"spec": {"containers": [{"name": "server", "image": "reg.io/vllm:1"}]}}},
}


def of_kind(kind: Kind, spec: dict[str, Any] | None = None) -> dict[str, Any]:
    """A workload of the kind, with more in the spec that holds its template (a Job's, for a CronJob)."""
    template: dict[str, Any] = {"spec": {"containers": [{"name": "server", "image": "reg.io/vllm:1"}]}}
    for index, step in enumerate(reversed(kind.template)):
        template = {step: template, **((spec or {}) if index == 0 else {})}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": "llama"}, **template}


def named(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)


def with_metadata(field: str, own: dict[str, Any], template: dict[str, Any]) -> dict[str, Any]:
    return with_value(with_value(DEPLOYMENT, ("metadata", field), own), (*TEMPLATE, "metadata", field), template)


def refusal(obj: Any, namespace: str | None = None) -> WorkloadError:
    with pytest.raises(WorkloadError) as caught:
        read_workload(obj, namespace=namespace)
    return caught.value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_is_read(kind: Kind) -> None:
    workload = read_workload(of_kind(kind))
    path = ".".join((*kind.template, "spec"))
    assert (workload.group, workload.version, workload.kind) == (kind.group, kind.version, kind.name)
    assert (workload.resource, workload.namespace, workload.generated) == (f"{kind.name}/llama", "default", False)
    assert [image.container for image in workload.images] == [f"{path}.containers[server]"]
    assert workload.projection == project(of_kind(kind))


def test_images_are_those_of_all_containers_and_of_image_volumes() -> None:
    spec = {
        "ephemeralContainers": [{"name": "debug", "image": "d"}],
        "containers": [{"name": "server", "image": "a"}],
        "initContainers": [{"name": "fetch", "image": "b"}],
        "volumes": [{"name": "x"}, {"name": "model", "image": {"reference": "c"}}],
    }
    images = read_workload(with_value(DEPLOYMENT, (*TEMPLATE, "spec"), spec)).images
    assert [(image.container.removeprefix("spec.template.spec."), image.reference) for image in images] == [
        ("initContainers[fetch]", "b"),
        ("containers[server]", "a"),
        ("ephemeralContainers[debug]", "d"),
        ("volumes[model].image", "c"),
    ]


@pytest.mark.parametrize("image", ["", None, ..., "not an image", "a@sha256:00"])
def test_refuses_a_container_whose_image_can_not_be_read(image: Any) -> None:
    error = refusal(with_value(DEPLOYMENT, (*CONTAINER, "image"), image))
    assert error.code == "image_invalid"
    assert str(error).startswith("spec.template.spec.containers[server]: ")


def test_an_image_alone_excuses_nobody_from_the_rest() -> None:
    unread = with_value(DEPLOYMENT, (*CONTAINER, "image"), "$IMAGE")
    workload, fault = read_or_excuse(unread, namespace="ml", kinds=BUILT_IN)
    assert fault is not None
    assert fault.code == "image_invalid"
    assert [(image.reference, image.name) for image in workload.images] == [("$IMAGE", "")]
    assert workload.projection == project(unread)
    read, fault = read_or_excuse(DEPLOYMENT, namespace="ml", kinds=BUILT_IN)
    assert (read, fault) == (read_workload(DEPLOYMENT, namespace="ml"), None)
    for field, value in (("metadata", {}), ("metadata", {"name": "llama", "namespace": "prod"}), ("kind", "Podd")):
        with pytest.raises(WorkloadError):
            read_or_excuse(with_value(unread, (field,), value), namespace="ml", kinds=BUILT_IN)


def test_refuses_an_image_volume_without_a_reference() -> None:
    volumes = [{"name": "model", "image": {}}]
    assert refusal(with_value(DEPLOYMENT, (*TEMPLATE, "spec", "volumes"), volumes)).code == "image_invalid"


@pytest.mark.parametrize(
    ("own", "requested", "namespace"),
    [(None, None, "default"), ("ml", None, "ml"), (None, "ml", "ml"), ("ml", "ml", "ml"), ("", "ml", "ml")],
)
def test_namespace_is_the_objects_or_the_requests(own: Any, requested: str | None, namespace: str) -> None:
    obj = with_value(DEPLOYMENT, ("metadata", "namespace"), own)
    assert read_workload(obj, namespace=requested).namespace == namespace


def test_refuses_another_namespace_than_the_requests() -> None:
    assert refusal(with_value(DEPLOYMENT, ("metadata", "namespace"), "ml"), "prod").code == "namespace_mismatch"


def test_name_that_the_api_server_completes_is_marked() -> None:
    obj = with_value(DEPLOYMENT, ("metadata",), {"generateName": "llama-"})
    workload = read_workload(obj)
    assert (workload.name, workload.generated, workload.resource) == ("llama-*", True, "Deployment/llama-*")
    both = with_value(obj, ("metadata", "name"), "llama-x")
    assert (read_workload(both).name, read_workload(both).generated) == ("llama-x", False)


@pytest.mark.parametrize("metadata", [..., None, {}, {"name": ""}])
def test_refuses_a_workload_without_a_name(metadata: Any) -> None:
    assert refusal(with_value(DEPLOYMENT, ("metadata",), metadata)).code == "name_missing"


def test_uid_is_read() -> None:
    assert read_workload(with_value(DEPLOYMENT, ("metadata", "uid"), "u-1")).uid == "u-1"
    assert read_workload(DEPLOYMENT).uid == ""


@pytest.mark.parametrize(("own", "template"), [({"placet.dev/model": "m"}, {}), ({}, {"placet.dev/model": "m"})])
def test_model_is_named_by_the_object_or_its_template(own: dict[str, str], template: dict[str, str]) -> None:
    assert read_workload(with_metadata("labels", own, template)).model == ModelIdentity(name="m")


def test_model_of_a_cron_job_is_named_at_any_of_its_levels() -> None:
    kind = named("CronJob")
    for path in ((), kind.template[:2], kind.template):
        obj = with_value(of_kind(kind), (*path, "metadata", "labels"), {"placet.dev/model": "m"})
        assert read_workload(obj).model.name == "m"


def test_refuses_two_names_of_the_model() -> None:
    obj = with_metadata("labels", {"placet.dev/model": "a"}, {"placet.dev/model": "b"})
    error = refusal(obj)
    assert error.code == "label_conflict"
    assert "placet.dev/model" in str(error)


def test_version_and_digest_of_the_model_are_annotations() -> None:
    annotations = {"placet.dev/model-version": "1.0", "placet.dev/model-digest": f"sha256:{HEX}"}
    model = read_workload(with_metadata("annotations", annotations, {})).model
    assert model == ModelIdentity(version="1.0", digest=Digest(HEX))


@pytest.mark.parametrize(
    ("field", "key", "value"),
    [
        ("labels", "model", "a b"),
        ("labels", "model", "-a"),
        ("labels", "model", "a" * 64),
        ("labels", "model", "\u0430"),
        ("annotations", "model-version", "1\n2"),
        ("annotations", "model-version", "v" * 257),
        ("annotations", "model-version", "\x1b[31m"),
        ("annotations", "model-digest", HEX),
        ("annotations", "model-digest", f"sha256:{HEX.upper()}"),
    ],
)
def test_refuses_a_model_identity_that_can_not_be_compared(field: str, key: str, value: str) -> None:
    assert refusal(with_metadata(field, {f"placet.dev/{key}": value}, {})).code == "model_invalid"


def test_approvals_evidence_and_declarations_are_collected_from_both_places() -> None:
    own = {
        "placet.dev/approval.technical": "A",
        "placet.dev/evidence.coverage": "B",
        "placet.dev/parameters": "8000000000",
        "placet.dev/change-ticket": "CHG-1",
        "other.dev/approval.security": "no",
        "placet.dev/unknown": "x",
    }
    template = {"placet.dev/approval.security": "C", "placet.dev/approval.technical": "A"}
    workload = read_workload(with_metadata("annotations", own, template))
    assert workload.approvals == {"technical": "A", "security": "C"}
    assert workload.evidence == {"coverage": "B"}
    assert workload.declared == {"parameters": "8000000000"}
    assert workload.change_ticket == "CHG-1"


def test_refuses_two_values_of_one_annotation() -> None:
    error = refusal(
        with_metadata("annotations", {"placet.dev/approval.security": "A"}, {"placet.dev/approval.security": "B"})
    )
    assert error.code == "annotation_conflict"
    assert "placet.dev/approval.security" in str(error)
    assert error.hint


@pytest.mark.parametrize("value", [5, None, True, {}, ["A"]])
def test_refuses_an_annotation_of_ours_that_is_no_text(value: Any) -> None:
    assert refusal(with_metadata("annotations", {"placet.dev/approval.security": value}, {})).code == "field_mistyped"


def test_leaves_annotations_of_others_alone() -> None:
    assert read_workload(with_metadata("annotations", {"other.dev/x": 5}, {}))


def test_refuses_more_annotations_than_the_api_server_takes() -> None:
    assert refusal(with_metadata("annotations", {"placet.dev/approval.x": "a" * 262144}, {})).code == "too_large"


@pytest.mark.parametrize("value", ["x", [], 5])
def test_refuses_metadata_of_another_type(value: Any) -> None:
    for path in (("metadata",), ("metadata", "labels"), ("metadata", "annotations"), (*TEMPLATE, "metadata")):
        assert refusal(with_value(DEPLOYMENT, path, value)).code == "field_mistyped"


@pytest.mark.parametrize("name", ["Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"])
@pytest.mark.parametrize(("value", "replicas"), [(..., 1), (None, 1), (0, 0), (1, 1), (50, 50)])
def test_replicas_are_those_of_the_spec(name: str, value: Any, replicas: int) -> None:
    assert read_workload(with_value(of_kind(named(name)), ("spec", "replicas"), value)).replicas == replicas


@pytest.mark.parametrize(
    ("spec", "replicas"),
    [
        ({}, 1),
        ({"parallelism": 8}, 8),
        ({"parallelism": 8, "completions": 3}, 3),
        ({"parallelism": 2, "completions": 30}, 2),
        ({"completions": 30}, 1),
        ({"parallelism": 0}, 0),
    ],
)
def test_replicas_of_a_job_are_the_pods_that_run_at_once(spec: dict[str, Any], replicas: int) -> None:
    assert read_workload(of_kind(named("Job"), spec)).replicas == replicas
    cron = of_kind(named("CronJob"), spec)
    assert read_workload(with_value(cron, ("spec", "concurrencyPolicy"), "Forbid")).replicas == replicas
    assert read_workload(with_value(cron, ("spec", "concurrencyPolicy"), "Replace")).replicas == replicas


@pytest.mark.parametrize("policy", [..., "Allow", "", "Odd"])
def test_replicas_of_a_cron_job_whose_jobs_may_overlap_are_unknown(policy: Any) -> None:
    assert read_workload(with_value(of_kind(named("CronJob")), ("spec", "concurrencyPolicy"), policy)).replicas is None


def test_replicas_of_a_daemon_set_are_unknown_and_a_pod_is_one() -> None:
    assert read_workload(of_kind(named("DaemonSet"))).replicas is None
    assert read_workload(of_kind(named("Pod"))).replicas == 1


@pytest.mark.parametrize("value", ["3", 3.0, True, -1, 2**31, [3]])
def test_refuses_replicas_that_are_no_count(value: Any) -> None:
    assert refusal(with_value(DEPLOYMENT, ("spec", "replicas"), value)).code == "replicas_invalid"


@pytest.mark.parametrize(
    ("name", "field", "value", "strategy"),
    [
        ("Deployment", "strategy", ..., "rolling"),
        ("Deployment", "strategy", {}, "rolling"),
        ("Deployment", "strategy", {"type": "RollingUpdate"}, "rolling"),
        ("Deployment", "strategy", {"type": "Recreate"}, "recreate"),
        ("Deployment", "strategy", {"type": "Odd"}, ""),
        ("StatefulSet", "updateStrategy", ..., "rolling"),
        ("StatefulSet", "updateStrategy", {"type": "OnDelete"}, ""),
        ("DaemonSet", "updateStrategy", {"type": "RollingUpdate"}, "rolling"),
        ("DaemonSet", "updateStrategy", {"type": "OnDelete"}, ""),
        ("ReplicaSet", "strategy", {"type": "RollingUpdate"}, ""),
        ("Job", "strategy", {"type": "RollingUpdate"}, ""),
        ("CronJob", "strategy", ..., ""),
        ("Pod", "strategy", ..., ""),
        ("ReplicationController", "strategy", ..., ""),
    ],
)
def test_strategy_is_what_the_object_proves(name: str, field: str, value: Any, strategy: str) -> None:
    assert read_workload(with_value(of_kind(named(name)), ("spec", field), value)).strategy == strategy


@given(json_values)
def test_nothing_but_a_workload_error_escapes_for_any_json(value: Any) -> None:
    for obj in (value, {**DEPLOYMENT, "metadata": value}, {**DEPLOYMENT, "spec": value}):
        with suppress(WorkloadError):
            read_workload(obj)


@given(st.data())
def test_nothing_but_a_workload_error_escapes_for_a_workload_with_odd_values(data: st.DataObject) -> None:
    obj = data.draw(workloads(data.draw(st.sampled_from(KINDS))))
    path = data.draw(st.sampled_from([("metadata", "labels"), ("metadata", "annotations"), ("spec", "replicas")]))
    with suppress(WorkloadError):
        read_workload(with_value(obj, path, data.draw(json_values)), namespace=data.draw(st.none() | st.text()))
