"""``placet audit hold``: while a hold is in force, nothing that it covers is removed from the record."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from placet.audit import spans
from placet.audit.holds import MAX_WORDS, Hold, find_covered, load_holds, render_hold, render_release
from placet.audit.location import StoreLocation, open_reader, open_store
from placet.audit.log import AuditLog
from placet.audit.person_keys import PersonKeys
from placet.audit.query import Query
from placet.audit.sealer import seal_event
from placet.audit.spans import Span
from placet.cli.audit_crosscheck import MOMENTS, aware
from placet.cli.group import Group
from placet.cli.options import output_option
from placet.cli.output import print_result, safe, say
from placet.cli.persons_options import find_opener, find_sealing, persons_options
from placet.cli.record_source import changing_record_options, find_store, record_options
from placet.errors import InputError

HOLDS_SCHEMA: Final = "placet.dev/audit-holds/v1"
_ID_BYTES: Final = 6
_F = TypeVar("_F", bound=Callable[..., Any])


def now() -> datetime:
    """The clock of the command; tests put another in its place."""
    return datetime.now(UTC)


@click.group(cls=Group)
def hold() -> None:
    r"""Keep what is in the record, whatever its age: a legal hold.

    A hold and its release are records themselves. It covers the records that are there and belong to it, and every one
    that is written while it is in force.

    \b
    Examples:
      placet audit hold list --store record.sqlite

    \b
    Environment:
      PLACET_AUDIT_STORE  the record, instead of --store
      PLACET_CONFIG       the configuration file, instead of --config

    \b
    See also: placet audit prune, docs/operations.md
    """


def _words(function: _F) -> _F:
    """``--by``, ``--reason`` and ``--ticket``."""
    ticket = click.option("--ticket", default="", help="Of the matter, as your own files call it.")
    reason = click.option("--reason", required=True, help="Why; it stands in the record.")
    return click.option("--by", required=True, help="Who decides it; it stands in the record.")(
        reason(ticket(function))
    )


@hold.command()
@changing_record_options
@click.option("--everything", is_flag=True, help="Cover every record.")
@click.option("--index", "indexes", metavar="FIRST-LAST", help="Cover these records, both ends included.")
@click.option("--since", type=click.DateTime(MOMENTS), help="Cover records from this moment on; UTC unless it says so.")
@click.option("--until", type=click.DateTime(MOMENTS), help="Cover records before this moment.")
@click.option("-n", "--namespace", default="", help="Cover decisions about objects of this namespace.")
@click.option("--kind", default="", help="Cover decisions about objects of this kind.")
@click.option("--name", default="", help="Cover decisions about objects of this name.")
@click.option("--model", default="", help="Cover decisions about this model.")
@persons_options
@_words
def add(
    store: StoreLocation | None,
    config_file: Path,
    *,
    persons: Path | None,
    persons_key: Path | None,
    everything: bool,
    indexes: str | None,
    since: datetime | None,
    until: datetime | None,
    by: str,
    reason: str,
    ticket: str,
    **texts: str,
) -> None:
    r"""Put a hold in force.

    Say what it covers: everything, a range of indexes, or what is found by time, workload and model together. What
    covered decisions rest on stays too. Prints the id that releases it.

    \b
    Examples:
      placet audit hold add --everything --by lee@example.org --reason "lawsuit 7 O 12/26"
      placet audit hold add --name llama -n ml --by lee@example.org --reason "incident 4711" --ticket INC-4711
      placet audit hold add --since 2026-01-01 --until 2026-02-01 --by lee@example.org --reason "audit of January"

    \b
    Environment:
      PLACET_AUDIT_STORE        the record, instead of --store
      PLACET_CONFIG             the configuration file, instead of --config
      PLACET_AUDIT_PERSONS      the folder of persons' keys, instead of --persons
      PLACET_AUDIT_PERSONS_KEY  the key of that folder, instead of --persons-key

    \b
    See also: placet audit hold release
    """
    file = find_store(store, config_file)
    _require_words(by=by, reason=reason, ticket=ticket)
    keys = find_sealing(store, config_file, persons, persons_key)
    found = bool(since or until or any(texts.values()))
    if [everything, bool(indexes), found].count(True) != 1:
        raise click.UsageError("say what it covers: --everything, --index, or a time, a workload or a model")
    hold_id = secrets.token_hex(_ID_BYTES)
    with open_reader(file) as reader:
        size = reader.state().size
        if indexes:
            scope, covered = f"records {indexes}", _range(indexes)
        elif everything:
            scope, covered = "everything", ((0, size),)
        else:
            about = any(texts.values())
            query = Query(
                type="decision" if about else "",
                since=aware(since),
                until=aware(until),
                namespace=texts["namespace"],
                kind=texts["kind"],
                name=texts["name"],
                model=texts["model"],
            )
            covered, scope = find_covered(reader, query), _scope(since, until, texts)
    body = render_hold(hold_id, covered=covered, scope=scope, by=by, reason=reason, ticket=ticket, now=now())
    index = _append(file, body, keys)
    count = spans.count(covered)
    say(f"leaf {index} puts hold {hold_id} in force: {safe(scope)}, {count} records and every one that follows.")
    click.echo(hold_id)


@hold.command("list")
@record_options
@persons_options
@click.option("--all", "every", is_flag=True, help="Those that were released, too.")
@output_option("json", "yaml")
def list_holds(
    store: StoreLocation | None,
    config_file: Path,
    *,
    persons: Path | None,
    persons_key: Path | None,
    every: bool,
    output: str,
) -> None:
    r"""Show the holds in force, as the record itself says.

    \b
    Examples:
      placet audit hold list --store record.sqlite
      placet audit hold list --store record.sqlite --all -o json

    \b
    Environment:
      PLACET_AUDIT_STORE        the record, instead of --store
      PLACET_CONFIG             the configuration file, instead of --config
      PLACET_AUDIT_PERSONS      the folder of persons' keys, instead of --persons
      PLACET_AUDIT_PERSONS_KEY  the key of that folder, instead of --persons-key

    \b
    See also: placet audit hold add
    """
    opener = find_opener(store, config_file, persons, persons_key)
    with open_reader(find_store(store, config_file)) as reader:
        holds = [one for one in load_holds(reader, opener) if every or one.released is None]
    if output != "text":
        print_result({"schema": HOLDS_SCHEMA, "holds": [_rendered(one) for one in holds]}, output)
        return
    for one in holds:
        state = "in force" if one.released is None else f"released by leaf {one.released}"
        ticket = f" [{one.ticket}]" if one.ticket else ""
        click.echo(
            safe(f"{one.hold_id}  {state}  since leaf {one.placed}  {one.scope}  {one.by}: {one.reason}{ticket}")
        )
    if not holds:
        say("No hold is in force." if not every else "There was never a hold.")


@hold.command()
@changing_record_options
@click.argument("hold_id")
@persons_options
@_words
def release(
    store: StoreLocation | None,
    config_file: Path,
    hold_id: str,
    *,
    persons: Path | None,
    persons_key: Path | None,
    by: str,
    reason: str,
    ticket: str,
) -> None:
    r"""End a hold: what it covered may be pruned again once its time has come.

    \b
    Examples:
      placet audit hold release 1f0c7d2a9b3e --by lee@example.org --reason "settled"

    \b
    Environment:
      PLACET_AUDIT_STORE        the record, instead of --store
      PLACET_CONFIG             the configuration file, instead of --config
      PLACET_AUDIT_PERSONS      the folder of persons' keys, instead of --persons
      PLACET_AUDIT_PERSONS_KEY  the key of that folder, instead of --persons-key

    \b
    See also: placet audit hold list
    """
    file = find_store(store, config_file)
    _require_words(by=by, reason=reason, ticket=ticket)
    with open_reader(file) as reader:
        known = [one.hold_id for one in load_holds(reader) if one.released is None]
    keys = find_sealing(store, config_file, persons, persons_key)
    if hold_id not in known:
        hint = f"In force: {', '.join(known)}." if known else "`placet audit hold list --all` shows those of before."
        raise InputError(f"no hold {hold_id!r} is in force", hint=hint)
    index = _append(file, render_release(hold_id, by=by, reason=reason, ticket=ticket, now=now()), keys)
    say(f"leaf {index} releases hold {safe(hold_id)}.")


def _append(file: StoreLocation, body: dict[str, Any], keys: PersonKeys | None) -> int:
    with open_reader(file) as reader:
        states = reader.raw_states()
    known = () if keys is None else tuple(one.name for one in keys.all())
    if len(states) != 1:
        raise InputError(f"{file} has {len(states)} states, and not one", hint="placet audit verify says more.")
    log = AuditLog(open_store(file, origin=str(states[0][0]), create=False))
    try:
        return log.append(seal_event(body, keys, known)).index
    finally:
        log.close()


def _require_words(**texts: str) -> None:
    for name, text in texts.items():
        if len(text) > MAX_WORDS or (name != "ticket" and not text.strip()):
            raise InputError(f"--{name} must have {'at most' if name == 'ticket' else '1 to'} {MAX_WORDS} characters")


def _range(text: str) -> tuple[Span, ...]:
    first, _, last = text.partition("-")
    if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit() and int(first) <= int(last)):
        raise InputError(f"--index {text!r} is no range", hint="Give the first and the last index, as in 100-250.")
    return ((int(first), int(last) + 1),)


def _scope(since: datetime | None, until: datetime | None, texts: dict[str, str]) -> str:
    said = [f"{name} {text}" for name, text in texts.items() if text]
    said += [f"{word} {moment:%Y-%m-%d %H:%M}" for word, moment in (("since", since), ("until", until)) if moment]
    return ", ".join(said)


def _rendered(one: Hold) -> dict[str, Any]:
    return {
        "hold_id": one.hold_id,
        "placed": one.placed,
        "released": one.released,
        "time": one.time,
        "by": one.by,
        "reason": one.reason,
        "ticket": one.ticket,
        "scope": one.scope,
        "covered": spans.render(one.covered[:-1] if one.covered and one.released is None else one.covered),
    }
