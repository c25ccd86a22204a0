"""``placet policy replay``: what policies that are not in force yet would have made of past decisions."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from placet.audit.location import StoreLocation
from placet.cli.clock import now_utc
from placet.cli.options import effective_time_option, output_option
from placet.cli.output import EXIT_USAGE, EXIT_VIOLATIONS, say
from placet.cli.record_source import find_store, record_options

if TYPE_CHECKING:
    from placet.audit.stores import Reader
    from placet.rehearsal.candidate import Candidate
    from placet.rehearsal.notebook import Notebook
    from placet.rehearsal.past import Catalogue
    from placet.rehearsal.share import Task

_MOST_JOBS: Final = 16
IN_FORCE: Final = "in-force"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options say of what is tried.

    Attributes:
        folder: of the candidate's bundle; None for the one in force.
        data_file: its policy data; None for those in force.
        effective_time: the day whose rules are tried; None for that of each decision.
        against: what it is compared with, ``recorded`` or ``in-force``.
        since: when decisions begin to be judged again, as it was typed; "" for the first.
        until: when they end, likewise.
    """

    folder: Path | None
    data_file: Path | None
    effective_time: datetime | None
    against: str
    since: str
    until: str


@click.command("replay")
@record_options
@click.option(
    "--bundle",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the compiled bundle to try; the one in force by default.",
)
@click.option(
    "--data",
    "data_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Policy data to try, merged over those that ship; those in force by default.",
)
@effective_time_option
@click.option(
    "--against",
    type=click.Choice(("recorded", IN_FORCE)),
    default="recorded",
    show_default=True,
    help="Compare with what each decision was judged by, or with what is in force now.",
)
@click.option("--since", default="", metavar="WHEN", help="Only decisions from then on: 30d, 12h, 4w, or a date.")
@click.option("--until", default="", metavar="WHEN", help="Only decisions before then.")
@click.option(
    "--jobs",
    type=click.IntRange(1, _MOST_JOBS),
    default=min(os.cpu_count() or 1, _MOST_JOBS),
    show_default="one for each core",
    help="Processes that judge.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to keep what was found in, and to go on from. One for each replay.",
)
@output_option("json", "markdown")
def replay(
    store: StoreLocation | None,
    config_file: Path,
    jobs: int,
    resume: Path | None,
    output: str,
    **asked: Any,
) -> None:
    r"""Judge past decisions again, and show what a change of the policies does to them.

    Each decision of the record is first judged by its own policies, policy data, input and clock, all of them taken
    from the record and held against its digests: where that does not give the recorded verdict, the decision is named
    and not compared. Then the candidate judges the same input. What it refuses or admits anew is shown by namespace and
    model, with the approvals that would be needed, and so is each workload that is admitted now and would not be
    admitted again.

    What is judged again is the recorded policy input: signatures, evidence and facts stand as they were verified then.
    --effective-time tries the rules that are announced for a later day. That leaves of the record are in the signed
    tree is not verified here: `placet audit verify` does. Published tiles have no inputs: name a store.

    \b
    Examples:
      placet policy replay --since 30d --bundle new/
      placet policy replay --since 30d --data policy-data.yaml --store record.sqlite -o markdown
      placet policy replay --since 4w --effective-time 2027-01-31
      placet policy replay --bundle new/ --jobs 2 --resume replay.state

    \b
    Exit codes:
      0  every decision was reproduced, and the candidate changes nothing
      1  every decision was reproduced, and something changes
      2  a decision can't be reproduced or compared, or the candidate or the record can't be used

    \b
    Environment:
      PLACET_AUDIT_STORE  the record, instead of --store
      PLACET_CONFIG       the configuration file, instead of --config

    \b
    See also: placet policy matrix, placet policy eval, placet audit replay, docs/policy-authors.md
    """
    from placet.cli.policy_replay_view import exit_code, print_replay
    from placet.rehearsal.notebook import open_notebook

    options = Asked(**asked)
    if options.folder is None and options.data_file is None and options.effective_time is None:
        raise click.UsageError("nothing to try: give --bundle, --data or --effective-time")
    location = find_store(store, config_file)
    task, size = _plan(location, options)
    facts = _facts(task, options, size)
    with open_notebook(resume, facts) as notebook:
        task = _go_on(notebook, task, facts)
        _run(task, notebook, jobs=jobs, resume=resume)
        print_replay(notebook, task, output)
        code = exit_code(notebook)
    if code:
        sys.exit(EXIT_USAGE if code == EXIT_USAGE else EXIT_VIOLATIONS)


def _plan(location: StoreLocation, asked: Asked) -> tuple[Task, int]:
    """What is to be done, and how many leaves there are.

    Raises:
        PlacetError: the record or the candidate can't be used.
    """
    from placet.audit.location import open_reader
    from placet.rehearsal.past import Catalogue
    from placet.rehearsal.share import Task

    with open_reader(location) as reader:
        catalogue, size = Catalogue.of(reader), reader.state().size
        candidate, baseline = _find_candidates(reader, catalogue, asked)
    since, until = (_read_moment(name, text) for name, text in (("since", asked.since), ("until", asked.until)))
    if since and until and since >= until:
        raise click.UsageError("--since is not before --until")
    return Task(location, catalogue, candidate, baseline, since, until), size


def _find_candidates(reader: Reader, catalogue: Catalogue, asked: Asked) -> tuple[Candidate, Candidate | None]:
    """What is tried, and what it is compared with where that is not what each decision was judged by."""
    from placet.canonical import render_canonical
    from placet.dossier.leaves import StoreLeaves
    from placet.policy.bundle import WASM, load_bundle
    from placet.policy.data import load_policy_data
    from placet.rehearsal.candidate import Candidate
    from placet.rehearsal.past import Past

    present = None
    if asked.folder is None or asked.data_file is None or asked.against == IN_FORCE:
        present = Past(catalogue).in_force(StoreLeaves(reader))
    bundle = None if asked.folder is None else load_bundle(asked.folder)
    data = None if asked.data_file is None else load_policy_data(asked.data_file, bundle)
    made = Candidate(
        present.manifest if bundle is None and present is not None else _loaded(bundle).load_manifest(),
        present.wasm if bundle is None and present is not None else _loaded(bundle).load_file(WASM),
        present.data if data is None and present is not None else render_canonical(_loaded(data).value),
    )
    return made.at_time(asked.effective_time), present if asked.against == IN_FORCE else None


def _loaded(part: Any) -> Any:
    if part is None:
        raise click.UsageError("give --bundle and --data")
    return part


def _read_moment(name: str, text: str) -> str:
    """A moment as records have it; "" for none."""
    from placet.audit.log import render_time
    from placet.errors import FormatError
    from placet.rehearsal.window import parse_moment

    if not text:
        return ""
    try:
        return render_time(parse_moment(text, now=now_utc()))
    except FormatError as exc:
        raise click.UsageError(f"--{name}: {exc}") from exc


def _facts(task: Task, asked: Asked, size: int) -> dict[str, str]:
    """What a replay is of: what of it must be the same to go on, and what is kept from its first run."""
    identity = {
        "record": str(task.location),
        "candidate": task.candidate.name,
        "baseline": None if task.baseline is None else task.baseline.name,
        "since": asked.since,
        "until": asked.until,
    }
    raw = json.dumps(identity, sort_keys=True).encode()
    return {
        "identity": hashlib.sha256(raw).hexdigest(),
        "since": task.since,
        "until": task.until,
        "size": str(size),
    }


def _go_on(notebook: Notebook, task: Task, facts: dict[str, str]) -> Task:
    """The task as its first run had it: 30 days ago is what it was then.

    Raises:
        InputError: the file is of another replay, or the record is not the one that it was begun with.
    """
    import dataclasses

    from placet.audit.location import open_reader
    from placet.errors import InputError

    hint = "Name another file with --resume, or remove it, to begin anew."
    if notebook.fact("identity") != facts["identity"]:
        raise InputError("--resume names the file of another replay", code="notebook_foreign", hint=hint)
    done = notebook.next
    if done > int(facts["size"]) or int(notebook.fact("size")) > int(facts["size"]):
        raise InputError("the record is shorter than when the replay began", code="notebook_foreign", hint=hint)
    if done:
        with open_reader(task.location) as reader:
            last = next(reader.leaves(done - 1, done), None)
        if last is None or last.leaf_hash.hex() != notebook.fact("anchor"):
            raise InputError("the record is not the one that the replay began with", code="notebook_foreign", hint=hint)
    return dataclasses.replace(task, since=notebook.fact("since"), until=notebook.fact("until"))


def _run(task: Task, notebook: Notebook, *, jobs: int, resume: Path | None) -> None:
    from placet.cli.progress import Progress
    from placet.rehearsal.run import rehearse

    size = int(notebook.fact("size"))
    try:
        with Progress("leaves") as progress:
            rehearse(task, notebook, size=size, jobs=jobs, progress=progress)
    except KeyboardInterrupt:
        kept = f"; the same command goes on from {resume}" if resume else ", and nothing is kept without --resume"
        say(f"stopped after {notebook.next} of {size} leaves{kept}")
        raise
