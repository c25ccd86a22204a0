"""``placet config``: check, describe and show the configuration of a gate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from placet.cli.group import Group
from placet.cli.options import config_option, output_option
from placet.cli.output import EXIT_VIOLATIONS, print_result, print_table, safe, style

SCHEMA: Final = "placet.dev/config-check/v1"
_COLOURS: Final = {"fine": "green", "warning": "yellow", "problem": "red"}


@click.group(cls=Group)
def config() -> None:
    r"""Check, describe and show the configuration of a gate.

    \b
    Examples:
      placet config check --config placet.yaml
      placet config example > placet.yaml

    \b
    See also: placet init, placet serve, docs/formats.md
    """


@config.command()
@config_option
@output_option("table", "json", "yaml")
def check(config_file: Path, output: str) -> None:
    r"""Say whether a gate could start with this configuration, and what it would run with.

    Looks at every key, with its line; at files, their rights and what is in them; keyring, roots, revocations, policy
    data, policy bundle, certificates, the log's key and the record; and asks OPA where the policies are judged there.
    Changes nothing, neither on disk nor in OPA, and may be run beside a gate that is at work. Whether the port is free
    is seen by `placet serve` itself.

    \b
    Examples:
      placet config check
      placet config check --config /etc/placet/placet.yaml -o json

    \b
    Exit codes:
      0  a gate could start; there may be warnings
      1  it could not, or would refuse every review
      2  the configuration file can't be read

    \b
    Environment:
      PLACET_CONFIG              the configuration file
      PLACET_LOG_KEY_PASSPHRASE  opens the log's key
      PLACET_NEXT_LOG_KEY_PASSPHRASE  opens the one that takes over
      PLACET_OPA_TOKEN           is shown to OPA

    \b
    See also: placet config example, placet serve
    """
    from placet.cli.config_checks import PROBLEM, check_configuration

    checks = check_configuration(config_file)
    valid = not any(one.status == PROBLEM for one in checks)
    match output:
        case "text":
            for one in checks:
                click.echo(f"{style(one.status.ljust(8), _COLOURS[one.status])} {one.name:<13} {safe(one.sentence)}")
                if one.hint:
                    click.echo(f"{'':<22} {safe(one.hint)}")
            click.echo(style("a gate can start with this", "green") if valid else style("a gate can't work", "red"))
        case "table":
            rows = [(one.status, one.name, one.place, one.sentence) for one in checks]
            print_table(("STATUS", "CHECK", "PLACE", "SENTENCE"), rows)
        case _:
            listed = [
                {
                    "check": one.name,
                    "status": one.status,
                    "place": one.place,
                    "sentence": one.sentence,
                    "hint": one.hint,
                }
                for one in checks
            ]
            print_result({"schema": SCHEMA, "file": str(config_file), "valid": valid, "checks": listed}, output)
    if not valid:
        sys.exit(EXIT_VIOLATIONS)


@config.command()
@click.option(
    "-o",
    "--output",
    type=click.Choice(["json", "yaml"]),
    default="json",
    show_default=True,
    help="How to print it.",
)
def schema(output: str) -> None:
    r"""Print the JSON schema of the configuration file.

    Draft 2020-12, with a description and the default of each key. An editor that is told of it completes and checks
    the file as it is written.

    \b
    Examples:
      placet config schema > placet.schema.json
      placet config schema -o yaml

    \b
    See also: placet config example
    """
    from placet.config_schema import SCHEMA as CONFIG_SCHEMA

    print_result(CONFIG_SCHEMA, output)


@config.command()
def example() -> None:
    r"""Print a configuration with every key, its meaning and its default.

    What has a default, or may be left out, stands in comments.

    \b
    Examples:
      placet config example > placet.yaml

    \b
    See also: placet config check, docs/formats.md
    """
    from placet.cli.config_example import render_example
    from placet.config_schema import SCHEMA as CONFIG_SCHEMA

    click.echo(render_example(CONFIG_SCHEMA), nl=False)
