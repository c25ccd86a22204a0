"""The process around a command: its streams, its exit code, and how it ends when it is interrupted or not heard."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

import click
from click.exceptions import NoArgsIsHelpError

from placet.cli.output import EXIT_FINE, EXIT_USAGE, fail, safe
from placet.errors import InputError, PlacetError

DEBUG_VARIABLE: Final = "PLACET_DEBUG"
COMPLETE_VARIABLE: Final = "_PLACET_COMPLETE"
EXIT_INTERRUPTED: Final = 128 + signal.SIGINT
EXIT_NOT_HEARD: Final = 128 + signal.SIGPIPE


class NotHeardError(Exception):
    """Whoever read the output has gone."""


@contextlib.contextmanager
def told_from_answers() -> Iterator[None]:
    """Keep a broken pipe from click, which would end with 1: to us that is an answer, "there are violations".

    Raises:
        NotHeardError: in its place.
    """
    try:
        yield
    except BrokenPipeError as exc:
        raise NotHeardError from exc


def run(command: click.Command, *, program: str) -> NoReturn:
    """Run the command line and end the process.

    The exit code is 0, 1 or 2 as the command says; 130 after Ctrl-C, 141 when whoever reads the output has gone: what
    a program is given that ends by SIGINT or SIGPIPE, so that nobody takes it for an answer.
    """
    run_step(lambda: _invoke(command, program))


def run_step(step: Callable[[], int]) -> NoReturn:
    """Run what gives an exit code, and end the process."""
    _prepare_streams()
    code = _guard(step)
    code = _guard(_flush) or code
    _close(code)


def _invoke(command: click.Command, program: str) -> int:
    try:
        found = command.main(prog_name=program, standalone_mode=False, complete_var=COMPLETE_VARIABLE)
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else EXIT_FINE if exc.code is None else EXIT_USAGE
    return found if type(found) is int else EXIT_FINE


def _flush() -> int:
    sys.stdout.flush()
    return EXIT_FINE


def _guard(step: Callable[[], int]) -> int:
    """The step's exit code; what it raises becomes a sentence on stderr and an exit code."""
    try:
        try:
            return step()
        except (BrokenPipeError, NotHeardError):
            return EXIT_NOT_HEARD
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
        except click.Abort as exc:
            return _aborted(exc)
        except click.ClickException as exc:
            _show(exc)
            return EXIT_USAGE
        except PlacetError as exc:
            fail(exc)
        except OSError as exc:
            fail(_system_error(exc))
        except Exception as exc:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            fail(_internal_error(exc))
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else EXIT_USAGE
    except BrokenPipeError:
        return EXIT_NOT_HEARD


def _show(exc: click.ClickException) -> None:
    """What click says, without what could drive the terminal: it quotes what was typed."""
    if isinstance(exc, NoArgsIsHelpError):
        exc.show()
        return
    message = "\n".join(safe(line) for line in exc.format_message().splitlines())
    shown = click.UsageError(message, exc.ctx) if isinstance(exc, click.UsageError) else click.ClickException(message)
    shown.show()


def _aborted(exc: click.Abort) -> int:
    """A person pressed Ctrl-C, or closed the input of a question (Ctrl-D)."""
    if isinstance(exc.__context__, EOFError) or isinstance(exc.__cause__, EOFError):
        fail(InputError("there was no answer, so nothing was done"))
    return EXIT_INTERRUPTED


def _system_error(exc: OSError) -> PlacetError:
    where = f"{os.fsdecode(exc.filename)}: " if isinstance(exc.filename, str | bytes) else ""
    return InputError(f"{where}{exc.strerror or type(exc).__name__}", code="system_error")


def _internal_error(exc: Exception) -> PlacetError:
    return PlacetError(
        f"internal error: {type(exc).__name__}",
        hint=f"This is a fault of placet: set {DEBUG_VARIABLE}=1 to see where, and report it.",
    )


def _prepare_streams() -> None:
    """UTF-8 whatever the locale; a file name that is no UTF-8 is shown escaped, not refused."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Callable[..., Any] | None = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="backslashreplace")


def _close(code: int) -> NoReturn:
    """End without a second complaint about a stream that nobody reads."""
    if code == EXIT_NOT_HEARD:
        with contextlib.suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
    sys.exit(code)
