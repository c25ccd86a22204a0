"""Rules that always pass and rules that never do: tests that still pass with them have seen nothing of the rule.

A test's name is no proof that it saw anything. A rule that could as well pass always was never seen refusing, whatever
its tests are called.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from placet.policy.authoring.heads import Head, are_plain
from placet.policy.authoring.opa import Opa
from placet.policy.authoring.syntax import parse_sources
from placet.policy.authoring.tree import Tree

ALWAYS: Final = ("fails", "always")
NEVER: Final = ("passes", "never")
"""What a test's name begins with, and the fault that it should notice."""
_ASKED: Final = "placet_spoilt"
_PROOF: Final = re.compile(r"^(default[ \t]+)?passes\b", re.MULTILINE)
_OF_RULE: Final = re.compile(r"tests\.[a-z0-9_]+\.[a-z0-9_]+_test\.test_(fails|passes)_")


def find_telling(opa: Opa, tree: Tree, heads: Sequence[Head]) -> dict[str, frozenset[str]]:
    """Tests of rules that fail with the fault that their names promise to see.

    Args:
        opa: evaluates.
        tree: policies.
        heads: of the author's rules and tests.

    Returns:
        fails, with rules that always pass; passes, with rules that never do -> names of tests.

    Raises:
        InputError: opa does not do what it is asked.
    """
    tests = [one for one in heads if _OF_RULE.match(f"{one.package}.{one.name}")]
    changes = _switched(tree, heads)
    found = _ask_once(opa, tree, changes, tests) if changes is not None and are_plain(tests) else None
    if found is not None:
        return found
    spoilt = {verb: _spoil(opa, tree, proof) for verb, proof in (("fails", "passes := true"), ("passes", _NOTHING))}
    return {verb: _failing(opa, tree, changed, verb) for verb, changed in spoilt.items()}


_NOTHING: Final = "passes if false"


def _switched(tree: Tree, heads: Sequence[Head]) -> dict[str, str] | None:
    """The rules with a switch instead of their proof; None where it is not plain to see where the proof begins."""
    defined = Counter(one.file for one in heads if one.name == "passes")
    changed = {}
    for source in tree.rules.values():
        text, count = _PROOF.subn(r"\1passes_unspoilt", source.text)
        if count != defined[source.name] or "passes_unspoilt" in source.text:
            return None
        changed[source.name] = f'{text}\npasses if data.{_ASKED}_switch == "always"\n'
    return changed


def _ask_once(
    opa: Opa, tree: Tree, changes: Mapping[str, str], tests: Sequence[Head]
) -> dict[str, frozenset[str]] | None:
    """All in one question, so that what the tests share is worked out once; None where one of them ends in an error."""
    names = [f"{one.package}.{one.name}" for one in tests]
    rules = "".join(f'{_verb(name)} contains "{name}" if data.{name} == true\n\n' for name in names)
    query = "; ".join(
        f'{verb} := data.{_ASKED}.{verb} with data.{_ASKED}_switch as "{switch}"' for verb, switch in (ALWAYS, NEVER)
    )
    with tree.laid_out(changes) as folder, tempfile.TemporaryDirectory(prefix="placet-spoilt-") as aside:
        asked = Path(aside) / "asked.rego"
        empty = "".join(f"{verb} contains true if false\n\n" for verb, _ in (ALWAYS, NEVER))
        asked.write_text(f"package {_ASKED}\n\n{empty}{rules}", encoding="utf-8")
        ran = opa.run("eval", "--data", ".", "--data", str(asked), "--format", "json", query, folder=folder)
    answer: dict[str, Any] = ran.value()
    if not answer.get("result"):
        return None
    held = answer["result"][0]["bindings"]
    return {verb: frozenset(name for name in names if _verb(name) == verb) - set(held[verb]) for verb in held}


def _verb(name: str) -> str:
    found = _OF_RULE.match(name)
    return found[1] if found else ""


# --- one test at a time, where they can't be asked together ---------------------------------------------------------


def _spoil(opa: Opa, tree: Tree, proof: str) -> dict[str, str]:
    with tree.laid_out() as folder:
        modules = parse_sources(opa, tree, folder, (source.name for source in tree.rules.values()))
    changed = {}
    for name, module in modules.items():
        text = module.text
        for rule in reversed(module.definitions("passes")):
            span = module.extent(rule)
            text = text[: span.start] + text[span.end :]
        changed[name] = f"{text}\n{proof}\n"
    return changed


def _failing(opa: Opa, tree: Tree, changes: Mapping[str, str], verb: str) -> frozenset[str]:
    pattern = rf"^data\.tests\.[a-z0-9_]+\.[a-z0-9_]+_test\.test_{verb}_"
    with tree.laid_out(changes) as folder:
        results = opa.run("test", ".", "--format", "json", "--run", pattern, folder=folder).value()
    return frozenset(
        f"{one['package'].removeprefix('data.')}.{one['name']}"
        for one in results
        if one.get("fail") or one.get("error")
    )
