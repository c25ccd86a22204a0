"""``placet audit accept-rollback``: go on with a record that is older than what was signed, by a person's word."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from placet.assemble import load_own_log_key, open_own_record
from placet.audit.location import open_reader
from placet.audit.saved import MAX_REASON, accept, find_misfits
from placet.cli.options import config_option_for
from placet.cli.output import safe, say
from placet.config import load_config
from placet.errors import InputError


def now() -> datetime:
    """The clock of the command; tests put another in its place."""
    return datetime.now(UTC)


@click.command("accept-rollback")
@config_option_for("The gate's configuration: it names the record, its key and the saved checkpoints.")
@click.option(
    "--give-up",
    "size",
    required=True,
    type=click.IntRange(min=0),
    metavar="SIZE",
    help="Size of the saved checkpoint that the record does not reach; the refusal to start names it.",
)
@click.option("--reason", required=True, help="Why; it stands in the record.")
def accept_rollback(config_file: Path, size: int, reason: str) -> None:
    r"""Let a gate start on a record that is older than its saved checkpoints.

    That is a backup which was restored: what was recorded after it is lost, and everybody who kept a newer checkpoint
    will see that, as `placet audit verify` goes on to say rolled_back for it. Put the newest store back instead
    wherever there is one. A leaf of type "restored" says what was given up and why; the gate then saves its
    checkpoints in a folder of their own.

    \b
    Examples:
      placet audit accept-rollback --give-up 41822 --reason "volume lost, backup of 02:00 restored"

    \b
    Environment:
      PLACET_CONFIG             the configuration file, instead of --config
      PLACET_LOG_KEY_PASSPHRASE the passphrase of the log's key

    \b
    See also: docs/operations.md
    """
    config = load_config(config_file)
    if config.checkpoints is None:
        raise InputError(f"{config_file} names no record.checkpoints", hint="Without them nothing is compared.")
    if not reason.strip() or len(reason) > MAX_REASON:
        raise InputError(f"--reason must have 1 to {MAX_REASON} characters")
    keys = load_own_log_key(config).verifiers
    misfits = find_misfits(config.checkpoints, keys, lambda: open_reader(config.store))
    if not misfits:
        raise InputError("the record fits its saved checkpoints; there is nothing to accept")
    largest = max(one.saved.size for one in misfits)
    if size != largest:
        raise InputError(
            f"the saved checkpoint that the record does not fit is of {largest} leaves, not of {size}",
            hint=f"The record has {misfits[0].size} leaves. Give --give-up {largest} if that is what you mean.",
        )
    log = open_own_record(config)
    try:
        index = accept(log, config.checkpoints, keys, misfits, reason=reason.strip(), now=now())
    finally:
        log.close()
    say(f"leaf {index} gives up the checkpoint of {largest} leaves: {safe(reason.strip())}")
