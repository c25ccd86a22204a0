"""``placet checklist`` as people type it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.e2e.gateprocess import Team

EXAMPLE = Path(__file__).parents[3] / "manifests" / "examples" / "llama-deployment.yaml"
COMMAND = ("checklist", "-f", "deploy.yaml", "-e", "production")


def test_an_approval_answers_its_item_and_nothing_else_is_ticked(tmp_path: Path) -> None:
    team = Team.found(tmp_path)
    shutil.copyfile(EXAMPLE, team.folder / "deploy.yaml")
    team.run(
        "approve", "-f", "deploy.yaml", "-e", "production", "--role", "technical", "--key", "keys/tara.key", "--yes"
    )
    found = json.loads(team.run(*COMMAND, "-o", "json", expect=1).stdout)
    assert (found["schema"], found["complete"], found["environment"]) == (
        "placet.dev/checklist/v1",
        False,
        "production",
    )
    (workload,) = found["workloads"]
    items = {one["item"]: one for group in workload["groups"] for one in group["items"]}
    assert len(items) == 16
    assert {name for name, one in items.items() if one["state"] == "met"} == {"technical_approval", "risk"}
    assert items["audit_trail"]["state"] == "unknown"
    assert {each["rule"] for each in items["security_scan"]["lacking"]} == {
        "checks.security_scan",
        "quality.vulnerabilities",
    }
    shown = team.run(*COMMAND, expect=1).stdout
    assert "technical validation" in shown
    assert "no slo that counts is attested" in shown
    assert "2 met, 13 lacking, 1 not known" in shown
