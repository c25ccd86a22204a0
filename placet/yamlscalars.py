"""What a YAML scalar means to kubectl: the rules of go.yaml.in/yaml/v2 and of Go's JSON numbers."""

from __future__ import annotations

import math
import re
import struct
from decimal import Decimal
from typing import Any, Final

LONGEST_NUMBER: Final = 400
_CONSTANTS: Final[dict[str, Any]] = {
    **dict.fromkeys(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], True),
    **dict.fromkeys(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], False),
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], math.nan),
    **dict.fromkeys([".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"], math.inf),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], -math.inf),
}
_INTEGER: Final = re.compile(r"([+-]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|([1-9][0-9]*|0))", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
# What follows a leading dot is read as Go reads a number: digits may be set apart by single underscores.
_DOTTED: Final = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?", re.ASCII)
_INT64: Final = range(-(2**63), 2**63)
_UINT64: Final = range(2**64)
# Go writes whole numbers below this without an exponent, as JSON.
_GO_DIGITS: Final = 1e21
_LARGEST_SINGLE: Final = 3.4e38
# ... and keys without one from the first of these powers of ten up to the second.
_GO_PLAIN: Final = (-4, 6)
MISMATCH: Final = object()


def resolve_scalar(text: str) -> Any:
    """What a plain scalar means to go.yaml.in/yaml/v2 (resolve.go); dates and base 60 are text."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "+-.0123456789" or len(text) > LONGEST_NUMBER:
        return text
    if text[0] == ".":
        return _float(text.replace("_", "")) if _DOTTED.fullmatch(text) else text
    plain = text.replace("_", "")
    match = _INTEGER.fullmatch(plain)
    if match is not None:
        value = _integer(match)
        if value in _INT64 or (not match[1] and value in _UINT64):
            return value
    return _float(plain) if _FLOAT.fullmatch(plain) else text


def resolve_tagged(tag: str, text: str) -> Any:
    """The same for a scalar with one of the tags int, float, bool and null; MISMATCH where it is none of that kind."""
    value = resolve_scalar(text)
    if tag == "float" and type(value) is int and value in _INT64:
        return float(value)
    found = "null" if value is None else {bool: "bool", int: "int", float: "float"}.get(type(value), "str")
    return value if found == tag else MISMATCH


def _integer(match: re.Match[str]) -> int:
    sign, hexadecimal, binary, octal, decimal = match.groups()
    digits, base = next(pair for pair in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10)) if pair[0])
    return -int(digits, base) if sign == "-" else int(digits, base)


def _float(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


def json_number(value: float) -> int | float:
    """A number after its way through kubectl's JSON: whole ones that fit 64 bits are integers."""
    if isinstance(value, int):
        return value if value in _INT64 else float(value)
    if not value.is_integer() or abs(value) >= _GO_DIGITS:
        return value
    # Go writes the shortest digits that name the number, and zeros; those are read again.
    whole = int(Decimal(repr(value)))
    return whole if whole in _INT64 else value


def key_text(value: Any) -> str | None:
    """A key as kubectl writes it, None for what it has no text for."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value in _INT64:
        return str(value)
    if isinstance(value, float) and abs(value) < _LARGEST_SINGLE:
        return _float_key(value)
    return None


def _float_key(value: float) -> str:
    """A number with a fraction or an exponent as a key: Go's ``FormatFloat(value, 'g', -1, 32)``."""
    text = next(short for precision in range(17) if _single(float(short := f"{value:.{precision}e}")) == _single(value))
    mantissa, _, exponent = text.partition("e")
    if not _GO_PLAIN[0] <= int(exponent) < _GO_PLAIN[1]:
        return f"{mantissa}e{exponent}"
    decimals = len(mantissa.replace("-", "").replace(".", "")) - 1 - int(exponent)
    return f"{float(text):.{max(decimals, 0)}f}"


def _single(value: float) -> bytes:
    """The nearest number of 32 bits."""
    return struct.pack("f", value)
