from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.errors import FormatError
from placet.evidence.adapters import parse_bom, parse_coverage_json

TOTALS = {
    "covered_lines": 85,
    "num_statements": 100,
    "percent_covered": 85.4321,
    "covered_branches": 3,
    "num_branches": 4,
}


def report(**changes: Any) -> bytes:
    return json.dumps({"meta": {"timestamp": "2026-11-22T12:00:00.5"}, "totals": TOTALS | changes}).encode()


def test_counts_are_read_and_percentages_are_not() -> None:
    read = parse_coverage_json(report(percent_covered=100.0))
    assert (read.lines, read.branches, read.measured_at) == ((85, 100), (3, 4), None)


def test_a_time_with_a_zone_is_used() -> None:
    raw = json.dumps({"meta": {"timestamp": "2026-11-22T13:00:00.5+01:00"}, "totals": TOTALS}).encode()
    assert parse_coverage_json(raw).measured_at == datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_statements": 0, "covered_lines": 0},
        {"covered_lines": 101},
        {"covered_lines": True},
        {"covered_lines": 85.0},
        {"num_branches": 1},
        {"num_statements": None},
    ],
)
def test_counts_that_can_t_be_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        parse_coverage_json(report(**changes))


def test_what_coverage_py_writes_today_is_read(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("x = 1\nif x:\n    y = 2\nelse:\n    y = 3\n")
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "run", "--branch", "code.py"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run([*coverage, "json", "-o", "coverage.json"], cwd=tmp_path, check=True, capture_output=True)
    read = parse_coverage_json((tmp_path / "coverage.json").read_bytes())
    assert (read.lines, read.branches) == ((3, 4), (1, 2))


@given(st.binary(max_size=100) | st.text(max_size=60).map(str.encode))
def test_nothing_but_format_error_escapes(raw: bytes) -> None:
    with pytest.raises(FormatError):
        parse_coverage_json(raw)
    try:
        parse_bom(raw)
    except FormatError:
        return


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.sampled_from(["totals", "meta"]), _JSON)
def test_nothing_but_format_error_escapes_from_json_of_another_shape(name: str, value: object) -> None:
    raw = json.dumps({"meta": {}, "totals": TOTALS} | {name: value}).encode()
    try:
        parse_coverage_json(raw)
    except FormatError:
        return
