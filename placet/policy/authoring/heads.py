"""The names of rules and tests, of all files at once: one process of ``opa`` instead of one for each file."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from placet.policy.authoring.opa import Opa
from placet.policy.authoring.syntax import parse_sources
from placet.policy.authoring.tree import Source, Tree

TODO: Final = "todo_test_"
_TEST: Final = "test_"
_QUERY: Final = """[{"name": name, "package": module.package.path, "heads": heads} |
    some name, text in input
    module := rego.parse_module(name, text)
    heads := [object.union({"name": ""}, rule.head) | some rule in module.rules]]"""


@dataclass(frozen=True, slots=True)
class Head:
    """What one definition defines.

    Attributes:
        file: the name that it is laid out under.
        package: ``tests.risk.ceiling_test``.
        name: ``test_passes_below_it``.
        plain: whether it has one value, and not one for each of several cases.
    """

    file: str
    package: str
    name: str
    plain: bool


def read_heads(opa: Opa, tree: Tree, folder: Path, sources: Iterable[Source]) -> list[Head]:
    """Every definition of these files, in the order of the text.

    Raises:
        SyntaxFault: some are no Rego.
    """
    texts = {source.name: source.text for source in sources}
    if not texts:
        return []
    found = opa.run("eval", "--stdin-input", "--format", "json", _QUERY, folder=folder, given=json.dumps(texts))
    value = found.value()
    modules = value["result"][0]["expressions"][0]["value"] if value.get("result") else []
    if len(modules) != len(texts):  # one that can't be parsed is left out, without a word
        return _by_file(opa, tree, folder, sorted(texts))
    return [
        _head(one["name"], _path(one["package"]), head)
        for one in sorted(modules, key=lambda one: str(one["name"]))
        for head in one["heads"]
    ]


def _by_file(opa: Opa, tree: Tree, folder: Path, names: Sequence[str]) -> list[Head]:
    parsed = parse_sources(opa, tree, folder, names)
    return [_head(name, one.package, rule["head"]) for name, one in parsed.items() for rule in one.rules]


def _path(path: Sequence[Any]) -> str:
    return ".".join(str(part["value"]) for part in path[1:])


def _head(file: str, package: str, head: Any) -> Head:
    ref: Sequence[Any] = head.get("ref") or ()
    name = str(head.get("name") or ref[0]["value"])
    return Head(file, package, name, plain=len(ref) <= 1 and "key" not in head)


def is_test(head: Head) -> bool:
    """Whether OPA runs it, or says that it is to be written."""
    return head.name.startswith((_TEST, TODO))


def are_plain(tests: Sequence[Head]) -> bool:
    """Whether each test is one definition with one value, and none is to be written yet."""
    repeated = Counter((one.package, one.name) for one in tests)
    return all(one.plain and not one.name.startswith(TODO) and repeated[one.package, one.name] == 1 for one in tests)


def line_of(text: str, name: str) -> int:
    """Line of a definition at the beginning of a line; 1 where it stands elsewhere."""
    found = re.search(rf"^[ \t]*{re.escape(name)}\b", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1
