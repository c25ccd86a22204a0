"""What controllers of custom resources add, and what their children are held against: registry data."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings

from placet.errors import FormatError, WorkloadError
from placet.policy.data import load_policy_data
from placet.projection import Kinds, parse_kinds, project, project_made, project_templates
from placet.projection.children import Additions, Children, as_asked_for, find_additions, find_templates
from placet.workload import read_workload
from tests.placet.projection.objects import json_values
from tests.simulators.controllers import job_of, leaders_of, replica_set_of
from tests.simulators.kinds import CASES, KINDS, Json, changed

MADE: Json = {"kind": "ReplicaSet", "templates": ["spec.template"], "count": ["spec.replicas"], "absent": 1}
CHILDREN: Json = {
    "made": [MADE],
    "written": ["example.com/index"],
    "variables": [
        {"name": "LEADER", "forms": ["{name}-{number}.{namespace}", "{name}"]},
        {"name": "HOSTS", "forms": ["{name}-{number}"], "separator": ","},
    ],
    "claims": "spec.claims[]",
}
ENTRY: Json = {
    "group": "example.com",
    "kind": "Server",
    "resource": "servers",
    "versions": ["v1"],
    "pod_templates": ["spec.template"],
    "ungoverned": ["spec.replicas", "spec.loose"],
    "children": CHILDREN,
}
SERVER: Json = {
    "apiVersion": "example.com/v1",
    "kind": "Server",
    "metadata": {"name": "s", "namespace": "ml"},
    "spec": {
        "replicas": 2,
        "claims": [{"metadata": {"name": "weights"}}],
        "template": {"spec": {"containers": [{"name": "a", "image": "a", "env": [{"name": "B", "value": "1"}]}]}},
    },
}


def children(**changes: Any) -> Children:
    (kind,) = kinds(**changes).custom
    assert kind.children is not None
    return kind.children


def kinds(**changes: Any) -> Kinds:
    return parse_kinds({"servers.example.com": {**ENTRY, "children": {**CHILDREN, **changes}}})


def additions(**changes: Any) -> Additions:
    return find_additions(SERVER, children(**changes), name="s", namespace="ml")


def child(**changes: Any) -> Json:
    template = copy.deepcopy(SERVER["spec"]["template"])
    for path, value in changes.items():
        template = changed(template, (path.replace("__", "."), value))
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {}, "spec": {"template": template}}


def with_variables(*variables: Json) -> Json:
    found = child()
    found["spec"]["template"]["spec"]["containers"][0]["env"] = [*variables, {"name": "B", "value": "1"}]
    return found


@pytest.mark.parametrize(
    ("name", "value", "added"),
    [
        ("LEADER", "s-0.ml", True),
        ("LEADER", "s", True),
        ("LEADER", "s-00.ml", False),
        ("LEADER", "s-1000000000.ml", False),
        ("LEADER", "s-0.mlx", False),
        ("LEADER", "s-0xml", False),
        ("LEADER", "s-0.ml\n", False),
        ("LEADER", "", False),
        ("HOSTS", "s-0,s-1,s-2", True),
        ("HOSTS", "s-0,s-1,", False),
        ("HOSTS", "s-0,evil", False),
        ("OTHER", "s", False),
    ],
)
def test_a_variable_is_taken_off_in_a_declared_form_alone(name: str, value: str, added: bool) -> None:
    plain = project(child()).digest
    assert (project_made(with_variables({"name": name, "value": value}), additions()).digest == plain) == added


def test_a_variable_that_reads_something_else_counts() -> None:
    source = {"fieldRef": {"fieldPath": "metadata.name"}}
    made = with_variables({"name": "LEADER", "valueFrom": source})
    assert project_made(made, additions()) == project(made)


@pytest.mark.parametrize(
    ("volume", "added"),
    [
        ({"name": "weights", "persistentVolumeClaim": {"claimName": "weights-s"}}, True),
        ({"name": "weights", "persistentVolumeClaim": {"claimName": "weights-t"}}, False),
        ({"name": "other", "persistentVolumeClaim": {"claimName": "other-s"}}, False),
        ({"name": "weights", "hostPath": {"path": "/"}}, False),
    ],
)
def test_a_claim_is_taken_off_under_its_own_name_alone(volume: Json, added: bool) -> None:
    made = project_made(child(spec__volumes=[volume]), additions())
    assert (made == project(child())) == added


@pytest.mark.parametrize(
    ("field", "value", "counts"),
    [
        ("labels", "7", False),
        ("annotations", "7", False),
        ("annotations", "two words", True),
        ("annotations", "a\nb", True),
        ("annotations", "-", True),
    ],
)
def test_a_key_that_is_written_over_is_one_word_where_a_container_reads_it(
    field: str, value: str, counts: bool
) -> None:
    path = f"metadata.{field}['example.com/index']"
    made = with_variables({"name": "I", "valueFrom": {"fieldRef": {"fieldPath": path}}})
    asked = project_made(made, as_asked_for(additions()))
    made["spec"]["template"]["metadata"] = {field: {"example.com/index": value}}
    assert (project_made(made, additions()) != asked) == counts
    # What an author wrote there is written over, and never runs.
    assert project_made(made, as_asked_for(additions())) == asked


@pytest.mark.parametrize(
    ("made", "most"),
    [
        ({}, 2),
        ({"count": ["spec.replicas", "spec.other"]}, 2),
        ({"count": ["spec.nothing"], "absent": 7}, 7),
        ({"less": 1}, 1),
        ({"less": 5}, 0),
        ({"surge": {"at": "spec.rollout", "member": "surge", "absent": 3}}, 2),
        ({"surge": {"at": "spec", "member": "surge", "absent": 3}}, 5),
        ({"surge": {"at": "spec", "member": "surge", "absent": "30%"}}, 3),
        ({"surge": {"at": "spec", "member": "replicas", "absent": "30%"}}, 4),
    ],
)
def test_a_child_may_ask_for_so_many(made: Json, most: int) -> None:
    entry = children(made=[{**MADE, **made}])
    (found,) = find_templates(SERVER, entry, "ReplicaSet", by_pods=False)
    assert found.most == most
    assert list(find_templates(SERVER, entry, "Job", by_pods=False)) == []
    assert list(find_templates(SERVER, entry, "ReplicaSet", by_pods=True)) == []


@pytest.mark.parametrize("value", [-1, True, "2", 2**31, None, {}])
def test_a_number_that_is_none_is_refused(value: Any) -> None:
    entry = children(made=[{**MADE, "surge": {"at": "spec", "member": "surge", "absent": 0}}])
    odd = changed(SERVER, ("spec.surge", value))
    if value is None:
        assert [found.most for found in find_templates(odd, entry, "ReplicaSet", by_pods=False)] == [2]
        return
    with pytest.raises(WorkloadError, match="must be from 0"):
        list(find_templates(odd, entry, "ReplicaSet", by_pods=False))


def test_what_is_copied_is_governed_in_the_copy_no_less_than_in_the_whole() -> None:
    """Else a value that nobody approved would pass from the one into the other."""
    shipped = load_policy_data(None).value["kinds"]
    looked_at = 0
    for entry in shipped.values():
        for copied in entry.get("children", {}).get("copied", ()):
            (child,) = (
                one for one in shipped.values() if (one["group"], one["kind"]) == (entry["group"], copied["kind"])
            )
            inside = f"{copied['at']}."
            loose = {f"spec.{path.removeprefix(inside)}" for path in entry["ungoverned"] if path.startswith(inside)}
            assert loose
            assert loose <= set(child["ungoverned"])
            assert set(child["metadata"]) <= set(entry["metadata"])
            looked_at += 1
    assert looked_at == 2


FAULTS: dict[str, tuple[Json, str]] = {
    "a template that is governed otherwise": (
        {"made": [{**MADE, "templates": ["spec.other"]}]},
        "spec.other is not one of its pod_templates",
    ),
    "a template below one": (
        {"made": [{**MADE, "templates": ["spec.template.spec"]}]},
        "spec.template.spec is not one of its pod_templates",
    ),
    "claims that are not governed": ({"claims": "spec.loose[]"}, "is not governed"),
    "claims of a child that are not governed": ({"made": [{**MADE, "claims": "spec.loose"}]}, "is not governed"),
    "a copy of what is not governed": ({"copied": [{"kind": "Other", "at": "spec.loose"}]}, "is not governed"),
    "a path in the status": ({"claims": "status.claims[]"}, "lies in status"),
    "a path that is none": ({"made": [{**MADE, "count": ["a b"]}]}, "is no path"),
}


@pytest.mark.parametrize(("change", "fault"), FAULTS.values(), ids=list(FAULTS))
def test_an_entry_whose_children_do_not_follow_from_what_is_approved_is_refused(change: Json, fault: str) -> None:
    with pytest.raises(FormatError, match=fault):
        kinds(**change)


@pytest.mark.parametrize(
    ("name", "make"), [("rollout", replica_set_of), ("leaderworkerset", leaders_of), ("jobset", job_of)]
)
def test_templates_are_recorded_where_earlier_children_run_on(name: str, make: Any) -> None:
    obj = next(case for case in CASES if case.name == name).load()
    obj["metadata"]["uid"] = "u"
    kind = KINDS.find(obj)
    assert kind is not None
    recorded = read_workload(obj, kinds=KINDS).templates
    if name == "jobset":
        assert recorded == ()
        return
    entry = next(one for one in KINDS.custom if one.name == obj["kind"])
    assert entry.children is not None
    added = find_additions(obj, entry.children, name="llama", namespace="ml-serving")
    assert project_made(make(obj), added).digest in recorded
    broken = changed(obj, ("spec.template" if name == "rollout" else "spec.leaderWorkerTemplate.workerTemplate", {}))
    assert project_templates(broken, entry, name="llama", namespace="ml-serving") == ()


@settings(max_examples=60)
@given(json_values)
def test_reading_children_gives_templates_or_a_workload_error(value: Any) -> None:
    for case in CASES:
        entry = KINDS.find(case.load())
        found = getattr(entry, "children", None)
        if found is None:
            continue
        for obj in ({"spec": value}, value if isinstance(value, dict) else {}):
            try:
                find_additions(obj, found, name="s", namespace="ml")
                for made in found.made:
                    list(find_templates(obj, found, made.kind, by_pods=made.by_pods))
            except WorkloadError:
                continue
