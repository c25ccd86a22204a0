"""Write the tables that are made from code into the documents of docs/ that are named below.

    python tools/reference.py            # write them again
    python tools/reference.py --check    # only say whether they differ; exit 1 when they do

A table stands between ``<!-- made: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from placet.approvals.rejections import render_meanings
from placet.checklist import AREAS, ITEMS
from placet.cli import root
from placet.cli.reference import render_commands
from placet.config_schema import SCHEMA
from placet.doctor.findings import render_doctor
from placet.evidence.commands import JUDGES, make_command
from placet.exemptions.verify import render_meanings as render_exemption_codes
from placet.policy.bundle import shipped_bundle
from placet.policy.data import load_policy_data
from placet.policy.failures import render_failures
from webhook.metric_list import render_table

_DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
DOCUMENTS: Final = tuple(
    _DOCS / name
    for name in (
        "formats.md",
        "commands.md",
        "opa.md",
        "operations-metrics.md",
        "doctor.md",
        "exemptions.md",
        "policy-authors.md",
    )
)
_BLOCK: Final = re.compile(r"(<!-- made: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something differs")
    check = parser.parse_args().check
    return max([_refresh(document, check=check) for document in DOCUMENTS])


def _refresh(document: Path, *, check: bool) -> int:
    before = document.read_text(encoding="utf-8")
    after = fill(before)
    if before == after:
        return 0
    if check:
        print(f"{document.name} differs from what the code says; run: make docs", file=sys.stderr)
        return 1
    document.write_text(after, encoding="utf-8")
    return 0


def fill(text: str) -> str:
    """The document with every table made anew.

    Raises:
        KeyError: a block names a table that does not exist.
    """
    return _BLOCK.sub(lambda found: f"{found[1]}{TABLES[found['name']]()}{found[3]}", text)


def render_configuration() -> str:
    """Every key of the configuration file."""
    rows = "\n".join(
        f"| `{path}` | {'yes' if required else ''} | {_type(value)} | {value.get('description', '')} |"
        for path, value, required in _keys(SCHEMA, "")
    )
    return f"| key | required | value | meaning |\n|---|---|---|---|\n{rows}\n"


def _keys(schema: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    required = set(schema.get("required", ()))
    for name, value in schema["properties"].items():
        if "properties" in value:
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, name in required


def _type(value: Mapping[str, Any]) -> str:
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    return {
        "string": "text",
        "boolean": "yes or no",
        "integer": "integer",
        "number": "number",
        "array": "list of text",
        "object": "text by name",
    }[value["type"]]


def render_areas() -> str:
    """The governance framework's map: the rules that hold each part of it, and what they judge."""
    rules = [rule.id for rule in shipped_bundle().rules]
    rows = "\n".join(
        f"| {area} | {part} | {held} | {f'`{JUDGES[rule]}`' if rule in JUDGES else _ANSWERS[rule]} |"
        for area, parts in AREAS.items()
        for part, starts in parts.items()
        for rule, held in _held_by([rule for rule in rules if rule.startswith(starts)])
    )
    return f"| area | part | held by | answered by |\n|---|---|---|---|\n{rows}\n"


def _held_by(rules: Sequence[str]) -> Sequence[tuple[str, str]]:
    return [(rule, _linked([rule])) for rule in rules] or [("", _RECORD)]


def render_evidence_commands() -> str:
    """Each kind of evidence that ships: what it is about, which rules judge it, and what makes it."""
    rows = "\n".join(
        f"| `{kind.name}` | {kind.about} | {_linked([rule for rule, judged in JUDGES.items() if judged == kind.name])} "
        f"| `{make_command(kind.name, manifest='deploy.yaml')}` |"
        for kind in load_policy_data(None).evidence.by_name.values()
    )
    return f"| kind | about | judged by | made with |\n|---|---|---|---|\n{rows}\n"


def render_checklist() -> str:
    """The sixteen items, and what answers each."""
    rows = "\n".join(
        f"| {item.group} | {item.title} | {_linked(item.rules) or _RECORD} "
        f"| {', '.join(f'`{kind}`' for kind in item.kinds) or (f'approval of role {item.role}' if item.role else '')} |"
        for item in ITEMS
    )
    return f"| group | item | answered by | from |\n|---|---|---|---|\n{rows}\n"


def _linked(rules: Sequence[str]) -> str:
    return ", ".join(f"[{rule}](rules.md#{rule.replace('.', '')})" for rule in rules)


# What answers the rules that judge no evidence.
_ANSWERS: Final[Mapping[str, str]] = {
    "": "this decision's own record",
    "approvals.binding": "an approval of now: `placet approve`",
    "approvals.required": "an approval in each role: `placet approve`",
    "approvals.revoked": "a new approval instead: `placet approve`",
    "approvals.separation": "an approval by a further person: `placet approve`",
    "capacity.bound": "the workload or its autoscaler: fewer replicas",
    "change.window": "the policy data: `change.windows`, `change.freezes`",
    "images.pinned": "the workload: images by digest",
    "model.identified": "the workload: label and annotations of its model",
    "promotion.staged": "the record: the same content, admitted to `promotes_from` for `soak_hours`",
    "risk.assessed": "the gate: the score by the table of the policy data",
    "risk.ceiling": "evidence that lowers the score: `placet score`",
}
_RECORD: Final = "the record: nothing is let in before it is recorded ([operations.md](operations.md))"


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "areas": render_areas,
    "checklist": render_checklist,
    "commands": lambda: render_commands(root),
    "configuration": render_configuration,
    "doctor": render_doctor,
    "engine-failures": render_failures,
    "evidence-commands": render_evidence_commands,
    "exemption-codes": render_exemption_codes,
    "metrics": render_table,
    "rejections": render_meanings,
}

if __name__ == "__main__":
    sys.exit(main())
