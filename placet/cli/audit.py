"""``placet audit``: find records, read one, verify the whole log, prove one record to somebody else."""

from __future__ import annotations

import functools
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from placet.audit.findings import Verification
from placet.audit.location import StoreLocation
from placet.audit.note import VerifierKey, generate_log_key, load_log_key
from placet.audit.proof import (
    MAX_PROOF_BYTES,
    VerifiedInclusion,
    prove_consistency,
    prove_inclusion,
    verify_proof,
)
from placet.audit.query import Query, find, read_found
from placet.audit.record import LEAF_TYPES
from placet.audit.resume import write_state
from placet.audit.verify import verify_file
from placet.cli.audit_accept import accept_rollback
from placet.cli.audit_crosscheck import (
    crosscheck_options,
    find_prefix,
    open_witness,
    read_cross_options,
    resume_option,
)
from placet.cli.audit_spool import spool
from placet.cli.audit_store import init_store, migrate_store
from placet.cli.complete import complete_decision, complete_environment, complete_recorded, complete_rule
from placet.cli.group import Group
from placet.cli.options import output_option
from placet.cli.output import EXIT_VIOLATIONS, print_result, print_table, safe, say, style
from placet.cli.progress import Progress
from placet.cli.record import LISTED_HEAD, listed_row, shown_lines
from placet.cli.record_source import (
    MAX_NOTE_BYTES,
    aware,
    find_named,
    find_store,
    log_keys_option,
    open_record,
    read_keys,
    read_limited,
    record_options,
)
from placet.errors import InputError, TamperError

_MOMENTS: Final = [
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S.%fZ",
    "%Y-%m-%dT%H:%M:%S%z",
]
LIST_SCHEMA: Final = "placet.dev/audit-list/v1"
SHOWN_SCHEMA: Final = "placet.dev/audit-record/v1"
PROVED_SCHEMA: Final = "placet.dev/audit-proof-verification/v1"


def now() -> datetime:
    """The clock of the commands; tests put another in its place."""
    return datetime.now(UTC)


@click.group(cls=Group)
def audit() -> None:
    r"""Find, read, verify and prove what was decided.

    Reads the record of a gate, live or a copy, and never changes it: the one that --store names, or else that of the
    configuration. Verifying needs no more than the log's verifier key, and no network.

    \b
    Examples:
      placet audit list --store record.sqlite --decision deny --days 7
      placet audit verify --store record.sqlite --log-key keys/log.vkey

    \b
    Environment:
      PLACET_AUDIT_STORE  the record, instead of --store
      PLACET_CONFIG       the configuration file, instead of --config

    \b
    See also: docs/formats-audit.md
    """


@audit.command("list")
@record_options
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
@click.option(
    "--type",
    "leaf_type",
    type=click.Choice([*LEAF_TYPES, "any"]),
    default="decision",
    show_default=True,
    help="Which kind of record.",
)
@click.option("--days", type=click.IntRange(min=1), help="Only the last so many days.")
@click.option("--since", type=click.DateTime(_MOMENTS), help="From this moment on; UTC unless it says otherwise.")
@click.option("--until", type=click.DateTime(_MOMENTS), help="Before this moment.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most records to show.")
@click.option("--after", default="", metavar="CURSOR", help="Go on where the page before ended.")
@output_option("table", "json", "yaml")
def list_records(
    store: StoreLocation | None,
    config_file: Path,
    decision: str | None,
    leaf_type: str,
    days: int | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    after: str,
    output: str,
    **texts: str,
) -> None:
    r"""List records, the newest first.

    By default decisions, 50 at most. In text and table form a line each, cut to the terminal where it is one.

    \b
    Examples:
      placet audit list
      placet audit list --store record.sqlite
      placet audit list --store record.sqlite --decision deny --violation role_missing --days 30
      placet audit list --store record.sqlite --kind Deployment --name llama -o json
      placet audit list --store record.sqlite --type any --limit 5

    \b
    Environment:
      PLACET_AUDIT_STORE  the record, instead of --store
      PLACET_CONFIG       the configuration file, instead of --config

    \b
    See also: placet audit show
    """
    if days is not None and since is not None:
        raise click.UsageError("give --days or --since, not both")
    query = Query(
        type="" if leaf_type == "any" else leaf_type,
        allowed=None if decision is None else decision == "allow",
        since=now() - timedelta(days=days) if days is not None else aware(since),
        until=aware(until),
        **texts,
    )
    with open_record(store, config_file) as reader:
        page = find(reader, query, limit=limit, after=after)
    if output in {"json", "yaml"}:
        records = [{"index": one.index, "leaf_hash": one.leaf_hash.hex(), "record": one.body} for one in page.found]
        print_result({"schema": LIST_SCHEMA, "records": records, "cursor": page.cursor}, output)
        return
    print_table(LISTED_HEAD, [listed_row(one) for one in page.found])
    if not page.found:
        say("No record matches.")
    if page.cursor:
        say(f"More follow: --after {page.cursor}")


@audit.command()
@record_options
@click.argument("record", shell_complete=complete_decision)
@log_keys_option(required=False)
@output_option("json", "yaml")
def show(store: StoreLocation | None, config_file: Path, record: str, log_keys: tuple[str, ...], output: str) -> None:
    r"""Show one record: RECORD is a decision id, the uid of a request, or an index.

    With --log-key it is also proved that a signed checkpoint has it.

    \b
    Examples:
      placet audit show 0
      placet audit show 0 --store record.sqlite
      placet audit show 0 --store record.sqlite --log-key keys/log.vkey -o yaml

    \b
    Environment:
      PLACET_AUDIT_STORE  the record, instead of --store
      PLACET_CONFIG       the configuration file, instead of --config

    \b
    See also: placet audit list finds ids; placet audit prove
    """
    keys = read_keys(log_keys) if log_keys else []
    with open_record(store, config_file) as reader:
        stored = find_named(reader, record)
        found = read_found(stored)
        latest = reader.latest_checkpoint(at_least=stored.index + 1)
        proved = False
        if keys and latest is not None:
            prove_inclusion(reader, stored, keys)
            proved = True
    status = "proved" if proved else "signed" if latest is not None else "not signed yet"
    if output != "text":
        value = {
            "schema": SHOWN_SCHEMA,
            "index": found.index,
            "leaf_hash": found.leaf_hash.hex(),
            "status": status,
            "record": found.body,
        }
        print_result(value, output)
        return
    for line in shown_lines(found, status=status, signed_size=latest.size if latest else 0):
        click.echo(line)


@audit.command()
@record_options
@click.option("--proof", type=click.Path(path_type=Path), help="Verify this file of `placet audit prove` instead.")
@log_keys_option(required=True)
@click.option(
    "--checkpoint",
    "saved",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A checkpoint that was kept elsewhere; repeatable.",
)
@crosscheck_options
@resume_option
@output_option("json", "yaml")
def verify(
    store: StoreLocation | None,
    config_file: Path,
    proof: Path | None,
    log_keys: tuple[str, ...],
    saved: tuple[Path, ...],
    output: str,
    resume: Path | None,
    **crossed: Any,
) -> None:
    r"""Verify the whole record, or one proof, against the log's key.

    Every leaf, every checkpoint, and what stands beside them; checkpoints that were kept elsewhere show a record that
    was cut back or written anew. Shows how far it is where stderr is a terminal.

    With --apiserver-log also that the API server admitted nothing that the record does not allow, and that the record
    allows nothing that the API server was not asked. Of files that were copied, copy the audit log first.

    With --resume an interrupted run goes on, and a nightly one reads what is new. The file is proved by the log's key
    before it is used, and speaks for the leaves as they were then: read all of them from time to time.

    \b
    Examples:
      placet audit verify --store record.sqlite --log-key keys/log.vkey
      placet audit verify --store record.sqlite --log-key keys/log.vkey --checkpoint saved.note -o json
      placet audit verify --store record.sqlite --log-key keys/log.vkey --apiserver-log audit.log
      placet audit verify --proof proof.json --log-key keys/log.vkey

    \b
    Exit codes:
      0  verified
      1  tampered with
      2  it could not be told

    \b
    Environment:
      PLACET_AUDIT_STORE  the record, instead of --store
      PLACET_CONFIG       the configuration file, instead of --config

    \b
    See also: placet audit checkpoint, placet audit prove, docs/formats-audit.md
    """
    cross = read_cross_options(resume=resume, **crossed)
    keys = read_keys(log_keys)
    if proof is not None:
        _verify_proof(proof, keys, output)
        return
    file = find_store(store, config_file)
    checkpoints = [(str(path), read_limited(path, MAX_NOTE_BYTES)) for path in saved]
    keep = None if resume is None else functools.partial(write_state, resume)
    prefix = find_prefix(resume, keys, checkpoints)
    with open_witness(cross, keys) as witness, Progress("leaves") as progress:
        result = verify_file(
            file,
            keys,
            saved=checkpoints,
            progress=progress,
            witness=witness,
            governed=cross.governed,
            prefix=prefix,
            keep=keep,
        )
    if output != "text":
        print_result(result.render(), output)
    else:
        _print_verification(result)
    if not result.verified:
        sys.exit(EXIT_VIOLATIONS)


@audit.command()
@record_options
@click.argument("record", required=False, shell_complete=complete_decision)
@click.option(
    "--consistency", type=click.Path(path_type=Path), help="Prove that the log extends this saved checkpoint instead."
)
@log_keys_option(required=True)
def prove(
    store: StoreLocation | None,
    config_file: Path,
    record: str | None,
    consistency: Path | None,
    log_keys: tuple[str, ...],
) -> None:
    r"""Write a file that proves a record, and verifies alone, to stdout.

    RECORD is a decision id, the uid of a request, or an index. Whoever has the file and the log's verifier key needs
    nothing else: placet audit verify --proof.

    \b
    Examples:
      placet audit prove 0 --store record.sqlite --log-key keys/log.vkey > proof.json
      placet audit prove --consistency saved.note --store record.sqlite --log-key keys/log.vkey > extends.json

    \b
    Environment:
      PLACET_AUDIT_STORE  the record, instead of --store
      PLACET_CONFIG       the configuration file, instead of --config

    \b
    See also: placet audit verify
    """
    if (record is None) == (consistency is None):
        raise click.UsageError("give RECORD or --consistency, one of them")
    keys = read_keys(log_keys)
    with open_record(store, config_file) as reader:
        if consistency is not None:
            raw = prove_consistency(reader, read_limited(consistency, MAX_NOTE_BYTES), keys)
        else:
            raw = prove_inclusion(reader, find_named(reader, record or ""), keys)
    click.echo(raw, nl=False)


@audit.command()
@record_options
def checkpoint(store: StoreLocation | None, config_file: Path) -> None:
    r"""Write the last signed checkpoint to stdout, to be kept where others look after it.

    Each one that is kept closes the record up to its size: `placet audit verify --checkpoint` holds it against it.

    \b
    Examples:
      placet audit checkpoint --store record.sqlite > saved.note

    \b
    Environment:
      PLACET_AUDIT_STORE  the record, instead of --store
      PLACET_CONFIG       the configuration file, instead of --config

    \b
    See also: placet audit verify
    """
    with open_record(store, config_file) as reader:
        latest = reader.latest_checkpoint()
    if latest is None:
        raise InputError("the store has no checkpoint yet", hint="The server signs one within a minute.")
    click.echo(latest.raw_note, nl=False)


@audit.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the log, as in placet.dev/log/prod-eu-1.")
@click.option("--new", is_flag=True, help="Make the key; an existing file is never overwritten.")
def key(file: Path, name: str, new: bool) -> None:
    r"""Print the verifier key of the log's private key FILE (PKCS#8 PEM, Ed25519).

    The verifier key is what --log-key takes, and no secret. An encrypted private key is not opened here.

    \b
    Examples:
      placet audit key keys/log.key --name placet.dev/log/prod-eu-1
      placet audit key new-log.key --name placet.dev/log/prod-eu-1 --new

    \b
    See also: placet audit verify
    """
    made = generate_log_key(file, name=name) if new else load_log_key(file, name=name)
    click.echo(str(made.verifier))


for command in (init_store, migrate_store, accept_rollback, spool):
    audit.add_command(command)


def _verify_proof(path: Path, keys: list[VerifierKey], output: str) -> None:
    try:
        verified = verify_proof(read_limited(path, MAX_PROOF_BYTES), keys)
    except TamperError as exc:
        if output != "text":
            print_result({"schema": PROVED_SCHEMA, "verified": False, "kind": exc.code, "sentence": str(exc)}, output)
        else:
            click.echo(f"{style('NOT VERIFIED', 'red', bold=True)} {safe(exc.code)}: {safe(exc)}")
        sys.exit(EXIT_VIOLATIONS)
    if isinstance(verified, VerifiedInclusion):
        sentence = (
            f"leaf {verified.index} is in the log {verified.checkpoint.origin} of {verified.checkpoint.size} leaves"
        )
        value = {
            "schema": PROVED_SCHEMA,
            "verified": True,
            "sentence": sentence,
            "index": verified.index,
            "record": verified.leaf.body,
        }
    else:
        sentence = f"the log {verified.new.origin} of {verified.new.size} leaves extends the one of {verified.old.size}"
        value = {"schema": PROVED_SCHEMA, "verified": True, "sentence": sentence}
    if output != "text":
        print_result(value, output)
    else:
        click.echo(f"{style('VERIFIED', 'green', bold=True)} {safe(sentence)}")


def _print_verification(result: Verification) -> None:
    for line in result.lines():
        click.echo(safe(line))
    if result.verified:
        click.echo(style("VERIFIED", "green", bold=True))
    else:
        click.echo(style("NOT VERIFIED", "red", bold=True))
