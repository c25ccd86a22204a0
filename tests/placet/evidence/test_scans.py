"""Vulnerability scans: what is counted, by the worst that is said, and what is no scan."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.approvals.closed import ClosedObject
from placet.errors import FormatError
from placet.evidence.kinds import VULNS_TYPE
from placet.evidence.predicates import read_predicate
from placet.evidence.scans import SEVERITIES, read_scan
from tests.placet.evidence.samples import SCAN
from tests.simulators.desk import SHIPPED_KINDS

CLEAN = {"critical": 0, "high": 0, "medium": 0, "low": 0, "unknown": 0}


def count(*results: Any) -> dict[str, Any]:
    scan = {"scanner": {"uri": "pkg:trivy", "result": list(results)}}
    found = read_scan(ClosedObject(scan, "predicate"))
    assert found.pop("scanner") == "pkg:trivy"
    return {name: number for name, number in found.items() if number}


def rated(*severities: tuple[Any, Any]) -> dict[str, Any]:
    return {"id": "CVE-1", "severity": [{"method": method, "score": score} for method, score in severities]}


def test_a_scan_is_counted_by_severity() -> None:
    evidence = read_predicate(SHIPPED_KINDS, VULNS_TYPE, SCAN)
    claims = dict(evidence.sayings["vulnerability_scan"].claims)
    assert claims.pop("scanner") == "pkg:github/aquasecurity/trivy@0.60.0"
    assert claims == CLEAN | {"high": 1, "medium": 2}
    assert evidence.issued_at == datetime(2026, 11, 22, 10, 0, 0, 250_000, tzinfo=UTC)
    assert (evidence.expires, evidence.facts) == (None, {})


@pytest.mark.parametrize(
    ("severities", "counted"),
    [
        ([("nvd", "critical")], "critical"),
        ([("vendor", "Important")], "high"),
        ([("cvss", "9.0")], "critical"),
        ([("cvss", "8.9")], "high"),
        ([("cvss", "10.0")], "critical"),
        ([("cvss", "10.1")], "unknown"),
        ([("cvss", 9.8)], "critical"),
        ([("cvss", 7)], "high"),
        ([("cvss", True)], "unknown"),
        ([("CVSS_v4", "4.0")], "medium"),
        ([("nvd", "0.0")], "low"),
        ([("vendor", "9.8")], "unknown"),  # of whatever scale
        ([("epss", "0.97")], "unknown"),  # says nothing of severity, and nothing else does
        ([("epss", "0.97"), ("nvd", "low")], "low"),
        ([("nvd", "low"), ("cvss", "9.9")], "critical"),
        ([("nvd", "low"), ("vendor", "severe")], "unknown"),
        ([("vendor", "severe"), ("nvd", "critical")], "critical"),
        ([("cvss_v3_vector", "CVSS:3.1/AV:N/AC:L"), ("cvss_v3", "5.0")], "medium"),
        ([("cvss", "1e9")], "unknown"),
        ([("cvss", "\uff19.0")], "unknown"),
        ([], "unknown"),
    ],
)
def test_the_worst_that_is_said_counts_and_what_nobody_can_tell_is_unknown(
    severities: list[tuple[Any, Any]], counted: str
) -> None:
    assert count(rated(*severities)) == {counted: 1}


def test_a_finding_without_a_severity_is_unknown() -> None:
    assert count({"id": "CVE-1"}, {}) == {"unknown": 2}


@pytest.mark.parametrize(
    "path",
    [("scanner",), ("scanner", "result"), ("scanner", "uri"), ("metadata",), ("metadata", "scanFinishedOn")],
)
def test_a_scan_that_leaves_out_what_counts_is_no_scan(path: tuple[str, ...]) -> None:
    scan = copy.deepcopy(SCAN)
    parent = scan
    for step in path[:-1]:
        parent = parent[step]
    del parent[path[-1]]
    with pytest.raises(FormatError) as caught:
        read_predicate(SHIPPED_KINDS, VULNS_TYPE, scan)
    assert caught.value.code == "statement_malformed"


@pytest.mark.parametrize("result", [None, {}, "", [1], [{"severity": {}}], [{"severity": [{"method": "nvd"}]}]])
def test_a_list_of_anything_else_is_no_scan(result: Any) -> None:
    with pytest.raises(FormatError):
        read_scan(ClosedObject({"scanner": {"uri": "x", "result": result}}, "predicate"))


_SEVERITY = st.tuples(
    st.sampled_from(["nvd", "cvss", "epss", "vendor", "CVSS_v3", ""]),
    st.sampled_from(["critical", "high", "medium", "low", "", "odd"])
    | st.decimals(0, 10, places=1).map(str)
    | st.floats()
    | st.text(max_size=6),
)


@given(st.lists(st.lists(_SEVERITY, max_size=4), max_size=6), st.lists(_SEVERITY, min_size=1, max_size=4))
def test_every_finding_is_counted_once_and_more_of_them_never_fewer(
    findings: list[list[tuple[Any, Any]]], another: list[tuple[Any, Any]]
) -> None:
    before = count(*(rated(*one) for one in findings))
    assert sum(before.values()) == len(findings)
    after = count(*(rated(*one) for one in [*findings, another]))
    assert all(after.get(name, 0) >= before.get(name, 0) for name in SEVERITIES)


@given(st.lists(_SEVERITY, max_size=3), _SEVERITY)
def test_another_opinion_never_makes_a_finding_milder(opinions: list[tuple[Any, Any]], more: tuple[Any, Any]) -> None:
    (one,) = count(rated(*opinions))
    (two,) = count(rated(*opinions, more))
    order = ("low", "medium", "high", "unknown", "critical")
    assert order.index(two) >= order.index(one) or (one == "unknown" and not _tells(opinions))


def _tells(opinions: list[tuple[Any, Any]]) -> bool:
    return any(method != "epss" and not str(score).startswith("CVSS:") for method, score in opinions)
