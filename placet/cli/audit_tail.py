"""``placet audit tail``: the newest records, and those that come."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from placet.audit.location import StoreLocation, open_reader
from placet.audit.person_keys import PersonKeys
from placet.audit.query import Found, Query, find, read_found
from placet.audit.record import LEAF_TYPES
from placet.cli.listing import render_line
from placet.cli.options import output_option
from placet.cli.output import safe
from placet.cli.persons_options import find_persons, persons_options
from placet.cli.record import LISTED_HEAD, listed_row
from placet.cli.record_source import find_store, record_options

_CHUNK: Final = 200  # records in memory at once


@click.command()
@record_options
@click.option("-f", "--follow", is_flag=True, help="Go on with what is recorded from now on, until Ctrl-C.")
@click.option(
    "--lines", type=click.IntRange(0, 10_000), default=10, show_default=True, help="Newest records to begin with."
)
@click.option(
    "--type",
    "leaf_type",
    type=click.Choice([*LEAF_TYPES, "any"]),
    default="decision",
    show_default=True,
    help="Which kind of record.",
)
@click.option("--decision", type=click.Choice(["allow", "deny"]), help="What was answered.")
@click.option(
    "--interval", type=click.FloatRange(0.05, 60), default=0.5, show_default=True, help="Seconds between two looks."
)
@persons_options
@output_option("jsonl")
def tail(
    store: StoreLocation | None,
    config_file: Path,
    *,
    follow: bool,
    lines: int,
    leaf_type: str,
    decision: str | None,
    interval: float,
    persons: Path | None,
    persons_key: Path | None,
    output: str,
) -> None:
    r"""Show the newest records, the newest last, and with -f those that follow.

    A line each. Every record is shown once and in the order of the log. Reads a few at a time, and asks the store again
    after each interval; a pipe that nobody reads any longer ends it.

    \b
    Examples:
      placet audit tail --store record.sqlite
      placet audit tail --store record.sqlite --lines 3 --type any -o jsonl

    \b
    Environment:
      PLACET_AUDIT_STORE        the record, instead of --store
      PLACET_AUDIT_PERSONS      the folder of persons' keys, instead of --persons
      PLACET_AUDIT_PERSONS_KEY  the key of that folder, instead of --persons-key
      PLACET_CONFIG             the configuration file, instead of --config

    \b
    See also: placet audit list
    """
    file = find_store(store, config_file)
    keys = find_persons(store, config_file, persons, persons_key)
    opener = None if keys is None else keys.opener()
    query = Query(
        type="" if leaf_type == "any" else leaf_type, allowed=None if decision is None else decision == "allow"
    )
    with open_reader(file) as reader:
        size = reader.state().size
        newest = find(reader, query, limit=lines, after=str(size), opener=opener).found if lines else ()
    _show(newest[::-1], output)
    while follow:
        _wait(interval)
        size = _show_new(file, query, size, output, keys)


def _show_new(file: StoreLocation, query: Query, size: int, output: str, keys: PersonKeys | None) -> int:
    """Show what was added since the record had ``size`` leaves; gives how many it has now."""
    with open_reader(file) as reader:
        end = reader.state().size
        opener = keys.opener() if keys is not None and end > size else None  # people may have come meanwhile
        for start in range(size, end, _CHUNK):
            found = [
                read_found(stored, opener)
                for stored in reader.leaves(start, min(start + _CHUNK, end))
                if stored.raw_leaf
            ]
            _show([one for one in found if _is_asked_for(one, query)], output)
    return max(size, end)


def _is_asked_for(one: Found, query: Query) -> bool:
    return query.type in {"", one.body["type"]} and query.allowed in {None, one.body.get("allowed")}


def _show(found: Sequence[Found], output: str) -> None:
    for one in found:
        if output == "jsonl":
            click.echo(render_line(one))
        else:
            cells = (f"{one.index}", *listed_row(one)[: len(LISTED_HEAD)])
            click.echo("  ".join(safe(cell) for cell in cells if cell))
    sys.stdout.flush()


def _wait(seconds: float) -> None:
    """Sleep, and end where nobody reads what is written: without a record there is no write that would tell."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):  # no file: a test, or a program that calls us
        time.sleep(seconds)
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLERR)
    if poll.poll(seconds * 1000):
        raise BrokenPipeError
