"""``placet keys``: make, show and fetch keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from placet.approvals.key_files import generate_private_key, load_private_pem, render_private_key, save_private_pem
from placet.approvals.keys import ED25519, SCHEMES, PublicKey, from_crypto, parse_public_pem
from placet.approvals.signing import fetch_public_key, load_signer
from placet.cli.output import print_result, say
from placet.cli.passphrase import new_passphrase, passphrase_option, secrets_from
from placet.errors import InputError

_output = click.option("-o", "--output", type=click.Choice(["text", "json", "pem"]), default="text", show_default=True)


@click.group()
def keys() -> None:
    """Make, show and fetch the keys that sign approvals, evidence and keyrings."""


@keys.command()
@click.option("--scheme", type=click.Choice(SCHEMES), default=ED25519, show_default=True, help="Kind of key.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File of the private key, a new one.")
@click.option("--no-passphrase", is_flag=True, help="Leave the private key unencrypted.")
@passphrase_option
@_output
def generate(scheme: str, out: Path, *, no_passphrase: bool, passphrase_file: Path | None, output: str) -> None:
    r"""Make a key pair: the private key in --out, the public key beside it as .pub.

    The private key is encrypted (PKCS#8, scrypt, AES-256) and readable by its owner alone. Nothing is overwritten.

    \b
    Examples:
      placet keys generate --out alice.key
      placet keys generate --scheme ecdsa-p256-sha256 --out ci.key --passphrase-file ci.pass
    """
    public_file = out.with_suffix(".pub")
    if public_file == out:
        raise InputError(
            f"{out} is the name of the public key", hint="Give the private key another ending, such as .key."
        )
    for file in (out, public_file):
        if file.exists():
            raise InputError(f"{file} exists already", hint="Name another file; a key is never overwritten.")
    passphrase = None if no_passphrase else new_passphrase(passphrase_file)
    private = generate_private_key(scheme)
    public = from_crypto(private.public_key())
    save_private_pem(out, render_private_key(private, passphrase))
    _save_public(public_file, public)
    say(f"private key  {out}" + (" (not encrypted)" if no_passphrase else ""))
    say(f"public key   {public_file}")
    _print(public, output)


@keys.command()
@click.argument("key")
@passphrase_option
@_output
def show(key: str, *, passphrase_file: Path | None, output: str) -> None:
    r"""Show the public half of a key file, private or public.

    \b
    Examples:
      placet keys show alice.pub
      placet keys show alice.key -o pem > alice.pub
    """
    _print(_read(key, passphrase_file), output)


@keys.command("import")
@click.argument("uri")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File of the public key, a new one.")
@_output
def import_(uri: str, out: Path, output: str) -> None:
    r"""Fetch the public key of a KMS, HSM or Vault key.

    Signing with such a key needs this file: --key URI --public-key FILE.

    \b
    Examples:
      placet keys import awskms:alias/approver --out approver.pub
      placet keys import gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1 --out k.pub
    """
    if out.exists():
        raise InputError(f"{out} exists already", hint="Name another file; a key is never overwritten.")
    public = fetch_public_key(uri, ask=secrets_from(None))
    _save_public(out, public)
    say(f"public key   {out}")
    _print(public, output)


def _read(key: str, passphrase_file: Path | None) -> PublicKey:
    content = load_private_pem(Path(key.removeprefix("file:")))
    if b"PUBLIC KEY" in content:
        return parse_public_pem(content)
    return load_signer(key, ask=secrets_from(passphrase_file)).public_key


def _save_public(file: Path, public: PublicKey) -> None:
    try:
        with file.open("x", encoding="ascii") as opened:
            opened.write(public.pem)
    except OSError as exc:
        raise InputError(f"can't write {file}: {exc.strerror or exc}") from exc


def _print(public: PublicKey, output: str) -> None:
    if output == "pem":
        click.echo(public.pem, nl=False)
    elif output == "json":
        shown: dict[str, Any] = {"fingerprint": public.fingerprint, "scheme": public.scheme, "pem": public.pem}
        print_result(shown, "json")
    else:
        click.echo(f"fingerprint  {public.fingerprint}\nscheme       {public.scheme}")
