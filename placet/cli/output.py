"""What every command shares: machine output alone on stdout, words for people on stderr, safe text, exit codes."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Final, NoReturn

import click
import yaml

from placet.errors import PlacetError
from placet.text import safe

EXIT_FINE: Final = 0
EXIT_VIOLATIONS: Final = 1
EXIT_USAGE: Final = 2


def use_colour(stream: Any) -> bool:
    """Whether the stream is a terminal and NO_COLOR is not set (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and bool(stream.isatty())


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
        value: JSON value.
        form: ``json`` or ``yaml``.
    """
    if form == "yaml":
        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)
    else:
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def fail(error: PlacetError) -> NoReturn:
    """Say what went wrong in one sentence and what to do in a second; exit with 2."""
    click.echo(f"{style('error', 'red', bold=True, err=True)}: {safe(error)}", err=True)
    if error.hint:
        click.echo(f"  {safe(error.hint)}", err=True)
    sys.exit(EXIT_USAGE)


__all__ = ["EXIT_FINE", "EXIT_USAGE", "EXIT_VIOLATIONS", "fail", "print_result", "safe", "say", "style", "use_colour"]
