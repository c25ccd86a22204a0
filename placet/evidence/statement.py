"""Making evidence: the statements that an attester signs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from placet.approvals.in_toto import Subject, render_in_toto
from placet.approvals.times import render_time
from placet.errors import FormatError
from placet.evidence.claims import render_times
from placet.evidence.kinds import COVERAGE_TYPE, CYCLONEDX_TYPE, PLAN_TYPE, TEST_RESULT_TYPE, EvidenceKinds
from placet.evidence.predicates import ROLLBACK_DRILL_URI, read_predicate
from placet.model import ModelIdentity

ROLLBACK_TEST: Final = "rollback"


def coverage_predicate(
    *, lines: tuple[int, int], branches: tuple[int, int], issued_at: datetime, lifetime: timedelta
) -> dict[str, Any]:
    """Predicate ``coverage/v1``.

    Args:
        lines: covered and total.
        branches: covered and total; zeros where branches were not measured.
        issued_at: when it was measured.
        lifetime: how long it holds.
    """
    return {
        "linesCovered": lines[0],
        "linesTotal": lines[1],
        "branchesCovered": branches[0],
        "branchesTotal": branches[1],
        **render_times(issued_at, lifetime),
    }


def plan_predicate(strategy: str, *, issued_at: datetime, lifetime: timedelta) -> dict[str, Any]:
    """Predicate ``deployment-plan/v1``."""
    return {"strategy": strategy, **render_times(issued_at, lifetime)}


def rollback_predicate(minutes: int, *, finished_at: datetime) -> dict[str, Any]:
    """Predicate ``test-result/v0.1`` of a rollback drill that passed."""
    drill = {
        "name": "rollback-drill",
        "uri": ROLLBACK_DRILL_URI,
        "annotations": {"minutes": minutes, "finishedAt": render_time(finished_at)},
    }
    return {"result": "PASSED", "configuration": [drill], "passedTests": [ROLLBACK_TEST], "failedTests": []}


def model_predicate(
    model: ModelIdentity, *, parameters: int | None, classification: str | None, made_at: datetime
) -> dict[str, Any]:
    """A minimal CycloneDX 1.6 ML-BOM of one model."""
    card: dict[str, Any] = {}
    if parameters is not None:
        card["properties"] = [{"name": "parameterCount", "value": str(parameters)}]
    if classification is not None:
        dataset = {"type": "dataset", "name": "training data", "classification": classification}
        card["modelParameters"] = {"datasets": [dataset]}
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "name": model.name,
        "version": model.version,
        "modelCard": card,
    }
    if model.digest is not None:
        component["hashes"] = [{"alg": "SHA-256", "content": model.digest.hex}]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": render_time(made_at), "component": component},
    }


def render_evidence(subjects: Iterable[Subject], predicate_type: str, predicate: Any, *, kinds: EvidenceKinds) -> bytes:
    """Canonical bytes to sign.

    Raises:
        FormatError: the evidence would not be accepted; nothing unreadable is ever signed.
        CanonicalError: a predicate from elsewhere holds numbers with a fraction.
    """
    subjects = tuple(subjects)
    if not subjects:
        raise FormatError("evidence without a subject")
    read_predicate(kinds, predicate_type, predicate)
    return render_in_toto(subjects, predicate_type, predicate)


PREDICATE_TYPES: Final = {
    "coverage": COVERAGE_TYPE,
    "rollback": TEST_RESULT_TYPE,
    "model": CYCLONEDX_TYPE,
    "strategy": PLAN_TYPE,
}
"""Name of the annotation -> predicate type."""
