"""``placet audit witness``: a second process that vouches for a log's growth."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from placet.audit.cosigning import cosign_checkpoint, prove_by_file, prove_by_tiles
from placet.audit.durable import replace_file
from placet.audit.proof import MAX_PROOF_BYTES
from placet.audit.tile_folder import CHECKPOINT
from placet.cli.audit_keys import load_cosigner
from placet.cli.output import say
from placet.cli.record_source import MAX_NOTE_BYTES, log_keys_option, read_keys, read_limited
from placet.errors import TamperError


def now() -> datetime:
    """The clock of the witness; tests put another in its place."""
    return datetime.now(UTC)


@click.command("witness")
@click.option("--key", "key_file", required=True, type=click.Path(path_type=Path), help="The witness's private key.")
@click.option("--name", required=True, help="Name of the witness, as in witness.example.org/w1.")
@log_keys_option(required=True)
@click.option(
    "--state",
    required=True,
    type=click.Path(path_type=Path),
    help="File with the last checkpoint of this log that was cosigned; written before the note is given away.",
)
@click.option("--tiles", "folder", type=click.Path(path_type=Path), help="Folder of `placet audit tiles`.")
@click.option(
    "--consistency", type=click.Path(path_type=Path), help="File of `placet audit prove --consistency`, without tiles."
)
@click.option(
    "--checkpoint", "note", type=click.Path(path_type=Path), help="What to cosign; the folder's checkpoint by default."
)
@click.option("--out", type=click.Path(path_type=Path), help="File for the cosigned note; stdout by default.")
@click.option("--first", is_flag=True, help="This witness has never seen the log; there is no state yet.")
def witness(
    key_file: Path,
    name: str,
    log_keys: tuple[str, ...],
    state: Path,
    folder: Path | None,
    consistency: Path | None,
    note: Path | None,
    out: Path | None,
    first: bool,
) -> None:
    r"""Cosign a checkpoint if the log has only grown since the last one.

    Run it elsewhere and by somebody else than the log: with a key and a state of its own. It refuses a log that got
    shorter or has another history, and then says so in one line with exit code 1: keep both checkpoints.

    \b
    Examples:
      placet audit witness-key witness.key --name witness.example.org/w1 --new
      placet audit witness --key witness.key --name witness.example.org/w1 --log-key keys/log.vkey
        --state witness.state --tiles tiles --out cosigned.note --first

    \b
    Exit codes:
      0  cosigned
      1  refused: the log is not what it was
      2  it could not be told

    \b
    Environment:
      PLACET_WITNESS_KEY_PASSPHRASE  opens an encrypted key

    \b
    See also: placet audit verify --witness-key, docs/operations.md
    """
    keys = read_keys(log_keys)
    if note is None and folder is None:
        raise click.UsageError("give --tiles, or --checkpoint with --consistency")
    if folder is not None and consistency is not None:
        raise click.UsageError("give --tiles or --consistency, not both")
    raw_note = read_limited(note if note is not None else (folder or Path()) / CHECKPOINT, MAX_NOTE_BYTES)
    if folder is not None:
        prove = prove_by_tiles(folder, raw_note)
    else:
        prove = prove_by_file(read_limited(consistency, MAX_PROOF_BYTES) if consistency else b"", keys)
    cosigner = load_cosigner(key_file, name)
    try:
        done = cosign_checkpoint(
            raw_note, log_keys=keys, cosigner=cosigner, state=state, prove=prove, now=now(), first=first
        )
    except TamperError as exc:
        click.echo(f"NOT COSIGNED {exc.code}: {exc}", err=True)
        raise SystemExit(1) from exc
    if out is None:
        click.echo(done.note, nl=False)
    else:
        replace_file(out, done.note)
    say(f"cosigned {done.checkpoint.size} leaves of {done.checkpoint.origin}")
