"""What programs read: every form of every command that has several, and tables."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema_rs
import pytest
import yaml

from placet.cli.plan_view import SCHEMA as PLAN_SCHEMA
from placet.cli.reports import Fault, Report, render_github, render_junit, render_sarif
from placet.cli.table import clip_width, display_width, table_lines
from tests.e2e.gateprocess import Team
from tests.placet.cli.sarif_form import SARIF
from tests.simulators.tampering import LOG_KEY, build_log

DATA = Path(__file__).parents[2] / "data"
EXAMPLE = Path(__file__).parents[3] / "manifests" / "examples" / "llama-deployment.yaml"
VALID_SARIF = jsonschema_rs.validator_for(SARIF, validate_formats=True)
PLAN = ("plan", "-f", "k8s", "-e", "production")


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    team = Team.found(tmp_path_factory.mktemp("team"))
    folder = team.folder / "k8s"
    folder.mkdir()
    shutil.copyfile(EXAMPLE, folder / "llama.yaml")
    shutil.copyfile(DATA / "workloads" / "cronjob.yaml", folder / "cronjob.yaml")
    build_log(team.folder / "log.sqlite")
    return team


def machine(team: Team, *arguments: str, expect: int = 0) -> dict[str, Any]:
    """The value, the same in both forms."""
    found = json.loads(team.run(*arguments, "-o", "json", expect=expect).stdout)
    again = yaml.safe_load(team.run(*arguments, "-o", "yaml", expect=expect).stdout)
    assert without_ids(again) == without_ids(found)
    assert isinstance(found, dict)
    assert next(iter(found)) == "schema", "the first member says what it is"
    return found


def without_ids(value: Any) -> Any:
    return json.loads(re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", json.dumps(value)))


VKEY = str(LOG_KEY.verifier)
SEVERAL: list[tuple[tuple[str, ...], int, str]] = [
    (PLAN, 1, "placet.dev/plan/v1"),
    (("score", "-f", "k8s", "-e", "production"), 0, "placet.dev/score/v1"),
    (("verify", "-f", "k8s", "-e", "production"), 1, "placet.dev/approvals/v1"),
    (("evidence", "verify", "-f", "k8s", "-e", "production"), 1, "placet.dev/evidence/v1"),
    (("digest", "-f", "k8s"), 0, "placet.dev/digest/v1"),
    (("keys", "show", "roots/root-1.pub"), 0, "placet.dev/key/v1"),
    (("keyring", "show"), 0, "placet.dev/signed-keyring/v1"),
    (("keyring", "verify", "--root", "roots", "--threshold", "2"), 0, "placet.dev/keyring-verification/v1"),
    (("keyring", "verify", "--root", "roots"), 1, "placet.dev/keyring-verification/v1"),
    (("audit", "list", "--store", "log.sqlite"), 0, "placet.dev/audit-list/v1"),
    (("audit", "show", "0", "--store", "log.sqlite"), 0, "placet.dev/audit-record/v1"),
    (("audit", "verify", "--store", "log.sqlite", "--log-key", VKEY), 0, "placet.dev/audit-verification/v1"),
    (("config", "check"), 0, "placet.dev/config-check/v1"),
]


@pytest.mark.parametrize(("arguments", "code", "schema"), SEVERAL, ids=[" ".join(row[0])[:40] for row in SEVERAL])
def test_machine_output_is_alone_on_stdout_and_says_what_it_is(
    team: Team, arguments: tuple[str, ...], code: int, schema: str
) -> None:
    assert machine(team, *arguments, expect=code)["schema"] == schema


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(row[0], row[1]) for row in SEVERAL if row[0][0] in {"plan", "score", "verify", "evidence", "digest"}]
    + [(("keyring", "show"), 0), (("audit", "list", "--store", "log.sqlite"), 0), (("config", "check"), 0)],
)
def test_tables_have_a_head_and_aligned_lines(team: Team, arguments: tuple[str, ...], code: int) -> None:
    head, *rows = team.run(*arguments, "-o", "table", expect=code).stdout.splitlines()
    assert head == head.upper()
    assert rows
    starts = [match.start() for match in re.finditer(r"(?<=  )\S", head)]
    for row in rows:
        assert all(row[start - 1] == " " and row[start] != " " for start in starts if start < len(row))


def test_a_plan_of_several_workloads_has_one_decision_each(team: Team) -> None:
    found = machine(team, *PLAN, expect=1)
    assert found["schema"] == PLAN_SCHEMA
    assert [(one["file"], one["workload"]) for one in found["decisions"]] == [
        ("k8s/cronjob.yaml", "CronJob/refresh"),
        ("k8s/llama.yaml", "Deployment/llama"),
    ]
    assert found["environment"] == "production"
    table = team.run(*PLAN, "-o", "table", expect=1).stdout.splitlines()
    assert "k8s/llama.yaml:3" in table[2]
    assert "technical,security,business" in table[2]


def test_sarif_is_sarif_and_points_at_the_line(team: Team) -> None:
    log = json.loads(team.run(*PLAN, "-o", "sarif", expect=1).stdout)
    VALID_SARIF.validate(log)
    (run,) = log["runs"]
    roles = [result for result in run["results"] if result["properties"]["code"] == "role_missing"]
    assert len(roles) >= 3
    place = roles[-1]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "k8s/llama.yaml"}, "region": {"startLine": 3}}
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def test_junit_has_a_case_for_each_workload(team: Team) -> None:
    suite = ET.fromstring(team.run(*PLAN, "-o", "junit", expect=1).stdout).find("testsuite")  # noqa: S314 - our own
    assert suite is not None
    cases = suite.findall("testcase")
    failed = [case for case in cases if case.find("failure") is not None]
    assert (suite.get("tests"), suite.get("failures")) == (str(len(cases)), str(len(failed)))
    assert [case.get("name") for case in cases][1] == "Deployment/llama in ml-serving"
    assert "no valid security approval" in str(failed[-1].findtext("failure"))


def test_github_gets_an_annotation_a_line(team: Team) -> None:
    lines = team.run(*PLAN, "-o", "github", expect=1).stdout.splitlines()
    assert "::error file=k8s/llama.yaml,line=3,title=placet approvals.required::" in "\n".join(lines)
    assert all(re.match(r"::(error|warning|notice) ", line) for line in lines)


HOSTILE = "a\x1b[31m\n::error::b,c:d%0A<&>\u202e\udcff"


def test_names_can_break_no_form() -> None:
    fault = Fault("approvals.required", "role_missing", "critical", "no valid approval")
    warned = Fault("images.pinned", "x", "low", HOSTILE)
    report = Report(HOSTILE, HOSTILE, HOSTILE, 3, (fault,), (warned,), refused=True, message=HOSTILE)
    live = Report("Pod/x", "ml", "", 0, (), (), refused=True, message="refused")
    log = json.loads(render_sarif([report, live]))
    VALID_SARIF.validate(log)
    VALID_SARIF.validate(json.loads(render_sarif([])))
    for line in render_github([report]):
        assert line.count("::") == 2 or not line.partition("::")[2].partition("::")[2].startswith("error")
        assert "\n" not in line
        assert "\x1b" not in line
    suites = ET.fromstring(render_junit([report, live]).encode("utf-8", "surrogateescape"))  # noqa: S314 - our own
    assert len(suites.findall("testsuite/testcase")) == 2
    assert len(suites.findall("testsuite/testcase/failure")) == 2


def test_columns_are_aligned_by_cells_and_nothing_drives_the_terminal() -> None:
    rows = [("模型", "x"), ("e\u0301", "y"), ("a\x1b[2Jb", "z"), ("", "w")]
    lines = list(table_lines(("NAME", "B"), rows))
    assert {display_width(line[: line.index(last)]) for line, (_, last) in zip(lines[1:], rows, strict=True)} == {
        display_width(lines[0][: lines[0].index("B")])
    }
    assert "\x1b" not in "".join(lines)
    assert lines[4].startswith("- ")
    assert list(table_lines(("NAME", "B"), [])) == []


@pytest.mark.parametrize("cells", [1, 2, 3, 4, 5, 9])
def test_a_cut_line_takes_no_more_cells_than_there_are(cells: int) -> None:
    for text in ("模型模型", "abcdefgh", "e\u0301e\u0301e\u0301e\u0301", ""):
        cut = clip_width(text, cells)
        assert display_width(cut) <= cells
        assert cut == text or cut.endswith("\u2026")


def test_pem_is_for_pipes(team: Team) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "placet", "keys", "show", "keys/sam.key", "-o", "pem"],
        cwd=team.folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert shown.stdout.startswith("-----BEGIN PUBLIC KEY-----")
