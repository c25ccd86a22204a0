"""Which policies and which data the commands of ``placet policy`` judge by."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from placet.config import CONFIG_VARIABLE
from placet.errors import InputError

if TYPE_CHECKING:
    from placet.policy.bundle import Bundle
    from placet.policy.data import PolicyData

_F = TypeVar("_F", bound=Callable[..., Any])
_FILE: Final = click.Path(path_type=Path)
_GIT_S: Final = 30
_SHIPPED: Final = "--diff compares a policy data file with an earlier state of it"


def policy_options(function: _F) -> _F:
    """``--data``, ``--config`` and ``--bundle``."""
    options = (
        click.option("--data", "data_file", type=_FILE, help="Policy data to merge over those that ship."),
        click.option(
            "--config",
            "config_file",
            type=_FILE,
            envvar=CONFIG_VARIABLE,
            show_envvar=True,
            help="The gate's configuration, which names the policy data; --data comes first.",
        ),
        click.option("--bundle", "folder", type=_FILE, help="Folder of a compiled bundle instead of the shipped one."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def find_data_file(data_file: Path | None, config_file: Path | None) -> Path | None:
    """The operator's policy data; None where only the shipped ones are meant.

    Raises:
        ConfigError: the configuration can't be used.
    """
    from placet.config import load_config

    if data_file is not None or config_file is None:
        return data_file
    return load_config(config_file).policy.data


def load_policies(folder: Path | None) -> Bundle:
    """The shipped bundle, or that of a folder.

    Raises:
        EngineError: it can't be used.
    """
    from placet.policy.bundle import load_bundle, shipped_bundle

    return shipped_bundle() if folder is None else load_bundle(folder)


def load_earlier(data_file: Path | None, revision: str) -> PolicyData:
    """The policy data as a revision of git has them.

    Raises:
        InputError: there is no file, no git, or no such revision with this file.
        EngineError: they can't be used.
    """
    from placet.policy.data import merge_policy_data

    if data_file is None:
        raise InputError(_SHIPPED, hint="Name the file with --data.")
    git = shutil.which("git")
    if git is None:
        raise InputError("--diff needs git", hint="Install git, or compare with a copy: --against.")
    if revision.startswith("-"):
        raise InputError(f"{revision!r} is no revision")
    place = ["-C", str(data_file.absolute().parent), "show", f"{revision}:./{data_file.name}"]
    try:
        done = subprocess.run([git, *place], capture_output=True, timeout=_GIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise InputError(f"git does not answer: {type(exc).__name__}") from exc
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise InputError(
            f"git has no {data_file.name} of {revision}: {lines[0].removeprefix('fatal: ')}",
            hint="Name a revision of the repository that the file is in, such as main or HEAD~1.",
        )
    return merge_policy_data(done.stdout, name=f"{data_file} at {revision}")
