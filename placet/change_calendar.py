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
from datetime import UTC, date, datetime, time, timedelta
from importlib import resources
from typing import Any, Final
from zoneinfo import ZoneInfo

from placet.errors import FormatError

DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MIDNIGHT: Final = "24:00"
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
# A window of one day of the week may fall into the hour that a clock skips; a week later it does not again.
_LOOK_AHEAD: Final = 15


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

    def next_opening(self, now: datetime) -> datetime | None:
        """When it opens first after ``now``, aware UTC; None where it does not within two weeks.

        Where the clock shows its beginning twice, or jumps into it, that counts as well: both open it.
        """
        first = now.astimezone(self.zone).date()
        for day in (first + timedelta(days=ahead) for ahead in range(_LOOK_AHEAD)):
            if day.weekday() not in self.days:
                continue
            starts = [datetime.combine(day, self.start, self.zone).replace(fold=fold) for fold in (0, 1)]
            found = [one.astimezone(UTC) for one in starts] + _find_jumps(day, self.zone)
            if later := [one for one in found if one > now and self.is_open(one)]:
                return min(later)
        return None


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
class Opening:
    """When changes may be made next.

    Attributes:
        moment: the first one, aware, by the clock of the window's zone.
        window: name of the window that is open then.
        zone: name of its zone.
    """

    moment: datetime
    window: str
    zone: str


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

    def next_opening(self, *, environment: str, change: str, now: datetime) -> Opening | None:
        """The first moment from ``now`` on at which a window is open there and no freeze holds for a kind of change.

        None where there is no such moment, as far as can be told: no window is for the environment, or time ends first.
        """
        windows = {name: one for name, one in sorted(self.windows.items()) if environment in one.environments}
        freezes = [one for one in self.freezes.values() if environment in one.environments]
        moment = now.astimezone(UTC)
        try:
            while True:
                held = [one.end for one in freezes if change not in one.except_kinds and one.start <= moment < one.end]
                if held:  # each freeze once: behind its end it holds no more
                    moment = max(held)
                elif found := self.open_windows(environment=environment, now=moment):
                    zone = windows[found[0]].zone
                    return Opening(moment.astimezone(zone), found[0], zone.key)
                elif later := [one for window in windows.values() if (one := window.next_opening(moment))]:
                    moment = min(later)
                else:
                    return None
        except (ValueError, OverflowError):  # the years of datetime end
            return None


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


def _find_jumps(day: date, zone: ZoneInfo) -> list[datetime]:
    """When the clock of a zone is moved on a day or shortly before, aware UTC: nobody does so twice."""
    middle_of_day = datetime.combine(day, time(12), zone).astimezone(UTC)
    early, late = middle_of_day - _DAY, middle_of_day + _DAY
    before = early.astimezone(zone).utcoffset()
    if late.astimezone(zone).utcoffset() == before:
        return []
    while late - early > _SECOND:
        middle = early + timedelta(seconds=int((late - early).total_seconds()) // 2)
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return [late]


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
