"""``placet audit init-store`` and ``placet audit migrate``: a record's database, and the way into it and back."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import click

from placet.audit.location import DatabaseUrl, StoreLocation
from placet.cli.options import StoreParam, config_option_for, output_option
from placet.cli.output import print_result, safe, say
from placet.cli.progress import Progress
from placet.errors import InputError

MIGRATED_SCHEMA: Final = "placet.dev/audit-migration/v1"
_ROLE: Final = "placet_gate"


@click.command("init-store")
@config_option_for("The gate's configuration, which names the log where --origin does not.")
@click.option("--origin", default="", help="Name of the log, as in placet.dev/log/prod-eu-1.")
@click.option("--gate-role", default=_ROLE, show_default=True, help="Who may add to the record and read it.")
@click.option("--auditor-role", default="", help="Who may read it alone; none by default.")
@click.option("--apply", "url", type=StoreParam(), metavar="URL", help="Do it there, as the database's owner.")
def init_store(config_file: Path, origin: str, gate_role: str, auditor_role: str, url: StoreLocation | None) -> None:
    r"""Print the SQL that makes a record in a PostgreSQL database; or do it, with --apply.

    Whoever runs it owns the tables, and should be nobody that a gate connects as. Roles that are not there are made
    without a password: give them one with \\password in psql, or let a certificate stand for them. The database must be
    there, with the encoding UTF8. Passwords are taken from PGPASSWORD, PGPASSFILE or PGSERVICE.

    \b
    Examples:
      placet audit init-store --origin placet.dev/log/prod-eu-1
      placet audit init-store --origin placet.dev/log/prod-eu-1 --apply postgresql://owner@db.example.org/placet

    \b
    Environment:
      PLACET_CONFIG  the configuration file, instead of --config

    \b
    See also: placet audit migrate, docs/operations.md
    """
    from placet.audit.stores.postgres.schema import create_statements, grant_statements
    from placet.config import load_config

    name = origin or load_config(config_file).origin
    statements = [*create_statements(name), *grant_statements(gate=gate_role, auditor=auditor_role)]
    if url is None:
        click.echo("\n".join(["BEGIN;", *(f"{statement};" for statement in statements), "COMMIT;"]))
        return
    if not isinstance(url, DatabaseUrl):
        raise InputError(f"{url} is not the address of a database", hint="A record in a file needs no such step.")
    from placet.audit.stores.postgres.store import apply_statements

    apply_statements(url, statements)
    say(f"{safe(url)} keeps the log {safe(name)}; the gate connects as {safe(gate_role)}.")


@click.command("migrate")
@click.option("--from", "source", type=StoreParam(), required=True, help="The record: a SQLite file or a database.")
@click.option(
    "--to", "target", type=StoreParam(), required=True, help="Where it goes: a file, or a database with tables."
)
@output_option("json", "yaml")
def migrate_store(source: StoreLocation, target: StoreLocation, output: str) -> None:
    r"""Copy a record from one store into another, byte for byte.

    A copy that was broken off goes on where it was; what the target has already must be the beginning of the record. At
    the end both are read again, and their roots compared. While a gate writes to the record, what comes after the start
    is not copied: stop the gate, run it again, let record.store name the target, start the gate.

    \b
    Examples:
      placet audit migrate --from record.sqlite --to postgresql://placet_gate@db.example.org/placet
      placet audit migrate --from postgresql://placet_gate@db.example.org/placet --to record.sqlite

    \b
    See also: placet audit init-store, placet audit verify
    """
    from placet.audit.location import open_reader, open_store
    from placet.audit.migrate import migrate

    with open_reader(source) as reader:
        states = reader.raw_states()
        if len(states) != 1:
            raise InputError(f"{source} has {len(states)} states, and not one", hint="placet audit verify says more.")
        store = open_store(target, origin=str(states[0][0]))
        try:
            with Progress("leaves") as progress:
                done = migrate(reader, store, partial(open_reader, target), progress=progress)
        finally:
            store.close()
    if output != "text":
        value = {
            "schema": MIGRATED_SCHEMA,
            "size": done.size,
            "root": done.root.hex(),
            "copied": done.copied,
            "checkpoints": done.checkpoints,
        }
        print_result(value, output)
        return
    say(f"{done.copied} leaves copied; {safe(target)} has {done.size} leaves and {done.checkpoints} checkpoints.")
    say(f"Both have the root {done.root.hex()}.")
