"""Exemptions in a running gate: they count without a reload, are counted, recorded and warned of."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from placet.assemble import open_own_record
from placet.canonical import Digest
from placet.config import load_config
from tests.e2e.exempting import add_exempter, exempt, exempt_for, proxy
from tests.e2e.gateprocess import Team
from tests.webhook.gaterun import Gate, opened

WARNED = "warning keyring: exemptions_unreadable: "


@pytest.fixture
def exempting(own_team: Team) -> Team:
    """A team that somebody may exempt for."""
    add_exempter(own_team)
    return own_team


def state(gate: Gate, name: str) -> float | None:
    gate.round()
    return gate.metric("placet_exemptions", state=name)


def test_it_counts_and_stops_counting_without_a_reload(exempting: Team) -> None:
    good = proxy("pages", namespace="shop")
    with opened(exempting) as gate:
        assert "approvals.required" in gate.refusal(good)
        file = exempt(exempting, good)
        answer = gate.ask(good)
        assert answer["allowed"] is True
        record = gate.records("decision")[-1]
        told = record["exemption"]
        assert (told["persons"], record["approved"], record["coverage"]["cause"]) == (["fay"], False, "exempted")
        assert answer["auditAnnotations"]["exemption"] == f"{told['exemption_id']} until {told['expires']}"
        assert gate.metric("placet_exemptions_used_total", environment="production") == 1
        assert state(gate, "in_force") == 1
        assert "exemption_content_differs" in gate.refusal(proxy("pages", namespace="shop", image="x/vllm:1"))
        file.unlink()
        gate.refusal(good)
        assert state(gate, "in_force") == 0
        assert gate.metric("placet_exemptions_used_total", environment="production") == 1


def test_a_dry_run_is_not_counted(exempting: Team) -> None:
    good = proxy("pages", namespace="shop")
    exempt(exempting, good)
    with opened(exempting) as gate:
        assert gate.ask(good, dry_run=True)["allowed"] is True
        assert gate.metric("placet_exemptions_used_total", environment="production") is None


def test_its_end_is_seen_coming(exempting: Team) -> None:
    good = proxy("pages", namespace="shop")
    exempt_for(exempting, good, timedelta(days=20))
    with opened(exempting) as gate:
        assert (state(gate, "in_force"), state(gate, "ends_soon"), state(gate, "ended")) == (1, 0, 0)
        gate.clock.ahead = timedelta(days=7)
        assert (state(gate, "in_force"), state(gate, "ends_soon"), state(gate, "ended")) == (0, 1, 0)
        gate.clock.ahead = timedelta(days=21)
        assert (state(gate, "in_force"), state(gate, "ends_soon"), state(gate, "ended")) == (0, 0, 1)
        assert "exemption_expired" in gate.refusal(good)


def test_a_file_that_cannot_be_read_is_warned_of_and_stops_nobody(
    exempting: Team, approved_manifest: dict[str, Any]
) -> None:
    good = proxy("pages", namespace="shop")
    exempt(exempting, good)
    bad = exempting.folder / "exemptions" / "x.dsse.json"
    bad.write_text("{}", encoding="utf-8")
    with opened(exempting) as gate:
        status, text = gate.ready()
        assert status == 200
        assert f"{WARNED}1 that exempt nothing, the first x.dsse.json: " in text
        assert state(gate, "unreadable") == 1
        assert gate.metric("placet_policy_reload_total", result="refused_keyring") is None
        assert gate.ask(good)["allowed"] is True
        assert gate.ask(approved_manifest)["allowed"] is True
        bad.unlink()
        assert WARNED not in gate.ready()[1]


def test_more_days_and_fewer_persons_are_downgrades(exempting: Team) -> None:
    with opened(exempting) as gate:
        gate.policy_data("exemptions: {max_days: 180, persons_for_models: 1}\n")
        gate.round()
        newest = gate.records("configuration")[-1]
        assert newest["downgrades"] == [
            {"key": "exemptions.max_days", "from": "90", "to": "180"},
            {"key": "exemptions.persons_for_models", "from": "2", "to": "1"},
        ]
        gate.policy_data("exemptions: {max_days: 10, persons: 2}\n")
        gate.round()
        assert [one["key"] for one in gate.records("configuration")[-1]["downgrades"]] == []


def test_a_new_folder_of_exemptions_is_a_downgrade(exempting: Team) -> None:
    with opened(exempting) as gate:
        (exempting.folder / "others").mkdir()
        exempting.configure({"keyring": {"exemptions": "others"}})
        gate.round()
        (told,) = gate.records("configuration")[-1]["downgrades"]
        assert told["key"] == "keyring.exemptions"


def events(gate: Gate) -> list[str]:
    return [one["event"] for one in gate.records("exemption")]


def test_what_lies_in_the_folder_is_on_record_from_when_until_when(exempting: Team) -> None:
    good = proxy("pages", namespace="shop")
    file = exempt(exempting, good)
    with opened(exempting) as gate:
        gate.round()
        (told,) = gate.records("exemption")
        assert (told["event"], told["namespace"], told["workload"]) == ("found", "shop", "Deployment/pages")
        assert [one["person"] for one in told["signers"]] == ["fay"]
        assert told["envelope_digest"] == str(Digest.of(file.read_bytes()))
        gate.ask(good)
        used = gate.records("decision")[-1]["exemption"]
        assert {name: used[name] for name in ("exemption_id", "statement", "expires")} == {
            name: told[name] for name in ("exemption_id", "statement", "expires")
        }
        assert used["keys"] == [one["key"] for one in told["signers"]]
        gate.round()
        assert events(gate) == ["found"]
        content = file.read_bytes()
        file.unlink()
        gate.round()
        gate.round()
        assert events(gate) == ["found", "gone"]
        assert gate.records("exemption")[-1]["exemption_id"] == told["exemption_id"]
        file.write_bytes(content)
        gate.round()
        assert events(gate) == ["found", "gone", "found"]
    with opened(exempting) as gate:
        gate.round()
        assert events(gate) == ["found", "gone", "found"]


def test_what_another_process_recorded_just_now_is_left_alone(exempting: Team) -> None:
    file = exempt(exempting, proxy("pages", namespace="shop"))
    with opened(exempting) as gate:
        gate.round()
    file.unlink()
    with opened(exempting) as gate:
        gate.round()
        assert events(gate) == ["found"]  # its file may not have come here yet
        gate.clock.ahead = timedelta(minutes=4)
        gate.round()
        assert events(gate) == ["found", "gone"]


def test_a_folder_that_can_not_be_read_says_nothing_of_what_was_in_it(exempting: Team) -> None:
    file = exempt(exempting, proxy("pages", namespace="shop"))
    with opened(exempting) as gate:
        gate.round()
        folder = file.parent.rename(file.parent.with_name("away"))
        gate.clock.ahead = timedelta(minutes=4)
        gate.round()
        assert events(gate) == ["found"]
        folder.rename(file.parent)
        gate.round()
        assert events(gate) == ["found"]


def test_what_could_not_be_recorded_is_warned_of_and_recorded_later(exempting: Team) -> None:
    with opened(exempting, faulty=True) as gate:
        gate.round()
        exempt(exempting, proxy("pages", namespace="shop"))
        assert gate.faults is not None
        gate.faults.fail("insert", after=False)
        assert "warning record: store_full" in gate.ready()[1]
        assert events(gate) == []
        gate.round()
        assert events(gate) == ["found"]


@pytest.mark.parametrize("change", [{"event": ["found"]}, {"event": "lost"}, {"exemption_id": 1}, {"statement": None}])
def test_a_leaf_that_says_nothing_of_an_exemption_is_passed_over(exempting: Team, change: dict[str, Any]) -> None:
    exempt(exempting, proxy("pages", namespace="shop"))
    with opened(exempting) as gate:
        gate.round()
        (told,) = gate.records("exemption")
    with closing(open_own_record(load_config(exempting.folder / "placet.yaml"))) as log:
        log.append({name: value for name, value in told.items() if name != "envelope_digest"} | change)
    with opened(exempting) as gate:
        assert gate.ready() == (200, "ok\n")
        assert len(events(gate)) == 2
