"""From when until when decisions are judged again: ``30d``, a date, or a date and time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from placet.errors import FormatError

_AGO: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])", re.ASCII)
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def parse_moment(text: str, *, now: datetime) -> datetime:
    """Read a moment that somebody typed; UTC unless it says otherwise.

    Args:
        text: ``12h``, ``30d`` or ``4w`` ago, a date, or a date and time of RFC 3339.
        now: aware.

    Raises:
        FormatError: it is none of these.
    """
    if ago := _AGO.fullmatch(text):
        try:
            return now - int(ago[1]) * _UNITS[ago[2]]
        except OverflowError as exc:
            raise FormatError(f"{text} is longer ago than there are dates") from exc
    try:
        found = datetime.fromisoformat(text) if text[:4].isdigit() and text.isascii() else None
    except ValueError:
        found = None
    if found is None:
        raise FormatError(f"{text[:40]!r} is neither 30d, 12h or 4w ago, nor a date, nor a date and time")
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
