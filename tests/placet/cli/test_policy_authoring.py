"""`placet policy new`, `check`, `test`, `config`, `explain`, `bench` and `docs`, as they are typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from placet.audit.log import AuditLog
from placet.canonical import Digest, render_canonical
from placet.cli import root
from tests.policies.documents import passing_request
from tests.simulators.tampering import LOG_KEY, ORIGIN, decision
from tools import bundle

RULE = Path("team/rules/scale/modest/modest.rego")
TESTS = RULE.with_name("modest_test.rego")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLACET_OPA", bundle.find_opa())
    run("new", "scale.modest", "--policies", "team")
    return tmp_path


def run(*arguments: str, expect: int = 0) -> Result:
    done = CliRunner().invoke(root, ["policy", *arguments], prog_name="placet")
    assert done.exit_code == expect, done.output
    return done


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text("utf-8") + text, encoding="utf-8")


def test_a_new_rule_passes_and_is_never_written_over() -> None:
    assert run("check", "--policies", "team").stdout == "1 rule: nothing is wrong\n"
    assert run("test", "--policies", "team").stdout.startswith("5 of 5 tests pass in OPA and in Wasm, 100 %")
    before = RULE.read_bytes()
    assert "is there already" in run("new", "scale.modest", "--policies", "team", expect=2).stderr
    assert "own rules are in risk" in run("new", "risk.ceiling", "--policies", "team", expect=2).stderr
    assert RULE.read_bytes() == before


@pytest.mark.parametrize("name", ["scale.internal", "scale.count", "if.modest", "scale.input"])
def test_a_word_of_rego_is_named_and_makes_no_file(name: str) -> None:
    word = name.replace("scale", "").replace("modest", "").strip(".")
    told = run("new", name, "--policies", "other", expect=2).stderr
    assert f"'{name}' can't be the name of a rule: {word} is a word of Rego's" in told
    assert not Path("other").exists()


def test_a_rule_that_is_called_as_a_word_of_rego_is_refused_by_name_file_and_line() -> None:
    for file in (RULE, TESTS):
        moved = Path(file.as_posix().replace("modest", "internal"))
        moved.parent.mkdir(parents=True, exist_ok=True)
        moved.write_text(file.read_text("utf-8").replace("modest", "internal"), "utf-8")
        file.unlink()
    line = "team/rules/scale/internal/internal.rego:11: name_taken: a rule can't be called scale.internal: internal is"
    assert line in run("check", "--policies", "team", expect=1).stdout
    assert line in run("test", "--policies", "team", expect=2).stderr
    assert line in run("bundle", "build", "--policies", "team", "--out", "made", expect=1).stderr
    assert not Path("made").exists()


def test_an_import_that_hides_a_word_of_rego_is_refused() -> None:
    text = TESTS.read_text("utf-8").replace("import data.admission.main\n", "import data.admission.main as count\n")
    TESTS.write_text(text, "utf-8")
    assert f"{TESTS}:3: name_taken: this is imported as count" in run("check", "--policies", "team", expect=1).stdout


@pytest.mark.parametrize(
    "name", ["modest", "Scale.modest", "scale.modest.more", "scale.", "scale.in", "../x.y", "a.passes"]
)
def test_what_is_no_name_makes_no_file(name: str) -> None:
    assert "can't be the name of a rule" in run("new", name, "--policies", "other", expect=2).stderr
    assert not Path("other").exists()


def test_a_failing_test_is_told_in_every_form() -> None:
    append(TESTS, '\ntest_that_is_wrong if modest.severity == "grave"\n')
    line = len(TESTS.read_text("utf-8").splitlines())
    typed = ("test", "--policies", "team", "--run", "that_is_wrong")
    assert run(*typed, expect=1).stdout.splitlines() == [
        f"FAIL {TESTS}:{line} tests.scale.modest_test.test_that_is_wrong: fails in both engines",
        "0 of 1 tests pass in OPA and in Wasm",
    ]
    assert run(*typed, "-o", "github", expect=1).stdout == (
        f"::error file={TESTS},line={line},title=placet policy test::"
        "tests.scale.modest_test.test_that_is_wrong: fails in both engines\n"
    )
    value = json.loads(run(*typed, "-o", "json", expect=1).stdout)
    assert (value["schema"], value["good"], value["covered_percent"]) == ("placet.dev/policy-tests/v1", False, None)
    assert (value["tests"][0]["opa"], value["tests"][0]["wasm"]) == ("failed", "failed")
    suite = ET.fromstring(run(*typed, "-o", "junit", expect=1).stdout).find("testsuite")  # noqa: S314 - our own output
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert suite.find("testcase/failure") is not None


def test_what_is_not_shown_fails_the_run_in_every_form() -> None:
    append(RULE, '\nadvice contains {"code": "few"} if input.change.scale == "down"\n')
    line = len(RULE.read_text("utf-8").splitlines())
    text = run("test", "--policies", "team", expect=1).stdout
    assert f"{RULE}:{line}: not_covered: no test reaches this line" in text
    assert (
        f"file={RULE},line={line},title=placet not_covered"
        in run("test", "--policies", "team", "-o", "github", expect=1).stdout
    )
    suite = ET.fromstring(run("test", "--policies", "team", "-o", "junit", expect=1).stdout).find("testsuite")  # noqa: S314 - our own output
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("6", "1")
    run("test", "--policies", "team", "--threshold", "80")


def test_faults_are_told_in_every_form() -> None:
    append(RULE, "\nhalf if somewhere\n")
    line = len(RULE.read_text("utf-8").splitlines())
    place = f"{RULE}:{line}: rego_unsafe_var_error: "
    assert run("check", "--policies", "team", expect=1).stdout.startswith(place)
    value = json.loads(run("check", "--policies", "team", "-o", "json", expect=1).stdout)
    assert (value["good"], value["findings"][0]["line"]) == (False, line)
    assert (
        f"::error file={RULE},line={line},title=placet rego_unsafe"
        in run("check", "--policies", "team", "-o", "github", expect=1).stdout
    )
    assert place in run("test", "--policies", "team", expect=2).stderr
    annotated = run("test", "--policies", "team", "-o", "github", expect=2).stdout
    assert f"::error file={RULE},line={line},title=placet rego_unsafe" in annotated


def test_several_faults_are_a_line_each() -> None:
    append(RULE, "\nhalf if somewhere\n\nthird if elsewhere\n")
    told = run("test", "--policies", "team", expect=2).stderr
    assert len([line for line in told.splitlines() if f"{RULE}:" in line and "rego_unsafe_var_error" in line]) == 2
    assert "u000a" not in told


def test_nothing_to_test_is_no_success() -> None:
    assert (
        "there is no test of a name like 'nowhere'"
        in run("test", "--policies", "team", "--run", "nowhere", expect=2).stderr
    )
    assert "there is no folder policies" in run("test", expect=2).stderr


def test_values_come_with_their_source() -> None:
    Path("data.yaml").write_text("risk_approvals:\n  high: [technical]\n", encoding="utf-8")
    lines = run("config", "--data", "data.yaml", "--explain", "--key", "risk_approvals").stdout.splitlines()
    assert lines[0].split() == ["KEY", "VALUE", "FROM"]
    assert lines[2].split() == ["risk_approvals.high", '["technical"]', "data.yaml:2"]
    value = json.loads(run("config", "--data", "data.yaml", "--explain", "-o", "json").stdout)
    assert value["schema"] == "placet.dev/policy-data-explained/v1"
    assert run("config", "--data", "data.yaml", "--key", "risk_approvals.high").stdout == "- technical\n"


def test_a_decision_is_explained() -> None:
    request = passing_request()
    Path("input.json").write_text(json.dumps(request), encoding="utf-8")
    assert run("explain", "-i", "input.json", "--policies", "team").stdout == "admitted\n"
    request["workload"]["namespace"] = "default"
    Path("input.json").write_text(json.dumps(request), encoding="utf-8")
    lines = run("explain", "-i", "input.json", "--policies", "team", expect=1).stdout.splitlines()
    assert lines[:2] == ["refused", ""]
    assert lines[2].startswith(f"scale.modest does not pass  {RULE}:")
    assert '          where input.workload.namespace is "default"' in lines
    value = json.loads(run("explain", "-i", "input.json", "--policies", "team", "-o", "json", expect=1).stdout)
    assert [one["rule"] for one in value["rules"] if not one["passed"]] == ["scale.modest"]
    assert "name one input" in run("explain", expect=2).stderr


def test_costs_are_those_of_every_rule_and_the_same_each_time() -> None:
    first, second = (json.loads(run("bench", "--policies", "team", "-o", "json").stdout)["costs"] for _ in range(2))
    fuel = [
        {name: [(one["rule"], one["fuel"]) for one in found] for name, found in each.items()}
        for each in (first, second)
    ]
    assert fuel[0] == fuel[1]
    assert set(first) == {"ordinary", "large"}
    assert {"scale.modest", "risk.ceiling", "decision"} <= {one["rule"] for one in first["ordinary"]}
    assert all(one["fuel"] > 0 and not one["fault"] for found in first.values() for one in found)


def test_the_reference_of_rules_is_compared() -> None:
    Path("rules.md").write_text(run("docs", "--policies", "team").stdout, encoding="utf-8")
    assert (
        "## scale.modest\n\n**Nothing runs in the namespace default** (severity medium)" in Path("rules.md").read_text()
    )
    run("docs", "--policies", "team", "--check", "rules.md")
    append(Path("rules.md"), "more\n")
    assert "is not what the METADATA" in run("docs", "--policies", "team", "--check", "rules.md", expect=1).stderr


def test_watching_tests_again_after_a_change_and_goes_on_after_a_fault() -> None:
    command = [sys.executable, "-m", "placet", "policy", "test", "--policies", "team", "--run", "modest", "--watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as watching:
        assert watching.stdout is not None
        try:
            lines = iter(watching.stdout.readline, "")
            assert next(line for line in lines if "tests pass" in line).startswith("5 of 5")
            before = TESTS.read_text("utf-8")
            append(TESTS, "\ntest_half if {\n")
            assert "rego_parse_error" in next(line for line in lines if "error" in line)
            TESTS.write_text(before + '\ntest_more if modest.severity == "medium"\n', encoding="utf-8")
            assert next(line for line in lines if "tests pass" in line).startswith("6 of 6")
        finally:
            watching.terminate()


def test_a_decision_of_the_record_is_explained_by_its_id() -> None:
    request = passing_request()
    request["workload"]["namespace"] = "default"
    raw = render_canonical(request)
    log = AuditLog.open(Path("log.sqlite"), origin=ORIGIN, key=LOG_KEY)
    body = decision(1, input_digest=str(Digest.of(raw)))
    log.append(body, uid=body["uid"], attachments={"input": raw})
    log.close()
    typed = ("explain", "--store", "log.sqlite", "--policies", "team", "-o", "json", "--decision")
    done = run(*typed, body["decision_id"], expect=1)
    value = json.loads(done.stdout)
    assert [one["rule"] for one in value["rules"] if not one["passed"]] == ["scale.modest"]
    assert "which may differ from those of its day" in done.stderr
    assert "no record 'nobody'" in run(*typed, "nobody", expect=2).stderr
