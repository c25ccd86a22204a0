"""What was found about workloads, in the forms that build systems read: JUnit, SARIF and GitHub's annotations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote
from xml.etree import ElementTree as ET

from placet import __version__
from placet.cli.output import safe
from placet.policy.catalog import catalog

SARIF_VERSION: Final = "2.1.0"
SARIF_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_SUITE: Final = "placet plan"
_LEVELS: Final = {"critical": "error", "high": "error", "medium": "error", "low": "warning", "info": "note"}
# XML 1.0 section 2.2: what no document can hold, not even escaped.
_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that was found.

    Attributes:
        rule: ``approvals.required``.
        code: ``role_missing``.
        severity: critical | high | medium | low | info.
        sentence: for a person, one line.
    """

    rule: str
    code: str
    severity: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was found about one workload.

    Attributes:
        name: ``Deployment/llama``.
        namespace: where it is going.
        file: as given; "" for a live object, ``-`` for standard input.
        line: 1-based; 0 when there is none.
        faults: why it is refused; may be empty.
        warnings: what else is to be said.
        refused: the answer.
        message: the whole refusal, several lines; "" when it is not refused.
    """

    name: str
    namespace: str
    file: str
    line: int
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]
    refused: bool
    message: str


def render_junit(reports: Sequence[Report], *, suite: str = _SUITE) -> str:
    """One test case a workload, as the JUnit of Ant and Maven writes them, in a suite of that name."""
    failures = sum(report.refused for report in reports)
    suites = ET.Element("testsuites")
    cases = ET.SubElement(
        suites, "testsuite", name=suite, tests=str(len(reports)), failures=str(failures), errors="0", skipped="0"
    )
    for report in reports:
        name = plain_xml(f"{report.name} in {report.namespace}")
        case = ET.SubElement(cases, "testcase", name=name, classname=plain_xml(report.file or "live"))
        if report.refused:
            codes = ", ".join(dict.fromkeys(f"{fault.rule}: {fault.sentence}" for fault in report.faults))
            failure = ET.SubElement(case, "failure", message=plain_xml(codes or "refused"), type="refused")
            failure.text = plain_xml(report.message)
        if report.warnings:
            ET.SubElement(case, "system-out").text = plain_xml("\n".join(fault.sentence for fault in report.warnings))
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode")


def plain_xml(text: str) -> str:
    """The text with a mark for each character that no XML document can hold."""
    return _NOT_XML.sub("\ufffd", text)


def render_sarif(reports: Sequence[Report]) -> str:
    """SARIF 2.1.0 (OASIS): each violation is a result of its rule, where the workload stands."""
    found = [(report, fault) for report in reports for fault in (*report.faults, *report.warnings)]
    rules = sorted({fault.rule for _, fault in found})
    driver = {
        "name": "placet",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_sarif_rule(rule) for rule in rules],
    }
    log = {
        "$schema": SARIF_SCHEMA,
        "version": SARIF_VERSION,
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": [_sarif_result(report, fault, rules) for report, fault in found],
            }
        ],
    }
    return json.dumps(log, indent=2, ensure_ascii=True)


def _sarif_rule(name: str) -> dict[str, Any]:
    rule = catalog().rule(name)
    described: dict[str, Any] = {"id": name, "shortDescription": {"text": rule.title}}
    if rule.description:
        described["fullDescription"] = {"text": " ".join(rule.description.split())}
    if rule.solution:
        described["help"] = {"text": " ".join(rule.solution.split())}
    return described


def _sarif_result(report: Report, fault: Fault, rules: Sequence[str]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": fault.rule,
        "ruleIndex": rules.index(fault.rule),
        "level": _LEVELS.get(fault.severity, "error"),
        "message": {"text": f"{safe(report.name)} in namespace {safe(report.namespace)}: {fault.sentence}"},
        "properties": {"code": fault.code, "severity": fault.severity},
    }
    logical = {"fullyQualifiedName": f"{safe(report.namespace)}/{safe(report.name)}", "kind": "object"}
    location: dict[str, Any] = {"logicalLocations": [logical]}
    if report.file not in {"", "-"}:
        artifact = {"uri": quote(report.file.encode("utf-8", "surrogateescape"))}
        location["physicalLocation"] = {
            "artifactLocation": artifact,
            "region": {"startLine": max(report.line, 1)},
        }
    result["locations"] = [location]
    return result


def render_github(reports: Sequence[Report]) -> Iterator[str]:
    """Workflow commands of GitHub Actions, which shows each beside the line of the file."""
    for report in reports:
        for fault in (*report.faults, *report.warnings):
            level = {"error": "error", "warning": "warning"}.get(_LEVELS.get(fault.severity, "error"), "notice")
            where = (
                "" if report.file in {"", "-"} else f"file={escape_property(report.file)},line={max(report.line, 1)},"
            )
            title = f"title={escape_property(f'placet {fault.rule}')}"
            yield f"::{level} {where}{title}::{escape_data(f'{report.name} in {report.namespace}: {fault.sentence}')}"


def escape_data(text: str) -> str:
    """As the runner's toolkit escapes a message; a line end would begin a command of somebody else's choice."""
    return safe(text).replace("%", "%25")


def escape_property(text: str) -> str:
    """As ``escape_data``, for what stands before the message."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")
