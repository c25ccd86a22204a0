"""``placet audit archive`` and ``placet audit restore``: a log in a bucket whose objects are locked, and out of it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from placet.audit.archive.bucket import Bucket, is_bucket, open_bucket
from placet.audit.archive.restore import ArchiveSource, FolderSource, restore
from placet.audit.archive.upload import Archived, lock_date, require_lock, write_archive
from placet.audit.archive.verify import verify_archive
from placet.audit.archive.watch import Exporter, newest_exported
from placet.audit.depth import Depth
from placet.audit.findings import Verification
from placet.audit.location import StoreLocation, open_reader, open_store
from placet.audit.note import VerifierKey
from placet.cli.options import StoreParam, output_option
from placet.cli.output import print_result, safe, say
from placet.cli.progress import Progress
from placet.cli.record_source import find_store, log_keys_option, read_keys, record_options
from placet.errors import AuditError, TamperError

ARCHIVED_SCHEMA: Final = "placet.dev/audit-archive/v1"
RESTORED_SCHEMA: Final = "placet.dev/audit-restore/v1"
TEN_YEARS: Final = 3653
POLL_S: Final = 10.0
_DAY_S: Final = 86400
_F = TypeVar("_F", bound=Callable[..., Any])


def server_options(function: _F) -> _F:
    """Which S3 server, where it is not the one that AWS_... say."""
    for option in (
        click.option(
            "--ca-file",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="Authority of the server's certificate.",
        ),
        click.option("--region", default="", help="Region of the bucket; by default AWS_REGION."),
        click.option("--endpoint-url", default="", metavar="URL", help="S3 server; by default AWS_ENDPOINT_URL."),
    ):
        function = option(function)
    return function


@click.command("archive")
@record_options
@click.argument("url", metavar="s3://BUCKET/PREFIX")
@log_keys_option(required=True)
@click.option(
    "--lock-days",
    type=click.IntRange(min=1, max=36525),
    default=TEN_YEARS,
    show_default=True,
    help="Days for which nobody can remove what is archived now.",
)
@click.option("--unlocked", is_flag=True, help="Archive into a bucket that can't lock; what is in it can be removed.")
@click.option("--watch", is_flag=True, help="Go on: every new checkpoint within seconds, the archive once a day.")
@server_options
@output_option("json", "yaml")
def archive(
    store: StoreLocation | None,
    config_file: Path,
    url: str,
    log_keys: tuple[str, ...],
    lock_days: int,
    unlocked: bool,
    watch: bool,
    endpoint_url: str,
    region: str,
    ca_file: Path | None,
    output: str,
) -> None:
    r"""Archive the record in an S3 bucket, locked so that not even its owner can shorten it.

    Leaves as C2SP tlog-tiles, attachments, checkpoints, and a manifest of each run that names the one before. Objects
    are locked in compliance mode; attachments that may have to be erased are not. Goes on from what is there, and may
    be stopped at any moment. Run it daily, or keep it running with --watch.

    \b
    Examples:
      placet audit archive s3://records/prod --store record.sqlite --log-key keys/log.vkey
      placet audit archive s3://records/prod --log-key keys/log.vkey --lock-days 2557
      placet audit archive s3://records/prod --log-key keys/log.vkey --endpoint-url https://s3.example.org --watch

    \b
    Exit codes:
      0  archived; with --watch, stopped
      2  not: the bucket can't lock, can't be reached, or has another history than the record

    \b
    Environment:
      PLACET_AUDIT_STORE  the record, instead of --store
      PLACET_CONFIG       the configuration file, instead of --config
      AWS_...             credentials, AWS_REGION, AWS_ENDPOINT_URL, AWS_CA_BUNDLE: as boto3 reads them

    \b
    See also: placet audit verify --tiles, placet audit restore, docs/operations.md
    """
    bucket = open_bucket(url, endpoint_url=endpoint_url, region=region, ca_file=ca_file)
    keys, location = read_keys(log_keys), find_store(store, config_file)
    if unlocked:
        say("WARNING: nothing is locked: whoever may write to this bucket can remove or replace the archive.")
    else:
        require_lock(bucket)
    run = partial(_archive, bucket, location, keys, None if unlocked else lock_days)
    if not watch:
        _print_archived(bucket, run(), output)
        return
    _watch(bucket, location, keys, None if unlocked else lock_days, run, output)


def _archive(bucket: Bucket, location: StoreLocation, keys: list[VerifierKey], lock_days: int | None) -> Archived:
    now = datetime.now(UTC)
    until = None if lock_days is None else lock_date(now, lock_days)
    with Progress("leaves") as progress:
        return write_archive(
            bucket, partial(open_reader, location), keys, locked_until=until, now=now, progress=progress
        )


def _watch(
    bucket: Bucket,
    location: StoreLocation,
    keys: list[VerifierKey],
    lock_days: int | None,
    run: Callable[[], Archived],
    output: str,
) -> None:
    """Until somebody ends it. What can't be reached is tried again; what is not the log's ends it."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopped.set())
    exporter: Exporter | None = None
    due, failing = time.monotonic(), ""
    while not stopped.is_set():
        try:
            if exporter is None:
                exporter = Exporter(bucket, keys, after=newest_exported(bucket))
            until = None if lock_days is None else lock_date(datetime.now(UTC), lock_days)
            with open_reader(location) as reader:
                exporter.export(reader, until)
            if time.monotonic() >= due:
                _print_archived(bucket, run(), output)
                due = time.monotonic() + _DAY_S
            failing = ""
        except TamperError:
            raise
        except AuditError as exc:
            if str(exc) != failing:
                say(f"{safe(str(exc))}. Tried again every {POLL_S:.0f} s. {safe(exc.hint)}")
            failing = str(exc)
        stopped.wait(POLL_S)


def _print_archived(bucket: Bucket, done: Archived, output: str) -> None:
    until = "" if done.locked_until is None else done.locked_until.strftime("%Y-%m-%dT%H:%M:%SZ")
    if output != "text":
        value = {
            "schema": ARCHIVED_SCHEMA,
            "origin": done.origin,
            "before": done.before,
            "size": done.size,
            "manifests": done.manifests,
            "objects": done.objects,
            "locked_until": until,
        }
        print_result(value, output)
    elif not done.manifests:
        click.echo(safe(f"{done.size} leaves of {done.origin} are archived in {bucket} already"))
    else:
        words = f"locked until {until[:10]}" if until else "not locked"
        click.echo(
            safe(
                f"archived {done.size} leaves of {done.origin}, {done.size - done.before} of them new, "
                f"as {done.objects} objects in {bucket}, {words}"
            )
        )


@click.command("restore")
@click.argument("source", metavar="s3://BUCKET/PREFIX")
@click.argument("target", metavar="STORE", type=StoreParam())
@log_keys_option(required=True)
@server_options
@output_option("json", "yaml")
def restore_store(
    source: str,
    target: StoreLocation,
    log_keys: tuple[str, ...],
    endpoint_url: str,
    region: str,
    ca_file: Path | None,
    output: str,
) -> None:
    r"""Make a store of an archive alone, and prove that it is the same log.

    STORE is a file that is made, or a database with the tables of `placet audit init-store`. Every leaf, attachment and
    checkpoint is held against what the log's key has signed, and the store is read again at the end. May be stopped and
    run again. A folder of `placet audit tiles` can be named too; it has no attachments.

    \b
    Examples:
      placet audit restore s3://records/prod record.sqlite --log-key keys/log.vkey
      placet audit restore tiles record.sqlite --log-key keys/log.vkey

    \b
    Exit codes:
      0  restored, and the same
      2  not: the archive is not what was signed, the store has something else, or one of them can't be reached

    \b
    Environment:
      AWS_...  credentials, AWS_REGION, AWS_ENDPOINT_URL, AWS_CA_BUNDLE: as boto3 reads them

    \b
    See also: placet audit archive, placet audit accept-rollback, docs/operations.md
    """
    keys = read_keys(log_keys)
    origin: ArchiveSource | FolderSource
    if is_bucket(source):
        bucket = open_bucket(source, endpoint_url=endpoint_url, region=region, ca_file=ca_file)
        origin = ArchiveSource(bucket, keys)
    else:
        origin = FolderSource(Path(source), keys)
    store = open_store(target, origin=origin.origin)
    try:
        with Progress("leaves") as progress:
            done = restore(origin, store, partial(open_reader, target), progress=progress)
    finally:
        store.close()
    if output != "text":
        value = {
            "schema": RESTORED_SCHEMA,
            "origin": done.origin,
            "size": done.size,
            "root": done.root.hex(),
            "copied": done.copied,
            "attachments": done.attachments,
            "erased": done.erased,
            "checkpoints": done.checkpoints,
            "notes": list(done.notes),
        }
        print_result(value, output)
        return
    for note in done.notes:
        say(f"note: {safe(note)}")
    say(
        f"{safe(target)} has {done.size} leaves of {safe(done.origin)}, {done.copied} of them new, "
        f"{done.attachments} attachments and {done.checkpoints} checkpoints; {done.erased} attachments were erased."
    )
    say(f"Its root {done.root.hex()} is the one that the log's key signed.")


def verify_bucket(
    url: str, keys: list[VerifierKey], saved: list[tuple[str, bytes]], *, endpoint_url: str, depth: Depth
) -> Verification:
    """Verify an archive."""
    with Progress("leaves") as progress:
        bucket = open_bucket(url, endpoint_url=endpoint_url)
        return verify_archive(bucket, keys, saved=saved, progress=progress, depth=depth)
