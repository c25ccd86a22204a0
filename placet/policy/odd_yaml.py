"""Where a YAML text holds what is no plain data: text, whole numbers, true and false, null, lists, and keys of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from placet.canonical import MAX_SAFE_INTEGER

_TAG: Final = "tag:yaml.org,2002:"
_PLAIN: Final = frozenset(_TAG + name for name in ("bool", "int", "null", "str", "merge"))
_COLLECTIONS: Final = frozenset({f"{_TAG}map", f"{_TAG}seq"})


def find_odd_line(text: str) -> int:
    """Line of the first value or key that is no plain data; 1 where it can't be told.

    Args:
        text: bounded in depth, and without aliases.
    """
    try:
        return min(_odd_lines(YAML(typ="safe", pure=True).compose(text)), default=1)
    except (YAMLError, ValueError, TypeError, AttributeError, LookupError, AssertionError, RecursionError):
        return 1  # whoever asks has another fault to tell already


def _odd_lines(node: Node | None) -> Iterator[int]:
    waiting: list[Any] = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ScalarNode):
            odd = str(one.tag) not in _PLAIN or (str(one.tag) == f"{_TAG}int" and _is_too_large(one.value))
        else:
            odd = one is not None and str(one.tag) not in _COLLECTIONS
        if odd:
            yield one.start_mark.line + 1
        if isinstance(one, SequenceNode):
            waiting += one.value
        elif isinstance(one, MappingNode):
            waiting += [value for _, value in one.value]
            yield from (key.start_mark.line + 1 for key, _ in one.value if not _is_text(key))


def _is_text(key: Node) -> bool:
    return isinstance(key, ScalarNode) and str(key.tag) in {f"{_TAG}str", f"{_TAG}merge"}


def _is_too_large(text: str) -> bool:
    plain = text.replace("_", "")
    try:
        return abs(int(plain, 0)) > MAX_SAFE_INTEGER
    except ValueError:  # zeros in front, or more digits than Python reads
        return len(plain.lstrip("+-0")) >= len(str(MAX_SAFE_INTEGER))
