"""Times that are looked at together are noted as one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from placet.audit.pace import Pace

_TIMES = [
    "2026-02-27T23:59:59.000000Z",
    "2026-02-28T00:00:00.000000Z",
    "2026-02-28T00:09:00.000000Z",
    "2026-02-28T00:21:00.000000Z",
    "2026-02-28T09:00:00.000000Z",
    "2026-02-31T00:00:00.000000Z",  # which is none
    "2026-03-01T00:00:00.000000Z",
    "",
]
_PARTS = st.lists(
    st.lists(
        st.tuples(st.sampled_from(_TIMES), st.sampled_from([None, None, None, 600, 0, -5, 10**16, "x"])), min_size=1
    ),
    max_size=4,
)


def notes(parts: list[list[tuple[str, Any]]], *, together: bool, ascending: bool) -> list[str]:
    pace = Pace()
    start = 0
    for unordered in parts:
        part = sorted(unordered, key=lambda one: one[0]) if ascending else unordered
        if together:
            said = {place: interval for place, (_, interval) in enumerate(part) if interval is not None}
            pace.add_all(start, [time for time, _ in part], said)
        else:
            for index, (time, interval) in enumerate(part, start):
                if time:
                    pace.add(index, time, interval)
        start += len(part)
    return list(pace.notes())


@given(_PARTS, st.booleans())
def test_what_is_noted_does_not_hang_on_how_many_are_looked_at_together(
    parts: list[list[tuple[str, Any]]], ascending: bool
) -> None:
    assert notes(parts, together=True, ascending=ascending) == notes(parts, together=False, ascending=ascending)


def test_silence_between_two_parts_is_noted() -> None:
    parts: list[list[tuple[str, Any]]] = [[(_TIMES[0], 600)], [(_TIMES[1], None)], [(_TIMES[4], None)]]
    (note,) = notes(parts, together=True, ascending=True)
    assert note.startswith("1 times nothing was written")
