"""The reference of rules, made from their METADATA: docs/rules.md and ``placet policy docs`` are one text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

from placet.policy.authoring.annotations import read_annotations
from placet.policy.authoring.opa import Opa
from placet.policy.authoring.tree import Tree

_WIDTH: Final = 118
_INTRO: Final = (
    "A request is admitted when each rule in force proves that it passes. A rule that does not pass and is in the",
    "mode `warn` or `audit` is a warning to the requester or a note in the record. An update that changes nothing",
    "governed is carried forward: of the rules below, `approvals.revoked` and `risk.assessed` still judge it.",
    "",
    "A rule marked *where required* passes in an environment whose `requires` does not name it. What ships",
    "requires none; `placet policy profile governance` prints data that require all of them.",
)


def render_reference(rules: Sequence[Mapping[str, Any]]) -> bytes:
    """docs/rules.md.

    Args:
        rules: as a bundle's manifest has them, in the order in which they are to stand; the guard last.
    """
    lines = [
        "# Rules",
        "",
        "Written by `make bundle` from the METADATA of the rules in `policies/admission/rules`: change it there.",
        "",
        *_INTRO,
        "",
        *_body(rules),
    ]
    return ("\n".join(lines) + "\n").encode()


def render_own(opa: Opa, tree: Tree) -> str:
    """The reference of an author's own rules.

    Raises:
        InputError: opa can't read their METADATA.
    """
    with tree.laid_out() as folder:
        annotated = read_annotations(opa, folder)
    rules = []
    for rule in sorted(tree.rules):
        notes = annotated.get(f"admission.rules.{rule}", {})
        custom = notes.get("custom", {})
        texts = {key: str(notes.get(key, "")) for key in ("title", "description")}
        texts |= {key: str(custom.get(key, "")) for key in ("severity", "solution")}
        one_line = {key: " ".join(text.split()) for key, text in texts.items()}
        optional = f'released("{rule}")' in tree.rules[rule].text
        rules.append({"id": rule, "controls": custom.get("controls", []), "optional": optional, **one_line})
    return "\n".join(["# Rules", "", *_body(rules)]) + "\n"


def _body(rules: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["| rule | severity | judges | what it stands for |", "|---|---|---|---|"]
    lines += [
        f"| [{rule['id']}](#{rule['id'].replace('.', '')}) | {rule['severity']} "
        f"| {'where required' if rule.get('optional') else 'always'} | {rule['title']} |"
        for rule in rules
    ]
    for rule in rules:
        lines += ["", f"## {rule['id']}", "", f"**{rule['title']}** (severity {rule['severity']})", ""]
        lines += [
            *textwrap.wrap(rule["description"], _WIDTH),
            "",
            *textwrap.wrap(f"What to do: {rule['solution']}", _WIDTH),
            "",
        ]
        if announced := rule.get("effective_on"):
            lines += [f"In force from {announced}; until then it warns.", ""]
        lines += [f"Controls: {', '.join(rule['controls'])}."]
    return lines
