"""The help of every command: complete, in one form, and true. Found by walking the command line itself."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from placet.cli import _PLUGGED, root
from placet.cli.group import Group, LazyGroup
from tools.docs import find_unknown_commands

WIDTH = 80


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(command, info_name=path[-1] if path else "placet")
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, (*path, name))


COMMANDS = {" ".join(path): command for path, command in walk(root)}
every_command = pytest.mark.parametrize("name", COMMANDS)


def text(name: str) -> str:
    return str(COMMANDS[name].help)


def shown(name: str) -> str:
    done = CliRunner().invoke(root, [*name.split(), "--help"], prog_name="placet")
    assert done.exit_code == 0
    return done.stdout


def examples(name: str) -> list[str]:
    found = re.search(r"^Examples?\b[^\n]*:\n((?:  .+\n?)+)", text(name), re.MULTILINE)
    assert found is not None, f"{name} has no examples"
    joined = found[1].replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip()]


def test_there_are_all_the_commands_that_there_should_be() -> None:
    assert {"plan", "approve", "verify", "audit verify", "config check", "completion", "help", "serve"} <= set(COMMANDS)
    assert len(COMMANDS) > 35


@every_command
def test_the_first_sentence_fits_a_line_of_a_list(name: str) -> None:
    first = text(name).split("\n\n")[0]
    assert "\n" not in first
    assert first.endswith(".")
    assert len(first) <= WIDTH + 10
    assert COMMANDS[name].get_short_help_str(200) == first


@every_command
def test_it_says_more_than_its_first_sentence(name: str) -> None:
    assert len(text(name).split("\n\n")) >= 3


@every_command
def test_every_option_has_a_help_text_and_every_argument_is_told(name: str) -> None:
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.help[0].isupper()
            assert parameter.help.endswith("."), parameter.help


@every_command
def test_examples_parse(name: str) -> None:
    lines = examples(name)
    assert lines
    document = "```sh\n" + "\n".join(lines) + "\n```\n"
    assert find_unknown_commands(document, root) == []
    for line in lines:
        shlex.split(line)
    if name:
        assert any(f"placet {name}" in line for line in lines), "at least one is of this command"


@every_command
def test_environment_variables_of_options_are_explained(name: str) -> None:
    for parameter in COMMANDS[name].params:
        for variable in [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or ():
            assert re.search(rf"^  {variable} ", text(name), re.MULTILINE), f"{variable} is not explained"


@every_command
def test_what_it_refers_to_exists(name: str) -> None:
    found = re.search(r"^See also: (.+)", text(name), re.MULTILINE)
    assert found is not None
    for command in re.findall(r"\bplacet ((?:[a-z-]+ ?)+)", found[1]):
        words = command.split()
        known = " ".join(words[:2]) in COMMANDS or words[0] in COMMANDS
        assert known, command


@every_command
def test_help_is_the_same_by_both_ways_and_no_line_is_broken(name: str) -> None:
    assert CliRunner().invoke(root, ["help", *name.split()], prog_name="placet").stdout == shown(name)
    assert "\\b" not in shown(name)
    for line in examples(name) if "\\\n" not in text(name) else []:
        assert line in shown(name)


@every_command
def test_groups_suggest_what_was_nearly_typed(name: str) -> None:
    command = COMMANDS[name]
    if not isinstance(command, click.Group):
        return
    assert isinstance(command, Group)
    known = command.list_commands(click.Context(command))[0]
    done = CliRunner().invoke(root, [*name.split(), f"{known}x"], prog_name="placet")
    assert done.exit_code == 2
    assert f"Did you mean {known}" in done.stderr
    nothing = CliRunner().invoke(root, [*name.split(), "qqqqqqq"], prog_name="placet")
    assert "There are: " in nothing.stderr


def test_a_mistyped_option_is_suggested() -> None:
    done = CliRunner().invoke(root, ["plan", "--filenam", "x"], prog_name="placet")
    assert done.exit_code == 2
    assert "--filename" in done.stderr


def test_sentences_of_the_list_are_the_commands_own() -> None:
    assert isinstance(root, LazyGroup)
    for name, lazy in root.lazy.items():
        assert lazy.summary == text(name).split("\n\n")[0], name


def test_the_commands_of_other_layers_are_those_that_are_announced() -> None:
    assert {point.name for point in importlib.metadata.entry_points(group="placet.commands")} == set(_PLUGGED)


def test_help_of_what_does_not_exist_is_refused() -> None:
    for words in (["plna"], ["audit", "verfy"], ["plan", "x"]):
        done = CliRunner().invoke(root, ["help", *words], prog_name="placet")
        assert done.exit_code == 2
        assert done.stdout == ""
