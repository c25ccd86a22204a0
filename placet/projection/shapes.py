"""Shapes: how one field of a Kubernetes object is read into the projection.

Every shape has ``read``: it returns the field's value in projected form, or None where the value means the same as
the field's absence (empty, or the API server's default). A value of another type than the API's is never dropped:
it raises ``MistypedError``, which collects the path on its way up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

from placet.canonical import MAX_SAFE_INTEGER
from placet.errors import FormatError
from placet.projection.quantity import canonical_quantity

# Far above what real workloads have, far below what would take noticeable time.
MAX_ELEMENTS: Final = 2000
_SHOWN_NAME: Final = re.compile(r"[A-Za-z0-9_./-]{1,63}", re.ASCII)
_KINDS: Final = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "a boolean",
    int: "an integer",
    float: "a number with a fraction",
}


class MistypedError(Exception):
    """A governed field holds what the API would not take; converted to a WorkloadError at the top.

    Attributes:
        code: the WorkloadError's code.
        path: from the innermost step outwards.
    """

    def __init__(self, message: str, code: str = "field_mistyped") -> None:
        super().__init__(message)
        self.code = code
        self.path: list[str] = []


class Shape(Protocol):
    """What a governed field is made of."""

    def read(self, value: Any) -> Any:
        """Projected form of a value that is not null; None where it equals absence."""


def kind_of(value: Any) -> str:
    """What a JSON value is, for messages."""
    return "null" if value is None else _KINDS.get(type(value), "something that is not JSON")


@dataclass(frozen=True, slots=True)
class Text:
    """A string.

    Attributes:
        default: the text that the API server fills in.
        keeps_empty: "" says something else than absence does.
    """

    default: str = ""
    keeps_empty: bool = False

    def read(self, value: Any) -> str | None:
        """The text."""
        if not isinstance(value, str):
            raise MistypedError(f"must be text, not {kind_of(value)}")
        if not value:
            return value if self.keeps_empty else None
        return None if value == self.default else value


@dataclass(frozen=True, slots=True)
class Flag:
    """A boolean.

    Attributes:
        default: what absence means; None where the API keeps true, false and absence apart.
    """

    default: bool | None = False

    def read(self, value: Any) -> bool | None:
        """The boolean."""
        if not isinstance(value, bool):
            raise MistypedError(f"must be true or false, not {kind_of(value)}")
        return None if value is self.default else value


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer.

    Attributes:
        default: what absence means; None where the API keeps every integer and absence apart.
    """

    default: int | None = None

    def read(self, value: Any) -> int | None:
        """The integer."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise MistypedError(f"must be an integer, not {kind_of(value)}")
        if abs(value) > MAX_SAFE_INTEGER:
            raise MistypedError("must be an integer within plus or minus 2**53 - 1")
        return None if value == self.default else value


@dataclass(frozen=True, slots=True)
class Port:
    """An integer or the name of a port; the API keeps ``80`` and ``"80"`` apart."""

    def read(self, value: Any) -> int | str | None:
        """The number or the name."""
        if isinstance(value, str):
            return value or None
        return Integer(default=0).read(value)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity in canonical form.

    Attributes:
        zero_is_absent: the API server writes 0 where there is none.
    """

    zero_is_absent: bool = False

    def read(self, value: Any) -> str | None:
        """The canonical text."""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise MistypedError(f"must be a quantity, not {kind_of(value)}")
        if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
            raise MistypedError("must be a quantity within plus or minus 2**53 - 1 where it is a number")
        try:
            # A number in YAML is a quantity too (sizeLimit: 0.5); repr is its shortest exact form.
            text = canonical_quantity(value if isinstance(value, str) else repr(value))
        except FormatError as exc:
            raise MistypedError(f"must be a quantity: {exc}", "quantity_invalid") from exc
        return None if text == "0" and self.zero_is_absent else text


@dataclass(frozen=True, slots=True)
class Scalars:
    """A list of one scalar shape; the order counts, and so does every element, empty ones too."""

    element: Shape

    def read(self, value: Any) -> list[Any] | None:
        """The list."""
        if not isinstance(value, list):
            raise MistypedError(f"must be a list, not {kind_of(value)}")
        _require_length(value)
        result = []
        for index, item in enumerate(value):
            try:
                result.append(self.element.read(item))
            except MistypedError as exc:
                exc.path.append(f"[{index}]")
                raise
        return result or None


@dataclass(frozen=True, slots=True)
class TextMap:
    """Text by key, such as labels; every key counts."""

    def read(self, value: Any) -> dict[str, str] | None:
        """The mapping."""
        if not isinstance(value, dict):
            raise MistypedError(f"must be an object, not {kind_of(value)}")
        _require_length(value)
        for key, text in value.items():
            if not isinstance(key, str) or not isinstance(text, str):
                error = MistypedError(f"must be text, not {kind_of(text)}")
                error.path.append(key_step(key))
                raise error
        return dict(value) or None


@dataclass(frozen=True, slots=True)
class Record:
    """An object, picked by name: governed fields are read, every other field is left out.

    Attributes:
        definition: name of the Kubernetes API type, as the OpenAPI document has it without ``io.k8s.``.
        governed: field -> shape.
        ungoverned: the type's other fields. Never read; a test holds that the two name the whole type.
        chosen: being there says something, even when it is empty (one of several volume sources, for example).
    """

    definition: str
    governed: Mapping[str, Shape]
    ungoverned: frozenset[str] = frozenset()
    chosen: bool = False

    def read(self, value: Any) -> dict[str, Any] | None:
        """The governed fields that say something."""
        if not isinstance(value, dict):
            raise MistypedError(f"must be an object, not {kind_of(value)}")
        result: dict[str, Any] = {}
        for name, item in value.items():
            shape = self.governed.get(name)
            if shape is None or item is None:
                continue
            try:
                projected = shape.read(item)
            except MistypedError as exc:
                exc.path.append(name)
                raise
            if projected is not None:
                result[name] = projected
        return result if result or self.chosen else None


@dataclass(frozen=True, slots=True)
class Records:
    """A list of objects; the order counts.

    Attributes:
        record: shape of each element.
        key: the field that names an element, "" where elements have no name.
        unique: two elements of one name are refused.
    """

    record: Record
    key: str = ""
    unique: bool = field(default=False)

    def read(self, value: Any) -> list[dict[str, Any]] | None:
        """The list; an element with nothing governed in it stays as an empty object."""
        if not isinstance(value, list):
            raise MistypedError(f"must be a list, not {kind_of(value)}")
        _require_length(value)
        result: list[dict[str, Any]] = []
        seen: set[str] = set()
        for index, item in enumerate(value):
            try:
                projected = self.record.read(item) or {}
                if self.key:
                    self._require_name(projected, seen)
            except MistypedError as exc:
                exc.path.append(element_step(item, index, self.key))
                raise
            result.append(projected)
        return result or None

    def _require_name(self, projected: Mapping[str, Any], seen: set[str]) -> None:
        name = cast("str", projected.get(self.key, ""))
        if not name:
            raise MistypedError(f"has no {self.key}", "name_missing")
        if name in seen and self.unique:
            raise MistypedError(f"the {self.key} is given twice", "name_duplicate")
        seen.add(name)


def element_step(item: Any, index: int, key: str = "name") -> str:
    """How a path names one element of a list: ``[server]`` by name where that can be shown, else ``[0]``."""
    name = item.get(key) if key and isinstance(item, dict) else None
    return f"[{_shown(name) or index}]"


def key_step(key: Any) -> str:
    """How a path names one key of text by key: ``[app]`` where that can be shown, else ``[?]``."""
    return f"[{_shown(key) or '?'}]"


def join_path(steps: list[str]) -> str:
    """Steps from the outside inwards as ``spec.containers[server].image``."""
    return "".join(step if step.startswith("[") else f".{step}" for step in steps).removeprefix(".")


def _shown(name: Any) -> str:
    return name if isinstance(name, str) and _SHOWN_NAME.fullmatch(name) else ""


def _require_length(value: Any) -> None:
    if len(value) > MAX_ELEMENTS:
        raise MistypedError(f"has {len(value)} elements, more than the {MAX_ELEMENTS} that are read", "too_many")
