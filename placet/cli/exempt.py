"""``placet exempt``: sign that a workload needs no approval, and list what was signed."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click

from placet.approvals.envelope import Envelope, parse_envelope, render_envelope
from placet.approvals.key_files import load_private_pem
from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.keys import parse_public_pem
from placet.approvals.signing import Signer, add_signature, load_signer, sign_payload
from placet.assemble import load_policies
from placet.cli import clock
from placet.cli.complete import complete_environment
from placet.cli.exempt_view import print_list, show_terms
from placet.cli.options import config_option, filename_option, namespace_option, output_option
from placet.cli.output import EXIT_VIOLATIONS, say
from placet.cli.passphrase import passphrase_option, secrets_from
from placet.cli.trust_options import load_trust
from placet.cli.workloads import Found, Source, load_workloads
from placet.config import Config, load_config
from placet.detection import detect, read_rules
from placet.errors import FormatError, InputError
from placet.exemptions.folder import SUFFIX, SignedExemption, SignedExemptions, check_signed, load_exemptions
from placet.exemptions.statement import (
    GRADES,
    LONGEST,
    PAYLOAD_TYPE,
    ExemptionStatement,
    parse_exemption,
    render_exemption,
)
from placet.exemptions.survey import Standing, survey
from placet.model import ModelIdentity
from placet.policy.data import PolicyData

DEFAULT_DAYS: Final = 30
_FILE: Final = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True)
class _Desk:
    """What a command signs for and holds against."""

    config: Config
    data: PolicyData
    keyring: VerifiedKeyring

    @classmethod
    def open(cls, config_file: Path) -> _Desk:
        config = load_config(config_file)
        trust = load_trust(
            now=clock.now_utc(),
            config_file=config_file,
            keyring_file=None,
            roots=(),
            threshold=None,
            revocations=None,
            cluster="",
        )
        return cls(config, load_policies(config, now=clock.now_utc())[0], trust.keyring)

    def survey(self, held: SignedExemptions) -> tuple[Standing, ...]:
        """How they stand now."""
        return survey(
            held, keyring=self.keyring, cluster=self.config.cluster, data=self.data.value, now=clock.now_utc()
        )


@dataclass(frozen=True, slots=True)
class _Terms:
    """What the signer chose."""

    environment: str
    days: int
    knowing: str
    images: str
    ticket: str
    reason: str


@click.command()
@filename_option(required=False)
@click.option("-e", "--environment", shell_complete=complete_environment, help="Where it needs no approval.")
@namespace_option
@click.option("--reason", default="", help="Why; kept with the exemption and shown to whoever looks.")
@click.option("--ticket", default="", help="A ticket that says more.")
@click.option(
    "--days",
    type=click.IntRange(1, LONGEST.days),
    default=DEFAULT_DAYS,
    show_default=True,
    help="How long it holds; the policy data say how long it may.",
)
@click.option(
    "--knowing",
    type=click.Choice(GRADES[1:]),
    default=None,
    help="You know that it may serve a model (suspected), or does: more persons have to sign then.",
)
@click.option("--accept-tags", is_flag=True, help="Let an image be named by a tag, which others can move.")
@click.option("--key", "key_uri", metavar="KEY", type=click.Path(), help="Your key: a file, or the URI of a key store.")
@click.option("--public-key", type=_FILE, help="Its public key (PEM); needed for keys that are no files.")
@click.option("--sign", "beside", type=_FILE, help="Add your signature to an exemption that somebody else has signed.")
@click.option("--list", "listing", is_flag=True, help="List the exemptions of the folder, and how each one stands.")
@click.option("--out", type=_FILE, help="File or folder; keyring.exemptions of the configuration by default.")
@config_option
@passphrase_option
@click.option("--yes", is_flag=True, help="Sign without asking.")
@output_option("json", "yaml")
def exempt(
    *,
    filenames: tuple[str, ...],
    environment: str | None,
    namespace: str | None,
    reason: str,
    ticket: str,
    days: int,
    knowing: str | None,
    accept_tags: bool,
    key_uri: str | None,
    public_key: Path | None,
    beside: Path | None,
    listing: bool,
    out: Path | None,
    config_file: Path,
    passphrase_file: Path | None,
    yes: bool,
    output: str,
) -> None:
    r"""Sign that a workload needs no approval, and list what was signed.

    For what serves no model where every workload is governed: a proxy, a database, an exporter. The exemption holds
    for this content of this workload alone, in this environment and namespace, for these days; whatever differs is
    judged again. It counts once its file lies in the gate's folder of exemptions, and no longer once the file is gone.
    Whoever signs needs the grant `exempt` in the keyring.

    \b
    Examples:
      placet exempt -f nginx.yaml -e production --reason "static pages" --days 90 --key fay.key
      helm template shop bitnami/nginx | placet exempt -f - -e production -n shop --reason "static pages" --key fay.key
      placet exempt -f train.yaml -e production --knowing suspected --reason "tests" --key fay.key
      placet exempt --sign exemptions/5f0cbb0e-9d0c-4dd8-9d0a-6a2b7c6f1d11.dsse.json --key gus.key
      placet exempt --list

    \b
    Exit codes:
      0  signed; with --list: each one counts
      1  with --list: one does not count, or can't be read
      2  not signed: it would not count, nobody agreed, or something could not be read

    \b
    Environment:
      PLACET_CONFIG          the configuration file
      PLACET_KEY_PASSPHRASE  opens the key

    \b
    See also: placet plan, placet keyring grant, docs/exemptions.md
    """
    if sum((bool(filenames), beside is not None, listing)) != 1:
        raise click.UsageError("Name workloads with -f to exempt them, or an exemption with --sign, or give --list.")
    desk = _Desk.open(config_file)
    if listing:
        _list(desk, output)
        return
    if key_uri is None:
        raise click.UsageError("Missing option '--key'.")
    signer = load_signer(
        key_uri,
        public_key=None if public_key is None else parse_public_pem(load_private_pem(public_key)),
        ask=secrets_from(passphrase_file),
    )
    if beside is not None:
        _sign_beside(desk, beside, signer, yes=yes)
        return
    if not environment or not reason:
        raise click.UsageError("Missing option '--environment'." if not environment else "Missing option '--reason'.")
    source = Source.of(filenames=filenames, targets=(), namespace=namespace, kubeconfig=None, context="")
    images = "as_named" if accept_tags else "pinned"
    terms = _Terms(environment, days, knowing or GRADES[0], images, ticket, reason)
    found = load_workloads(source, desk.data.kinds)
    statements = [_statement(desk, one, terms) for one in found]
    for statement in statements:
        show_terms(statement)
    _confirm(yes=yes)
    for statement in statements:
        envelope = sign_payload(signer, render_exemption(statement), PAYLOAD_TYPE)
        _require_counts(desk, envelope)
        _write(_place(desk, out, statement), envelope, new=True)


def _statement(desk: _Desk, found: Found, terms: _Terms) -> ExemptionStatement:
    workload, now = found.workload, clock.now_utc()
    grade = detect(found.manifest.object, read_rules(desk.data.value["detection"])).answer
    grade = "serves_model" if workload.model != ModelIdentity() else grade
    if GRADES.index(grade) > GRADES.index(terms.knowing):
        what = "may serve a model" if grade == "suspected" else "serves a model, or says that it does"
        raise InputError(
            f"{found.place}: {workload.resource} {what}, so this exemption would not count",
            hint=f"Have it approved. If it must be exempted all the same: --knowing {grade}.",
        )
    loose = [image.reference for image in workload.images if image.digest is None]
    if loose and terms.images == "pinned":
        raise InputError(
            f"{found.place}: {workload.resource} names {loose[0]} by no digest, and a tag can be moved",
            hint="Name it by its digest, or accept that with --accept-tags.",
        )
    return ExemptionStatement(
        exemption_id=str(uuid.uuid4()),
        clusters=(desk.config.cluster,),
        environment=terms.environment,
        namespace=workload.namespace,
        workload=workload.resource,
        projections=(workload.projection.digest,),
        detection=terms.knowing,
        images=terms.images,
        issued_at=now,
        not_before=now,
        expires=now + timedelta(days=terms.days),
        ticket=terms.ticket,
        reason=terms.reason,
    )


def _sign_beside(desk: _Desk, file: Path, signer: Signer, *, yes: bool) -> None:
    try:
        envelope = parse_envelope(file.read_bytes())
        if envelope.payload_type != PAYLOAD_TYPE:
            raise InputError(f"{file} is no exemption")
        statement = parse_exemption(envelope.payload)
    except OSError as exc:
        raise InputError(f"can't read {file}: {exc.strerror or exc}") from exc
    except FormatError as exc:
        raise InputError(f"{file} is no exemption: {exc}") from exc
    show_terms(statement)
    _confirm(yes=yes)
    signed = add_signature(envelope, signer)
    _require_counts(desk, signed)
    _write(file, signed, new=False)


def _require_counts(desk: _Desk, envelope: Envelope) -> None:
    """Hold it against the keyring and the limits: what would not count is not written, unless others are to sign."""
    read = check_signed(render_envelope(envelope), keyring=desk.keyring)
    why = read if isinstance(read, str) else ""
    if not isinstance(read, str):
        (standing,) = desk.survey(SignedExemptions.of((SignedExemption(*read, "new"),)))
        why = standing.why
        if standing.missing:
            say(f"  {why}: placet exempt --sign FILE --key KEY, by somebody else who holds the grant")
            return
    if why:
        raise InputError(
            f"this exemption would not count: {why}",
            hint="Nothing was written. The keyring says who may exempt: placet keyring show.",
        )


def _place(desk: _Desk, out: Path | None, statement: ExemptionStatement) -> Path:
    folder = out or desk.config.exemptions or Path()
    if folder.name.endswith(SUFFIX):
        return folder
    return folder / f"{statement.exemption_id}{SUFFIX}"


def _write(file: Path, envelope: Envelope, *, new: bool) -> None:
    content = render_envelope(envelope) + b"\n"
    try:
        if new:
            file.parent.mkdir(exist_ok=True)
            with file.open("xb") as opened:
                opened.write(content)
        else:
            file.write_bytes(content)
    except OSError as exc:
        raise InputError(f"can't write {file}: {exc.strerror or exc}") from exc
    say(f"written to {file}; it counts while it lies in the gate's folder of exemptions")


def _confirm(*, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(
            "nobody is there to be asked", hint="Run it on a terminal, or add --yes when you have read it elsewhere."
        )
    if not click.confirm("Sign this?", default=False, err=True):
        raise InputError("not signed")


def _list(desk: _Desk, output: str) -> None:
    folder = desk.config.exemptions
    if folder is None:
        raise InputError(
            "the configuration names no folder of exemptions", hint="Name one in keyring.exemptions; then sign one."
        )
    held = load_exemptions(folder, keyring=desk.keyring)
    standings: Sequence[Any] = desk.survey(held)
    print_list(standings, held.faults, output, now=clock.now_utc())
    if held.faults or any(one.why for one in standings):
        sys.exit(EXIT_VIOLATIONS)
