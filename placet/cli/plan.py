"""``placet plan``: the webhook's answer before anybody asks the cluster."""

from __future__ import annotations

import sys
from typing import Any

import click

from placet.cli.output import EXIT_VIOLATIONS, print_result, safe, style
from placet.cli.session import open_session, situation_options
from placet.decision import Decision
from placet.manifests import Manifest
from placet.messages import render_message, render_warnings
from scorer import explain


@click.command()
@situation_options
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", show_default=True)
def plan(output: str, **given: Any) -> None:
    r"""Say whether workloads would be admitted, and what is missing.

    \b
    Examples:
      placet plan -f deploy.yaml --environment production
      placet plan -f k8s/ -e staging --record record.sqlite -o json
      helm template chart | placet plan -f - -e production

    Runs the webhook's own functions. Exit code 0 when everything would be admitted, 1 when something would be refused.
    """
    session = open_session(**given)
    decisions = [(manifest, session.decide(manifest)) for manifest in session.manifests]
    if output == "text":
        for manifest, decision in decisions:
            _show(manifest, decision)
        for assumption in session.assumptions:
            click.echo(f"assumed: {assumption}")
    else:
        print_result(
            {
                "decisions": [_plain(manifest, decision) for manifest, decision in decisions],
                "assumptions": list(session.assumptions),
            },
            output,
        )
    if not all(decision.allowed for _, decision in decisions):
        sys.exit(EXIT_VIOLATIONS)


def _show(manifest: Manifest, decision: Decision) -> None:
    name = decision.workload.resource if decision.workload is not None else str(manifest.object.get("kind", ""))
    click.echo(style(f"{safe(name)}  {safe(manifest.file)}:{manifest.line}", "white", bold=True))
    if decision.findings is not None:
        for line in explain.render(decision.findings.assessment):
            click.echo(f"  {line}")
        _show_approvals(decision)
    for warning in render_warnings(decision):
        click.echo(f"{style('warning', 'yellow')}: {warning}")
    if decision.allowed:
        click.echo(style("would be admitted", "green"))
    else:
        click.echo(f"{style('would be refused', 'red')}:\n{render_message(decision)}")
    click.echo("")


def _show_approvals(decision: Decision) -> None:
    if decision.findings is None:
        return
    for item in decision.findings.evidence.rejected:
        click.echo(f"  evidence {safe(item.name)}: does not count: {safe(item.sentence)}")
    for approval in decision.findings.approvals.verified:
        click.echo(
            f"  approval {approval.role}: by {safe(approval.person)}, risk up to {approval.max_risk}, "
            f"until {approval.expires:%Y-%m-%d %H:%M} UTC"
        )
    for rejected in decision.findings.approvals.rejected:
        click.echo(f"  approval {safe(rejected.role)}: does not count: {safe(rejected.sentence)}")


def _plain(manifest: Manifest, decision: Decision) -> dict[str, Any]:
    workload, findings, policy = decision.workload, decision.findings, decision.policy
    return {
        "file": manifest.file,
        "line": manifest.line,
        "workload": None if workload is None else workload.resource,
        "namespace": None if workload is None else workload.namespace,
        "projection": None if workload is None else str(workload.projection.digest),
        "allowed": decision.allowed,
        "risk": None if findings is None else explain.to_json(findings.assessment),
        "required_roles": [] if policy is None else list(policy.required_roles),
        "granted_roles": [] if policy is None else list(policy.granted_roles),
        "violations": [
            {"rule": item.rule, "code": item.code, "severity": item.severity, "details": dict(item.details)}
            for item in decision.violations
        ],
        "warnings": list(render_warnings(decision)),
        "message": render_message(decision),
    }
