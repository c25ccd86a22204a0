"""The tests of policies: through OPA, through the embedded engine, what they cover, and what they saw of each rule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from placet.errors import InputError
from placet.policy.authoring.days import find_day_faults, with_days
from placet.policy.authoring.findings import Finding, of_opa_errors
from placet.policy.authoring.heads import Head, are_plain, is_test, line_of, read_heads
from placet.policy.authoring.names import find_taken_names
from placet.policy.authoring.opa import Opa, Ran
from placet.policy.authoring.spoiling import find_telling
from placet.policy.authoring.syntax import AT_ONCE, SyntaxFault
from placet.policy.authoring.texts import find_text_faults
from placet.policy.authoring.tree import Tree
from placet.policy.authoring.wasm_tests import Answer, Answers, build_wasm, held, run_tests

FULL: Final = 100
_SEEN: Final = {"fails": "failing", "passes": "passing"}
Answered = Mapping[str, Answer]


@dataclass(frozen=True, slots=True)
class Result:
    """One test.

    Attributes:
        name: ``tests.risk.ceiling_test.test_fails_when_...``.
        duration_s: in the embedded engine.
        opa: passed | failed | error | todo.
        wasm: the same through the embedded engine.
        message: why it did not pass, where an engine says so.
    """

    name: str
    file: str
    line: int
    duration_s: float
    opa: str
    wasm: str
    message: str = ""

    @property
    def passed(self) -> bool:
        """In both engines."""
        return self.opa == self.wasm == "passed"


@dataclass(frozen=True, slots=True)
class Report:
    """What the tests of a tree showed.

    Attributes:
        missing: lines of the author's policies that no test reaches: file -> lines.
        covered: share of the lines that tests reach, in percent, rounded down; None where it was not measured:
            a test fails, or not all were run.
        unseen: rules that no test saw pass or fail.
    """

    results: tuple[Result, ...]
    missing: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    covered: int | None = None
    unseen: tuple[Finding, ...] = ()

    @property
    def failed(self) -> tuple[Result, ...]:
        """Tests that did not pass in both engines."""
        return tuple(result for result in self.results if not result.passed)

    def good(self, threshold: int) -> bool:
        """Every test passes, each rule was seen passing and failing, and as much is covered as was asked for."""
        return not self.failed and not self.unseen and (self.covered is None or self.covered >= threshold)


def run(opa: Opa, tree: Tree, *, pattern: str = "", moment: datetime | None = None) -> Report:
    """Run the author's tests; all of them, with coverage, where no pattern is given.

    Args:
        opa: compiles and tests.
        tree: policies.
        pattern: regular expression that the full name of a test must hold.
        moment: the day whose rules are tried, for tests with the data of ``tests.fixtures``.

    Raises:
        InputError: ``no_tests``: nothing is tested, or nothing has such a name; ``pattern_invalid``.
        SyntaxFault: the policies do not compile.
    """
    _require_pattern(pattern)
    if found := [*tree.strays, *find_text_faults(tree), *find_day_faults(tree), *find_taken_names(tree)]:
        raise SyntaxFault(found)
    tree = with_days(tree, moment)
    if pattern:
        with tree.laid_out() as folder:
            return Report(_run_each(opa, tree, folder, pattern))
    with tree.laid_out() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        # The longest first. One run says both what is covered and whether every test passes.
        covering = pool.submit(_cover, opa, folder)
        heads = read_heads(opa, tree, folder, (source for source in tree.own if source.rule or source.is_test))
        tests = [one for one in heads if is_test(one)]
        if not tests:
            raise InputError(f"there is no test in {tree.root}", code="no_tests")
        telling = pool.submit(find_telling, opa, tree, heads)
        plain = are_plain(tests)
        answers = _answer(opa, tree, folder, [f"{one.package}.{one.name}" for one in tests]) if plain else {}
        covered = _read_coverage(tree, covering.result())
        if plain and covered is not None:
            results = _passed_by_opa(tree, tests, answers)
        else:
            results = _run_each(opa, tree, folder, "")
        missing, share = covered or ({}, None)
        unseen = [one for verb in _SEEN for one in _unseen(tree, results, telling.result()[verb], verb)]
        return Report(results, missing, share, tuple(sorted(unseen)))


def _passed_by_opa(tree: Tree, tests: Sequence[Head], answers: Answered) -> tuple[Result, ...]:
    """The results where OPA has nothing to complain of."""
    found = []
    for one in tests:
        name = f"{one.package}.{one.name}"
        answer = answers[name]
        by_wasm = "error" if answer.fault else "passed" if answer.value is True else "failed"
        source = tree.sources[one.file]
        line = line_of(source.text, one.name)
        found.append(Result(name, source.shown, line, answer.duration_s, "passed", by_wasm, answer.fault))
    return tuple(sorted(found, key=lambda one: (one.file, one.line)))


def _require_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as exc:
        raise InputError(f"{pattern!r} is no regular expression: {exc}", code="pattern_invalid") from exc


def _run_each(opa: Opa, tree: Tree, folder: Path, pattern: str) -> tuple[Result, ...]:
    """What OPA's own runner says of each test, beside what the embedded engine says."""
    found = [one for one in _test(opa, tree, folder, pattern) if _is_own(tree, one)]
    if not found:
        named = f" of a name like {pattern!r}" if pattern else ""
        raise InputError(f"there is no test{named} in {tree.root}", code="no_tests")
    answers = _answer(opa, tree, folder, [_name(one) for one in found if not one.get("skip")])
    return tuple(sorted((_result(tree, one, answers) for one in found), key=lambda one: (one.file, one.line)))


def _answer(opa: Opa, tree: Tree, folder: Path, names: Sequence[str]) -> Answered:
    if not names:
        return {}
    return run_tests(Answers(*build_wasm(opa, tree, folder, [f"data.{name}" for name in names])), names)


def _test(opa: Opa, tree: Tree, folder: Path, pattern: str) -> list[dict[str, Any]]:
    arguments = ["--run", pattern] if pattern else []
    ran = opa.run("test", ".", "--format", "json", *arguments, folder=folder)
    if not ran.stdout.lstrip().startswith("["):
        _raise_fault(opa, tree, folder, ran)
    found: list[dict[str, Any]] = ran.value()
    return found


def _raise_fault(opa: Opa, tree: Tree, folder: Path, ran: Ran) -> NoReturn:
    findings = of_opa_errors(opa.run("check", "--format", "json", ".", folder=folder).errors(), tree.shown)
    if findings:
        raise SyntaxFault(findings)
    raise InputError(f"opa test: {(ran.stderr or ran.stdout).strip()[:2000]}", code="opa_failed")


def _is_own(tree: Tree, result: Mapping[str, Any]) -> bool:
    source = tree.sources.get(result["location"]["file"])
    return source is not None and source.own


def _name(result: Mapping[str, Any]) -> str:
    return f"{result['package'].removeprefix('data.')}.{result['name']}"


def _result(tree: Tree, one: Mapping[str, Any], answers: Answered) -> Result:
    parts = {name: not part.get("fail", False) for name, part in (one.get("sub_results") or {}).items()}
    error = str((one.get("error") or {}).get("message", ""))
    by_opa = "todo" if one.get("skip") else "error" if error else "failed" if one.get("fail") else "passed"
    by_wasm, duration_s = by_opa, 0.0
    if by_opa != "todo":
        answer = answers[_name(one)]
        by_wasm = "error" if answer.fault else "passed" if held(answer.value, parts) else "failed"
        error, duration_s = error or answer.fault, answer.duration_s
    failing = ", ".join(name for name, passed in parts.items() if not passed)
    return Result(
        name=_name(one),
        file=tree.shown(one["location"]["file"]),
        line=one["location"]["row"],
        duration_s=duration_s,
        opa=by_opa,
        wasm=by_wasm,
        message=error or (f"cases that failed: {failing}" if failing else ""),
    )


def _cover(opa: Opa, folder: Path) -> Ran:
    # One pass: the further ones only say why a line was not reached.
    return opa.run(
        "test", ".", "--coverage", "--coverage-runs", "", "--parallel", "1", "--format", "json", folder=folder
    )


def _read_coverage(tree: Tree, ran: Ran) -> tuple[dict[str, tuple[int, ...]], int] | None:
    """Lines that are missing, and the share that is there; None where a test fails: then OPA says nothing of it."""
    if ran.code != 0:
        return None
    answer = ran.value()
    reached = count = 0
    missing = {}
    for source in tree.own:
        if source.is_test or not source.name.startswith("admission/"):
            continue
        lines = answer["files"].get(source.name, {})
        covered, not_covered = (_lines(lines.get(key) or ()) for key in ("covered", "not_covered"))
        reached, count = reached + len(covered), count + len(covered | not_covered)
        if not_covered:
            missing[source.shown] = tuple(sorted(not_covered))
    return missing, reached * FULL // count if count else FULL


def _lines(ranges: Any) -> set[int]:
    return {line for one in ranges for line in range(one["start"]["row"], one["end"]["row"] + 1)}


def _unseen(tree: Tree, results: tuple[Result, ...], failing: frozenset[str], verb: str) -> list[Finding]:
    """Rules of which no test that passes fails when the rule is spoilt."""
    telling = failing & {result.name for result in results if result.passed}
    seen = {name.removeprefix("tests.").partition("_test.")[0] for name in telling}
    return [
        Finding(
            source.shown,
            1,
            f"never_seen_{_SEEN[verb]}",
            f"no test_{verb}_... of {rule} would miss it if it never did so",
        )
        for rule, source in sorted(tree.rules.items())
        if rule not in seen
    ]
