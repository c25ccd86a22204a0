"""``placet keyring``: who may approve and attest what, edited as YAML, signed by root keys."""

from __future__ import annotations

import difflib
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click

from placet.approvals.envelope import parse_envelope, render_envelope
from placet.approvals.identities import FACTS
from placet.approvals.keyring import (
    KEYRING_PAYLOAD_TYPE,
    MAX_KEYRING_BYTES,
    load_keyring,
    load_roots,
    verify_keyring,
)
from placet.approvals.signing import add_signature, load_signer, sign_payload
from placet.approvals.times import render_time
from placet.cli import clock
from placet.cli.complete import complete_environment
from placet.cli.group import Group
from placet.cli.keyring_file import find_present, load_public, read_payload
from placet.cli.keyring_source import (
    add_right,
    canonical_payload,
    edit_source,
    key_entry,
    load_source_text,
    parse_source,
    render_new_source,
)
from placet.cli.keyring_view import print_keyring
from placet.cli.options import key_options, output_option, roots_options
from placet.cli.output import EXIT_VIOLATIONS, print_result, safe, say, style
from placet.cli.passphrase import passphrase_option, secrets_from
from placet.cli.workloads import load_gate_data
from placet.errors import FormatError, InputError, KeyringError
from placet.model import GRANTED_ROLES, LEVELS

_SOURCE: Final = click.option(
    "-f",
    "--source",
    type=click.Path(path_type=Path),
    default=Path("keyring.yaml"),
    show_default=True,
    help="The keyring's source.",
)
VERDICT_SCHEMA: Final = "placet.dev/keyring-verification/v1"
_NOT_A_VERDICT: Final = frozenset({"keyring_missing", "keyring_roots"})


@click.group(cls=Group)
def keyring() -> None:
    r"""Say who may approve and attest what.

    The keyring is edited as YAML (keyring.yaml) and counts only once root keys have signed it (keyring.dsse.json).
    Commands that change the source leave its comments and its order as they are, and never touch what is signed.

    \b
    Examples, a new keyring from nothing:
      placet keyring init
      placet keyring add alice@example.org --person p-alice --key alice.pub
      placet keyring grant alice@example.org --role technical --environment production --max-risk high
      placet keyring sign --key root-1.key
      placet keyring sign --key root-2.key
      placet keyring verify keyring.dsse.json --root root-1.pub --root root-2.pub

    \b
    See also: placet keys generate, docs/formats-approvals.md
    """


@keyring.command()
@_SOURCE
@click.option("--days", type=click.IntRange(1, 400), default=90, show_default=True, help="How long it holds.")
def init(source: Path, days: int) -> None:
    r"""Write the source of a new, empty keyring.

    \b
    Example:
      placet keyring init -f keyring.yaml --days 90

    Nothing that exists is overwritten. `placet init` makes a keyring with example people, signed, at once.

    \b
    See also: placet keyring add, placet init
    """
    now = clock.now_utc()
    try:
        with source.open("x", encoding="utf-8") as opened:
            opened.write(render_new_source(now=now, expires=now + timedelta(days=days)))
    except OSError as exc:
        raise InputError(f"can't write {source}: {exc.strerror or exc}") from exc
    say(f"written to {source}; add people with `placet keyring add`")


@keyring.command()
@click.argument("identity")
@_SOURCE
@click.option("--person", help="Who that is; needed for a new identity. One person counts once.")
@click.option("--key", "key_file", required=True, type=click.Path(path_type=Path), help="PEM file of the public key.")
@click.option("--username", "usernames", multiple=True, help="A name that the API server knows them by (repeatable).")
@click.option("--days", type=click.IntRange(1, 3660), default=365, show_default=True, help="How long the key is valid.")
def add(identity: str, source: Path, person: str | None, key_file: Path, usernames: tuple[str, ...], days: int) -> None:
    r"""Add an identity with its key, or one more key to an identity.

    \b
    Examples:
      placet keyring add alice@example.org --person p-alice --key alice.pub --username oidc:alice
      placet keyring add alice@example.org --key alice-new.pub

    Counts once the roots have signed. Rights are given by `placet keyring grant`.

    \b
    See also: placet keyring grant, placet keys generate
    """
    now = clock.now_utc()
    entry = key_entry(load_public(key_file), valid_from=now, valid_until=now + timedelta(days=days))

    def change(document: Any) -> None:
        known = [found for found in document["identities"] if found.get("id") == identity]
        if known:
            known[0]["keys"].append(entry)
            if usernames:
                known[0]["usernames"] = sorted({*known[0].get("usernames", []), *usernames})
            return
        if not person:
            raise InputError(f"{identity} is new", hint="Say who that is with --person.")
        found: dict[str, Any] = {"id": identity, "person": person}
        if usernames:
            found["usernames"] = list(usernames)
        document["identities"].append(found | {"keys": [entry], "grants": []})

    edit_source(source, change)
    say(f"{identity}: key {entry['fingerprint']} added; it counts once the keyring is signed")


@keyring.command()
@click.argument("identity")
@_SOURCE
@click.option(
    "--role",
    type=click.Choice(GRANTED_ROLES),
    help="May approve in this role; exempt: may say which workloads need no approval; break-glass: may let one in "
    "without approvals, with somebody else; break-glass-review: may look into it afterwards.",
)
@click.option(
    "--fact",
    "facts",
    multiple=True,
    help="May attest this fact of the risk score, or this kind of evidence (repeatable).",
)
@click.option(
    "--environment",
    "environments",
    multiple=True,
    shell_complete=complete_environment,
    help="In this environment (repeatable).",
)
@click.option("--max-risk", type=click.Choice(LEVELS), help="Up to this risk level; needed with --role.")
@click.option(
    "--model", "models", multiple=True, default=("*",), show_default=True, help="For this model (repeatable)."
)
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    default=("*",),
    show_default=True,
    help="In this namespace (repeatable).",
)
def grant(
    identity: str,
    source: Path,
    role: str | None,
    facts: tuple[str, ...],
    environments: tuple[str, ...],
    max_risk: str | None,
    models: tuple[str, ...],
    namespaces: tuple[str, ...],
) -> None:
    r"""Let an identity approve in a role, or attest facts.

    \b
    Examples:
      placet keyring grant alice@example.org --role technical --environment production --max-risk high
      placet keyring grant ci@example.org --fact coverage --fact rollback
      placet keyring grant scanner@example.org --fact vulnerability_scan --environment production

    Which kinds there are is for the policy data to say; a name that it does not have lets attest nothing.

    Adds to what the identity may do already, unless that is it; to take something away, edit the file. Counts once the
    roots have signed.

    \b
    See also: placet keyring sign, placet keyring show
    """
    if (role is None) == (not facts):
        raise InputError("name either --role or --fact")
    given: dict[str, Any]
    if role is not None:
        if not environments or max_risk is None:
            raise InputError(
                "a role is granted for named environments and up to a level", hint="--environment, --max-risk"
            )
        given = {
            "role": role,
            "environments": list(environments),
            "maxRisk": max_risk,
            "models": list(models),
            "namespaces": list(namespaces),
        }
    else:
        _tell_unknown(facts)
        given = {"facts": list(facts), "models": list(models)}
        if environments:
            given["environments"] = list(environments)

    if edit_source(source, lambda document: add_right(document, identity, given)):
        say(f"{identity}: granted; it counts once the keyring is signed")
    else:
        say(f"{identity}: granted on these terms already; nothing is written")


def _tell_unknown(facts: tuple[str, ...]) -> None:
    """Say which names are none that ships: a slip of the pen grants nothing, and would be looked for long."""
    known = {*FACTS, *load_gate_data(None).evidence.by_name}
    for fact in sorted(set(facts) - known):
        close = difflib.get_close_matches(fact, known, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        say(f"note: {safe(fact)} is no kind of evidence in the policy data here{meant}")


@keyring.command("revoke-key")
@click.argument("fingerprint")
@_SOURCE
@click.option(
    "--as",
    "how",
    required=True,
    type=click.Choice(["superseded", "compromised"]),
    help="With superseded, what it signed before stays good; with compromised, nothing does.",
)
def revoke_key(fingerprint: str, source: Path, how: str) -> None:
    r"""Revoke a key of an identity, named by its fingerprint or the first 8 or more digits of it.

    \b
    Example:
      placet keyring revoke-key 1f0c2a9b --as compromised

    Counts once the roots have signed. Single approvals are taken back by `placet revoke`.

    \b
    See also: placet keyring renew, placet keyring sign
    """
    now = render_time(clock.now_utc())
    shortest = 8

    def change(document: Any) -> None:
        found = [
            key
            for entry in document["identities"]
            for key in entry["keys"]
            if len(fingerprint) >= shortest and str(key["fingerprint"]).startswith(fingerprint)
        ]
        if len(found) != 1:
            raise InputError(f"{len(found)} keys have the fingerprint {fingerprint}, not one")
        found[0]["revokedAt"], found[0]["revocation"] = now, how

    edit_source(source, change)
    say(f"key {fingerprint} is {how} as of {now}; that counts once the keyring is signed")


@keyring.command("revoke-approval")
@click.argument("approval_id")
@_SOURCE
def revoke_approval(approval_id: str, source: Path) -> None:
    r"""Add an approval to those that the keyring revokes.

    \b
    Example:
      placet keyring revoke-approval 5f0cbb0e-9d0c-4dd8-9d0a-6a2b7c6f1d11

    Counts once the roots have signed. Whoever may approve can revoke at once, without the roots: `placet revoke`.

    \b
    See also: placet revoke, placet keyring sign
    """

    def change(document: Any) -> None:
        if approval_id not in document["revokedApprovals"]:
            document["revokedApprovals"].append(approval_id)

    edit_source(source, change)
    say(f"{approval_id} is revoked; that counts once the keyring is signed")


@keyring.command()
@_SOURCE
@click.option("--days", type=click.IntRange(1, 400), default=90, show_default=True, help="How long it holds.")
def renew(source: Path, days: int) -> None:
    r"""Raise the version and set new times, before each new signing.

    \b
    Example:
      placet keyring renew --days 90

    A gate never goes back to an older version, so one that was signed is never signed again with another content.

    \b
    See also: placet keyring sign
    """
    now = clock.now_utc()
    version = 0

    def change(document: Any) -> None:
        nonlocal version
        version = document["version"] = int(document["version"]) + 1
        document["issued"], document["expires"] = render_time(now), render_time(now + timedelta(days=days))

    edit_source(source, change)
    say(f"version {version}, until {render_time(now + timedelta(days=days))}; sign it with `placet keyring sign`")


@keyring.command()
@_SOURCE
@key_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("keyring.dsse.json"),
    show_default=True,
    help="The signed keyring; a root that signs the same content adds its signature.",
)
@passphrase_option
def sign(source: Path, key_uri: str, public_key: Path | None, out: Path, passphrase_file: Path | None) -> None:
    r"""Sign the keyring with one root key.

    \b
    Examples:
      placet keyring sign --key root-1.key
      placet keyring sign --key awskms:alias/root-2 --public-key root-2.pub

    Each root signs the same content in turn, on its own machine if it likes; the gate asks for as many as its
    configuration says. Read what you sign: placet keyring show.

    \b
    Environment:
      PLACET_KEY_PASSPHRASE  opens the key

    \b
    See also: placet keyring renew, placet keyring verify
    """
    payload = canonical_payload(load_source_text(source), file=source)
    content = parse_source(payload.decode("utf-8"), file=source)
    present = find_present(out, payload, content)
    named = None if public_key is None else load_public(public_key)
    signer = load_signer(key_uri, public_key=named, ask=secrets_from(passphrase_file))
    envelope = (
        sign_payload(signer, payload, KEYRING_PAYLOAD_TYPE) if present is None else add_signature(present, signer)
    )
    out.write_bytes(render_envelope(envelope) + b"\n")
    say(f"{out}: version {content.version}, {len(envelope.signatures)} signature(s), the last by")
    say(f"  {signer.public_key.fingerprint}")


@keyring.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("keyring.dsse.json"))
@roots_options
@click.option("--minimum-version", type=click.IntRange(min=0), default=0, help="Refuse an older one.")
@output_option("json", "yaml")
def verify(file: Path, roots: tuple[Path, ...], threshold: int | None, minimum_version: int, output: str) -> None:
    r"""Check a signed keyring as the gate does.

    Signatures of the roots, form, version and time. What it says is shown by `placet keyring show`.

    \b
    Examples:
      placet keyring verify keyring.dsse.json --root roots/ --threshold 2
      placet keyring verify --root root-1.pub -o json

    \b
    Exit codes:
      0  a gate with these roots would use it
      1  it would not
      2  it could not be told: the file or a root can't be read

    \b
    See also: placet keyring show, placet config check
    """
    pinned = load_roots(roots)
    raw = load_keyring(file)
    wanted = threshold or len({root.fingerprint for root in pinned})
    try:
        found = verify_keyring(
            raw, roots=pinned, threshold=wanted, now=clock.now_utc(), minimum_version=minimum_version
        )
    except KeyringError as exc:
        if exc.code in _NOT_A_VERDICT:
            raise
        if output == "text":
            click.echo(f"{style('rejected', 'red')}  {safe(exc)} ({exc.code})")
            say(f"  {exc.hint}")
        else:
            verdict = {"schema": VERDICT_SCHEMA, "valid": False, "code": exc.code, "sentence": str(exc)}
            print_result(verdict, output)
        sys.exit(EXIT_VIOLATIONS)
    expires = render_time(found.expires)
    if output == "text":
        click.echo(f"{style('verified', 'green')}  version {found.version}, until {expires}")
    else:
        print_result({"schema": VERDICT_SCHEMA, "valid": True, "version": found.version, "expires": expires}, output)


@keyring.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("keyring.dsse.json"))
@output_option("table", "json", "yaml")
def show(file: Path, output: str) -> None:
    r"""Show what a signed keyring says.

    Verifies nothing: `placet keyring verify` does. Times are UTC.

    \b
    Examples:
      placet keyring show
      placet keyring show keyring.dsse.json -o table
      placet keyring show keyring.dsse.json -o json

    \b
    See also: placet keyring verify
    """
    try:
        envelope = parse_envelope(load_keyring(file).rstrip(b"\n"), max_bytes=MAX_KEYRING_BYTES)
        content = read_payload(envelope)
    except FormatError as exc:
        raise InputError(f"{file} is not a signed keyring: {exc}") from exc
    print_keyring(envelope, content, output)
