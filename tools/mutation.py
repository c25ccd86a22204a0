"""Put small faults into the policies, one at a time, and say which of them no test notices.

    python tools/mutation.py                       # all of policies/, as `make mutation` does
    python tools/mutation.py --only risk/ceiling   # files whose name holds this
    python tools/mutation.py --policies DIR        # other policies, a whole tree or an overlay

A mutant is killed when a Rego test fails with it. Of a rule, its own tests are run, alone with what they need, and
those of the whole decision when none of these fails; of what rules share, all tests. The first that fails ends it.
The score is the share of mutants that were killed. A survivor is no fault where ``tests/policies/survivors.yaml`` says
why: the policies mean the same with it, as a rule. An explanation that no survivor needs any more is refused, so that
the file stays short.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from queue import SimpleQueue
from typing import Any, Final

import yaml

from placet.errors import InputError, PlacetError
from placet.policy.authoring.days import with_days
from placet.policy.authoring.mutants import Mutant, find_domains, find_mutants
from placet.policy.authoring.opa import Opa, find_opa
from placet.policy.authoring.syntax import parse_sources, rule_name
from placet.policy.authoring.tree import Source, Tree, find_tree

ROOT: Final = Path(__file__).resolve().parent.parent
EXPLAINED: Final = ROOT / "tests" / "policies" / "survivors.yaml"
LEAST: Final = 95
_AT_ONCE: Final = 2
_ASKED: Final = "placet_mutation"
_MAIN: Final = "admission/main/"
_TIMEOUT: Final = "120s"
_STEP: Final = 50
_KILLED, _SURVIVED, _STILLBORN = "killed", "survived", "stillborn"


@dataclass(frozen=True)
class Test:
    """A test of the policies.

    Attributes:
        file: the name that it is laid out under.
        ref: what is asked for its value.
        value: while nothing is wrong.
    """

    file: str
    ref: str
    value: Any


@dataclass(frozen=True)
class Outcome:
    """What became of the mutants.

    Attributes:
        counts: killed | survived | stillborn -> how many.
        survivors: those that no test notices, in the order of the files.
    """

    counts: Counter[str]
    survivors: tuple[Mutant, ...]

    @property
    def score(self) -> float:
        """Share that was killed, in percent; of none, all."""
        tried = self.counts[_KILLED] + self.counts[_SURVIVED]
        return 100 * self.counts[_KILLED] / tried if tried else 100.0


class Bench:
    """Folders in which mutants are tried: one for all policies, and for each folder one with what its tests need."""

    def __init__(self, opa: Opa, tree: Tree, tests: Sequence[Test], root: Path) -> None:
        self._opa = opa
        self._tree = tree
        self._tests = tests
        self._root = root
        self._places: dict[str, list[tuple[Path, Path]]] = {}

    def try_out(self, mutant: Mutant) -> str:
        """Killed | survived | stillborn."""
        for folder, asked in self._find_places(mutant.file):
            verdict = self._run(folder, asked, mutant)
            if verdict != _SURVIVED:
                return verdict
        return _SURVIVED

    def _find_places(self, file: str) -> list[tuple[Path, Path]]:
        """Where a mutant of this file is tried, the quicker place first: a folder, and the question to put there."""
        near = PurePosixPath(file).parent.as_posix()
        if near not in self._places:
            few, whole = self._root / near.replace("/", "."), self._root / "all"
            rule = self._tree.sources[file].rule
            self._lay_out(few, lambda one: _is_needed(one, rule, near))
            if not whole.is_dir():
                self._lay_out(whole, lambda _: True)
            # Tests of other rules, and of what rules share, never ask this one.
            beside = [one for one in self._tests if _folder_of(one.file) == near]
            main = [one for one in self._tests if one.file.startswith(_MAIN) and one not in beside]
            others = [] if rule else [one for one in self._tests if one not in beside and one not in main]
            places = [(few, beside), (whole, [*beside, *others, *main])]
            self._places[near] = [self._pose(folder, tests, near) for folder, tests in places if tests]
            if not rule and not _ask(self._opa, *self._places[near][0], "all_hold").get("result"):
                del self._places[near][0]  # its tests need rules as well
        return self._places[near]

    def _lay_out(self, folder: Path, wanted: Callable[[Source], bool]) -> None:
        self._tree.lay_out(folder)
        for source in self._tree.sources.values():
            if not wanted(source):
                (folder / source.name).unlink()

    def _pose(self, folder: Path, tests: Sequence[Test], near: str) -> tuple[Path, Path]:
        asked = self._root / f"{folder.name}-asked-for-{near.replace('/', '.')}.rego"
        lines = "".join(f"\t{one.ref} == {json.dumps(one.value)}\n" for one in tests)
        asked.write_text(f"package {_ASKED}\n\nall_hold if {{\n{lines}}}\n", encoding="utf-8")
        return folder, asked

    def _run(self, folder: Path, asked: Path, mutant: Mutant) -> str:
        path = folder / mutant.file
        source = self._tree.sources[mutant.file].text
        path.write_text(mutant.apply(source), encoding="utf-8")
        try:
            answer = _ask(self._opa, folder, asked, "all_hold")
        finally:
            path.write_text(source, encoding="utf-8")
        codes = [str(error.get("code", "")) for error in answer.get("errors", ())]
        if any(code.startswith("rego_") for code in codes):
            return _STILLBORN
        return _SURVIVED if answer.get("result") else _KILLED  # a test that ends in an error has noticed too


def _folder_of(name: str) -> str:
    return PurePosixPath(name).parent.as_posix()


def _is_needed(source: Source, rule: str, near: str) -> bool:
    """Whether the tests of a folder need a file: no other rule, no other tests, no rules about rules."""
    if source.is_test:
        return _folder_of(source.name) == near
    return source.rule in {"", rule} and not source.name.startswith("checks/")


def _ask(opa: Opa, folder: Path, asked: Path, name: str) -> dict[str, Any]:
    """All in one question: what the tests share is worked out once, and the first that does not hold ends it."""
    options = ["--data", ".", "--data", str(asked), "--format", "json", "--timeout", _TIMEOUT]
    answer: dict[str, Any] = opa.run("eval", *options, f"data.{_ASKED}.{name}", folder=folder).value()
    return answer


def find_tests(opa: Opa, tree: Tree) -> list[Test]:
    """Every test, with what it comes to while nothing is wrong.

    Raises:
        InputError: ``tests_fail``: one does not pass as it is, so that it could notice nothing.
    """
    with tree.laid_out() as folder, tempfile.TemporaryDirectory(prefix="placet-mutants-") as aside:
        modules = parse_sources(opa, tree, folder, (one.name for one in tree.own if one.is_test))
        named = {
            f"data.{module.package}.{rule_name(rule)}": name
            for name, module in modules.items()
            for rule in module.rules
            if rule_name(rule).startswith("test_")
        }
        asked = Path(aside) / "asked.rego"
        lines = "".join(f"found[{json.dumps(ref)}] := {ref}\n\n" for ref in named)
        asked.write_text(f"package {_ASKED}\n\n{lines}", encoding="utf-8")
        answer = _ask(opa, folder, asked, "found")
    found = answer["result"][0]["expressions"][0]["value"] if answer.get("result") else {}
    failing = [ref for ref in named if not _holds(found.get(ref))]
    if failing:
        said = "; ".join(str(error.get("message", "")) for error in answer.get("errors", ()))
        raise InputError(
            f"{len(failing)} tests do not pass without any fault, {failing[0]} for one{said and f': {said}'}",
            code="tests_fail",
            hint="Mend them first: `placet policy test` says what is wrong.",
        )
    return [Test(file, ref, found[ref]) for ref, file in named.items()]


def _holds(value: Any) -> bool:
    """Of a test with cases, each of them."""
    return all(each is True for each in value.values()) if isinstance(value, dict) else value is True


def collect(opa: Opa, tree: Tree, only: str = "") -> list[Mutant]:
    """Every mutant of the author's policies."""
    with tree.laid_out() as folder:
        names = [one.name for one in tree.own if not one.is_test and one.name.startswith("admission/")]
        modules = parse_sources(opa, tree, folder, names)
    domains = find_domains(modules.values())
    return [one for name, module in modules.items() if only in name for one in find_mutants(module, domains)]


def try_all(opa: Opa, tree: Tree, mutants: Sequence[Mutant], *, show: bool = False) -> Outcome:
    """Try each mutant, two at a time."""
    with tempfile.TemporaryDirectory(prefix="placet-mutants-") as folder, ThreadPoolExecutor(_AT_ONCE) as pool:
        benches: SimpleQueue[Bench] = SimpleQueue()
        tests = find_tests(opa, tree)
        for at in range(_AT_ONCE):
            (Path(folder) / str(at)).mkdir()
            benches.put(Bench(opa, tree, tests, Path(folder) / str(at)))

        def attempt(mutant: Mutant) -> str:
            bench = benches.get()
            try:
                return bench.try_out(mutant)
            finally:
                benches.put(bench)

        verdicts = []
        for mutant, verdict in zip(mutants, pool.map(attempt, mutants), strict=True):
            verdicts.append(verdict)
            if show and (sys.stderr.isatty() or not len(verdicts) % _STEP):
                print(f"\r{len(verdicts)} of {len(mutants)} mutants", end="", file=sys.stderr, flush=True)
            if show and verdict == _SURVIVED:
                print(f"\r{mutant.file}:{mutant.line}: {mutant.change} survives", file=sys.stderr, flush=True)
    if show:
        print(file=sys.stderr)
    survivors = tuple(mutant for mutant, verdict in zip(mutants, verdicts, strict=True) if verdict == _SURVIVED)
    return Outcome(Counter(verdicts), survivors)


def load_explained(path: Path) -> dict[tuple[str, str, str], str]:
    """File, rule and change of each survivor -> why nobody need notice it.

    Raises:
        ValueError: an entry lacks something.
    """
    if not path.is_file():
        return {}
    found: dict[tuple[str, str, str], str] = {}
    for entry in yaml.safe_load(path.read_text("utf-8")) or ():
        because = str(entry.get("because", "")).strip()
        key = (str(entry["file"]), str(entry["rule"]), str(entry["change"]))
        if not because or key in found:
            raise ValueError(f"{path}: {key} has no reason, or stands there twice")
        found[key] = because
    return found


def report(
    outcome: Outcome, explained: dict[tuple[str, str, str], str], tree: Tree, files: Iterable[str], out: Path
) -> list[str]:
    """What is wrong with the outcome: a score that is too low, a survivor or an explanation that nobody needs.

    Args:
        outcome: of all mutants of the files.
        explained: survivors with a reason.
        tree: policies.
        files: that were mutated.
        out: the file of the explanations, to be named.
    """
    problems = []
    present = set()
    for mutant in outcome.survivors:
        key = (mutant.file, mutant.rule, mutant.change)
        present.add(key)
        if key not in explained:
            place = f"{tree.shown(mutant.file)}:{mutant.line}"
            problems.append(f"{place}: {mutant.rule}: {mutant.kind}: no test notices {mutant.change}")
    tried = set(files)
    problems += [
        f"{out}: nothing survives that this explains: {' '.join(key)}"
        for key in sorted(explained.keys() - present)
        if key[0] in tried
    ]
    if outcome.score < LEAST:
        problems.append(f"the score is {outcome.score:.1f} %, and has to be {LEAST} %")
    return problems


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", type=Path, default=ROOT / "policies")
    parser.add_argument("--survivors", type=Path, default=EXPLAINED, help="why nobody need notice some")
    parser.add_argument("--only", default="", help="files whose name holds this")
    options = parser.parse_args()
    began = time.monotonic()
    try:
        opa, tree = find_opa(), with_days(find_tree(options.policies))
        mutants = collect(opa, tree, options.only)
        outcome = try_all(opa, tree, mutants, show=True)
        explained = load_explained(options.survivors)
    except (PlacetError, ValueError) as exc:
        print(f"mutation: {exc}", file=sys.stderr)
        return 2
    if not mutants:
        print("mutation: there is nothing to change", file=sys.stderr)
        return 2
    problems = report(outcome, explained, tree, {mutant.file for mutant in mutants}, options.survivors)
    for problem in problems:
        print(problem)
    counts = outcome.counts
    tried = counts[_KILLED] + counts[_SURVIVED]
    print(
        f"score {outcome.score:.1f} %: {counts[_KILLED]} of {tried} mutants were noticed, {counts[_SURVIVED]} survive "
        f"({len(explained)} explained), {counts[_STILLBORN]} did not compile; "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
