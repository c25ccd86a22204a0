"""``placet revoke``: take an approval back."""

from __future__ import annotations

import os
from pathlib import Path

import click

from placet.approvals.envelope import render_envelope
from placet.approvals.keys import parse_public_pem
from placet.approvals.revocations import SUFFIX
from placet.approvals.signing import load_signer, sign_statement
from placet.approvals.statement import REVOCABLE, RevocationStatement, render_statement
from placet.cli import clock
from placet.cli.complete import complete_environment
from placet.cli.options import key_options
from placet.cli.output import say
from placet.cli.passphrase import passphrase_option, secrets_from
from placet.errors import FormatError, InputError


@click.command()
@click.argument("approval_id")
@click.option("--role", type=click.Choice(REVOCABLE), required=True, help="The approval's role.")
@click.option(
    "-e", "--environment", required=True, shell_complete=complete_environment, help="The approval's environment."
)
@key_options
@click.option("--ticket", default="", help="A ticket that says more.")
@click.option("--reason", default="", help="Your words, kept with the revocation.")
@click.option("--out", type=click.Path(), help="File or folder; ./<approval id>.dsse.json by default.")
@passphrase_option
def revoke(
    approval_id: str,
    role: str,
    environment: str,
    key_uri: str,
    public_key: Path | None,
    ticket: str,
    reason: str,
    out: str | None,
    passphrase_file: Path | None,
) -> None:
    r"""Take an approval back, by its id.

    Whoever may approve in that role and environment may revoke. Writes a signed revocation, which counts once it lies
    in the gate's folder of revocations. It never expires, and once it has counted nobody can undo it, not by removing
    the file either: a new approval is given then.

    \b
    Examples:
      placet revoke 5f0cbb0e-9d0c-4dd8-9d0a-6a2b7c6f1d11 --role security -e production --key bob.key
      placet revoke 01JD3Z8Q6W2Y4K7M9N0P1R2S3T --role business -e production --key awskms:alias/bea \
        --public-key bea.pub --reason "contract ended" --out revocations/

    What was let in because of it goes on running: a revocation counts at the next admission.

    \b
    Environment:
      PLACET_KEY_PASSPHRASE  opens the key

    \b
    See also: placet verify shows ids of approvals; placet keyring revoke-approval
    """
    signer = load_signer(
        key_uri,
        public_key=None if public_key is None else parse_public_pem(_read(public_key)),
        ask=secrets_from(passphrase_file),
    )
    statement = RevocationStatement(approval_id, role, environment, clock.now_utc(), ticket, reason)
    try:
        payload = render_statement(statement)
    except FormatError as exc:
        raise InputError(
            f"this can't be revoked: {exc}", hint="The approval's id is shown by `placet verify`."
        ) from exc
    file = Path(out or ".")
    to_make = out is not None and out.endswith(os.sep)
    if to_make or file.is_dir():
        file /= f"{approval_id}{SUFFIX}"
    try:
        if to_make:
            file.parent.mkdir(exist_ok=True)
        with file.open("xb") as opened:
            opened.write(render_envelope(sign_statement(signer, payload)) + b"\n")
    except OSError as exc:
        raise InputError(f"can't write {file}: {exc.strerror or exc}") from exc
    named = "" if file.name.endswith(SUFFIX) else f", named *{SUFFIX},"
    say(f"written to {file}; it counts once it lies{named} in the gate's folder of revocations, then for good")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise InputError(f"can't read the public key {file}: {exc.strerror or exc}") from exc
