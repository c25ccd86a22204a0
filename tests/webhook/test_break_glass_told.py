"""Break-glass in the real process: what is told of it, and a deadline that a restart does not forget."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from typing import Any

import pytest
import yaml

from tests.e2e.gateprocess import Team
from tests.webhook.gaterun import EXAMPLE, ROLES, Clock, Gate, opened

PLACE = ("-f", "glass.yaml", "-e", "production", "--yes", "--key")


@pytest.fixture
def keepers(own_team: Team) -> Team:
    """The team with those who may break the glass, and who may review."""
    for name, role in (("gina", "break-glass"), ("hugo", "break-glass"), ("rita", "break-glass-review")):
        own_team.run("keys", "generate", "--out", f"keys/{name}.key", "--no-passphrase")
        own_team.run("keyring", "add", f"{name}@example.com", "--person", name, "--key", f"keys/{name}.pub")
        own_team.run("keyring", "grant", f"{name}@example.com", "--role", role, "--environment", "production",
                     "--max-risk", "critical")  # fmt: skip
    own_team.run("keyring", "renew")
    for root in ("root-1", "root-2"):
        own_team.run("keyring", "sign", "--key", f"keys/{root}.key")
    shutil.copyfile(EXAMPLE, own_team.folder / "glass.yaml")
    own_team.run("break-glass", "sign", *PLACE, "keys/gina.key", "--reason", "llama answers with garbage")
    own_team.run("break-glass", "sign", *PLACE, "keys/hugo.key")
    return own_team


def manifest(team: Team, file: str = "glass.yaml") -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((team.folder / file).read_text(encoding="utf-8"))
    return found


def waiting(gate: Gate, state: str) -> float | None:
    gate.runtime.look()
    return gate.metric("placet_break_glass_reviews_waiting", state=state)


def test_the_whole_life_of_a_break_glass(keepers: Team, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with opened(keepers, clock=clock) as gate:
        answer = gate.ask(manifest(keepers))
        assert answer["allowed"] is True
        assert any("let in without approvals; a review is due by" in text for text in answer["warnings"])
        [used] = gate.records("break-glass")
        expected = f"{used['token_id']} review-due={used['review_due']}"
        assert answer["auditAnnotations"]["break-glass"] == expected
        assert gate.metric("placet_break_glass_total", environment="production") == 1
        assert (waiting(gate, "due"), waiting(gate, "overdue")) == (1, 0)
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
        [line] = [line for line in lines if line["message"] == "break-glass used"]
        assert (line["token_id"], line["name"], line["level"].lower()) == (used["token_id"], "llama", "warning")
    clock.ahead = timedelta(hours=25)
    shutil.copyfile(EXAMPLE, keepers.folder / "deploy.yaml")
    keepers.approve("deploy.yaml", *ROLES)
    with opened(keepers, clock=clock) as gate:
        approved = manifest(keepers, "deploy.yaml")
        assert "gate.break_glass/review_overdue: it was let in by break-glass token" in gate.refusal(approved)
        assert gate.metric("placet_gate_denials_total", code="review_overdue") is None, "nothing of the gate's own"
        assert (waiting(gate, "due"), waiting(gate, "overdue")) == (0, 1)
        keepers.run("break-glass", "review", *PLACE, "keys/rita.key", "--conclusion", "right; approvals follow")
        review = manifest(keepers)["metadata"]["annotations"]["placet.dev/break-glass-review"]
        approved["metadata"]["annotations"]["placet.dev/break-glass-review"] = review
        assert gate.ask(approved)["allowed"] is True
        assert (waiting(gate, "due"), waiting(gate, "overdue")) == (0, 0)
        assert [one["event"] for one in gate.records("break-glass")] == ["used", "reviewed"]


def test_what_only_a_mode_lets_in_is_counted_and_annotated(own_team: Team) -> None:
    with opened(own_team) as gate:
        gate.policy_data("environments: {production: {mode: warn}}\n")
        gate.round()
        answer = gate.ask()
        assert answer["allowed"] is True
        assert "approvals.required/role_missing" in answer["auditAnnotations"]["would-deny"]
        assert any(text.startswith("placet: would deny: approvals.required: ") for text in answer["warnings"])
        name = "placet_would_deny_total"
        assert gate.metric(name, environment="production", mode="warn", dry_run="false") == 1
        gate.ask(dry_run=True)
        assert gate.metric(name, environment="production", mode="warn", dry_run="true") == 1
        [downgrade] = [one for one in gate.records("configuration") if one["downgrades"]]
        assert downgrade["downgrades"] == [{"key": "environments.production.mode", "from": "enforce", "to": "warn"}]
