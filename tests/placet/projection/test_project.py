"""What is one projection, what is another, and what is refused."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.canonical import Digest
from placet.errors import WorkloadError
from placet.projection import KINDS, Kind, project
from tests.golden.projection.build import golden_files
from tests.placet.projection.objects import json_values, with_value, workloads

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "llama"},
    "spec": {"template": {"spec": {"containers": [{"name": "server", "image": "a"}], "volumes": []}}},
}
SPEC = ("spec", "template", "spec")
CONTAINER = (*SPEC, "containers", "[0]")


def volumes(*found: dict[str, Any]) -> dict[str, Any]:
    return with_value(DEPLOYMENT, (*SPEC, "volumes"), list(found))


def refusal(obj: Any) -> WorkloadError:
    with pytest.raises(WorkloadError) as caught:
        project(obj)
    return caught.value


@pytest.mark.parametrize(("path", "content"), list(golden_files()), ids=lambda value: getattr(value, "name", ""))
def test_golden_projections_are_what_is_in_the_repository(path: Any, content: bytes) -> None:
    assert path.read_bytes() == content


def test_projection_is_its_schema_and_what_is_governed() -> None:
    projection = project(DEPLOYMENT)
    expected = b'{"podTemplates":[{"containers":[{"image":"a","name":"server"}]}],"schema":"placet.dev/projection/v1"}'
    assert projection.canonical == expected
    assert projection.digest == Digest.of(expected)


def test_projection_never_shows_its_bytes() -> None:
    secret = with_value(DEPLOYMENT, (*CONTAINER, "env"), [{"name": "TOKEN", "value": "hunter2"}])
    assert "hunter2" not in repr(project(secret))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_kind_and_name_are_no_part_of_it(kind: Kind) -> None:
    template: dict[str, Any] = {"spec": {"containers": [{"name": "server", "image": "a"}]}}
    for step in reversed(kind.template):
        template = {step: template}
    obj = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": "other"}, **template}
    assert project(obj).digest == project(DEPLOYMENT).digest


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@given(data=st.data())
def test_projecting_leaves_the_object_as_it_was(kind: Kind, data: st.DataObject) -> None:
    obj = data.draw(workloads(kind))
    before = copy.deepcopy(obj)
    first = project(obj)
    assert json.dumps(obj, default=str) == json.dumps(before, default=str)
    assert project(obj) == first


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("apps/v1beta1", "Deployment"),
        ("v1", "Deployment"),
        ("apps/v1", "Pod"),
        ("apps/v1", "deployment"),
        ("extensions/v1", "Deployment"),
        ("", "Deployment"),
        (None, "Deployment"),
        ("apps/v1", None),
        ("apps/v1", ["Deployment"]),
        ("v1", "ConfigMap"),
    ],
)
def test_refuses_any_other_kind_or_version(api_version: Any, kind: Any) -> None:
    assert refusal({**DEPLOYMENT, "apiVersion": api_version, "kind": kind}).code == "kind_unknown"


@pytest.mark.parametrize("obj", [None, [], "Deployment", 1])
def test_refuses_what_is_no_object(obj: Any) -> None:
    assert refusal(obj).code == "object_mistyped"


@pytest.mark.parametrize("containers", [..., None, []])
def test_refuses_a_workload_without_containers(containers: Any) -> None:
    error = refusal(with_value(DEPLOYMENT, (*SPEC, "containers"), containers))
    assert error.code == "no_containers"
    assert str(error).startswith("spec.template.spec.containers: ")


@pytest.mark.parametrize("spec", [..., None, {}])
def test_refuses_a_workload_without_a_pod(spec: Any) -> None:
    assert refusal(with_value(DEPLOYMENT, ("spec",), spec)).code == "no_containers"


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ((*CONTAINER, "image"), 5, "spec.template.spec.containers[server].image"),
        ((*CONTAINER, "image"), True, "spec.template.spec.containers[server].image"),
        ((*CONTAINER, "args"), "--model", "spec.template.spec.containers[server].args"),
        ((*CONTAINER, "args"), ["a", 5], "spec.template.spec.containers[server].args[1]"),
        ((*CONTAINER, "args"), [None], "spec.template.spec.containers[server].args[0]"),
        ((*CONTAINER, "env"), {"A": "b"}, "spec.template.spec.containers[server].env"),
        ((*CONTAINER, "env"), [{"name": "A", "value": 1}], "spec.template.spec.containers[server].env[A].value"),
        ((*CONTAINER, "securityContext"), [], "spec.template.spec.containers[server].securityContext"),
        (
            (*CONTAINER, "securityContext"),
            {"runAsUser": 1.0},
            "spec.template.spec.containers[server].securityContext.runAsUser",
        ),
        (
            (*CONTAINER, "securityContext"),
            {"runAsUser": "0"},
            "spec.template.spec.containers[server].securityContext.runAsUser",
        ),
        (
            (*CONTAINER, "securityContext"),
            {"runAsUser": True},
            "spec.template.spec.containers[server].securityContext.runAsUser",
        ),
        (
            (*CONTAINER, "securityContext"),
            {"runAsUser": 2**53},
            "spec.template.spec.containers[server].securityContext.runAsUser",
        ),
        (
            (*CONTAINER, "securityContext"),
            {"privileged": "true"},
            "spec.template.spec.containers[server].securityContext.privileged",
        ),
        (
            (*CONTAINER, "securityContext"),
            {"privileged": 1},
            "spec.template.spec.containers[server].securityContext.privileged",
        ),
        ((*SPEC, "containers"), {"name": "server"}, "spec.template.spec.containers"),
        ((*SPEC, "containers"), ["server"], "spec.template.spec.containers[0]"),
        ((*SPEC, "serviceAccount"), 5, "spec.template.spec.serviceAccount"),
        (
            (*SPEC, "volumes"),
            [{"name": "v", "csi": {"volumeAttributes": {"a": 1}}}],
            "spec.template.spec.volumes[v].csi.volumeAttributes[a]",
        ),
        (("spec", "template"), [], "spec.template"),
        (("spec",), "x", "spec"),
    ],
)
def test_refuses_a_value_of_another_type_and_says_where(path: tuple[str, ...], value: Any, where: str) -> None:
    error = refusal(with_value(DEPLOYMENT, path, value))
    assert error.code == "field_mistyped"
    assert str(error).partition(": ")[0] == where


def test_error_never_shows_the_value_nor_a_hostile_name() -> None:
    hostile = [{"name": "a\x1b[31m\nspec.x: ", "value": 987654321}]
    error = refusal(with_value(DEPLOYMENT, (*CONTAINER, "env"), hostile))
    assert str(error) == "spec.template.spec.containers[server].env[0].value: must be text, not an integer"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*SPEC, "containers"), [{"name": "a"}, {"name": "a"}]),
        ((*SPEC, "initContainers"), [{"name": "server"}]),
        ((*SPEC, "ephemeralContainers"), [{"name": "server"}]),
        ((*SPEC, "volumes"), [{"name": "a"}, {"name": "a"}]),
        ((*SPEC, "resourceClaims"), [{"name": "a"}, {"name": "a"}]),
    ],
)
def test_refuses_a_name_given_twice(path: tuple[str, ...], value: Any) -> None:
    assert refusal(with_value(DEPLOYMENT, path, value)).code == "name_duplicate"


@pytest.mark.parametrize("field", ["containers", "initContainers", "volumes", "ephemeralContainers", "resourceClaims"])
@pytest.mark.parametrize("item", [{}, {"name": ""}, {"name": None}])
def test_refuses_an_element_without_a_name(field: str, item: Any) -> None:
    assert refusal(with_value(DEPLOYMENT, (*SPEC, field), [item])).code == "name_missing"


def test_variable_given_twice_stays_twice_because_the_last_one_wins() -> None:
    one, two = {"name": "MODE", "value": "fast"}, {"name": "MODE", "value": "exact"}
    digests = {
        project(with_value(DEPLOYMENT, (*CONTAINER, "env"), env)).digest for env in ([one, two], [two, one], [two])
    }
    assert len(digests) == 3


def test_refuses_more_containers_than_are_read() -> None:
    many = [{"name": f"c{number}"} for number in range(101)]
    assert refusal(with_value(DEPLOYMENT, (*SPEC, "containers"), many)).code == "too_many"
    assert project(with_value(DEPLOYMENT, (*SPEC, "containers"), many[:100]))


def test_refuses_longer_lists_than_are_read() -> None:
    assert refusal(with_value(DEPLOYMENT, (*CONTAINER, "args"), ["a"] * 2001)).code == "too_many"


def test_refuses_text_that_has_no_canonical_form() -> None:
    assert refusal(with_value(DEPLOYMENT, (*CONTAINER, "image"), "\ud800")).code == "not_canonical"


@pytest.mark.parametrize(
    "spec", [{"serviceAccount": "x"}, {"serviceAccountName": "x"}, {"serviceAccount": "y", "serviceAccountName": "x"}]
)
def test_deprecated_service_account_stands_in_where_there_is_no_other(spec: dict[str, Any]) -> None:
    base = DEPLOYMENT["spec"]["template"]["spec"]
    expected = project(with_value(DEPLOYMENT, SPEC, {**base, "serviceAccountName": "x"})).digest
    assert project(with_value(DEPLOYMENT, SPEC, {**base, **spec})).digest == expected


@pytest.mark.parametrize("name", [[], {}, 0, False])
def test_named_service_account_of_another_type_is_refused_beside_its_twin(name: Any) -> None:
    base = DEPLOYMENT["spec"]["template"]["spec"]
    odd = {**base, "serviceAccountName": name, "serviceAccount": "x"}
    assert refusal(with_value(DEPLOYMENT, SPEC, odd)).code == "field_mistyped"


def test_named_service_account_wins_even_where_it_is_the_default() -> None:
    base = DEPLOYMENT["spec"]["template"]["spec"]
    both = {**base, "serviceAccountName": "default", "serviceAccount": "powerful"}
    assert project(with_value(DEPLOYMENT, SPEC, both)).digest == project(DEPLOYMENT).digest


def test_volume_without_a_source_is_an_empty_directory() -> None:
    assert project(volumes({"name": "v"})) == project(volumes({"name": "v", "emptyDir": {}}))
    assert project(volumes({"name": "v"})) != project(volumes({"name": "v", "downwardAPI": {}}))
    assert project(volumes({"name": "v"})) != project(volumes({"name": "v", "emptyDir": {"medium": "Memory"}}))


def test_storage_class_of_no_name_is_not_the_default_one() -> None:
    def claim(**spec: Any) -> dict[str, Any]:
        return volumes({"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {"volumeName": "p", **spec}}}})

    assert project(claim(storageClassName="")) != project(claim())


def test_empty_selinux_options_of_a_container_take_the_place_of_the_pods() -> None:
    with_options = with_value(DEPLOYMENT, (*CONTAINER, "securityContext"), {"seLinuxOptions": {}})
    assert project(with_options) != project(DEPLOYMENT)
    assert project(with_value(DEPLOYMENT, (*CONTAINER, "securityContext"), {})) == project(DEPLOYMENT)


def test_restart_policy_counts_for_init_containers_alone() -> None:
    sidecar = with_value(DEPLOYMENT, (*SPEC, "initContainers"), [{"name": "i", "restartPolicy": "Always"}])
    plain = with_value(DEPLOYMENT, (*SPEC, "initContainers"), [{"name": "i"}])
    assert project(sidecar) != project(plain)
    assert project(with_value(DEPLOYMENT, (*CONTAINER, "restartPolicy"), "Always")) == project(DEPLOYMENT)


@pytest.mark.parametrize("probe", ["livenessProbe", "readinessProbe", "startupProbe"])
def test_command_of_a_probe_counts_and_its_timing_does_not(probe: str) -> None:
    path = (*CONTAINER, probe)
    runs = with_value(DEPLOYMENT, path, {"exec": {"command": ["curl", "evil.example"]}, "periodSeconds": 5})
    later = with_value(DEPLOYMENT, path, {"exec": {"command": ["curl", "evil.example"]}, "periodSeconds": 9})
    assert project(runs) == project(later) != project(DEPLOYMENT)
    assert project(with_value(DEPLOYMENT, path, {"httpGet": {"port": 1}})) == project(DEPLOYMENT)


def test_quantities_are_compared_in_canonical_form() -> None:
    sizes = {
        project(volumes({"name": "v", "emptyDir": {"sizeLimit": size}})).digest for size in ("1024Mi", "1Gi", "1.0Gi")
    }
    assert len(sizes) == 1
    error = refusal(volumes({"name": "v", "emptyDir": {"sizeLimit": "1 GB"}}))
    assert (error.code, str(error).partition(": ")[0]) == (
        "quantity_invalid",
        "spec.template.spec.volumes[v].emptyDir.sizeLimit",
    )


STATEFUL_SET: dict[str, Any] = {
    **DEPLOYMENT,
    "kind": "StatefulSet",
    "spec": {
        **DEPLOYMENT["spec"],
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"volumeMode": "Block"}}],
    },
}


def test_claim_templates_of_a_stateful_set_are_part_of_it() -> None:
    document = json.loads(project(STATEFUL_SET).canonical)
    assert document["volumeClaimTemplates"] == [{"name": "data", "spec": {"volumeMode": "Block"}}]


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ([{"spec": {}}], "name_missing"),
        ([{"metadata": {}, "spec": {}}], "name_missing"),
        ([{"metadata": {"name": "a"}}, {"metadata": {"name": "a"}}], "name_duplicate"),
        ([{"metadata": "a"}], "field_mistyped"),
        ({"metadata": {"name": "a"}}, "field_mistyped"),
    ],
)
def test_refuses_claim_templates_that_can_not_be_told_apart(claims: Any, code: str) -> None:
    assert refusal(with_value(STATEFUL_SET, ("spec", "volumeClaimTemplates"), claims)).code == code


@given(json_values)
def test_nothing_but_a_workload_error_escapes_for_any_json(value: Any) -> None:
    for obj in (value, {"apiVersion": "apps/v1", "kind": "Deployment", "spec": value}):
        try:
            project(obj)
        except WorkloadError as error:
            assert error.code != "workload_invalid"


@given(st.data())
def test_nothing_but_a_workload_error_escapes_for_a_workload_with_one_odd_value(data: st.DataObject) -> None:
    obj = data.draw(workloads(data.draw(st.sampled_from(KINDS))))
    paths = list(_paths(obj))
    target, key = data.draw(st.sampled_from(paths))
    target[key] = data.draw(json_values)
    try:
        projection = project(obj)
    except WorkloadError as error:
        assert str(error)
    else:
        assert projection.digest == Digest.of(projection.canonical)


def _paths(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in list(items):
        yield value, key
        yield from _paths(child)
