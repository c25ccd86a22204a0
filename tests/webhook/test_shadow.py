"""Policies that are tried on live reviews: what they say, what is recorded of it, and that nobody waits for them."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from placet.canonical import Digest
from placet.policy.bundle import MANIFEST, SHIPPED
from placet.policy.package import render_package
from tests.e2e.gateprocess import Team
from tests.simulators.desk import signer_of
from tests.simulators.file_server import serving_file
from tests.simulators.gate import example
from tests.simulators.policy_bundles import sign_bundle
from tests.webhook.gaterun import Gate, approved, opened
from webhook import shadow as shadows
from webhook import shadow_process

STRICTER = "environments:\n  production:\n    approvals: [technical, security, business, executive]\n"
LOOSER = "environments:\n  production:\n    approvals: []\nrisk_approvals: {low: [], medium: [], high: [], critical: []}\n"


@pytest.fixture(autouse=True)
def no_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadows, "HOLD_S", 0.0)


@pytest.fixture
def trying(own_team: Team) -> Iterator[Gate]:
    """A gate that tries policy data which ask for one approval more."""
    (own_team.folder / "candidate.yaml").write_text(STRICTER, "utf-8")
    own_team.configure({"policy": {"shadow": {"data": "candidate.yaml"}}})
    with opened(own_team) as gate:
        look(gate)
        yield gate


def look(gate: Gate) -> None:
    """What the shadow's threads do."""
    gate.runtime.shadow.loader.look(gate.runtime.config)
    gate.runtime.shadow.work()


def disagreements(gate: Gate) -> list[Any]:
    gate.runtime.shadow.work()
    return [one for one in gate.records("shadow") if one["event"] == "disagreement"]


def test_what_would_newly_be_refused_is_recorded_with_both_answers(trying: Gate) -> None:
    manifest = approved(trying.team, "technical", "security", "business")
    assert trying.ask(manifest)["allowed"] is True
    (leaf,) = disagreements(trying)
    (decision,) = trying.records("decision")
    assert (leaf["change"], leaf["direction"], leaf["count"]) == ("newly_refused", "stricter", 1)
    assert leaf["in_force"]["answer"]["allowed"] is True
    assert leaf["shadow"]["allowed"] is False
    print(leaf)
