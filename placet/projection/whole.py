"""Values of which every member counts: what a kind registry names no shape for.

A field that nobody has looked at is governed as it stands, so that it can cause a refusal and never an allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from placet.canonical import MAX_DEPTH, MAX_SAFE_INTEGER
from placet.projection.shapes import MistypedError, Record, Records, Shape, element_step, key_step, kind_of

NUMBER: Final = "$number"


def read_whole(value: Any, *, depth: int = 0) -> Any:
    """A JSON value as it is, in canonical terms.

    Numbers are one value however they are spelt: 2.0 is 2, as the API server writes it. One with a fraction becomes
    ``{"$number": "0.5"}``, which no object can look like: a member of this name is refused.

    Raises:
        MistypedError: not JSON, nested too deep, or a member named ``$number``.
    """
    if depth > MAX_DEPTH:
        raise MistypedError(f"is nested deeper than {MAX_DEPTH}", "not_canonical")
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _read_number(value)
    if isinstance(value, list):
        return [
            _within(element_step(item, index), read_whole, item, depth=depth + 1) for index, item in enumerate(value)
        ]
    if not isinstance(value, dict):
        raise MistypedError(f"must be JSON, not {kind_of(value)}")
    if NUMBER in value:
        raise MistypedError(f"has a member {NUMBER}, which no workload may have", "field_invalid")
    return {key: _within(_member(key), read_whole, item, depth=depth + 1) for key, item in value.items()}


def read_open(shape: Shape, value: Any) -> Any:
    """A value by its shape, and with it every member that the shape does not know.

    Names of list elements may be missing, as they often are in parts of pods; two of one name are refused.

    Raises:
        MistypedError: as shapes do.
    """
    if isinstance(shape, Record):
        result = read_members(shape, value)
        return result if result or shape.chosen else None
    if isinstance(shape, Records):
        return _read_list(shape, value)
    return shape.read(value)


def read_members(record: Record, value: Any) -> dict[str, Any]:
    """The governed members of an object and those that are unknown; null is absence where a member is known."""
    if not isinstance(value, dict):
        raise MistypedError(f"must be an object, not {kind_of(value)}")
    result: dict[str, Any] = {}
    for name, item in value.items():
        shape = record.governed.get(name)
        if shape is None:
            if name not in record.ungoverned:
                result[name] = _within(_member(name), read_whole, item)
        elif item is not None:
            projected = _within(name, read_open, shape, item)
            if projected is not None:
                result[name] = projected
    if NUMBER in result:
        raise MistypedError(f"has a member {NUMBER}, which no workload may have", "field_invalid")
    return result


def _read_list(shape: Records, value: Any) -> list[Any] | None:
    if not isinstance(value, list):
        raise MistypedError(f"must be a list, not {kind_of(value)}")
    result: list[Any] = []
    seen: set[Any] = set()
    for index, item in enumerate(value):
        projected = _within(element_step(item, index), read_open, shape.record, item) or {}
        name = projected.get(shape.key) if shape.unique else None
        if name is not None and name in seen:
            error = MistypedError(f"the {shape.key} is given twice", "name_duplicate")
            error.path.append(element_step(item, index, shape.key))
            raise error
        seen.add(name)
        result.append(projected)
    return result or None


def _read_number(value: float) -> Any:
    if value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124 - NaN alone differs from itself
        raise MistypedError("must be a number of JSON")
    if value.is_integer() and abs(value) <= MAX_SAFE_INTEGER:
        return int(value)
    return {NUMBER: repr(value)}


def _member(name: Any) -> str:
    return name if isinstance(name, str) and name.isidentifier() and name.isascii() else key_step(name)


def _within(step: str, read: Any, *arguments: Any, **named: Any) -> Any:
    try:
        return read(*arguments, **named)
    except MistypedError as exc:
        exc.path.append(step)
        raise


def same_json(one: Any, other: Any) -> bool:
    """Whether two JSON values are one; to Python, 1 equals true."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return type(one) is type(other) and bool(one == other)
