"""The policies' own tests, through OPA and through Wasm, and what their source must hold."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from placet.canonical import render_canonical
from placet.policy.authoring.checking import find_faults
from placet.policy.authoring.opa import Opa
from placet.policy.authoring.syntax import parse_sources, rule_name
from placet.policy.authoring.testing import Report, run
from placet.policy.authoring.tree import Tree, find_tree
from placet.policy.bundle import shipped_bundle
from placet.policy.data import load_policy_data
from placet.policy.guest import Guest
from scorer import FACTORS, ROLES, SCALES, WEIGHTS
from tests.policies.documents import governed_data, governed_request, passing_request, policy_data, unchanged_request
from tests.policies.programs import PLENTY, POLICIES, ROOT, eval_opa, run_opa
from tools.bundle import find_opa

MOST_LINES = 125
ROOMY_LINES = 75


def rego_files() -> list[Path]:
    return [path for path in sorted(POLICIES.rglob("*.rego")) if not path.name.endswith("_test.rego")]


@pytest.fixture(scope="module")
def tree() -> Tree:
    return find_tree(POLICIES)


@pytest.fixture(scope="module")
def report(tree: Tree) -> Report:
    return run(Opa(find_opa()), tree)


def test_every_rego_test_passes_in_opa_and_in_wasm(report: Report) -> None:
    assert len(report.results) > 90
    assert report.failed == ()


def test_the_tests_cover_every_line_of_the_policies(report: Report) -> None:
    assert report.missing == {}
    assert report.covered == 100


def test_every_rule_is_seen_passing_and_failing_by_its_own_tests(report: Report) -> None:
    assert report.unseen == ()


def test_opa_ran_every_test_that_is_written(report: Report, tree: Tree) -> None:
    with tree.laid_out() as folder:
        modules = parse_sources(Opa(find_opa()), tree, folder, (one.name for one in tree.own if one.is_test))
    written = {f"{module.package}.{rule_name(rule)}" for module in modules.values() for rule in module.rules}
    assert {name for name in written if ".test_" in name} == {result.name for result in report.results}


def test_the_rego_fixtures_are_the_documents_of_the_python_tests() -> None:
    fixtures = eval_opa("data.tests.fixtures", {})
    assert fixtures["request"] == passing_request()
    assert fixtures["unchanged"] == unchanged_request()
    assert fixtures["placet"] | {"digest": ""} == policy_data() | {"digest": ""}


def test_the_rego_fixtures_with_all_evidence_are_those_of_the_python_tests() -> None:
    governed = eval_opa("data.tests.governed", {})
    assert governed["request"] == governed_request()
    assert governed["placet"] | {"digest": ""} == governed_data() | {"digest": ""}


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


def test_a_rule_that_asks_by_anothers_name_is_refused(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    shutil.copytree(POLICIES, policies)
    rule = policies / "admission" / "rules" / "slo" / "declared" / "declared.rego"
    text = rule.read_text("utf-8")
    rule.write_text(text.replace('released("slo.declared")', 'released("slo.declare")'), "utf-8")
    ((code, message),) = faults(policies)
    assert code == "requirement_of_another"
    assert "asks whether slo.declare is required" in message
    rule.write_text(text.replace("SOC 2 CC2.2", "SOC 2 CC2.22"), "utf-8")
    ((code, message),) = faults(policies)
    assert code == "control_unknown"
    assert "SOC 2 CC2.22" in message


def faults(policies: Path) -> list[tuple[str, str]]:
    return [
        (one.code, one.message) for one in find_faults(Opa(find_opa()), find_tree(policies), load_policy_data(None))
    ]


def test_files_stay_short_and_lie_where_their_package_says() -> None:
    lengths = {}
    for path in rego_files():
        text = path.read_text("utf-8")
        package = next(line for line in text.splitlines() if line.startswith("package ")).removeprefix("package ")
        folder = path.relative_to(POLICIES).parent.as_posix().replace("/", ".")
        assert package in {folder, f"{folder}.{path.stem}"}
        # METADATA is as long as what the rule stands for takes to say.
        lengths[path.name] = len([line for line in text.splitlines() if not line.startswith("#")])
    assert max(lengths.values()) <= MOST_LINES
    # main is one package, and a package is one file: OPA's REST API takes and compiles one module at a time.
    roomy = {"evidence.rego", "fixtures.rego", "governed.rego", "main.rego"}
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
    assert decision["rules_judged"] == len(shipped_bundle().rules)
    assert {"undecided"} == {violation["code"] for violation in decision["violations"]}


def blocks(language: str) -> list[str]:
    """Code blocks of the page for policy authors."""
    page = (ROOT / "docs" / "policy-authors.md").read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_the_rule_on_the_page_for_policy_authors_works(tmp_path: Path) -> None:
    rule, test = blocks("rego")
    folder = tmp_path / "rules" / "registry" / "ours"
    folder.mkdir(parents=True)
    (folder / "ours.rego").write_text(rule, "utf-8")
    (folder / "ours_test.rego").write_text(test, "utf-8")
    opa, team = Opa(find_opa()), find_tree(tmp_path)
    assert find_faults(opa, team, load_policy_data(None)) == []
    assert run(opa, team).good(100)


def test_the_data_on_the_page_for_policy_authors_is_taken(tmp_path: Path) -> None:
    written = "".join(blocks("yaml"))
    (tmp_path / "policy.yaml").write_text(written, "utf-8")
    loaded = load_policy_data(tmp_path / "policy.yaml")
    assert loaded.value["environments"]["production"]["mode"] == "warn"
    assert "lab" in loaded.value["environments"]
    assert loaded.kinds.find({"apiVersion": "example.com/v1", "kind": "Server"}) is not None
