"""Who is refused by the calendar is told when changes may be made."""

from __future__ import annotations

from pathlib import Path

from placet.messages import render_message, render_warnings
from placet.policy.data import merge_policy_data
from tests.simulators.gate import GateDesk, example, review

CALENDAR = """
environments:
  production: {{requires: [change.window], mode: {mode}}}
change:
  windows:
    nightly: {{environments: [production], days: [saturday], from: "02:15", to: "02:45", timezone: Europe/Berlin}}
  freezes: {freezes}
"""
ALWAYS = "{{holidays: {{environments: [production], from: '2020-01-01T00:00', to: '{to}', timezone: UTC}}}}"


def asked(folder: Path, *, mode: str = "enforce", freezes: str = "{}") -> tuple[str, tuple[str, ...]]:
    """Message and warnings of what the calendar refuses."""
    data = merge_policy_data(CALENDAR.format(mode=mode, freezes=freezes).encode(), name="policy-data.yaml")
    desk = GateDesk.open(folder, data=data)
    decision = desk.decide(review(example()))
    return render_message(decision), tuple(render_warnings(decision))


def test_a_refusal_says_when_the_next_window_opens(tmp_path: Path) -> None:
    message, _ = asked(tmp_path)
    assert (
        "- change.window: no change window is open; changes may be made from 2026-11-28 02:15+01:00 Europe/Berlin on "
        "(nightly)"
    ) in message


def test_a_freeze_is_told_with_the_window_behind_it(tmp_path: Path) -> None:
    message, _ = asked(tmp_path, freezes=ALWAYS.format(to="2027-03-27T12:00"))
    # On 28 March, in the night to the following Sunday, summer time begins; the window is on Saturdays.
    expected = "; changes may be made from 2027-04-03 02:15+02:00 Europe/Berlin on (nightly)"
    assert f"the freeze holidays is in force{expected}" in message
    assert f"no change window is open{expected}" in message


def test_a_freeze_without_end_promises_nothing(tmp_path: Path) -> None:
    message, _ = asked(tmp_path, freezes=ALWAYS.format(to="9999-12-31T12:00"))
    assert "the freeze holidays is in force\n" in message
    assert "changes may be made" not in message


def test_a_warning_says_it_too(tmp_path: Path) -> None:
    message, warnings = asked(tmp_path, mode="warn")
    assert message == ""
    assert any("change.window" in one and "2026-11-28 02:15+01:00" in one for one in warnings), warnings
