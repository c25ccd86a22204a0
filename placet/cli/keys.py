"""``placet keys``: make, show and fetch keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from placet.approvals.key_files import generate_private_key, load_private_pem, render_private_key, save_private_pem
from placet.approvals.keys import ED25519, SCHEMES, PublicKey, from_crypto, parse_public_pem
from placet.approvals.signing import fetch_public_key, load_signer
from placet.cli.group import Group
from placet.cli.options import output_option
from placet.cli.output import print_result, safe, say
from placet.cli.passphrase import new_passphrase, passphrase_option, secrets_from
from placet.errors import InputError

SCHEMA: Final = "placet.dev/key/v1"
_output = output_option("json", "yaml", "pem")


@click.group(cls=Group)
def keys() -> None:
    r"""Make, show and fetch the keys that sign approvals, evidence and keyrings.

    A key counts for nothing until a keyring that the roots have signed says whose it is and what it may sign.

    \b
    Examples:
      placet keys generate --out alice.key
      placet keys show alice.pub
      placet keys import awskms:alias/approver --out approver.pub

    \b
    See also: placet keyring
    """


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

    \b
    Environment:
      PLACET_KEY_PASSPHRASE  the new key's passphrase, where nobody can be asked

    \b
    See also: placet keyring add
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
    say(f"private key  {safe(out)}" + (" (not encrypted)" if no_passphrase else ""))
    say(f"public key   {safe(public_file)}")
    _print(public, output)


@keys.command()
@click.argument("key", type=click.Path())
@passphrase_option
@_output
def show(key: str, *, passphrase_file: Path | None, output: str) -> None:
    r"""Show the public half of a key file, private or public.

    The private half is never printed. An encrypted private key is opened with its passphrase.

    \b
    Examples:
      placet keys show alice.pub
      placet keys show alice.pub -o json
      placet keys show alice.key -o pem > alice.pub

    \b
    Environment:
      PLACET_KEY_PASSPHRASE  opens the key

    \b
    See also: placet keyring show
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

    The service is asked with the credentials that its own tools use; the private key never leaves it.

    \b
    See also: placet keyring add
    """
    if out.exists():
        raise InputError(f"{out} exists already", hint="Name another file; a key is never overwritten.")
    public = fetch_public_key(uri, ask=secrets_from(None))
    _save_public(out, public)
    say(f"public key   {safe(out)}")
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
    elif output != "text":
        shown: dict[str, Any] = {
            "schema": SCHEMA,
            "fingerprint": public.fingerprint,
            "scheme": public.scheme,
            "pem": public.pem,
        }
        print_result(shown, output)
    else:
        click.echo(f"fingerprint  {public.fingerprint}\nscheme       {public.scheme}")
