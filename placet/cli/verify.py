"""``placet verify``: hold the approvals on workloads against the keyring."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any, Final

import click

from placet.approvals.times import render_time
from placet.approvals.verify import (
    ApprovalContext,
    ApprovalFindings,
    RejectedApproval,
    VerifiedApproval,
    check_approvals,
)
from placet.canonical import Digest
from placet.cli import clock
from placet.cli.output import EXIT_VIOLATIONS, print_result, safe, say, style
from placet.cli.trust_options import Trust, load_trust, trust_options
from placet.cli.workloads import Found, load_workloads
from placet.errors import InputError
from placet.model import BINDINGS, LEVELS

_LOWEST: Final = LEVELS[0]


@click.command()
@click.option("-f", "--filename", "filenames", multiple=True, required=True, help="A file, a folder or - (repeatable).")
@click.option("-e", "--environment", required=True, help="Where it is going.")
@click.option("-n", "--namespace", default="default", show_default=True, help="For objects that name none.")
@click.option("--level", type=click.Choice(LEVELS), help="The assessed risk level; not compared when it is not named.")
@click.option("--as", "requester", default="", help="Who will apply it, as the cluster knows them.")
@click.option(
    "--binding",
    "bindings",
    multiple=True,
    type=click.Choice(BINDINGS),
    default=BINDINGS,
    show_default=True,
    help="What the environment demands that approvals pin (repeatable).",
)
@trust_options
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def verify(
    filenames: tuple[str, ...],
    environment: str,
    namespace: str,
    level: str | None,
    requester: str,
    bindings: tuple[str, ...],
    output: str,
    **trusted: Any,
) -> None:
    r"""Show which approvals on workloads count, and why others do not.

    Needs no cluster and no policy: which approvals are required, and the risk, are told by `placet plan`. Exit code 1
    when an approval does not count, or a workload has none.

    \b
    Examples:
      placet verify -f deploy.yaml -e production
      placet verify -f deploy.yaml -e production --cluster prod-eu-1 \
        --keyring keyring.dsse.json --root roots/ --threshold 2 --level high -o json
    """
    now = clock.now_utc()
    trust = load_trust(now=now, **trusted)
    if not trust.cluster:
        raise InputError("the cluster is not named", hint="Approvals hold for named clusters: add --cluster NAME.")
    results: list[tuple[Found, ApprovalFindings]] = []
    for found in load_workloads(filenames, namespace):
        context = _context(
            found, trust, environment=environment, level=level, requester=requester, bindings=bindings, now=now
        )
        findings = check_approvals(
            found.workload.approvals, keyring=trust.keyring, revocations=trust.revocations, context=context
        )
        results.append((found, findings))
    if output == "json":
        print_result({"workloads": [_plain(found, findings) for found, findings in results]}, "json")
    else:
        for found, findings in results:
            _show(found, findings)
        say(_compared(level, requester))
    if any(findings.rejected or not findings.verified for _, findings in results):
        sys.exit(EXIT_VIOLATIONS)


def _context(
    found: Found,
    trust: Trust,
    *,
    environment: str,
    level: str | None,
    requester: str,
    bindings: tuple[str, ...],
    now: datetime,
) -> ApprovalContext:
    workload = found.workload
    return ApprovalContext(
        environment=environment,
        cluster=trust.cluster,
        namespace=workload.namespace,
        workload=workload.resource,
        projection=workload.projection.digest,
        images=workload.images,
        model=workload.model,
        level=level or _LOWEST,
        risk_inputs=Digest.of(b""),
        requester=requester,
        now=now,
        bindings=frozenset(bindings),
    )


def _compared(level: str | None, requester: str) -> str:
    risk = f"risk {level}" if level else "no risk level (--level)"
    who = f"requester {safe(requester)}" if requester else "no requester (--as)"
    return f"compared with {risk} and {who}"


def _show(found: Found, findings: ApprovalFindings) -> None:
    click.echo(f"{safe(found.workload.resource)}  {safe(found.place)}")
    for one in findings.verified:
        pins = ", ".join(sorted(one.bindings)) or "nothing"
        click.echo(
            f"  {style('verified', 'green')}  {one.role}: {safe(one.person)} as {safe(one.identity)}, "
            f"up to {one.max_risk}, until {render_time(one.expires)}, pins {pins}"
        )
        click.echo(f"            approval {one.approval_id}")
    for bad in findings.rejected:
        click.echo(f"  {style('rejected', 'red')}  {safe(bad.role)}: {safe(bad.sentence)} ({bad.code})")
    if not findings.verified and not findings.rejected:
        click.echo("  no approvals")


def _plain(found: Found, findings: ApprovalFindings) -> dict[str, Any]:
    return {
        "workload": found.workload.resource,
        "namespace": found.workload.namespace,
        "file": found.manifest.file,
        "line": found.manifest.line,
        "verified": [_plain_verified(one) for one in findings.verified],
        "rejected": [_plain_rejected(one) for one in findings.rejected],
    }


def _plain_verified(one: VerifiedApproval) -> dict[str, Any]:
    return {
        "approval_id": one.approval_id,
        "role": one.role,
        "person": one.person,
        "identity": one.identity,
        "key": one.key,
        "bindings": sorted(one.bindings),
        "max_risk": one.max_risk,
        "issued_at": render_time(one.issued_at),
        "not_before": render_time(one.not_before),
        "expires": render_time(one.expires),
        "statement": str(one.statement),
        "ticket": one.ticket,
        "reason": one.reason,
    }


def _plain_rejected(one: RejectedApproval) -> dict[str, str]:
    return {"role": one.role, "approval_id": one.approval_id, "code": one.code, "sentence": one.sentence}
