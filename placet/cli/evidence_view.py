"""What the evidence on workloads comes to, in each form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click

from placet.cli.output import print_result, print_table, safe, style
from placet.cli.workloads import Found, plain_place
from placet.evidence.claims import ClaimValue
from placet.evidence.verify import EvidenceFindings, VerifiedStatement
from placet.judge import render_statement
from scorer import Coverage, Rollback

SCHEMA: Final = "placet.dev/evidence/v1"
_HEAD: Final = ("WORKLOAD", "NAMESPACE", "PLACE", "FACT", "EVIDENCE", "VALUE")


def print_evidence(results: Sequence[tuple[Found, EvidenceFindings]], form: str) -> None:
    """Write it to stdout; ``form`` is text, table, json or yaml."""
    match form:
        case "text":
            _show(results)
        case "table":
            print_table(_HEAD, [row for found, findings in results for row in _rows(found, findings)])
        case _:
            value = {"schema": SCHEMA, "workloads": [_plain(found, findings) for found, findings in results]}
            print_result(value, form)


def _rows(found: Found, findings: EvidenceFindings) -> list[tuple[str, ...]]:
    place = (found.workload.resource, found.workload.namespace, found.place)
    rows: list[tuple[str, ...]] = [
        (*place, fact, "verified", _describe(value)) for fact, value in _values(findings).items()
    ]
    rows += [
        (*place, one.kind, "verified", _describe_claims(one))
        for one in findings.statements
        if one.kind not in findings.facts.sources
    ]
    rows += [(*place, bad.name, "rejected", bad.code) for bad in findings.rejected]
    return rows or [(*place, "", "none", "")]


def _show(results: Sequence[tuple[Found, EvidenceFindings]]) -> None:
    for found, findings in results:
        click.echo(f"{safe(found.workload.resource)}  {safe(found.place)}")
        for fact, value in _values(findings).items():
            click.echo(f"  {style('verified', 'green')}  {fact}: {_describe(value)}")
        for one in findings.statements:
            click.echo(f"  {style('verified', 'green')}  {describe_statement(one)}")
        for bad in findings.rejected:
            click.echo(f"  {style('rejected', 'red')}  {safe(bad.name)}: {safe(bad.sentence)} ({bad.code})")
        if not findings.statements and not findings.rejected:
            click.echo("  no evidence")


def _values(findings: EvidenceFindings) -> dict[str, Any]:
    return {fact: getattr(findings.facts, fact) for fact in findings.facts.sources}


def _describe(value: Any) -> str:
    if isinstance(value, Coverage):
        return f"{value.covered} of {value.total} lines"
    if isinstance(value, Rollback):
        return f"back in {value.minutes} min"
    return str(value)


def _plain(found: Found, findings: EvidenceFindings) -> dict[str, Any]:
    return {
        "workload": found.workload.resource,
        "namespace": found.workload.namespace,
        **plain_place(found.manifest),
        "facts": {
            fact: {"value": _plain_value(value), "statement": findings.facts.sources[fact]}
            for fact, value in _values(findings).items()
        },
        "statements": [render_statement(one) for one in findings.statements],
        "rejected": [
            {"name": bad.name, "kind": bad.kind, "code": bad.code, "sentence": bad.sentence}
            for bad in findings.rejected
        ],
    }


def _plain_value(value: Any) -> Any:
    if isinstance(value, Coverage):
        return {"covered": value.covered, "total": value.total}
    if isinstance(value, Rollback):
        return {"available": value.available, "minutes": value.minutes}
    return value


def describe_statement(one: VerifiedStatement) -> str:
    """One line about a statement that counts, safe to print."""
    until = "" if one.expires is None else f", until {one.expires:%Y-%m-%d}"
    claims = _describe_claims(one)
    return f"{one.kind} of {one.issued_at:%Y-%m-%d} about the {one.about}, by {safe(one.attester)}{until}: {claims}"


def _describe_claims(one: VerifiedStatement) -> str:
    return safe(", ".join(f"{name} {_describe_claim(value)}" for name, value in one.claims.items()))


def _describe_claim(value: ClaimValue) -> str:
    if isinstance(value, tuple):
        return " ".join(value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
