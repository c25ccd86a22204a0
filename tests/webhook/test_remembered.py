"""A gate with a memory of parents: readiness waits for it once, and says when it is old."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from placet.informer.informer import Informer
from tests.e2e.gateprocess import Team
from tests.simulators.watched import WatchedServer
from tests.webhook.gaterun import Gate, opened


@pytest.fixture
def server() -> WatchedServer:
    return WatchedServer()


@pytest.fixture
def informer(server: WatchedServer) -> Informer:
    return server.informer()


@pytest.fixture
def gate(own_team: Team, informer: Informer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    own_team.configure({"parents": "lookup", "lookups": {"cache": "informer"}})
    monkeypatch.setattr("webhook.runtime.build_informer", lambda _: informer)
    with opened(own_team) as found:
        found.sign()
        yield found


def test_readiness_waits_for_the_first_complete_list_and_says_what_keeps_it(gate: Gate, server: WatchedServer) -> None:
    assert "lookups: lookup_cache_warming: no complete list of deployments, cronjobs was read yet\n" in gate.ready()[1]
    server.away = True
    server.round(gate.runtime._informer)  # type: ignore[arg-type]
    status, said = gate.ready()
    assert status == 503
    assert (
        "lookups: lookup_cache_unlisted: no complete list of deployments, cronjobs was read yet: nobody answers" in said
    )
    assert gate.metric("placet_ready", part="lookups") == 0
    assert gate.metric("placet_lookup_cache_age_seconds", resource="deployments") == float("inf")


def test_an_old_memory_is_a_warning_that_comes_and_goes(gate: Gate, server: WatchedServer, informer: Informer) -> None:
    assert server.round(informer)
    assert gate.ready() == (200, "ok\n")
    server.now_s += 16
    status, said = gate.ready()
    assert status == 200
    assert "warning lookups: lookup_cache_stale: what is remembered of deployments, cronjobs may be older" in said
    assert gate.metric("placet_stale", part="lookups") == 1
    assert gate.metric("placet_lookup_cache_age_seconds", resource="cronjobs") == 16
    assert server.round(informer)
    assert gate.ready() == (200, "ok\n")
    assert gate.metric("placet_stale", part="lookups") == 0


def test_a_memory_is_counted_in_what_it_holds_and_answers(
    gate: Gate, server: WatchedServer, informer: Informer
) -> None:
    metadata = {"name": "llama", "namespace": "ml-serving", "uid": "u"}
    server.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {}})
    assert server.round(informer)
    asked = {"api_version": "apps/v1", "kind": "Deployment", "namespace": "ml-serving", "timeout_s": 1.0}
    for name in ("llama", "llama", "qwen"):
        informer.find(name=name, **asked)  # type: ignore[arg-type]
    for _ in range(2):
        assert gate.metric("placet_lookup_cache_answers_total", answer="remembered") == 2
        assert gate.metric("placet_lookup_cache_answers_total", answer="not_remembered") == 1
    assert gate.metric("placet_lookup_cache_objects", resource="deployments") == 1
    assert (gate.metric("placet_lookup_cache_bytes", resource="deployments") or 0) > 0


def test_turning_it_on_is_a_downgrade_in_the_record(own_team: Team) -> None:
    with opened(own_team):
        pass
    own_team.configure({"parents": "lookup", "lookups": {"cache": "informer"}})
    with opened(own_team) as gate:
        assert {one["key"] for one in gate.records("configuration")[-1]["downgrades"]} == {"lookups.cache"}


def test_turning_it_off_needs_a_restart(gate: Gate) -> None:
    gate.team.configure({"lookups": {"cache": "none"}})
    gate.runtime.reload()
    assert gate.runtime.config.lookups.cache == "informer"
    assert "restart_needed: changed since the start: lookups.cache" in gate.ready()[1]


def test_a_memory_of_another_api_server_is_not_asked(gate: Gate, informer: Informer, tmp_path: Path) -> None:
    assert gate.runtime.generation.gate._subject._remembered is informer
    (tmp_path / "other").write_text("{}", encoding="utf-8")
    gate.team.configure({"kubeconfig": str(tmp_path / "other")})
    gate.runtime.reload()
    assert gate.runtime.config.kubeconfig == tmp_path / "other"
    assert gate.runtime.generation.gate._subject._remembered is None


def test_the_end_of_the_process_cuts_the_watch(gate: Gate, server: WatchedServer) -> None:
    gate.runtime.close()
    assert {call for call in server.calls if call.startswith("cut")} == {"cut Deployment", "cut CronJob"}
