"""``placet audit upgrade-store``: take a record that an earlier placet has made to the tables of this one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from placet.audit.location import StoreLocation
from placet.cli.options import output_option
from placet.cli.output import print_result, safe, say
from placet.cli.progress import Progress
from placet.cli.record_source import find_store, record_options

UPGRADED_SCHEMA: Final = "placet.dev/audit-upgrade/v1"


@click.command("upgrade-store")
@record_options
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--rebuild", is_flag=True, help="Make what records are found by anew.")
@output_option("json", "yaml")
def upgrade(store: StoreLocation | None, config_file: Path, output: str, *, dry_run: bool, rebuild: bool) -> None:
    r"""Take a record of an earlier version to the tables that this placet writes.

    All of it or nothing, in one transaction. No leaf is touched: the root is computed from the leaves before and after
    it, and compared. What is not exactly what placet wrote is not upgraded.

    A gate does this by itself to the SQLite file that it opens to write. In a PostgreSQL database it is for the owner
    of the tables: gates that are running go on, those of the new release start once it is done. Reading needs it not:
    `placet audit verify`, `list`, `show` and `prove` read every earlier version. Keep a backup.

    What `placet audit list` finds records by is then made as far as it is missing, piece by piece, while gates go on;
    a gate does it too, by and by. With --rebuild all of it is made anew from the leaves, in one transaction: do that
    where `placet audit verify` says index_changed.

    \b
    Examples:
      placet audit upgrade-store --store record.sqlite --dry-run
      placet audit upgrade-store --store postgresql://owner@db.example.org/placet
      placet audit upgrade-store --store record.sqlite --rebuild

    \b
    Environment:
      PLACET_AUDIT_STORE  the record, instead of --store
      PLACET_CONFIG       the configuration file, instead of --config

    \b
    See also: placet audit init-store, placet audit verify, docs/operations.md
    """
    from placet.audit.location import plan_upgrade, upgrade_store

    where = find_store(store, config_file)
    planned = plan_upgrade(where)
    text = output == "text"
    if text and planned.steps:
        say(f"{safe(where)} is of version {planned.before}; to be of version {planned.version}, placet")
        for step in planned.steps:
            say(f"- {step}")
    done = planned
    if not dry_run and (planned.steps or rebuild):
        with Progress("leaves") as progress:
            done = upgrade_store(where, progress=progress, rebuild=rebuild)
    if not text:
        value = {
            "schema": UPGRADED_SCHEMA,
            "before": done.before,
            "version": done.version,
            "steps": list(done.steps),
            "done": not dry_run,
            "size": done.size or None,
            "root": done.root.hex() or None,
            "blocks": done.blocks,
        }
        print_result(value, output)
        return
    if not done.steps:
        say(f"{safe(where)} is of version {done.version}, the newest: there is nothing to do.")
    elif not dry_run:
        say(f"Done. {done.size} leaves, with the root {done.root.hex()} before and after.")
    if done.blocks:
        how = "anew" if rebuild else "as far as it was missing"
        say(f"What records are found by was made {how}: {done.blocks} blocks of 1024 leaves.")
