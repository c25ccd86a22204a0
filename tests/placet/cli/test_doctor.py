"""Findings in each form, and the table of what may be found."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from click.testing import CliRunner

from placet.cli import root
from placet.cli.doctor_view import print_findings
from placet.doctor.findings import MEANINGS, Code, Finding, Severity
from placet.doctor.report import SCHEMA

SOURCE = Path(__file__).parents[3] / "placet" / "doctor"
FOUND = [
    Finding(Code.FAILS_OPEN, "ValidatingWebhookConfiguration/placet x", "failurePolicy is Ignore"),
    Finding(Code.RBAC_GATE, "group:tenants", "may \x1b[31m update"),
    Finding(Code.NOT_READ, "secrets", "no"),
    Finding(Code.SINGLE_REPLICA, "Deployment/placet", "it has one replica"),
]


def shown(form: str, capsys: pytest.CaptureFixture[str]) -> str:
    print_findings(FOUND, form)
    return capsys.readouterr().out


def test_text_says_what_why_and_what_to_do_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown("text", capsys)
    assert "hole    fails_open  ValidatingWebhookConfiguration/placet x\n        failurePolicy is Ignore\n" in text
    assert "Set `webhook.failurePolicy=Fail`." in text
    assert text.endswith("1 hole, 1 risk, 1 unknown, 1 note\n")
    assert "\x1b" not in text


def test_a_table_has_a_row_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown("table", capsys).splitlines()
    assert lines[0].split() == ["SEVERITY", "CODE", "WHERE", "FOUND"]
    assert len(lines) == 1 + len(FOUND)
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_machines_get_every_part(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(form, capsys)
    value = json.loads(text) if form == "json" else yaml.safe_load(text)
    assert value["schema"] == SCHEMA
    assert value["counts"] == {"hole": 1, "risk": 1, "unknown": 1, "note": 1}
    assert value["findings"][0] == {
        "code": "fails_open",
        "severity": "hole",
        "where": "ValidatingWebhookConfiguration/placet x",
        "found": "failurePolicy is Ignore",
        "why": MEANINGS[Code.FAILS_OPEN].why,
        "remedy": MEANINGS[Code.FAILS_OPEN].remedy,
    }


def test_junit_has_a_case_for_each_finding_and_for_each_code_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    (suite,) = ET.fromstring(shown("junit", capsys).split("?>", 1)[1])  # noqa: S314 - our own
    assert suite.get("name") == "placet doctor"
    assert (suite.get("tests"), suite.get("failures")) == (str(len(Code)), "3")
    failed = {str(case.get("name")) for case in suite if case.find("failure") is not None}
    assert {name.split()[0] for name in failed} == {"fails_open", "rbac_gate", "not_read"}


def test_every_code_has_a_meaning_and_a_check_that_gives_it() -> None:
    assert list(MEANINGS) == list(Code)
    text = "".join(file.read_text(encoding="utf-8") for file in SOURCE.glob("*.py") if file.name != "findings.py")
    assert [code.name for code in Code if not re.search(rf"\bCode\.{code.name}\b", text)] == []


def test_every_code_of_a_fault_is_expected_by_a_test() -> None:
    folders = [Path(__file__).parents[1] / "doctor", Path(__file__).parents[2] / "e2e"]
    files = [file for folder in folders for file in folder.glob("test_*.py")]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    assert [code.value for code in Code if code.value not in text and f"Code.{code.name}" not in text] == []


def test_what_everybody_may_do_is_a_hole() -> None:
    assert Finding(Code.RBAC_GATE, "", "").severity is Severity.RISK
    assert Finding(Code.RBAC_GATE, "", "", grave=True).severity is Severity.HOLE


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--kubeconfig", "absent"], "no usable kubeconfig in absent"),
        (["--put-on-record"], "--put-on-record needs a configuration"),
        (["--trusted", "everybody"], "'everybody' names nobody who may have rights"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(root, ["doctor", *arguments], prog_name="placet")
    assert done.exit_code == 2
    assert words in done.stderr
    assert done.stdout == ""
