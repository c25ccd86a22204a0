"""``placet checklist``: the production checklist, answered by evidence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from placet.audit.location import StoreLocation
from placet.cli.options import environment_option, output_option, situation_options, workload_options
from placet.cli.output import EXIT_VIOLATIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placet.checklist import Answer
    from placet.cli.session import Session
    from placet.manifests import Manifest

SCHEMA: Final = "placet.dev/checklist/v1"
_COLOURS: Final = {"met": "green", "lacking": "red", "unknown": "yellow", "not_asked": "white"}
_WORDS: Final = {"met": "met", "lacking": "lacking", "unknown": "not known", "not_asked": "not asked for"}


@click.command()
@workload_options
@environment_option(required=False)
@situation_options
@output_option("json", "yaml")
def checklist(
    output: str,
    environment: str | None,
    config_file: Path,
    record: StoreLocation | None,
    requester: str,
    **named: Any,
) -> None:
    r"""Answer the sixteen items of the production checklist for workloads.

    Each item is answered by signed evidence, a verified approval, the risk score or the record, as the gate judges
    them: the same functions as `placet plan`, with every rule of the list asked for, also where the environment does
    not require it. Nobody ticks a box. What can't be told is not met.

    \b
    Examples:
      placet checklist -f deploy.yaml -e production --record record.sqlite
      placet checklist -f deploy.yaml -e production -o json
      placet checklist deployment/llama -n ml-serving --context prod-eu-1

    \b
    Exit codes:
      0  every item that is asked for is met
      1  something is lacking or not known
      2  it could not be told

    \b
    Environment:
      PLACET_CONFIG  the configuration file
      KUBECONFIG     clusters to ask, as for kubectl

    \b
    See also: placet plan, placet policy profile, docs/policy-authors.md
    """
    from placet.checklist import answer, is_complete, require_checklist
    from placet.cli.session import open_session
    from placet.cli.workloads import Source

    source = Source.of(**named, config_file=config_file)
    session = open_session(
        source,
        environment=environment,
        config_file=config_file,
        record=record,
        requester=requester,
        adapt=require_checklist,
    )
    answered = [
        (manifest, answer(session.decide(manifest), recorded=record is not None)) for manifest in session.manifests
    ]
    if output in {"json", "yaml"}:
        from placet.cli.output import print_result

        print_result(_plain(session, answered), output)
    else:
        for manifest, answers in answered:
            _show(session, manifest, answers)
        for assumption in session.assumptions:
            click.echo(f"assumed: {assumption}")
    if not all(is_complete(answers) for _, answers in answered):
        sys.exit(EXIT_VIOLATIONS)


def _plain(session: Session, answered: Sequence[tuple[Manifest, Sequence[Answer]]]) -> dict[str, Any]:
    from placet.checklist import is_complete, render_answers
    from placet.cli.workloads import plain_place

    return {
        "schema": SCHEMA,
        "environment": session.environment,
        "assumptions": list(session.assumptions),
        "complete": all(is_complete(answers) for _, answers in answered),
        "workloads": [
            {
                "kind": str(manifest.object.get("kind", "")),
                "name": str((manifest.object.get("metadata") or {}).get("name", "")),
                **plain_place(manifest),
                "complete": is_complete(answers),
                "groups": render_answers(answers),
            }
            for manifest, answers in answered
        ],
    }


def _show(session: Session, manifest: Manifest, answers: Sequence[Answer]) -> None:
    from placet.cli.output import safe, style
    from placet.cli.workloads import place

    name = (manifest.object.get("metadata") or {}).get("name", "")
    head = f"{safe(str(manifest.object.get('kind', '')))}/{safe(str(name))}  {safe(place(manifest))}"
    click.echo(style(f"{head}  for {safe(session.environment)}", "white", bold=True))
    group = ""
    for one in answers:
        if one.item.group != group:
            group = one.item.group
            click.echo(f"  {group}")
        word = style(f"{_WORDS[one.state.value]:<13}", _COLOURS[one.state.value])
        click.echo(f"    {word} {one.item.title}")
        for line in (*one.why, *one.by):
            click.echo(f"                  {safe(line)}")
    told = {word: sum(one.state.value == state for one in answers) for state, word in _WORDS.items()}
    click.echo("  " + ", ".join(f"{count} {word}" for word, count in told.items() if count))
