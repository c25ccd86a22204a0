"""``placet policy explain``: why the policies decide as they do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from placet.cli.options import StoreParam
from placet.cli.output import EXIT_VIOLATIONS, print_result, safe, say, style
from placet.cli.policy_authoring import policies_option
from placet.cli.policy_source import find_data_file

if TYPE_CHECKING:
    from placet.audit.location import StoreLocation
    from placet.policy.authoring.explain import Explanation, Lack, Ruling
    from placet.policy.authoring.provenance import Provenance
    from placet.policy.authoring.tree import Tree

SCHEMA: Final = "placet.dev/policy-explanation/v1"
_FILE: Final = click.Path(path_type=Path)
_LONGEST: Final = 160


@click.command()
@click.option("-i", "--input", "source", type=click.Path(), help="A policy input; - for standard input.")
@click.option("--decision", metavar="ID", help="The input of this decision of the record, or of this request's uid.")
@click.option(
    "--store", envvar="PLACET_AUDIT_STORE", show_envvar=True, type=StoreParam(), help="The record that has it."
)
@policies_option
@click.option("--data", "data_file", type=_FILE, help="Policy data to merge over those that ship.")
@click.option(
    "--config",
    "config_file",
    type=_FILE,
    envvar="PLACET_CONFIG",
    show_envvar=True,
    help="The gate's configuration, which names the policy data; --data comes first.",
)
@click.option("--all", "everything", is_flag=True, help="Rules that pass too, with the data that they read.")
@click.option(
    "-o", "--output", type=click.Choice(("text", "json")), default="text", show_default=True, help="How to print it."
)
def explain(
    source: str | None,
    decision: str | None,
    store: StoreLocation | None,
    policies: tuple[Path, ...],
    data_file: Path | None,
    config_file: Path | None,
    *,
    everything: bool,
    output: str,
) -> None:
    r"""Say why an input is admitted or refused: what each rule lacked, and what it read.

    For each rule that does not pass: the first condition that does not hold, in each way in which the rule could have
    passed, with what was found there; and the policy data that it read, each with its file and line. A decision of the
    record is judged again by the policies and the data that are named here, not by those of its day.

    \b
    Examples:
      placet policy explain -i input.json
      placet policy explain -i input.json --policies team-policies --data policy-data.yaml
      placet policy explain --decision 0d5cf0a6-5b2f-4a3c-9d47-3e0f7a1c2b11 --store log.sqlite

    \b
    Exit codes:
      0  it is admitted
      1  it is refused
      2  it can't be judged

    \b
    Environment:
      PLACET_CONFIG       the configuration file
      PLACET_AUDIT_STORE  the record
      PLACET_OPA          the opa to use; else the one on PATH

    \b
    See also: placet policy eval, placet policy config --explain, placet audit show
    """
    from placet.policy.authoring.explain import explain as explain_input
    from placet.policy.authoring.opa import find_opa
    from placet.policy.authoring.provenance import Provenance
    from placet.policy.authoring.tree import find_tree, shipped_tree
    from placet.policy.document import check_document

    document = _find_input(source, decision, store)
    check_document(document)
    whole = policies or Path("policies").is_dir()
    tree: Tree = find_tree(*policies) if whole else shipped_tree()
    provenance = Provenance(find_data_file(data_file, config_file), tree)
    found = explain_input(find_opa(), tree, provenance.data, document)
    if output == "json":
        print_result(_value(found, provenance), output)
    else:
        for line in _lines(found, provenance, everything=everything):
            click.echo(line)
    if found.decision.get("allowed") is not True:
        sys.exit(EXIT_VIOLATIONS)


def _find_input(source: str | None, decision: str | None, store: StoreLocation | None) -> dict[str, Any]:
    from placet.canonical import parse_json
    from placet.cli.policy_eval import MAX_BYTES, read_input
    from placet.errors import FormatError, InputError

    if (source is None) == (decision is None):
        raise InputError("name one input: -i FILE, or --decision ID of a record")
    if source is not None:
        return read_input(source)
    if store is None:
        raise InputError("--decision needs a record", hint="Name it with --store.")
    from placet.audit.location import open_reader
    from placet.cli.record_source import find_named

    with open_reader(store) as reader:
        raw = reader.attachment(find_named(reader, str(decision)).index, "input")
    if raw is None:
        raise InputError(f"the record has no input of {decision!r}", hint="It is no decision, or it was pruned.")
    try:
        value = parse_json(raw, max_bytes=MAX_BYTES)
    except FormatError as exc:
        raise InputError(f"the input of {decision!r} can't be read: {exc}") from exc
    say("judged by the policies and data that are named here, which may differ from those of its day")
    return dict(value)


def _lines(found: Explanation, provenance: Provenance, *, everything: bool) -> Iterator[str]:
    allowed = found.decision.get("allowed") is True
    yield style("admitted" if allowed else "refused", "green" if allowed else "red", bold=True)
    for problem in found.decision.get("violations") or ():
        if problem["rule"] == "admission.main":
            yield f"admission.main: {problem['code']}: the policies can't judge this input at all"
    for ruling in found.rulings:
        if not ruling.passed or everything:
            yield ""
            yield from _ruling_lines(ruling, provenance)


def _ruling_lines(ruling: Ruling, provenance: Provenance) -> Iterator[str]:
    verdict = style("passes", "green") if ruling.passed else style("does not pass", "red")
    yield f"{style(ruling.rule, 'cyan', bold=True)} {verdict}  {safe(ruling.file)}:{ruling.line}"
    for report in ruling.report:
        yield f"  reports {safe(_short(report))}"
    for at, lack in enumerate(ruling.lacks):
        yield f"  {'it lacks' if at == 0 else 'or it lacks'}"
        yield from _lack_lines(lack, "    ")
    if ruling.used:
        yield "  it reads"
    for path in ruling.used:
        where = provenance.source(path)
        value: Any = provenance.data.value
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        shown = _short(value) if not isinstance(value, dict) else f"{len(value)} keys"
        yield f"    {safe('.'.join(path))} = {safe(shown)}  {safe(str(where)) if where else 'missing'}"


def _lack_lines(lack: Lack, indent: str) -> Iterator[str]:
    yield f"{indent}{safe(lack.text)}  {safe(lack.file)}:{lack.line}"
    for name, value in lack.found.items():
        yield f"{indent}  where {safe(name)} is {safe(_short(value))}"
    for name in lack.missing:
        yield f"{indent}  where {safe(name)} is missing"
    for at, because in enumerate(lack.because):
        yield f"{indent}  {'since it lacks' if at == 0 else 'or'}"
        yield from _lack_lines(because, f"{indent}    ")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _value(found: Explanation, provenance: Provenance) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "allowed": found.decision.get("allowed") is True,
        "data_digest": str(provenance.data.digest),
        "rules": [
            {
                "rule": one.rule,
                "file": one.file,
                "line": one.line,
                "passed": one.passed,
                "report": list(one.report),
                "lacks": [_lack_value(lack) for lack in one.lacks],
                "reads": [
                    {"key": list(path), "from": str(where) if (where := provenance.source(path)) else None}
                    for path in one.used
                ],
            }
            for one in found.rulings
        ],
    }


def _lack_value(lack: Lack) -> dict[str, Any]:
    return {
        "condition": lack.text,
        "file": lack.file,
        "line": lack.line,
        "found": dict(lack.found),
        "missing": list(lack.missing),
        "because": [_lack_value(one) for one in lack.because],
    }
