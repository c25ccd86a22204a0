"""evidence attest and verify, run as a person runs them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.placet.cli.conftest import Run
from tests.placet.cli.trust import MANIFEST, manifest, trusted
from tests.placet.evidence.samples import SCAN
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


OWN = """\
evidence:
  red_team:
    predicate_type: https://example.org/red-team/v1
    about: projection
    max_age_days: 90
    claims:
      findings: {type: integer}
      verdict: {type: string, values: [held, broken]}
      areas: {type: strings, empty: true}
      again: {type: boolean, optional: true}
"""


def desk_with_an_auditor() -> ApprovalDesk:
    desk = ApprovalDesk.standard()
    desk.add("auditor", facts=["performance", "vulnerability_scan", "red_team"])
    return desk


def test_any_kind_is_made_verified_and_shown_with_what_it_says(run: Run, tmp_path: Path) -> None:
    paths = desk_with_an_auditor().write(tmp_path / "desk")
    file, key, scan = manifest(tmp_path), paths["keys"] / "auditor.key", tmp_path / "scan.json"
    scan.write_text(json.dumps(SCAN))
    base = ["-f", file, "--key", key, "--write"]
    run("evidence", "make", "performance", *base, "--claim", "latency_p95_ms=850", "--claim", "accuracy_permille=910")
    run("evidence", "make", "vulnerability_scan", *base, "--from", scan)
    assert "placet.dev/evidence.vulnerability-scan" in file.read_text()
    shown = run("evidence", "verify", "-f", file, "-e", "production", *trusted(paths))
    assert "about the model, by auditor@example.org, until 2026-" in shown.stdout
    assert "accuracy_permille 910, latency_p95_ms 850" in shown.stdout
    told = json.loads(run("evidence", "verify", "-f", file, "-e", "production", *trusted(paths), "-o", "json").stdout)
    (found,) = told["workloads"]
    assert [one["kind"] for one in found["statements"]] == ["performance", "vulnerability_scan"]
    assert (found["facts"], found["rejected"]) == ({}, [])


def test_a_kind_of_ones_own_is_made_from_the_policy_data(run: Run, tmp_path: Path) -> None:
    paths = desk_with_an_auditor().write(tmp_path / "desk")
    data, config = tmp_path / "policy.yaml", tmp_path / "gate.yaml"
    data.write_text(OWN)
    config.write_text(
        f"cluster: a\nkeyring: {{file: k.json, roots: [a.pub], threshold: 1}}\n"
        f"record: {{store: r.sqlite, log_key: log.key}}\npolicy: {{data: {data}}}\n"
    )
    base = ["evidence", "make", "red_team", "-f", manifest(tmp_path), "--key", paths["keys"] / "auditor.key"]
    given = ["--config", config, "--claim", "findings=2", "--claim", "verdict=held"]
    printed = json.loads(run(*base, *given).stdout)
    statement = json.loads(base64.b64decode(printed["payload"]))
    times = {name: statement["predicate"].pop(name) for name in ("issuedAt", "expires")}
    assert statement["predicate"] == {"findings": 2, "verdict": "held", "areas": []}
    assert statement["predicateType"] == "https://example.org/red-team/v1"
    assert times["issuedAt"] < times["expires"]
    assert "knows no kind of evidence" in run(*base, *given[2:], code=2).stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["performanse"], "Did you mean performance?"),
        (["performance"], "says nothing without accuracy_permille, latency_p95_ms"),
        (["performance", "--claim", "latency=1"], "Claims: accuracy_permille (integer), latency_p95_ms (integer)"),
        (["performance", "--claim", "latency_p95_ms"], "is no claim of performance"),
        (["performance", "--claim", "latency_p95_ms=fast"], "latency_p95_ms is a whole number"),
        (["performance", "--claim", "accuracy_permille=0.91"], "910, not 0.91"),
        (["performance", "--claim", "latency_p95_ms=1", "--claim", "latency_p95_ms=2"], "is claimed twice"),
        (["performance", "--claim", "latency_p95_ms=0", "--claim", "accuracy_permille=1"], "can't be attested"),
        (["lineage", "--claim", "complete=yes"], "complete is true or false"),
        (["lineage", "--claim", "complete=true", "--image", "x"], "lineage is about the model"),
        (["vulnerability_scan"], "--from FILE"),
        (["vulnerability_scan", "--claim", "critical=0"], "--from FILE"),
        (["performance", "--from", "x.json"], "is made of claims"),
        (["vulnerability_scan", "--from", "nowhere.json"], "can't read"),
        (["slo", "--as", "a/b"], "can't be the name of an annotation"),
    ],
)
def test_what_can_not_be_made_is_said_with_what_to_do(run: Run, tmp_path: Path, given: list[str], said: str) -> None:
    paths = desk_with_an_auditor().write(tmp_path / "desk")
    result = run("evidence", "make", *given, "-f", manifest(tmp_path), "--key", paths["keys"] / "auditor.key", code=2)
    assert said in result.stderr
