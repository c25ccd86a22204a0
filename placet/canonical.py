"""The one place where bytes that are hashed or signed are made, and the strict reader of JSON.

Canonical JSON is RFC 8785 (JCS) without floating point: numbers are integers within plus or minus 2**53 - 1.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import rfc8785

from placet.errors import CanonicalError, FormatError
from placet.plainjson import NOT_PLAIN, parse_plain, render_plain

MAX_SAFE_INTEGER: Final = 2**53 - 1
MAX_DEPTH: Final = 64
_HEX_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
# Whole strings are passed over, one without an end too: searched again from each quote in it, 64 KiB took 20 seconds.
_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_LONGEST_INTEGER: Final = 20
_SURROGATE_RANGE: Final = ("\ud800", "\udfff")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A SHA-256 digest, printed ``sha256:`` and 64 lower-case hexadecimal digits."""

    hex: str

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """Digest of the bytes."""
        return cls(hashlib.sha256(content).hexdigest())

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read the printed form exactly.

        Raises:
            FormatError: anything but ``sha256:`` and 64 lower-case hexadecimal digits.
        """
        match = _HEX_DIGEST.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise FormatError("not sha256: and 64 lower-case hexadecimal digits", code="digest_invalid")
        return cls(match[1])

    def __str__(self) -> str:
        return f"sha256:{self.hex}"


def render_canonical(value: Any) -> bytes:
    """RFC 8785 bytes of a JSON value made of dict, list, str, int, bool and None.

    Raises:
        CanonicalError: a float, an integer beyond 2**53 - 1, a key that is not text, a lone surrogate,
            nesting deeper than ``MAX_DEPTH``, or any other type.
    """
    raw = render_plain(value, max_depth=MAX_DEPTH)
    return raw if raw is not None else render_strictly(value)


def render_strictly(value: Any) -> bytes:
    """What ``render_canonical`` gives, by the reference implementation alone, some thirty times slower."""
    _require_plain(value, depth=0)
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeError, RecursionError) as exc:
        raise CanonicalError("the value has no canonical JSON form") from exc


def _require_plain(value: Any, *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise CanonicalError(f"nested deeper than {MAX_DEPTH}")
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        _require_no_surrogate(value)
    elif isinstance(value, int):
        if abs(value) > MAX_SAFE_INTEGER:
            raise CanonicalError("an integer beyond 2**53 - 1")
    elif isinstance(value, dict):
        for key, child in value.items():
            if not isinstance(key, str):
                raise CanonicalError("an object key that is not text")
            _require_no_surrogate(key)
            _require_plain(child, depth=depth + 1)
    elif isinstance(value, list | tuple):
        for child in value:
            _require_plain(child, depth=depth + 1)
    else:
        raise CanonicalError(f"a value of type {type(value).__name__}")


def _require_no_surrogate(text: str) -> None:
    low, high = _SURROGATE_RANGE
    if not text.isascii() and any(low <= char <= high for char in text):
        raise CanonicalError("a lone surrogate in text")


def parse_json(raw: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH, allow_floats: bool = False) -> Any:
    """Read one JSON document strictly.

    Args:
        raw: UTF-8 bytes, no byte order mark.
        max_bytes: the most that is read, in bytes.
        max_depth: the deepest nesting of objects and lists.
        allow_floats: whether numbers with a fraction or an exponent pass (never in what is signed).

    Raises:
        FormatError: not UTF-8, a byte order mark, not JSON, a key given twice, NaN or Infinity, a float where
            none may be, an integer of more than 20 characters, a lone surrogate, too large, or too deep.
    """
    if len(raw) > max_bytes:
        raise FormatError(f"{len(raw)} bytes, more than the {max_bytes} allowed", code="too_large")
    value = parse_plain(raw, max_depth=max_depth, allow_floats=allow_floats)
    return value if value is not NOT_PLAIN else parse_strictly(raw, max_depth=max_depth, allow_floats=allow_floats)


def parse_strictly(raw: bytes, *, max_depth: int, allow_floats: bool) -> Any:
    """What ``parse_json`` gives, however the JSON is written. Every error comes from here."""
    try:
        text = raw.decode("utf-8", errors="strict")
    except UnicodeDecodeError as exc:
        raise FormatError("not UTF-8", code="not_utf8") from exc
    if text.startswith("\ufeff"):
        raise FormatError("starts with a byte order mark", code="byte_order_mark")
    _require_depth(text, max_depth)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique_object,
            parse_constant=_refuse_constant,
            parse_float=float if allow_floats else _refuse_float,
            parse_int=_bounded_integer,
        )
    except (json.JSONDecodeError, RecursionError) as exc:
        raise FormatError(f"not JSON: {exc}", code="not_json") from exc
    if "\\u" in text:
        _require_text(value)
    return value


def _require_depth(text: str, max_depth: int) -> None:
    depth = 0
    for match in _BRACKETS.finditer(text):
        mark = match[0]
        if mark in "[{":
            depth += 1
            if depth > max_depth:
                raise FormatError(f"nested deeper than {max_depth}", code="too_deep")
        elif mark in "]}":
            depth -= 1


def _require_text(value: Any) -> None:
    if isinstance(value, str):
        try:
            _require_no_surrogate(value)
        except CanonicalError as exc:
            raise FormatError("a lone surrogate in text", code="not_utf8") from exc
    elif isinstance(value, dict):
        for key, child in value.items():
            _require_text(key)
            _require_text(child)
    elif isinstance(value, list):
        for child in value:
            _require_text(child)


def _unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise FormatError(f"the key {key[:64]!r} is given twice", code="duplicate_key")
            seen.add(key)
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise FormatError(f"{name} is not JSON", code="not_json")


def _refuse_float(text: str) -> NoReturn:
    raise FormatError(f"{text[:32]} is not an integer", code="float_refused")


def _bounded_integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER:
        raise FormatError("an integer of more than 20 characters", code="integer_too_long")
    return int(text)
