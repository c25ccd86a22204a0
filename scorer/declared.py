"""Text of unsigned annotations, read by a strict grammar; None for anything else.

Each value has one spelling: no sign, blank, exponent, separator, leading zero or digit beyond ASCII.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from scorer.factors import Rollback

_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,15}", re.ASCII)
_RATIO: Final = re.compile(r"([01])(?:\.([0-9]{1,9}))?", re.ASCII)


def parse_text(text: str) -> str | None:
    """The text as it stands: a word that its factor's table knows or not."""
    return text


def parse_integer(text: str) -> int | None:
    """``70000000000``; at most 16 digits, a minus only before a digit other than 0."""
    return int(text) if _INTEGER.fullmatch(text) else None


def parse_ratio(text: str) -> Fraction | None:
    """``0.85``: 0 or 1 and at most 9 decimals, exactly; percentages are not read."""
    match = _RATIO.fullmatch(text)
    if match is None:
        return None
    whole, decimals = match[1], match[2] or ""
    return Fraction(int(whole + decimals), 10 ** len(decimals))


def parse_rollback(text: str) -> Rollback | None:
    """``3``: a rollback of three minutes."""
    minutes = parse_integer(text)
    return None if minutes is None else Rollback(available=True, minutes=minutes)
