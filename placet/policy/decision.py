"""The decision document: read strictly, since whatever is not a decision refuses the request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from placet.errors import EngineAnswerError
from placet.policy.schema import describe, validator


@dataclass(frozen=True, slots=True)
class Violation:
    """Why a rule did not pass, or what it has to say though it did.

    Attributes:
        rule: ``approvals.required``; ``admission.main`` for what keeps the policies from judging at all.
        code: stable, machine-readable, ``role_missing``.
        mode: enforce | warn | audit: what the finding does to the request.
        severity: critical | high | medium | low | info.
        details: codes and fields of the input, never a sentence.
    """

    rule: str
    code: str
    mode: str
    severity: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """What the policies decided.

    Attributes:
        allowed: every rule in force proved that it passes.
        mode: the environment's.
        required_roles: in the order of the roles: technical, security, business, executive.
        granted_roles: those of them that have approvals of enough persons.
        violations: what refuses the request; empty exactly when it is allowed.
        warnings: for the requester to see.
        notes: for the record alone.
        rules_judged: number of rules, equal to the number in the bundle's manifest.
        rules_passed: how many proved that they pass.
        data_digest: digest of the policy data that was judged with.
        tolerated: rules that did not pass and refuse nothing, since their mode only warns or audits; sorted.
    """

    allowed: bool
    mode: str
    required_roles: tuple[str, ...]
    granted_roles: tuple[str, ...]
    violations: tuple[Violation, ...]
    warnings: tuple[Violation, ...]
    notes: tuple[Violation, ...]
    rules_judged: int
    rules_passed: int
    data_digest: str
    tolerated: tuple[str, ...] = ()


def parse_decision(value: Any, *, uid: str, data_digest: str, expected_rules: int) -> PolicyDecision:
    """Read an engine's answer.

    Args:
        value: the answer as JSON values.
        uid: the request's; another one means that the engine judged something else, or nothing.
        data_digest: digest of the policy data that was given to the engine.
        expected_rules: number of rules in the bundle's manifest.

    Raises:
        EngineAnswerError: anything but a decision about this request, with this data, by all rules.
    """
    if isinstance(value, dict) and value.get("uid") == "" and value.get("allowed") is False:
        _refuse("the policies could not read the input or the data")
    try:
        error = next(iter(validator("decision").iter_errors(value)), None)
    except (ValueError, TypeError) as exc:
        raise EngineAnswerError("the engine's answer is not JSON") from exc
    if error is not None:
        where, fault = describe(error)
        _refuse(f"the engine's answer {fault} at {where or 'the top'}")
    if value["uid"] != uid:
        _refuse("the engine's answer is about another request", code="engine_other_request")
    if value["data_digest"] != data_digest:
        _refuse("the engine judged with other policy data", code="engine_other_data")
    decision = _decision(value)
    _require_consistent(decision, expected_rules)
    return decision


def _require_consistent(decision: PolicyDecision, expected_rules: int) -> None:
    if decision.allowed == bool(decision.violations):
        _refuse("the engine's answer contradicts itself: it allows with violations, or refuses without one")
    modes = {"enforce": decision.violations, "warn": decision.warnings, "audit": decision.notes}
    if any(finding.mode != mode for mode, findings in modes.items() for finding in findings):
        _refuse("the engine's answer has a finding under another mode than its own")
    if decision.rules_passed > decision.rules_judged:
        _refuse("the engine's answer has more rules passed than judged")
    if decision.allowed and decision.rules_judged != expected_rules:
        _refuse(f"the engine judged {decision.rules_judged} rules, and the bundle has {expected_rules}")
    if decision.allowed and not decision.required_roles:
        _refuse("the engine allowed what needs no approval at all")
    tolerated = {finding.rule for finding in (*decision.warnings, *decision.notes)}
    if decision.allowed and decision.rules_passed + len(tolerated) < expected_rules:
        _refuse("the engine allowed though a rule neither passed nor is tolerated")
    if decision.allowed and len(decision.tolerated) != decision.rules_judged - decision.rules_passed:
        _refuse("the engine does not say which rules did not pass and are tolerated")


def _decision(value: dict[str, Any]) -> PolicyDecision:
    return PolicyDecision(
        allowed=value["allowed"],
        mode=value["mode"],
        required_roles=tuple(value["required_roles"]),
        granted_roles=tuple(value["granted_roles"]),
        violations=_findings(value["violations"]),
        warnings=_findings(value["warnings"]),
        notes=_findings(value["notes"]),
        rules_judged=value["rules_judged"],
        rules_passed=value["rules_passed"],
        data_digest=value["data_digest"],
        tolerated=tuple(sorted(value["tolerated"])),
    )


def _findings(values: list[dict[str, Any]]) -> tuple[Violation, ...]:
    """Sorted here too: the order of a record must not hang on how an engine orders objects."""
    ordered = sorted(
        values, key=lambda value: (value["rule"], value["code"], json.dumps(value["details"], sort_keys=True))
    )
    return tuple(Violation(**value) for value in ordered)


def _refuse(message: str, *, code: str = EngineAnswerError.code) -> NoReturn:
    raise EngineAnswerError(message, code=code)
