"""``placet break-glass sign``: one person makes a token, a second one adds to it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import click

from placet.approvals.envelope import Envelope, parse_annotation, render_annotation
from placet.approvals.in_toto import workload_subjects
from placet.approvals.rejections import RejectionCode
from placet.approvals.signing import Signer, add_signature, sign_payload
from placet.audit.location import StoreLocation
from placet.breakglass.passage import OVERRIDDEN, RULE
from placet.breakglass.statement import (
    LONGEST,
    TOKEN_PAYLOAD_TYPE,
    TokenStatement,
    render_token,
)
from placet.breakglass.verify import RejectedToken, TokenContext, VerifiedToken, check_token
from placet.cli.approval_view import show_workload
from placet.cli.approve import confirm
from placet.cli.clock import now_utc
from placet.cli.glass_source import judged, open_one, open_signer, write_glass
from placet.cli.options import (
    environment_option,
    filename_option,
    key_options,
    namespace_option,
    situation_options,
    write_option,
    yes_option,
)
from placet.cli.output import safe, say, style
from placet.cli.passphrase import passphrase_option
from placet.cli.session import Session
from placet.decision import Decision
from placet.errors import InputError
from placet.judge import Situation
from placet.manifests import Manifest
from placet.messages import render_message
from placet.model import BREAK_GLASS, DOMAIN, Workload


@click.command()
@filename_option(required=True)
@environment_option(required=True)
@namespace_option
@key_options
@click.option("--reason", default="", help="Why there is no time for approvals; the first of the two must say it.")
@click.option(
    "--minutes",
    type=click.IntRange(1, int(LONGEST.total_seconds()) // 60),
    help="How long it holds from now; the longest that the policy data gives by default.",
)
@click.option("--replicas", type=click.IntRange(min=0), help="The most replicas; the manifest's by default.")
@click.option("--ticket", default="", help="The incident's ticket; the workload's own by default.")
@write_option
@situation_options
@passphrase_option
@yes_option
def sign(
    *,
    filenames: tuple[str, ...],
    environment: str,
    namespace: str | None,
    key_uri: str,
    public_key: Path | None,
    reason: str,
    minutes: int | None,
    replicas: int | None,
    ticket: str,
    form: str,
    config_file: Path,
    record: StoreLocation | None,
    requester: str,
    passphrase_file: Path | None,
    yes: bool,
) -> None:
    r"""Sign a break-glass token for one workload, or add the second person's signature to it.

    The first person makes the token and says why; the second signs the same on the manifest that the first wrote. It
    counts once two persons have signed who may, and neither of them applies it. It is not a way around what was taken
    back, around an image without a digest, or around a model that is not named.

    \b
    Examples:
      placet break-glass sign -f deploy.yaml -e production --reason "llama answers with garbage" --key gina.key
      placet break-glass sign -f deploy.yaml -e production --key hugo.key
      placet break-glass sign -f deploy.yaml -e production --minutes 30 --replicas 8 --reason "outage" --key gina.key

    \b
    Exit codes:
      0  signed
      2  not signed: it would not count, nobody agreed, or something could not be read

    \b
    Environment:
      PLACET_CONFIG          the configuration file
      PLACET_KEY_PASSPHRASE  opens the key

    \b
    See also: placet break-glass review, placet approve, docs/break-glass.md
    """
    session, manifest = open_one(filenames, namespace, environment, config_file, record, requester)
    decision = session.decide(manifest)
    workload, situation = judged(manifest, decision)
    _require_use(decision)
    signer = open_signer(key_uri, public_key, passphrase_file)
    open_token = _open_token(session, decision, signer)
    if open_token is None:
        if not reason.strip():
            raise InputError("a break-glass token needs a reason", hint="Say it with --reason: it is in the record.")
        token = _token(session, workload, situation, minutes=minutes, replicas=replicas, ticket=ticket, reason=reason)
    elif reason or minutes or replicas is not None or ticket:
        raise InputError(
            "somebody has signed this token already, and what it says is settled",
            hint="Add your signature without --reason, --minutes, --replicas and --ticket; or take the annotation off.",
        )
    else:
        token = open_token[0]
    if decision.findings is not None:
        show_workload(session, workload, decision.findings)
    _show_token(token)
    if not yes:
        confirm()
    envelope = (
        sign_payload(signer, render_token(token), TOKEN_PAYLOAD_TYPE)
        if open_token is None
        else add_signature(open_token[1], signer)
    )
    after = session.decide(_with_annotation(manifest, BREAK_GLASS, envelope))
    _require_signed(session, after, signer, envelope)
    write_glass(manifest, BREAK_GLASS, envelope, form)
    say(_outlook(after, token))


def _require_use(decision: Decision) -> None:
    """A token that could change nothing is not made."""
    if decision.allowed:
        raise InputError("it would be admitted as it is", hint="`placet plan` says why.")
    rules = {item.rule for item in decision.violations if item.rule != RULE}
    if others := sorted(rules - OVERRIDDEN):
        raise InputError(
            f"a break-glass token does not stand in for {', '.join(others)}",
            hint=f"Nothing was written. {render_message(decision)}",
        )


def _context(session: Session, workload: Workload, situation: Situation, level: str) -> TokenContext:
    return TokenContext(
        environment=situation.environment,
        cluster=situation.cluster,
        workload=workload,
        level=level,
        requester=situation.requester,
        now=situation.now,
        longest=_longest(session),
    )


def _longest(session: Session) -> timedelta:
    return timedelta(minutes=session.data.value["break_glass"]["max_minutes"])


def _check(session: Session, decision: Decision, text: str) -> VerifiedToken | RejectedToken:
    workload, situation, findings = decision.workload, decision.situation, decision.findings
    if workload is None or situation is None or findings is None:
        raise InputError(render_message(decision))
    context = _context(session, workload, situation, findings.assessment.level)
    return check_token(text, keyring=situation.keyring, revocations=situation.revocations, context=context)


def _open_token(session: Session, decision: Decision, signer: Signer) -> tuple[TokenStatement, Envelope] | None:
    """The token on the manifest that wants another person's signature; None where there is none of use."""
    text = "" if decision.workload is None else decision.workload.break_glass
    if not text:
        return None
    found = _check(session, decision, text)
    if not isinstance(found, RejectedToken) or found.statement is None:
        return None
    if found.refusal.code is not RejectionCode.TOO_FEW_PERSONS or not found.signers:
        return None
    if any(one.key == signer.public_key.fingerprint for one in found.signers):
        raise InputError("you have signed this token already", hint="It wants the signature of a second person.")
    return found.statement, parse_annotation(text)


def _token(
    session: Session,
    workload: Workload,
    situation: Situation,
    *,
    minutes: int | None,
    replicas: int | None,
    ticket: str,
    reason: str,
) -> TokenStatement:
    longest = _longest(session)
    if not longest:
        raise InputError("the policy data lets no break-glass token count", hint="break_glass.max_minutes is 0.")
    lifetime = longest if minutes is None else timedelta(minutes=minutes)
    if lifetime > longest:
        raise InputError(f"the policy data lets a token hold for {int(longest.total_seconds()) // 60} minutes at most")
    if workload.generated:
        raise InputError(f"{workload.resource} stands for more than one workload", hint="Give it a name.")
    now = now_utc()
    return TokenStatement(
        token_id=str(uuid.uuid4()),
        model_name=workload.model.name,
        model_version=workload.model.version,
        cluster=situation.cluster,
        environment=situation.environment,
        namespace=workload.namespace,
        workload=workload.resource,
        replicas=None if workload.replicas is None else (workload.replicas if replicas is None else replicas),
        issued_at=now,
        expires=now + lifetime,
        ticket=ticket or workload.change_ticket,
        reason=reason,
        subjects=workload_subjects(workload.projection.digest, workload.images, workload.model),
    )


def _show_token(token: TokenStatement) -> None:
    count = "" if token.replicas is None else f", up to {token.replicas} replicas"
    say(f"  because     {safe(token.reason)}")
    say(f"  you sign    break-glass, until {token.expires:%Y-%m-%d %H:%M} UTC{count}")


def _with_annotation(manifest: Manifest, name: str, envelope: Envelope) -> Manifest:
    metadata = dict(manifest.object["metadata"])
    metadata["annotations"] = {**(metadata.get("annotations") or {}), f"{DOMAIN}/{name}": render_annotation(envelope)}
    return replace(manifest, object={**manifest.object, "metadata": metadata})


def _require_signed(session: Session, after: Decision, signer: Signer, envelope: Envelope) -> None:
    """A signature that does not count is not handed out."""
    found = _check(session, after, render_annotation(envelope))
    counted = any(one.key == signer.public_key.fingerprint for one in found.signers)
    if not counted or (isinstance(found, VerifiedToken) and not after.allowed):
        why = found.refusal.sentence if isinstance(found, RejectedToken) else render_message(after)
        raise InputError(
            f"this signature would not count: {why}",
            hint="Nothing was written. The keyring says which key may sign what: placet keyring show.",
        )


def _outlook(after: Decision, token: TokenStatement) -> str:
    if after.passage is None:
        return "  still missing: the signature of a second person with the grant break-glass"
    until, due = f"{token.expires:%H:%M}", f"{after.passage.due:%Y-%m-%d %H:%M}"
    text = f"  it would be let in until {until} UTC; applied now, it has to be reviewed by {due} UTC"
    return style(text, "yellow", err=True)
