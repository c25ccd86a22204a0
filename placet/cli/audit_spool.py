"""``placet audit spool``: which denials wait on this machine's disk to be recorded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from placet.cli.options import config_option_for, output_option
from placet.cli.output import EXIT_VIOLATIONS, print_result, print_table, say
from placet.config import load_config
from placet.errors import FormatError, InputError
from placet.spool.denial import MAX_FILE_BYTES, parse_denial
from placet.spool.lane import list_damaged

SPOOL_SCHEMA: Final = "placet.dev/audit-spool/v1"
_HEAD: Final = ("STATE", "TIME", "ENVIRONMENT", "NAMESPACE", "OBJECT", "CAUSE", "ID", "FILE")


@click.command("spool")
@config_option_for("The gate's configuration, which names record.spool.folder.")
@output_option("table", "json", "yaml")
def spool(config_file: Path, output: str) -> None:
    r"""List the denials that wait on disk until the record's store is back.

    Also the files that were set aside, since they could not be recorded. Reads the folder of the machine that it runs
    on and changes nothing. A file that a gate is writing may be shown as damaged for a moment. Exit status 1 where
    something was set aside or is damaged.

    \b
    Examples:
      placet audit spool --config placet.yaml
      placet audit spool -o json

    \b
    Environment:
      PLACET_CONFIG  the configuration file, instead of --config

    \b
    See also: placet audit list --type outage; docs/operations.md
    """
    folder = load_config(config_file).spool.folder
    if folder is None:
        raise InputError(f"{config_file} names no record.spool", hint="Without it denials are logged alone.")
    try:
        waiting = [_read(file) for file in sorted(folder.glob("lane-*/*.denial"))]
        aside = [{"state": "set aside", "file": f"damaged/{name}"} for name in list_damaged(folder)]
    except OSError as exc:
        raise InputError(f"{folder} can't be read: {exc.strerror}") from exc
    found = [one for one in waiting if one is not None] + aside
    if output in {"json", "yaml"}:
        print_result({"schema": SPOOL_SCHEMA, "folder": str(folder), "denials": found}, output)
    else:
        print_table(_HEAD, [_row(one) for one in found])
        if not found:
            say("Nothing waits.")
    if any(one["state"] != "waiting" for one in found):
        sys.exit(EXIT_VIOLATIONS)


def _read(file: Path) -> dict[str, Any] | None:
    """What is shown of a file; None where it was recorded meanwhile."""
    name = f"{file.parent.name}/{file.name}"
    try:
        with file.open("rb") as stream:
            denial = parse_denial(stream.read(MAX_FILE_BYTES + 1))
    except FileNotFoundError:
        return None
    except FormatError:
        return {"state": "damaged", "file": name}
    return {"state": "waiting", "file": name, "record": denial.leaf}


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    body = one.get("record")
    if body is None:
        return (one["state"], "", "", "", "", "", "", one["file"])
    return (
        one["state"],
        str(body["time"])[:19],
        str(body.get("environment", "")),
        str(body.get("namespace", "")),
        f"{body.get('kind', '')}/{body.get('name', '')}",
        str(body["spooled"].get("cause", "")),
        str(body["uid"]),
        one["file"],
    )
