"""Reports of other tools, read into the numbers that a predicate carries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from placet.approvals.closed import ClosedObject
from placet.canonical import parse_json
from placet.errors import FormatError

MAX_REPORT_BYTES: Final = 64 * 1024 * 1024
_MAX_COUNT: Final = 2**53 - 1


@dataclass(frozen=True, slots=True)
class CoverageReport:
    """Counts of a coverage run.

    Attributes:
        lines: covered and total, total 1 or more.
        branches: covered and total; zeros where they were not measured.
        measured_at: aware UTC, or None where the report does not say in which time zone.
    """

    lines: tuple[int, int]
    branches: tuple[int, int]
    measured_at: datetime | None


def parse_coverage_json(raw: bytes) -> CoverageReport:
    """Read what ``coverage json`` of coverage.py writes.

    The rounded percentages in it are not looked at. Its timestamp has no time zone by default and is then not used.

    Raises:
        FormatError: not such a report, or one of no lines at all.
    """
    report = ClosedObject(parse_json(raw, max_bytes=MAX_REPORT_BYTES, allow_floats=True), "report")
    totals = report.child("totals")
    lines_total = totals.integer("num_statements", minimum=1, maximum=_MAX_COUNT)
    lines_covered = totals.integer("covered_lines", minimum=0, maximum=lines_total)
    branches = (0, 0)
    if totals.has("num_branches"):
        branches_total = totals.integer("num_branches", minimum=0, maximum=_MAX_COUNT)
        branches = (totals.integer("covered_branches", minimum=0, maximum=branches_total), branches_total)
    return CoverageReport((lines_covered, lines_total), branches, _measured_at(report))


def _measured_at(report: ClosedObject) -> datetime | None:
    meta = report.child("meta") if report.has("meta") else None
    if meta is None or not meta.has("timestamp"):
        return None
    try:
        moment = datetime.fromisoformat(meta.text("timestamp", max_chars=40))
        return moment.astimezone(UTC).replace(microsecond=0) if moment.tzinfo is not None else None
    except (ValueError, OverflowError) as exc:
        raise FormatError("report.meta.timestamp is not a time") from exc


def parse_bom(raw: bytes) -> Any:
    """Read a CycloneDX document as JSON. Numbers with a fraction are kept.

    Raises:
        FormatError: not JSON.
    """
    return parse_json(raw, max_bytes=MAX_REPORT_BYTES, allow_floats=True)
