"""Before a gate answers anybody: what must be refused is refused for its reason, and what may pass passes.

Nothing is recorded, and nobody is asked but the engine and the keyring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from placet.assemble import build_gate
from placet.canonical import Digest
from placet.cluster import NoAutoscalers
from placet.config import Config
from placet.decide import Deadline, NoHistory
from placet.errors import EngineError, KeyringError
from placet.model import ROLES
from placet.policy.data import PolicyData
from placet.policy.decision import Violation
from placet.policy.document import INPUT_SCHEMA
from placet.policy.engine import PolicyEngine
from placet.review import AdmissionRequest, GroupVersionKind
from placet.trust import FileTrust

DEADLINE_S: Final = 5.0
# What the document of the test proves. Other rules ask for things that no test can know: theirs may refuse it.
ANSWERED: Final = frozenset(
    {
        *("admission.main", "approvals.binding", "approvals.required", "approvals.revoked", "approvals.separation"),
        *("images.pinned", "model.identified", "risk.assessed", "risk.ceiling"),
    }
)
EXPECTED_RULE: Final = "approvals.required"
EXPECTED_CODE: Final = "role_missing"
_NAME: Final = "placet-self-test"
_HINT: Final = (
    "The policies and placet must come from one release; `placet config check` shows which policies these are."
)


class SelfTestError(EngineError):
    """The engine answers, and wrongly."""

    code = "self_test_failed"


def self_test(
    config: Config, data: PolicyData, engine: PolicyEngine, trust: FileTrust, clock: Callable[[], datetime]
) -> None:
    """Let the engine and a gate on it decide, in every environment.

    Args:
        config: of the gate.
        data: the policy data that the engine was given.
        engine: prepared.
        trust: without a keyring in force, only the engine is tested: the gate refuses everything by itself then.
        clock: aware UTC.

    Raises:
        SelfTestError: a decision was not the one that it must be.
        EngineError: there was no decision.
    """
    now = clock()
    for environment in data.value["environments"]:
        check_engine(engine, data, environment, now=now)
    try:
        trust.load(now)
    except KeyringError:
        return
    for environment in data.value["environments"]:
        _check_gate(config, data, engine, trust, environment, clock)


def check_engine(engine: PolicyEngine, data: PolicyData, environment: str, *, now: datetime) -> None:
    """A document with every approval passes, and one without is refused as the environment's mode says.

    Raises:
        SelfTestError, EngineError: see :func:`self_test`.
    """
    good = engine.decide(passing_document(data, environment, now=now), deadline_s=DEADLINE_S)
    said = (*good.violations, *good.warnings, *good.notes)
    if any(item.rule in ANSWERED for item in said) or not (good.allowed or said):
        found = _listed(said)
        raise SelfTestError(f"a document with every approval did not pass in {environment}: {found}", hint=_HINT)
    bad = engine.decide({**passing_document(data, environment, now=now), "approvals": []}, deadline_s=DEADLINE_S)
    _require_refused(data, environment, allowed=bad.allowed, found=(*bad.violations, *bad.warnings, *bad.notes))


def _check_gate(
    config: Config,
    data: PolicyData,
    engine: PolicyEngine,
    trust: FileTrust,
    environment: str,
    clock: Callable[[], datetime],
) -> None:
    gate = build_gate(
        config,
        trust=trust,
        recorder=None,
        history=NoHistory(),
        cluster_facts=NoAutoscalers(),
        clock=clock,
        data=data,
        engine=engine,
    )
    decision = gate.decide(bad_request(), environment=environment, deadline=Deadline(DEADLINE_S))
    found = (*decision.violations, *decision.warnings, *decision.notes)
    _require_refused(data, environment, allowed=decision.allowed, found=found)


def _require_refused(data: PolicyData, environment: str, *, allowed: bool, found: Iterable[Violation]) -> None:
    modes: Mapping[str, Any] = data.value["rules"].get(EXPECTED_RULE, {})
    mode = modes.get("mode", data.value["environments"][environment]["mode"])
    named = any((item.rule, item.code, item.mode) == (EXPECTED_RULE, EXPECTED_CODE, mode) for item in found)
    if not named or (allowed and mode == "enforce"):
        raise SelfTestError(
            f"a workload without approvals was {'allowed' if allowed else 'refused'} in {environment} without "
            f"{EXPECTED_RULE}/{EXPECTED_CODE}: {_listed(found)}",
            hint=_HINT,
        )


def _listed(found: Iterable[Violation]) -> str:
    return ", ".join(f"{item.rule}/{item.code}" for item in found) or "nothing was found"


def passing_document(data: PolicyData, environment: str, *, now: datetime) -> dict[str, Any]:
    """The policy input of a workload of the lowest risk that four persons have approved in every respect."""
    scores, weights = data.value["risk"]["scores"], data.value["risk"]["weights"]
    factors = {factor: min(scores[factor]) for factor in scores}
    digest = str(Digest.of(_NAME.encode()))
    moment = int(now.timestamp())
    return {
        "schema": INPUT_SCHEMA,
        "uid": _NAME,
        "time_s": moment,
        "environment": environment,
        "cluster": _NAME,
        "operation": "CREATE",
        "dry_run": True,
        "requester": _NAME,
        "workload": {"group": "apps", "version": "v1", "kind": "Deployment", "namespace": _NAME, "name": _NAME},
        "model": {"name": _NAME, "version": "1.0.0", "digest": digest},
        "change": {"kind": "new", "model_seen": False, "scale": "unknown"},
        "precedent": {"decision_id": "", "time_s": 0, "level": ""},
        "projection": digest,
        "images": [{"container": "main", "reference": f"{_NAME}@{digest}", "name": _NAME, "digest": digest}],
        "risk": {
            "score": sum(factors[factor] * weights[factor] for factor in factors),
            "level": "low",
            "factors": factors,
            "inputs_digest": digest,
        },
        "thresholds": dict.fromkeys(ROLES, 1),
        "approvals": [
            {
                "approval_id": role,
                "role": role,
                "person": f"{_NAME}-{role}",
                "bindings": ["images", "model", "projection"],
                "max_risk": "critical",
                "risk_inputs_match": True,
                "expires_s": moment + 3600,
                "statement": digest,
            }
            for role in ROLES
        ],
        "rejected": [],
        "requester_groups": [],
        "replicas": {"known": True, "ceiling": 1},
        "evidence": [],
        "evidence_rejected": [],
        "history": {"known": False, "admitted": []},
        "calendar": {"windows": [], "freezes": []},
    }


def bad_request() -> AdmissionRequest:
    """A workload that nobody has approved, as a dry run."""
    metadata = {"name": _NAME, "namespace": _NAME, "labels": {"placet.dev/model": _NAME}}
    labels = {"app": _NAME}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": _NAME}]}},
        },
    }
    return AdmissionRequest(
        uid=_NAME,
        kind=GroupVersionKind("apps", "v1", "Deployment"),
        subresource="",
        operation="CREATE",
        name=_NAME,
        namespace=_NAME,
        username=_NAME,
        groups=(),
        object=deployment,
        old_object=None,
        dry_run=True,
        digest=Digest.of(_NAME.encode()),
    )
