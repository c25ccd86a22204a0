"""``placet score``: the risk of workloads, factor by factor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from placet.audit.location import StoreLocation
from placet.cli.options import environment_option, output_option, situation_options, workload_options
from placet.cli.output import EXIT_USAGE, print_result, print_table, safe, say, style

SCHEMA: Final = "placet.dev/score/v1"


@click.command()
@workload_options
@environment_option(required=False)
@situation_options
@output_option("table", "json", "yaml")
def score(
    output: str,
    environment: str | None,
    config_file: Path,
    record: StoreLocation | None,
    requester: str,
    **named: Any,
) -> None:
    r"""Show the risk score, where each part of it comes from, and what would lower it.

    Six factors are scored from 1 to 10 and weighed; what is not known scores worst. Which approvals a risk calls for,
    and whether the workload has them, is told by `placet plan`.

    \b
    Examples:
      placet score -f deploy.yaml -e production
      placet score -f k8s/ -e production -o table
      placet score -f deploy.yaml -e production --record record.sqlite -o json
      placet score deployment/llama -n ml-serving

    \b
    Exit codes:
      0  every risk was assessed, however high it is
      2  one could not be assessed

    \b
    Environment:
      PLACET_CONFIG  the configuration file
      KUBECONFIG     clusters to ask, as for kubectl

    \b
    See also: placet plan, placet evidence attest
    """
    from placet.cli.session import open_session
    from placet.cli.workloads import Source, place, plain_place
    from placet.messages import render_message
    from scorer import explain

    session = open_session(
        Source.of(**named, config_file=config_file),
        environment=environment,
        config_file=config_file,
        record=record,
        requester=requester,
    )
    results: list[dict[str, Any]] = []
    rows = []
    undecided = False
    for manifest in session.manifests:
        decision = session.decide(manifest)
        if decision.findings is None or decision.workload is None:
            say(f"{safe(place(manifest))}: {render_message(decision)}")
            undecided = True
            continue
        assessment = decision.findings.assessment
        workload = decision.workload
        results.append(
            {
                "workload": workload.resource,
                "namespace": workload.namespace,
                **plain_place(manifest),
                **explain.to_json(assessment),
            }
        )
        factors = results[-1]["factors"]
        rows.append(
            (workload.resource, workload.namespace, assessment.shown, assessment.level, *map(str, factors.values()))
        )
        head = ("WORKLOAD", "NAMESPACE", "RISK", "LEVEL", *(name.upper() for name in factors))
        if output == "text":
            click.echo(style(f"{safe(workload.resource)}  {safe(place(manifest))}", "white", bold=True))
            for line in explain.render(assessment):
                click.echo(f"  {line}")
    if output == "text":
        for assumption in session.assumptions:
            click.echo(f"assumed: {assumption}")
    elif output == "table" and rows:
        print_table(head, rows)
    elif output != "table":
        print_result({"schema": SCHEMA, "scores": results, "assumptions": list(session.assumptions)}, output)
    if undecided:
        sys.exit(EXIT_USAGE)
