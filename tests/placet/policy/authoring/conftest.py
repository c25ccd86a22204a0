"""A team's overlay to start from: the rule that the scaffold writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from placet.policy.authoring.opa import Opa
from placet.policy.authoring.scaffold import write_rule
from tests.placet.policy.authoring.team import Team
from tools.bundle import find_opa


@pytest.fixture(scope="session")
def opa() -> Opa:
    """The pinned one."""
    return Opa(find_opa())


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    """An overlay with one rule, ``scale.modest``."""
    monkeypatch.setenv("PLACET_OPA", find_opa())
    root = tmp_path / "team"
    write_rule(root, "scale.modest")
    return Team(root)
