"""Kubernetes quantities in canonical form: ``1024Mi`` is ``1Gi``, ``0.5`` is ``500m``.

The rules are those of ``resource.Quantity`` in k8s.io/apimachinery (``ParseQuantity``, ``CanonicalizeBytes``), in
exact integer arithmetic: a quantity keeps its family of suffixes (binary, decimal or exponent), loses its fraction,
and its suffix is as large as an integer mantissa allows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from placet.errors import FormatError

MAX_CHARACTERS: Final = 64
_FORM: Final = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*(?:[+-]?[0-9]+)?)", re.ASCII)
_EXPONENT: Final = re.compile(r"[eE]([+-]?[0-9]{1,4})", re.ASCII)
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX: Final = {0: "", **{exponent: suffix for suffix, exponent in _BINARY.items()}}
# No quantity is finer than a billionth; what is finer is rounded away from zero.
_FINEST: Final = -9
_LARGEST_BINARY: Final = 2**63 - 1
# The API server itself puts what is beyond this into a form that has no suffix; no real size comes near.
_LARGEST_EXPONENT: Final = 30


@dataclass(frozen=True, slots=True)
class _Amount:
    """``mantissa`` times ten to the power of ``exponent``, and the family of the suffix it was written with."""

    mantissa: int
    exponent: int
    family: str


def canonical_quantity(text: str) -> str:
    """The one way to write the quantity.

    Raises:
        FormatError: not a quantity, longer than ``MAX_CHARACTERS`` or beyond ten to the power of 30.
    """
    amount = _parse(text.strip(" \t\r\n"))
    if amount.mantissa == 0:
        return "0"
    if abs(amount.mantissa) > 10 ** (_LARGEST_EXPONENT - amount.exponent):
        raise FormatError("the quantity is beyond ten to the power of 30", code="quantity_invalid")
    if amount.family == "binary":
        whole, remainder = divmod(abs(amount.mantissa), 10**-amount.exponent)
        # Else the API writes a number without a binary suffix, and reads that as a decimal one the next time.
        if whole and remainder == 0 and whole % 1024 == 0:
            return _render_binary(amount.mantissa < 0, whole)
        return _render_decimal(amount, "decimal")
    return _render_decimal(amount, amount.family)


def _parse(text: str) -> _Amount:
    match = _FORM.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if match is None or not (match[2] or match[3]):
        raise FormatError("not a quantity such as 500m, 2 or 16Gi", code="quantity_invalid")
    sign, whole, fraction, suffix = match[1], match[2], match[3] or "", match[4]
    mantissa = int(f"{whole}{fraction}" or "0") * (-1 if sign == "-" else 1)
    exponent = -len(fraction)
    if suffix in _BINARY:
        return _rounded(_capped(mantissa << _BINARY[suffix], exponent), exponent, "binary")
    if suffix in _DECIMAL:
        return _rounded(mantissa, exponent + _DECIMAL[suffix], "decimal")
    power = _EXPONENT.fullmatch(suffix)
    if power is None or abs(int(power[1])) > _LARGEST_EXPONENT:
        raise FormatError(f"the suffix {suffix!r} is not one of a quantity", code="quantity_invalid")
    return _rounded(mantissa, exponent + int(power[1]), "exponent")


def _capped(mantissa: int, exponent: int) -> int:
    limit: int = _LARGEST_BINARY * 10**-exponent
    return max(-limit, min(limit, mantissa))


def _rounded(mantissa: int, exponent: int, family: str) -> _Amount:
    """The amount with no digit below a billionth, rounded away from zero."""
    if exponent < _FINEST:
        divisor = 10 ** (_FINEST - exponent)
        whole = -(-abs(mantissa) // divisor)
        mantissa, exponent = (whole if mantissa > 0 else -whole), _FINEST
    return _Amount(mantissa, exponent, family)


def _render_binary(negative: bool, whole: int) -> str:
    power = 0
    while whole % 1024 == 0 and power + 10 in _BINARY_SUFFIX:
        whole, power = whole // 1024, power + 10
    return f"{'-' if negative else ''}{whole}{_BINARY_SUFFIX[power]}"


def _render_decimal(amount: _Amount, family: str) -> str:
    mantissa, exponent = amount.mantissa, amount.exponent
    while mantissa % 10 == 0:
        mantissa, exponent = mantissa // 10, exponent + 1
    while exponent % 3:
        mantissa, exponent = mantissa * 10, exponent - 1
    if family == "exponent":
        return f"{mantissa}e{exponent}" if exponent else str(mantissa)
    if exponent not in _DECIMAL_SUFFIX:
        raise FormatError("the quantity is too large to be written with a suffix", code="quantity_invalid")
    return f"{mantissa}{_DECIMAL_SUFFIX[exponent]}"
