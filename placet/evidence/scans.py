"""Vulnerability scans, in the form of in-toto: what was found is counted here, by the worst severity of each.

https://github.com/in-toto/attestation/blob/main/spec/predicates/vulns_02.md
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from placet.approvals.closed import ClosedObject
from placet.errors import FormatError

SEVERITIES: Final = ("unknown", "critical", "high", "medium", "low")
"""Worst first: what nobody could tell may be anything."""
MAX_RESULTS: Final = 4096
_MAX_SEVERITIES: Final = 32
_WORDS: Final[Mapping[str, str]] = {
    "critical": "critical",
    "high": "high",
    "important": "high",
    "medium": "medium",
    "moderate": "medium",
    "low": "low",
    "minor": "low",
    "negligible": "low",
    "none": "low",
}
_SCORES: Final = re.compile(r"cvss.*|nvd.*", re.ASCII)
_BESIDE: Final = re.compile(r"(epss|kev|ssvc)([^a-z].*)?", re.ASCII)  # how likely or urgent, not how severe
_NUMBER: Final = re.compile(r"(10|[0-9])(\.[0-9]{1,3})?", re.ASCII)
_VECTOR: Final = "CVSS:"
# The lowest score of each, as CVSS 3 and 4 have them.
_LOWEST: Final = ((Decimal("9.0"), "critical"), (Decimal("7.0"), "high"), (Decimal("4.0"), "medium"))


def read_scan(predicate: ClosedObject) -> dict[str, int | str]:
    """Claims of a scan: how many vulnerabilities there are of each severity, and who looked.

    An empty ``result`` is a scan that found nothing; a missing one is no scan.

    Raises:
        FormatError: it is not of its form.
    """
    scanner = predicate.child("scanner")
    results = scanner.children("result", maximum=MAX_RESULTS, empty=True)
    counts = Counter(_severity_of(entry) for entry in results)
    return {**{name: counts[name] for name in SEVERITIES}, "scanner": scanner.text("uri")}


def _severity_of(entry: ClosedObject) -> str:
    """The worst that any method says of one vulnerability; ``unknown`` where one can't be read and none is critical."""
    if not entry.has("severity"):
        return "unknown"
    found = {
        severity
        for one in entry.children("severity", maximum=_MAX_SEVERITIES, empty=True)
        if (severity := _read_severity(one)) is not None
    }
    if "critical" in found:
        return "critical"
    return min(found, key=SEVERITIES.index, default="unknown")


def _read_severity(one: ClosedObject) -> str | None:
    """None for what says nothing of severity."""
    method, score = one.take("method"), one.take("score")
    if not isinstance(method, str):
        raise FormatError(f"{one.path}.method is not text")
    method = method.lower()
    if _BESIDE.fullmatch(method):
        return None
    text = _text_of(score)
    if text.startswith(_VECTOR):
        return None
    if (word := _WORDS.get(text.lower())) is not None:
        return word
    # A number of another method may be out of anything: 0.97 is a low CVSS score and a terrible one elsewhere.
    if not _SCORES.fullmatch(method) or not _NUMBER.fullmatch(text) or (number := Decimal(text)) > 10:  # noqa: PLR2004
        return "unknown"
    return next((name for lowest, name in _LOWEST if number >= lowest), "low")


def _text_of(score: Any) -> str:
    if isinstance(score, str):
        return score
    return str(score) if isinstance(score, int | float) and not isinstance(score, bool) else ""
