"""``placet audit prune``: take out of the record what has had its time, and keep every proof."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from placet.audit import spans
from placet.audit.archive.bucket import open_bucket
from placet.audit.archive.coverage import find_unarchived
from placet.audit.holds import held_by, load_holds
from placet.audit.location import StoreLocation, open_reader
from placet.audit.note import VerifierKey
from placet.audit.prune import MAX_WORDS, Looked, look
from placet.audit.prune import prune as carry_out
from placet.audit.retention import Retention, RetentionClass
from placet.audit.tile_prune import prune_tiles
from placet.cli.options import StoreParam, output_option
from placet.cli.output import EXIT_VIOLATIONS, print_result, safe, say
from placet.cli.persons_options import find_sealing, persons_options
from placet.cli.progress import Progress
from placet.cli.record_source import changing_record_options, find_store, log_keys_option, read_keys
from placet.config import Config, load_config
from placet.errors import InputError

PRUNE_SCHEMA: Final = "placet.dev/audit-prune/v1"
TILES_SCHEMA: Final = "placet.dev/audit-prune-tiles/v1"


def now() -> datetime:
    """The clock of the command; tests put another in its place."""
    return datetime.now(UTC)


@click.command("prune")
@changing_record_options
@log_keys_option(required=True)
@click.option(
    "--tiles",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Prune this folder of `placet audit tiles` instead; the record says what is held.",
)
@click.option(
    "--not-archived",
    is_flag=True,
    help="Remove also what the archive of the configuration (record.archive) does not hold: it is nowhere then.",
)
@click.option("--yes", is_flag=True, help="Do it. Without it nothing is changed.")
@click.option("--by", default="", help="Who decides it; it stands in the record. Needed with --yes.")
@click.option("--reason", default="", help="Why, where the terms are not all there is to say; it stands in the record.")
@persons_options
@click.option("--before", type=click.IntRange(min=0), metavar="INDEX", help="Only records before this one.")
@click.option(
    "--owner",
    type=StoreParam(),
    metavar="URL",
    help="The same database as the owner of its tables, who alone may remove; --store is the gate's role.",
)
@click.option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=90.0,
    show_default=True,
    help="Seconds to wait for a checkpoint that signs for what is announced.",
)
@output_option("json", "yaml")
def prune(
    store: StoreLocation | None,
    config_file: Path,
    log_keys: tuple[str, ...],
    *,
    persons: Path | None,
    persons_key: Path | None,
    folder: Path | None,
    not_archived: bool,
    yes: bool,
    by: str,
    reason: str,
    before: int | None,
    owner: StoreLocation | None,
    wait: float,
    output: str,
) -> None:
    r"""Remove what has had its time, and leave its hash.

    Says what would go and why the rest stays; with --yes it goes. The record is verified first, and nothing is removed
    from one that is not what was signed. A record of type "prune" names what goes, and a checkpoint must sign for that
    before anything is removed: a gate that runs does so within a minute. A run that was stopped is finished by the
    next one.

    With --tiles, entries go from the folder that the record has pruned before, in whole bundles of 256 and from the
    beginning; what stays of them is put into its folder "kept". Publish first: the folder has to know what was pruned.

    Where the configuration names an archive (record.archive), nothing goes that it does not hold, by its manifests, but
    with --not-archived. The terms are those of the configuration, record.retention, where there is one. Nothing that a
    hold covers goes, nor what a decision that stays rests on.

    \b
    Examples:
      placet audit prune --store record.sqlite --log-key keys/log.vkey
      placet audit prune --store record.sqlite --log-key keys/log.vkey --yes --by sam@example.org
      placet audit prune --store record.sqlite --log-key keys/log.vkey --tiles tiles --yes

    \b
    Exit codes:
      0  done, or there is nothing to do
      1  announced, and not carried out: no checkpoint signs for it yet
      2  it could not be done

    \b
    Environment:
      PLACET_AUDIT_STORE        the record, instead of --store
      PLACET_CONFIG             the configuration file, instead of --config
      PLACET_AUDIT_PERSONS      the folder of persons' keys, instead of --persons
      PLACET_AUDIT_PERSONS_KEY  the key of that folder, instead of --persons-key

    \b
    See also: placet audit hold, docs/operations.md
    """
    keys = read_keys(log_keys)
    file = find_store(store, config_file)
    if folder is not None:
        _prune_folder(folder, file, keys, yes=yes, output=output)
        return
    if yes and not by.strip():
        raise InputError("--yes needs --by: who decides it")
    if max(len(by), len(reason)) > MAX_WORDS:
        raise InputError(f"--by and --reason have at most {MAX_WORDS} characters")
    config = load_config(config_file) if config_file.exists() else None
    retention = Retention() if config is None else config.retention
    with Progress("leaves") as progress:
        looked = look(file, keys, retention, now=now(), end=before, progress=progress)
    value = _rendered(looked, retention)
    missing = None if config is None or not_archived else _find_missing(config, file, keys, looked)
    if missing is not None and yes:
        raise InputError(
            f"{missing}, and nothing was removed",
            code="not_archived",
            hint="Run `placet audit archive` first; --not-archived removes it all the same, for good.",
        )
    done = None
    if yes:
        done = carry_out(
            file,
            keys,
            looked,
            retention,
            by=by.strip(),
            reason=reason.strip(),
            now=now(),
            persons=find_sealing(store, config_file, persons, persons_key),
            owner=owner,
            wait_s=wait,
        )
        value["done"] = {
            "announced": list(done.announced),
            "unsigned": list(done.unsigned),
            "leaves": done.leaves,
            "attachments": done.attachments,
        }
    if output != "text":
        print_result(value, output)
    else:
        _print(looked, retention)
    if done is None:
        if missing is not None:
            say(f"{missing}: --yes refuses before it is archived.")
        if looked.plan.removal:
            say("Nothing was changed; --yes with --by does it.")
        return
    say(f"{done.leaves} leaves and {done.attachments} attachments were removed.")
    if done.unsigned:
        named = ", ".join(str(index) for index in done.unsigned)
        say(f"No checkpoint signs yet for what leaf {named} announces: run it again once the gate has signed.")
        raise SystemExit(EXIT_VIOLATIONS)


def _prune_folder(folder: Path, file: StoreLocation, keys: list[VerifierKey], *, yes: bool, output: str) -> None:
    with open_reader(file) as reader:
        held = held_by(load_holds(reader))
    with Progress("leaves") as progress:
        done = prune_tiles(folder, keys, held=held, dry_run=not yes, progress=progress)
    if output != "text":
        value = {
            "schema": TILES_SCHEMA,
            "done": yes,
            "minimum": done.minimum,
            "bundles": list(done.bundles),
            "leaves": done.leaves,
            "kept": done.kept,
        }
        print_result(value, output)
        return
    words = "were removed" if yes else "would go"
    click.echo(
        f"{done.leaves} leaves {words}, {len(done.bundles)} entry bundles; {done.kept} leaves of them stay in kept"
    )
    click.echo(f"entries before {done.minimum} need not be there any more")
    if not yes and done.leaves:
        say("Nothing was changed; --yes does it.")


def _find_missing(config: Config, file: StoreLocation, keys: list[VerifierKey], looked: Looked) -> str | None:
    """That the archive of the configuration lacks something that would go; None where it has all, or there is none."""
    named = config.archive
    removals = [looked.plan.removal, *(one.removal for one in looked.announced)]
    if not named.url or not any(removals):
        return None
    bucket = open_bucket(named.url, endpoint_url=named.endpoint_url, region=named.region, ca_file=named.ca_file)
    with open_reader(file) as reader:
        found = find_unarchived(bucket, keys, reader, removals)
    if found is None:
        return None
    index, what = found
    beside = f"leaf {index}" if what == "leaf" else f"attachment {what} of leaf {index}"
    return f"the archive {named.url} does not hold {beside}, which would go"


def _rendered(looked: Looked, retention: Retention) -> dict[str, Any]:
    plan = looked.plan
    return {
        "schema": PRUNE_SCHEMA,
        "as_of": plan.as_of.isoformat(),
        "days": {one.value: getattr(retention, f"{one.value}_days") for one in RetentionClass},
        "leaves": spans.render(plan.removal.leaves),
        "leaves_by_type": dict(plan.types),
        "attachments": {name: spans.render(found) for name, found in plan.removal.attachments.items()},
        "attachments_total": dict(plan.attachments),
        "kept": dict(plan.kept),
        "done": None,
    }


def _print(looked: Looked, retention: Retention) -> None:
    plan = looked.plan
    for one in RetentionClass:
        days = getattr(retention, f"{one.value}_days")
        click.echo(f"{one.value.replace('_', ' '):18} {days} days: before {plan.cutoffs[one]:%Y-%m-%d}")
    for leaf_type, number in plan.types.items():
        click.echo(f"goes   {number} leaves of type {safe(leaf_type)}")
    for name, number in plan.attachments.items():
        click.echo(f"goes   {number} attachments {safe(name)}, beside leaves that stay")
    if not plan.removal:
        click.echo("goes   nothing")
    for reason, number in plan.kept.items():
        click.echo(f"stays  {number} leaves: {reason}")
