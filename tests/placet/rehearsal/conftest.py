"""A record of weeks: half of it judged by the policy data that ship, half by an operator's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from placet.policy.data import PolicyData, load_policy_data, merge_policy_data
from tests.simulators.cases import CaseDesk
from tests.simulators.traffic import Known, make_traffic

HALF = 60
# Two roles are enough in the second half, whatever the risk.
LATER = b"""\
environments: {production: {approvals: [technical, security]}}
risk_approvals: {critical: [technical]}
"""


@dataclass(frozen=True)
class Weeks:
    """The record, and what is known of its decisions.

    Attributes:
        store: the file.
        first: decisions by the data that ship.
        second: by ``LATER``, after ``turn``.
        turn: when the data changed.
        end: after the last.
    """

    store: Path
    first: list[Known]
    second: list[Known]
    turn: datetime
    end: datetime


@pytest.fixture(scope="package")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Weeks:
    folder = tmp_path_factory.mktemp("weeks")
    first, turn = _live(folder, load_policy_data(None), None, 11)
    second, end = _live(folder, later_data(), turn, 12)
    return Weeks(folder / "record.sqlite", first, second, turn, end)


def later_data() -> PolicyData:
    return merge_policy_data(LATER, name="later")


def _live(folder: Path, data: PolicyData, begin: datetime | None, seed: int) -> tuple[list[Known], datetime]:
    """Decisions of a fortnight; when the next begins."""
    desk = CaseDesk.start(folder, data=data)
    try:
        desk.desk.now = begin or desk.desk.now
        desk.configure()
        known = make_traffic(desk, HALF, seed=seed, every=timedelta(hours=5))
        return known, desk.desk.now
    finally:
        desk.log.close()
