"""``placet approve``: look at what is asked, and sign exactly that."""

from __future__ import annotations

import json
import sys
import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click

from placet.approvals.bundle import render_bundle
from placet.approvals.envelope import Envelope, parse_annotation, render_annotation, render_envelope
from placet.approvals.in_toto import workload_subjects
from placet.approvals.key_files import load_private_pem
from placet.approvals.keys import parse_public_pem
from placet.approvals.signing import Signer, add_signature, load_signer, sign_statement
from placet.approvals.statement import ApprovalStatement, Audience, parse_statement, render_statement
from placet.audit.location import StoreLocation
from placet.cli.approval_view import show_changes, show_workload
from placet.cli.clock import now_utc
from placet.cli.options import environment_option, filename_option, key_options, namespace_option, situation_options
from placet.cli.output import say, style
from placet.cli.passphrase import passphrase_option, secrets_from
from placet.cli.session import Session, open_session
from placet.cli.workloads import Source, write_annotations
from placet.decision import Decision
from placet.errors import InputError
from placet.judge import Findings
from placet.manifests import Manifest
from placet.messages import render_message, render_violation
from placet.model import LEVELS, ROLES, Workload

DEFAULT_DAYS: Final = 30
LONGEST_DAYS: Final = 90
_BINDING: Final = "approvals.binding"
_BOUND: Final = frozenset({"images.pinned", "model.identified"})


@dataclass(frozen=True, slots=True)
class Terms:
    """What the approver chose.

    Attributes:
        role: in which role.
        days: how long it holds.
        max_risk: the highest level; None for the level of now.
        ticket: "" for the workload's own.
        reason: may be "".
    """

    role: str
    days: int
    max_risk: str | None
    ticket: str
    reason: str


@click.command()
@filename_option(required=True)
@environment_option(required=True)
@namespace_option
@click.option("--role", type=click.Choice(ROLES), required=True, help="In which role you sign.")
@key_options
@click.option(
    "--days", type=click.IntRange(1, LONGEST_DAYS), default=DEFAULT_DAYS, show_default=True, help="How long it holds."
)
@click.option(
    "--max-risk", type=click.Choice(LEVELS), help="The highest risk that you agree to; the level of now by default."
)
@click.option("--ticket", default="", help="The change ticket; the workload's own by default.")
@click.option("--reason", default="", help="Your words, kept with the approval.")
@click.option("--against", type=click.Path(path_type=Path), help="An earlier manifest, to show what changed since.")
@click.option(
    "--write",
    "form",
    type=click.Choice(["manifest", "patch", "envelope", "bundle"]),
    default="manifest",
    show_default=True,
    help="Into the manifest; or a merge patch, a DSSE envelope or a Sigstore bundle.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="A file for a patch, envelope or bundle; stdout by default."
)
@situation_options
@click.option(
    "--kubeconfig", type=click.Path(path_type=Path), help="An API server, to know how far autoscalers may go."
)
@passphrase_option
@click.option("--yes", is_flag=True, help="Sign without asking.")
def approve(
    *,
    filenames: tuple[str, ...],
    namespace: str | None,
    kubeconfig: Path | None,
    environment: str,
    config_file: Path,
    record: StoreLocation | None,
    requester: str,
    role: str,
    key_uri: str,
    days: int,
    max_risk: str | None,
    ticket: str,
    reason: str,
    against: Path | None,
    form: str,
    out: Path | None,
    public_key: Path | None,
    passphrase_file: Path | None,
    yes: bool,
) -> None:
    r"""Sign workloads for an environment, in one role.

    Shows the workload, its images, the risk with what it is made of and what changed since it was last approved, asks,
    and signs. The approval holds for this content, in this environment and namespace, up to this risk, for these days;
    it is not written when it would not count. Nothing in the manifest changes but the annotation of your role.

    \b
    Examples:
      placet approve -f deploy.yaml -e production --role security --key ~/keys/sam.key
      placet approve -f deploy.yaml -e production --role business --key awskms:alias/bea --public-key bea.pub --days 7
      placet approve -f deploy.yaml -e staging --role technical --key tara.key --write patch | \
        kubectl patch deployment llama --patch-file /dev/stdin

    \b
    Exit codes:
      0  signed
      2  not signed: it would not count, nobody agreed, or something could not be read

    \b
    Environment:
      PLACET_CONFIG          the configuration file
      PLACET_KEY_PASSPHRASE  opens the key

    \b
    See also: placet plan, placet verify, placet revoke, docs/approvers.md
    """
    source = Source.of(filenames=filenames, targets=(), namespace=namespace, kubeconfig=kubeconfig, context="")
    session = open_session(source, environment=environment, config_file=config_file, record=record, requester=requester)
    if form != "manifest" and len(session.manifests) > 1:
        raise InputError(
            f"{len(session.manifests)} workloads, one {form}", hint="Name one workload, or write into the manifests."
        )
    signer = load_signer(
        key_uri,
        public_key=None if public_key is None else parse_public_pem(load_private_pem(public_key)),
        ask=secrets_from(passphrase_file),
    )
    terms = Terms(role, days, max_risk, ticket, reason)
    for manifest in session.manifests:
        decision = session.decide(manifest)
        workload, findings = _examined(manifest, decision)
        show_workload(session, workload, findings)
        show_changes(session, workload, record=record, against=against)
        joined = _open_envelope(workload, findings, terms, signer)
        statement = _statement(session, workload, findings, terms) if joined is None else _read(joined)
        _show_terms(statement, joined=joined is not None)
        if not yes:
            confirm()
        envelope = (
            sign_statement(signer, render_statement(statement)) if joined is None else add_signature(joined, signer)
        )
        after = _require_counts(session, manifest, role, envelope, signer)
        _write(manifest, role, envelope, form=form, out=out, bundle_key=signer.public_key)
        _show_missing(after, statement)


def _examined(manifest: Manifest, decision: Decision) -> tuple[Workload, Findings]:
    if decision.workload is None or decision.findings is None:
        raise InputError(f"{manifest.file}:{manifest.line}: {render_message(decision)}")
    return decision.workload, decision.findings


def confirm() -> None:
    """Ask whether to sign.

    Raises:
        InputError: nobody is there, or does not want to.
    """
    if not sys.stdin.isatty():
        raise InputError(
            "nobody is there to be asked", hint="Run it on a terminal, or add --yes when you have read it elsewhere."
        )
    if not click.confirm("Sign this?", default=False, err=True):
        raise InputError("not signed")


def _open_envelope(workload: Workload, findings: Findings, terms: Terms, signer: Signer) -> Envelope | None:
    """The envelope on the workload that still wants a further person's signature in this role, or None.

    Several persons of one role sign one statement; a second statement would take the place of the first.
    """
    verified = [item for item in findings.approvals.verified if item.role == terms.role]
    wanted = findings.document["thresholds"][terms.role]
    if not verified or len({item.person for item in verified}) >= wanted or terms.max_risk is not None:
        return None
    if any(item.key == signer.public_key.fingerprint for item in verified):
        return None
    return parse_annotation(workload.approvals[terms.role])


def _read(envelope: Envelope) -> ApprovalStatement:
    statement = parse_statement(envelope.payload)
    if not isinstance(statement, ApprovalStatement):
        raise InputError("the annotation holds a revocation")
    return statement


def _show_terms(statement: ApprovalStatement, *, joined: bool) -> None:
    say(
        f"  you sign    as {statement.role}, until {statement.expires:%Y-%m-%d %H:%M} UTC, "
        f"up to {statement.max_risk} risk{', beside who has signed already' if joined else ''}"
    )


def _statement(session: Session, workload: Workload, findings: Findings, terms: Terms) -> ApprovalStatement:
    if not workload.model.name or not workload.model.version:
        raise InputError(
            f"{workload.resource} does not say which model it serves",
            hint="Add the label placet.dev/model and the annotation placet.dev/model-version, then approve.",
        )
    now = now_utc()
    return ApprovalStatement(
        approval_id=str(uuid.uuid4()),
        role=terms.role,
        model_name=workload.model.name,
        model_version=workload.model.version,
        audience=Audience(
            clusters=(session.config.cluster,), namespaces=(workload.namespace,), workload=workload.resource
        ),
        environment=session.environment,
        max_risk=terms.max_risk or findings.assessment.level,
        risk_inputs=findings.risk_inputs,
        policy=None,
        issued_at=now,
        not_before=now,
        expires=now + timedelta(days=terms.days),
        ticket=terms.ticket or workload.change_ticket,
        reason=terms.reason,
        subjects=workload_subjects(workload.projection.digest, workload.images, workload.model),
    )


def _annotation(role: str) -> str:
    return f"placet.dev/approval.{role}"


def _require_counts(session: Session, manifest: Manifest, role: str, envelope: Envelope, signer: Signer) -> Decision:
    """Judge the workload with the new approval on it: one that does not count is not handed out."""
    metadata = dict(manifest.object["metadata"])
    metadata["annotations"] = {**(metadata.get("annotations") or {}), _annotation(role): render_annotation(envelope)}
    decision = session.decide(replace(manifest, object={**manifest.object, "metadata": metadata}))
    _, findings = _examined(manifest, decision)
    if not any(item.key == signer.public_key.fingerprint for item in findings.approvals.verified if item.role == role):
        reasons = [f"{item.sentence} ({item.code})" for item in findings.approvals.rejected if item.role == role]
        raise InputError(
            f"this approval would not count: {'; '.join(reasons) or 'it was not accepted'}",
            hint="Nothing was written. The keyring says which key may sign what: placet keyring show.",
        )
    told = (*decision.violations, *decision.warnings, *decision.notes)
    unbound = [item for item in told if item.rule == _BINDING and item.details.get("role") == role]
    if unbound:
        # Only what the workload itself lacks can't be bound, and signing again would change nothing.
        lacking = [render_violation(item, decision) for item in told if item.rule in _BOUND]
        raise InputError(
            f"this approval would not count: {render_violation(unbound[0], decision)}",
            hint=f"Nothing was written. Mend the workload first: {'; '.join(lacking)}"
            if lacking
            else "Nothing was written.",
        )
    return decision


def _write(manifest: Manifest, role: str, envelope: Envelope, *, form: str, out: Path | None, bundle_key: Any) -> None:
    value = render_annotation(envelope)
    if form == "manifest":
        write_annotations(manifest, {_annotation(role): value})
        return
    if form == "patch":
        content = json.dumps({"metadata": {"annotations": {_annotation(role): value}}}, indent=2).encode()
    elif form == "envelope":
        content = render_envelope(envelope)
    else:
        content = render_bundle(envelope, bundle_key)
    if out is None:
        click.echo(content.decode("utf-8"))
    else:
        out.write_bytes(content + b"\n")
        say(f"  written to {out}")


def _show_missing(decision: Decision, statement: ApprovalStatement) -> None:
    until = f"{statement.expires:%Y-%m-%d %H:%M} UTC"
    say(style(f"  {statement.role} approval {statement.approval_id}, until {until}", "green", err=True))
    if decision.policy is None:
        return
    missing = [needed for needed in decision.policy.required_roles if needed not in decision.policy.granted_roles]
    say(f"  still missing: {', '.join(missing)}" if missing else "  no approval is missing any more")
