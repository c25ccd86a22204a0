"""The sentences that people read: the refusal that ends the ticket, and the warnings.

The same text comes from the webhook and from ``placet plan``. Every word that a tenant chose passes through
:func:`placet.text.safe` first, and nothing here ever sees an env value.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from placet.change_calendar import Opening
from placet.decision import GUARD, Decision
from placet.evidence.commands import find_kind, make_command
from placet.model import ROLES
from placet.policy.catalog import catalog
from placet.policy.decision import Violation
from placet.shortfalls import OF_THE_CALENDAR, SHORTFALLS, shortfall
from placet.text import clip, safe

MAX_WARNING_LENGTH: Final = 120  # longer ones are cut by the API server (k8s.io/apiserver, admission warnings)
MAX_WARNINGS: Final = 8
_MAX_LINES: Final = 24

Sentence = Callable[[Mapping[str, Any], Decision], str]


def render_message(decision: Decision) -> str:
    """What a person reads about a decision; "" for one that is allowed.

    One line says what was refused. Then each violation: its rule, what is missing or wrong, and what to do. The last
    line names the decision and where to read it.
    """
    return "" if decision.allowed else f"{render_refusal(decision)}\n{_footer(decision)}"


def render_refusal(decision: Decision) -> str:
    """The message without its last line, as the record keeps it."""
    if decision.allowed:
        return ""
    if (before := decision.told_before) is not None:
        return str(before["message"])
    told = [violation for violation in _in_order(decision) if not _told_by_another(violation, decision)]
    lines = [_headline(decision)]
    known: set[str] = set()
    for violation in told[:_MAX_LINES]:
        first, *advice = _explain(violation, decision)
        sentence = first.partition(": ")[2]
        # Two rules may lack the same evidence, and one rule lack several things: what to do about it is said once.
        lines += [first] if sentence in known else [first, *(line for line in advice if line not in lines)]
        known.add(sentence)
    if len(told) > _MAX_LINES:
        lines.append(f"- and {len(told) - _MAX_LINES} more; the record has them all")
    return "\n".join(lines)


def render_warnings(decision: Decision) -> tuple[str, ...]:
    """Warnings for the deployer: few, short, one line each."""
    if (before := decision.told_before) is not None:
        return tuple(str(text) for text in before["advice"])
    texts = [
        f"placet: {'would deny: ' if item in decision.tolerated else ''}{item.rule}: {_sentence(item, decision)}"
        for item in decision.warnings
    ]
    return tuple(clip(text, MAX_WARNING_LENGTH) for text in texts[:MAX_WARNINGS])


def render_violation(violation: Violation, decision: Decision) -> str:
    """What one violation says, on one line and without what to do."""
    return _sentence(violation, decision)


def _in_order(decision: Decision) -> list[Violation]:
    """As the policies gave them, with roles in the order in which approvals are usually asked for."""
    rank = {role: place for place, role in enumerate(ROLES)}
    return sorted(decision.violations, key=lambda item: (item.rule, rank.get(str(item.details.get("role", "")), -1)))


def _headline(decision: Decision) -> str:
    request = decision.request
    if decision.environment == GUARD:
        return f"placet refuses this change of Namespace/{safe(request.name)}:"
    # What was made from a prefix is approved by it; once it is there, people know it by its own name.
    named = request.name if request.operation == "UPDATE" or decision.workload is None else ""
    name = named or ("" if decision.workload is None else decision.workload.name)
    what = f"{safe(request.kind.kind)}/{safe(name)} in namespace {safe(request.namespace)}"
    risk = ""
    if decision.findings is not None:
        assessment = decision.findings.assessment
        risk = f" (risk {assessment.shown}, {assessment.level})"
    if decision.request.subresource == "scale" and decision.workload is not None:
        # One replica of a custom resource may be several Pods.
        unit = "replicas" if decision.workload.group in {"", "apps"} else "Pods"
        what = f"to scale {what} to {decision.workload.replicas} {unit}"
    return f"placet refuses {what} for {safe(clip(decision.environment, 64))}{risk}:"


def _footer(decision: Decision) -> str:
    if decision.recorded is not None:
        return f"decision {decision.decision_id}; to read it: placet audit show {decision.decision_id}"
    if decision.spooled is not None:
        return f"decision {decision.decision_id}, to be recorded once the store of the record is back"
    return f"decision {decision.decision_id}, not in the record"


def _told_by_another(violation: Violation, decision: Decision) -> bool:
    """Whether a line of another rule says the same and what to do about it."""
    if (violation.rule, violation.code) == ("approvals.separation", "approvals_missing"):
        # approvals.required names each missing role, where it refuses.
        return any(one.code == "role_missing" for one in decision.violations)
    if violation.code != "role_missing" or violation.details.get("needed", 1) != 1:
        return False
    role = violation.details.get("role")
    return any(one.code == "binding_missing" and one.details.get("role") == role for one in decision.violations)


def _explain(violation: Violation, decision: Decision) -> Iterator[str]:
    name = f"{violation.rule}/{violation.code}" if violation.rule.startswith("gate.") else violation.rule
    yield f"- {name}: {_sentence(violation, decision)}"
    if violation.code in {"role_missing", "binding_missing"}:
        role = str(violation.details.get("role", ""))
        yield from _rejections(role, decision)
        yield f"  next, by someone who may sign as {safe(role)}: {_approve_command(role, decision)}"
        return
    if advice := _advice(violation):
        yield f"  {advice}"
    yield from _attest_command(violation, decision)


def _attest_command(violation: Violation, decision: Decision) -> Iterator[str]:
    kind = find_kind(violation.rule, violation.code, str(violation.details.get("kind", "")))
    if not kind or violation.rule.startswith("gate."):
        return
    images = () if decision.workload is None else decision.workload.images
    named = [one.name for one in images if one.reference == violation.details.get("reference")]
    image = shlex.quote(named[0]) if named and len({one.name for one in images}) > 1 else ""
    kind = safe(clip(kind, 64))
    yield f"  next, by someone who may attest {kind}: {safe(make_command(kind, image=image))}"


def _rejections(role: str, decision: Decision) -> Iterator[str]:
    if decision.findings is None:
        return
    for rejected in decision.findings.approvals.rejected:
        if rejected.role == role:
            yield f"  the {safe(role)} approval on it does not count: {safe(rejected.sentence)} ({rejected.code})"


def _approve_command(role: str, decision: Decision) -> str:
    # A manifest that names no namespace is signed for the one that is said; quoted, since people paste this line.
    namespace = decision.request.namespace
    where = f" --namespace {safe(shlex.quote(namespace))}" if namespace else ""
    environment = safe(decision.environment)
    return f"placet approve -f MANIFEST{where} --environment {environment} --role {safe(role)} --key KEY"


def _advice(violation: Violation) -> str:
    if violation.rule.startswith("gate."):
        return safe(str(violation.details.get("hint", "")))
    return " ".join(catalog().rule(violation.rule).solution.split())


def _sentence(violation: Violation, decision: Decision) -> str:
    if violation.rule.startswith("gate."):
        return _gate(violation.details, decision)
    made = _SENTENCES.get(violation.code)
    if made is not None:
        return made(violation.details, decision)
    if violation.code in SHORTFALLS:
        opening = _next_opening(decision) if violation.code in OF_THE_CALENDAR else None
        return shortfall(violation.code, violation.details, opening)
    title = catalog().rule(violation.rule).title
    return f"not shown: {title[:1].lower()}{title[1:]} ({violation.code})"


def _next_opening(decision: Decision) -> Opening | None:
    """When the same change may be made, by the policy data that judged."""
    situation = decision.situation
    if situation is None:
        return None
    calendar, where = situation.calendar, situation.environment
    return calendar.next_opening(environment=where, change=decision.change, now=situation.now)


def _gate(details: Mapping[str, Any], _decision: Decision) -> str:
    return safe(str(details.get("sentence", "")))


def _role_missing(details: Mapping[str, Any], _decision: Decision) -> str:
    needed, persons = details.get("needed", 1), details.get("persons", 0)
    role = safe(str(details.get("role", "")))
    if needed == 1:
        return f"no valid {role} approval"
    return f"{persons} of {needed} {role} approvals"


def _persons_too_few(details: Mapping[str, Any], _decision: Decision) -> str:
    roles = " and ".join(safe(str(role)) for role in details.get("roles", ()))
    return (
        f"the approvals of {roles} come from {details.get('persons')} person(s), {details.get('needed')} are needed: "
        "one person counts for one role"
    )


def _binding_missing(details: Mapping[str, Any], _decision: Decision) -> str:
    missing = ", ".join(safe(str(part)) for part in details.get("missing", ()))
    return f"the {safe(str(details.get('role', '')))} approval does not name the {missing}"


def _image_not_pinned(details: Mapping[str, Any], _decision: Decision) -> str:
    return (
        f"the image of {safe(str(details.get('container', '')))} is not named by digest: "
        f"{safe(clip(str(details.get('reference', '')), 200))}"
    )


def _model_unknown(details: Mapping[str, Any], _decision: Decision) -> str:
    where = {
        "name": "label placet.dev/model",
        "version": "annotation placet.dev/model-version",
        "digest": "annotation placet.dev/model-digest",
    }
    return f"the workload has no {where.get(str(details.get('field')), 'model')}"


def _level_above_environment(details: Mapping[str, Any], decision: Decision) -> str:
    return (
        f"the risk is {safe(str(details.get('level')))}; {safe(decision.environment)} takes no more than "
        f"{safe(str(details.get('max_level')))}"
    )


def _level_above_approval(details: Mapping[str, Any], decision: Decision) -> str:
    level = decision.findings.assessment.level if decision.findings is not None else "higher"
    return (
        f"the {safe(str(details.get('role')))} approval covers risk up to {safe(str(details.get('max_risk')))}, "
        f"the risk is {level}"
    )


def _rolled_back(details: Mapping[str, Any], _decision: Decision) -> str:
    then = datetime.fromtimestamp(int(details.get("time_s", 0)), UTC)
    return f"rolled back to what was admitted on {then:%Y-%m-%d} (see {safe(str(details.get('decision_id')))})"


def _revoked(details: Mapping[str, Any], _decision: Decision) -> str:
    return f"the {safe(str(details.get('role')))} approval {safe(str(details.get('approval_id')))} was revoked"


def _approvals_expired(details: Mapping[str, Any], _decision: Decision) -> str:
    return f"unchanged, so carried forward; its {safe(str(details.get('role')))} approval no longer holds"


def _risk_inputs_differ(details: Mapping[str, Any], _decision: Decision) -> str:
    return f"the risk was assessed on other facts when {safe(str(details.get('role')))} approved; its level still holds"


_SENTENCES: Final[Mapping[str, Sentence]] = {
    "role_missing": _role_missing,
    "persons_too_few": _persons_too_few,
    "approvals_missing": lambda _details, _decision: (
        "approvals are missing, so it is not known whether different persons gave them"
    ),
    "binding_missing": _binding_missing,
    "image_not_pinned": _image_not_pinned,
    "model_unknown": _model_unknown,
    "level_above_environment": _level_above_environment,
    "level_above_approval": _level_above_approval,
    "revoked": _revoked,
    "rolled_back": _rolled_back,
    "approvals_expired": _approvals_expired,
    "risk_inputs_differ": _risk_inputs_differ,
}
