"""Custom resources: what the shipped registry governs in each kind, and what is refused."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.errors import FormatError, WorkloadError
from placet.projection import BUILT_IN, explain_difference, parse_kinds, project, redact
from placet.workload import read_workload
from tests.placet.projection.objects import json_values
from tests.simulators.kinds import CASES, KINDS, Case, Change, Json, changed, changes

ENTRY: Json = {
    "group": "example.com",
    "kind": "Server",
    "resource": "servers",
    "versions": ["v1", "v1beta1"],
    "pod_templates": ["spec.groups[].template"],
    "containers": ["spec.server"],
    "images": ["spec.image"],
    "ungoverned": ["spec.groups[].replicas", "spec.hosts"],
    "defaults": [{"path": "spec.mode", "value": "fast"}, {"path": "spec.count", "value": 1}],
    "metadata": ["example.com/"],
    "replicas": [{"at": "spec.groups[]", "count": ["replicas"], "absent": 1, "times": ["hosts"]}],
}
SERVER: Json = {
    "apiVersion": "example.com/v1",
    "kind": "Server",
    "metadata": {"name": "s"},
    "spec": {"groups": [{"template": {"spec": {"containers": [{"name": "a", "image": "a"}]}}}], "server": {}},
}


def named(case: Any) -> str:
    return case.name if isinstance(case, Case) else case[0] if isinstance(case, tuple) else str(case)


def registry(**changes: Any) -> Any:
    return parse_kinds({"servers.example.com": {**ENTRY, **changes}})


def digest(obj: Json, **entry: Any) -> str:
    return str(project(obj, kinds=registry(**entry)).digest)


def refusal(obj: Json, **entry: Any) -> WorkloadError:
    with pytest.raises(WorkloadError) as caught:
        read_workload(obj, kinds=registry(**entry))
    return caught.value


@pytest.mark.parametrize("case", CASES, ids=named)
def test_each_kind_of_the_registry_is_read(case: Case) -> None:
    workload = read_workload(case.load(), kinds=KINDS)
    assert (len(workload.images), workload.replicas) == (case.images, case.replicas)
    assert workload.model.name == "llama"
    assert workload.resource == f"{case.load()['kind']}/llama"


@pytest.mark.parametrize(("case", "change", "governed"), list(changes()), ids=named)
def test_a_change_counts_where_it_is_governed_and_nowhere_else(case: Case, change: Change, governed: bool) -> None:
    before = case.load()
    after = changed(before, change)
    assert after != before
    assert (project(after, kinds=KINDS) != project(before, kinds=KINDS)) is governed


@pytest.mark.parametrize("case", CASES, ids=named)
@settings(max_examples=25)
@given(data=st.data())
def test_an_unknown_member_counts_wherever_it_is_put(case: Case, data: st.DataObject) -> None:
    obj = case.load()
    before = project(obj, kinds=KINDS)
    parts = [obj[name] for name in obj if name not in {"apiVersion", "kind", "metadata"}]
    holders = list(_objects(parts, ()))
    holder, _ = data.draw(st.sampled_from(holders))
    holder["neverHeardOf"] = data.draw(json_values.filter(lambda value: value is not None))
    try:
        assert project(obj, kinds=KINDS) != before
    except WorkloadError:
        return  # refused counts too


def _objects(value: Any, path: tuple[str, ...]) -> Any:
    """Every object but sizes and the metadata of pods, which are not governed."""
    if isinstance(value, dict) and path[-1:] not in {("limits",), ("requests",), ("metadata",)}:
        yield value, path
        for name, item in value.items():
            yield from _objects(item, (*path, name))
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item, path)


@given(value=json_values)
def test_reading_gives_a_projection_or_a_workload_error(value: Any) -> None:
    for path in ("spec", "spec.groups", "spec.server", "spec.image", "spec.groups[0].template", "metadata"):
        try:
            workload = read_workload(changed(SERVER, (path, value)), kinds=registry())
        except WorkloadError:
            continue
        assert json.loads(workload.projection.canonical)["form"] == "example.com/v1 Server"


def test_versions_of_one_entry_have_one_projection_and_another_version_is_unknown() -> None:
    assert digest(SERVER) == digest({**SERVER, "apiVersion": "example.com/v1beta1"})
    assert digest(SERVER) != digest(SERVER, versions=["v1beta1", "v1"])
    error = refusal({**SERVER, "apiVersion": "example.com/v2"})
    assert error.code == "kind_unknown"
    assert "example.com/v1, example.com/v1beta1" in error.hint


def test_without_a_registry_a_custom_resource_is_unknown() -> None:
    with pytest.raises(WorkloadError) as caught:
        project(SERVER, kinds=BUILT_IN)
    assert caught.value.code == "kind_unknown"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.labels", {"team": "x"}),
        ("metadata.annotations", {"placet.dev/approval.security": "x"}),
        ("status", {"replicas": 5}),
        ("spec.hosts", 3),
        ("spec.hosts", ["a", "b"]),
        ("spec.hosts", None),
        ("spec.mode", "fast"),
        ("spec.count", 1.0),
        ("spec.groups[0].replicas", 7),
        ("spec.groups[0].template.metadata", {"labels": {"team": "x"}, "creationTimestamp": None}),
        ("spec.groups[0].template.spec.dnsPolicy", "ClusterFirst"),
        ("spec.groups[0].template.spec.containers[0].securityContext", {}),
        ("spec.server.resources", {"limits": {"cpu": 1}}),
    ],
)
def test_what_is_not_governed_or_equals_absence_changes_nothing(path: str, value: Any) -> None:
    assert digest(changed(SERVER, (path, value))) == digest(SERVER)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data", {"x": 1}),
        ("spec.hosts", {"template": {"spec": {}}}),
        ("spec.hosts", [{"image": "evil"}]),
        ("spec.groups[0].replicas", {"a": 1}),
        ("spec.mode", "slow"),
        ("spec.count", True),
        ("spec.count", "1"),
        ("spec.extra", None),
        ("spec.extra", {}),
        ("spec.server.extra", ""),
        ("metadata.annotations", {"example.com/run-as": "root"}),
        ("metadata.labels", {"example.com/x": "y"}),
        ("spec.groups[0].template.metadata", {"annotations": {"example.com/run-as": "root"}}),
        ("metadata.annotations", {"container.apparmor.security.beta.kubernetes.io/a": "unconfined"}),
        ("spec.groups[0].template.spec.containers[0].neverHeardOf", 1),
        ("spec.groups[0].template.more", {"spec": {}}),
    ],
)
def test_what_nobody_named_is_governed(path: str, value: Any) -> None:
    entry = {**ENTRY, "replicas": [{"at": "spec", "absent": 1}]}
    assert digest(changed(SERVER, (path, value)), **entry) != digest(SERVER, **entry)


def test_numbers_are_compared_by_value() -> None:
    assert digest(changed(SERVER, ("spec.x", 2))) == digest(changed(SERVER, ("spec.x", 2.0)))
    spelt: list[Any] = [2, 2.5, "2.5", True, {"number": "2.5"}, None]
    assert len({digest(changed(SERVER, ("spec.x", value))) for value in spelt}) == len(spelt)
    assert refusal(changed(SERVER, ("spec.x", {"$number": "2.5"}))).code == "field_invalid"
    assert refusal(changed(SERVER, ("spec.x", float("nan")))).code == "field_mistyped"
    assert refusal(changed(SERVER, ("spec.x", 2**53))).code == "not_canonical"


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        ("spec.groups", {"0": {}}, "spec.groups: must be a list"),
        ("spec.groups", "x", "spec.groups: must be a list"),
        ("spec.groups[0]", "x", "spec.groups[0]: must be an object"),
        ("spec.groups[0].template", ["x"], "spec.groups[0].template: must be an object"),
        ("spec.server", [], "spec.server: must be an object"),
        ("spec.server.image", 5, "spec.server.image: must be text"),
        ("spec.image", {"tag": "x"}, "spec.image: must be an image"),
        ("spec.groups[0].replicas", "3", "spec.groups[0].replicas: must be an integer"),
        ("spec.groups[0].replicas", 2.5, "spec.groups[0].replicas: must be an integer"),
        ("spec.groups[0].replicas", -1, "spec.groups[0].replicas: must be an integer"),
        ("metadata.labels", ["x"], "metadata.labels: must be an object"),
    ],
)
def test_another_type_where_the_registry_expects_something_is_refused(path: str, value: Any, place: str) -> None:
    assert str(refusal(changed(SERVER, (path, value)))).startswith(place)


def test_field_references_have_the_metadata_governed_that_they_read() -> None:
    env = [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['mode']"}}}]
    obj = changed(SERVER, ("spec.groups[0].template.spec.containers[0].env", env))
    beside = changed(obj, ("spec.groups[0].template.metadata", {"labels": {"mode": "a"}}))
    above = changed(obj, ("metadata.labels", {"mode": "a"}))
    assert len({digest(obj), digest(beside), digest(above)}) == 3
    forged = changed(obj, ("spec.groups[0].template.spec.fieldValues", {"metadata.labels['mode']": "a"}))
    assert digest(forged) not in {digest(obj), digest(beside), digest(above)}


def test_the_second_template_of_a_list_counts_and_names_are_given_once() -> None:
    group = copy.deepcopy(SERVER["spec"]["groups"][0])
    two = changed(SERVER, ("spec.groups", [group, group]))
    other = changed(two, ("spec.groups[1].template.spec.containers[0].image", "b"))
    assert len({digest(SERVER), digest(two), digest(other)}) == 3
    twice = changed(SERVER, ("spec.groups[0].template.spec.containers", [{"name": "a"}, {"name": "a"}]))
    assert refusal(twice).code == "name_duplicate"


def test_replicas_add_up_and_are_unknown_without_their_bound() -> None:
    bound = [{"at": "spec.groups[]", "count": ["most"], "bound": "most"}, {"at": "spec.server", "absent": 1}]
    for group, replicas in (({"most": 3}, 4), ({"most": 0}, None), ({}, None)):
        assert read_workload(changed(SERVER, ("spec.groups", [group])), kinds=registry(replicas=bound)).replicas == (
            replicas
        )
    many = changed(SERVER, ("spec.groups", [{"replicas": 2**31 - 1, "hosts": 5}] * 2))
    assert read_workload(many, kinds=registry()).replicas == 2**31 - 1
    silent = {name: value for name, value in ENTRY.items() if name != "replicas"}
    assert read_workload(SERVER, kinds=parse_kinds({"s": silent})).replicas is None


def test_what_could_be_a_secret_is_hidden() -> None:
    obj = changed(SERVER, ("spec.env", {"TOKEN": "hunter2"}))
    obj = changed(obj, ("spec.server.env", [{"name": "TOKEN", "value": "hunter2"}]))
    obj = changed(obj, ("spec.runtimeEnvYAML", "env_vars: {TOKEN: hunter2}"))
    obj = changed(obj, ("spec.serveConfigV2", "env_vars: {TOKEN: hunter2}"))
    before, after = (project(one, kinds=registry()).canonical for one in (SERVER, obj))
    assert b"hunter2" in after
    assert "hunter2" not in json.dumps(redact(after))
    told = (*explain_difference(before, after), *explain_difference(after, before))
    assert not any("hunter2" in line for line in told)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"ungoverned": ["spec"]}, "would leave out everything"),
        ({"ungoverned": ["metadata.labels"]}, "lies in metadata"),
        ({"ungoverned": ["status.x"]}, "lies in status"),
        ({"ungoverned": ["spec..x"]}, "is no path"),
        ({"ungoverned": ["spec.[]"]}, "is no path"),
        ({"ungoverned": ["spec.groups[].template"]}, "is named in pod_templates too"),
        ({"ungoverned": ["spec.groups[].template.spec"]}, "is read with spec.groups[].template already"),
        ({"ungoverned": ["spec.groups[].template.spec.containers[].image"]}, "is read with"),
        ({"ungoverned": ["spec.server.image"]}, "is read with spec.server already"),
        ({"ungoverned": ["spec.server.env[].value"]}, "is read with spec.server already"),
        ({"ungoverned": ["spec.image.tag"]}, "lies inside of it"),
        ({"ungoverned": ["spec.x", "spec.x.y"]}, "lies inside of it"),
        ({"ungoverned": ["spec.groups{}.x"]}, "can't stand at one place"),
        ({"whole": ["spec.groups.x"]}, "can't stand at one place"),
        ({"defaults": [{"path": "spec.groups[]", "value": 1}]}, "names no member"),
        ({"defaults": [{"path": "spec.server.image", "value": "a"}]}, "is read with spec.server already"),
        ({"group": "apps"}, "group of built-in kinds"),
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(entry: Json, fault: str) -> None:
    with pytest.raises(FormatError) as caught:
        registry(**entry)
    assert fault in str(caught.value)
    assert str(caught.value).startswith("kinds.servers.example.com.")


def test_two_entries_for_one_kind_are_refused() -> None:
    with pytest.raises(FormatError) as caught:
        parse_kinds({"a": ENTRY, "b": {**ENTRY, "versions": ["v1beta1"]}})
    assert "is that of a too" in str(caught.value)


def test_a_place_in_a_pod_may_be_governed_as_it_stands() -> None:
    entry = {"whole": ["spec.server.resources"]}
    sized = changed(SERVER, ("spec.server.resources", {"limits": {"cpu": 1}}))
    assert digest(sized, **entry) != digest(SERVER, **entry)
