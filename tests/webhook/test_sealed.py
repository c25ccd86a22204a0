"""A gate that seals names of persons, from its configuration to the erasure of one of them."""

from __future__ import annotations

import base64
import json
import shutil
from typing import Any

import pytest

from placet.config import load_config
from placet.errors import StoreUnavailable
from tests.e2e.gateprocess import Team
from tests.simulators.gate import example, review
from tests.webhook.gaterun import opened
from webhook.runtime import Runtime

WHO = review(example())["request"]["userInfo"]["username"]


@pytest.fixture
def sealing_team(own_team: Team) -> Team:
    (own_team.folder / "persons").mkdir()
    (own_team.folder / "persons.key").write_bytes(base64.b64encode(bytes(range(32))))
    own_team.configure({"record": {"persons": {"folder": "persons", "key_file": "persons.key"}}})
    return own_team


def listed(team: Team, *options: str) -> list[Any]:
    found: list[Any] = json.loads(team.run("audit", "list", *options, "-o", "json").stdout)["records"]
    return [one["record"] for one in found]


def test_names_are_sealed_by_the_gate_opened_by_its_configuration_and_erased(
    sealing_team: Team, approved_manifest: dict[str, Any]
) -> None:
    with opened(sealing_team) as gate:
        assert gate.ready() == (200, "ok\n")
        assert gate.ask(approved_manifest)["allowed"] is True
        (kept,) = gate.records("decision")
        assert kept["schema"] == "placet.dev/record/v2"
        assert WHO not in json.dumps(kept)
        gate.sign()
        (shown,) = listed(sealing_team, "--user", WHO)
        assert (shown["user"], len(shown["approvals"])) == (WHO, 4)
        assert listed(sealing_team, "--person", shown["approvals"][0]["person"]) == [shown]
        who = ["--person", WHO, "--by", "sam", "--reason", "asked to be forgotten", "--yes"]
        sealing_team.run("audit", "erase", *who)
        assert listed(sealing_team, "--user", WHO) == []
        assert "(erased)" in sealing_team.run("audit", "show", kept["uid"]).stdout
        vkey = str(sealing_team.folder / "keys" / "log.vkey")
        sealing_team.run("audit", "verify", "--log-key", vkey)
        assert gate.ask(approved_manifest)["allowed"] is True, "who comes back is sealed anew"
        (again,) = listed(sealing_team, "--user", WHO)
        assert again["uid"] != kept["uid"]
        (erasure,) = gate.records("erasure")
        assert WHO not in json.dumps(erasure)


def test_a_gate_whose_keys_are_gone_is_not_ready_and_lets_nothing_in(
    sealing_team: Team, approved_manifest: dict[str, Any]
) -> None:
    with opened(sealing_team) as gate:
        shutil.rmtree(sealing_team.folder / "persons")
        status, told = gate.ready()
        assert (status, "persons_unavailable" in told) == (503, True)
        assert "persons_unavailable" in gate.refusal(approved_manifest)
        (sealing_team.folder / "persons").mkdir()
        assert gate.ready() == (200, "ok\n")
        assert gate.ask(approved_manifest)["allowed"] is True


def test_a_gate_does_not_start_without_the_folder_of_keys(sealing_team: Team) -> None:
    (sealing_team.folder / "persons").rmdir()
    with pytest.raises(StoreUnavailable) as caught:
        Runtime.open(load_config(sealing_team.folder / "placet.yaml"), environment={}, background=False)
    assert caught.value.code == "persons_unavailable"
