"""Options that say what to trust: a configuration file, or keyring and roots by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from placet.approvals.keyring import VerifiedKeyring, load_keyring, load_roots, verify_keyring
from placet.approvals.revocations import Revocations, load_revocations
from placet.config import CONFIG_VARIABLE, load_config
from placet.errors import InputError

_F = TypeVar("_F", bound=Callable[..., Any])


def config_option(function: _F) -> _F:
    """``--config``: where keyring, roots, policy data and the cluster's name come from."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        default=Path("placet.yaml"),
        show_default=True,
        envvar=CONFIG_VARIABLE,
        help="The gate's configuration: keyring, roots, policy data, cluster name.",
    )(function)


def roots_options(function: _F) -> _F:
    """``--root`` and ``--threshold``."""
    function = click.option(
        "--threshold",
        type=click.IntRange(min=1),
        help="How many roots must have signed; all that are named by default.",
    )(function)
    return click.option(
        "--root",
        "roots",
        multiple=True,
        type=click.Path(path_type=Path),
        help="PEM file of a root's public key, or a folder of them (repeatable).",
    )(function)


def trust_options(function: _F) -> _F:
    """``--config``, or ``--keyring`` with roots, ``--revocations`` and ``--cluster``."""
    for option in (
        click.option("--cluster", default="", help="The cluster's name; the configuration's by default."),
        click.option("--revocations", type=click.Path(path_type=Path), help="Folder of signed revocations."),
        roots_options,
        click.option("--keyring", "keyring_file", type=click.Path(path_type=Path), help="The signed keyring."),
        config_option,
    ):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Trust:
    """What a command verifies with.

    Attributes:
        keyring: verified.
        revocations: verified.
        cluster: "" when it was not named.
    """

    keyring: VerifiedKeyring
    revocations: Revocations
    cluster: str


def load_trust(
    *,
    now: datetime,
    config_file: Path,
    keyring_file: Path | None,
    roots: tuple[Path, ...],
    threshold: int | None,
    revocations: Path | None,
    cluster: str,
) -> Trust:
    """Verify the keyring and the revocations that the options name.

    Raises:
        InputError: no keyring is named and there is no configuration.
        KeyringError: keyring or revocations can't be trusted or read.
        ConfigError: the configuration can't be used.
    """
    if keyring_file is None:
        if not config_file.exists():
            raise InputError(
                f"no keyring is named, and there is no {config_file}",
                hint="Name one with --keyring FILE --root FILE, or a configuration with --config.",
            )
        config = load_config(config_file)
        keyring_file, roots, threshold = config.keyring_file, config.root_files, config.root_threshold
        revocations, cluster = revocations or config.revocations, cluster or config.cluster
    pinned = load_roots(roots)
    keyring = verify_keyring(
        load_keyring(keyring_file),
        roots=pinned,
        threshold=threshold or len({root.fingerprint for root in pinned}),
        now=now,
    )
    found = Revocations.none() if revocations is None else load_revocations(revocations, keyring=keyring)
    return Trust(keyring, found, cluster)
