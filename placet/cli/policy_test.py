"""``placet policy test``: the tests of policies, through both engines."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from placet.cli.options import effective_time_option
from placet.cli.output import EXIT_VIOLATIONS, say, say_error
from placet.cli.policy_authoring import github_findings, policies_option

if TYPE_CHECKING:
    from placet.policy.authoring.testing import Report

_LOOK_S: Final = 0.3


@click.command()
@policies_option
@click.option("--run", "pattern", default="", metavar="PATTERN", help="Only tests whose full name holds this pattern.")
@click.option(
    "--threshold",
    type=click.IntRange(0, 100),
    default=100,
    show_default=True,
    help="Least share of the lines that the tests must reach, in percent.",
)
@effective_time_option
@click.option("--watch", is_flag=True, help="Test again whenever a file changes, until it is interrupted.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(("text", "json", "junit", "github")),
    default="text",
    show_default=True,
    help="How to print it.",
)
def test(
    policies: tuple[Path, ...],
    pattern: str,
    threshold: int,
    *,
    effective_time: datetime | None,
    watch: bool,
    output: str,
) -> None:
    r"""Run the tests of policies through OPA and through the embedded engine.

    Every test must pass in both. Without --run it is measured which lines the tests reach, and seen for each rule that
    some test of its own would fail if the rule passed always, and some if it never did. Tests of what ships are run
    where a whole tree is named, and not with an overlay. With --effective-time the data of tests.fixtures has that
    day, so that a rule which is announced for it refuses. Needs `opa`, of the release that the policies are compiled
    with.

    \b
    Examples:
      placet policy test
      placet policy test --policies team-policies --run ceiling
      placet policy test --effective-time 2027-01-31
      placet policy test --watch
      placet policy test -o junit > policies.xml

    \b
    Exit codes:
      0  every test passes, and shows enough
      1  a test fails, a line is not reached, or a rule was not seen passing and failing
      2  the policies do not compile, no test has such a name, or there is no opa

    \b
    Environment:
      PLACET_OPA  the opa to use; else the one on PATH

    \b
    See also: placet policy check, placet policy new, docs/policy-authors.md
    """
    if watch:
        _watch(policies, pattern, threshold, output, effective_time)
        return
    report = _test(policies, pattern, threshold, output, effective_time)
    if not report.good(threshold):
        sys.exit(EXIT_VIOLATIONS)


def _test(policies: tuple[Path, ...], pattern: str, threshold: int, output: str, moment: datetime | None) -> Report:
    from placet.cli.policy_test_view import print_report
    from placet.policy.authoring.opa import find_opa
    from placet.policy.authoring.syntax import SyntaxFault
    from placet.policy.authoring.testing import run
    from placet.policy.authoring.tree import find_tree

    try:
        report = run(find_opa(), find_tree(*policies), pattern=pattern, moment=moment)
    except SyntaxFault as fault:
        for line in github_findings(fault.findings) if output == "github" else ():
            click.echo(line)
        raise
    print_report(report, output, threshold)
    return report


def _watch(policies: tuple[Path, ...], pattern: str, threshold: int, output: str, moment: datetime | None) -> None:
    """Test again after each change; a fault is said, and the next change is waited for."""
    import time

    from placet.errors import PlacetError

    roots = policies or (Path("policies"),)
    if not all(root.is_dir() for root in roots):
        _test(policies, pattern, threshold, output, moment)  # says what is missing
    seen: object = None
    try:
        while True:
            now = _state(roots)
            if now == seen:
                time.sleep(_LOOK_S)
                continue
            seen = now
            try:
                _test(policies, pattern, threshold, output, moment)
            except PlacetError as error:
                say_error(error)
            say("waiting for a change; interrupt to end")
    except KeyboardInterrupt:
        say()


def _state(roots: tuple[Path, ...]) -> dict[str, tuple[int, int]]:
    """Size and time of each file that counts; one that is just being replaced is seen at the next look."""
    found = {}
    for path in (path for root in roots for path in root.rglob("*")):
        if path.suffix in {".rego", ".yaml", ".json"}:
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            found[path.as_posix()] = (stat.st_mtime_ns, stat.st_size)
    return found
