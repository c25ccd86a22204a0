"""The quick way through JSON that is plain; whatever is not takes the strict way of ``placet.canonical``.

Nothing here decides what is allowed or says what is wrong. Each function either gives exactly what the strict way
would give, or gives up, and the strict way then runs from the start with its own checks and its own errors. So a fault
that this module does not recognise costs time, and a test compares the two on hostile input.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

NOT_PLAIN: Final = object()

_SCALARS: Final = frozenset({str, int, bool, type(None)})
_CONTAINERS: Final = frozenset({dict, list, tuple})
_PLAIN: Final = _SCALARS | _CONTAINERS
_RENDER: Final = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_STRICT_INTEGER
    | orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATACLASS
)
# orjson sorts keys by code point, RFC 8785 by UTF-16 unit. The two differ beside characters beyond U+FFFF alone, whose
# UTF-8 starts with one of these.
_BEYOND_BMP: Final = re.compile(rb"[\xf0-\xf4]")
# Go writes these as escapes in all JSON that it makes (encoding/json, HTMLEscape); in JSON they stand in strings alone.
_ESCAPED_BY_GO: Final = (
    (b"&", rb"\u0026"),
    (b"<", rb"\u003c"),
    (b">", rb"\u003e"),
    ("\u2028".encode(), rb"\u2028"),
    ("\u2029".encode(), rb"\u2029"),
)


def render_plain(value: Any, *, max_depth: int) -> bytes | None:
    """RFC 8785 bytes of a value of exactly the types of JSON without floats, nested at most so deep.

    None where the strict way must answer: another type or a subclass, a float, an integer beyond 2**53 - 1, a key that
    is no text, a lone surrogate, or a character beyond U+FFFF.
    """
    level = [value]
    for _ in range(max_depth + 1):
        types = set(map(type, level))
        if not _PLAIN.issuperset(types):
            return None
        if _SCALARS.issuperset(types):
            break
        level = _inside(level)
    else:
        return None
    try:
        raw = orjson.dumps(value, option=_RENDER)
    except orjson.JSONEncodeError:
        return None
    return raw if raw.isascii() or _BEYOND_BMP.search(raw) is None else None


def parse_plain(raw: bytes, *, max_depth: int, allow_floats: bool) -> Any:
    """The value of JSON that is written as machines write it: compact, with no escape that need not be.

    Args:
        raw: bytes, unverified.
        max_depth: the deepest nesting of objects and lists.
        allow_floats: whether numbers with a fraction or an exponent pass.

    Returns:
        The value where rendering it gives the same bytes again. Those name each member of each object once, so ``raw``
        has no key twice, and every number in it is one that was read exactly. Else ``NOT_PLAIN``.
    """
    try:
        value = orjson.loads(raw)
        rendered = orjson.dumps(value)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return NOT_PLAIN
    # Go ends what it encodes to a stream with a line feed.
    if rendered != raw and _as_go_writes(rendered) != raw.removesuffix(b"\n"):
        return NOT_PLAIN
    level = [value]
    for _ in range(max_depth + 1):
        types = set(map(type, level))
        if float in types and not allow_floats:
            return NOT_PLAIN
        if dict not in types and list not in types:
            return value
        level = _inside(level)
    return NOT_PLAIN


def parse_canonical(raw: bytes, *, max_depth: int) -> Any:
    """The value of JSON that is canonical (RFC 8785) without floats, or ``NOT_PLAIN`` where the strict way must answer.

    The value is rendered once, with its keys sorted: equal bytes say that they are canonical, and that no key stands
    twice. What that leaves open is floats and depth, which are looked for in the value.
    """
    try:
        value = orjson.loads(raw)
        rendered = orjson.dumps(value, option=_RENDER)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return NOT_PLAIN
    if rendered != raw or not (raw.isascii() or _BEYOND_BMP.search(raw) is None):
        return NOT_PLAIN
    level: list[Any] = [[value]]
    for _ in range(max_depth):  # one less than may be: an empty object at the bottom is not looked into
        inside: list[Any] = []
        for container in level:  # a plain loop: there are a hundred values in a leaf, and a call for each costs more
            for item in container.values() if type(container) is dict else container:
                kind = type(item)
                if kind is float:
                    return NOT_PLAIN
                if item and (kind is dict or kind is list):
                    inside.append(item)
        if not inside:
            return value
        level = inside
    return NOT_PLAIN


def _as_go_writes(rendered: bytes) -> bytes:
    for character, escape in _ESCAPED_BY_GO:
        rendered = rendered.replace(character, escape)
    return rendered


def _inside(level: list[Any]) -> list[Any]:
    """What stands in the objects and lists of one level of nesting, all together."""
    return [
        child
        for parent in level
        if type(parent) in _CONTAINERS
        for child in (parent.values() if type(parent) is dict else parent)
    ]
