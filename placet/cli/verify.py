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
from placet.cli.options import environment_option, output_option, trust_options, workload_options
from placet.cli.output import EXIT_VIOLATIONS, print_result, print_table, safe, say, style
from placet.cli.trust_options import Trust, load_trust
from placet.cli.workloads import Found, Source, existing_config, load_kinds, load_workloads, plain_place
from placet.errors import InputError
from placet.model import BINDINGS, LEVELS

SCHEMA: Final = "placet.dev/approvals/v1"
_LOWEST: Final = LEVELS[0]
_HEAD: Final = ("WORKLOAD", "NAMESPACE", "PLACE", "ROLE", "APPROVAL", "PERSON", "RISK", "UNTIL", "ID")


@click.command()
@workload_options
@environment_option(required=False)
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
@output_option("table", "json", "yaml")
def verify(
    *,
    environment: str | None,
    level: str | None,
    requester: str,
    bindings: tuple[str, ...],
    output: str,
    filenames: tuple[str, ...],
    targets: tuple[str, ...],
    namespace: str | None,
    kubeconfig: Any,
    context: str,
    **trusted: Any,
) -> None:
    r"""Show which approvals on workloads count, and why others do not.

    Needs no policy and, for files, no cluster. Which approvals are required, and the risk, are told by `placet plan`.
    The keyring comes from the configuration, or by name with --keyring, --root and --threshold.

    \b
    Examples:
      placet verify -f deploy.yaml -e production
      placet verify -f deploy.yaml -e production --level high -o table
      placet verify deployment/llama -n ml-serving --context prod-eu-1
      placet verify -f deploy.yaml -e production --cluster prod-eu-1 \
        --keyring keyring.dsse.json --root roots/ --threshold 2 --level high -o json

    \b
    Exit codes:
      0  every workload has approvals, and each of them counts
      1  an approval does not count, or a workload has none
      2  it could not be told

    \b
    Environment:
      PLACET_CONFIG  the configuration file
      KUBECONFIG     clusters to ask, as for kubectl

    \b
    See also: placet plan, placet approve, placet keyring show
    """
    source = Source.of(
        filenames=filenames,
        targets=targets,
        namespace=namespace,
        kubeconfig=kubeconfig,
        context=context,
        config_file=existing_config(trusted),
    )
    now = clock.now_utc()
    trust = load_trust(now=now, **trusted)
    if not trust.cluster:
        raise InputError("the cluster is not named", hint="Approvals hold for named clusters: add --cluster NAME.")
    where = source.environment(environment)
    results: list[tuple[Found, ApprovalFindings]] = []
    for found in load_workloads(source, load_kinds(existing_config(trusted))):
        one = _context(found, trust, environment=where, level=level, requester=requester, bindings=bindings, now=now)
        findings = check_approvals(
            found.workload.approvals, keyring=trust.keyring, revocations=trust.revocations, context=one
        )
        results.append((found, findings))
    _print(results, output, compared=_compared(level, requester))
    if any(findings.rejected or not findings.verified for _, findings in results):
        sys.exit(EXIT_VIOLATIONS)


def _print(results: list[tuple[Found, ApprovalFindings]], form: str, *, compared: str) -> None:
    match form:
        case "text":
            for found, findings in results:
                _show(found, findings)
            say(compared)
        case "table":
            print_table(_HEAD, [row for found, findings in results for row in _rows(found, findings)])
            say(compared)
        case _:
            value = {"schema": SCHEMA, "workloads": [_plain(found, findings) for found, findings in results]}
            print_result(value, form)


def _rows(found: Found, findings: ApprovalFindings) -> list[tuple[str, ...]]:
    place = (found.workload.resource, found.workload.namespace, found.place)
    rows: list[tuple[str, ...]] = [
        (*place, one.role, "verified", one.person, one.max_risk, render_time(one.expires), one.approval_id)
        for one in findings.verified
    ]
    rows += [(*place, bad.role, "rejected", bad.code, "", "", bad.approval_id) for bad in findings.rejected]
    return rows or [(*place, "", "none", "", "", "", "")]


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
        **plain_place(found.manifest),
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
