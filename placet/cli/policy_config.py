"""``placet policy config``: the policy data as they are in force, and where each value comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import click

from placet.cli.options import output_option
from placet.cli.output import print_result, print_table, safe
from placet.cli.policy_source import find_data_file, load_policies

SCHEMA: Final = "placet.dev/policy-data-explained/v1"
_FILE: Final = click.Path(path_type=Path)
_LONGEST: Final = 60


@click.command("config")
@click.option("--data", "data_file", type=_FILE, help="Policy data to merge over those that ship.")
@click.option(
    "--config",
    "config_file",
    type=_FILE,
    envvar="PLACET_CONFIG",
    show_envvar=True,
    help="The gate's configuration, which names the policy data; --data comes first.",
)
@click.option("--bundle", "folder", type=_FILE, help="Folder of a compiled bundle instead of the shipped one.")
@click.option("--policies", multiple=True, type=_FILE, help="Overlay of policies with data of its own (repeatable).")
@click.option("--key", default="", metavar="KEY", help="Only what is below this key, such as environments.production.")
@click.option("--explain", is_flag=True, help="Say of each value which file and line it comes from.")
@output_option("json", "yaml")
def policy_config(
    data_file: Path | None,
    config_file: Path | None,
    folder: Path | None,
    policies: tuple[Path, ...],
    key: str,
    *,
    explain: bool,
    output: str,
) -> None:
    r"""Show the policy data in force: what ships, with the operator's file merged over it.

    Mappings are merged key by key; a list or a single value is replaced as a whole. With --explain each value comes
    with its file and line; files that ship with placet are written placet:defaults/NAME.

    \b
    Examples:
      placet policy config --data policy-data.yaml
      placet policy config --data policy-data.yaml --explain --key environments
      placet policy config --policies team-policies --explain --key evidence
      placet policy config --explain -o json

    \b
    Exit codes:
      0  it is shown
      2  the policy data can't be used, or have no such key

    \b
    Environment:
      PLACET_CONFIG  the configuration file

    \b
    See also: placet policy matrix, placet policy explain, docs/policy-authors.md
    """
    from placet.policy.authoring.provenance import Provenance
    from placet.policy.authoring.tree import find_tree

    if folder is not None and policies:
        raise click.UsageError("--bundle names policies that are compiled, --policies their sources: name one of them.")
    judged_by = find_tree(*policies) if policies else load_policies(folder)
    provenance = Provenance(find_data_file(data_file, config_file), judged_by)
    under = tuple(part for part in key.split(".") if part)
    found = list(provenance.values(under))
    if not explain:
        value: Any = provenance.data.value
        for step in under:
            value = value[step]
        print_result(value, "yaml" if output == "text" else output)
    elif output == "text":
        rows = [
            (safe(".".join(map(str, path))), _short(value), safe(str(source)) if source else "placet")
            for path, value, source in found
        ]
        print_table(("KEY", "VALUE", "FROM"), rows)
    else:
        values = [
            {
                "key": [*path],
                "value": value,
                "file": source.file if source else None,
                "line": source.line if source else None,
                "shipped": source.shipped if source else True,
            }
            for path, value, source in found
        ]
        print_result({"schema": SCHEMA, "digest": str(provenance.data.digest), "values": values}, output)


def _short(value: object) -> str:
    text = safe(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
