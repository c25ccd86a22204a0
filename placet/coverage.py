"""Which workloads an environment governs, and why one counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from placet.detection import Reason, Rules, detect
from placet.model import Workload
from placet.policy.decision import Violation
from placet.projection import BUILT_IN, Kinds
from placet.review import AdmissionRequest
from placet.text import clip, safe
from placet.workload import names_model

Cause = Literal["strict", "label", "detected", "suspected", "not_detected", "not_labelled", "exempted"]

DETECTED: Final[frozenset[Cause]] = frozenset({"detected", "suspected", "not_detected"})
"""Causes that detection gave."""
_MAX_REASONS: Final = 8
_SENTENCES: Final[Mapping[Cause, str]] = {
    "strict": "every workload is",
    "label": "it says which model it serves",
    "detected": "it serves a model",
    "suspected": "it may serve a model",
    "not_detected": "nothing in it is known to serve a model",
    "not_labelled": "it does not say which model it serves",
    "exempted": "a signed exemption lets it in",
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """Whether a workload is governed.

    Attributes:
        governed: whether it is judged at all.
        cause: why, or why not.
        old: whether only what it was before the update shows that.
        reasons: what detection found; empty where it was not asked, or found nothing.
    """

    governed: bool
    cause: Cause
    old: bool = False
    reasons: tuple[Reason, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As the record and a plan have it."""
        return {
            "governed": self.governed,
            "cause": self.cause,
            "object": "old" if self.old else "new",
            "reasons": [
                {"table": item.table, "key": item.key, "container": clip(item.container, 64)}
                for item in self.reasons[:_MAX_REASONS]
            ],
        }


def find_coverage(
    request: AdmissionRequest,
    workload: Workload,
    settings: Mapping[str, Any],
    rules: Rules,
    *,
    kinds: Kinds = BUILT_IN,
) -> Coverage:
    """Say whether a request's workload is governed.

    What it was before an update counts as much as what it is to be, so that taking a sign off is no way out.

    Args:
        request: a create or an update.
        workload: the new object, read.
        settings: of the environment.
        rules: the tables of detection.
        kinds: the registry, where the object may be a custom resource.
    """
    coverage = settings["coverage"]
    if coverage not in {"detect", "labelled"}:
        return Coverage(governed=True, cause="strict")
    before = request.old_object if request.operation == "UPDATE" else None
    if workload.model.name or names_model(before, kinds=kinds):
        return Coverage(governed=True, cause="label", old=not workload.model.name)
    if coverage == "labelled":
        return Coverage(governed=False, cause="not_labelled")
    verdicts = [(detect(obj, rules), obj is before) for obj in (request.object, before) if obj is not None]
    for verdict, old in verdicts:
        if verdict.answer == "serves_model":
            return Coverage(governed=True, cause="detected", old=old, reasons=verdict.reasons)
    for verdict, old in verdicts:
        if verdict.answer == "suspected":
            governed = settings.get("suspected") == "govern"
            return Coverage(governed=governed, cause="suspected", old=old, reasons=verdict.reasons)
    return Coverage(governed=False, cause="not_detected")


def describe_coverage(coverage: Coverage) -> str:
    """One line for a person: whether the workload is governed, and why."""
    head = f"{'governed' if coverage.governed else 'not governed'}: {_SENTENCES[coverage.cause]}"
    if coverage.old:
        head += ", or did before this update" if coverage.cause != "label" else ", or said so before this update"
    found = ", ".join(dict.fromkeys(map(_describe, coverage.reasons[:_MAX_REASONS])))
    return f"{head} ({found})" if found else head


def _describe(reason: Reason) -> str:
    where = f" in container {safe(clip(reason.container, 64))}" if reason.container else ""
    return f"{reason.table} {reason.key!r}{where}"


def warn_of(coverage: Coverage, *, mode: str) -> tuple[Violation, ...]:
    """What whoever deploys is told of a workload that is let in without being judged, though it may serve a model.

    Nothing in mode ``audit``, where nobody is told of anything; the record has it in any case.
    """
    if coverage.governed or coverage.cause != "suspected" or mode == "audit":
        return ()
    sentence = "it may serve a model, and was not judged; if it does, label it placet.dev/model"
    return (
        Violation(
            rule="gate.coverage",
            code="model_suspected",
            mode="warn",
            severity="low",
            details={"sentence": sentence, "hint": ""},
        ),
    )
