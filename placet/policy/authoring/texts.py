"""What can be said against the text of a Rego file before anybody reads it as Rego."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from placet.policy.authoring.findings import Finding
from placet.policy.authoring.tree import Tree

MAX_DEPTH: Final = 100
"""Brackets in brackets: OPA needs minutes to parse some thousands of them."""
_MARK: Final = "\ufeff"
# Text, raw text and comments, in which brackets are none; and brackets.
_TOKEN: Final = re.compile(r"""\$?"(?:\\.|[^"\\\n])*"|\$?`[^`]*`|#[^\n]*|[(\[{]|[)\]}]""")


def find_text_faults(tree: Tree) -> Iterator[Finding]:
    """Each of the author's files that is written so that it would be read as something else, or not for minutes."""
    for source in tree.own:
        if source.text.startswith(_MARK):
            message = "it begins with a byte order mark, which hides METADATA from OPA: save it as UTF-8 without one"
            yield Finding(source.shown, 1, "byte_order_mark", message)
        if at := _find_deep(source.text):
            message = f"more than {MAX_DEPTH} brackets are open here"
            yield Finding(source.shown, source.text.count("\n", 0, at) + 1, "nested_too_deeply", message)


def _find_deep(text: str) -> int:
    """Where too many brackets are open; 0 for nowhere."""
    depth = 0
    for found in _TOKEN.finditer(text):
        if found[0] in "([{":
            depth += 1
        elif found[0] in ")]}":
            depth -= 1
        if depth > MAX_DEPTH:
            return found.start()
    return 0
