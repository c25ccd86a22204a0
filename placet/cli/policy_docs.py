"""``placet policy docs``: the reference of rules, from their METADATA."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from placet.cli.output import EXIT_VIOLATIONS, say
from placet.cli.policy_authoring import policies_option


@click.command()
@policies_option
@click.option("--check", "expected", type=click.Path(path_type=Path), help="Compare with this file instead.")
def docs(policies: tuple[Path, ...], expected: Path | None) -> None:
    r"""Print the reference of your rules as Markdown, or compare it.

    Title, reason, solution, severity and controls of each rule, from its METADATA.

    \b
    Examples:
      placet policy docs --policies team-policies > rules.md
      placet policy docs --policies team-policies --check rules.md

    \b
    Exit codes:
      0  it is printed, or the file is the same
      1  the file is not what the METADATA say
      2  there are no policies, or there is no opa

    \b
    Environment:
      PLACET_OPA  the opa to use; else the one on PATH

    \b
    See also: docs/rules.md, docs/policy-authors.md
    """
    from placet.errors import InputError
    from placet.policy.authoring.opa import find_opa
    from placet.policy.authoring.reference import render_own
    from placet.policy.authoring.tree import find_tree

    text = render_own(find_opa(), find_tree(*policies))
    if expected is None:
        click.echo(text, nl=False)
        return
    try:
        same = expected.read_text("utf-8") == text
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{expected} can't be read: {exc}") from exc
    if not same:
        say(f"{expected} is not what the METADATA of the rules say: write it again")
        sys.exit(EXIT_VIOLATIONS)
