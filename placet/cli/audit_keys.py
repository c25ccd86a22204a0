"""``placet audit key`` and ``placet audit witness-key``: the keys that sign checkpoints, and those that cosign them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from placet.audit.cosignature import Cosigner
from placet.audit.note import generate_log_key, load_log_key

PASSPHRASE: Final = "PLACET_WITNESS_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable


@click.command("key")
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


@click.command("witness-key")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the witness, as in witness.example.org/w1.")
@click.option("--new", is_flag=True, help="Make the key; an existing file is never overwritten.")
def witness_key(file: Path, name: str, new: bool) -> None:
    r"""Print the verifier key of a witness's private key FILE (PKCS#8 PEM, Ed25519).

    The verifier key is what --witness-key takes, and no secret. Never use the key of a log, nor one key for two
    witnesses.

    \b
    Examples:
      placet audit witness-key witness.key --name witness.example.org/w1 --new
      placet audit witness-key witness.key --name witness.example.org/w1

    \b
    Environment:
      PLACET_WITNESS_KEY_PASSPHRASE  opens an encrypted key, and encrypts a new one

    \b
    See also: placet audit witness
    """
    if new:
        made = Cosigner(name, generate_log_key(file, name=name, passphrase=_passphrase()).private)
    else:
        made = load_cosigner(file, name)
    click.echo(str(made.verifier))


def load_cosigner(file: Path, name: str) -> Cosigner:
    """The witness's private key of a file; raises as ``load_log_key`` does."""
    return Cosigner(name, load_log_key(file, name=name, passphrase=_passphrase()).private)


def _passphrase() -> bytes | None:
    text = os.environ.get(PASSPHRASE)
    return text.encode() if text else None
