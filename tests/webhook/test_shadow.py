"""Policies that are tried on live reviews: what they say, what is recorded of it, and that nobody waits for them."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from placet.audit.stores.file import open_readonly
from placet.config import load_config
from placet.errors import ConfigError
from placet.policy.bundle import MANIFEST, SHIPPED
from placet.policy.package import render_package
from tests.e2e.gateprocess import Team
from tests.simulators.desk import signer_of
from tests.simulators.file_server import serving_file
from tests.simulators.gate import example
from tests.simulators.policy_bundles import sign_bundle
from tests.webhook.gaterun import Gate, opened
from webhook import shadow as shadows
from webhook import shadow_candidate

STRICTER = "environments:\n  production:\n    max_level: medium\n"
LOOSER = "environments:\n  production:\n    approvals: [technical]\nrisk_approvals:\n  critical: [technical]\n"
SAME = "environments:\n  staging:\n    max_level: medium\n"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadows, "HOLD_S", 0.0)
    monkeypatch.setattr(shadow_candidate, "SETTLED_S", 0.0)


def trying(team: Team, data: str = STRICTER, **shadow: Any) -> None:
    """Configure policy data to try."""
    (team.folder / "candidate.yaml").write_text(data, "utf-8")
    team.configure({"policy": {"shadow": {"data": "candidate.yaml", **shadow}}})


def look(gate: Gate) -> None:
    """What the shadow's two threads do."""
    gate.runtime.shadow.loader.look(gate.runtime.config)
    gate.runtime.shadow.work()


def leaves(gate: Gate, event: str) -> list[Any]:
    gate.runtime.shadow.work()
    return [one for one in gate.records("shadow") if one["event"] == event]


def recorded(team: Team) -> list[Any]:
    """What is left when a gate has ended."""
    done = team.run("audit", "list", "--store", "record.sqlite", "--type", "shadow", "-o", "json")
    return [one["record"] for one in reversed(json.loads(done.stdout)["records"])]


def only_technical(manifest: dict[str, Any]) -> dict[str, Any]:
    """The same with one approval."""
    copied: dict[str, Any] = json.loads(json.dumps(manifest))
    for role in ("security", "business", "executive"):
        del copied["metadata"]["annotations"][f"placet.dev/approval.{role}"]
    return copied


def named(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    """Another workload, which nobody approved."""
    copied: dict[str, Any] = json.loads(json.dumps(manifest))
    copied["metadata"]["name"] = name
    return copied


def counted(gate: Gate, outcome: str) -> float:
    return gate.metric("placet_shadow_reviews_total", outcome=outcome) or 0


def test_what_would_newly_be_refused_is_recorded_with_both_answers(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    trying(own_team)
    with opened(own_team) as gate:
        look(gate)
        assert gate.ask(approved_manifest)["allowed"] is True
        (leaf,) = leaves(gate, "disagreement")
        (decision,) = gate.records("decision")
        assert (leaf["change"], leaf["direction"], leaf["count"]) == ("newly_refused", "stricter", 1)
        assert (leaf["in_force"]["answer"]["allowed"], leaf["in_force"]["answer"]["violations"]) == (True, [])
        assert leaf["shadow"]["violations"] == ["risk.ceiling/level_above_environment"]
        assert leaf["first"]["decision_id"] == leaf["last"]["decision_id"] == decision["decision_id"]
        assert leaf["in_force"]["data_digest"] == decision["policy"]["data_digest"] != leaf["candidate"]["data_digest"]
        assert (leaf["projection"], leaf["namespace"]) == (decision["projection"], decision["namespace"])
        assert counted(gate, "stricter") == 1
        assert gate.metric("placet_shadow_disagreements_total", change="newly_refused") == 1
        assert gate.ready()[0] == 200
    with open_readonly(own_team.folder / "record.sqlite") as reader:
        raw = b"".join(one.raw_leaf for one in reader.of_type("shadow", start=0))
        persons = ["deployer@example.org", *(one["person"] for one in decision["approvals"])]
        assert len(persons) == 5
        assert not any(f'"{person}"'.encode() in raw for person in persons)


def test_what_would_newly_be_admitted_is_recorded_and_stays_refused(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    trying(own_team, LOOSER)
    with opened(own_team) as gate:
        look(gate)
        assert gate.ask(only_technical(approved_manifest))["allowed"] is False
        (leaf,) = leaves(gate, "disagreement")
        assert (leaf["change"], leaf["direction"], leaf["shadow"]["allowed"]) == ("newly_admitted", "looser", True)
        assert leaf["in_force"]["answer"]["missing_roles"] == ["security", "business", "executive"]
        assert counted(gate, "looser") == 1
    failed = own_team.run("policy", "shadow", "--store", "record.sqlite", "--fail-on", "looser", "-o", "json", expect=1)
    told = json.loads(failed.stdout)
    assert told["changes"]["newly_admitted"] == 1
    assert told["groups"][0]["decisions"] == [leaf["first"]["decision_id"]]
    text = own_team.run("policy", "shadow", "--fail-on", "stricter", "--fail-on", "error").stdout
    assert "would newly be admitted: 1" in text
    assert "approvals.required/role_missing" in text


def test_agreements_are_counted_alone_and_told_when_it_ends(own_team: Team) -> None:
    trying(own_team, SAME)
    with opened(own_team) as gate:
        look(gate)
        for _ in range(3):
            gate.ask()
        assert leaves(gate, "disagreement") == []
        assert counted(gate, "agreed") == 3
    begun, tally = recorded(own_team)
    assert (begun["event"], tally["event"], tally["ended"]) == ("begun", "tally", True)
    assert begun["candidate"] == tally["candidate"]
    assert {name: count for name, count in tally["counts"].items() if count} == {"judged": 3, "agreed": 3}
    assert "no review would have been answered otherwise" in own_team.run("policy", "shadow").stdout


def test_the_same_again_is_one_more_record_with_its_count(own_team: Team, approved_manifest: dict[str, Any]) -> None:
    trying(own_team)
    with opened(own_team) as gate:
        look(gate)
        for _ in range(5):
            gate.ask(approved_manifest)
        gate.ask(named(approved_manifest, "other"))
        assert [one["count"] for one in leaves(gate, "disagreement")] == [1, 1]
    found = [one for one in recorded(own_team) if one["event"] == "disagreement"]
    assert [one["count"] for one in found] == [1, 1, 4]
    assert found[2]["first"]["index"] < found[2]["last"]["index"]
    assert recorded(own_team)[-1]["counts"]["stricter"] == 6


def test_dry_runs_and_what_is_asked_again_are_not_tried(own_team: Team, approved_manifest: dict[str, Any]) -> None:
    trying(own_team)
    with opened(own_team) as gate:
        look(gate)
        gate.ask(approved_manifest, dry_run=True)
        gate.ask(approved_manifest, uid="5b9d8f61-0000-4000-8000-000000000001")
        gate.ask(approved_manifest, uid="5b9d8f61-0000-4000-8000-000000000001")
        assert len(leaves(gate, "disagreement")) == 1
        assert counted(gate, "stricter") == 1


def test_a_changed_candidate_is_tried_without_a_restart_and_none_ends_it(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    trying(own_team)
    with opened(own_team) as gate:
        look(gate)
        gate.ask(approved_manifest)
        assert len(leaves(gate, "disagreement")) == 1
        (own_team.folder / "candidate.yaml").write_text(SAME, "utf-8")
        look(gate)
        gate.ask(approved_manifest)
        first, second = leaves(gate, "begun")
        assert first["candidate"]["data_digest"] != second["candidate"]["data_digest"]
        assert counted(gate, "agreed") == 1
        assert gate.metric("placet_shadow_loads_total", result="begun") == 2
        own_team.configure({"policy": {"shadow": None}})
        text = (own_team.folder / "placet.yaml").read_text("utf-8").replace("  shadow: null\n", "")
        (own_team.folder / "placet.yaml").write_text(text, "utf-8")
        gate.round()
        look(gate)
        gate.ask(approved_manifest)
        assert [one["ended"] for one in leaves(gate, "tally")] == [True, True]
        assert counted(gate, "agreed") == 1
        assert {"policy.shadow.data"} <= set(gate.records("configuration")[-1]["changed"])


def test_a_broken_candidate_leaves_what_is_in_force_and_the_former_candidate(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    trying(own_team)
    with opened(own_team) as gate:
        look(gate)
        (own_team.folder / "candidate.yaml").write_text("environments: {production: {max_level: enormous}}\n", "utf-8")
        look(gate)
        look(gate)
        status, text = gate.ready()
        assert status == 200
        assert "warning shadow: policy_data_invalid: tried aside, the policies fail" in text
        assert gate.metric("placet_shadow_loads_total", result="refused") == 1
        assert gate.metric("placet_policy_reload_total", result="applied") is None
        assert gate.ask(approved_manifest)["allowed"] is True
        assert len(leaves(gate, "disagreement")) == 1
        (own_team.folder / "candidate.yaml").write_text(SAME, "utf-8")
        look(gate)
        assert "shadow" not in gate.ready()[1]


def sign_for(team: Team) -> Path:
    """The policies that ship, in a folder of the team's, signed by ann; and the configuration that asks for it."""
    (team.folder / "ann.pub").write_text(signer_of("ann").public_key.pem, "utf-8")
    shutil.copytree(SHIPPED, team.folder / "candidate.d")
    return sign_bundle(team.folder / "candidate.d", "ann", version=7)


def test_policies_of_a_folder_are_tried_if_they_are_signed(own_team: Team) -> None:
    folder = sign_for(own_team)
    own_team.configure({"policy": {"bundle_keys": ["ann.pub"], "shadow": {"bundle": "candidate.d"}}})
    with opened(own_team) as gate:
        look(gate)
        assert leaves(gate, "begun")[0]["candidate"]["version"] == 7
        sign_bundle(folder, "ben", version=8)
        look(gate)
        assert "warning shadow: bundle_signatures" in gate.ready()[1]
        (folder / MANIFEST).write_text("{}", "utf-8")
        look(gate)
        assert "warning shadow: bundle_invalid" in gate.ready()[1]
        assert gate.runtime.generation.version == 0


def test_a_package_is_tried_like_a_folder(own_team: Team) -> None:
    folder = sign_for(own_team)
    (own_team.folder / "candidate.tar.gz").write_bytes(render_package(folder))
    own_team.configure({"policy": {"bundle_keys": ["ann.pub"], "shadow": {"bundle": "candidate.tar.gz"}}})
    with opened(own_team) as gate:
        look(gate)
        assert leaves(gate, "begun")[0]["candidate"]["version"] == 7
        (own_team.folder / "candidate.tar.gz").write_bytes(b"no package")
        look(gate)
        assert "warning shadow: bundle_invalid" in gate.ready()[1]


def test_candidates_are_fetched_where_the_configuration_says(own_team: Team) -> None:
    folder = sign_for(own_team)
    with serving_file() as source:
        source.content = render_package(folder)
        shutil.rmtree(folder)
        shadow = {"bundle": "candidate.d", "source": source.url}
        own_team.configure({"policy": {"bundle_keys": ["ann.pub"], "shadow": shadow}})
        with opened(own_team) as gate:
            look(gate)
            assert leaves(gate, "begun")[0]["candidate"]["version"] == 7
            assert gate.metric("placet_shadow_fetches_total", result="fetched") == 1


def test_a_process_that_was_killed_is_an_error_of_the_shadow_and_starts_again(
    own_team: Team, approved_manifest: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_candidate, "_FIRST_RETRY_S", 0.0)
    trying(own_team, SAME)
    with opened(own_team) as gate:
        look(gate)
        judge = gate.runtime.shadow._judge
        assert judge is not None
        os.kill(judge.pid, signal.SIGKILL)
        assert gate.ask(approved_manifest)["allowed"] is True
        (leaf,) = leaves(gate, "disagreement")
        assert (leaf["change"], leaf["direction"], leaf["shadow"]["fault"]) == ("shadow_error", "error", "judge_ended")
        assert "warning shadow: judge_ended" in gate.ready()[1]
        assert gate.ask(approved_manifest)["allowed"] is True  # waits until there is a process again
        look(gate)
        assert counted(gate, "agreed") == 1
        assert "shadow" not in gate.ready()[1]
        assert len(leaves(gate, "begun")) == 1  # the same candidate goes on


def test_a_process_that_does_not_answer_is_given_up(
    own_team: Team, approved_manifest: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trying(own_team, SAME)
    with opened(own_team) as gate:
        look(gate)
        judge = gate.runtime.shadow._judge
        assert judge is not None
        asked = judge.judge
        monkeypatch.setattr(judge, "judge", lambda raw: asked(raw, time_s=0.05))
        os.kill(judge.pid, signal.SIGSTOP)
        assert gate.ask(approved_manifest)["allowed"] is True
        (leaf,) = leaves(gate, "disagreement")
        assert leaf["shadow"]["fault"] == "judge_silent"
        assert judge.end == "ended with signal 9"
        assert gate.metric("placet_shadow_loads_total", result="judge_lost") == 1


def test_what_has_no_room_is_not_tried_and_counted(
    own_team: Team, approved_manifest: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trying(own_team, SAME, max_waiting_reviews=2)
    with opened(own_team) as gate:
        look(gate)
        for _ in range(5):
            gate.ask(approved_manifest)
        assert gate.metric("placet_shadow_shed_total", reason="full") == 3
        gate.runtime.shadow.work()
        monkeypatch.setattr(shadows, "MAX_WAITING_BYTES", 10)
        gate.ask(approved_manifest)
        assert gate.metric("placet_shadow_shed_total", reason="size") == 1
        assert counted(gate, "agreed") == 2
    counts = recorded(own_team)[-1]["counts"]
    assert (counts["judged"], counts["shed"]) == (2, 4)


def test_what_the_store_does_not_take_is_recorded_when_it_is_back(
    own_team: Team, approved_manifest: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trying(own_team)
    with opened(own_team, faulty=True) as gate:
        assert gate.faults is not None
        look(gate)
        gate.ask(approved_manifest)
        gate.faults.leave()
        gate.runtime.shadow.work()
        gate.faults.come_back()
        assert leaves(gate, "disagreement") == []  # not before the time to try again
        monkeypatch.setattr(gate.runtime.shadow, "_retry_s", 0.0)
        (leaf,) = leaves(gate, "disagreement")
        assert leaf["change"] == "newly_refused"
        gate.faults.leave()
    assert [one["event"] for one in recorded(own_team)] == ["begun", "disagreement"]


def test_nothing_is_tried_where_nothing_is_configured(own_team: Team) -> None:
    with opened(own_team) as gate:
        look(gate)
        assert "role_missing" in str(gate.ask(example()))
        assert gate.records("shadow") == []
    told = own_team.run("policy", "shadow", expect=2).stderr
    assert "no policies that were tried on live reviews" in told
    assert "policy.shadow" in told


@pytest.mark.parametrize(
    ("policy", "fault"),
    [
        ({"shadow": {}}, "nothing to try"),
        ({"shadow": {"cpu_percent": 10}}, "nothing to try"),
        ({"shadow": {"bundle": "p", "cpu_percent": 0}}, "cpu_percent"),
        ({"shadow": {"bundle": "p", "window_seconds": 1}}, "window_seconds"),
        ({"shadow": {"bundle": "p", "sauce": 1}}, "sauce"),
        ({"shadow": {"data": "p", "source": "https://h/p"}}, "need a folder"),
        ({"shadow": {"bundle": "p", "source": "https://h/p"}}, "must be signed"),
        ({"bundle_keys": ["a.pub"], "shadow": {"bundle": "p", "source": "oci://h/p"}}, "is no reference"),
        ({"bundle_keys": ["a.pub"], "shadow": {"data": "p"}}, "none is named"),
    ],
)
def test_keys_that_do_not_go_together_are_refused_with_their_line(own_team: Team, policy: Any, fault: str) -> None:
    own_team.configure({"policy": policy})
    with pytest.raises(ConfigError, match=fault) as caught:
        load_config(own_team.folder / "placet.yaml")
    assert "placet.yaml:" in str(caught.value)


def test_a_check_of_the_configuration_says_what_is_tried_and_only_warns_of_a_broken_one(own_team: Team) -> None:
    trying(own_team)
    told = own_team.run("config", "check").stdout
    assert "tries revision sha256:" in told
    (own_team.folder / "candidate.yaml").write_text("environments: [broken]\n", "utf-8")
    told = own_team.run("config", "check").stdout
    assert "it can't be tried" in told
    assert "candidate.yaml:1" in told


def test_a_process_that_nobody_asks_any_more_is_ended(own_team: Team) -> None:
    trying(own_team)
    with opened(own_team) as gate:
        shadow, config = gate.runtime.shadow, gate.runtime.config
        shadow.loader.look(config)
        (first, _) = shadow._next or (None, None)
        (own_team.folder / "candidate.yaml").write_text(SAME, "utf-8")
        shadow.loader.look(config)
        (second, _) = shadow._next or (None, None)
        assert first is not None
        assert second is not None
        assert (first.end, second.end) == ("ended with signal 9", "goes on")
    assert second.end == "ended with signal 9"
    assert [one["event"] for one in recorded(own_team)] == []
