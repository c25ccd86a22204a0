"""``placet policy eval``: what the policies say to one input."""

from __future__ import annotations

import dataclasses
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from placet.cli.options import effective_time_option
from placet.cli.output import EXIT_VIOLATIONS, print_result, safe, style
from placet.cli.policy_source import find_data_file, load_policies, policy_options

SCHEMA: Final = "placet.dev/policy-evaluation-result/v1"
MAX_BYTES: Final = 1024 * 1024


@click.command("eval")
@click.option("-i", "--input", "source", required=True, type=click.Path(), help="A policy input; - for standard input.")
@click.option(
    "--mode", type=click.Choice(("enforce", "warn", "audit")), help="Judge in this mode instead of the environment's."
)
@policy_options
@effective_time_option
@click.option(
    "-o",
    "--output",
    type=click.Choice(("text", "json", "yaml")),
    default="text",
    show_default=True,
    help="How to print it.",
)
def evaluate(
    source: str,
    mode: str | None,
    data_file: Path | None,
    config_file: Path | None,
    folder: Path | None,
    output: str,
    effective_time: datetime | None,
) -> None:
    r"""Judge one policy input, and say which rules refuse it.

    The input is what the gate makes of a request: docs/policy-authors.md. `placet policy matrix --requests` writes one
    for each thing that does not hold.

    \b
    Examples:
      placet policy eval -i input.json
      placet policy eval -i input.json --data policy-data.yaml -o json
      placet policy eval -i - --mode warn < input.json

    \b
    Exit codes:
      0  it is admitted
      1  it is refused
      2  it can't be judged

    \b
    Environment:
      PLACET_CONFIG  the configuration file

    \b
    See also: placet policy matrix, docs/policy-authors.md
    """
    from placet.policy.data import load_policy_data
    from placet.policy.matrix import DEADLINE_S, with_mode
    from placet.policy.wasm import EmbeddedEngine

    document = read_input(source)
    bundle = load_policies(folder)
    data = load_policy_data(find_data_file(data_file, config_file), bundle).at_time(effective_time)
    engine = EmbeddedEngine(bundle, with_mode(data, mode) if mode else data)
    try:
        decision = engine.decide(document, deadline_s=DEADLINE_S)
    finally:
        engine.close()
    if output == "text":
        colour = "green" if decision.allowed else "red"
        click.echo(style("admitted" if decision.allowed else "refused", colour, bold=True))
        click.echo(f"required: {', '.join(decision.required_roles) or 'nothing'}")
        click.echo(f"granted: {', '.join(decision.granted_roles) or 'nothing'}")
        for finding in (*decision.violations, *decision.warnings, *decision.notes):
            details = ", ".join(f"{name}={value}" for name, value in finding.details.items())
            click.echo(f"{finding.mode}: {finding.rule}/{finding.code} ({finding.severity}) {safe(details)}".rstrip())
    else:
        print_result({"schema": SCHEMA, **dataclasses.asdict(decision)}, output)
    if not decision.allowed:
        sys.exit(EXIT_VIOLATIONS)


def read_input(source: str) -> dict[str, Any]:
    """The input.

    Raises:
        InputError: it can't be read, or is no JSON object.
    """
    from placet.canonical import parse_json
    from placet.errors import FormatError, InputError

    try:
        with click.open_file(source, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
        value = parse_json(raw, max_bytes=MAX_BYTES)
    except OSError as exc:
        raise InputError(f"{source} can't be read: {exc.strerror or exc}") from exc
    except FormatError as exc:
        raise InputError(f"{source} is no policy input: {exc}", hint="It is one JSON object.") from exc
    if not isinstance(value, dict):
        raise InputError(f"{source} is no policy input: not an object", hint="It is one JSON object.")
    return value
