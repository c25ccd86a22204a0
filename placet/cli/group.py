"""Groups of commands: found by name when they are used, with a suggestion for a name that is nearly right."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import click
from click.shell_completion import CompletionItem

PLUGIN: Final = "kubectl placet"
_EXAMPLE: Final = re.compile(r"(?<![\w./-])(?<!kubectl )placet (?=[a-z])")
_KEPT: Final = "\b"


class Lazy(NamedTuple):
    """A command that is imported when it is used.

    Attributes:
        module: holds the command under the name of ``attribute``.
        attribute: of the module.
        summary: its first sentence, for the list of commands; a test holds it equal to the command's own.
    """

    module: str
    attribute: str
    summary: str

    def load(self) -> click.Command:
        """Import it."""
        command: click.Command = getattr(importlib.import_module(self.module), self.attribute)
        return command


class Group(click.Group):
    """A group whose unknown names come with a suggestion. Its own groups are of this class as well."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names.

        Raises:
            click.UsageError: there is none, with those of nearly the same name.
        """
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            known = self.list_commands(ctx)
            close = difflib.get_close_matches(name, known, n=2, cutoff=0.65)
            meant = f"Did you mean {' or '.join(close)}?" if close else f"There are: {', '.join(known)}."
            raise click.UsageError(f"No such command {name[:64]!r}. {meant}", ctx)
        return super().resolve_command(ctx, args)


Group.group_class = Group


class LazyGroup(Group):
    """The root: lists its commands without importing them."""

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy] | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        self.lazy: Final = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names, sorted."""
        return sorted(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        found = self.lazy.get(cmd_name)
        return None if found is None else name_program(keep_lines(found.load()), ctx.find_root().info_name or "")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the sentences that are known without an import."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.lazy[name].summary) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands of that beginning, without importing any."""
        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [
            CompletionItem(name, help=self.lazy[name].summary)
            for name in self.list_commands(ctx)
            if name.startswith(incomplete)
        ]


def keep_lines(command: click.Command) -> click.Command:
    r"""Make the ``\b`` of raw docstrings the mark by which click keeps a paragraph's line breaks."""
    if command.help:
        command.help = inspect.cleandoc(command.help.replace("\\b\n", f"{_KEPT}\n"))
    for child in command.commands.values() if isinstance(command, click.Group) else ():
        keep_lines(child)
    return command


def name_program(command: click.Command, program: str) -> click.Command:
    """Write examples as they are typed where the command line is a plugin: ``kubectl placet plan``."""
    if program == PLUGIN and command.help:
        paragraphs = command.help.split("\n\n")
        command.help = "\n\n".join(
            _EXAMPLE.sub(f"{program} ", text) if text.lstrip().startswith(_KEPT) else text for text in paragraphs
        )
    for child in command.commands.values() if isinstance(command, click.Group) else ():
        name_program(child, program)
    return command
