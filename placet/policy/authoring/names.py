"""Names that Rego uses itself: a rule, a folder or an import that is called so hides what the others mean by it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import Final

from placet.policy.authoring.findings import Finding
from placet.policy.authoring.tree import CAPABILITIES, Source, Tree
from placet.policy.bundle import shipped_bundle

KEYWORDS: Final = frozenset(
    ("and", "as", "contains", "data", "default", "else", "every", "false", "if", "import", "in", "input", "not")
) | {"null", "or", "package", "set", "some", "true", "with"}
_PACKAGE: Final = re.compile(r"^package\s", re.MULTILINE)
_IMPORT: Final = re.compile(r"^import\s+(?P<path>[\w.]+)(?:\s+as\s+(?P<alias>\w+))?", re.MULTILINE)
_FOLDERS: Final = (("admission", "rules"), ("admission", "lib"))


def is_taken(name: str, capabilities: bytes | None = None) -> bool:
    """Whether Rego means something by a word: it is a keyword, or builtins begin with it.

    Among the builtins is ``internal``, which nobody writes: OPA compiles ``in`` and string templates to it.
    """
    raw = shipped_bundle().load_file(f"authoring/{CAPABILITIES}") if capabilities is None else capabilities
    return name in KEYWORDS or name in _builtins(raw)


def find_taken_names(tree: Tree) -> Iterator[Finding]:
    """Folders and imports of the author's that are called as something of Rego's; each with its file and line."""
    for source in tree.own:
        parts = tuple(source.name.split("/"))
        folders = parts[2:-1] if parts[:2] in _FOLDERS else ()
        if taken := next((part for part in folders if is_taken(part, tree.capabilities)), ""):
            what = f"a rule can't be called {source.rule}" if source.rule else f"a folder can't be called {taken}"
            yield _finding(source, _PACKAGE.search(source.text), f"{what}: {_meaning(taken)}; take another name")
            continue
        for found in _IMPORT.finditer(source.text):
            name = found["alias"] or found["path"].rpartition(".")[2]
            if "." in found["path"] and is_taken(name, tree.capabilities):
                yield _finding(source, found, f"this is imported as {name}: {_meaning(name)}; import it as another")


def _meaning(name: str) -> str:
    return f"{name} is a word of Rego's own, and what uses it would not compile"


def _finding(source: Source, found: re.Match[str] | None, message: str) -> Finding:
    line = 1 if found is None else source.text.count("\n", 0, found.start()) + 1
    return Finding(source.shown, line, "name_taken", message)


@functools.lru_cache(maxsize=4)
def _builtins(capabilities: bytes) -> frozenset[str]:
    """First words of the builtins' names: ``strings`` of ``strings.reverse``."""
    return frozenset(one["name"].partition(".")[0] for one in json.loads(capabilities)["builtins"])
