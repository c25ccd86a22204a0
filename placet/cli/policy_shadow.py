"""``placet policy shadow``: what policies that are tried on live reviews would have decided otherwise."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from placet.audit.location import StoreLocation
from placet.cli.clock import now_utc
from placet.cli.options import output_option
from placet.cli.output import EXIT_VIOLATIONS
from placet.cli.record_source import open_record, record_options

if TYPE_CHECKING:
    from placet.shadow.summary import Summary

ANY: Final = "any"


@click.command("shadow")
@record_options
@click.option("--since", default="", metavar="WHEN", help="Only what was recorded from then on: 12h, 7d, or a date.")
@click.option("--until", default="", metavar="WHEN", help="Only what was recorded before then.")
@click.option(
    "--candidate",
    "named",
    default="",
    metavar="DIGEST",
    help="The beginning of a digest of the candidate: of its sources, its manifest or its policy data. The newest by "
    "default.",
)
@click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice(("looser", "stricter", "mixed", "error", ANY)),
    help="Exit with 1 where a review was answered otherwise in this direction. Repeatable.",
)
@output_option("json")
def shadow(
    store: StoreLocation | None,
    config_file: Path,
    since: str,
    until: str,
    named: str,
    fail_on: tuple[str, ...],
    output: str,
) -> None:
    r"""Show what the policies of `policy.shadow` would have decided otherwise.

    A gate that has policies to try judges each review that its own policies judged a second time, after the answer, and
    records where the two differ: what would newly be refused or admitted, by which rules, in which namespace and for
    which model, since when, and which decisions are examples of it. `placet audit show ID` has each of these, and
    `placet audit replay` judges it again.

    The same disagreement is one record in a window of time, with its count. Reviews that agree are counted alone, once
    in a window. What is judged is the policy input of the decision: signatures, evidence and facts as the gate verified
    them by the policy data in force.

    \b
    Examples:
      placet policy shadow
      placet policy shadow --since 7d -o json
      placet policy shadow --store record.sqlite --candidate 11daae6e
      placet policy shadow --since 7d --fail-on looser --fail-on error

    \b
    Exit codes:
      0  the record was read; nothing that --fail-on names is in it
      1  something that --fail-on names is in it
      2  nothing was tried, or the record can't be read

    \b
    Environment:
      PLACET_AUDIT_STORE  the record, instead of --store
      PLACET_CONFIG       the configuration file, instead of --config

    \b
    See also: placet policy replay, placet audit list --type shadow, docs/operations.md
    """
    from placet.audit.record import SHADOW
    from placet.cli.policy_shadow_view import print_summary
    from placet.dossier.leaves import StoreLeaves
    from placet.errors import InputError
    from placet.shadow.summary import read_events, summarise

    moments = {name: _read_moment(name, text) for name, text in (("since", since), ("until", until))}
    if since and until and moments["since"] >= moments["until"]:
        raise click.UsageError("--since is not before --until")
    with open_record(store, config_file) as reader:
        bodies = [held.body for held in StoreLeaves(reader).of_type(SHADOW)]
    try:
        found = summarise(read_events(bodies, **moments), named=named)
    except (KeyError, TypeError, ValueError) as exc:
        raise InputError(
            f"a leaf of type shadow can't be read: {type(exc).__name__}",
            code="shadow_unreadable",
            hint="A newer release may have written it: use its `placet`.",
        ) from exc
    code = EXIT_VIOLATIONS if _fails(found, fail_on) else 0
    print_summary(found, output, window=moments, exit_code=code)
    if code:
        sys.exit(code)


def _fails(found: Summary, fail_on: tuple[str, ...]) -> bool:
    seen = {direction for direction, count in found.directions().items() if count}
    return bool(seen) if ANY in fail_on else bool(seen & set(fail_on))


def _read_moment(name: str, text: str) -> str:
    """A moment as records have it; "" for none."""
    from placet.audit.log import render_time
    from placet.errors import FormatError
    from placet.rehearsal.window import parse_moment

    if not text:
        return ""
    try:
        return render_time(parse_moment(text, now=now_utc()))
    except FormatError as exc:
        raise click.UsageError(f"--{name}: {exc}") from exc
