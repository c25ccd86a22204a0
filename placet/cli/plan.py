"""``placet plan``: the webhook's answer before anybody asks the cluster."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from placet.audit.location import StoreLocation
from placet.cli.options import (
    effective_time_option,
    environment_option,
    output_option,
    situation_options,
    workload_options,
)
from placet.cli.output import EXIT_VIOLATIONS


@click.command()
@workload_options
@environment_option(required=False)
@situation_options
@effective_time_option
@output_option("table", "json", "yaml", "junit", "sarif", "github")
def plan(
    output: str,
    environment: str | None,
    config_file: Path,
    record: StoreLocation | None,
    requester: str,
    effective_time: datetime | None,
    **named: Any,
) -> None:
    r"""Say whether workloads would be admitted, and what is missing.

    Runs the webhook's own functions, with the same configuration, keyring and policies, on manifests or on objects as
    they are in a cluster. Nothing is recorded and nothing is changed. What the webhook would know and this command is
    not told (a record, an API server, who applies it) is assumed to be the worst, and each assumption is named.

    A live object is judged as if it were created now: whether what runs would still be let in.

    \b
    Examples:
      placet plan -f deploy.yaml -e production
      placet plan -f k8s/ -e staging --record record.sqlite -o table
      helm template chart | placet plan -f - -e production
      placet plan -f deploy.yaml -e production --effective-time 2027-01-31
      placet plan deployment/llama -n ml-serving --context prod-eu-1
      placet plan -f deploy.yaml -e production -o sarif > placet.sarif

    \b
    Exit codes:
      0  everything would be admitted
      1  something would be refused
      2  it could not be told

    \b
    Environment:
      PLACET_CONFIG  the configuration file
      KUBECONFIG     clusters to ask, as for kubectl

    \b
    See also: placet approve, placet score, placet verify
    """
    from placet.cli.progress import Progress
    from placet.cli.session import open_session
    from placet.cli.workloads import Source

    source = Source.of(**named, config_file=config_file)
    session = open_session(
        source,
        environment=environment,
        config_file=config_file,
        record=record,
        requester=requester,
        effective_time=effective_time,
    )
    decisions = []
    with Progress("workloads") as progress:
        for manifest in session.manifests:
            decisions.append((manifest, session.decide(manifest)))
            progress(len(decisions), len(session.manifests))

    from placet.cli.plan_view import print_plan

    print_plan(session, decisions, output)
    if not all(decision.allowed for _, decision in decisions):
        sys.exit(EXIT_VIOLATIONS)
