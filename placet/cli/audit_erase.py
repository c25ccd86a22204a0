"""``placet audit erase``: a person's names are never read again, and every proof stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from placet.assemble import open_persons
from placet.audit import spans
from placet.audit.erasure import Traces, find_traces, render_erasure, render_statements, require_nameless
from placet.audit.holds import held_by, load_holds
from placet.audit.location import StoreLocation, open_reader
from placet.audit.log import AuditLog
from placet.audit.person_keys import PersonKeys
from placet.audit.spans import Span
from placet.audit.stores.erase import erase_attachments
from placet.breakglass.record import StoredGlass
from placet.cli.options import config_option_for, output_option
from placet.cli.output import print_result, safe, say
from placet.config import Config, load_config
from placet.errors import InputError

ERASED_SCHEMA: Final = "placet.dev/audit-erasure/v1"


def now() -> datetime:
    """The clock of the command; tests put another in its place."""
    return datetime.now(UTC)


@click.command()
@config_option_for("The gate's configuration: it names the record, and the keys of persons.")
@click.option(
    "--person",
    "names",
    multiple=True,
    required=True,
    help="Who is erased; repeat it for every name of theirs: the API server's user name, the keyring's person and id. "
    "Upper and lower case are alike.",
)
@click.option("--by", required=True, help="Who does it; sealed in the record, like every name.")
@click.option("--reason", required=True, help="Why; it stands in the record for ever and may not name them.")
@click.option("--ticket", default="", help="Where it was asked for; the same.")
@click.option("--yes", is_flag=True, help="Do it. Without this it is only shown what would be done.")
@output_option("json", "yaml")
def erase(
    config_file: Path, names: tuple[str, ...], by: str, reason: str, ticket: str, *, yes: bool, output: str
) -> None:
    r"""Erase a person from the record.

    Their names in decisions are sealed with a key of their own: it is destroyed, and nobody can open or guess them any
    more, in no copy of the record either. Attachments that have a name in them as it is are deleted. What was done is a
    leaf of its own, which does not say who it was. Every leaf, every proof and every checkpoint stays as it is; who
    asked and who signed can no longer be told, and what needs that is "unknown" in a proof.

    Without --yes nothing is changed. It says what stays: leaves from before names were sealed, leaves of other types
    that have a name in them, and whatever is not in this record. Copies of the folder of keys bring names back: destroy
    them too. Stop the gate, or choose a quiet hour, where attachments are deleted: the file is written anew.

    A record in PostgreSQL: the statements that delete attachments, and what the person is found by, are printed, for
    the owner of the tables.

    \b
    Examples:
      placet audit erase --person bob@example.org --person p-bob --by sam --reason "asked to be forgotten" --ticket DP-7

    \b
    Exit codes:
      0  done, shown, or nothing is left to do
      2  it can't be done now, and nothing was changed

    \b
    Environment:
      PLACET_CONFIG  the configuration file, instead of --config

    \b
    See also: docs/operations.md, docs/formats-audit.md
    """
    config = load_config(config_file)
    keys = open_persons(config)
    if keys is None:
        raise InputError(
            f"{config_file} has no record.persons, so no name in the record is sealed",
            hint="What is in a leaf as it is can't be erased by anybody. Name a folder of keys, and restart the gate.",
        )
    require_nameless(names, by, reason, ticket)
    with open_reader(config.store) as reader:
        traces = find_traces(reader, keys, names)
        covered = held_by(load_holds(reader))
    _require_reviewed(config, keys, names)
    _require_not_held(traces, covered)
    _require_out_of_force(traces)
    found = bool(traces.persons or traces.attachments)
    statements = [] if isinstance(config.store, Path) else render_statements(traces.attachments, traces.rows)
    index = None
    if yes and found:
        body = render_erasure(
            traces, keys, cluster=config.cluster, moment=now(), by=by, reason=reason.strip(), ticket=ticket.strip()
        )
        index = _append(config, body)
        _destroy(config.store, keys, traces)
    if output != "text":
        print_result(_value(traces, index, statements), output)
        return
    for line in _lines(traces, done=index is not None):
        click.echo(safe(line))
    if statements:
        say("For the owner of the tables, and only they complete it:")
        click.echo("\n".join(f"{statement};" for statement in statements))
    if index is not None:
        say(f"Leaf {index} says so. Destroy copies of {safe(keys.folder)} too.")
    elif found:
        say("Nothing was changed; --yes does it.")
    else:
        say("Nothing is left that could be erased.")


def _require_out_of_force(traces: Traces) -> None:
    if traces.in_force:
        raise InputError(
            f"the {' and the '.join(traces.in_force)} in force names the person, and the gate would record it again",
            hint="Bring one into force that does not name them, and erase then.",
        )


def _require_reviewed(config: Config, keys: PersonKeys, names: Sequence[str]) -> None:
    """That nobody has to be told from who they are any more: a review by a party to it does not count."""
    glass = StoredGlass(config.store, cluster=config.cluster, persons=keys)
    folded = {name.casefold() for name in names}
    for use in glass.opened(glass.state().open_uses()):
        if not folded.isdisjoint(one.casefold() for one in (use.requester, *(one.person for one in use.signers))):
            raise InputError(
                f"the person was party to what break-glass token {use.token_id} let in, and it waits for its review",
                hint="Have it reviewed first: who reviews must be told from who was party to it.",
            )


def _require_not_held(traces: Traces, covered: Sequence[Span]) -> None:
    held = [index for index in traces.named if spans.covers(covered, index)]
    if held:
        raise InputError(
            f"a legal hold covers {len(held)} of the leaves that the person is in, the first {held[0]}",
            hint="placet audit hold list has it. Who the person was must stay known while it is in force.",
        )


def _destroy(store: StoreLocation, keys: PersonKeys, traces: Traces) -> None:
    """What they are found by goes first: without their keys nobody could tell which rows these are."""
    if traces.rows and isinstance(store, Path):
        erase_attachments(store, (), rows=traces.rows)
    for person in traces.persons:
        keys.destroy(person)
    if traces.attachments and isinstance(store, Path):
        erase_attachments(store, [(one.index, one.name) for one in traces.attachments])


def _append(config: Config, body: dict[str, Any]) -> int:
    log = AuditLog.open(config.store, origin=config.origin, create=False)
    try:
        return log.append(body).index
    finally:
        log.close()


def _lines(traces: Traces, *, done: bool) -> Iterator[str]:
    keys, gone = len(traces.persons), Counter(one.name for one in traces.attachments)
    yield f"{'destroyed' if done else 'to destroy'}  {keys} {'key' if keys == 1 else 'keys'} that opened sealed names"
    yield f"{'were in' if done else 'are in'}    {len(traces.named)} leaves"
    for name, count in sorted(gone.items()):
        yield f"{'deleted' if done else 'to delete'}    {count} {name} with a name in it"
    for leaf_type, count in traces.leaves.items():
        yield f"stays      {count} {leaf_type} with a name in the leaf, which nobody can change"


def _value(traces: Traces, index: int | None, statements: list[str]) -> dict[str, Any]:
    return {
        "schema": ERASED_SCHEMA,
        "done": index is not None,
        "index": index,
        "named": len(traces.named),
        "keys": [person.key_id for person in traces.persons],
        "attachments": [{"index": one.index, "name": one.name} for one in traces.attachments],
        "leaves": dict(traces.leaves),
        "statements": statements,
    }
