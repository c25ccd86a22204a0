"""What the tests of policies showed, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import click

from placet.cli.output import print_result, safe, style
from placet.cli.policy_authoring import finding_line, finding_value, github_findings, github_line
from placet.cli.reports import plain_xml

if TYPE_CHECKING:
    from placet.policy.authoring.testing import Report, Result

SCHEMA: Final = "placet.dev/policy-tests/v1"


def print_report(report: Report, form: str, threshold: int) -> None:
    """Print it.

    Args:
        report: what was found.
        form: text | json | junit | github.
        threshold: least coverage, in percent.
    """
    match form:
        case "json":
            print_result(_value(report, threshold), "json")
        case "junit":
            click.echo(_junit(report, threshold))
        case "github":
            for line in _github(report, threshold):
                click.echo(line)
        case _:
            _print_text(report, threshold)


def _print_text(report: Report, threshold: int) -> None:
    for result in report.failed:
        click.echo(f"{style('FAIL', 'red', bold=True)} {safe(result.file)}:{result.line} {safe(_sentence(result))}")
    for one in report.unseen:
        click.echo(finding_line(one))
    for line in _uncovered(report, threshold):
        click.echo(line)
    passed = len(report.results) - len(report.failed)
    colour = "green" if report.good(threshold) else "red"
    covered = "" if report.covered is None else f", {report.covered} % of the lines covered"
    summary = f"{passed} of {len(report.results)} tests pass in OPA and in Wasm{covered}"
    click.echo(style(summary, colour, bold=True))


def _sentence(result: Result) -> str:
    if result.opa == "todo":
        return f"{result.name}: is still to be written"
    if result.opa == result.wasm:
        engines = "both engines"
    else:
        engines = "OPA alone" if result.wasm == "passed" else "Wasm alone" if result.opa == "passed" else "both engines"
    what = f"{result.name}: fails in {engines}"
    return f"{what}: {' '.join(result.message.split())}" if result.message else what


def _uncovered(report: Report, threshold: int) -> Iterator[str]:
    if report.covered is not None and report.covered < threshold:
        for file, lines in sorted(report.missing.items()):
            for line in lines:
                yield f"{safe(file)}:{line}: not_covered: no test reaches this line"


def _value(report: Report, threshold: int) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "good": report.good(threshold),
        "tests": [
            {
                "name": one.name,
                "file": one.file,
                "line": one.line,
                "opa": one.opa,
                "wasm": one.wasm,
                "duration_s": one.duration_s,
                "message": one.message,
            }
            for one in report.results
        ],
        "covered_percent": report.covered,
        "not_covered": {file: list(lines) for file, lines in sorted(report.missing.items())},
        "unseen": [finding_value(one) for one in report.unseen],
    }


def _github(report: Report, threshold: int) -> Iterator[str]:
    for result in report.failed:
        yield github_line(result.file, result.line, "placet policy test", _sentence(result))
    yield from github_findings(report.unseen)
    if report.covered is not None and report.covered < threshold:
        for file, lines in sorted(report.missing.items()):
            for line in lines:
                yield github_line(file, line, "placet not_covered", "no test reaches this line")


def _junit(report: Report, threshold: int) -> str:
    others = [(one.file, one.code, str(one)) for one in report.unseen]
    others += [("coverage", "not_covered", line) for line in _uncovered(report, threshold)]
    suites = ET.Element("testsuites")
    suite = ET.SubElement(
        suites,
        "testsuite",
        name="placet policy test",
        tests=str(len(report.results) + len(others)),
        failures=str(len(report.failed) + len(others)),
        errors="0",
        skipped="0",
    )
    _add_tests(suite, report.results)
    for file, code, text in others:
        case = ET.SubElement(suite, "testcase", classname=plain_xml(file), name=plain_xml(text.partition(": ")[0]))
        ET.SubElement(case, "failure", message=plain_xml(text), type=code)
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode")


def _add_tests(suite: ET.Element, results: Sequence[Result]) -> None:
    for result in results:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=plain_xml(result.name.rpartition(".")[0]),
            name=plain_xml(result.name.rpartition(".")[2]),
            file=plain_xml(result.file),
            line=str(result.line),
            time=f"{result.duration_s:.6f}",
        )
        if not result.passed:
            failure = ET.SubElement(case, "failure", message=plain_xml(_sentence(result)), type=result.opa)
            failure.text = plain_xml(f"{result.file}:{result.line}\n{result.message}")
