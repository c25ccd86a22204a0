"""Change windows and freezes: which are in force at a moment, by the clocks of the time zones that they name.

Zones are those of the package tzdata alone, so that two replicas on two machines agree. A window is a time of day: it
is open while a clock on the wall there shows a time in it, so that one in the hour that a clock skips does not open
that day, and one in the hour that it shows twice is open twice. A freeze is a span of time: it begins when the clock
first shows its beginning or has skipped it, and ends when the clock shows its end for the last time.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from importlib import resources
from typing import Any, Final
from zoneinfo import ZoneInfo

from placet.errors import FormatError

DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MIDNIGHT: Final = "24:00"
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class ChangeWindow:
    """A time of some days of the week.

    Attributes:
        environments: that it is for.
        days: 0 for Monday.
        start: first moment of the wall clock.
        end: first moment after it on the same day; None for midnight.
        zone: whose clock.
    """

    environments: frozenset[str]
    days: frozenset[int]
    start: time
    end: time | None
    zone: ZoneInfo

    def is_open(self, now: datetime) -> bool:
        """Whether the clock there shows a time in it; ``now`` is aware."""
        there = now.astimezone(self.zone)
        shown = there.time()
        return there.weekday() in self.days and self.start <= shown and (self.end is None or shown < self.end)


@dataclass(frozen=True, slots=True)
class Freeze:
    """A span of time.

    Attributes:
        environments: that it is for.
        start: first moment, aware UTC.
        end: first moment after it, aware UTC.
        except_kinds: kinds of change that it does not hold for.
    """

    environments: frozenset[str]
    start: datetime
    end: datetime
    except_kinds: frozenset[str]


@dataclass(frozen=True, slots=True)
class ChangeCalendar:
    """The windows and freezes of one set of policy data, by name. Made by ``parse_calendar``."""

    windows: Mapping[str, ChangeWindow]
    freezes: Mapping[str, Freeze]

    def open_windows(self, *, environment: str, now: datetime) -> list[str]:
        """Names of the windows that are open there now, sorted; ``now`` is aware."""
        return sorted(
            name for name, one in self.windows.items() if environment in one.environments and one.is_open(now)
        )

    def freezes_in_force(self, *, environment: str, change: str, now: datetime) -> list[str]:
        """Names of the freezes that hold there now for a kind of change, sorted; ``now`` is aware."""
        return sorted(
            name
            for name, one in self.freezes.items()
            if environment in one.environments and change not in one.except_kinds and one.start <= now < one.end
        )


def parse_calendar(change: Mapping[str, Any]) -> ChangeCalendar:
    """Read ``change`` of policy data that is of its JSON Schema.

    Raises:
        FormatError: a time zone is unknown, a time is none, or an end is not after its beginning. The message starts
            with ``change.<windows|freezes>.<name>.<member>:``.
    """
    return ChangeCalendar(
        {name: _read_window(f"change.windows.{name}", one) for name, one in change.get("windows", {}).items()},
        {name: _read_freeze(f"change.freezes.{name}", one) for name, one in change.get("freezes", {}).items()},
    )


def _read_window(path: str, entry: Mapping[str, Any]) -> ChangeWindow:
    zone = _find_zone(path, entry["timezone"])
    start = _read_time(f"{path}.from", entry["from"])
    end = None if entry["to"] == _MIDNIGHT else _read_time(f"{path}.to", entry["to"])
    if end is not None and end <= start:
        raise FormatError(f"{path}.to: is not after from on the same day; one past midnight is two windows")
    days: Iterable[str] = entry["days"]
    return ChangeWindow(frozenset(entry["environments"]), frozenset(DAYS.index(day) for day in days), start, end, zone)


def _read_time(path: str, text: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError as exc:
        raise FormatError(f"{path}: is not a time of day") from exc


def _read_freeze(path: str, entry: Mapping[str, Any]) -> Freeze:
    zone = _find_zone(path, entry["timezone"])
    start = _read_moment(f"{path}.from", entry["from"], zone, last=False)
    end = _read_moment(f"{path}.to", entry["to"], zone, last=True)
    if end <= start:
        raise FormatError(f"{path}.to: is not after from")
    return Freeze(frozenset(entry["environments"]), start, end, frozenset(entry.get("except_kinds", ())))


def _read_moment(path: str, text: str, zone: ZoneInfo, *, last: bool) -> datetime:
    """When the clock shows a time, first or last; where it skips it, when it does."""
    try:
        shown = datetime.fromisoformat(text)
        early, late = sorted(shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    except (ValueError, OverflowError) as exc:
        raise FormatError(f"{path}: is not a date and a time") from exc
    if early.astimezone(zone).replace(tzinfo=None) == shown:
        return late if last else early
    # Skipped: the clock is before it at ``early`` and after it at ``late``.
    while late - early > _SECOND:
        middle = early + timedelta(seconds=int((late - early).total_seconds()) // 2)
        if middle.astimezone(zone).replace(tzinfo=None) < shown:
            early = middle
        else:
            late = middle
    return late


def _find_zone(path: str, name: str) -> ZoneInfo:
    if name not in _zone_names():
        raise FormatError(f"{path}.timezone: the time zone database has no {name[:64]!a}")
    return _load_zone(name)


@functools.cache
def _zone_names() -> frozenset[str]:
    return frozenset((resources.files("tzdata") / "zones").read_text("utf-8").split())


@functools.cache
def _load_zone(name: str) -> ZoneInfo:
    file = resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
    with file.open("rb") as opened:
        return ZoneInfo.from_file(opened, key=name)
