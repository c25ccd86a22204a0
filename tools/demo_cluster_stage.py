"""What the story in a cluster is told with: commands as a person types them, run as they are shown, and held.

A command is shown, run by bash in the folder of the demo, and its output is shown. Each one says how it must end and
what it must have said; a story that goes another way ends at once.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from placet.cli.output import style

COMMAND_TIMEOUT_S: Final = 150.0
POLL_S: Final = 0.2
INDENT: Final = "   "
FEW_LINES: Final = 3


class StoryError(Exception):
    """A step of the story did not give what it must."""


class Stage:
    """A shell in the folder of the demo.

    Example::

        stage = Stage(folder, {"PATH": "/usr/bin", "HOME": str(folder)})
        stage.chapter("The application team deploys")
        stage.run("kubectl apply -f deploy.yaml", expect=1, says=["placet refuses"])
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], *, timeout_s: float = COMMAND_TIMEOUT_S) -> None:
        """Describe the shell.

        Args:
            folder: where commands run.
            environment: all that they see of the environment.
            timeout_s: how long one command may take.
        """
        self._folder = folder
        self._environment = dict(environment)
        self._timeout_s = timeout_s
        self._chapters = 0
        self._told = 0

    def chapter(self, title: str) -> None:
        """Start the next part of the story."""
        self._chapters += 1
        click.echo(style(f"\n{self._chapters}. {title}", "cyan", bold=True))
        self._told = 0

    def tell(self, text: str) -> None:
        """A sentence between two commands."""
        click.echo(f"{INDENT}{text}")
        self._told += 1

    def export(self, **values: str) -> None:
        """Set variables for the commands that follow, as ``export`` in a shell does."""
        assignments = " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
        self._show_command(f"export {assignments}")
        self._told = 0
        self._environment |= values

    def run(self, command: str, *, expect: int = 0, says: Sequence[str] = (), only: Sequence[str] = ()) -> str:
        """Show a command, run it, show what it says, and hold it.

        Args:
            command: a line of bash.
            expect: the exit code that the story needs.
            says: what must stand in its output, standard error included.
            only: show no lines but those with one of these in them.

        Returns:
            all that it said.

        Raises:
            StoryError: it ended otherwise, did not say what it must, or took too long.
        """
        self._show_command(command)
        status, text, _ = self._ask(command)
        lines = excerpt(text.splitlines(), only)
        for line in lines:
            click.echo(f"{INDENT}{line}".rstrip())
        self._told = len(lines)
        self._hold(command, status, text, expect=expect, says=says)
        return text

    def ask(self, command: str) -> str:
        """What a command writes to standard output, without showing it; it must succeed.

        Raises:
            StoryError: it failed or took too long.
        """
        status, text, complaint = self._ask(command, apart=True)
        self._hold(command, status, text + complaint, expect=0, says=())
        return text

    def wait_for(self, what: str, happened: Callable[[], bool], timeout_s: float) -> None:
        """Poll until something happened.

        Raises:
            StoryError: it did not in time.
        """
        end = time.monotonic() + timeout_s
        while not happened():
            if time.monotonic() > end:
                raise StoryError(f"{what}: not after {timeout_s:g} s")
            time.sleep(POLL_S)

    def _show_command(self, command: str) -> None:
        apart = "\n" if self._told > FEW_LINES else ""  # commands that say little stand together
        click.echo(style(f"{apart}{INDENT}$ {command}", "white", bold=True))

    def _hold(self, command: str, status: int, text: str, *, expect: int, says: Sequence[str]) -> None:
        said = f"It said:\n{text.rstrip()}" if text.strip() else "It said nothing."
        if status != expect:
            raise StoryError(f"`{command}` ended with {status}, and the story needs {expect}. {said}")
        for words in says:
            if words not in text:
                raise StoryError(f"`{command}` did not say {words!r}, and the story needs it. {said}")

    def _ask(self, command: str, *, apart: bool = False) -> tuple[int, str, str]:
        """Exit code, standard output, and standard error where it is kept apart."""
        with subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if apart else subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,  # so that whatever it started can be ended with it
        ) as process:
            try:
                said, complained = process.communicate(timeout=self._timeout_s)
            except BaseException as exc:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if isinstance(exc, subprocess.TimeoutExpired):
                    raise StoryError(f"`{command}` did not end within {self._timeout_s:g} s") from exc
                raise
        return process.returncode, said, complained or ""


def excerpt(lines: Sequence[str], only: Sequence[str]) -> list[str]:
    """The lines with one of these texts in them, all without texts; none that are empty."""
    return [line for line in lines if line.strip() and (not only or any(text in line for text in only))]
