"""The gate knows canaries of its record, refuses them always, counts them apart, and tells what became of its own."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.apiserver import ClusterUnavailable
from placet.assemble import load_own_log_key
from placet.canary import CanaryKey, render_canary
from placet.config import load_config
from tests.e2e.gateprocess import Team
from tests.simulators.gate import review
from tests.webhook.gaterun import Clock, Gate, opened
from webhook import canary as canary_module
from webhook.canary import FIRST_S, RETRY_S, CanaryThread

PLACE = "placet-canary-production"
LABELS = {"canary": PLACE, "environment": "production"}


class ThroughGate:
    """An API server that asks one gate about each canary, as the real one does, and answers what it answers."""

    def __init__(self, gate: Gate, *, asked: bool = True, environment: str = "production") -> None:
        self.gate = gate
        self.asked = asked
        self.environment = environment
        self.fault: tuple[int, bytes] | Exception | None = None

    def create_dry_run(self, path: str, body: Any, *, timeout_s: float, hint: str) -> tuple[int, bytes]:
        if isinstance(self.fault, Exception):
            raise self.fault
        if self.fault is not None:
            return self.fault
        if not self.asked:
            return 201, b"{}"
        response = ask(self.gate, body, environment=self.environment)
        if response["allowed"]:
            return 201, b"{}"
        return 403, json.dumps({"kind": "Status", **response["status"]}).encode()


def ask(gate: Gate, body: Any, *, environment: str = "production", dry_run: bool = True) -> dict[str, Any]:
    asked = review(body)
    asked["request"].update(name=body["metadata"]["name"], namespace=body["metadata"]["namespace"], dryRun=dry_run)
    answer = gate.client.post(f"/v1/admit/{environment}", data=json.dumps(asked), content_type="application/json")
    response: dict[str, Any] = answer.get_json()["response"]
    return response


def key_of(team: Team) -> CanaryKey:
    return CanaryKey.derive(load_own_log_key(load_config(team.folder / "placet.yaml")))


def canaries(gate: Gate, sender: ThroughGate) -> CanaryThread:
    gate.team.configure({"canary": {"namespaces": {PLACE: "production"}, "interval_seconds": 60}})
    gate.runtime.reload()
    return CanaryThread(
        lambda: gate.runtime.config,
        key_of(gate.team),
        gate.runtime.metrics,
        connect=lambda _: sender,
        spread=lambda: 0.5,
    )


def runs(gate: Gate, outcome: str) -> float:
    return gate.metric("placet_canary_runs_total", outcome=outcome, **LABELS) or 0.0


def test_a_canary_is_refused_by_another_replica_and_counts_as_ours(own_team: Team) -> None:
    with opened(own_team) as gate, opened(own_team) as replica:
        thread = canaries(gate, ThroughGate(replica))
        assert thread.run_once() == 60
        assert runs(gate, "refused_by_us") == 1
        assert gate.metric("placet_canary_admitted", **LABELS) == 0


def test_its_refusals_are_no_requests_no_denials_and_no_records(own_team: Team) -> None:
    with opened(own_team) as gate:
        canaries(gate, ThroughGate(gate)).run_once()
        text = gate.client.get("/metrics").get_data(as_text=True)
        assert runs(gate, "refused_by_us") == 1
        assert "placet_admission_requests_total{" not in text
        assert "placet_gate_denials_total{" not in text
        assert "placet_unrecorded_denials_total 0.0" in text
        assert gate.records("decision") == []


def test_the_look_of_a_canary_hides_nothing_from_the_counts_without_its_seal(own_team: Team) -> None:
    with opened(own_team) as gate:
        forged = render_canary(PLACE, f"{'0' * 32}.{'0' * 64}")
        assert ask(gate, forged)["allowed"] is False
        genuine = render_canary(PLACE, key_of(own_team).token(PLACE, "0" * 32))
        assert ask(gate, genuine, dry_run=False)["allowed"] is False
        (kept,) = gate.records("decision")
        assert kept["name"] == "placet-canary"
        text = gate.client.get("/metrics").get_data(as_text=True)
        assert 'placet_admission_requests_total{decision="deny",dry_run="true",environment="production"' in text


@pytest.mark.parametrize("mode", ["warn", "audit"])
def test_where_nothing_is_enforced_it_is_refused_all_the_same(own_team: Team, mode: str) -> None:
    with opened(own_team) as gate:
        gate.policy_data(f"environments:\n  production:\n    mode: {mode}\n")
        thread = canaries(gate, ThroughGate(gate))
        thread.run_once()
        assert runs(gate, "refused_by_us") == 1
        response = ask(gate, render_canary(PLACE, key_of(own_team).token(PLACE, "0" * 32)))
        assert response["allowed"] is False
        assert "gate.canary/canary: this is the gate's own canary" in response["status"]["message"]


def test_policies_that_admit_what_nobody_approved_are_told_as_admitted(own_team: Team) -> None:
    """The canary is refused even so: its look is no way in."""
    with opened(own_team) as gate:
        rules = ("approvals.required", "approvals.separation", "images.pinned", "model.identified")
        known = gate.runtime.generation.data.value["rules"]
        gate.policy_data(json.dumps({"rules": {rule: {"mode": "audit"} for rule in {*rules, *known}}}))
        thread = canaries(gate, ThroughGate(gate))
        assert gate.runtime.generation.data.value["rules"]["approvals.required"]["mode"] == "audit"
        response = ask(gate, render_canary(PLACE, key_of(own_team).token(PLACE, "0" * 32)))
        assert response["allowed"] is False
        thread.run_once()
        assert runs(gate, "admitted") == 1
        assert gate.metric("placet_canary_admitted", **LABELS) == 1


def test_what_is_not_asked_about_is_admitted_until_it_is_refused_again(own_team: Team) -> None:
    with opened(own_team) as gate:
        sender = ThroughGate(gate, asked=False)
        thread = canaries(gate, sender)
        assert thread.run_once() == 60
        assert gate.metric("placet_canary_admitted", **LABELS) == 1
        sender.fault = ClusterUnavailable("gone")
        assert thread.run_once() == RETRY_S
        assert gate.metric("placet_canary_admitted", **LABELS) == 1, "not to be known is not to be mended"
        sender.fault, sender.asked = None, True
        thread.run_once()
        assert gate.metric("placet_canary_admitted", **LABELS) == 0


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ((403, b'{"message": "deployments.apps is forbidden"}'), "refused_by_other"),
        ((500, b'{"message": "failed calling webhook"}'), "unreachable"),
        (ClusterUnavailable("no connection"), "unreachable"),
    ],
)
def test_what_is_not_known_is_asked_sooner_and_grows_older(own_team: Team, fault: Any, outcome: str) -> None:
    clock = Clock()
    with opened(own_team, clock=clock) as gate:
        sender = ThroughGate(gate)
        thread = canaries(gate, sender)
        sender.fault = fault
        assert [thread.run_once() for _ in range(4)] == [10, 20, 40, 60]
        assert runs(gate, outcome) == 4
        clock.ahead = timedelta(hours=1)
        assert (gate.metric("placet_canary_undecided_seconds", **LABELS) or 0) >= 3600
        sender.fault = None
        thread.run_once()
        assert (gate.metric("placet_canary_undecided_seconds", **LABELS) or 0) < 3600


def test_the_wrong_environments_policies_are_no_success(own_team: Team) -> None:
    with opened(own_team) as gate:
        canaries(gate, ThroughGate(gate, environment="development")).run_once()
        assert runs(gate, "refused_by_other") == 1


def test_a_canary_that_is_configured_no_more_leaves_no_gauge(own_team: Team) -> None:
    with opened(own_team) as gate:
        thread = canaries(gate, ThroughGate(gate))
        thread.run_once()
        gate.team.configure({"canary": {"interval_seconds": 60}})
        file = gate.team.folder / "placet.yaml"
        file.write_text(file.read_text(encoding="utf-8").replace(f"{PLACE}: production", "{}"), encoding="utf-8")
        gate.runtime.reload()
        assert gate.runtime.config.canary.namespaces == {}
        thread.run_once()
        assert gate.metric("placet_canary_admitted", **LABELS) is None
        assert gate.metric("placet_canary_undecided_seconds", **LABELS) is None


def test_an_admitted_canary_is_an_error_each_time_and_no_secret_is_logged(
    own_team: Team, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(own_team) as gate:
        sender = ThroughGate(gate)
        thread = canaries(gate, sender)
        thread.run_once()
        thread.run_once()
        sender.asked = False
        thread.run_once()
        thread.run_once()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    told = [(line["level"], line["outcome"]) for line in lines if line["message"] == "canary"]
    assert told == [("info", "refused_by_us"), ("error", "admitted"), ("error", "admitted")]
    assert key_of(own_team).secret.hex() not in json.dumps(lines)


def test_the_thread_waits_sends_and_ends_and_a_fault_does_not_end_it(own_team: Team) -> None:
    waited: list[float] = []
    with opened(own_team) as gate:
        sender = ThroughGate(gate)
        thread = canaries(gate, sender)
        broken = iter([RuntimeError("unforeseen")])

        def wait(seconds: float) -> bool:
            waited.append(seconds)
            sender.fault = next(broken, None)
            return len(waited) == 4

        thread._wait = wait
        thread.run()
        assert runs(gate, "refused_by_us") == 2
    assert waited == [FIRST_S, RETRY_S, 60, 60]


def test_without_namespaces_nothing_is_sent(own_team: Team) -> None:
    with opened(own_team) as gate:
        thread = CanaryThread(lambda: gate.runtime.config, key_of(own_team), gate.runtime.metrics, connect=_nobody)
        assert thread.run_once() == canary_module.IDLE_S


def _nobody(kubeconfig: Path | None) -> Any:
    raise AssertionError(kubeconfig)
