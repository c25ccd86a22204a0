"""``placet approve``: look at what is asked, and sign exactly that."""

from __future__ import annotations

import json
import sys
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from placet.approvals.bundle import render_bundle
from placet.approvals.envelope import Envelope, render_annotation, render_envelope
from placet.approvals.in_toto import workload_subjects
from placet.approvals.key_files import load_private_pem
from placet.approvals.keys import parse_public_pem
from placet.approvals.signing import load_signer, sign_statement
from placet.approvals.statement import ApprovalStatement, Audience, render_statement
from placet.audit.query import read_found
from placet.audit.stores.file import open_readonly
from placet.canonical import render_canonical
from placet.cli.output import safe, say, style
from placet.cli.passphrase import passphrase_option, secrets_from
from placet.cli.session import Session, open_session, situation_options
from placet.cli.workloads import write_annotations
from placet.decision import Decision
from placet.errors import InputError
from placet.judge import Findings
from placet.manifests import Manifest, load_manifests
from placet.messages import render_message
from placet.model import LEVELS, ROLES, Workload
from placet.projection import explain_difference, redact
from placet.workload import read_workload
from scorer import explain

DEFAULT_DAYS: Final = 30
LONGEST_DAYS: Final = 90
_MAX_DIFFERENCES: Final = 20


@click.command()
@situation_options
@click.option("--role", type=click.Choice(ROLES), required=True, help="In which role you sign.")
@click.option("--key", "key_uri", required=True, help="Your key: a file, awskms:, gcpkms:, azurekms:, hsm: or hv: URI.")
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
@click.option(
    "--public-key", type=click.Path(path_type=Path), help="Its public key (PEM); needed for keys that are no files."
)
@passphrase_option
@click.option("--yes", is_flag=True, help="Sign without asking.")
def approve(
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
    **given: Any,
) -> None:
    r"""Sign workloads for an environment, in one role.

    \b
    Examples:
      placet approve -f deploy.yaml -e production --role security --key ~/keys/sam.key
      placet approve -f deploy.yaml -e production --role business --key awskms:alias/bea --days 7
      placet approve -f deploy.yaml -e staging --role technical --key tara.key --write patch | \
        kubectl patch deployment llama --patch-file /dev/stdin

    Shows the workload, its images, the risk with what it is made of and what changed since it was last admitted, asks,
    and signs. The approval holds for this content, in this environment and namespace, up to this risk, for these days;
    it is not written when it would not count.
    """
    session = open_session(**given)
    if form != "manifest" and len(session.manifests) > 1:
        raise InputError(
            f"{len(session.manifests)} workloads, one {form}", hint="Name one workload, or write into the manifests."
        )
    signer = load_signer(
        key_uri,
        public_key=None if public_key is None else parse_public_pem(load_private_pem(public_key)),
        ask=secrets_from(passphrase_file),
    )
    for manifest in session.manifests:
        decision = session.decide(manifest)
        workload, findings = _examined(manifest, decision)
        _show(session, decision, role=role, days=days, max_risk=max_risk or findings.assessment.level)
        _show_changes(session, workload, record=given["record"], against=against)
        if not yes:
            _confirm()
        statement = _statement(
            session, workload, findings, role=role, days=days, max_risk=max_risk, ticket=ticket, reason=reason
        )
        envelope = sign_statement(signer, render_statement(statement))
        after = _require_counts(session, manifest, role, envelope)
        _write(manifest, role, envelope, form=form, out=out, bundle_key=signer.public_key)
        _show_missing(after, role, statement)


def _examined(manifest: Manifest, decision: Decision) -> tuple[Workload, Findings]:
    if decision.workload is None or decision.findings is None:
        raise InputError(f"{manifest.file}:{manifest.line}: {render_message(decision)}")
    return decision.workload, decision.findings


def _show(session: Session, decision: Decision, *, role: str, days: int, max_risk: str) -> None:
    workload, findings = _known(decision)
    say(style(f"{workload.resource} in namespace {workload.namespace}", "white", bold=True, err=True))
    say(f"  for         {session.environment} on cluster {session.config.cluster}")
    model = workload.model
    say(f"  model       {safe(model.name or '-')} {safe(model.version)} {model.digest or ''}".rstrip())
    say(f"  projection  {workload.projection.digest}")
    for image in workload.images:
        say(f"  image       {safe(image.reference)}")
    say(f"  you sign    as {role}, for {days} days, up to {max_risk} risk")
    for line in explain.render(findings.assessment):
        say(f"  {line}")
    for assumption in session.assumptions:
        say(f"  assumed: {assumption}")


def _known(decision: Decision) -> tuple[Workload, Findings]:
    if decision.workload is None or decision.findings is None:
        raise InputError("the workload could not be read")
    return decision.workload, decision.findings


def _show_changes(session: Session, workload: Workload, *, record: Path | None, against: Path | None) -> None:
    now = render_canonical(redact(workload.projection.canonical))
    if against is not None:
        before = _earlier(against, workload, session.namespace)
        if before.projection.digest == workload.projection.digest:
            say(f"  nothing governed changed since {safe(against)}")
            return
        _list_changes(
            f"since {safe(against)}", explain_difference(before.projection.canonical, workload.projection.canonical)
        )
        return
    if record is None:
        say("  what changed since it was last admitted is not known (--record or --against shows it)")
        return
    with open_readonly(record) as reader:
        found = reader.last_admitted(
            environment=session.environment, namespace=workload.namespace, kind=workload.kind, name=workload.name
        )
        stored = None if found is None else reader.attachment(found.index, "content")
    if found is None:
        say("  it was never admitted in this environment before")
        return
    leaf = read_found(found).body
    when = str(leaf["time"])[:10]
    if leaf["projection"] == str(workload.projection.digest):
        say(f"  nothing governed changed since it was admitted on {when}")
        return
    if stored is None:
        say(f"  it differs from what was admitted on {when}, whose content is no longer kept")
        return
    differences = explain_difference(stored, now) or ("env values (they are not kept, so which is not known)",)
    _list_changes(f"since it was admitted on {when}", differences)


def _list_changes(since: str, differences: tuple[str, ...]) -> None:
    say(f"  changed {since}:")
    for difference in differences[:_MAX_DIFFERENCES]:
        say(f"    {safe(difference)}")
    if len(differences) > _MAX_DIFFERENCES:
        say(f"    and {len(differences) - _MAX_DIFFERENCES} more")


def _earlier(file: Path, workload: Workload, namespace: str) -> Workload:
    for manifest in load_manifests([str(file)]):
        if manifest.object.get("kind") == workload.kind:
            stated = manifest.object.get("metadata", {}).get("namespace")
            earlier = read_workload(manifest.object, namespace=stated or namespace)
            if earlier.resource == workload.resource:
                return earlier
    raise InputError(
        f"{file} holds no {workload.resource}", hint="--against takes an earlier state of the same workload."
    )


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise InputError(
            "nobody is there to be asked", hint="Run it on a terminal, or add --yes when you have read it elsewhere."
        )
    if not click.confirm("Sign this?", default=False, err=True):
        raise InputError("not signed")


def _statement(
    session: Session,
    workload: Workload,
    findings: Findings,
    *,
    role: str,
    days: int,
    max_risk: str | None,
    ticket: str,
    reason: str,
) -> ApprovalStatement:
    if not workload.model.name or not workload.model.version:
        raise InputError(
            f"{workload.resource} does not say which model it serves",
            hint="Add the label placet.dev/model and the annotation placet.dev/model-version, then approve.",
        )
    now = datetime.now(UTC).replace(microsecond=0)
    return ApprovalStatement(
        approval_id=str(uuid.uuid4()),
        role=role,
        model_name=workload.model.name,
        model_version=workload.model.version,
        audience=Audience(
            clusters=(session.config.cluster,), namespaces=(workload.namespace,), workload=workload.resource
        ),
        environment=session.environment,
        max_risk=max_risk or findings.assessment.level,
        risk_inputs=findings.risk_inputs,
        policy=None,
        issued_at=now,
        not_before=now,
        expires=now + timedelta(days=days),
        ticket=ticket or workload.change_ticket,
        reason=reason,
        subjects=workload_subjects(workload.projection.digest, workload.images, workload.model),
    )


def _annotation(role: str) -> str:
    return f"placet.dev/approval.{role}"


def _require_counts(session: Session, manifest: Manifest, role: str, envelope: Envelope) -> Decision:
    """Judge the workload with the new approval on it: one that does not count is not handed out."""
    metadata = dict(manifest.object["metadata"])
    metadata["annotations"] = {**(metadata.get("annotations") or {}), _annotation(role): render_annotation(envelope)}
    decision = session.decide(replace(manifest, object={**manifest.object, "metadata": metadata}))
    _, findings = _examined(manifest, decision)
    for rejected in findings.approvals.rejected:
        if rejected.role == role:
            raise InputError(
                f"this approval would not count: {rejected.sentence} ({rejected.code})",
                hint="Nothing was written. The keyring says which key may sign what: placet keyring show.",
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


def _show_missing(decision: Decision, role: str, statement: ApprovalStatement) -> None:
    say(
        style(
            f"  {role} approval {statement.approval_id}, until {statement.expires:%Y-%m-%d %H:%M} UTC",
            "green",
            err=True,
        )
    )
    if decision.policy is None:
        return
    missing = [needed for needed in decision.policy.required_roles if needed not in decision.policy.granted_roles]
    say(f"  still missing: {', '.join(missing)}" if missing else "  no approval is missing any more")
