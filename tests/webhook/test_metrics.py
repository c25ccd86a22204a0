"""What is counted, under which names, and that no user can make a series."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from placet.policy.opa import OpaEngine
from tests.e2e.gateprocess import Team
from tests.e2e.processes import poll_until
from tests.simulators.gate import example, namespace_review, review
from tests.simulators.opa import OpaProcess
from tests.webhook.gaterun import PATH, Gate, opened
from webhook.app import GUARD_PATH
from webhook.measured import MeasuredEngine
from webhook.metric_list import METRICS, render_table
from webhook.metrics import Metrics
from webhook.server_state import ServerState

ROOT = Path(__file__).parents[2]
WAIT_S = 30
CONVENTIONS = {
    "placet_admission_requests_total": {"decision", "mode", "environment", "risk", "dry_run"},
    "placet_admission_duration_seconds": set(),
    "placet_policy_evaluation_duration_seconds": set(),
    "placet_signature_verifications_total": {"role", "result"},
    "placet_approvals_expiring": set(),
    "placet_audit_records_total": set(),
    "placet_audit_append_duration_seconds": set(),
    "placet_audit_write_failures_total": {"code"},
    "placet_audit_checkpoint_age_seconds": set(),
    "placet_policy_reload_total": {"result"},
    "placet_policy_info": {"revision", "data"},
    "placet_keyring_expiry_timestamp_seconds": set(),
    "placet_certificate_expiry_timestamp_seconds": {"kind"},
    "placet_engine_drifts_total": set(),
    "placet_gate_denials_total": {"code"},
    "placet_ready": {"part"},
}


def test_the_names_that_dashboards_are_made_with_are_there() -> None:
    found = {metric.exposed_name: set(metric.labels) for metric in METRICS}
    assert {name: found.get(name) for name in CONVENTIONS} == CONVENTIONS


def test_a_scrape_shows_every_metric_and_no_other(own_team: Team, approved_manifest: dict[str, Any]) -> None:
    with opened(own_team) as gate:
        gate.ask()
        gate.ask(approved_manifest)
        answer = gate.client.get("/metrics")
        assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
        families = {family.name for family in text_string_to_metric_families(answer.get_data(as_text=True))}
        assert families == {metric.name for metric in METRICS}


def test_decisions_are_counted_by_what_they_were(own_team: Team, approved_manifest: dict[str, Any]) -> None:
    name = "placet_admission_requests_total"
    with opened(own_team) as gate:
        gate.ask()
        gate.ask(approved_manifest)
        gate.ask(approved_manifest, dry_run=True)
        gate.client.post("/v1/admit/moon", data=json.dumps(review(example())), content_type="application/json")
        labels = {"mode": "enforce", "environment": "production", "dry_run": "false", "risk": "critical"}
        assert gate.metric(name, decision="deny", **labels) == 1
        assert gate.metric(name, decision="allow", **labels) == 1
        assert gate.metric(name, decision="allow", **{**labels, "dry_run": "true"}) == 1
        assert gate.metric(name, decision="deny", **{**labels, "environment": "unknown", "risk": "none"}) == 1
        assert gate.metric("placet_gate_denials_total", code="environment_unknown") == 1
        assert gate.metric("placet_admission_duration_seconds_count") == 4
        assert (gate.metric("placet_policy_evaluation_duration_seconds_count") or 0) >= 3
        assert gate.metric("placet_signature_verifications_total", role="security", result="verified") == 2
        assert gate.metric("placet_unrecorded_denials_total") == 0


def test_writes_to_namespaces_are_counted_under_a_word_of_ours(own_team: Team) -> None:
    with opened(own_team) as gate:
        asked = json.dumps(namespace_review({"placet.dev/environment": "production"}, None))
        gate.client.post(GUARD_PATH, data=asked, content_type="application/json")
        labels = {"mode": "enforce", "environment": "guard/namespaces", "dry_run": "false", "risk": "none"}
        assert gate.metric("placet_admission_requests_total", decision="deny", **labels) == 1
        assert gate.metric("placet_gate_denials_total", code="labeller_required") == 1


def test_records_are_counted_whatever_they_are_of(own_team: Team) -> None:
    with opened(own_team) as gate:
        gate.ask()
        size = gate.runtime._log.size()
        # policies, keyring, configuration, heartbeat, decision
        assert gate.metric("placet_audit_records_total") == size == 5
        assert gate.metric("placet_audit_append_duration_seconds_count") == size


def test_what_somebody_else_wrote_into_opa_is_counted_across_reloads(own_team: Team, tmp_path: Path) -> None:
    with OpaProcess(tmp_path, pull=True) as opa:
        own_team.configure({"policy": {"engine": "opa", "opa_url": opa.url}})
        with opened(own_team) as gate:
            assert gate.metric("placet_engine_drifts_total") == 0
            meddle(gate, opa)
            assert poll_until(lambda: gate.metric("placet_engine_drifts_total") == 1, WAIT_S)
            gate.policy_data("environments: {production: {max_level: high}}\n")
            before = gate.runtime.generation
            gate.round()
            assert gate.runtime.generation is not before
            assert gate.metric("placet_engine_drifts_total") == 1, "a reload is no stranger"
            meddle(gate, opa)
            assert poll_until(lambda: gate.metric("placet_engine_drifts_total") == 2, WAIT_S)


def meddle(gate: Gate, opa: OpaProcess) -> None:
    """Change what OPA holds under the gate's own digest, and have the gate look now."""
    held = opa.call("GET", "/v1/data/placet")[1]["result"]
    held["environments"]["production"]["mode"] = "audit"
    assert opa.call("PUT", "/v1/data/placet", held)[0] == 204
    measured = gate.runtime.generation.engine
    assert isinstance(measured, MeasuredEngine)
    engine = measured._engine
    assert isinstance(engine, OpaEngine)
    engine._probe.hurry()


def test_what_is_in_force_is_shown(own_team: Team) -> None:
    with opened(own_team) as gate:
        now = gate.runtime.generation
        assert gate.metric("placet_policy_info", revision=now.engine.revision, data=str(now.data.digest)) == 1
        assert now.trust.in_force is not None
        expires = now.trust.in_force.expires.timestamp()
        assert gate.metric("placet_keyring_expiry_timestamp_seconds") == expires
        former = str(now.data.digest)
        gate.policy_data("environments: {production: {mode: warn}}\n")
        gate.round()
        assert gate.metric("placet_policy_info", revision=now.engine.revision, data=former) is None


def test_no_text_of_a_user_becomes_a_label(own_team: Team) -> None:
    marker = "zz-marker"
    manifest = example()
    manifest["metadata"]["labels"]["placet.dev/model"] = marker
    manifest["metadata"].setdefault("annotations", {})[f"placet.dev/approval.{marker}"] = "e30="
    manifest["metadata"]["annotations"]["placet.dev/approval.security"] = marker
    with opened(own_team) as gate:
        gate.ask(manifest, username=marker, path=f"/v1/admit/{marker}")
        gate.ask(manifest, username=marker)
        for path in (f"/{marker}", f"{PATH}?timeout={marker}"):
            gate.client.post(path, data=json.dumps(review(manifest)), content_type="application/json")
        text = gate.client.get("/metrics").get_data(as_text=True)
        assert marker not in text
        assert gate.metric("placet_signature_verifications_total", role="unknown", result="role_unknown") == 1


def test_codes_are_words_and_capped() -> None:
    metrics = Metrics(clock=lambda: datetime.now(UTC))
    metrics.refused("Not A Code\n")
    for number in range(500):
        metrics.refused(f"code_{number}")
    text = metrics.render().decode()
    assert 'placet_http_refusals_total{code="other"}' in text
    assert len(re.findall(r"placet_http_refusals_total\{", text)) <= 130


def test_approvals_that_expire_soon_are_counted_until_they_have() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    moment = [now]
    metrics = Metrics(clock=lambda: moment[0])
    for name, days in (("soon", 6), ("soon-too", 7), ("later", 8), ("gone", 0)):
        metrics.approval_counts(name, now + timedelta(days=days))
    metrics.approval_counts("soon", now + timedelta(days=6))
    assert _sample(metrics, "placet_approvals_expiring") == 2
    moment[0] = now + timedelta(days=7)
    assert _sample(metrics, "placet_approvals_expiring") == 1


def test_approvals_of_before_the_start_count_too(own_team: Team, approved_manifest: dict[str, Any]) -> None:
    with opened(own_team) as gate:
        assert gate.ask(approved_manifest)["allowed"] is True
        expiries = [datetime.fromisoformat(one["expires"]) for one in gate.records("decision")[0]["approvals"]]
    with opened(own_team) as gate:
        gate.runtime._remember_approvals()
        gate.clock.ahead = min(expiries) - datetime.now(UTC) - timedelta(days=1)
        assert gate.metric("placet_approvals_expiring") == len(expiries)


def test_what_only_the_server_knows_is_shown_and_counted_once() -> None:
    metrics = Metrics(clock=lambda: datetime.now(UTC))
    server = ServerState(connections=3, waiting=2)
    metrics.follow_server(server)
    server.events["overloaded"] += 4
    for _ in range(2):
        assert _sample(metrics, "placet_server_events_total", event="overloaded") == 4
    server.events["overloaded"] += 1
    assert _sample(metrics, "placet_server_events_total", event="overloaded") == 5
    assert _sample(metrics, "placet_overload_total", reason="bodies") == 0  # there from the start, for increase()
    server.overloads["bodies"] += 2
    server.refusals.update({"caller_unknown": 3, "not a code": 1})
    metrics.refused("caller_unknown")
    for _ in range(2):
        assert _sample(metrics, "placet_overload_total", reason="bodies") == 2
        assert _sample(metrics, "placet_http_refusals_total", code="caller_unknown") == 4
        assert _sample(metrics, "placet_http_refusals_total", code="other") == 1
    assert _sample(metrics, "placet_connections_open") == 3
    assert _sample(metrics, "placet_reviews_waiting") == 2


def test_two_gates_in_one_process_have_metrics_of_their_own() -> None:
    first, second = Metrics(clock=lambda: datetime.now(UTC)), Metrics(clock=lambda: datetime.now(UTC))
    first.refused("caller_unknown")
    assert _sample(second, "placet_http_refusals_total", code="caller_unknown") is None


def _sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            if (sample.name, sample.labels) == (name, labels):
                return float(sample.value)
    return None


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_has_its_row_in_the_document(metric: Any) -> None:
    document = (ROOT / "docs" / "operations-metrics.md").read_text(encoding="utf-8")
    assert f"| `{metric.exposed_name}` | {metric.kind.__name__.lower()} |" in document
    assert metric.meaning in document
    assert render_table() in document


def test_base_units_and_suffixes_are_those_of_prometheus() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"placet_[a-z_]+", metric.name)
        assert not metric.name.endswith(("_total", "_ms", "_us"))
        assert bool(metric.buckets) == metric.name.endswith("_duration_seconds")
        assert list(metric.buckets) == sorted(metric.buckets)


def test_importing_the_command_line_does_not_load_the_metrics() -> None:
    code = "import sys, placet.cli; sys.exit('prometheus_client' in sys.modules or 'flask' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
