"""What every command shares: machine output alone on stdout, words for people on stderr, safe text, exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from placet.errors import PlacetError
from placet.text import safe

EXIT_FINE: Final = 0
EXIT_VIOLATIONS: Final = 1
EXIT_USAGE: Final = 2


def use_colour(stream: Any) -> bool:
    """Whether to write in colour: on a terminal, unless the environment says otherwise.

    NO_COLOR (https://no-color.org) comes first, then FORCE_COLOR and CLICOLOR_FORCE (https://bixense.com/clicolors),
    CLICOLOR=0 and a terminal without colours. An empty variable says nothing; FORCE_COLOR=0 says no.
    """
    environment = os.environ
    if environment.get("NO_COLOR"):
        return False
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        if value := environment.get(name):
            return value not in {"0", "false"}
    if environment.get("CLICOLOR") == "0" or environment.get("TERM") == "dumb":
        return False
    return bool(stream.isatty())


def style(text: str, colour: str, *, bold: bool = False, err: bool = False) -> str:
    """The text in a colour where the stream can show one."""
    stream = sys.stderr if err else sys.stdout
    return click.style(text, fg=colour, bold=bold) if use_colour(stream) else text


def say(text: str = "") -> None:
    """A line for a person, on stderr."""
    click.echo(text, err=True)


def print_result(value: Any, form: str) -> None:
    """Machine output on stdout.

    Args:
        value: JSON value; an object that starts with its ``schema``.
        form: ``json`` or ``yaml``.
    """
    if form == "yaml":
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)
    else:
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on stdout, cut to the terminal where stdout is one."""
    from placet.cli.table import table_lines, terminal_width

    for line in table_lines(head, rows, width=terminal_width()):
        click.echo(line)


def fail(error: PlacetError) -> NoReturn:
    """Say what went wrong in one sentence and what to do in a second; exit with 2."""
    say_error(error)
    sys.exit(EXIT_USAGE)


def say_error(error: PlacetError) -> None:
    """Say what went wrong in one sentence and what to do in a second."""
    first, *rest = error.lines or (str(error),)
    click.echo(f"{style('error', 'red', bold=True, err=True)}: {safe(first)}", err=True)
    for line in rest:
        click.echo(f"       {safe(line)}", err=True)
    if error.hint:
        click.echo(f"  {safe(error.hint)}", err=True)


__all__ = [
    "EXIT_FINE",
    "EXIT_USAGE",
    "EXIT_VIOLATIONS",
    "fail",
    "print_result",
    "print_table",
    "safe",
    "say",
    "say_error",
    "style",
    "use_colour",
]
