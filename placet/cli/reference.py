"""The page of every command, made from the commands themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Final

import click

_BLOCK: Final = "\b"
_SECTION: Final = re.compile(r"(?P<title>[A-Z][\w ,]*):(?P<rest>.*)")


def render_commands(root: click.Command) -> str:
    """A section for each command, in the order of the list that ``placet --help`` shows; for docs/commands.md."""
    return "\n".join(line for path, command in _walk(root, ()) for line in _section(path, command)) + "\n"


def _walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is None:
                raise LookupError(name)
            yield from _walk(found, (*path, name))


def _section(path: tuple[str, ...], command: click.Command) -> Iterator[str]:
    name = " ".join(("placet", *path))
    context = click.Context(command, info_name=name)
    yield f"## {name}"
    yield ""
    summary, *paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    yield summary
    yield ""
    yield f"    {name} {' '.join(command.collect_usage_pieces(context))}".rstrip()
    yield ""
    for paragraph in paragraphs:
        yield from _paragraph(paragraph)
        yield ""
    yield from _options(command, context)
    yield ""


def _paragraph(text: str) -> Iterator[str]:
    if not text.startswith(_BLOCK):
        yield from text.splitlines()
        return
    head, *lines = text.removeprefix(_BLOCK).strip("\n").splitlines()
    found = _SECTION.fullmatch(head)
    if found is None:
        raise ValueError(f"a block without a title: {head}")
    if not lines:
        yield f"{found['title']}:{_linked(found['rest'])}"
        return
    title = found["title"]
    yield f"{title}:"
    yield ""
    yield "```sh" if "xample" in title or "shell" in title else "```"
    yield from (line.removeprefix("  ") for line in lines)
    yield "```"


def _linked(text: str) -> str:
    """Pages as links, and commands as code."""
    linked = re.sub(r"docs/([\w-]+\.md)", r"[\1](\1)", text)
    return re.sub(r"((?:placet|kubectl) [a-z-]+(?: (?!finds|shows)[a-z-]+)?)(?=[,;]|$| )", r"`\1`", linked)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    rows = [record for record in records if record is not None and not record[0].endswith("--help")]
    if rows:
        yield "| option | meaning |"
        yield "|---|---|"
    for names, meaning in rows:
        shown = re.sub(r"\s+", " ", meaning).replace("|", "\\|")
        yield f"| `{names.replace('|', chr(92) + '|')}` | {shown} |"
