"""``placet audit list``: find records by what they say, and hand them on."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from placet.audit.location import StoreLocation
from placet.audit.query import Page, Query, find
from placet.audit.record import LEAF_TYPES
from placet.audit.tile_folder import TileFolder
from placet.audit.tile_search import TileSearch
from placet.cli.audit_crosscheck import MOMENTS, aware
from placet.cli.complete import complete_environment, complete_recorded, complete_rule
from placet.cli.listing import render_csv, render_lines, render_parquet
from placet.cli.options import output_option
from placet.cli.output import print_result, print_table, say
from placet.cli.persons_options import find_opener, persons_options
from placet.cli.record import LISTED_HEAD, listed_row
from placet.cli.record_source import open_record, record_options

LIST_SCHEMA: Final = "placet.dev/audit-list/v1"


def now() -> datetime:
    """The clock of the command; tests put another in its place."""
    return datetime.now(UTC)


@click.command("list")
@record_options
@click.option(
    "--tiles",
    "folder",
    type=click.Path(path_type=Path),
    help="Read this folder of `placet audit tiles` instead, every entry of it; verify it first.",
)
@click.option("--kind", default="", shell_complete=complete_recorded("kind"), help="Kind, as in Deployment.")
@click.option("--name", default="", shell_complete=complete_recorded("name"), help="Name of the object.")
@click.option(
    "-n", "--namespace", default="", shell_complete=complete_recorded("namespace"), help="Namespace of the object."
)
@click.option(
    "-e",
    "--environment",
    default="",
    shell_complete=complete_environment,
    help="Environment that was decided for.",
)
@click.option("--model", default="", shell_complete=complete_recorded("model"), help="Name of the model.")
@click.option("--user", default="", shell_complete=complete_recorded("user"), help="Who asked for the change.")
@click.option("--decision", type=click.Choice(["allow", "deny"]), help="What was answered.")
@click.option(
    "--violation",
    default="",
    shell_complete=complete_rule,
    help="A rule, a code, or rule:code that the decision names.",
)
@click.option("--role", default="", help="Role of an approval on it, whether it counted or not.")
@click.option("--person", default="", help="Who approved, exempted, revoked, or broke the glass.")
@click.option("--approval", default="", help="Id of an approval that counted, did not, or was revoked.")
@click.option("--projection", default="", help="Digest of the content that was judged.")
@click.option(
    "--image", default="", help="Words of an image's reference, one behind the other: vllm, serving/vllm-openai."
)
@click.option(
    "--text",
    default="",
    help="Words of what was said: message, advice, reason; in any order, upper and lower case alike.",
)
@click.option(
    "--type",
    "leaf_type",
    type=click.Choice([*LEAF_TYPES, "any"]),
    default="decision",
    show_default=True,
    help="Which kind of record.",
)
@click.option("--days", type=click.IntRange(min=1), help="Only the last so many days.")
@click.option("--since", type=click.DateTime(MOMENTS), help="From this moment on; UTC unless it says otherwise.")
@click.option("--until", type=click.DateTime(MOMENTS), help="Before this moment.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most records to show.")
@click.option("--after", default="", metavar="CURSOR", help="Go on where the page before ended.")
@persons_options
@output_option("table", "json", "yaml", "jsonl", "csv", "parquet")
def list_records(
    store: StoreLocation | None,
    config_file: Path,
    folder: Path | None,
    decision: str | None,
    leaf_type: str,
    days: int | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    after: str,
    persons: Path | None,
    persons_key: Path | None,
    output: str,
    **texts: Any,
) -> None:
    r"""List records, the newest first.

    By default decisions, 50 at most. In text and table form a line each, cut to the terminal where it is one. CSV is
    that of RFC 4180, with an apostrophe before what a spreadsheet would compute; Parquet needs placet[parquet].

    Whatever is asked, records are found by an index, which the gate keeps up behind its appends. A record of an earlier
    version, or one whose index is still being made, is read instead: that takes its time.

    Names that are sealed are opened, and found by --user, --person and --text, where the keys are at hand: those of the
    configuration, or of --persons. So are words of --text, but for those that many
    persons have in their names: then each sentence that names anybody is read.

    \b
    Examples:
      placet audit list
      placet audit list --store record.sqlite
      placet audit list --store record.sqlite --decision deny --violation role_missing --days 30
      placet audit list --store record.sqlite --kind Deployment --name llama -o json
      placet audit list --store record.sqlite --type any --limit 5
      placet audit list --store record.sqlite --person sam --days 30 -o csv
      placet audit list --tiles tiles -e production --decision allow --since 2026-11-01 --until 2026-12-01 -o csv

    \b
    Environment:
      PLACET_AUDIT_STORE        the record, instead of --store
      PLACET_AUDIT_PERSONS      the folder of persons' keys, instead of --persons
      PLACET_AUDIT_PERSONS_KEY  the key of that folder, instead of --persons-key
      PLACET_CONFIG             the configuration file, instead of --config

    \b
    See also: placet audit show, placet audit tail
    """
    if days is not None and since is not None:
        raise click.UsageError("give --days or --since, not both")
    if output == "parquet" and sys.stdout.isatty():
        raise click.UsageError("Parquet is no text: send it to a file")
    opener = find_opener(store, config_file, persons, persons_key, published=folder is not None)
    query = Query(
        type="" if leaf_type == "any" else leaf_type,
        allowed=None if decision is None else decision == "allow",
        since=now() - timedelta(days=days) if days is not None else aware(since),
        until=aware(until),
        **texts,
    )
    if folder is not None:
        page = find(TileSearch(TileFolder(folder)), query, limit=limit, after=after, opener=opener)
    else:
        with open_record(store, config_file) as reader:
            page = find(reader, query, limit=limit, after=after, opener=opener)
    _print(page, output)
    if not page.found:
        say("No record matches.")
    if page.cursor and output not in {"json", "yaml"}:
        say(f"More follow: --after {page.cursor}")


def _print(page: Page, output: str) -> None:
    if output in {"json", "yaml"}:
        records = [{"index": one.index, "leaf_hash": one.leaf_hash.hex(), "record": one.body} for one in page.found]
        print_result({"schema": LIST_SCHEMA, "records": records, "cursor": page.cursor}, output)
    elif output == "jsonl":
        click.echo(render_lines(page.found), nl=False)
    elif output == "csv":
        click.echo(render_csv(page.found).encode(), nl=False)  # bytes: a text stream would change the ends of lines
    elif output == "parquet":
        click.echo(render_parquet(page.found), nl=False)
    else:
        print_table(LISTED_HEAD, [listed_row(one) for one in page.found])
