"""``placet policy profile``: a policy data file that ships, to begin with."""

from __future__ import annotations

import click


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from placet.policy.profiles import profile_names

    return [name for name in profile_names() if name.startswith(incomplete)]


@click.command()
@click.argument("name", required=False, shell_complete=_complete)
def profile(name: str | None) -> None:
    r"""Print a policy data file that ships, or without a name list them.

    A profile is an operator's file like any other: it is in force where the gate's configuration names it. `governance`
    asks production for the whole list of the governance framework, staging for its technical part, and development for
    little. Change what its comments mark, then see what it does.

    \b
    Examples:
      placet policy profile
      placet policy profile governance > policy-data.yaml
      placet policy matrix --data policy-data.yaml

    \b
    Exit codes:
      0  printed
      2  there is no such profile

    \b
    See also: docs/policy-authors.md, docs/rules.md
    """
    from placet.errors import InputError
    from placet.policy.profiles import load_profile, profile_names

    known = profile_names()
    if name is None:
        click.echo("\n".join(known))
    elif name not in known:
        raise InputError(f"there is no profile {name!r}", hint=f"Known: {', '.join(known)}.")
    else:
        click.echo(load_profile(name), nl=False)
