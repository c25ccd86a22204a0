"""``placet help``: the help of a command, for who types the words in this order."""

from __future__ import annotations

import click

from placet.cli.complete import complete_command


@click.command("help")
@click.argument("command", nargs=-1, shell_complete=complete_command)
@click.pass_context
def help(ctx: click.Context, command: tuple[str, ...]) -> None:  # noqa: A001 - the command's name
    r"""Show the help of a command.

    The same text as COMMAND --help. Without a COMMAND, the list of all.

    \b
    Examples:
      placet help
      placet help plan
      placet help audit verify

    \b
    See also: docs/commands.md has all of it on one page
    """
    current = ctx.find_root()
    for name in command:
        group = current.command
        if not isinstance(group, click.Group):
            raise click.UsageError(f"{current.command_path} has no commands of its own.", ctx)
        _, found, _ = group.resolve_command(current, [name])
        if found is None:
            raise click.UsageError(f"No such command {name[:64]!r}.", ctx)
        current = click.Context(found, info_name=name, parent=current)
    click.echo(current.get_help())
