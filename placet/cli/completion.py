"""``placet completion``: what a shell needs to complete our commands. The questions are answered by click."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click
from click.shell_completion import ShellComplete, get_completion_class

from placet.cli.group import PLUGIN
from placet.cli.output import EXIT_FINE
from placet.cli.process import COMPLETE_VARIABLE

SHELLS: Final = ("bash", "zsh", "fish")
# What cobra, in kubectl, takes as the last line: no directive, or "no files".
_FILES, _NO_FILES = ":0", ":4"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    r"""Print the script that completes placet's commands in a shell.

    Completes commands, options, files, environments of the policy data, roles, levels, rules, contexts of the
    kubeconfig, and the newest decisions of the record that --store, PLACET_AUDIT_STORE or the configuration names. No
    cluster is asked.

    \b
    Examples, for this shell alone:
      source <(placet completion bash)
      source <(placet completion zsh)
      placet completion fish | source

    \b
    For each new shell:
      placet completion bash > ~/.local/share/bash-completion/completions/placet
      placet completion zsh > "${fpath[1]}/_placet"
      placet completion fish > ~/.config/fish/completions/placet.fish

    As `kubectl placet` it is completed by kubectl's own script, with `kubectl_complete-placet` on PATH.

    \b
    See also: kubectl completion --help
    """
    made = get_completion_class(shell)
    if made is None:  # pragma: no cover - the shells are those that click has
        raise click.UsageError(f"No completion for {shell}.", ctx)
    root = ctx.find_root().command
    # Not the class's own source(): for bash that runs bash, to warn of versions older than 4.4.
    click.echo(ShellComplete.source(made(root, {}, "placet", COMPLETE_VARIABLE)))


def complete_for_kubectl(root: click.Command, words: Sequence[str]) -> int:
    """What may follow ``kubectl placet WORDS``, the last of which is unfinished, as kubectl 1.26 and newer asks.

    A line for each, with a tab before its meaning, and last a directive of cobra's.
    """
    *before, incomplete = words or ("",)
    asked = ShellComplete(root, {}, PLUGIN, COMPLETE_VARIABLE)
    items = asked.get_completions(list(before), incomplete)
    for item in items:
        if item.type == "plain":
            click.echo(f"{item.value}\t{item.help}" if item.help else str(item.value))
    click.echo(_FILES if any(item.type != "plain" for item in items) else _NO_FILES)
    return EXIT_FINE
