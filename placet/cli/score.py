"""``placet score``: the risk of workloads, factor by factor."""

from __future__ import annotations

import sys
from typing import Any

import click

from placet.cli.output import EXIT_USAGE, print_result, safe, say, style
from placet.cli.session import open_session, situation_options
from placet.messages import render_message
from scorer import explain


@click.command()
@situation_options
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", show_default=True)
def score(output: str, **given: Any) -> None:
    r"""Show the risk score, where each part of it comes from, and what would lower it.

    \b
    Examples:
      placet score -f deploy.yaml --environment production
      placet score -f deploy.yaml -e production --record record.sqlite -o json
    """
    session = open_session(**given)
    results: list[dict[str, Any]] = []
    undecided = False
    for manifest in session.manifests:
        decision = session.decide(manifest)
        if decision.findings is None or decision.workload is None:
            say(f"{safe(manifest.file)}:{manifest.line}: {render_message(decision)}")
            undecided = True
            continue
        assessment = decision.findings.assessment
        results.append({"workload": decision.workload.resource, **explain.to_json(assessment)})
        if output == "text":
            click.echo(
                style(f"{safe(decision.workload.resource)}  {safe(manifest.file)}:{manifest.line}", "white", bold=True)
            )
            for line in explain.render(assessment):
                click.echo(f"  {line}")
    if output == "text":
        for assumption in session.assumptions:
            click.echo(f"assumed: {assumption}")
    else:
        print_result({"scores": results, "assumptions": list(session.assumptions)}, output)
    if undecided:
        sys.exit(EXIT_USAGE)
