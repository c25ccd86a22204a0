"""What a candidate would have decided otherwise, in each of its forms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from placet.cli.output import print_result, print_table, safe, style
from placet.shadow.answer import Change
from placet.shadow.summary import Group, Summary, describe_candidate

SCHEMA: Final = "placet.dev/policy-shadow/v1"
_MOST: Final = 20
_HEAD: Final = (
    "ENVIRONMENT", "NAMESPACE", "MODEL", "REVIEWS", "WHY", "MISSING APPROVALS", "FIRST", "LAST", "DECISION",
)  # fmt: skip
_RULES: Final = ("RULE", "NEWLY REFUSED", "NEWLY ADMITTED")
_TITLES: Final = {
    Change.NEWLY_REFUSED: "would newly be refused",
    Change.SHADOW_ERROR: "the candidate gave no answer, and would refuse",
    Change.NEWLY_ADMITTED: "would newly be admitted",
    Change.TOKEN_NEEDLESS: "would be admitted without the break-glass token that let it in",
    Change.ROLES: "other approvals required, the same verdict",
    Change.REASONS: "refused as before, for other reasons",
    Change.WARNINGS: "admitted as before, with other warnings",
}
_GRAVE: Final = frozenset({Change.NEWLY_REFUSED, Change.SHADOW_ERROR})


def print_summary(found: Summary, form: str, *, window: Mapping[str, str], exit_code: int) -> None:
    """Write a summary to stdout.

    Args:
        found: of one candidate.
        form: ``text`` or ``json``.
        window: ``since`` and ``until`` as records have them; "" for none.
        exit_code: of the command.
    """
    if form == "json":
        print_result(render_summary(found, window=window, exit_code=exit_code), form)
        return
    for line in _opening(found):
        click.echo(line)
    for change in Change:
        groups = [one for one in found.groups if one.change is change]
        if groups:
            count = sum(one.reviews for one in groups)
            click.echo(f"\n{style(_TITLES[change], 'red' if change in _GRAVE else 'yellow', bold=True)}: {count}")
            print_table(_HEAD, [_row(one) for one in groups[:_MOST]])
            if len(groups) > _MOST:
                click.echo(f"and {len(groups) - _MOST} more: -o json has all")
    if rows := list(_rule_rows(found)):
        click.echo()
        print_table(_RULES, rows)


def render_summary(found: Summary, *, window: Mapping[str, str], exit_code: int) -> dict[str, Any]:
    """JSON value."""
    return {
        "schema": SCHEMA,
        **window,
        "candidate": dict(found.candidate),
        "other_candidates": [dict(one) for one in found.others],
        "begun": found.begun,
        "ended": found.ended,
        "counted_until": found.counted_until,
        "counts": found.counts,
        "changes": {change.value: found.reviews(change) for change in Change},
        "rules": {change.value: found.rules(change) for change in (Change.NEWLY_REFUSED, Change.NEWLY_ADMITTED)},
        "groups": [one.render() for one in found.groups],
        "exit_code": exit_code,
    }


def _opening(found: Summary) -> Iterator[str]:
    counts = found.counts
    yield f"candidate: {safe(describe_candidate(found.candidate))}"
    yield f"tried since {_minute(found.begun)}{', and not any more' if found.ended else ''}"
    if found.counted_until:
        yield (
            f"until {_minute(found.counted_until)} it judged {counts['judged']} reviews and agreed on "
            f"{counts['agreed']}; {counts['shed']} were left out"
        )
    else:
        yield "how many reviews it judged is recorded when the first window ends"
    if lost := counts["unlisted"] + counts["unrecorded"]:
        yield f"{lost} disagreements are counted and not listed: there were too many, or the store was away"
    if not found.groups:
        yield style("no review would have been answered otherwise", "green")
    if found.others:
        yield f"other candidates of this time: {'; '.join(safe(describe_candidate(one)) for one in found.others[:5])}"


def _row(one: Group) -> tuple[str, ...]:
    why = ", ".join(sorted(one.rules, key=lambda rule: (-one.rules[rule], rule)))
    cells = (
        one.environment,
        one.namespace,
        one.model or "-",
        str(one.reviews),
        why or "-",
        ", ".join(sorted(one.missing_roles)) or "-",
        _minute(one.first),
        _minute(one.last),
        one.examples[0] if one.examples else "-",
    )
    return tuple(safe(cell) for cell in cells)


def _rule_rows(found: Summary) -> Iterator[tuple[str, str, str]]:
    refused, admitted = found.rules(Change.NEWLY_REFUSED), found.rules(Change.NEWLY_ADMITTED)
    for rule in sorted({*refused, *admitted}):
        yield safe(rule), str(refused.get(rule, 0)), str(admitted.get(rule, 0))


def _minute(time: str) -> str:
    """A time of a record without its seconds; UTC."""
    return f"{time[:16]}Z" if time else "-"
