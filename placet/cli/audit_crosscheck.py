"""Options of ``placet audit verify`` that name an API server's audit log, and the log that they name, loaded."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from placet.audit.checkpoint import verify_checkpoint
from placet.audit.depth import Depth
from placet.audit.findings import Verification
from placet.audit.location import StoreLocation
from placet.audit.note import VerifierKey
from placet.audit.person_keys import Opener
from placet.audit.resume import Prefix, load_state, write_state
from placet.audit.verify import verify_file
from placet.audit.witness import Witness
from placet.cli.output import safe, say
from placet.cli.progress import Progress
from placet.errors import FormatError, TamperError

_F = TypeVar("_F", bound=Callable[..., Any])
MOMENTS: Final = [
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S.%fZ",
    "%Y-%m-%dT%H:%M:%S%z",
]


@dataclass(frozen=True, slots=True)
class CrossOptions:
    """What the options say.

    Attributes:
        files: of the audit log; empty where nothing is to be compared.
        governed: namespaces; empty for those in which the gate was asked.
        opener: opens names of persons in the record; None to leave them sealed, and not to compare them.
    """

    files: tuple[Path, ...]
    governed: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    opener: Opener | None = None


def crosscheck_options(function: _F) -> _F:
    """``--apiserver-log`` and what goes with it."""
    options = (
        click.option(
            "--apiserver-log",
            "apiserver_logs",
            multiple=True,
            type=click.Path(path_type=Path),
            help="Audit log of a kube-apiserver to hold the record against, JSON lines, gzip or not; repeatable: give "
            "the rotated files too, and those of every API server.",
        ),
        click.option(
            "--governed",
            multiple=True,
            metavar="NAMESPACE",
            help="A namespace whose workloads the gate is asked about; repeatable. By default each one from the first "
            "request on that the gate recorded.",
        ),
        click.option(
            "--apiserver-since", type=click.DateTime(MOMENTS), help="Leave out what the API server was asked before."
        ),
        click.option(
            "--apiserver-until", type=click.DateTime(MOMENTS), help="Leave out what it was asked from then on."
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def read_cross_options(
    apiserver_logs: Sequence[Path],
    governed: Sequence[str],
    apiserver_since: datetime | None,
    apiserver_until: datetime | None,
    resume: Path | None,
    jobs: int,
    depth: str = Depth.ALL.value,
) -> CrossOptions:
    """The options together, but for ``--resume``, ``--jobs`` and ``--depth``, which go with none of them.

    Raises:
        click.UsageError: one was given that needs --apiserver-log, without it; or --resume or --jobs with it;
            or --depth with --resume or with it.
    """
    if not apiserver_logs and (governed or apiserver_since or apiserver_until):
        raise click.UsageError("--governed, --apiserver-since and --apiserver-until go with --apiserver-log")
    if apiserver_logs and resume is not None:
        raise click.UsageError("--apiserver-log needs every leaf, and --resume leaves out what was read before")
    if apiserver_logs and jobs > 1:
        raise click.UsageError("--apiserver-log needs the leaves in order, and --jobs reads them out of it")
    if depth != Depth.ALL.value and apiserver_logs:
        raise click.UsageError("--apiserver-log needs what the leaves say: leave out --depth")
    if depth != Depth.ALL.value and resume is not None:
        raise click.UsageError(
            "--resume would take what was verified in part for verified: leave out --depth, or --resume"
        )
    return CrossOptions(tuple(apiserver_logs), tuple(governed), aware(apiserver_since), aware(apiserver_until))


def aware(moment: datetime | None) -> datetime | None:
    """In UTC where it does not say otherwise."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


@contextlib.contextmanager
def open_witness(asked: CrossOptions, keys: Sequence[VerifierKey]) -> Iterator[Witness | None]:
    """The audit log, loaded before the record is opened, so that it tells of nothing that the record can't have yet.

    Raises:
        InputError: a file can't be read, or there is nothing in them.
    """
    if not asked.files:
        yield None
        return
    from placet.policy.data import load_policy_data  # nobody else who verifies needs the policies

    registered = load_policy_data(None).kinds.custom
    kinds = {(kind.group, kind.resource): kind.name for kind in registered}
    kinds |= {(kind.group, f"{kind.resource}/scale"): kind.name for kind in registered if kind.scale}
    with Witness(keys, kinds=kinds, since=asked.since, until=asked.until, opener=asked.opener) as witness:
        with Progress("lines of the audit log") as progress:
            witness.load(asked.files, progress=progress)
        yield witness


resume_option: Final = click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="STATE",
    help="Go on after the leaves that an earlier run has verified, and keep in this file how far it came; leaves "
    "before that are not read again.",
)


jobs_option: Final = click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that read the leaves of a store; the answer is the same with any number. Not with --apiserver-log, "
    "which needs them in order.",
)


depth_option: Final = click.option(
    "--depth",
    type=click.Choice([depth.value for depth in Depth]),
    default=Depth.ALL.value,
    show_default=True,
    help="What is verified: that the leaves are what was signed; also their form, their search columns and "
    "attachments, and the pages of a file; or also what records are found by, which tiles don't have. Less than all "
    "goes without --resume and --apiserver-log.",
)


def find_prefix(resume: Path | None, keys: Sequence[VerifierKey], saved: Sequence[tuple[str, bytes]]) -> Prefix | None:
    """Where to go on; None to begin with the first leaf, as a saved checkpoint of fewer leaves makes it.

    Raises:
        InputError: the state file can't be read, or does not prove what it says.
    """
    prefix = None if resume is None else load_state(resume, keys)
    if prefix is None:
        return None
    for name, raw in saved:
        try:
            smaller = verify_checkpoint(raw, keys).size < prefix.tree.size
        except (FormatError, TamperError):
            return prefix  # the verifier says what is wrong with it
        if smaller:
            say(f"{safe(name)} is of fewer leaves than {resume}: verifying from the first leaf")
            return None
    return prefix


def verify_stored(
    file: StoreLocation,
    keys: Sequence[VerifierKey],
    checkpoints: Sequence[tuple[str, bytes]],
    asked: CrossOptions,
    resume: Path | None,
    jobs: int,
    depth: Depth,
) -> Verification:
    """Verify a store as the options of ``placet audit verify`` say; raises as ``verify_file`` does."""
    keep = None if resume is None else functools.partial(write_state, resume)
    prefix = find_prefix(resume, keys, checkpoints)
    with open_witness(asked, keys) as witness, Progress("leaves") as progress:
        return verify_file(
            file,
            keys,
            saved=checkpoints,
            progress=progress,
            witness=witness,
            governed=asked.governed,
            prefix=prefix,
            keep=keep,
            jobs=jobs,
            depth=depth,
        )
