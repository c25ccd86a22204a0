"""The tests of policies: two engines, what they reach, and what they saw."""

from __future__ import annotations

import pytest

from placet.errors import InputError
from placet.policy.authoring.opa import Opa
from placet.policy.authoring.syntax import SyntaxFault
from placet.policy.authoring.testing import Report, run
from placet.policy.authoring.tree import find_tree
from tests.placet.policy.authoring.team import Team


def report(opa: Opa, team: Team, pattern: str = "") -> Report:
    return run(opa, find_tree(team.root), pattern=pattern)


def test_the_scaffold_passes_in_both_engines_and_shows_enough(opa: Opa, team: Team) -> None:
    found = report(opa, team)
    assert len(found.results) == 5
    assert {(one.opa, one.wasm) for one in found.results} == {("passed", "passed")}
    assert (found.missing, found.covered, found.unseen) == ({}, 100, ())
    assert found.good(100)


def test_a_test_that_fails_is_told_with_its_line(opa: Opa, team: Team) -> None:
    team.append(team.tests, '\ntest_that_is_wrong if modest.severity == "grave"\n')
    found = report(opa, team, "wrong")
    (failed,) = found.failed
    assert (failed.opa, failed.wasm, failed.line) == ("failed", "failed", team.line(team.tests, "that_is_wrong"))
    assert failed.file == team.tests.as_posix()
    assert not found.good(0)


def test_one_that_fails_among_all_hides_nothing_of_the_others(opa: Opa, team: Team) -> None:
    """OPA measures no coverage then, and a rule that was never seen refusing is told beside it."""
    team.append(team.tests, '\ntest_that_is_wrong if modest.severity == "grave"\n')
    found = report(opa, team)
    assert [one.name.rpartition(".")[2] for one in found.failed] == ["test_that_is_wrong"]
    assert (len(found.results), found.covered, found.missing, found.unseen) == (6, None, {}, ())
    assert not found.good(0)
    team.append(team.tests, "\ntwice(_) := 1\n\ntwice(_) := 2\n\ntest_fails_to_agree if twice(1) == 1\n")
    failed = {one.name.rpartition(".")[2]: one.opa for one in report(opa, team).failed}
    assert failed == {"test_that_is_wrong": "failed", "test_fails_to_agree": "error"}


@pytest.mark.parametrize(
    "odd",
    [
        '\ntest_passes_each[name] if {\n\tsome name, n in {"one": 1, "two": 2}\n\tn < 3\n}\n',
        "\ntest_passes_twice if true\n\ntest_passes_twice if not false\n",
        "\n\ttest_passes_indented if true\n",
    ],
)
def test_tests_that_are_no_plain_ones_are_seen_as_opa_sees_them(opa: Opa, team: Team, odd: str) -> None:
    team.append(team.tests, odd)
    found = report(opa, team)
    assert found.good(100), found
    with find_tree(team.root).laid_out() as folder:
        told = opa.run("test", ".", "--format", "json", folder=folder).value()
    assert {one["name"] for one in told} == {one.name.rpartition(".")[2] for one in found.results}


@pytest.mark.parametrize("proof", ["\n\tpasses if input.dry_run\n", "\nnote := `\npasses\n`\n"])
def test_a_rule_whose_proof_is_not_plain_to_find_is_spoilt_all_the_same(opa: Opa, team: Team, proof: str) -> None:
    team.append(team.rule, proof)
    found = report(opa, team)
    assert (found.failed, found.unseen) == ((), ())


def test_a_test_that_ends_in_an_error_spoils_no_other(opa: Opa, team: Team) -> None:
    team.append(team.tests, "\ntwice(_) := 1\n\ntwice(_) := 2\n\ntest_conflict if twice(1) == 1\n")
    found = report(opa, team, "modest_test")
    (failed,) = found.failed
    assert (failed.opa, failed.wasm) == ("error", "error")
    assert "conflict" in failed.message
    assert len(found.results) == 6


def test_a_test_that_the_embedded_engine_can_not_run_fails(opa: Opa, team: Team) -> None:
    team.append(team.tests, '\ntest_with_a_host if sprintf("%d", [1]) == "1"\n')
    (failed,) = report(opa, team, "with_a_host").failed
    assert (failed.opa, failed.wasm) == ("passed", "error")
    assert "sprintf" in failed.message


def test_every_case_of_a_test_with_cases_must_pass(opa: Opa, team: Team) -> None:
    team.append(team.tests, '\ntest_cases[name] if {\n\tsome name, n in {"one": 1, "two": 2}\n\tn < 3\n}\n')
    assert report(opa, team, "test_cases").good(0)
    team.replace(team.tests, "n < 3", "n < 2")
    (failed,) = report(opa, team, "test_cases").failed
    assert (failed.opa, failed.wasm, failed.message) == ("failed", "failed", "cases that failed: two")


def test_a_test_that_is_still_to_be_written_does_not_pass(opa: Opa, team: Team) -> None:
    team.append(team.tests, "\ntodo_test_more if true\n")
    (failed,) = report(opa, team, "modest_test").failed
    assert (failed.opa, failed.wasm) == ("todo", "todo")


def test_a_pattern_that_matches_nothing_is_refused(opa: Opa, team: Team) -> None:
    with pytest.raises(InputError, match="there is no test of a name like 'nowhere'") as caught:
        report(opa, team, "nowhere")
    assert caught.value.code == "no_tests"
    with pytest.raises(InputError, match="no regular expression"):
        report(opa, team, "(")
    team.tests.unlink()
    with pytest.raises(InputError, match="there is no test in"):
        report(opa, team)


def test_lines_that_no_test_reaches_are_named(opa: Opa, team: Team) -> None:
    team.append(
        team.rule, '\nadvice contains {"code": "few"} if {\n\tinput.change.scale == "down"\n\tinput.dry_run\n}\n'
    )
    found = report(opa, team)
    assert found.missing == {
        team.rule.as_posix(): tuple(team.line(team.rule, part) for part in ("advice", "scale ==", "dry_run"))
    }
    assert found.covered is not None
    assert 60 < found.covered < 100
    assert found.good(found.covered)
    assert not found.good(100)


@pytest.mark.parametrize(
    ("verb", "code"), [("test_fails_", "never_seen_failing"), ("test_passes_", "never_seen_passing")]
)
def test_a_name_is_no_proof_that_a_test_saw_anything(opa: Opa, team: Team, verb: str, code: str) -> None:
    # As named as the convention wants it, and true of any rule.
    lines = team.tests.read_text("utf-8").split("\ntest_")
    kept = [lines[0], *(text for text in lines[1:] if not f"test_{text}".startswith(verb))]
    team.tests.write_text("\ntest_".join(kept) + f"\n{verb}whatever if not false\n", encoding="utf-8")
    (unseen,) = report(opa, team).unseen
    assert (unseen.file, unseen.code) == (team.rule.as_posix(), code)


def test_what_can_be_no_policy_is_told_before_anything_is_tested(opa: Opa, team: Team) -> None:
    (team.root / "rules" / "data.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SyntaxFault, match="data here stands where the policies look for rules"):
        report(opa, team)


def test_rego_that_does_not_compile_is_told_with_its_line(opa: Opa, team: Team) -> None:
    team.append(team.rule, "\nhalf if somewhere\n")
    with pytest.raises(SyntaxFault) as caught:
        report(opa, team)
    (finding,) = caught.value.findings
    assert (finding.file, finding.line) == (team.rule.as_posix(), team.line(team.rule, "somewhere"))


def test_a_test_file_that_is_no_rego_is_told_with_its_line(opa: Opa, team: Team) -> None:
    team.append(team.tests, "\ntest_broken if {\n")
    with pytest.raises(SyntaxFault) as caught:
        report(opa, team)
    assert {one.file for one in caught.value.findings} == {team.tests.as_posix()}
