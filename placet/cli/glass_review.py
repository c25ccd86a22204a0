"""``placet break-glass review``: somebody else looks into what was let in."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import click

from placet.approvals.envelope import render_annotation
from placet.approvals.rejections import Refusal, RejectionCode
from placet.approvals.signing import sign_payload
from placet.audit.location import StoreLocation
from placet.audit.persons import SEALED_WORD
from placet.breakglass.review import check_review
from placet.breakglass.state import Use
from placet.breakglass.statement import (
    LONGEST,
    REVIEW_PAYLOAD_TYPE,
    ReviewStatement,
    render_break_glass_review,
)
from placet.breakglass.verify import RejectedToken, TokenContext, VerifiedToken, check_token
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
from placet.errors import InputError
from placet.judge import Situation
from placet.model import BREAK_GLASS_REVIEW, Workload


@click.command()
@filename_option(required=True)
@environment_option(required=True)
@namespace_option
@key_options
@click.option("--conclusion", required=True, help="What you found; kept in the record.")
@write_option
@situation_options
@passphrase_option
@yes_option
def review(
    *,
    filenames: tuple[str, ...],
    environment: str,
    namespace: str | None,
    key_uri: str,
    public_key: Path | None,
    conclusion: str,
    form: str,
    config_file: Path,
    record: StoreLocation | None,
    requester: str,
    passphrase_file: Path | None,
    yes: bool,
) -> None:
    r"""Sign that you have looked into what break-glass has let in.

    You need the grant break-glass-review, and were no party to it: neither a signer of the token nor who applied it.
    With --record the review is about all that still waits for one of this workload; else about the token that is on the
    manifest. It counts once it reaches the gate: on the next deploy of the workload, or as a patch of the running one.

    \b
    Examples:
      placet break-glass review -f deploy.yaml -e production --conclusion "right; approvals follow" --key rita.key
      placet break-glass review -f deploy.yaml -e production --conclusion "right" --key rita.key --yes --write patch | \
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
    See also: placet break-glass sign, placet plan, docs/break-glass.md
    """
    session, manifest = open_one(filenames, namespace, environment, config_file, record, requester)
    decision = session.decide(manifest)
    workload, situation = judged(manifest, decision)
    signer = open_signer(key_uri, public_key, passphrase_file)
    uses = _waiting(session, workload, situation, recorded=record is not None)
    now = now_utc()
    statement = ReviewStatement(
        review_id=str(uuid.uuid4()),
        cluster=situation.cluster,
        environment=environment,
        issued_at=now,
        conclusion=conclusion,
        tokens={use.token_id: use.token for use in uses},
    )
    say(style(f"{workload.resource} in namespace {workload.namespace}", "white", bold=True, err=True))
    for use in uses:
        persons = " and ".join(safe(one.person) if use.is_told(one.person) else SEALED_WORD for one in use.signers)
        say(f"  let in      by {persons}, token {use.token_id}")
        say(f"  because     {safe(use.reason)}")
    if not yes:
        confirm()
    envelope = sign_payload(signer, render_break_glass_review(statement), REVIEW_PAYLOAD_TYPE)
    found = check_review(
        render_annotation(envelope),
        uses=uses,
        keyring=situation.keyring,
        cluster=situation.cluster,
        environment=environment,
        now=now,
    )
    if isinstance(found, Refusal) and found.code is RejectionCode.PARTY_UNKNOWN:
        say("  Who was party to it is sealed in the record, and its keys are not at hand: the gate will compare.")
    elif isinstance(found, Refusal):
        raise InputError(f"this review would not count: {found.sentence}", hint="Nothing was written.")
    write_glass(manifest, BREAK_GLASS_REVIEW, envelope, form)
    say(style("  reviewed; it counts once the gate has seen it", "green", err=True))


def _waiting(session: Session, workload: Workload, situation: Situation, *, recorded: bool) -> tuple[Use, ...]:
    """What a review of this workload is about."""
    if recorded:
        names = {workload.name}
        found = session.glass.state().open_of(namespace=workload.namespace, kind=workload.kind, names=names)
        if not found:
            raise InputError(f"nothing that break-glass has let in of {workload.resource} waits for a review")
        return session.glass.opened(found)
    token = _token_on(workload, situation)
    statement = token.statement
    return (
        Use(
            token_id=statement.token_id,
            token=token.digest,
            time=statement.issued_at,
            due=statement.expires,
            environment=statement.environment,
            namespace=workload.namespace,
            kind=workload.kind,
            name=workload.name,
            projection=workload.projection.digest,
            model=workload.model,
            signers=token.signers,
            requester=situation.requester,
            reason=statement.reason,
        ),
    )


def _token_on(workload: Workload, situation: Situation) -> VerifiedToken:
    """The token on the manifest as it was when it was signed: by now it has usually expired."""
    if not workload.break_glass:
        raise InputError(
            f"there is no break-glass token on {workload.resource}",
            hint="Name the gate's record with --record, or the manifest as it was let in.",
        )

    def check(moment: Any) -> VerifiedToken | RejectedToken:
        context = TokenContext(
            environment=situation.environment,
            cluster=situation.cluster,
            workload=workload,
            level="low",
            requester="",
            now=moment,
            longest=LONGEST,
        )
        return check_token(
            workload.break_glass, keyring=situation.keyring, revocations=situation.revocations, context=context
        )

    found = check(situation.now)
    if isinstance(found, RejectedToken) and found.statement is not None:
        found = check(found.statement.issued_at)
    if isinstance(found, RejectedToken):
        raise InputError(f"the token on {workload.resource} does not count: {found.refusal.sentence}")
    return found
