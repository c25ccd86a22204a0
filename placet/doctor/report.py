"""An examination as JSON, and as a leaf of the record."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from placet import __version__
from placet.audit.log import MAX_ATTACHMENT_BYTES, AuditLog, render_time
from placet.audit.record import SCAN
from placet.audit.record import SCHEMA as RECORD_SCHEMA
from placet.canonical import Digest, render_canonical
from placet.doctor.findings import Finding, Severity
from placet.text import safe

SCHEMA: Final = "placet.dev/doctor/v1"
REPORT: Final = "report"


def build_report(found: Sequence[Finding]) -> dict[str, Any]:
    """What machines are told, of the schema ``placet.dev/doctor/v1``.

    Args:
        found: the gravest first.
    """
    return {"schema": SCHEMA, "findings": [_plain(one) for one in found], "counts": count(found)}


def count(found: Sequence[Finding]) -> dict[str, int]:
    """How many findings there are of each severity, 0 included."""
    counted = Counter(one.severity for one in found)
    return {severity.value: counted[severity] for severity in Severity}


def record_scan(log: AuditLog, found: Sequence[Finding], *, cluster: str, began: datetime, now: datetime) -> int:
    """Put an examination on record: its counts and codes in a leaf, the report beside it. The leaf's index.

    Args:
        log: opened with its key.
        found: the gravest first.
        cluster: of the gate whose log it is.
        began: aware UTC, when the first thing was looked at.
        now: aware UTC, when the last thing had been looked at.

    Raises:
        StoreUnavailable: it is not known to be durable.
        AuditError: it can't be recorded.
        TamperError: the store is not what it was.
    """
    report, kept = render_report(found)
    body: Mapping[str, Any] = {
        "schema": RECORD_SCHEMA,
        "type": SCAN,
        "time": render_time(now),
        "cluster": cluster,
        "began": render_time(began),
        "version": __version__,
        "counts": count(found),
        "codes": sorted({f"{one.severity.value}/{one.code.value}" for one in found}),
        "findings": len(found),
        "reported": kept,
        "report_digest": str(Digest.of(report)),
    }
    return log.append(body, attachments={REPORT: report}).index


def render_report(found: Sequence[Finding], *, most: int = MAX_ATTACHMENT_BYTES) -> tuple[bytes, int]:
    """Canonical JSON of as many findings as can be kept, the gravest, and how many those are.

    Args:
        found: the gravest first.
        most: bytes that can be kept; an empty report always fits.
    """
    whole = build_report(found)
    findings: list[dict[str, str]] = whole["findings"]
    left = most - len(render_canonical({**whole, "findings": []}))
    sizes = itertools.accumulate(len(render_canonical(one)) + 1 for one in findings)
    kept = sum(1 for size in itertools.takewhile(lambda size: size <= left, sizes))
    return render_canonical({**whole, "findings": findings[:kept]}), kept


def _plain(one: Finding) -> dict[str, str]:
    return {
        "code": one.code.value,
        "severity": one.severity.value,
        "where": safe(one.where),
        "found": safe(one.sentence),
        "why": one.why,
        "remedy": one.remedy,
    }
