"""The one place where commands read the clock."""

from __future__ import annotations

from datetime import UTC, datetime


def now_utc() -> datetime:
    """This moment, in whole seconds: signed documents write no fractions."""
    return datetime.now(UTC).replace(microsecond=0)
