"""``placet audit``: find records, read one, verify the whole log, prove one record to somebody else."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from placet.audit.archive.bucket import is_bucket
from placet.audit.depth import Depth
from placet.audit.findings import Verification
from placet.audit.location import StoreLocation
from placet.audit.proof import prove_inclusion
from placet.audit.query import read_found
from placet.cli.audit_accept import accept_rollback
from placet.cli.audit_archive import archive, restore_store, verify_bucket
from placet.cli.audit_crosscheck import (
    crosscheck_options,
    depth_option,
    jobs_option,
    read_cross_options,
    resume_option,
    verify_stored,
)
from placet.cli.audit_envelopes import envelopes
from placet.cli.audit_erase import erase
from placet.cli.audit_hold import hold
from placet.cli.audit_keys import key, witness_key
from placet.cli.audit_list import list_records, now
from placet.cli.audit_proof import Against, proof_options, prove, replay, verify_proof_file
from placet.cli.audit_prune import prune
from placet.cli.audit_spool import spool
from placet.cli.audit_store import init_store, migrate_store
from placet.cli.audit_tail import tail
from placet.cli.audit_tiles import judge_saved, tiles, verify_published
from placet.cli.audit_upgrade import upgrade
from placet.cli.audit_witness import witness
from placet.cli.complete import complete_decision
from placet.cli.group import Group
from placet.cli.options import output_option
from placet.cli.output import EXIT_VIOLATIONS, print_result, safe, style
from placet.cli.persons_options import find_opener, persons_options
from placet.cli.record import shown_lines
from placet.cli.record_source import (
    MAX_NOTE_BYTES,
    find_named,
    find_store,
    log_keys_option,
    open_record,
    read_keys,
    read_limited,
    record_options,
)
from placet.cli.witness_options import read_witnesses, witness_options
from placet.errors import InputError

SHOWN_SCHEMA: Final = "placet.dev/audit-record/v1"


@click.group(cls=Group)
def audit() -> None:
    r"""Find, read, verify and prove what was decided.

    Reads the record of a gate, live or a copy: the one that --store names, or else that of the configuration. Few
    commands change it, and each leaves a record of its own. Verifying needs no more than the log's verifier key, and
    no network.

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


@audit.command()
@record_options
@click.argument("record", shell_complete=complete_decision)
@log_keys_option(required=False)
@persons_options
@output_option("json", "yaml")
def show(
    store: StoreLocation | None,
    config_file: Path,
    record: str,
    log_keys: tuple[str, ...],
    persons: Path | None,
    persons_key: Path | None,
    output: str,
) -> None:
    r"""Show one record: RECORD is a decision id, the uid of a request, or an index.

    With --log-key it is also proved that a signed checkpoint has it. Names that are sealed are opened where their keys
    are at hand; the leaf itself, and its hash, have them sealed.

    \b
    Examples:
      placet audit show 0
      placet audit show 0 --store record.sqlite
      placet audit show 0 --store record.sqlite --log-key keys/log.vkey -o yaml

    \b
    Environment:
      PLACET_AUDIT_STORE        the record, instead of --store
      PLACET_AUDIT_PERSONS      the folder of persons' keys, instead of --persons
      PLACET_AUDIT_PERSONS_KEY  the key of that folder, instead of --persons-key
      PLACET_CONFIG             the configuration file, instead of --config

    \b
    See also: placet audit list finds ids; placet audit prove
    """
    keys = read_keys(log_keys) if log_keys else []
    opener = find_opener(store, config_file, persons, persons_key)
    with open_record(store, config_file) as reader:
        stored = find_named(reader, record)
        found = read_found(stored, opener)
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
@click.option(
    "--tiles", "folder", metavar="PATH", help="Verify a folder of `placet audit tiles`, or s3://BUCKET/PREFIX."
)
@click.option("--endpoint-url", default="", metavar="URL", help="S3 server of --tiles; by default AWS_ENDPOINT_URL.")
@log_keys_option(required=True)
@proof_options
@click.option(
    "--checkpoint",
    "saved",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A checkpoint that was kept elsewhere; repeatable.",
)
@crosscheck_options
@persons_options
@witness_options
@resume_option
@jobs_option
@depth_option
@output_option("json", "yaml")
def verify(
    store: StoreLocation | None,
    config_file: Path,
    proof: Path | None,
    folder: str | None,
    endpoint_url: str,
    log_keys: tuple[str, ...],
    saved: tuple[Path, ...],
    witness_keys: tuple[str, ...],
    witnesses: int | None,
    output: str,
    resume: Path | None,
    jobs: int,
    depth: str,
    root_keys: tuple[Path, ...],
    root_threshold: int | None,
    newer_keyring: Path | None,
    persons: Path | None,
    persons_key: Path | None,
    **crossed: Any,
) -> None:
    r"""Verify the whole record, its published tiles, or one proof, against the log's key.

    Every leaf, every checkpoint, and what stands beside them; checkpoints that were kept elsewhere show a record that
    was cut back or written anew. With --witness-key, a checkpoint that holds has to carry the cosignatures of these
    witnesses. Shows how far it is where stderr is a terminal.

    A proof is judged as of when its decision fell: its keyring by the root keys that you name, each approval by that
    keyring, the decision by the policies in it. Part by part it says what is proved, and what can't be told.

    With --apiserver-log also that the API server admitted nothing that the record does not allow, and that the record
    allows nothing that the API server was not asked. Of files that were copied, copy the audit log first; with --tiles
    end it with --apiserver-until where they were published. Who asked is compared where that is not sealed, or its key
    is at hand; nothing else of verifying needs a key of persons.

    With --depth leaves only that no leaf was changed, removed, added or moved, which takes a fraction of the time: no
    proof needs more. A search does: by what stands beside the leaves, which --depth all, the default, verifies too.

    With --resume an interrupted run goes on, and a nightly one reads what is new. The file is proved by the log's key
    before it is used, and speaks for the leaves as they were then: read all of them from time to time.

    \b
    Examples:
      placet audit verify --store record.sqlite --log-key keys/log.vkey
      placet audit verify --store record.sqlite --log-key keys/log.vkey --checkpoint saved.note -o json
      placet audit verify --store record.sqlite --log-key keys/log.vkey --jobs 4
      placet audit verify --store record.sqlite --log-key keys/log.vkey --depth leaves
      placet audit verify --store record.sqlite --log-key keys/log.vkey --apiserver-log audit.log
      placet audit verify --proof proof.json --log-key keys/log.vkey --root-key roots/
      placet audit verify --tiles tiles --log-key keys/log.vkey --witness-key witness.vkey
      placet audit verify --tiles s3://records/prod --log-key keys/log.vkey
      placet audit verify --tiles s3://records/prod --log-key keys/log.vkey --depth leaves

    \b
    Exit codes:
      0  verified; of a proof: every part of it
      1  tampered with, or a part of a proof does not hold
      2  it could not be told, of a part of a proof too

    \b
    Environment:
      PLACET_AUDIT_STORE        the record, instead of --store
      PLACET_AUDIT_PERSONS      the folder of persons' keys, instead of --persons
      PLACET_AUDIT_PERSONS_KEY  the key of that folder, instead of --persons-key
      PLACET_CONFIG             the configuration file, instead of --config

    \b
    See also: placet audit checkpoint, placet audit prove, docs/formats-audit.md
    """
    cross = read_cross_options(resume=resume, jobs=jobs, depth=depth, **crossed)
    keys = read_keys(log_keys)
    if proof is not None and folder is not None:
        raise click.UsageError("give --proof or --tiles, not both")
    if depth != Depth.ALL.value and proof is not None:
        raise click.UsageError("--depth is for a store or --tiles, not for --proof")
    asked = read_witnesses(witness_keys, witnesses)
    if proof is not None:
        against = Against(root_keys, root_threshold, newer_keyring, moment=now(), witnesses=asked)
        verify_proof_file(proof, keys, against=against, output=output)
        return
    if root_keys or root_threshold or newer_keyring:
        raise click.UsageError("--root-key, --root-threshold and --newer-keyring go with --proof")
    checkpoints = [(str(path), read_limited(path, MAX_NOTE_BYTES)) for path in saved]
    if folder is not None:
        if resume is not None or jobs > 1:
            raise click.UsageError("--resume and --jobs are for a store, not for --tiles")
        if is_bucket(folder):
            if cross.files:
                raise click.UsageError("--apiserver-log is for a store or a folder, not for a bucket")
            checked = verify_bucket(folder, keys, checkpoints, endpoint_url=endpoint_url, depth=Depth(depth))
            result = judge_saved(checked, checkpoints, asked)
        else:
            result = verify_published(Path(folder), keys, checkpoints, asked, cross, Depth(depth))
    else:
        file = find_store(store, config_file)
        if cross.files:
            cross = replace(cross, opener=find_opener(store, config_file, persons, persons_key))
        result = judge_saved(
            verify_stored(file, keys, checkpoints, cross, resume, jobs, Depth(depth)), checkpoints, asked
        )
    if output != "text":
        print_result(result.render(), output)
    else:
        _print_verification(result)
    if not result.verified:
        sys.exit(EXIT_VIOLATIONS)


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


for _command in (
    accept_rollback,
    archive,
    envelopes,
    erase,
    hold,
    init_store,
    key,
    list_records,
    migrate_store,
    prove,
    prune,
    replay,
    restore_store,
    spool,
    tail,
    tiles,
    upgrade,
    witness,
    witness_key,
):
    audit.add_command(_command)


def _print_verification(result: Verification) -> None:
    for line in result.lines():
        click.echo(safe(line))
    if result.verified:
        click.echo(style("VERIFIED", "green", bold=True))
    else:
        click.echo(style("NOT VERIFIED", "red", bold=True))
