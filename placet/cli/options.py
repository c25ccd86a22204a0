"""Options that several commands share, each said once. Nothing here is slow to import: help and completion need it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from placet.audit.location import is_url, parse_location
from placet.cli.complete import (
    complete_context,
    complete_environment,
    complete_target,
)
from placet.config import CONFIG_VARIABLE

NO_NAMESPACE: Final = "default"
MOMENTS: Final = [
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S.%fZ",
    "%Y-%m-%dT%H:%M:%S%z",
]
_F = TypeVar("_F", bound=Callable[..., Any])
_FILE: Final = click.Path(path_type=Path)


class StoreParam(click.Path):
    """A record: the path of a file, or the address of a database without a password."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See ``click.ParamType``.

        Raises:
            InputError: the address holds a password, or says what it may not.
        """
        return parse_location(value) if isinstance(value, str) and is_url(value) else super().convert(value, param, ctx)


def _apply(function: _F, options: tuple[Callable[[Any], Any], ...]) -> _F:
    for option in reversed(options):
        function = option(function)
    return function


def output_option(*forms: str) -> Callable[[_F], _F]:
    """``-o/--output``, ``text`` first and by default."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(("text", *forms)),
        default="text",
        show_default=True,
        help="How to print it. What programs read stands alone on stdout, and words for people on stderr.",
    )


def effective_time_option(function: _F) -> _F:
    """``--effective-time``; the function gets ``effective_time``."""
    return click.option(
        "--effective-time",
        type=MomentParam(),
        help="Judge with the rules that are in force on this day: one that is announced for later warns. Approvals and "
        "evidence are judged as of now. By default the moment of the request.",
    )(function)


class MomentParam(click.DateTime):
    """A date, or a date and time of RFC 3339; UTC unless it says otherwise."""

    def __init__(self) -> None:
        super().__init__(MOMENTS)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - as click calls it
        """Not the formats: whoever reads a help knows a date by what it is."""
        return "DAY"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """See ``click.ParamType``; aware UTC."""
        try:
            found: datetime = super().convert(value, param, ctx)
            return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
        except (click.BadParameter, OverflowError):
            known = "a date, such as 2027-01-31, nor a date and a time, such as 2027-01-31T09:00:00Z"
            self.fail(f"{value!r} is neither {known}.", param, ctx)


def config_option_for(meaning: str) -> Callable[[_F], _F]:
    """``--config``, with what a command takes from it as its help."""
    return click.option(
        "--config",
        "config_file",
        type=_FILE,
        default=Path("placet.yaml"),
        show_default=True,
        envvar=CONFIG_VARIABLE,
        show_envvar=True,
        help=meaning,
    )


def config_option(function: _F) -> _F:
    """``--config``: where keyring, roots, policy data and the cluster's name come from."""
    return config_option_for("The gate's configuration: keyring, roots, policy data, cluster name.")(function)


def kinds_option(function: _F) -> _F:
    """``--config`` of commands that need only its kinds, and can do without."""
    return click.option(
        "--config",
        "config_file",
        type=_FILE,
        default=None,
        envvar=CONFIG_VARIABLE,
        show_envvar=True,
        help="The gate's configuration, whose policy data name custom resources. placet.yaml where it is there, else "
        "the kinds that ship.",
    )(function)


def roots_options(function: _F) -> _F:
    """``--root`` and ``--threshold``."""
    return _apply(
        function,
        (
            click.option(
                "--root",
                "roots",
                multiple=True,
                type=_FILE,
                help="PEM file of a root's public key, or a folder of them (repeatable).",
            ),
            click.option(
                "--threshold",
                type=click.IntRange(min=1),
                help="How many roots must have signed; all that are named by default.",
            ),
        ),
    )


def trust_options(function: _F) -> _F:
    """``--config``, or ``--keyring`` with roots, ``--revocations`` and ``--cluster``."""
    return _apply(
        function,
        (
            config_option,
            click.option("--keyring", "keyring_file", type=_FILE, help="The signed keyring."),
            roots_options,
            click.option("--revocations", type=_FILE, help="Folder of signed revocations."),
            click.option("--cluster", default="", help="The cluster's name; the configuration's by default."),
        ),
    )


def filename_option(*, required: bool) -> Callable[[_F], _F]:
    """``-f/--filename``, as kubectl has it."""
    return click.option(
        "-f",
        "--filename",
        "filenames",
        multiple=True,
        required=required,
        metavar="FILE",
        type=click.Path(),
        help="A file, a folder or - for standard input (repeatable).",
    )


def namespace_option(function: _F) -> _F:
    """``-n/--namespace``."""
    return click.option(
        "-n",
        "--namespace",
        help=f"Namespace of objects that name none; the context's where a cluster is asked, else {NO_NAMESPACE}.",
    )(function)


def environment_option(*, required: bool) -> Callable[[_F], _F]:
    """``-e/--environment``."""
    label = "" if required else " By default the label placet.dev/environment of a live object's namespace."
    return click.option(
        "-e",
        "--environment",
        required=required,
        shell_complete=complete_environment,
        help=f"Where it is going: production, staging, development.{label}",
    )


def cluster_options(function: _F) -> _F:
    """``--kubeconfig`` and ``--context``."""
    return _apply(
        function,
        (
            click.option("--kubeconfig", type=_FILE, help="Clusters to ask; KUBECONFIG or ~/.kube/config by default."),
            click.option(
                "--context", "context", default="", shell_complete=complete_context, help="The context to use of it."
            ),
        ),
    )


def workload_options(function: _F) -> _F:
    """Workloads from files, or ``KIND/NAME`` from a cluster."""
    return _apply(
        function,
        (
            click.argument("targets", nargs=-1, metavar="[KIND/NAME]...", shell_complete=complete_target),
            filename_option(required=False),
            namespace_option,
            cluster_options,
        ),
    )


def situation_options(function: _F) -> _F:
    """What says where a workload is going, and what is known there: for commands that judge."""
    return _apply(
        function,
        (
            config_option,
            click.option(
                "--record",
                type=StoreParam(),
                help="A record, to know whether the model was here before.",
            ),
            click.option("--as", "requester", default="", help="Who will apply it, as the cluster knows them."),
        ),
    )


def write_option(function: _F) -> _F:
    """``--write`` of commands that make one annotation."""
    return click.option(
        "--write",
        "form",
        type=click.Choice(["manifest", "patch"]),
        default="manifest",
        show_default=True,
        help="Into the manifest, or a merge patch on stdout.",
    )(function)


def yes_option(function: _F) -> _F:
    """``--yes``."""
    return click.option("--yes", is_flag=True, help="Sign without asking.")(function)


def key_options(function: _F) -> _F:
    """``--key`` and ``--public-key``: whoever signs."""
    return _apply(
        function,
        (
            click.option(
                "--key",
                "key_uri",
                required=True,
                metavar="KEY",
                type=click.Path(),
                help="Your key: a file, or an awskms:, gcpkms:, azurekms:, hsm: or hv: URI.",
            ),
            click.option("--public-key", type=_FILE, help="Its public key (PEM); needed for keys that are no files."),
        ),
    )
