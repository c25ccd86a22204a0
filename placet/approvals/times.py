"""Moments as every signed document writes them, and spans as a person reads them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from placet.errors import FormatError

# RFC 3339 allows offsets, fractions, lower case and a leap second; one moment with one spelling needs none of them.
_TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)
_OLDEST_YEAR: Final = 1970


def parse_time(text: object) -> datetime:
    """Read ``YYYY-MM-DDTHH:MM:SSZ``, the one form of RFC 3339 that is accepted.

    Raises:
        FormatError: any other form, a year before 1970, or no such moment.
    """
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise FormatError("not a time of the form YYYY-MM-DDTHH:MM:SSZ", code="time_invalid")
    year, month, day, hour, minute, second = (int(part) for part in match.groups())
    if year < _OLDEST_YEAR:
        raise FormatError("a time before 1970", code="time_invalid")
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as exc:
        raise FormatError(f"no such time: {exc}", code="time_invalid") from exc


def render_time(moment: datetime) -> str:
    """The moment in the strict form, in whole seconds.

    Args:
        moment: an aware time; a fraction of a second is cut off.
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def describe_span(span: timedelta) -> str:
    """A span in one unit, rounded down: ``40 s``, ``12 min``, ``2 h``, ``3 days``."""
    seconds = int(abs(span).total_seconds())
    if seconds < 2 * 60:
        return f"{seconds} s"
    if seconds < 2 * 3600:
        return f"{seconds // 60} min"
    if seconds < 2 * 86400:
        return f"{seconds // 3600} h"
    return f"{seconds // 86400} days"
