"""The tests of policies: through OPA, through the embedded engine, what they cover, and what they saw of each rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from placet.errors import InputError
from placet.policy.authoring.findings import Finding, of_opa_errors
from placet.policy.authoring.opa import Opa, Ran
from placet.policy.authoring.syntax import AT_ONCE, SyntaxFault, parse_sources
from placet.policy.authoring.tree import Tree
from placet.policy.authoring.wasm_tests import Answers, build_wasm, held, run_tests

FULL: Final = 100
_SEEN: Final = {"fails": "failing", "passes": "passing"}
_RULE_TESTS: Final = r"^data\.tests\.[a-z0-9_]+\.[a-z0-9_]+_test\.test_{verb}_"


@dataclass(frozen=True, slots=True)
class Result:
    """One test.

    Attributes:
        name: ``tests.risk.ceiling_test.test_fails_when_...``.
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
        covered: share of the lines that tests reach, in percent, rounded down; None where it was not measured.
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


def run(opa: Opa, tree: Tree, *, pattern: str = "") -> Report:
    """Run the author's tests; all of them, with coverage, where no pattern is given.

    Args:
        opa: compiles and tests.
        tree: policies.
        pattern: regular expression that the full name of a test must hold.

    Raises:
        InputError: ``no_tests``: nothing is tested, or nothing has such a name; ``pattern_invalid``.
        SyntaxFault: the policies do not compile.
    """
    _require_pattern(pattern)
    with tree.laid_out() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        coverage = None if pattern else pool.submit(_cover, opa, folder)
        always, never = (None, None) if pattern else _sabotage(opa, tree, folder, pool)
        results = _run_both(opa, tree, folder, pattern)
        if coverage is None or always is None or never is None:
            return Report(results)
        missing, covered = _read_coverage(tree, coverage.result().value())
        unseen = (*_unseen(tree, results, always, "fails"), *_unseen(tree, results, never, "passes"))
        return Report(results, missing, covered, tuple(sorted(unseen)))


def _require_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as exc:
        raise InputError(f"{pattern!r} is no regular expression: {exc}", code="pattern_invalid") from exc


def _run_both(opa: Opa, tree: Tree, folder: Path, pattern: str) -> tuple[Result, ...]:
    found = [one for one in _test(opa, tree, folder, pattern) if _is_own(tree, one)]
    if not found:
        named = f" of a name like {pattern!r}" if pattern else ""
        raise InputError(f"there is no test{named} in {tree.root}", code="no_tests")
    names = [_name(one) for one in found if not one.get("skip")]
    answers: dict[str, tuple[Any, str]] = {}
    if names:
        answers = run_tests(Answers(*build_wasm(opa, tree, folder, [f"data.{name}" for name in names])), names)
    return tuple(sorted((_result(tree, one, answers) for one in found), key=lambda one: (one.file, one.line)))


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


def _result(tree: Tree, one: Mapping[str, Any], answers: Mapping[str, tuple[Any, str]]) -> Result:
    parts = {name: not part.get("fail", False) for name, part in (one.get("sub_results") or {}).items()}
    error = str((one.get("error") or {}).get("message", ""))
    by_opa = "todo" if one.get("skip") else "error" if error else "failed" if one.get("fail") else "passed"
    by_wasm = by_opa
    if by_opa != "todo":
        value, fault = answers[_name(one)]
        by_wasm = "error" if fault else "passed" if held(value, parts) else "failed"
        error = error or fault
    failing = ", ".join(name for name, passed in parts.items() if not passed)
    return Result(
        name=_name(one),
        file=tree.shown(one["location"]["file"]),
        line=one["location"]["row"],
        duration_s=one["duration"] / 1e9,
        opa=by_opa,
        wasm=by_wasm,
        message=error or (f"cases that failed: {failing}" if failing else ""),
    )


def _cover(opa: Opa, folder: Path) -> Ran:
    # One pass: the further ones only say why a line was not reached.
    return opa.run("test", ".", "--coverage", "--coverage-runs", "", "--format", "json", folder=folder)


def _read_coverage(tree: Tree, answer: Mapping[str, Any]) -> tuple[dict[str, tuple[int, ...]], int]:
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


def _sabotage(
    opa: Opa, tree: Tree, folder: Path, pool: ThreadPoolExecutor
) -> tuple[Future[set[str]], Future[set[str]]]:
    """Tests ``test_fails_...`` that fail once all rules pass always, ``test_passes_...`` that do once none ever does.

    A test's name is no proof that it saw anything. A rule that could as well pass always was never seen refusing,
    whatever its tests are called.
    """
    modules = parse_sources(opa, tree, folder, (source.name for source in tree.rules.values()))
    runs = []
    for verb, proof in (("fails", "passes := true"), ("passes", "passes if false")):
        changed = {}
        for name, module in modules.items():
            text = module.text
            for rule in reversed(module.definitions("passes")):
                span = module.extent(rule)
                text = text[: span.start] + text[span.end :]
            changed[name] = f"{text}\n{proof}\n"
        runs.append(pool.submit(_failing, opa, tree, changed, _RULE_TESTS.format(verb=verb)))
    always, never = runs
    return always, never


def _failing(opa: Opa, tree: Tree, changes: Mapping[str, str], pattern: str) -> set[str]:
    with tree.laid_out(changes) as folder:
        ran = opa.run("test", ".", "--format", "json", "--run", pattern, folder=folder)
        return {_name(one) for one in ran.value() if one.get("fail") or one.get("error")}


def _unseen(tree: Tree, results: tuple[Result, ...], failing: Future[set[str]], verb: str) -> list[Finding]:
    """Rules of which no test that passes fails when the rule is spoilt."""
    telling = failing.result() & {result.name for result in results if result.passed}
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
