"""The same workload written in another way has the same projection and the same verdict; another workload never has."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from placet.decide import Deadline, Gate
from placet.decision import Decision
from placet.errors import WorkloadError
from placet.projection import project
from placet.review import parse_review
from tests.fuzz.documents import workloads
from tests.fuzz.naive import ABSENT, UNGOVERNED, governed
from tests.placet.projection.schema import fields, referenced
from tests.simulators.gate import GateDesk, example, review

Json = dict[str, Any]
ROLES: Final = ("technical", "security", "business", "executive")
OBJECTS: Final = (example(), *workloads())
DRAWS: Final = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
STEPS: Final = {"Pod": ("spec",), "CronJob": ("spec", "jobTemplate", "spec", "template", "spec")}
AS_KINDS: Final = (
    *(("apps/v1", kind) for kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")),
    *(("v1", "ReplicationController"), ("batch/v1", "Job"), ("batch/v1", "CronJob")),
)
# One size has many spellings, which have a test of their own.
SIZES: Final = frozenset({"divisor", "sizeLimit"})
# What may stand in fields that no approval covers.
ANYTHING: Final = st.sampled_from([None, 0, 1, -1, 2.5, "", "x", "Always", True, False, [], {}, ["x"], {"x": "y"}])


def pod_spec(obj: Json) -> Json:
    found = obj
    for step in STEPS.get(obj["kind"], ("spec", "template", "spec")):
        found = found[step]
    return found


def typed(value: Any, definition: str = "core.v1.PodSpec") -> Iterator[tuple[str, Json]]:
    """Every object of the pod spec with the name of its type."""
    if not isinstance(value, dict):
        return
    try:
        known = fields(definition)
    except KeyError:
        return
    yield definition, value
    for name, item in value.items():
        schema = known.get(name, {})
        inside = referenced(schema) or referenced(schema.get("items", {}))
        for one in item if isinstance(item, list) else [item]:
            yield from typed(one, inside)


def shuffled(value: Any, data: st.DataObject) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(value[key], data) for key in data.draw(st.permutations(sorted(value)))}
    return [shuffled(one, data) for one in value] if isinstance(value, list) else value


def drawn(data: st.DataObject) -> Json:
    return copy.deepcopy(data.draw(st.sampled_from(OBJECTS)))


@pytest.fixture(scope="module")
def approved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gate, Json]]:
    desk = GateDesk.open(tmp_path_factory.mktemp("gate"))
    yield desk.planner(), desk.approve(example(), *ROLES)
    desk.log.close()


def ask(gate: Gate, manifest: Json, *, old: Json | None = None) -> Decision:
    request = parse_review(json.dumps(review(manifest, old=old)).encode())
    return gate.decide(request, environment="production", deadline=Deadline(600))


@DRAWS
@given(data=st.data())
def test_the_order_of_keys_means_nothing(data: st.DataObject) -> None:
    obj = drawn(data)
    assert project(shuffled(obj, data)) == project(obj)


@DRAWS
@given(data=st.data(), value=ANYTHING)
def test_a_field_that_is_not_governed_means_nothing_whatever_it_holds(data: st.DataObject, value: Any) -> None:
    obj = drawn(data)
    before = project(obj)
    places = [(each, name) for kind, each in typed(pod_spec(obj)) for name in sorted(UNGOVERNED.get(kind, ()))]
    place, name = data.draw(st.sampled_from(places))
    place[name] = value
    assert project(obj) == before


@DRAWS
@given(data=st.data(), value=ANYTHING)
def test_a_field_that_no_api_has_means_nothing_at_any_depth(data: st.DataObject, value: Any) -> None:
    obj = drawn(data)
    before = project(obj)
    place = data.draw(st.sampled_from([each for _, each in typed(pod_spec(obj))]))
    place[data.draw(st.sampled_from(["Image", "commands", "host_network", "", "$patch", "spec.image"]))] = value
    assert project(obj) == before


@DRAWS
@given(data=st.data())
def test_a_default_that_is_written_out_means_nothing(data: st.DataObject) -> None:
    obj = drawn(data)
    before = project(obj)
    absent = [
        (each, name, one)
        for kind, each in typed(pod_spec(obj))
        for (owner, name), values in ABSENT.items()
        if owner == kind and each.get(name) is None
        for one in (*values, None)
    ]
    for place, name, one in data.draw(st.lists(st.sampled_from(absent), min_size=1, max_size=8)):
        if name == "serviceAccountName" and place.get("serviceAccount"):
            continue  # that one stands in for it
        place[name] = one
    assert project(obj) == before


@pytest.mark.parametrize(
    "spellings",
    [
        ("1Gi", "1024Mi", "1048576Ki", " 1Gi"),
        ("500m", "0.5", 0.5, ".5", "500000u"),
        ("1k", "1000", 1000, "1000.0"),
        ("2e3", "2E3", "20e2", "0.2e4"),
    ],
)
def test_one_size_has_one_projection_however_it_is_written(spellings: tuple[Any, ...]) -> None:
    def sized(size: Any) -> Json:
        obj = example()
        pod_spec(obj)["volumes"].append({"name": "cache", "emptyDir": {"sizeLimit": size}})
        return obj

    assert len({project(sized(size)).digest for size in spellings}) == 1
    assert project(sized(spellings[0])) != project(sized("3Gi"))
    assert project(sized(spellings[0])) != project(example())


def wrapped(template: Json, api_version: str, kind: str) -> Json:
    spec: Json = {"template": copy.deepcopy(template)}
    spec = {"jobTemplate": {"spec": spec}} if kind == "CronJob" else spec
    metadata = copy.deepcopy(example()["metadata"])
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(("api_version", "kind"), AS_KINDS)
def test_one_template_has_one_projection_in_every_kind(api_version: str, kind: str) -> None:
    assert project(wrapped(example()["spec"]["template"], api_version, kind)) == project(example())


@pytest.mark.parametrize(("api_version", "kind"), AS_KINDS)
def test_an_approval_is_for_one_kind_all_the_same(desk: GateDesk, api_version: str, kind: str) -> None:
    signed = desk.approve(example(), *ROLES)
    moved = wrapped(signed["spec"]["template"], api_version, kind)
    moved["metadata"]["annotations"] = signed["metadata"]["annotations"]
    asked = review(moved)
    group, _, version = api_version.rpartition("/")
    asked["request"]["kind"] = {"group": group, "version": version, "kind": kind}
    assert desk.decide(asked).allowed == (kind == "Deployment")


@pytest.mark.parametrize(
    "api_version", ["apps/v1beta1", "apps/v1beta2", "extensions/v1beta1", "apps", "v1", "APPS/v1", ""]
)
def test_another_version_of_a_kind_has_no_projection(api_version: str) -> None:
    with pytest.raises(WorkloadError, match="no workload that is known"):
        project({**example(), "apiVersion": api_version})


def change_a_leaf(value: Any, data: st.DataObject) -> None:
    """Another text, number or boolean somewhere in the pod spec."""

    def walk(holder: Any) -> Iterator[tuple[Any, Any]]:
        for key, child in holder.items() if isinstance(holder, dict) else enumerate(holder):
            if isinstance(child, dict | list):
                yield from walk(child)
            elif key not in SIZES:
                yield holder, key

    holder, key = data.draw(st.sampled_from(list(walk(value))))
    old = holder[key]
    if isinstance(old, bool):
        holder[key] = not old
    elif isinstance(old, int):
        holder[key] = old + data.draw(st.integers(1, 9))
    else:
        holder[key] = f"{old or ''}{data.draw(st.sampled_from(['0', 'x', '-1']))}"


@DRAWS
@given(data=st.data())
def test_a_governed_change_is_never_the_same_projection(data: st.DataObject) -> None:
    obj = drawn(data)
    changed = copy.deepcopy(obj)
    change_a_leaf(pod_spec(changed), data)
    try:
        same = project(changed).digest == project(obj).digest
    except WorkloadError:
        return
    assert same == (governed(pod_spec(changed)) == governed(pod_spec(obj)))


@DRAWS
@given(data=st.data())
def test_the_verdict_follows_the_content_and_not_the_spelling(data: st.DataObject, approved: tuple[Gate, Json]) -> None:
    gate, signed = approved
    same = copy.deepcopy(signed)
    places = [(each, name) for kind, each in typed(pod_spec(same)) for name in sorted(UNGOVERNED.get(kind, ()))]
    place, name = data.draw(st.sampled_from(places))
    place[name] = data.draw(ANYTHING)
    same = shuffled(same, data)
    assert (ask(gate, same).allowed, ask(gate, same, old=signed).change) == (True, "unchanged")


@DRAWS
@given(data=st.data())
def test_no_governed_change_is_ever_let_in(data: st.DataObject, approved: tuple[Gate, Json]) -> None:
    gate, signed = approved
    changed = copy.deepcopy(signed)
    for _ in range(data.draw(st.integers(1, 3))):
        change_a_leaf(pod_spec(changed), data)
    assume(governed(pod_spec(changed)) != governed(pod_spec(signed)))
    assert not ask(gate, changed).allowed
    assert not ask(gate, changed, old=signed).allowed
