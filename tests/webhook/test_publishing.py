"""Publishing beside a running gate: never in the way of an answer, said where it fails, ended with the process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.errors import TamperError
from placet.publish.checkpoints import NEWEST
from tests.e2e.gateprocess import Team
from tests.e2e.processes import poll_until
from tests.simulators.apiobjects import ObjectServer
from tests.webhook.gaterun import opened
from webhook.publishing import FIRST_RETRY_S, LONGEST_RETRY_S

SHOWN = "placet-decisions"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ObjectServer]:
    folder = tmp_path / "api"
    folder.mkdir()
    with ObjectServer(folder) as running:
        yield running


@pytest.fixture
def shown_team(own_team: Team, server: ObjectServer) -> Team:
    own_team.configure(
        {
            "kubeconfig": str(server.kubeconfig),
            "record": {"publish": {"namespace": SHOWN}, "export": {"namespace": SHOWN}},
        }
    )
    return own_team


def test_without_being_told_nothing_is_published(own_team: Team) -> None:
    with opened(own_team) as gate:
        assert gate.runtime.publishing.loops == []
        assert gate.metric("placet_published_total", kind="event", outcome="created") is None


def test_a_refusal_is_shown_and_counted(shown_team: Team, server: ObjectServer) -> None:
    with opened(shown_team) as gate:
        gate.refusal()
        gate.sign()
        for loop in gate.runtime.publishing.loops:
            loop.run_once()
        assert [one["reason"] for one in server.of("events")] == ["Refused"]
        names = {one["metadata"]["name"]: one for one in server.of("configmaps")}
        exported = names.pop("placet-checkpoint")["data"][NEWEST]
        assert exported == gate.runtime._log.latest_checkpoint()
        (view,) = names.values()
        assert json.loads(view["data"]["decisions.json"])["decisions"][0]["verdict"] == "refused"
        assert gate.metric("placet_published_total", kind="event", outcome="created") == 1
        assert gate.metric("placet_publish_failing", part="publish") == 0
        assert gate.metric("placet_checkpoint_exported_size") == int(exported.split("\n")[1])


def test_an_api_server_that_fails_is_warned_of_asked_less_and_less_and_answers_go_on(
    shown_team: Team, server: ObjectServer
) -> None:
    with opened(shown_team) as gate:
        server.fail = lambda _method, _path: 503
        publish, _ = gate.runtime.publishing.loops
        waited = [publish.run_once() for _ in range(9)]
        assert waited == [min(LONGEST_RETRY_S, FIRST_RETRY_S * 2**turn) for turn in range(9)]
        assert "approvals.required" in gate.refusal()
        status, text = gate.ready()
        assert status == 200
        assert "warning publishing: unpublished" in text
        assert gate.metric("placet_publish_failing", part="publish") == 1
        server.fail = lambda _method, _path: None
        publish.run_once()
        assert len(server.of("events")) == 1
        assert "publishing" not in gate.ready()[1]


def test_a_right_that_is_missing_is_counted_and_the_rest_is_shown(shown_team: Team, server: ObjectServer) -> None:
    with opened(shown_team) as gate:
        server.fail = lambda _method, path: 403 if "/events" in path else None
        gate.refusal()
        gate.runtime.publishing.loops[0].run_once()
        assert gate.metric("placet_published_total", kind="event", outcome="forbidden") == 1
        assert gate.metric("placet_published_total", kind="decisions", outcome="created") == 1


def test_the_threads_publish_and_hand_the_lease_back_at_the_end(shown_team: Team, server: ObjectServer) -> None:
    with opened(shown_team, background=True) as gate:
        gate.refusal()
        assert poll_until(lambda: bool(server.of("events")), 30)
        assert server.of("leases")[0]["spec"]["holderIdentity"] != ""
    assert server.of("leases")[0]["spec"]["holderIdentity"] == ""
    assert not any(loop.is_alive() for loop in gate.runtime.publishing.loops)


def test_a_record_that_the_exported_checkpoint_is_not_of_is_no_start(shown_team: Team, server: ObjectServer) -> None:
    with opened(shown_team) as gate:
        gate.refusal()
        gate.sign()
        gate.runtime.publishing.loops[1].run_once()
    for file in shown_team.folder.glob("record.sqlite*"):
        file.unlink()
    with pytest.raises(TamperError) as caught, opened(shown_team):
        pass
    assert caught.value.code == "rolled_back"


def test_an_export_that_contradicts_the_record_while_it_runs_is_an_alert_and_stays(
    shown_team: Team, server: ObjectServer
) -> None:
    with opened(shown_team) as gate:
        gate.refusal()
        gate.sign()
        export = gate.runtime.publishing.loops[1]
        export.run_once()
        (held,) = [one for one in server.of("configmaps") if one["metadata"]["name"] == "placet-checkpoint"]
        held["data"][NEWEST] = "something else"
        gate.refusal()
        gate.clock.ahead += timedelta(minutes=2)
        gate.sign()
        export.run_once()
        assert gate.metric("placet_checkpoint_export_conflict") == 1
        assert "exported_checkpoint_invalid" in gate.ready()[1]
        assert held["data"][NEWEST] == "something else"


def test_an_api_server_that_is_away_stops_no_start(shown_team: Team, server: ObjectServer) -> None:
    server.fail = lambda _method, _path: 503
    with opened(shown_team) as gate:
        status: Any = gate.ready()[0]
        assert status == 200
