"""Where passphrases and PINs come from: a file, the environment, or a person at a terminal. Never an argument."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from placet.approvals.signing import SecretsSource
from placet.errors import SigningKeyError

PASSPHRASE_VARIABLE: Final = "PLACET_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable
_HINT: Final = f"Run it on a terminal, set {PASSPHRASE_VARIABLE}, or name a file with --passphrase-file."
_F = TypeVar("_F", bound=Callable[..., Any])


def passphrase_option(function: _F) -> _F:
    """``--passphrase-file``, for commands that open or make a private key."""
    return click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help=f"File whose first line is the key's passphrase; {PASSPHRASE_VARIABLE} or a prompt otherwise.",
    )(function)


def ask_secret(name: str) -> str:
    """A passphrase from the environment, or any secret from a person.

    Raises:
        SigningKeyError: nobody can be asked.
    """
    variable = os.environ.get(PASSPHRASE_VARIABLE)
    if variable is not None and name.startswith("passphrase"):
        return variable
    _require_terminal(name)
    return str(click.prompt(name.capitalize(), hide_input=True, err=True))


def secrets_from(passphrase_file: Path | None) -> SecretsSource:
    """What gives secrets to a signer: the file's first line where a file is named, else ``ask_secret``."""
    if passphrase_file is None:
        return ask_secret
    passphrase = _first_line(passphrase_file)
    return lambda name: passphrase if name.startswith("passphrase") else ask_secret(name)


def new_passphrase(passphrase_file: Path | None) -> str:
    """A passphrase for a new key; a person types it twice.

    Raises:
        SigningKeyError: it is empty, or nobody can be asked.
    """
    variable = os.environ.get(PASSPHRASE_VARIABLE)
    if passphrase_file is not None:
        passphrase = _first_line(passphrase_file)
    elif variable is not None:
        passphrase = variable
    else:
        _require_terminal("passphrase")
        passphrase = str(click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True))
    if not passphrase:
        raise SigningKeyError("the passphrase is empty", hint="Choose one, or say --no-passphrase.")
    return passphrase


def _first_line(file: Path) -> str:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise SigningKeyError(f"can't read the passphrase file {file}") from exc
    return lines[0] if lines else ""


def _require_terminal(name: str) -> None:
    if not sys.stdin.isatty():
        raise SigningKeyError(f"the {name} is needed and nobody is there to be asked", hint=_HINT)
