"""The policies' own tests, through OPA and through Wasm, and what their source must hold."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from placet.canonical import render_canonical
from placet.policy.data import load_policy_data
from placet.policy.guest import Guest
from scorer import FACTORS, ROLES, SCALES, WEIGHTS
from tests.policies.documents import passing_request, policy_data, unchanged_request
from tests.policies.programs import PLENTY, POLICIES, ROOT, compile_guest, eval_opa, run_opa
from tools.bundle import NOT_POLICY, conventions, find_opa, list_tests

MOST_LINES = 120
ROOMY_LINES = 65


def rego_files() -> list[Path]:
    return [path for path in sorted(POLICIES.rglob("*.rego")) if not path.name.endswith("_test.rego")]


@pytest.fixture(scope="module")
def tests_by_opa() -> dict[str, bool]:
    """Full name of each Rego test -> whether it passed in OPA."""
    results = json.loads(run_opa("test", ".", "--format", "json", *NOT_POLICY))
    return {
        f"{result['package'].removeprefix('data.')}.{result['name']}": not result.get("fail", False)
        for result in results
    }


def test_every_rego_test_passes_in_opa(tests_by_opa: dict[str, bool]) -> None:
    assert len(tests_by_opa) > 90
    assert all(tests_by_opa.values())


def test_every_rego_test_passes_in_wasm(tests_by_opa: dict[str, bool]) -> None:
    entry_points = [name.replace(".", "/") for name in tests_by_opa]
    guest = compile_guest(entry_points)
    answers = {name: guest.evaluate(name, b"{}", fuel=PLENTY) for name in entry_points}
    assert {name for name, answer in answers.items() if answer is not True} == set()


def test_the_tests_cover_every_line_of_the_policies() -> None:
    report = json.loads(run_opa("test", ".", "--coverage", "--format", "json", *NOT_POLICY))
    assert {file for file, lines in report["files"].items() if lines.get("not_covered")} == set()
    assert report["coverage"] == 100


def test_opa_ran_every_test_that_is_written(tests_by_opa: dict[str, bool]) -> None:
    written = {f"{test['package']}.{test['name']}" for test in list_tests(find_opa(), POLICIES)}
    assert {name for name in written if ".test_" in name} == set(tests_by_opa)


def test_the_rego_fixtures_are_the_documents_of_the_python_tests() -> None:
    fixtures = eval_opa("data.tests.fixtures", {})
    assert fixtures["request"] == passing_request()
    assert fixtures["unchanged"] == unchanged_request()
    assert fixtures["placet"] | {"digest": ""} == policy_data() | {"digest": ""}


def test_the_risk_table_of_the_policies_is_that_of_the_scorer() -> None:
    data = policy_data()
    assert data["risk"]["weights"] == dict(WEIGHTS)
    assert data["risk"]["scores"] == {factor: list(SCALES[factor]) for factor in FACTORS}
    assert data["roles"] == list(ROLES)


def test_the_source_is_strict_and_uses_no_builtin_that_needs_a_host() -> None:
    run_opa("fmt", "--fail", "--list", ".")
    run_opa("check", "--strict", "--capabilities", "capabilities.json", ".", "--ignore", "schemas")


def test_a_builtin_that_needs_a_host_is_refused_with_file_and_line(tmp_path: Path) -> None:
    culprit = tmp_path / "late.rego"
    culprit.write_text('package late\n\nnow := time.now_ns()\n\ntext := sprintf("%v", [now])\n', "utf-8")
    with pytest.raises(AssertionError, match=r"late\.rego:3: rego_type_error: undefined function time\.now_ns"):
        run_opa("check", "--capabilities", "capabilities.json", str(culprit))


def test_files_stay_short_and_lie_where_their_package_says() -> None:
    lengths = {}
    for path in rego_files():
        text = path.read_text("utf-8")
        package = next(line for line in text.splitlines() if line.startswith("package ")).removeprefix("package ")
        folder = path.relative_to(POLICIES).parent.as_posix().replace("/", ".")
        assert package in {folder, f"{folder}.{path.stem}"}
        lengths[path.name] = len(text.splitlines())
    assert max(lengths.values()) <= MOST_LINES
    # main is one package, and a package is one file: OPA's REST API takes and compiles one module at a time.
    roomy = {"fixtures.rego", "main.rego"}
    assert [name for name, lines in lengths.items() if lines > ROOMY_LINES and name not in roomy] == []


def test_every_rule_has_its_test_beside_it() -> None:
    for path in (POLICIES / "admission" / "rules").glob("*/*/*.rego"):
        assert path.with_name(path.parent.name + ".rego").exists()
        assert path.with_name(path.parent.name + "_test.rego").exists()


def test_a_rule_that_is_silent_is_counted_and_denies(harness: Guest) -> None:
    # A kind of change that nobody knows leaves most rules without a word.
    request = passing_request()
    request["change"]["kind"] = "other"
    raw = render_canonical({"cases": [{"input": request, "data": policy_data()}]})
    (decision,) = harness.evaluate("harness/decisions", raw, fuel=PLENTY)
    assert not decision["allowed"]
    assert decision["rules_judged"] == 8
    assert {"undecided"} == {violation["code"] for violation in decision["violations"]}


def blocks(language: str) -> list[str]:
    """Code blocks of the page for policy authors."""
    page = (ROOT / "docs" / "policy-authors.md").read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_the_rule_on_the_page_for_policy_authors_works(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    shutil.copytree(POLICIES, policies)
    rule, test = blocks("rego")
    folder = policies / "admission" / "rules" / "scale" / "modest"
    folder.mkdir(parents=True)
    (folder / "modest.rego").write_text(rule, "utf-8")
    (folder / "modest_test.rego").write_text(test, "utf-8")
    run_opa("fmt", "--fail", "--list", str(folder))
    run_opa("check", "--strict", "--capabilities", "capabilities.json", str(policies), *NOT_POLICY)
    assert "PASS: 1/1" in run_opa("test", str(policies), "--run", "modest", *NOT_POLICY)
    assert conventions(find_opa(), policies) == [{"rule": "scale.modest", "code": "no_test", "field": "passes"}]


def test_the_data_on_the_page_for_policy_authors_is_taken(tmp_path: Path) -> None:
    settings, kinds = blocks("yaml")
    (tmp_path / "policy.yaml").write_text(settings + kinds, "utf-8")
    loaded = load_policy_data(tmp_path / "policy.yaml")
    assert loaded.value["environments"]["production"]["mode"] == "warn"
    assert "lab" in loaded.value["environments"]
    assert loaded.kinds.find({"apiVersion": "example.com/v1", "kind": "Server"}) is not None
