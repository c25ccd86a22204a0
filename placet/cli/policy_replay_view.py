"""What a replay found, in each of its forms."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click

from placet.cli.output import EXIT_FINE, EXIT_USAGE, EXIT_VIOLATIONS, print_table, safe, style
from placet.rehearsal.candidate import Candidate
from placet.rehearsal.notebook import Notebook
from placet.rehearsal.outcome import Change, Verdict
from placet.rehearsal.share import ADMITTED, REFUSED, UNKNOWN, Task

SCHEMA: Final = "placet.dev/policy-replay/v1"
_MOST: Final = 20
_HEAD: Final = ("NAMESPACE", "MODEL", "DECISIONS", "WHY", "MISSING APPROVALS")
_WORKLOADS: Final = ("ENVIRONMENT", "NAMESPACE", "WORKLOAD", "MODEL", "WHY", "MISSING APPROVALS")
_TITLES: Final = {
    Change.NEWLY_REFUSED: "newly refused",
    Change.NO_DECISION: "refused, since the candidate gives no decision",
    Change.NEWLY_ADMITTED: "newly admitted",
    Change.TOKEN_NEEDLESS: "admitted without the break-glass token that let it in",
    Change.ROLES: "other approvals required, the same verdict",
    Change.REASONS: "refused as before, for other reasons",
    Change.WARNINGS: "admitted as before, with other warnings",
}
_GROUNDS: Final = {
    "refused_before": "refused before the policies were asked",
    "exemption": "let in by an exemption",
    "break_glass": "let in by break-glass",
    "deleted": "deletions",
    "namespace": "writes to Namespaces",
    "not_governed": "not governed",
    "unchanged": "unchanged",
}
_LIMITS: Final = (
    "Judged again is the recorded policy input: signatures, evidence and facts stand as they were verified then.",
    "That the record is what was signed, `placet audit verify` says.",
)
_SEALED: Final = (
    "{} decisions have names of persons sealed: they can be told apart, and rules that compare them with names in the "
    "policy data see none."
)


def exit_code(notebook: Notebook) -> int:
    """0, 1 or 2, as the command says."""
    counts = notebook.counts()
    if counts.get(Verdict.FAULT, 0) or counts.get(Verdict.INCOMPARABLE, 0):
        return EXIT_USAGE
    changed = counts.get(Verdict.CHANGED, 0) or notebook.answers().get(REFUSED, 0)
    return EXIT_VIOLATIONS if changed else EXIT_FINE


def print_replay(notebook: Notebook, task: Task, form: str) -> None:
    """Write what was found to stdout.

    Args:
        notebook: of the whole replay.
        task: what it was.
        form: ``text``, ``json`` or ``markdown``.
    """
    match form:
        case "json":
            for line in _lines(notebook, task):
                click.echo(json.dumps(line, ensure_ascii=False, separators=(",", ":")))
        case "markdown":
            for text in _markdown(notebook, task):
                click.echo(text)
        case _:
            _print_text(notebook, task)


def build_summary(notebook: Notebook, task: Task) -> dict[str, Any]:
    """The last of the lines for programs."""
    counts, answers = notebook.counts(), notebook.answers()
    return {
        "schema": SCHEMA,
        "type": "summary",
        "since": task.since,
        "until": task.until,
        "leaves": int(notebook.fact("size")),
        "candidate": task.candidate.name,
        "against": "recorded" if task.baseline is None else task.baseline.name,
        "decisions": counts.get("decisions", 0),
        "reproduced": counts.get("reproduced", 0),
        "not_reproduced": counts.get(Verdict.FAULT, 0),
        "not_judged": _of(counts, Verdict.UNJUDGED),
        "not_comparable": _of(counts, Verdict.INCOMPARABLE),
        "gates_own": counts.get(Verdict.GATES_OWN, 0),
        "same": counts.get(Verdict.SAME, 0),
        "changed": {change.value: counts.get(f"{Verdict.CHANGED}:{change}", 0) for change in Change},
        "sealed": counts.get("sealed", 0),
        "workloads": answers,
        "exit_code": exit_code(notebook),
    }


def _of(counts: dict[str, int], verdict: Verdict) -> dict[str, int]:
    start = f"{verdict}:"
    return {name.removeprefix(start): counts[name] for name in sorted(counts) if name.startswith(start)}


def _lines(notebook: Notebook, task: Task) -> Iterator[dict[str, Any]]:
    for kind, verdict in (
        ("fault", Verdict.FAULT),
        ("incomparable", Verdict.INCOMPARABLE),
        ("change", Verdict.CHANGED),
    ):
        for one in notebook.outcomes(verdict):
            yield {"schema": SCHEMA, "type": kind, **one}
    for answer in sorted(notebook.answers().keys() - {ADMITTED}):
        for one in notebook.standing(answer):
            yield {"schema": SCHEMA, "type": "workload", **one}
    yield build_summary(notebook, task)


def _print_text(notebook: Notebook, task: Task) -> None:
    for line in _opening(notebook, task):
        click.echo(line)
    for verdict, title in ((Verdict.FAULT, "not reproduced"), (Verdict.INCOMPARABLE, "not comparable")):
        if count := notebook.counts().get(verdict, 0):
            click.echo(f"\n{style(title, 'red', bold=True)}: {count}")
            for one in itertools.islice(notebook.outcomes(verdict), _MOST):
                click.echo(f"  {_told(one)}")
            _say_more(count, "-o json has all")
    for change in Change:
        if count := notebook.counts().get(f"{Verdict.CHANGED}:{change}", 0):
            click.echo(f"\n{style(_TITLES[change], _colour(change), bold=True)}: {count}")
            groups = list(itertools.islice(notebook.groups(change), _MOST + 1))
            print_table(_HEAD, [_group(group) for group in groups[:_MOST]])
            if len(groups) > _MOST:
                click.echo("and more: -o json has all")
    rows = _refused(notebook)
    click.echo(f"\n{_standing_line(notebook)}")
    if rows:
        print_table(_WORKLOADS, rows)
        _say_more(notebook.answers()[REFUSED], "-o json has all")
    for limit in _limits(notebook):
        click.echo(f"{style('note', 'cyan')}  {limit}")


def _say_more(count: int, how: str) -> None:
    if count > _MOST:
        click.echo(f"and {count - _MOST} more: {how}")


def _markdown(notebook: Notebook, task: Task) -> Iterator[str]:
    counts = notebook.counts()
    yield f"### Policy replay: {_verdict(notebook)}\n"
    for line in _opening(notebook, task):
        yield f"- {_cell(line)}"
    yield f"- {_cell(_standing_line(notebook))}\n"
    for verdict, title in ((Verdict.FAULT, "Not reproduced"), (Verdict.INCOMPARABLE, "Not comparable")):
        if count := counts.get(verdict, 0):
            yield f"**{title}: {count}**\n"
            yield from (f"- {_cell(_told(one))}" for one in itertools.islice(notebook.outcomes(verdict), _MOST))
            yield f"- and {count - _MOST} more\n" if count > _MOST else ""
    for change in Change:
        if count := counts.get(f"{Verdict.CHANGED}:{change}", 0):
            groups = list(itertools.islice(notebook.groups(change), _MOST + 1))
            yield f"**{_TITLES[change].capitalize()}: {count}**\n"
            yield from _table(_HEAD, [_group(group) for group in groups[:_MOST]])
            yield "And more groups.\n" if len(groups) > _MOST else ""
    if rows := _refused(notebook):
        yield f"**Admitted now, and would not be admitted again: {notebook.answers()[REFUSED]}**\n"
        yield from _table(_WORKLOADS, rows)
        yield f"And {notebook.answers()[REFUSED] - _MOST} more.\n" if notebook.answers()[REFUSED] > _MOST else ""
    yield from (f"> {_cell(limit)}" for limit in _limits(notebook))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(part.lower() for part in head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(_cell(part) for part in row)} |"
    yield ""


def _opening(notebook: Notebook, task: Task) -> Iterator[str]:
    counts = notebook.counts()
    unjudged = _of(counts, Verdict.UNJUDGED)
    judged = counts.get("decisions", 0) - counts.get(Verdict.UNJUDGED, 0)
    window = f"{task.since or 'the first'} until {task.until or 'now'}"
    yield f"decisions from {window}: {judged} judged again, {counts.get('reproduced', 0)} reproduced"
    if unjudged:
        told = ", ".join(f"{count} {_GROUNDS.get(code, code)}" for code, count in unjudged.items())
        yield f"not put to the policies: {told}"
    if own := counts.get(Verdict.GATES_OWN, 0):
        yield f"refused by the gate itself, whatever policies say: {own}"
    yield f"candidate: {_name(task.candidate)}"
    if task.baseline is not None:
        yield f"compared with what is in force: {_name(task.baseline)}"
    yield f"the same: {counts.get(Verdict.SAME, 0)}, changed: {counts.get(Verdict.CHANGED, 0)}"


def _name(candidate: Candidate) -> str:
    name = candidate.name
    day = candidate.effective_time_s
    at = "" if day is None else f", rules of the day {_day(day)}"
    return f"policies {_short(name['revision'])}, policy data {_short(name['data_digest'])}{at}"


def _day(seconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _short(digest: str) -> str:
    return digest[:19]


def _verdict(notebook: Notebook) -> str:
    match exit_code(notebook):
        case 0:
            return "nothing changes"
        case 1:
            return f"{notebook.counts().get(Verdict.CHANGED, 0)} decisions change"
        case _:
            return "not everything could be judged again"


def _standing_line(notebook: Notebook) -> str:
    answers = notebook.answers()
    total, refused, unknown = sum(answers.values()), answers.get(REFUSED, 0), answers.get(UNKNOWN, 0)
    line = f"workloads that are admitted now: {total}, of which {refused} would not be admitted again"
    rest = total - refused - unknown - answers.get(ADMITTED, 0)
    if rest:
        line += f"; {rest} are not the policies' to admit (exemption, break-glass, unchanged)"
    return f"{line}; of {unknown} it can't be told" if unknown else line


def _refused(notebook: Notebook) -> list[tuple[str, ...]]:
    return [_workload(one) for one in itertools.islice(notebook.standing(REFUSED), _MOST)]


def _limits(notebook: Notebook) -> Iterator[str]:
    yield from _LIMITS
    if sealed := notebook.counts().get("sealed", 0):
        yield _SEALED.format(sealed)


def _told(one: dict[str, Any]) -> str:
    which = " ".join(filter(None, (one.get("time"), one.get("namespace"), one.get("kind"), one.get("name"))))
    name = one.get("decision_id") or f"leaf {one['index']}"
    after = one.get("after")
    would = ""
    if after:
        would = "; it would admit it" if after["allowed"] else f"; it would refuse it: {', '.join(after['violations'])}"
    return safe(f"{name} ({which}) {one['code']}: {one.get('sentence', '')}{would}")


def _group(group: tuple[str, str, str, str, int]) -> tuple[str, ...]:
    namespace, model, reasons, missing, count = group
    return safe(namespace), safe(model), str(count), safe(reasons), safe(missing or "-")


def _workload(one: dict[str, Any]) -> tuple[str, ...]:
    after = one["after"]
    why = after["fault"] or ", ".join(after["violations"])
    name = f"{one['kind']}/{one['name']}"
    cells = (one["environment"], one["namespace"], name, one["model"], why, ", ".join(after["missing_roles"]) or "-")
    return tuple(safe(cell) for cell in cells)


def _colour(change: Change) -> str:
    return "red" if change in {Change.NEWLY_REFUSED, Change.NO_DECISION} else "yellow"


def _cell(text: str) -> str:
    return safe(text).replace("|", "\\|")
