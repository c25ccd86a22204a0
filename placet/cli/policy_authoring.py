"""What the commands for policy authors share: the folder of policies, and faults in the forms that programs read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from placet.cli.output import safe
from placet.cli.reports import escape_data, escape_property

if TYPE_CHECKING:
    from placet.policy.authoring.findings import Finding

_F = TypeVar("_F", bound=Callable[..., Any])


def policies_option(function: _F) -> _F:
    """``--policies``, repeatable."""
    return click.option(
        "--policies",
        multiple=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of your policies: a whole tree, or an overlay of what ships with rules/CATEGORY/RULE in it "
        "(repeatable for overlays). policies by default.",
    )(function)


def github_line(file: str, line: int, title: str, message: str) -> str:
    """A workflow command of GitHub Actions, which shows the message beside the line."""
    where = f"file={escape_property(file)},line={max(line, 1)},title={escape_property(title)}"
    return f"::error {where}::{escape_data(message)}"


def github_findings(findings: Iterable[Finding]) -> Iterator[str]:
    """A workflow command for each finding."""
    for one in findings:
        yield github_line(one.file, one.line, f"placet {one.code}", one.message)


def finding_value(one: Finding) -> dict[str, Any]:
    """A finding as JSON."""
    return {"file": one.file, "line": one.line, "code": one.code, "message": one.message}


def finding_line(one: Finding) -> str:
    """A finding for a person."""
    return "\n".join(safe(line) for line in str(one).splitlines())
