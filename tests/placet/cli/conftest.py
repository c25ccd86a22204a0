"""The command line run in this process, in an empty folder, at a time that stands still."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from placet.cli import clock, root
from tests.simulators.desk import NOON

Run = Callable[..., Result]


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = NOON

    def read(self) -> datetime:
        return self.now


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Clock:
    held = Clock()
    monkeypatch.setattr(clock, "now_utc", held.read)
    monkeypatch.setenv("PLACET_KEY_PASSPHRASE", "correct horse")
    monkeypatch.chdir(tmp_path)
    return held


@pytest.fixture
def run(still: Clock) -> Run:
    assert still.now == NOON

    def invoke(*arguments: str | Path, code: int = 0) -> Result:
        result = CliRunner().invoke(root, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    return invoke
