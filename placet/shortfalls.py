"""Sentences about what a deployment lacks beyond approvals: evidence, history, a window, a limit that is kept.

Each code that a rule which ``requires`` can name reports has its sentence. The texts in it come from the request and
from signed statements, and pass through :func:`placet.text.safe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from placet.change_calendar import Opening
from placet.text import clip, safe

_MAX_TEXT: Final = 160
_CONTROLS: Final[Mapping[str, str]] = {
    "dpia": "impact assessment of data protection (dpia)",
    "masking": "masking of personal data (masking)",
}

SHORTFALLS: Final[Mapping[str, str]] = {
    "accuracy_low": "the accuracy is {found} thousandths, the limit is {limit}",
    "alert_rules_few": "fewer alert rules are attested than the {limit} that are asked for",
    "assessment_failed": "the assessment by {framework} failed, says {attester}",
    "classification_unknown": "the policy data do not know the classification {classification}",
    "control_missing": "the data are {classifications}, and the privacy assessment shows no {control}",
    "coverage_low": "the tests of {reference} run {covered} of {total} lines, {limit} thousandths are asked for",
    "coverage_missing": "no coverage that counts is attested for {reference}{rejected}",
    "documents_missing": "the documentation lacks {documents}",
    "drill_missing": "no drill of the rollback of this content that is recent enough{rejected}",
    "drill_slow": "the drilled rollback took {found} minutes, the limit is {limit}",
    "error_budget_burnt": "{left} thousandths of the error budget are left, which is not enough",
    "evidence_missing": "no {kind} that counts is attested{rejected}",
    "frozen": "the freeze {freeze} is in force",
    "history_unknown": "there is no record to ask where this content ran before",
    "images_missing": "the workload names no image",
    "incidents_open": "the model has open incidents: {found}",
    "latency_above_objective": "the latency is {found} ms, {objective} ms are promised",
    "latency_high": "the latency is {found} ms, the limit is {limit} ms",
    "licence_not_allowed": "training data have the licence {licence}, which is not allowed",
    "lineage_incomplete": "the lineage by {attester} is not complete: it needs datasets by digest and their licences",
    "monitors_few": "fewer monitors are attested than the {limit} that are asked for",
    "not_staged": "the record does not show this content admitted to {before}",
    "objective_weak": "the objective {objective} is {found}, the limit is {limit}",
    "plan_old": "the incident plan was confirmed more than {days} days ago",
    "plan_unnamed": "the incident plan by {attester} names nobody on call, or no plan",
    "promotion_unset": "the policy data do not say which environment comes before this one",
    "region_not_allowed": "the cluster stands in {region}, the data may be in {allowed}",
    "region_unknown": "the policy data do not say where the cluster {cluster} stands",
    "replicas_many": "up to {found} replicas may run, the limit is {limit}",
    "replicas_unknown": "how many replicas may run at once is not known",
    "retention_short": "{class} is {found}, the limit is {limit}",
    "rollback_not_authorised": "{requester} is not among those who may roll back",
    "scan_missing": "no scan that counts of {reference}{rejected}",
    "soaking": "{before} has had this content since {since_s}, {hours} hours are asked for",
    "status_old": "the word on incidents and the error budget is older than {minutes} minutes",
    "ticket_malformed": "{ticket} is no change ticket of the form that the policy data describe",
    "ticket_not_approved": "the change ticket {ticket} is {state}",
    "vulnerabilities_critical": "a scan of {reference} counts {critical} critical findings, the limit is {limit}",
    "window_closed": "no change window is open",
}


OF_THE_CALENDAR: Final = frozenset({"frozen", "window_closed"})
"""Codes that time mends, so that a sentence can say when."""


def shortfall(code: str, details: Mapping[str, Any], opening: Opening | None = None) -> str:
    """The sentence for a code of ``SHORTFALLS``; what the rule did not say is shown as a question mark.

    Args:
        code: of the violation.
        details: of the violation.
        opening: when changes may be made next, where it is known.
    """
    shown = _Details({name: _shown(name, value) for name, value in details.items()})
    sentence = SHORTFALLS[code].format_map(shown)
    if opening is None:
        return sentence
    when = opening.moment.isoformat(sep=" ", timespec="minutes")
    return f"{sentence}; changes may be made from {when} {opening.zone} on ({safe(clip(opening.window, _MAX_TEXT))})"


class _Details(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "" if name == "rejected" else "?"


def _shown(name: str, value: Any) -> str:
    if name == "rejected":
        codes = ", ".join(safe(str(code)) for code in value)
        return f" (offered, and not accepted: {codes})" if codes else ""
    if name == "since_s" and isinstance(value, int):
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M} UTC"
    if name == "control":
        value = _CONTROLS.get(str(value), value)
    if isinstance(value, list):
        return ", ".join(safe(clip(str(each), _MAX_TEXT)) for each in value) or "nothing"
    return safe(clip(str(value), _MAX_TEXT)) or "?"
