"""A plan in each of its forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click

from placet.cli.evidence_view import describe_statement
from placet.cli.glass_view import describe_glass, waiting_of
from placet.cli.output import print_result, print_table, safe, style
from placet.cli.reports import Fault, Report, render_github, render_junit, render_sarif
from placet.cli.session import Session
from placet.cli.workloads import place, plain_place
from placet.coverage import DETECTED, describe_coverage
from placet.decision import Decision
from placet.manifests import Manifest
from placet.messages import render_message, render_violation, render_warnings
from scorer import explain

SCHEMA: Final = "placet.dev/plan/v1"
_HEAD: Final = ("WORKLOAD", "NAMESPACE", "PLACE", "DECISION", "RISK", "MISSING", "VIOLATIONS")
Decided = Sequence[tuple[Manifest, Decision]]


def print_plan(session: Session, decisions: Decided, form: str) -> None:
    """Write the plan to stdout.

    Args:
        session: names the environment and what was assumed.
        decisions: in order.
        form: ``text``, ``table``, ``json``, ``yaml``, ``junit``, ``sarif`` or ``github``.
    """
    match form:
        case "text":
            for manifest, decision in decisions:
                _show(session, manifest, decision)
            for assumption in session.assumptions:
                click.echo(f"assumed: {assumption}")
        case "table":
            print_table(_HEAD, [_row(manifest, decision) for manifest, decision in decisions])
        case "junit":
            click.echo(render_junit(_reports(decisions)))
        case "sarif":
            click.echo(render_sarif(_reports(decisions)))
        case "github":
            for line in render_github(_reports(decisions)):
                click.echo(line)
        case _:
            print_result(_plain(session, decisions), form)


def _name(manifest: Manifest, decision: Decision) -> str:
    return decision.workload.resource if decision.workload is not None else str(manifest.object.get("kind", ""))


def _missing(decision: Decision) -> list[str]:
    policy = decision.policy
    return [] if policy is None else [role for role in policy.required_roles if role not in policy.granted_roles]


def _row(manifest: Manifest, decision: Decision) -> tuple[str, ...]:
    assessment = None if decision.findings is None else decision.findings.assessment
    return (
        _name(manifest, decision),
        "" if decision.workload is None else decision.workload.namespace,
        place(manifest),
        "allow" if decision.allowed else "deny",
        "" if assessment is None else f"{assessment.shown} {assessment.level}",
        ",".join(_missing(decision)),
        ",".join(dict.fromkeys(item.code for item in decision.violations)),
    )


def _show(session: Session, manifest: Manifest, decision: Decision) -> None:
    click.echo(style(f"{safe(_name(manifest, decision))}  {safe(place(manifest))}", "white", bold=True))
    if decision.coverage is not None and decision.coverage.cause in DETECTED:
        click.echo(f"  {describe_coverage(decision.coverage)}")
    if decision.exemption is not None:
        one = decision.exemption
        persons = safe(", ".join(one.persons))
        click.echo(f"  exempted by {persons}, until {one.expires:%Y-%m-%d %H:%M} UTC ({one.exemption_id})")
    if decision.findings is not None:
        for line in explain.render(decision.findings.assessment):
            click.echo(f"  {line}")
        _show_approvals(decision)
    for warning in render_warnings(decision):
        click.echo(f"{style('warning', 'yellow')}: {warning}")
    for line in describe_glass(session, decision):
        click.echo(f"  break-glass: {line}")
    if decision.allowed:
        if decision.tolerated:
            refusing = ", ".join(dict.fromkeys(f"{item.rule}/{item.code}" for item in decision.tolerated))
            click.echo(f"{style('would be refused under enforce', 'yellow')}: {refusing}")
        click.echo(style("would be admitted", "green"))
    else:
        click.echo(f"{style('would be refused', 'red')}:\n{render_message(decision)}")
    click.echo("")


def _show_approvals(decision: Decision) -> None:
    if decision.findings is None:
        return
    for one in decision.findings.evidence.statements:
        click.echo(f"  evidence {describe_statement(one)}")
    for item in decision.findings.evidence.rejected:
        click.echo(f"  evidence {safe(item.name)}: does not count: {safe(item.sentence)}")
    for approval in decision.findings.approvals.verified:
        click.echo(
            f"  approval {approval.role}: by {safe(approval.person)}, risk up to {approval.max_risk}, "
            f"until {approval.expires:%Y-%m-%d %H:%M} UTC"
        )
    for rejected in decision.findings.approvals.rejected:
        click.echo(f"  approval {safe(rejected.role)}: does not count: {safe(rejected.sentence)}")


def _plain(session: Session, decisions: Decided) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "environment": session.environment,
        "cluster": session.config.cluster,
        "decisions": [_plain_decision(session, manifest, decision) for manifest, decision in decisions],
        "assumptions": list(session.assumptions),
    }


def _plain_decision(session: Session, manifest: Manifest, decision: Decision) -> dict[str, Any]:
    workload, findings, policy = decision.workload, decision.findings, decision.policy
    return {
        **plain_place(manifest),
        "workload": None if workload is None else workload.resource,
        "namespace": None if workload is None else workload.namespace,
        "projection": None if workload is None else str(workload.projection.digest),
        "allowed": decision.allowed,
        "coverage": None if decision.coverage is None else decision.coverage.to_json(),
        **({} if decision.exemption is None else {"exemption": decision.exemption.to_json()}),
        "risk": None if findings is None else explain.to_json(findings.assessment),
        "required_roles": [] if policy is None else list(policy.required_roles),
        "granted_roles": [] if policy is None else list(policy.granted_roles),
        "evidence": [] if findings is None else list(findings.document["evidence"]),
        "evidence_rejected": []
        if findings is None
        else [
            {"name": one.name, "kind": one.kind, "code": one.code, "sentence": one.sentence}
            for one in findings.evidence.rejected
        ],
        "violations": [
            {"rule": item.rule, "code": item.code, "severity": item.severity, "details": dict(item.details)}
            for item in decision.violations
        ],
        "warnings": list(render_warnings(decision)),
        "would_deny": list(dict.fromkeys(f"{item.rule}/{item.code}" for item in decision.tolerated)),
        "break_glass": None if decision.passage is None else decision.passage.to_json(),
        "break_glass_waiting": [use.token_id for use in waiting_of(session, decision)],
        "message": render_message(decision),
    }


def _reports(decisions: Decided) -> list[Report]:
    return [_report(manifest, decision) for manifest, decision in decisions]


def _report(manifest: Manifest, decision: Decision) -> Report:
    return Report(
        name=_name(manifest, decision),
        namespace=decision.request.namespace,
        file=manifest.file,
        line=manifest.line,
        faults=tuple(
            Fault(item.rule, item.code, item.severity, render_violation(item, decision)) for item in decision.violations
        ),
        warnings=tuple(
            Fault(item.rule, item.code, "low", render_violation(item, decision)) for item in decision.warnings
        ),
        refused=not decision.allowed,
        message=render_message(decision),
    )
