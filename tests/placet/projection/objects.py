"""Workloads made from the tables: every governed and ungoverned field by its path, and values that fit."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from placet.projection import KINDS, Kind
from placet.projection.shapes import Flag, Integer, Port, Quantity, Record, Records, Scalars, Shape, Text, TextMap

Json = dict[str, Any]
# A step into the first element of a list.
FIRST = "[0]"
# Handed to the API under another name, or checked by hand: changing one alone shows nothing.
TWIN = "serviceAccount"


@dataclass(frozen=True, repr=False)
class Field:
    """One field, from the root of an object; ``shape`` is None where it is not governed."""

    kind: Kind
    path: tuple[str, ...]
    shape: Shape | None
    naming: bool = False

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(repr(self))

    def __repr__(self) -> str:
        return f"{self.kind.name}.{'.'.join(self.path)}"


def fields_of(kind: Kind) -> Iterator[Field]:
    yield from _walk(kind, kind.record, ())


def _walk(kind: Kind, record: Record, path: tuple[str, ...], key: str = "") -> Iterator[Field]:
    for name in sorted(record.ungoverned):
        yield Field(kind, (*path, name), None)
    for name, shape in record.governed.items():
        here = (*path, name)
        if isinstance(shape, Record):
            yield from _walk(kind, shape, here)
        elif isinstance(shape, Records):
            yield from _walk(kind, shape.record, (*here, FIRST), shape.key)
        else:
            yield Field(kind, here, shape, naming=name == key or here[-2] == "metadata")


ALL_FIELDS = [field for kind in KINDS for field in fields_of(kind)]
GOVERNED = [field for field in ALL_FIELDS if field.shape is not None]
UNGOVERNED = [field for field in ALL_FIELDS if field.shape is None and field.path[0] not in {"apiVersion", "kind"}]

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)
scalars: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


_made: dict[int, st.SearchStrategy[Any]] = {}


def values(shape: Shape) -> st.SearchStrategy[Any]:
    """Values that the API takes in a field of this shape."""
    if id(shape) not in _made:
        _made[id(shape)] = _values(shape)
    return _made[id(shape)]


def _values(shape: Shape) -> st.SearchStrategy[Any]:
    if isinstance(shape, Text):
        return words | st.just(shape.default)
    if isinstance(shape, Flag):
        return st.booleans()
    if isinstance(shape, Integer):
        return st.integers(0, 2**31 - 1)
    if isinstance(shape, Port):
        return st.integers(1, 65535) | names
    if isinstance(shape, Quantity):
        return st.builds("{}{}".format, st.integers(0, 4096), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi"]))
    if isinstance(shape, Scalars):
        return st.lists(values(shape.element), max_size=3)
    if isinstance(shape, TextMap):
        return st.dictionaries(words, st.text(max_size=8), max_size=3)
    if isinstance(shape, Record):
        return records(shape)
    assert isinstance(shape, Records)
    elements = st.lists(records(shape.record), max_size=2)
    return elements.map(lambda found: [_named(item, shape.key, index) for index, item in enumerate(found)])


def _named(item: Json, key: str, index: int) -> Json:
    return {**item, key: f"n{index}"} if key else item


@st.composite
def records(draw: st.DrawFn, record: Record) -> Json:
    """An object with a few of its fields, governed and not, and some that no API knows."""
    chosen = draw(st.lists(st.sampled_from(sorted(record.governed)), max_size=3, unique=True))
    result: Json = {name: draw(values(record.governed[name])) for name in chosen}
    if draw(st.booleans()) and record.ungoverned:
        result[draw(st.sampled_from(sorted(record.ungoverned)))] = draw(json_values)
    if draw(st.booleans()):
        result[f"x-{draw(names)}"] = draw(json_values)
    return result


@st.composite
def workloads(draw: st.DrawFn, kind: Kind) -> Json:
    """An object of the kind with one container and whatever else."""
    spec = draw(records(_pod_spec(kind)))
    spec["containers"] = [{**draw(records(_container(kind))), "name": "server", "image": "i"}]
    spec.pop(TWIN, None)
    for field, prefix in (("initContainers", "i"), ("ephemeralContainers", "e"), ("volumes", "v")):
        for index, item in enumerate(spec.get(field, [])):
            item["name"] = f"{prefix}{index}"
    template: Json = {"spec": spec}
    for step in reversed(kind.template):
        template = {step: template}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": "w"}, **template}


def _pod_spec(kind: Kind) -> Record:
    shape: Any = kind.record
    for step in (*kind.template, "spec"):
        shape = shape.governed[step]
    assert isinstance(shape, Record)
    return shape


def _container(kind: Kind) -> Record:
    containers = _pod_spec(kind).governed["containers"]
    assert isinstance(containers, Records)
    return containers.record


def with_value(obj: Json, path: tuple[str, ...], value: Any) -> Json:
    """A copy with a value at a path; what is missing on the way is made. ``value`` ``...`` takes the field away."""
    result: Json = copy.deepcopy(obj)
    current: Any = result
    for step, following in itertools.pairwise(path):
        if step == FIRST:
            if not current:
                # The names that a list of named objects needs; elsewhere it is one more unknown field.
                current.append({"name": "made", "metadata": {"name": "made"}})
            current = current[0]
        else:
            current = current.setdefault(step, [] if following == FIRST else {})
    if value is ...:
        current.pop(path[-1], None)
    else:
        current[path[-1]] = value
    return result
