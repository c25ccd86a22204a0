"""evidence attest and verify, run as a person runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.placet.cli.conftest import Run
from tests.placet.cli.trust import MANIFEST, manifest, trusted
from tests.simulators.desk import ApprovalDesk


def test_evidence_is_attested_into_the_manifest_and_verified(run: Run, tmp_path: Path) -> None:
    desk = ApprovalDesk.standard()
    paths = desk.write(tmp_path / "desk")
    file, key = manifest(tmp_path), paths["keys"] / "ci.key"
    report = tmp_path / "coverage.json"
    report.write_text(json.dumps({"totals": {"covered_lines": 85, "num_statements": 100}}))
    base = ["evidence", "attest", "-f", file, "--key", key, "--write"]
    run(*base, "--fact", "coverage", "--from", report)
    run(
        *base, "--parameters", "70600000000", "--data-classification", "confidential", "--rollback-minutes", "3",
        "--strategy", "blue_green",
    )  # fmt: skip
    text = file.read_text()
    assert "\n".join(line for line in text.splitlines() if "evidence." not in line) + "\n" == MANIFEST
    result = run("evidence", "verify", "-f", file, "-e", "production", *trusted(paths))
    assert "coverage: 85 of 100 lines" in result.stdout
    shown = run("evidence", "verify", "-f", file, "-e", "production", *trusted(paths), "-o", "json")
    facts = json.loads(shown.stdout)["workloads"][0]["facts"]
    assert {fact: found["value"] for fact, found in facts.items()} == {
        "coverage": {"covered": 85, "total": 100},
        "parameters": 70600000000,
        "data_classification": "confidential",
        "rollback": {"available": True, "minutes": 3},
        "strategy": "blue_green",
    }


def test_an_ml_bom_is_attested_from_a_file(run: Run, tmp_path: Path) -> None:
    desk = ApprovalDesk.standard()
    paths = desk.write(tmp_path / "desk")
    file, bom = manifest(tmp_path), tmp_path / "bom.json"
    card = {"properties": [{"name": "parameterCount", "value": "7000000000"}]}
    component = {"type": "machine-learning-model", "name": "llama", "modelCard": card}
    content = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "metadata": {"timestamp": "2026-11-22T11:00:00Z", "component": component},
    }
    bom.write_text(json.dumps(content))
    base = ["evidence", "attest", "-f", file, "--key", paths["keys"] / "ci.key"]
    run(*base, "--fact", "model", "--from", bom, "--write")
    assert "parameters: 7000000000" in run("evidence", "verify", "-f", file, "-e", "production", *trusted(paths)).stdout
    bom.write_text(json.dumps(content | {"bomFormat": "SPDX"}))
    assert "can't be attested" in run(*base, "--fact", "model", "--from", bom, code=2).stderr


def test_one_statement_goes_to_stdout_or_a_file(run: Run, tmp_path: Path) -> None:
    paths = ApprovalDesk.standard().write(tmp_path / "desk")
    base = ["evidence", "attest", "-f", manifest(tmp_path), "--key", paths["keys"] / "ci.key"]
    printed = run(*base, "--strategy", "canary").stdout
    assert json.loads(printed)["payloadType"] == "application/vnd.in-toto+json"
    run(*base, "--strategy", "canary", "--out", "plan.json")
    assert (tmp_path / "plan.json").read_text() == printed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "nothing to attest"),
        (["--strategy", "canary", "--rollback-minutes", "3"], "2 statements"),
        (["--fact", "coverage"], "needs a report"),
        (["--from", "coverage.json"], "--fact coverage"),
        (["--fact", "coverage", "--from", "nothing.json"], "nothing.json"),
        (["--fact", "coverage", "--from", "coverage.json"], "can't be used"),
        (["--fact", "coverage", "--from", "good.json", "--image", "other"], "which image"),
        (["--fact", "model", "--from", "good.json", "--parameters", "7"], "Drop the one or the other"),
    ],
)
def test_what_can_t_be_attested_is_named(run: Run, tmp_path: Path, arguments: list[str], says: str) -> None:
    paths = ApprovalDesk.standard().write(tmp_path / "desk")
    (tmp_path / "coverage.json").write_text("{}")
    (tmp_path / "good.json").write_text('{"totals": {"covered_lines": 1, "num_statements": 1}}')
    file = manifest(tmp_path)
    result = run("evidence", "attest", "-f", file, "--key", paths["keys"] / "ci.key", *arguments, code=2)
    assert says in result.stderr
    assert result.stdout == ""
    assert file.read_text() == MANIFEST


def test_evidence_that_does_not_count_is_said(run: Run, tmp_path: Path) -> None:
    paths = ApprovalDesk.standard().write(tmp_path / "desk")
    file = manifest(tmp_path)
    assert "no evidence" in run("evidence", "verify", "-f", file, "-e", "production", *trusted(paths), code=1).stdout
    run("evidence", "attest", "-f", file, "--key", paths["keys"] / "bob.key", "--strategy", "canary", "--write")
    result = run("evidence", "verify", "-f", file, "-e", "production", *trusted(paths), code=1)
    assert "rejected  strategy: bob@example.org may not attest strategy" in result.stdout


# -- all of them
