"""An examination on record: what the leaf says, what is kept beside it, and what fits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet import __version__
from placet.audit.log import AuditLog
from placet.audit.record import SCAN
from placet.canonical import Digest
from placet.doctor.findings import Code, Finding
from placet.doctor.report import build_report, record_scan, render_report

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FOUND = [
    Finding(Code.FAILS_OPEN, "ValidatingWebhookConfiguration/placet x", "failurePolicy is Ignore"),
    Finding(Code.RBAC_GATE, "group:tenants", "may \x1b[31m update"),
    Finding(Code.RBAC_GATE, "group:others", "half a character: \ud800"),
    Finding(Code.SINGLE_REPLICA, "Deployment/placet", "it has one replica"),
]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    found = AuditLog.open(tmp_path / "record.sqlite", origin="placet.dev/log/here")
    yield found
    found.close()


def test_the_leaf_counts_and_names_what_the_report_beside_it_tells(log: AuditLog) -> None:
    index = record_scan(log, FOUND, cluster="here", began=NOW - timedelta(minutes=1), now=NOW)
    ((at, leaf),) = log.since(SCAN, 0)
    report, kept = render_report(FOUND)
    assert (at, kept) == (index, 4)
    assert leaf == {
        "schema": "placet.dev/record/v1",
        "type": "scan",
        "time": "2026-11-23T12:00:00.000000Z",
        "began": "2026-11-23T11:59:00.000000Z",
        "cluster": "here",
        "version": __version__,
        "counts": {"hole": 1, "risk": 2, "unknown": 0, "note": 1},
        "codes": ["hole/fails_open", "note/single_replica", "risk/rbac_gate"],
        "findings": 4,
        "reported": 4,
        "report_digest": str(Digest.of(report)),
    }
    told = json.loads(report)
    assert told == build_report(FOUND)
    assert [one["found"] for one in told["findings"][1:3]] == [
        "may \\u001b[31m update",
        "half a character: \\ud800",
    ]


def test_an_examination_that_found_nothing_is_on_record_too(log: AuditLog) -> None:
    record_scan(log, [], cluster="here", began=NOW, now=NOW)
    ((_, leaf),) = log.since(SCAN, 0)
    assert (leaf["findings"], leaf["codes"], set(leaf["counts"].values())) == (0, [], {0})


@given(
    st.lists(st.builds(Finding, st.sampled_from(Code), st.text(max_size=20), st.text(max_size=40)), max_size=12),
    st.integers(min_value=0, max_value=6000),
)
def test_of_what_does_not_fit_the_gravest_are_kept(found: list[Finding], room: int) -> None:
    empty, _ = render_report([])
    most = len(empty) + 50 + room  # counts may take more digits than none
    report, kept = render_report(found, most=most)
    assert len(report) <= most
    whole = build_report(found)
    assert json.loads(report) == {**whole, "findings": whole["findings"][:kept]}
    if kept < len(found):
        longer, _ = render_report(found[: kept + 1], most=1 << 20)
        assert len(longer) + 8 > most
