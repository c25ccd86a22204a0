"""Two lists, governed and not, name every field of Kubernetes' types; one changes the digest, the other never does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from placet.projection import KINDS, project
from placet.projection.shapes import Flag, Integer, Port, Quantity, Record, Records, Scalars, Shape, Text, TextMap
from tests.placet.projection import schema
from tests.placet.projection.objects import (
    GOVERNED,
    TWIN,
    UNGOVERNED,
    Field,
    json_values,
    values,
    with_value,
    workloads,
)

QUANTITY = "apimachinery.pkg.api.resource.Quantity"
JSON_TYPES: dict[type, str] = {
    Text: "string",
    Flag: "boolean",
    Integer: "integer",
    Scalars: "array",
    Records: "array",
    TextMap: "object",
}


def every_record() -> dict[int, Record]:
    found: dict[int, Record] = {}
    waiting: list[Shape] = [kind.record for kind in KINDS]
    while waiting:
        shape = waiting.pop()
        if isinstance(shape, Records):
            waiting.append(shape.record)
        elif isinstance(shape, Record) and id(shape) not in found:
            found[id(shape)] = shape
            waiting.extend(shape.governed.values())
    return found


RECORDS = list(every_record().values())


def test_newest_schema_is_at_least_that_of_the_tables() -> None:
    assert schema.newest_release() >= "v1.37.0-local"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.definition)
def test_every_field_is_governed_or_named_as_not_governed(record: Record) -> None:
    known = record.governed.keys() | record.ungoverned
    newest = schema.fields(record.definition).keys()
    assert newest - known == set(), f"{record.definition} has fields that are neither governed nor named as not"
    assert known - newest == set(), f"{record.definition} has no such fields"
    assert not record.governed.keys() & record.ungoverned


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.definition)
def test_every_governed_field_has_the_type_that_the_api_gives_it(record: Record) -> None:
    for name, shape in record.governed.items():
        field = schema.fields(record.definition)[name]
        if isinstance(shape, Record):
            assert schema.referenced(field) == shape.definition, name
        elif isinstance(shape, Quantity):
            assert schema.referenced(field) == QUANTITY, name
        elif isinstance(shape, Port):
            assert schema.referenced(field).endswith("IntOrString"), name
        else:
            assert schema.json_type(field) == JSON_TYPES[type(shape)], name
        if isinstance(shape, Records):
            assert schema.referenced(field["items"]) == shape.record.definition, name
        if isinstance(shape, Scalars):
            assert schema.json_type(field["items"]) == JSON_TYPES[type(shape.element)], name
        if isinstance(shape, TextMap):
            assert schema.json_type(field["additionalProperties"]) == "string", name


def test_lists_of_fields_are_those_of_whole_workloads() -> None:
    assert len({field.path for field in GOVERNED}) > 1500
    assert len({field.path for field in UNGOVERNED}) > 200


def two_values(field: Field) -> st.SearchStrategy[tuple[Any, Any]]:
    """Two values of a field that say different things."""
    shape = field.shape
    assert shape is not None
    one = values(shape)
    if field.naming:
        one = one.map(lambda text: f"changed-{text}")
    return st.tuples(one, one).filter(lambda pair: shape.read(pair[0]) != shape.read(pair[1]))


@given(st.data())
def test_change_to_any_governed_field_changes_the_digest(data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(GOVERNED))
    obj = data.draw(workloads(field.kind))
    if field.path[-1] == TWIN:
        obj = with_value(obj, (*field.path[:-1], "serviceAccountName"), ...)
    before, after = data.draw(two_values(field))
    digests = {project(with_value(obj, field.path, value)).digest for value in (before, after)}
    assert len(digests) == 2


@given(st.data())
def test_change_to_any_other_field_leaves_the_digest(data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(UNGOVERNED))
    obj = with_value(data.draw(workloads(field.kind)), field.path, ...)
    expected = project(obj).digest
    assert project(with_value(obj, field.path, data.draw(json_values))).digest == expected


@given(st.data())
def test_field_that_no_api_knows_leaves_the_digest(data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(GOVERNED))
    obj = data.draw(workloads(field.kind))
    obj = obj if field.naming else with_value(obj, field.path, ...)
    unknown = f"{field.path[-1]}s-x"
    # In an object that is there: making one can say something.
    nulled = with_value(obj, (*field.path[:-1], unknown), None)
    assert (
        project(with_value(nulled, (*field.path[:-1], unknown), data.draw(json_values))).digest
        == project(nulled).digest
    )


def absent_values(shape: Shape | None) -> list[Any]:
    """What says the same as absence in a field of this shape."""
    if isinstance(shape, Text):
        return [*filter(None, [shape.default]), *([] if shape.keeps_empty else [""])]
    if isinstance(shape, Flag | Integer):
        return [] if shape.default is None else [shape.default]
    if isinstance(shape, Quantity):
        return ["0", "0Mi", 0] if shape.zero_is_absent else []
    return [[]] if isinstance(shape, Scalars) else [{}] if isinstance(shape, TextMap) else [""]


WITH_DEFAULT = [(field, value) for field in GOVERNED if not field.naming for value in absent_values(field.shape)]


@given(st.data())
def test_default_empty_and_absent_are_one_value(data: st.DataObject) -> None:
    field, value = data.draw(st.sampled_from(WITH_DEFAULT))
    obj = data.draw(workloads(field.kind))
    if field.path[-1] in {TWIN, "serviceAccountName"}:
        obj = with_value(obj, (*field.path[:-1], TWIN), ...)
    without = with_value(obj, field.path, ...)
    assert project(with_value(obj, field.path, value)).digest == project(without).digest
    assert project(with_value(obj, field.path, None)).digest == project(without).digest


KEPT_APART = [field for field in GOVERNED if isinstance(field.shape, Flag | Integer) and field.shape.default is None]


@given(st.data())
def test_false_zero_and_absent_are_kept_apart_where_the_api_keeps_them_apart(data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(KEPT_APART))
    obj = data.draw(workloads(field.kind))
    zero = False if isinstance(field.shape, Flag) else 0
    assume(project(obj))
    assert project(with_value(obj, field.path, zero)).digest != project(with_value(obj, field.path, ...)).digest


def two_fixed_values(field: Field) -> tuple[Any, Any]:
    """Values that differ from each other and from every default."""
    shape: Any = field.shape
    if isinstance(shape, Scalars):
        return ([7], [8]) if isinstance(shape.element, Integer) else (["one"], ["two"])
    if isinstance(shape, Flag):
        return True, False
    if isinstance(shape, Integer | Port):
        return 7, 8
    if isinstance(shape, Quantity):
        return "7Mi", "8Mi"
    if isinstance(shape, TextMap):
        return {"a": ""}, {"b": ""}
    return "one", "two"


def skeleton(field: Field) -> dict[str, Any]:
    template: dict[str, Any] = {"spec": {"containers": [{"name": "server"}]}}
    for step in reversed(field.kind.template):
        template = {step: template}
    return {"apiVersion": field.kind.api_version, "kind": field.kind.name, **template}


def test_every_single_governed_field_changes_the_digest() -> None:
    for field in GOVERNED:
        one, two = two_fixed_values(field)
        obj = skeleton(field)
        assert project(with_value(obj, field.path, one)).digest != project(with_value(obj, field.path, two)).digest, (
            field
        )


def test_every_single_other_field_leaves_the_digest() -> None:
    for field in UNGOVERNED:
        obj = with_value(skeleton(field), field.path, ...)
        assert project(with_value(obj, field.path, {"x": ["y"]})).digest == project(obj).digest, field
