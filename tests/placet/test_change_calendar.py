"""Change windows and freezes, by the clocks of their time zones: also on the nights when those jump."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.change_calendar import DAYS, ChangeCalendar, parse_calendar
from placet.errors import FormatError

BERLIN = "Europe/Berlin"


WORK = {"environments": ["production"], "days": ["tuesday"], "from": "09:00", "to": "16:00", "timezone": BERLIN}


def window(**change: Any) -> ChangeCalendar:
    return parse_calendar({"windows": {"work": WORK | change}})


def freeze(**change: Any) -> ChangeCalendar:
    span = {"from": "2026-12-20T00:00", "to": "2027-01-04T00:00", "timezone": BERLIN}
    return parse_calendar({"freezes": {"holidays": {"environments": ["production"], **span, **change}}})


def is_open(calendar: ChangeCalendar, utc: str, environment: str = "production") -> bool:
    now = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    found = calendar.open_windows(environment=environment, now=now)
    assert found in ([], ["work"])
    return bool(found)


def is_frozen(calendar: ChangeCalendar, utc: str, change: str = "changed", environment: str = "production") -> bool:
    now = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    return bool(calendar.freezes_in_force(environment=environment, change=change, now=now))


@pytest.mark.parametrize(
    ("utc", "expected"),
    [
        ("2026-11-24T07:59:59.999999", False),
        ("2026-11-24T08:00:00", True),  # 09:00 in winter
        ("2026-11-24T14:59:59.999999", True),
        ("2026-11-24T15:00:00", False),
        ("2026-07-21T07:00:00", True),  # 09:00 in summer
        ("2026-07-21T06:59:59", False),
        ("2026-11-25T10:00:00", False),  # a Wednesday
    ],
)
def test_a_window_is_half_open_on_the_wall_clock_of_its_zone(utc: str, expected: bool) -> None:
    assert is_open(window(), utc) is expected


def test_a_day_is_that_of_the_zone() -> None:
    auckland = window(**{"from": "00:00", "to": "24:00", "timezone": "Pacific/Auckland"})
    assert is_open(auckland, "2026-11-23T12:00:00")  # Monday noon in UTC is Tuesday 01:00 there
    assert not is_open(auckland, "2026-11-24T11:00:00")
    assert is_open(auckland, "2026-11-24T10:59:59")


def test_a_window_is_of_its_environments() -> None:
    assert not is_open(window(), "2026-11-24T10:00:00", "staging")
    assert not is_frozen(freeze(), "2026-12-24T10:00:00", environment="staging")


def test_a_window_in_the_hour_that_the_clock_skips_does_not_open_that_day() -> None:
    night = window(**{"days": ["sunday"], "from": "02:15", "to": "02:45"})
    skipped = datetime(2026, 3, 29, tzinfo=UTC)
    assert not any(is_open(night, (skipped + timedelta(minutes=one)).isoformat()[:19]) for one in range(24 * 60))
    assert is_open(night, "2026-03-22T01:30:00")


def test_a_window_in_the_hour_that_the_clock_shows_twice_is_open_twice() -> None:
    night = window(**{"days": ["sunday"], "from": "02:15", "to": "02:45"})
    assert [is_open(night, f"2026-10-25T{time}:00") for time in ("00:30", "00:50", "01:30", "01:50")] == [
        True,
        False,
        True,
        False,
    ]


def test_a_freeze_is_half_open() -> None:
    assert not is_frozen(freeze(), "2026-12-19T22:59:59.999999")
    assert is_frozen(freeze(), "2026-12-19T23:00:00")
    assert is_frozen(freeze(), "2027-01-03T22:59:59.999999")
    assert not is_frozen(freeze(), "2027-01-03T23:00:00")


def test_a_freeze_excepts_kinds_of_change() -> None:
    but_new = freeze(except_kinds=["new"])
    assert [is_frozen(but_new, "2026-12-24T10:00:00", kind) for kind in ("new", "changed", "adopted")] == [
        False,
        True,
        True,
    ]


def test_a_freeze_within_the_hour_that_is_shown_twice_has_no_hole() -> None:
    one = freeze(**{"from": "2026-10-25T02:30", "to": "2026-10-25T02:40"})
    assert not is_frozen(one, "2026-10-25T00:29:59")
    assert all(is_frozen(one, f"2026-10-25T{time}:00") for time in ("00:30", "00:50", "01:10", "01:39"))
    assert not is_frozen(one, "2026-10-25T01:40:00")


def test_a_freeze_from_a_time_that_is_skipped_begins_and_ends_when_it_is() -> None:
    one = freeze(**{"from": "2026-03-29T02:30", "to": "2026-03-29T04:00"})
    assert not is_frozen(one, "2026-03-29T00:59:59")
    assert is_frozen(one, "2026-03-29T01:00:00")
    two = freeze(**{"from": "2026-03-29T00:00", "to": "2026-03-29T02:30"})
    assert is_frozen(two, "2026-03-29T00:59:59")
    assert not is_frozen(two, "2026-03-29T01:00:00")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"timezone": "Europe/Atlantis"}, "change.windows.work.timezone:"),
        ({"timezone": ""}, "change.windows.work.timezone:"),
        ({"timezone": "../../etc/passwd"}, "change.windows.work.timezone:"),
        ({"timezone": "Europe"}, "change.windows.work.timezone:"),
        ({"timezone": "europe/berlin"}, "change.windows.work.timezone:"),
        ({"to": "09:00"}, "change.windows.work.to:"),
        ({"to": "08:00"}, "change.windows.work.to:"),
        ({"from": "25:00"}, "change.windows.work.from:"),
    ],
)
def test_a_window_that_can_not_be_meant_is_refused(change: dict[str, str], path: str) -> None:
    with pytest.raises(FormatError) as caught:
        window(**change)
    assert str(caught.value).startswith(path)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"timezone": "Mars/Olympus"}, "change.freezes.holidays.timezone:"),
        ({"to": "2026-12-20T00:00"}, "change.freezes.holidays.to:"),
        ({"from": "2026-02-30T00:00"}, "change.freezes.holidays.from:"),
        ({"from": "0000-01-01T00:00"}, "change.freezes.holidays.from:"),
        ({"from": "0001-01-01T00:00"}, "change.freezes.holidays.from:"),
        ({"to": "9999-12-31T23:59", "timezone": "America/Los_Angeles"}, "change.freezes.holidays.to:"),
    ],
)
def test_a_freeze_that_can_not_be_meant_is_refused(change: dict[str, str], path: str) -> None:
    with pytest.raises(FormatError) as caught:
        freeze(**change)
    assert str(caught.value).startswith(path)


def opening(calendar: ChangeCalendar, utc: str, change: str = "changed", environment: str = "production") -> str:
    now = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    found = calendar.next_opening(environment=environment, change=change, now=now)
    if found is None:
        return ""
    assert found.moment >= now
    return f"{found.moment.isoformat(sep=' ', timespec='minutes')} {found.zone} {found.window}"


@pytest.mark.parametrize(
    ("change", "utc", "expected"),
    [
        ({}, "2026-11-25T10:00", "2026-12-01 09:00+01:00"),  # a week later: it is Wednesday
        ({}, "2026-11-24T07:59:59", "2026-11-24 09:00+01:00"),
        ({}, "2026-11-24T10:30", "2026-11-24 11:30+01:00"),  # open now
        ({}, "2026-11-24T15:00", "2026-12-01 09:00+01:00"),
        ({}, "2026-03-25T10:00", "2026-03-31 09:00+02:00"),  # summer time begins in between
        ({}, "2026-10-21T10:00", "2026-10-27 09:00+01:00"),  # and ends
        # The clock jumps from 02:00 to 03:00 on Sunday, 29 March, and back from 03:00 to 02:00 on 25 October.
        ({"days": ["sunday"], "from": "02:15", "to": "02:45"}, "2026-03-28T10:00", "2026-04-05 02:15+02:00"),
        ({"days": ["sunday"], "from": "02:30", "to": "04:00"}, "2026-03-28T10:00", "2026-03-29 03:00+02:00"),
        ({"days": ["sunday"], "from": "02:15", "to": "02:45"}, "2026-10-24T10:00", "2026-10-25 02:15+02:00"),
        ({"days": ["sunday"], "from": "02:15", "to": "02:45"}, "2026-10-25T00:50", "2026-10-25 02:15+01:00"),
        ({"days": ["sunday"], "from": "01:00", "to": "02:30"}, "2026-10-25T00:40", "2026-10-25 02:00+01:00"),
        # In Cairo it is midnight that is skipped, on Friday, 24 April.
        (
            {"days": ["friday"], "from": "00:30", "to": "02:00", "timezone": "Africa/Cairo"},
            "2026-04-23T10:00",
            "2026-04-24 01:00+03:00",
        ),
    ],
)
def test_the_next_opening_is_by_the_clock_of_the_zone(change: dict[str, Any], utc: str, expected: str) -> None:
    zone = change.get("timezone", BERLIN)
    assert opening(window(**change), utc) == f"{expected} {zone} work"


def test_the_next_opening_lies_behind_every_freeze() -> None:
    spans = {
        "year-end": ("2026-12-20T00:00", "2027-01-04T00:00", BERLIN, []),
        "audit": ("2027-01-03T12:00", "2027-01-12T10:00", "UTC", []),
        "later": ("2027-02-01T00:00", "2027-03-01T00:00", "UTC", []),
        "for-most": ("2026-11-01T00:00", "2027-06-01T00:00", "UTC", ["rollback"]),
    }
    freezes = {
        name: {"environments": ["production"], "from": first, "to": last, "timezone": zone, "except_kinds": kinds}
        for name, (first, last, zone, kinds) in spans.items()
    }
    calendar = parse_calendar({"windows": {"work": WORK}, "freezes": freezes})
    # The freeze for the audit ends in the middle of a window.
    assert opening(calendar, "2026-12-22T10:00", "rollback") == f"2027-01-12 11:00+01:00 {BERLIN} work"
    assert opening(calendar, "2027-01-13T10:00", "rollback") == f"2027-01-19 09:00+01:00 {BERLIN} work"
    assert opening(calendar, "2026-12-22T10:00") == f"2027-06-01 09:00+02:00 {BERLIN} work"


def test_where_no_window_opens_nothing_is_said() -> None:
    assert opening(window(), "2026-11-25T10:00", environment="staging") == ""
    assert opening(freeze(), "2026-12-24T10:00") == ""
    ends = {"environments": ["production"], "from": "2026-01-01T00:00", "to": "9999-12-31T23:00", "timezone": "UTC"}
    both = parse_calendar({"windows": {"work": WORK}, "freezes": {"for-good": ends}})
    assert opening(both, "2026-12-24T10:00") == ""


_ZONES = st.sampled_from(
    [BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC", "Africa/Casablanca", "Africa/Cairo"]
)
_MINUTES = st.integers(0, 1439)
# Half of the moments are within a day of a change of some clock.
_MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)) | st.builds(  # noqa: DTZ001
    lambda day, minutes: day + timedelta(minutes=minutes),
    st.sampled_from(
        [datetime(2026, month, day, tzinfo=UTC) for month, day in ((3, 8), (3, 29), (4, 4), (10, 3), (10, 25), (11, 1))]
    ),
    st.integers(-1440, 2 * 1440),
)


def shown(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


@given(_ZONES, _MINUTES, _MINUTES, st.sampled_from(DAYS), _MOMENTS)
def test_a_window_is_open_exactly_while_the_clock_shows_a_time_in_it(
    zone: str, one: int, other: int, day: str, now: datetime
) -> None:
    first, last = sorted((one, other))
    end = shown(last) if last > first else "24:00"
    calendar = window(**{"timezone": zone, "from": shown(first), "to": end, "days": [day]})
    there = now.astimezone(ZoneInfo(zone))
    minute = there.hour * 60 + there.minute
    expected = DAYS[there.weekday()] == day and first <= minute < (last if last > first else 1440)
    assert bool(calendar.open_windows(environment="production", now=now)) == expected


@given(_ZONES, _MINUTES, _MINUTES, st.sets(st.sampled_from(DAYS), min_size=1), _MOMENTS)
def test_no_minute_before_the_next_opening_is_open(
    zone: str, one: int, other: int, days: set[str], now: datetime
) -> None:
    first, last = sorted((one, other))
    end = shown(last) if last > first else "24:00"
    calendar = window(**{"timezone": zone, "from": shown(first), "to": end, "days": sorted(days)})
    found = calendar.next_opening(environment="production", change="new", now=now)
    assert found is not None
    assert calendar.open_windows(environment="production", now=found.moment) == ["work"]
    minutes = min(int((found.moment - now) / timedelta(minutes=1)), 2880)
    before = [found.moment - timedelta(minutes=ago) for ago in range(1, minutes + 1)]
    assert not [at for at in before if at >= now and calendar.open_windows(environment="production", now=at)]


@given(_ZONES, _MOMENTS, st.integers(1, 3000), _MOMENTS)
def test_a_freeze_has_no_hole_and_covers_all_that_the_clock_shows_of_it(
    zone: str, start: datetime, minutes: int, now: datetime
) -> None:
    begin = start.replace(tzinfo=None, second=0, microsecond=0)
    end = begin + timedelta(minutes=minutes)
    try:
        calendar = freeze(**{"timezone": zone, "from": begin.isoformat()[:16], "to": end.isoformat()[:16]})
    except FormatError:  # all of it is skipped
        assert minutes <= 120
        return
    (span,) = calendar.freezes.values()
    frozen = bool(calendar.freezes_in_force(environment="production", change="new", now=now))
    assert frozen == (span.start <= now < span.end)
    there = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    if begin <= there < end:
        assert frozen
    # An hour more or less is all that a clock can jump.
    assert frozen <= (begin - timedelta(hours=1) <= there < end + timedelta(hours=1))
