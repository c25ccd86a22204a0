"""The command line: one module a command, found by name only when it is used."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from typing import Any, Final

import click

from placet import __version__
from placet.cli.output import fail
from placet.errors import PlacetError

DEBUG_VARIABLE: Final = "PLACET_DEBUG"

# command name -> module under placet.cli that holds a click command or group of the same name
_COMMANDS: Final = {
    "approve": "approve",
    "audit": "audit",
    "digest": "digest",
    "evidence": "evidence",
    "init": "init",
    "keyring": "keyring",
    "keys": "keys",
    "plan": "plan",
    "revoke": "revoke",
    "score": "score",
    "verify": "verify",
}


def _keep_lines(command: click.Command) -> click.Command:
    r"""Make the ``\b`` of raw docstrings the mark by which click keeps a paragraph's line breaks."""
    if command.help:
        command.help = command.help.replace("\\b\n", "\b\n")
    for child in command.commands.values() if isinstance(command, click.Group) else ():
        _keep_lines(child)
    return command


class _LazyGroup(click.Group):
    """A group that imports a command's module when the command is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        plugged = {point.name for point in importlib.metadata.entry_points(group="placet.commands")}
        return sorted({*_COMMANDS, *plugged})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if module := _COMMANDS.get(cmd_name):
            return _keep_lines(getattr(importlib.import_module(f"placet.cli.{module}"), cmd_name))
        for point in importlib.metadata.entry_points(group="placet.commands", name=cmd_name):
            return _keep_lines(point.load())
        return None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours becomes one sentence on stderr and exit code 2."""
        try:
            return super().invoke(ctx)
        except PlacetError as exc:
            fail(exc)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="placet")
def root() -> None:
    r"""Signed approvals for model workloads on Kubernetes.

    \b
    Exit codes: 0 fine, 1 violations found, 2 wrong usage or could not tell.
    """


def main() -> None:
    """Entry point of the console script."""
    if not sys.flags.utf8_mode and sys.stdout.encoding.lower() != "utf-8":
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # a TextIOWrapper in a process of its own
    _keep_lines(root)
    try:
        root(prog_name="placet")
    except Exception as exc:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        fail(
            PlacetError(
                f"internal error: {type(exc).__name__}",
                hint=f"This is a fault of placet: set {DEBUG_VARIABLE}=1 to see where, and report it.",
            )
        )
