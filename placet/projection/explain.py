"""A projection for people: secrets hidden, and what differs between two."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, Final

import orjson

from placet.projection.metadata import FIELD_VALUES
from placet.projection.shapes import element_step, join_path

REDACTED: Final = {"redacted": True}
# Lists whose elements carry secrets in "value": variables, and headers of lifecycle requests.
_SECRET_LISTS: Final = frozenset({"env", "httpHeaders"})
# Texts of custom resources that may hold variables; and variables given as an object.
_SECRET_TEXTS: Final = frozenset({"runtimeEnvYAML", "serveConfigV2"})
_VARIABLES: Final = "env"
_MAX_SHOWN: Final = 120
_ABSENT: Final = object()


def redact(canonical: bytes) -> Any:
    """The projection as a JSON value, ``{"redacted": true}`` for the values of variables and headers.

    So are the labels and annotations that field references read.
    """
    return _redacted(orjson.loads(canonical))


def explain_difference(old: bytes, new: bytes) -> tuple[str, ...]:
    """What changed from one projection to another, one line each, in the order of the paths.

    Values of variables, of headers and of metadata that is read are never shown; others are, clipped, as ASCII JSON.
    """
    lines: list[str] = []
    _compare([], json.loads(old), json.loads(new), lines)
    return tuple(lines)


def _redacted(value: Any) -> Any:
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _redacted_member(name, child) for name, child in value.items()}


def _redacted_member(name: str, child: Any) -> Any:
    if name == FIELD_VALUES:
        return _blanked(child)
    if name in _SECRET_LISTS and isinstance(child, list):
        return [_hidden(element) for element in child]
    if name in _SECRET_TEXTS or (name == _VARIABLES and isinstance(child, dict)):
        return _blanked(child)
    return _redacted(child)


def _blanked(value: Any) -> Any:
    """Every value hidden, every key kept."""
    if isinstance(value, dict) and value != REDACTED:
        return {name: _blanked(child) for name, child in value.items()}
    return REDACTED


def _hidden(element: Any) -> Any:
    if not isinstance(element, dict):
        return REDACTED
    return {name: REDACTED if name == "value" else _redacted(child) for name, child in element.items()}


def _compare(path: list[str], old: Any, new: Any, lines: list[str]) -> None:
    if _ABSENT not in (old, new) and json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True):
        return  # by their JSON: to Python, 0 equals false
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            _compare([*path, name], old.get(name, _ABSENT), new.get(name, _ABSENT), lines)
    elif isinstance(old, list) and isinstance(new, list) and _are_objects(old) and _are_objects(new):
        _compare_objects(path, old, new, lines)
    elif isinstance(old, list) and isinstance(new, list):
        _compare_scalars(path, old, new, lines)
    else:
        lines.append(f"{join_path(path)}: {_change(path, old, new)}")


def _are_objects(items: list[Any]) -> bool:
    return all(isinstance(item, dict) for item in items)


def _compare_objects(path: list[str], old: list[Any], new: list[Any], lines: list[str]) -> None:
    """By name where every element has one of its own, else by position."""
    old_names, new_names = _names(old), _names(new)
    if old_names is None or new_names is None:
        for index in range(max(len(old), len(new))):
            before = old[index] if index < len(old) else _ABSENT
            after = new[index] if index < len(new) else _ABSENT
            _compare([*path, f"[{index}]"], before, after, lines)
        return
    for index, (name, item) in enumerate(old_names.items()):
        _compare([*path, element_step(item, index)], item, new_names.get(name, _ABSENT), lines)
    for index, (name, item) in enumerate(new_names.items()):
        if name not in old_names:
            _compare([*path, element_step(item, index)], _ABSENT, item, lines)
    common = [name for name in old_names if name in new_names]
    if common != [name for name in new_names if name in old_names]:
        lines.append(f"{join_path(path)}: the order changed")


def _names(items: list[Any]) -> dict[str, Any] | None:
    names = {name: item for item in items if isinstance(name := item.get("name"), str)}
    return names if len(names) == len(items) else None


def _compare_scalars(path: list[str], old: list[Any], new: list[Any], lines: list[str]) -> None:
    """What is left of both lists without their common beginning and end."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    tail = 0
    while tail < min(len(old), len(new)) - start and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    before, after = old[start : len(old) - tail], new[start : len(new) - tail]
    step = f"[{start}]" if max(len(before), len(after)) == 1 else f"[{start}:]"
    lines.append(f"{join_path([*path, step])}: {_change(path, before or _ABSENT, after or _ABSENT)}")


def _change(path: list[str], old: Any, new: Any) -> str:
    if old is _ABSENT:
        return f"added {_shown(path, new)}"
    if new is _ABSENT:
        return f"removed {_shown(path, old)}"
    if _is_secret(path):
        return "changed (value not shown)"
    return f"{_shown(path, old)} -> {_shown(path, new)}"


def _is_secret(path: list[str]) -> bool:
    """Whether the path is ``env[NAME].value``, that of a header, or lies within the values of field references."""
    if FIELD_VALUES in path[:-1] or not _SECRET_TEXTS.isdisjoint(path):
        return True
    if any(step == _VARIABLES and not inside.startswith("[") for step, inside in pairwise(path)):
        return True
    return len(path) > 2 and path[-1] == "value" and path[-3] in _SECRET_LISTS  # noqa: PLR2004 - list, element, value


def _shown(path: list[str], value: Any) -> str:
    if _is_secret(path):
        return "a value (not shown)"
    in_secret_list = len(path) > 1 and path[-2] in _SECRET_LISTS
    hidden = _hidden(value) if in_secret_list else _redacted({path[-1] if path else "": value}).popitem()[1]
    text = json.dumps(hidden, sort_keys=True)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
