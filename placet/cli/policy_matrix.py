"""``placet policy matrix``: the approval matrix as the policies really have it, and what is proved of it."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from placet.cli.clock import now_utc
from placet.cli.options import output_option
from placet.cli.output import EXIT_VIOLATIONS, print_result, say
from placet.cli.policy_source import find_data_file, load_earlier, load_policies, policy_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placet.policy.bundle import Bundle
    from placet.policy.data import PolicyData
    from placet.policy.proof import Finding, Proof


@click.command()
@policy_options
@click.option(
    "--diff", "revision", metavar="REV", help="Compare with the policy data as this revision of git has them."
)
@click.option("--against", type=click.Path(path_type=Path), help="Compare with the policy data of another file.")
@click.option(
    "--requests",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write a policy input into for each thing that does not hold.",
)
@output_option("table", "json", "yaml", "markdown")
def matrix(
    data_file: Path | None,
    config_file: Path | None,
    folder: Path | None,
    revision: str | None,
    against: Path | None,
    requests: Path | None,
    output: str,
) -> None:
    r"""Show which roles admit what, and prove that the matrix has no hole.

    Every environment, risk level, mode and set of roles is put to the real policies. Proved: each is decided; what
    nobody provided for is refused; nothing is admitted without a role that a table asks for, nor refused with all of
    them; one more approval, a lower level or an environment that asks for less never makes it harder; one person never
    stands for several roles; warn and audit find what enforce does; and no rule is out of reach. Without --diff and
    --against the data are compared with those that ship; rows that differ are told, and what environments require.

    The questions have evidence of every kind that ships, complete by the limits of the data. A rule that wants another
    kind refuses them all: needs_evidence says which, and that nothing is proved of its environment.

    \b
    Examples:
      placet policy matrix
      placet policy matrix --data policy-data.yaml
      placet policy matrix --data policy-data.yaml --diff main -o markdown
      placet policy matrix --data policy-data.yaml --requests found/

    \b
    Exit codes:
      0  all of it holds
      1  something does not; for each thing there is a request that shows it
      2  the policies or their data can't be used

    \b
    Environment:
      PLACET_CONFIG  the configuration file

    \b
    See also: placet policy eval, docs/policy-authors.md
    """
    from placet.cli.policy_matrix_view import Difference, build_matrix, find_changes, find_demands, print_matrix
    from placet.policy.data import load_policy_data

    if revision is not None and against is not None:
        raise click.UsageError("--diff and --against both say what to compare with: give one of them")
    file = find_data_file(data_file, config_file)
    bundle = load_policies(folder)
    data = load_policy_data(file, bundle)
    proof = _prove(bundle, data)
    other = None
    if revision is not None:
        other = load_earlier(file, revision)
    elif against is not None or file is not None:
        other = load_policy_data(against, bundle)
    difference = None
    if other is not None:
        since = revision or (str(against) if against else "the shipped policy data")
        difference = Difference(since, find_changes(_prove(bundle, other), proof), find_demands(other, data))
    chosen = [("--data", file), ("--bundle", folder)]
    trials = _write_requests(proof.findings, requests, [(name, path) for name, path in chosen if path is not None])
    if output in {"json", "yaml"}:
        print_result(build_matrix(proof, data, bundle, difference), output)
    else:
        print_matrix(
            proof,
            difference,
            output,
            trials=trials,
            announced=[rule for rule in bundle.rules if rule.effective_on is not None],
        )
    if proof.findings:
        sys.exit(EXIT_VIOLATIONS)


def _prove(bundle: Bundle, data: PolicyData) -> Proof:
    from placet.cli.progress import Progress
    from placet.policy.proof import prove
    from placet.policy.wasm import EmbeddedEngine

    today = now_utc()  # a rule that is announced is shown as it judges now: it refuses nothing yet
    rules = [rule.id for rule in bundle.rules if rule.effective_on is None or rule.effective_on <= today]
    with Progress("questions") as progress:
        return prove(
            data.at_time(today),
            lambda given: EmbeddedEngine(bundle, given),
            rules,
            progress,
            optional=[rule.id for rule in bundle.rules if rule.optional],
        )


def _write_requests(
    findings: Sequence[Finding], folder: Path | None, chosen: Sequence[tuple[str, Path]]
) -> dict[int, str]:
    """Write the request of each finding that has one. Number of the finding -> command that puts it to the policies.

    Raises:
        InputError: they can't be written.
    """
    from placet.errors import InputError
    from placet.policy.matrix import ENFORCE

    if folder is None:
        return {}
    written: dict[int, str] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, one in enumerate(findings, 1):
            if one.request is not None:
                file = folder / f"{number:03}-{one.fault.value}.json"
                file.write_text(json.dumps(one.request, indent=2) + "\n", encoding="utf-8")
                options = [*chosen, *([("--mode", one.mode)] if one.mode != ENFORCE else [])]
                words = ["placet", "policy", "eval", "-i", file, *(part for option in options for part in option)]
                written[number] = shlex.join(map(str, words))
    except OSError as exc:
        raise InputError(f"{exc.filename or folder} can't be written: {exc.strerror}") from exc
    if findings:
        say(f"{len(written)} requests written to {folder}")
    return written
