"""``placet policy check``: what is wrong with policies, before they decide anything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from placet.cli.output import EXIT_VIOLATIONS, print_result, style
from placet.cli.policy_authoring import finding_line, finding_value, github_findings, policies_option

SCHEMA: Final = "placet.dev/policy-check/v1"


@click.command()
@policies_option
@click.option("--data", "data_file", type=click.Path(path_type=Path), help="Policy data to check with them.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(("text", "json", "github")),
    default="text",
    show_default=True,
    help="How to print it.",
)
def check(policies: tuple[Path, ...], data_file: Path | None, output: str) -> None:
    r"""Say what is wrong with policies, each fault with its file and line.

    Looks for Rego that does not compile or needs a builtin that an engine lacks; for fields that the schemas of input
    and data do not have; for formatting; for packages that their folder does not say, two rules of one id, and data
    that stand where rules are looked for; for rules without texts, controls, a report, or tests that pass and fail
    them; and for rules that use more fuel than a decision may take. `placet policy test` then runs their tests.

    \b
    Examples:
      placet policy check
      placet policy check --policies team-policies --data policy-data.yaml
      placet policy check -o github

    \b
    Exit codes:
      0  nothing is wrong
      1  something is
      2  there are no policies, or there is no opa

    \b
    Environment:
      PLACET_OPA  the opa to use; else the one on PATH

    \b
    See also: placet policy test, docs/policy-authors.md
    """
    from placet.policy.authoring.checking import find_faults
    from placet.policy.authoring.opa import find_opa
    from placet.policy.authoring.overlay import load_tree_data
    from placet.policy.authoring.tree import find_tree

    tree = find_tree(*policies)
    data = load_tree_data(tree, data_file)
    found = find_faults(find_opa(), tree, data)
    if output == "json":
        print_result({"schema": SCHEMA, "good": not found, "findings": [finding_value(one) for one in found]}, output)
    elif output == "github":
        for line in github_findings(found):
            click.echo(line)
    else:
        for one in found:
            click.echo(finding_line(one))
        if not found:
            count = len(tree.rules)
            click.echo(style(f"{count} {'rule' if count == 1 else 'rules'}: nothing is wrong", "green", bold=True))
    if found:
        sys.exit(EXIT_VIOLATIONS)
