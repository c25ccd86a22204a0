"""Paths of a kind registry: ``spec.workerGroupSpecs[].template``, and the tree that several of them make.

``[]`` stands for every element of a list and ``{}`` for every value of an object whose keys are free.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from placet.errors import FormatError
from placet.projection.shapes import MistypedError, element_step, key_step, kind_of

EACH: Final = "[]"
ANY: Final = "{}"
MAX_STEPS: Final = 32
_NAME: Final = r"[A-Za-z0-9_-]{1,128}"
_PATH: Final = re.compile(rf"{_NAME}(?:\[\]|\{{\}}|\.{_NAME})*", re.ASCII)
_STEP: Final = re.compile(rf"{_NAME}|\[\]|\{{\}}", re.ASCII)

Steps = tuple[str, ...]


def parse_path(text: str) -> Steps:
    """``spec.groups[].template`` as ``("spec", "groups", "[]", "template")``.

    Raises:
        FormatError: not of this form, or of more than ``MAX_STEPS`` steps.
    """
    if not isinstance(text, str) or not _PATH.fullmatch(text):
        raise FormatError("is no path such as spec.groups[].template", code="path_invalid")
    steps = tuple(_STEP.findall(text))
    if len(steps) > MAX_STEPS:
        raise FormatError(f"has more than {MAX_STEPS} steps", code="path_invalid")
    return steps


def render_path(steps: Steps) -> str:
    """The text that ``parse_path`` reads."""
    return "".join(step if step in {EACH, ANY} else f".{step}" for step in steps).removeprefix(".")


@dataclass(slots=True)
class Node:
    """One step of the tree.

    Attributes:
        use: what the entry says about the place: ``podTemplates`` and so on; "" where it only lies on the way.
        children: step -> node. ``[]`` and ``{}`` stand alone.
        defaults: values that equal absence.
    """

    use: str = ""
    children: dict[str, Node] = field(default_factory=dict)
    defaults: list[Any] = field(default_factory=list)

    def make(self, steps: Steps) -> Node:
        """The node at the end of a path, made where it is missing.

        Raises:
            FormatError: a step that can't stand beside one that is there.
        """
        node = self
        for step in steps:
            others = node.children.keys() - {step}
            if others and (step in {EACH, ANY} or others & {EACH, ANY}):
                beside = min(others)
                raise FormatError(f"{step} and {beside} can't stand at one place", code="path_invalid")
            node = node.children.setdefault(step, Node())
        return node

    def find(self, steps: Steps) -> Node | None:
        """The node at the end of a path; None where the tree says nothing of it."""
        nodes = list(self.passed(steps))
        return nodes[-1] if len(nodes) == len(steps) else None

    def passed(self, steps: Steps) -> Iterator[Node]:
        """The nodes on a path as far as the tree has them, without the first."""
        node: Node | None = self
        for step in steps:
            node = node.children.get(step) if node is not None else None
            if node is None:
                return
            yield node


def find_values(value: Any, steps: Steps, where: list[str] | None = None) -> Iterator[tuple[list[str], Any]]:
    """Every value that a path leads to, with its place; nothing where a step is absent or null.

    Raises:
        MistypedError: something else stands where the path has an object or a list.
    """
    where = [] if where is None else where
    if value is None:
        return
    if not steps:
        yield where, value
        return
    step, rest = steps[0], steps[1:]
    if step == EACH and isinstance(value, list):
        for index, item in enumerate(value):
            yield from find_values(item, rest, [*where, element_step(item, index)])
    elif step == EACH or not isinstance(value, dict):
        error = MistypedError(f"must be {'a list' if step == EACH else 'an object'}, not {kind_of(value)}")
        error.path += where[::-1]
        raise error
    elif step == ANY:
        for key, item in value.items():
            yield from find_values(item, rest, [*where, key_step(key)])
    else:
        yield from find_values(value.get(step), rest, [*where, step])
