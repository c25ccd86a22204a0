"""``placet policy bench``: what each rule costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from placet.cli.output import print_result, print_table
from placet.cli.policy_authoring import policies_option

if TYPE_CHECKING:
    from placet.policy.authoring.cost import Cost
    from placet.policy.authoring.tree import Tree
    from placet.policy.data import PolicyData

SCHEMA: Final = "placet.dev/policy-costs/v1"
_RUNS: Final = 21


@click.command()
@policies_option
@click.option("--data", "data_file", type=click.Path(path_type=Path), help="Policy data to judge with.")
@click.option(
    "-i",
    "--input",
    "source",
    type=click.Path(),
    help="A policy input; an ordinary request and a large one if not said.",
)
@click.option(
    "-o", "--output", type=click.Choice(("text", "json")), default="text", show_default=True, help="How to print it."
)
def bench(policies: tuple[Path, ...], data_file: Path | None, source: str | None, output: str) -> None:
    r"""Measure what each rule costs in the embedded engine, and the decision as a whole.

    Fuel is counted in the engine's own instructions: it is the same on every machine and at every load, so that it can
    be compared in a review. The time is the median of the CPU's over several runs of this machine. Each rule is asked
    alone, with all that it shares with others; the decision computes that once, and costs less than the sum.

    \b
    Examples:
      placet policy bench
      placet policy bench --policies team-policies -i input.json -o json

    \b
    Exit codes:
      0  it is measured
      2  there are no policies, they do not compile, or there is no opa

    \b
    Environment:
      PLACET_OPA  the opa to use; else the one on PATH

    \b
    See also: placet policy check, docs/performance.md
    """
    from placet.cli.policy_eval import read_input
    from placet.policy.authoring.cost import large_request, ordinary_request
    from placet.policy.authoring.overlay import load_tree_data
    from placet.policy.authoring.tree import find_tree
    from placet.policy.document import check_document

    tree = find_tree(*policies)
    data = load_tree_data(tree, data_file)
    requests: dict[str, dict[str, Any]] = {"ordinary": ordinary_request(data), "large": large_request(data)}
    if source is not None:
        requests = {"input": read_input(source)}
        check_document(requests["input"])
    costs = _measure(tree, data, requests)
    if output == "json":
        values = {
            name: [{"rule": one.rule, "fuel": one.fuel, "time_s": one.time_s, "fault": one.fault} for one in found]
            for name, found in costs.items()
        }
        print_result({"schema": SCHEMA, "costs": values}, output)
        return
    rows = [
        (name, one.rule, f"{one.fuel:,}", one.fault or f"{one.time_s * 1e6:.0f} us")
        for name, found in costs.items()
        for one in found
    ]
    print_table(("REQUEST", "RULE", "FUEL", "TIME"), rows)


def _measure(tree: Tree, data: PolicyData, requests: dict[str, dict[str, Any]]) -> dict[str, list[Cost]]:
    from placet.policy.authoring.cost import Meter
    from placet.policy.authoring.opa import find_opa
    from placet.policy.authoring.syntax import parse_sources, rule_name
    from placet.policy.wasm import MAX_FUEL

    opa = find_opa()
    with tree.laid_out() as folder:
        sources = {one.rule: one.name for one in tree.sources.values() if one.rule and not one.is_test}
        modules = parse_sources(opa, tree, folder, sources.values())
        defined = {rule: tuple(rule_name(each) for each in modules[name].rules) for rule, name in sources.items()}
        meter = Meter(opa, tree, folder, data, defined)
    return {
        name: [
            *sorted(
                (meter.rule(rule, request, fuel=MAX_FUEL, runs=_RUNS) for rule in meter.rules),
                key=lambda cost: (-cost.fuel, cost.rule),
            ),
            meter.decision(request, fuel=MAX_FUEL, runs=_RUNS),
        ]
        for name, request in requests.items()
    }
