"""``placet policy bundle``: compile policies, sign them, check them, and carry them to where gates find them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from placet.cli import clock
from placet.cli.group import Group
from placet.cli.options import key_options, output_option
from placet.cli.output import print_result, safe, say, style
from placet.cli.passphrase import passphrase_option, secrets_from
from placet.cli.policy_build import build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placet.approvals.keys import PublicKey
    from placet.policy.signed import SignedBundle

SCHEMA: Final = "placet.dev/policy-bundle-verification/v1"
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)
_KEYS: Final = click.option(
    "--verify-key",
    "key_files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="PEM file of a public key that may sign, or a folder of them (repeatable).",
)
_THRESHOLD: Final = click.option(
    "--threshold", type=click.IntRange(min=1), help="How many of them must have signed; all that are named by default."
)
_MINIMUM: Final = click.option(
    "--minimum-version", type=click.IntRange(min=0), default=0, help="Refuse an older one: that in force."
)
_CA: Final = click.option(
    "--ca-file", type=click.Path(path_type=Path), help="Authorities (PEM) of the server's certificate."
)


@click.group(cls=Group)
def bundle() -> None:
    r"""Compile policies, sign them, check them, and carry them to where gates find them.

    A bundle is a folder: the policies compiled for both engines, their defaults and schemas, and a manifest with the
    digest of each. Its signature says who stands for it, and its version which of two is newer.

    \b
    Examples:
      placet policy bundle build --policies our-policies --out policies.d
      placet policy bundle sign policies.d --key release.key --version 7
      placet policy bundle push policies.d oci://registry.example.org/team/policies:7
      placet policy bundle pull oci://registry.example.org/team/policies:7 policies.d --verify-key release.pub
      placet policy bundle show policies.d

    \b
    See also: docs/policy-authors.md, docs/formats-policies.md
    """


bundle.add_command(build)


@bundle.command()
@click.argument("folder", type=_FOLDER)
@key_options
@click.option(
    "--version", "number", type=click.IntRange(min=1), help="Needed for the first signature; higher than that in force."
)
@passphrase_option
def sign(folder: Path, key_uri: str, public_key: Path | None, number: int | None, passphrase_file: Path | None) -> None:
    r"""Sign a bundle with one key.

    Each of several people signs in turn; what was signed stays as the first of them signed it. A bundle that was built
    again, or gets another version, begins anew.

    \b
    Examples:
      placet policy bundle sign policies.d --key alice.key --version 7
      placet policy bundle sign policies.d --key awskms:alias/release --public-key release.pub

    \b
    Environment:
      PLACET_KEY_PASSPHRASE  opens the key

    \b
    See also: placet policy bundle verify, placet keys generate
    """
    from placet.approvals.envelope import render_envelope
    from placet.approvals.signing import add_signature, load_signer, sign_statement
    from placet.cli.keyring_file import load_public
    from placet.errors import InputError
    from placet.policy.bundle import load_bundle
    from placet.policy.signed import SIGNATURE, render_bundle_statement

    found = load_bundle(folder)
    manifest = found.load_manifest()
    for name in found.files:
        found.load_file(name)
    present = _find_present(folder, manifest, number)
    if present is None and number is None:
        raise InputError(
            f"{folder} is not signed yet, and no --version is given",
            hint="Count it up from that of the bundle in force; the first is 1.",
        )
    named = None if public_key is None else load_public(public_key)
    signer = load_signer(key_uri, public_key=named, ask=secrets_from(passphrase_file))
    if present is None:
        payload = render_bundle_statement(manifest, found.revision, version=number or 0, issued_at=clock.now_utc())
        envelope = sign_statement(signer, payload)
    else:
        envelope = add_signature(present, signer)
    _save(folder / SIGNATURE, render_envelope(envelope) + b"\n")
    say(f"{folder}: {len(envelope.signatures)} signature(s), the last by {signer.public_key.fingerprint}")


@bundle.command()
@click.argument("folder", type=_FOLDER)
@_KEYS
@_THRESHOLD
@_MINIMUM
@output_option("json", "yaml")
def verify(folder: Path, key_files: tuple[Path, ...], threshold: int | None, minimum_version: int, output: str) -> None:
    r"""Check a bundle and its signatures as the gate does.

    Every file by its digest in the manifest, the manifest by its signatures, the version against the one in force.

    \b
    Examples:
      placet policy bundle verify policies.d --verify-key release.pub
      placet policy bundle verify policies.d --verify-key keys/ --threshold 2 --minimum-version 7

    \b
    Exit codes:
      0  it would be taken
      2  it would not, or can't be read

    \b
    See also: placet policy bundle show
    """
    keys = _load_keys(key_files)
    _print(_verify(folder, keys, threshold, minimum_version), output)


@bundle.command()
@click.argument("folder", type=_FOLDER)
@output_option("json", "yaml")
def show(folder: Path, output: str) -> None:
    r"""Show what a bundle says of itself, unverified.

    \b
    Examples:
      placet policy bundle show policies.d
      placet policy bundle show policies.d -o json

    \b
    See also: placet policy bundle verify
    """
    from placet.canonical import Digest
    from placet.errors import EngineError
    from placet.policy.bundle import load_bundle
    from placet.policy.signed import load_signature, read_bundle_statement

    found = load_bundle(folder)
    shown: dict[str, Any] = {
        "schema": "placet.dev/policy-bundle-summary/v1",
        "digest": str(Digest.of(found.load_manifest())),
        "revision": found.revision,
        "compiler": found.compiler,
        "rules": [rule.id for rule in found.rules],
        "version": 0,
        "issued_at": "",
        "signatures": [],
    }
    try:
        envelope = load_signature(folder)
        _, _, shown["version"], issued = read_bundle_statement(envelope.payload)
        shown["issued_at"] = issued.isoformat()
        shown["signatures"] = [signature.keyid for signature in envelope.signatures]
    except EngineError as exc:
        if exc.code != "bundle_unsigned" or "is not signed" not in str(exc):
            raise
    if output != "text":
        print_result(shown, output)
        return
    click.echo(f"digest    {shown['digest']}")
    click.echo(f"revision  {shown['revision']}, compiled by OPA {safe(shown['compiler'])}")
    click.echo(f"rules     {len(found.rules)}")
    if not shown["version"]:
        click.echo("signed    no")
        return
    click.echo(f"signed    version {shown['version']}, {shown['issued_at']}, not verified, by")
    for keyid in shown["signatures"]:
        click.echo(f"          {safe(keyid)}")


@bundle.command()
@click.argument("folder", type=_FOLDER)
@click.argument("location")
@click.option("--opa", "for_opa", is_flag=True, help="Put there what an OPA server loads, instead of the package.")
@_CA
def push(folder: Path, location: str, for_opa: bool, ca_file: Path | None) -> None:
    r"""Put a bundle to where gates find it.

    LOCATION is a folder, file:PATH, a URL that takes PUT, or oci://HOST/NAME:TAG. An OPA server that is configured with
    the same reference of a registry loads the policies from it too; from a file or a URL it loads what --opa puts
    there. Nothing unsigned has to be refused here: gates refuse it.

    \b
    Examples:
      placet policy bundle push policies.d oci://registry.example.org/team/policies:7
      placet policy bundle push policies.d https://files.example.org/policies.tar.gz
      placet policy bundle push policies.d /srv/policies
      placet policy bundle push policies.d file:policies.tar.gz
      placet policy bundle push policies.d https://files.example.org/opa.tar.gz --opa

    \b
    Environment:
      PLACET_BUNDLE_TOKEN  bearer token for a web server; a registry's credentials are those of docker

    \b
    See also: placet policy bundle pull, placet policy bundle sign
    """
    from placet.policy.locations import parse_location, store_package
    from placet.policy.package import render_package

    place = parse_location(location)
    if for_opa and place.kind not in {"file", "http"}:
        raise click.UsageError("--opa goes with a file or a URL; an artifact in a registry has what OPA loads in it.")
    raw = _render_for_opa(folder) if for_opa else render_package(folder)
    fetched_as = store_package(raw, place, ca_file=ca_file)
    say(f"{len(raw)} bytes, fetched again as")
    click.echo(fetched_as)


@bundle.command()
@click.argument("location")
@click.argument("folder", type=_FOLDER)
@_KEYS
@_THRESHOLD
@_MINIMUM
@click.option("--unsigned", is_flag=True, help="Take it without looking at signatures.")
@_CA
@output_option("json", "yaml")
def pull(
    location: str,
    folder: Path,
    key_files: tuple[Path, ...],
    threshold: int | None,
    minimum_version: int,
    unsigned: bool,
    ca_file: Path | None,
    output: str,
) -> None:
    r"""Fetch a bundle, check it, and put it into a folder.

    What does not verify is not put there, and what was there stays.

    \b
    Examples:
      placet policy bundle pull oci://registry.example.org/team/policies:7 policies.d --verify-key release.pub
      placet policy bundle pull https://files.example.org/policies.tar.gz policies.d --verify-key keys/ --threshold 2

    \b
    Environment:
      PLACET_BUNDLE_TOKEN  bearer token for a web server; a registry's credentials are those of docker

    \b
    See also: placet policy bundle push, placet policy bundle verify
    """
    import tempfile

    from placet.policy.bundle import load_bundle
    from placet.policy.locations import fetch_package, parse_location
    from placet.policy.package import save_package

    if unsigned == bool(key_files):
        raise click.UsageError("Name the keys that may sign with --verify-key, or say --unsigned.")
    keys = _load_keys(key_files) if key_files else ()
    raw = fetch_package(parse_location(location), ca_file=ca_file).raw or b""
    with tempfile.TemporaryDirectory(prefix="placet-pull-") as aside:
        tried = Path(aside) / "bundle"
        save_package(raw, tried)
        if keys:
            checked = _verify(tried, keys, threshold, minimum_version)
        else:
            found = load_bundle(tried)
            for name in found.files:
                found.load_file(name)
    try:
        save_package(raw, folder)
    except OSError as exc:
        from placet.errors import InputError

        raise InputError(f"can't write {folder}: {exc.strerror or exc}") from exc
    say(f"written to {folder}")
    if keys:
        _print(checked, output)


def _render_for_opa(folder: Path) -> bytes:
    """What an OPA server loads, as the manifest names it."""
    from placet.policy.bundle import SOURCES, load_bundle

    return load_bundle(folder).load_file(SOURCES)


def _find_present(folder: Path, manifest: bytes, number: int | None) -> Any:
    """The envelope that is to get one more signature; None where a new one begins."""
    from placet.canonical import Digest
    from placet.errors import EngineError, FormatError
    from placet.policy.signed import load_signature, read_bundle_statement

    try:
        envelope = load_signature(folder)
        signed, _, version, _ = read_bundle_statement(envelope.payload)
    except (EngineError, FormatError):
        return None
    return envelope if signed == Digest.of(manifest) and number in {None, version} else None


def _load_keys(files: Sequence[Path]) -> tuple[PublicKey, ...]:
    from placet.approvals.keyring import load_roots
    from placet.errors import InputError, KeyringError

    try:
        return load_roots(files)
    except KeyringError as exc:
        fault = str(exc).replace("the root key", "the key").replace("no root key", "no key")
        raise InputError(fault, hint="Name PEM files of public keys with --verify-key.") from exc


def _verify(folder: Path, keys: Sequence[PublicKey], threshold: int | None, minimum: int) -> SignedBundle:
    from placet.policy.signed import verify_bundle

    different = len({key.fingerprint for key in keys})
    needed = different if threshold is None else threshold
    return verify_bundle(folder, keys=keys, threshold=needed, now=clock.now_utc(), minimum_version=minimum)


def _print(signed: SignedBundle, output: str) -> None:
    if output != "text":
        print_result(
            {
                "schema": SCHEMA,
                "digest": str(signed.digest),
                "revision": signed.bundle.revision,
                "version": signed.version,
                "issued_at": signed.issued_at.isoformat(),
                "signers": list(signed.signers),
            },
            output,
        )
        return
    click.echo(f"{style('verified', 'green', bold=True)}  version {signed.version}, {signed.digest}")
    for fingerprint in signed.signers:
        click.echo(f"  signed by {fingerprint}")


def _save(path: Path, content: bytes) -> None:
    from placet.errors import InputError

    try:
        path.write_bytes(content)
    except OSError as exc:
        raise InputError(f"can't write {path}: {exc.strerror or exc}") from exc
