"""One team for all tests of the process; each test has a copy of its folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.gateprocess import Team
from tests.webhook.gaterun import approved, copy_team


@pytest.fixture(scope="package")
def founded_team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    return Team.found(tmp_path_factory.mktemp("team"))


@pytest.fixture(scope="package")
def approved_manifest(founded_team: Team) -> dict[str, Any]:
    return approved(founded_team)


@pytest.fixture
def own_team(founded_team: Team, tmp_path: Path) -> Team:
    return copy_team(founded_team, tmp_path)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A runtime sets up the process's logging; the next test finds it as it was."""
    root, ours = logging.getLogger(), logging.getLogger("placet")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    for handler in [one for one in root.handlers if getattr(one, "placet", False)]:
        root.removeHandler(handler)
    for handler in handlers:
        if handler not in root.handlers:
            root.addHandler(handler)
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.captureWarnings(capture=False)
