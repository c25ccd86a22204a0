"""``placet policy new``: a rule to start from."""

from __future__ import annotations

from pathlib import Path

import click

from placet.cli.output import say


@click.command()
@click.argument("rule", metavar="CATEGORY.RULE")
@click.option(
    "--policies",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of your policies: a whole tree, or an overlay of what ships. policies by default.",
)
def new(rule: str, policies: Path | None) -> None:
    r"""Write a new rule with its tests and METADATA, to be changed.

    The rule passes `placet policy check` and `placet policy test` as it is. Nothing that is there is written over. The
    paths of the two files are printed.

    \b
    Examples:
      placet policy new scale.modest
      placet policy new --policies team-policies licences.known

    \b
    Exit codes:
      0  it is written
      2  it can't be: there is a rule of that name, or it is no name

    \b
    See also: placet policy test --watch, docs/policy-authors.md
    """
    from placet.policy.authoring.scaffold import write_rule

    for path in write_rule(policies or Path("policies"), rule):
        click.echo(path.as_posix())
    say(f"next: placet policy test --watch{f' --policies {policies}' if policies else ''}")
