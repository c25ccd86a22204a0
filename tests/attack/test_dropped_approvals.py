"""An update that changes nothing governed can't shed approvals ahead of their revocation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.simulators.gate import GateDesk, example, review

ROLES = ("technical", "security", "business", "executive")
SECURITY = "placet.dev/approval.security"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[GateDesk]:
    opened = GateDesk.open(tmp_path)
    yield opened
    opened.log.close()


def test_taking_a_good_approval_off_is_judged_anew(desk: GateDesk) -> None:
    manifest = desk.approve(example(), *ROLES)
    bare = copy.deepcopy(manifest)
    del bare["metadata"]["annotations"][SECURITY]
    decision = desk.decide(review(bare, old=manifest))
    assert decision.change == "changed"
    assert not decision.allowed


@pytest.mark.parametrize("value", ["", "%%%", "e30="])
def test_putting_rubbish_in_its_place_is_judged_anew(desk: GateDesk, value: str) -> None:
    manifest = desk.approve(example(), *ROLES)
    spoilt = copy.deepcopy(manifest)
    spoilt["metadata"]["annotations"][SECURITY] = value
    assert not desk.decide(review(spoilt, old=manifest)).allowed


def test_renewing_one_expired_approval_after_the_other_is_carried_forward(desk: GateDesk) -> None:
    manifest = desk.approve(example(), *ROLES)
    desk.desk.now += timedelta(days=40)
    for role in ROLES:
        renewed = desk.approve(manifest, role)
        decision = desk.decide(review(renewed, old=manifest))
        assert decision.allowed
        assert decision.change == ("adopted" if role == ROLES[-1] else "unchanged")
        manifest = renewed
