"""The approval matrix in each of its forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from placet.cli.output import print_table, safe, style
from placet.policy.bundle import Bundle, Rule
from placet.policy.data import PolicyData
from placet.policy.matrix import ENFORCE, Row
from placet.policy.proof import Proof

SCHEMA: Final = "placet.dev/policy-matrix/v1"
_PROVED: Final = (
    "every question is decided, and what nobody provided for is refused",
    "nothing is admitted without a role that a table asks for, or refused with all of them",
    "one more approval, a lower level, an environment that asks for less: never harder",
    "one person never stands for several roles",
    "warn and audit find what enforce does",
    "every rule can refuse something",
)
_MOST_FOUND: Final = 20
_HEAD: Final = ("ENVIRONMENT", "LEVEL", "MODE", "ADMITTED WITH")


@dataclass(frozen=True, slots=True)
class Change:
    """A row that says something else than before.

    Attributes:
        environment, level: of the row.
        before, after: mode and what admits; "" where there is no such row.
    """

    environment: str
    level: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Demand:
    """An environment that requires something else than before.

    Attributes:
        more, less: rules that it requires now, and those that it no longer does, sorted.
    """

    environment: str
    more: tuple[str, ...]
    less: tuple[str, ...]

    def __str__(self) -> str:
        parts = [("now requires ", self.more), ("no longer requires ", self.less)]
        return f"{self.environment}: " + "; ".join(verb + ", ".join(rules) for verb, rules in parts if rules)


def find_demands(before: PolicyData, after: PolicyData) -> tuple[Demand, ...]:
    """What environments require besides approvals, where it differs; the rows say nothing of it."""
    old, new = _required(before), _required(after)
    return tuple(
        Demand(name, tuple(sorted(new.get(name, set()) - was)), tuple(sorted(was - new.get(name, set()))))
        for name in sorted(old.keys() | new.keys())
        if (was := old.get(name, set())) != new.get(name, set())
    )


def _required(data: PolicyData) -> dict[str, set[str]]:
    return {name: set(environment["requires"]) for name, environment in data.value["environments"].items()}


@dataclass(frozen=True, slots=True)
class Difference:
    """What the matrix and its data do differently than those that they are compared with.

    Attributes:
        since: what is compared with.
        changes: rows that say something else.
        demands: environments that require something else.
    """

    since: str
    changes: tuple[Change, ...]
    demands: tuple[Demand, ...]


def find_changes(before: Proof, after: Proof) -> tuple[Change, ...]:
    """What two matrices do differently, each in the modes in force, by environment and level."""
    old, new = _told(before), _told(after)
    keys = [*new, *(key for key in old if key not in new)]
    return tuple(
        Change(*key, old.get(key, ""), new.get(key, "")) for key in keys if old.get(key, "") != new.get(key, "")
    )


def _told(proof: Proof) -> dict[tuple[str, str], str]:
    return {(row.environment, row.level): _admitted(row) for row in proof.rows if row.in_force}


def build_matrix(proof: Proof, data: PolicyData, bundle: Bundle, difference: Difference | None) -> dict[str, Any]:
    """What machines are told, of the schema ``placet.dev/policy-matrix/v1``."""
    return {
        "schema": SCHEMA,
        "policy": {"revision": bundle.revision, "data_digest": str(data.digest)},
        "questions": proof.asked,
        "holds": not proof.findings,
        "rows": [
            {
                "environment": row.environment,
                "level": row.level,
                "mode": row.mode,
                "in_force": row.in_force,
                "required": list(row.required),
                "admitted": [list(roles) for roles in row.admitted],
                "refusals": list(row.refusals),
            }
            for row in proof.rows
        ],
        "findings": [
            {"fault": one.fault.value, "sentence": one.sentence, "mode": one.mode, "request": one.request}
            for one in proof.findings
        ],
        "notes": list(proof.notes),
        "announced": [
            {"rule": rule.id, "effective_on": rule.effective_on.strftime("%Y-%m-%dT%H:%M:%SZ")}
            for rule in bundle.rules
            if rule.effective_on is not None
        ],
        "changes": None
        if difference is None
        else [
            {"environment": one.environment, "level": one.level, "before": one.before, "after": one.after}
            for one in difference.changes
        ],
        "requirements": None
        if difference is None
        else [
            {"environment": one.environment, "more": list(one.more), "less": list(one.less)}
            for one in difference.demands
        ],
    }


def print_matrix(
    proof: Proof,
    difference: Difference | None,
    form: str,
    *,
    trials: Mapping[int, str],
    announced: Sequence[Rule] = (),
) -> None:
    """Write the matrix to stdout.

    Args:
        proof: of it.
        difference: to what is compared with; None where nothing is.
        form: ``text``, ``table`` or ``markdown``.
        trials: number of a finding, from 1, -> command that shows it.
        announced: rules that have a day from which they are in force.
    """
    rows = [(row.environment, row.level, row.mode, _admitted(row)) for row in proof.rows if row.in_force]
    if form == "markdown":
        _print_markdown(rows, proof, difference)
        for line in _announce(announced):
            click.echo(f"\n{_cell(line)}")
        return
    print_table(_HEAD, rows)
    if form == "table":
        return
    click.echo()
    if difference is not None:
        _print_difference(difference)
    _print_findings(proof, trials)
    for line in _announce(announced):
        click.echo(f"{style('announced', 'cyan')}  {safe(line)}")


def _announce(rules: Sequence[Rule]) -> list[str]:
    """A sentence for each rule that has a day."""
    return [
        f"{rule.id}: in force from {rule.effective_on:%Y-%m-%dT%H:%M:%SZ}; until then it warns"
        for rule in rules
        if rule.effective_on is not None
    ]


def _print_difference(difference: Difference) -> None:
    rows, demands = len(difference.changes), difference.demands
    said = f"{rows} rows differ" if rows else "the same rows" if demands else "the same"
    click.echo(f"against {safe(difference.since)}: {said}")
    for one in difference.changes:
        click.echo(f"  {one.environment} {one.level}: {one.before or '(not there)'} -> {one.after or '(not there)'}")
    for demand in demands:
        click.echo(f"  {safe(str(demand))}")
    click.echo()


def _print_findings(proof: Proof, trials: Mapping[int, str]) -> None:
    if not proof.findings:
        click.echo(style(f"proved, by {proof.asked} questions to the policies:", "green", bold=True))
        for line in _PROVED:
            click.echo(f"  {line}")
    for number, one in enumerate(proof.findings[:_MOST_FOUND], 1):
        click.echo(f"{style(one.fault.value, 'red', bold=True)}  {safe(one.sentence)}")
        if number in trials:
            click.echo(f"        {safe(trials[number])}")
    if len(proof.findings) > _MOST_FOUND:
        click.echo(f"and {len(proof.findings) - _MOST_FOUND} more: -o json has all")
    if proof.findings and not trials:
        click.echo("--requests DIR writes a request for each, to be tried with `placet policy eval`")
    for note in proof.notes:
        click.echo(f"{style('note', 'cyan')}  {safe(note)}")


def _print_markdown(rows: Sequence[Sequence[str]], proof: Proof, difference: Difference | None) -> None:
    """For a review of a change."""
    verdict = f"holds, by {proof.asked} questions" if not proof.findings else f"{len(proof.findings)} faults"
    click.echo(f"### Approval matrix: {verdict}\n")
    for one in proof.findings[:_MOST_FOUND]:
        click.echo(f"- **{one.fault.value}**: {_cell(one.sentence)}")
    if proof.findings:
        click.echo()
    if difference is not None:
        _print_markdown_difference(difference)
    click.echo("| environment | level | mode | admitted with |\n|---|---|---|---|")
    for row in rows:
        click.echo(f"| {' | '.join(_cell(part) for part in row)} |")


def _print_markdown_difference(difference: Difference) -> None:
    click.echo(f"Against `{safe(difference.since)}`: {len(difference.changes)} rows differ.\n")
    if difference.changes:
        click.echo("| environment | level | before | after |\n|---|---|---|---|")
        for change in difference.changes:
            click.echo(f"| {change.environment} | {change.level} | {change.before or '-'} | {change.after or '-'} |")
        click.echo()
    for demand in difference.demands:
        click.echo(f"- {_cell(str(demand))}")
    if difference.demands:
        click.echo()


def _cell(text: str) -> str:
    return safe(text).replace("|", "\\|")


def _admitted(row: Row) -> str:
    if not row.admitted:
        return f"never ({', '.join(row.refusals) or 'no decision'})"
    told = " or ".join(", ".join(roles) or "no approval" for roles in row.admitted)
    if row.mode == ENFORCE:
        return told
    verb = "warns" if row.mode == "warn" else "notes"
    if row.refusals:
        return f"{told}; {verb} always ({', '.join(row.refusals)})"
    return f"{told}; {verb} without {', '.join(row.required)}"
