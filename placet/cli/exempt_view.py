"""Exemptions as people and programs read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import click

from placet.approvals.times import render_time
from placet.cli.output import print_result, print_table, safe, say
from placet.exemptions.folder import Fault
from placet.exemptions.statement import ExemptionStatement
from placet.exemptions.survey import Standing
from placet.exemptions.verify import describe_end

SCHEMA: Final = "placet.dev/exemptions/v1"
_HEAD: Final = ("WORKLOAD", "NAMESPACE", "ENVIRONMENT", "STATE", "END", "BY", "FILE")
_WORDS: Final = {
    "in_force": "in force",
    "ends_soon": "ends soon",
    "ended": "ended",
    "not_counting": "does not count",
}


def show_terms(statement: ExemptionStatement) -> None:
    """What is going to be signed, on stderr."""
    images = "any tag" if statement.images == "as_named" else "every image by its digest"
    known = {"no": "it serves no model", "suspected": "it may serve a model", "serves_model": "it serves a model"}
    say(f"{safe(statement.workload)} in namespace {safe(statement.namespace)} needs no approval")
    say(f"  environment {statement.environment}, cluster {safe(', '.join(statement.clusters))}")
    say(f"  content     {', '.join(map(str, statement.projections))}, {images}")
    say(f"  you know    {known[statement.detection]}")
    say(f"  until       {statement.expires:%Y-%m-%d %H:%M} UTC")
    say(f"  reason      {safe(statement.reason)}")


def print_list(standings: Sequence[Standing], faults: Sequence[Fault], form: str, *, now: datetime) -> None:
    """The exemptions of a folder on stdout.

    Args:
        standings: those that can be read.
        faults: files that can't.
        form: ``text``, ``json`` or ``yaml``.
        now: aware UTC.
    """
    if form != "text":
        value = {
            "schema": SCHEMA,
            "exemptions": [_plain(one) for one in standings],
            "unreadable": [{"file": one.file, "why": one.why} for one in faults],
        }
        print_result(value, form)
        return
    print_table(_HEAD, [_row(one, now) for one in standings])
    for one in standings:
        if one.why:
            click.echo(f"{safe(one.signed.file)}: {safe(one.why)}")
    for fault in faults:
        click.echo(f"{safe(fault.file)}: can't be used: {safe(fault.why)}")
    if not standings and not faults:
        say("no exemptions")


def _signers(one: Standing) -> list[str]:
    return sorted({signing.identity.person for signing in one.signed.signings})


def _row(one: Standing, now: datetime) -> tuple[str, ...]:
    said = one.signed.statement
    return (
        said.workload,
        said.namespace,
        said.environment,
        _WORDS[one.state],
        describe_end(one.expires, now),
        ",".join(_signers(one)),
        one.signed.file,
    )


def _plain(one: Standing) -> dict[str, Any]:
    said = one.signed.statement
    return {
        "exemption_id": said.exemption_id,
        "statement": str(one.signed.digest),
        "file": one.signed.file,
        "workload": said.workload,
        "namespace": said.namespace,
        "environment": said.environment,
        "clusters": list(said.clusters),
        "projections": [str(digest) for digest in said.projections],
        "detection": said.detection,
        "images": said.images,
        "state": one.state,
        "why": one.why,
        "persons": _signers(one),
        "issued": render_time(said.issued_at),
        "expires": render_time(one.expires),
        "ticket": said.ticket,
        "reason": said.reason,
    }
