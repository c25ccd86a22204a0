"""A gate on a store that is older than its saved checkpoints does not start, and says so; and the way on from there."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from placet.config import load_config
from placet.errors import AuditError, TamperError
from tests.e2e.gateprocess import Team
from tests.webhook.gaterun import opened
from webhook.runtime import Runtime

REASON: Final = "the volume was lost, and the backup of yesterday restored"


@pytest.fixture
def saving_team(own_team: Team) -> Team:
    own_team.configure({"record": {"checkpoints": "checkpoints"}})
    return own_team


def back_up(team: Team) -> None:
    """As docs/operations.md says."""
    connection = sqlite3.connect(team.folder / "record.sqlite")
    connection.execute("VACUUM INTO ?", (str(team.folder / "backup.sqlite"),))
    connection.close()


def restore(team: Team) -> None:
    for file in team.folder.glob("record.sqlite*"):
        file.unlink()
    (team.folder / "backup.sqlite").rename(team.folder / "record.sqlite")


def listed(team: Team, leaf_type: str) -> list[Any]:
    found: list[Any] = json.loads(team.run("audit", "list", "--type", leaf_type, "-o", "json").stdout)["records"]
    return found


def yesterday(team: Team, manifest: dict[str, Any]) -> int:
    """A backup, another decision, and the backup is put back; the size that was saved last."""
    with opened(team) as gate:
        gate.ask(manifest)
    back_up(team)
    with opened(team) as gate:
        gate.ask()
    restore(team)
    return max(int(file.name) for file in (team.folder / "checkpoints").iterdir())


def test_a_restored_backup_refuses_to_start_until_it_is_accepted_on_record(
    saving_team: Team, approved_manifest: dict[str, Any]
) -> None:
    size = yesterday(saving_team, approved_manifest)
    kept = listed(saving_team, "any")
    said = saving_team.run("serve", expect=2).stderr
    assert "the record is older than what was signed" in said
    assert "(rolled_back)" in said
    assert f"placet audit accept-rollback --give-up {size}" in said
    assert listed(saving_team, "any") == kept  # nothing was appended to it

    wrong = saving_team.run("audit", "accept-rollback", "--give-up", str(size - 1), "--reason", REASON, expect=2)
    assert f"is of {size} leaves, not of {size - 1}" in wrong.stderr
    with pytest.raises(TamperError):
        Runtime.open(load_config(saving_team.folder / "placet.yaml"), environment={}, background=False)

    saving_team.run("audit", "accept-rollback", "--give-up", str(size), "--reason", REASON)
    with opened(saving_team) as gate:
        assert gate.ready() == (200, "ok\n")
        assert gate.ask(approved_manifest)["allowed"] is True
    assert [one["record"]["reason"] for one in listed(saving_team, "restored")] == [REASON]
    again = saving_team.run("audit", "accept-rollback", "--give-up", str(size), "--reason", REASON, expect=2)
    assert "nothing to accept" in again.stderr


def test_a_gate_saves_what_it_signs_and_at_its_end(saving_team: Team) -> None:
    folder = saving_team.folder / "checkpoints"
    with opened(saving_team) as gate:
        first = {file.name for file in folder.iterdir()}
        gate.ask()
    assert len(first) == 1
    assert len({file.name for file in folder.iterdir()}) == 2


def test_checkpoints_that_can_not_be_saved_are_warned_of_and_saved_later(
    saving_team: Team, approved_manifest: dict[str, Any]
) -> None:
    folder = saving_team.folder / "checkpoints"
    with opened(saving_team) as gate:
        gate.ask()
        away = folder.rename(folder.with_name("away"))
        folder.write_bytes(b"no folder")
        gate.clock.ahead += timedelta(minutes=2)
        with pytest.raises(AuditError, match="can't be saved"):
            gate.sign()
        status, text = gate.ready()
        assert (status, "warning checkpoint: checkpoint_unsaved: " in text) == (200, True)
        assert gate.ask(approved_manifest)["allowed"] is True
        folder.unlink()
        away.rename(folder)
        gate.sign()
        assert gate.ready() == (200, "ok\n")
    assert len(list(folder.iterdir())) == 3


def test_another_history_of_the_same_key_takes_readiness_away(saving_team: Team, tmp_path: Path) -> None:
    """Two gates with a store each, where one was meant: whoever saves later finds it out."""
    with opened(saving_team) as gate:
        saving_team.configure({"record": {"store": "other.sqlite", "checkpoints": "others"}})
        with opened(saving_team) as other:
            other.ask()
            other.clock.ahead += timedelta(minutes=2)
            other.sign()
        theirs = saving_team.folder / "others"
        gate.ask()
        newest = max(theirs.iterdir(), key=lambda file: int(file.name))
        (saving_team.folder / "checkpoints" / newest.name).write_bytes(newest.read_bytes())
        gate.clock.ahead += timedelta(minutes=2)
        with pytest.raises(TamperError):
            gate.sign()
        status, text = gate.ready()
        assert (status, "checkpoint: fork: two histories were signed" in text) == (503, True)
