"""Findings of the doctor in each of their forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from placet.cli.output import print_result, print_table, safe, style
from placet.cli.reports import Fault, Report, render_junit
from placet.doctor.findings import Code, Finding, Severity
from placet.doctor.report import build_report, count

_COLOURS: Final = {Severity.HOLE: "red", Severity.RISK: "yellow", Severity.UNKNOWN: "magenta", Severity.NOTE: "cyan"}
_BLANK: Final = " " * 8


def print_findings(found: Sequence[Finding], form: str) -> None:
    """Write findings to stdout.

    Args:
        found: the gravest first.
        form: ``text``, ``table``, ``json``, ``yaml`` or ``junit``.
    """
    match form:
        case "text":
            for one in found:
                _show(one)
            click.echo(_summary(found))
        case "table":
            rows = [(one.severity.value, one.code.value, one.where, one.sentence) for one in found]
            print_table(("SEVERITY", "CODE", "WHERE", "FOUND"), rows)
        case "junit":
            click.echo(render_junit(_reports(found), suite="placet doctor"))
        case _:
            print_result(build_report(found), form)


def _show(one: Finding) -> None:
    head = style(f"{one.severity.value:<7}", _COLOURS[one.severity], bold=True)
    click.echo(f"{head} {one.code.value}  {safe(one.where)}")
    for line in (one.sentence, one.why, one.remedy):
        click.echo(f"{_BLANK}{safe(line)}")


def _summary(found: Sequence[Finding]) -> str:
    many = {Severity.UNKNOWN.value: "unknown"}
    return ", ".join(
        f"{number} {name if number == 1 else many.get(name, f'{name}s')}" for name, number in count(found).items()
    )


def _reports(found: Sequence[Finding]) -> list[Report]:
    """A test case for each finding, and one for each code that found nothing. Notes fail nothing."""
    silent = [code for code in Code if code not in {one.code for one in found}]
    return [_report(one) for one in found] + [
        Report(code.value, "the cluster", "", 0, (), (), refused=False, message="") for code in silent
    ]


def _report(one: Finding) -> Report:
    fault = Fault(one.code.value, one.code.value, one.severity.value, one.sentence)
    failed = one.severity is not Severity.NOTE
    return Report(
        name=one.code.value,
        namespace=one.where,
        file="",
        line=0,
        faults=(fault,) if failed else (),
        warnings=() if failed else (fault,),
        refused=failed,
        message=f"{one.sentence}\n{one.why}\n{one.remedy}",
    )
