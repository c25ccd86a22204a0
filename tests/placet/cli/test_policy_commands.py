"""`placet policy matrix` and `eval`: forms, comparisons, requests that can be put again, and wrong usage."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from placet.cli import root
from tests.policies.documents import passing_request
from tests.policies.programs import POLICIES
from tools import bundle

SOFT = "environments: {production: {mode: warn}}\nrules: {approvals.separation: {mode: warn}}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, expect: int = 0, given: str | None = None) -> Result:
    done = CliRunner().invoke(root, ["policy", *arguments], prog_name="placet", input=given)
    assert done.exit_code == expect, done.output
    return done


def test_what_ships_is_shown_and_proved() -> None:
    lines = run("matrix").stdout.splitlines()
    assert lines[0].split() == ["ENVIRONMENT", "LEVEL", "MODE", "ADMITTED", "WITH"]
    assert lines[8].split() == [
        "production",
        "critical",
        "enforce",
        "technical,",
        "security,",
        "business,",
        "executive",
    ]
    assert any(line.startswith("proved, by ") for line in lines)
    assert not any(line.startswith("against") for line in lines)


def test_programs_get_every_mode_and_what_is_in_force() -> None:
    value = json.loads(run("matrix", "-o", "json").stdout)
    assert (value["schema"], value["holds"], value["changes"]) == ("placet.dev/policy-matrix/v1", True, None)
    assert len(value["rows"]) == 36
    assert [row["level"] for row in value["rows"] if row["in_force"]] == ["low", "medium", "high", "critical"] * 3


def test_what_does_not_hold_comes_with_a_request_that_shows_it(here: Path) -> None:
    (here / "soft.yaml").write_text(SOFT, encoding="utf-8")
    done = run("matrix", "--data", "soft.yaml", "--requests", "found", expect=1)
    assert "against the shipped policy data: 4 rows differ" in done.stdout
    assert (
        "production low: technical, security, business -> no approval; warns without technical, security" in done.stdout
    )
    command = next(line.strip() for line in done.stdout.splitlines() if line.strip().startswith("placet policy eval"))
    shown = run(*command.split()[2:])
    assert shown.stdout.startswith("admitted\n")
    assert "warn: approvals.separation/persons_too_few" in shown.stdout
    commands = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("placet policy eval")]
    for put in commands:  # each can be run as it stands
        assert CliRunner().invoke(root, put.split()[1:], prog_name="placet").exit_code in {0, 1}, put
    assert len(list((here / "found").iterdir())) == len(
        json.loads(run("matrix", "--data", "soft.yaml", "-o", "json", expect=1).stdout)["findings"]
    )


def test_a_review_is_shown_what_a_revision_had(here: Path) -> None:
    def git(*arguments: str) -> None:
        name = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        subprocess.run(["git", *name, *arguments], cwd=here, check=True, capture_output=True)

    file = here / "data.yaml"
    file.write_text("environments: {staging: {max_level: high}}\n", encoding="utf-8")
    git("init", "-q", "-b", "main")
    git("add", "data.yaml")
    git("commit", "-qm", "first")
    file.write_text("environments: {staging: {max_level: medium}}\n", encoding="utf-8")
    text = run("matrix", "--data", "data.yaml", "--diff", "main", "-o", "markdown").stdout
    assert "Against `main`: 1 rows differ." in text
    assert "| staging | high | technical, security, business | never (risk.ceiling/level_above_environment) |" in text
    none = run("matrix", "--data", "data.yaml", "--diff", "elsewhere", expect=2).stderr
    assert "git has no data.yaml of elsewhere: " in none
    (here / "copy.yaml").write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    assert "against copy.yaml: the same" in run("matrix", "--data", "data.yaml", "--against", "copy.yaml").stdout


def test_what_environments_require_is_compared_too(here: Path) -> None:
    (here / "old.yaml").write_text(
        "environments: {staging: {requires: [slo.declared, checks.security_scan]}}\n", encoding="utf-8"
    )
    (here / "new.yaml").write_text(
        "environments: {staging: {requires: [checks.security_scan, incident.plan]}, "
        "production: {requires: [slo.declared]}}\n",
        encoding="utf-8",
    )
    compared = ["matrix", "--data", "new.yaml", "--against", "old.yaml"]
    told = [
        "production: now requires slo.declared",
        "staging: now requires incident.plan; no longer requires slo.declared",
    ]
    lines = [line.strip() for line in run(*compared).stdout.splitlines()]
    assert lines[lines.index("against old.yaml: the same rows") + 1 :][:2] == told
    marked = run(*compared, "-o", "markdown").stdout.splitlines()
    assert [line for line in marked if line.startswith("- ")] == [f"- {line}" for line in told]
    value = json.loads(run(*compared, "-o", "json").stdout)
    assert value["changes"] == []
    assert value["requirements"] == [
        {"environment": "production", "more": ["slo.declared"], "less": []},
        {"environment": "staging", "more": ["incident.plan"], "less": ["slo.declared"]},
    ]


def test_a_rule_that_forgets_the_risk_is_found_with_the_bundle_named(here: Path) -> None:
    shutil.copytree(POLICIES, here / "policies")
    file = here / "policies" / "admission" / "lib" / "roles" / "roles.rego"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("union := by_environment | by_level", "union := by_environment"), encoding="utf-8")
    folder = here / "bundle"
    for name, content in bundle.build(bundle.find_opa(), here / "policies").items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    done = run("matrix", "--bundle", "bundle", "--requests", "found", expect=1)
    said = "development at medium risk is admitted with technical, without security"
    assert said in done.stdout
    lines = done.stdout.splitlines()
    command = lines[next(place for place, line in enumerate(lines) if said in line) + 1].split()[2:]
    assert run(*command).stdout.startswith("admitted\n")
    assert run(*command[: command.index("--bundle")], expect=1).stdout.startswith("refused\n")


def test_one_input_is_judged_in_each_form(here: Path) -> None:
    (here / "input.json").write_text(json.dumps(passing_request()), encoding="utf-8")
    assert run("eval", "-i", "input.json").stdout.splitlines()[0] == "admitted"
    lacking = json.dumps(passing_request() | {"approvals": []})
    text = run("eval", "-i", "-", given=lacking, expect=1).stdout
    assert "enforce: approvals.required/role_missing (high) " in text
    value = json.loads(run("eval", "-i", "-", "-o", "json", given=lacking, expect=1).stdout)
    assert (value["schema"], value["allowed"]) == ("placet.dev/policy-evaluation-result/v1", False)
    assert yaml.safe_load(run("eval", "-i", "-", "-o", "yaml", given=lacking, expect=1).stdout) == value
    assert run("eval", "-i", "-", "--mode", "audit", given=lacking).stdout.startswith("admitted\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("matrix", "--diff", "a", "--against", "b"), "give one of them"),
        (("matrix", "--diff", "main"), "Name the file with --data"),
        (("matrix", "--data", "absent.yaml"), "absent.yaml: can't be read"),
        (("matrix", "--bundle", "absent"), "absent"),
        (("eval", "-i", "absent.json"), "absent.json"),
        (("eval", "-i", "-"), "is no policy input"),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments, expect=2, given="[1")
    assert words in done.stderr
    assert done.stdout == ""


def test_an_input_of_another_schema_is_refused_with_the_place() -> None:
    assert "the policy input fails required at the top" in run("eval", "-i", "-", given="{}", expect=2).stderr
