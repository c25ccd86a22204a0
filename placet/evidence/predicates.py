"""What evidence says: four predicates, each read into the facts that it supports.

| predicate type                                     | facts                           | subject          |
|----------------------------------------------------|---------------------------------|------------------|
| `https://placet.dev/coverage/v1`                   | coverage                        | an image         |
| `https://in-toto.io/attestation/test-result/v0.1`  | rollback                        | the projection   |
| `https://cyclonedx.org/bom`                        | parameters, data_classification | the model        |
| `https://placet.dev/deployment-plan/v1`            | strategy                        | the projection   |

Predicates of our own are closed: an unknown field is refused. Those of others follow in-toto's and CycloneDX's rule
that readers skip what they don't know. Ratios and thresholds are never read, only counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from placet.approvals.closed import ClosedObject
from placet.approvals.rejections import RejectionCode
from placet.errors import FormatError
from scorer import Coverage, Rollback

COVERAGE_TYPE: Final = "https://placet.dev/coverage/v1"
TEST_RESULT_TYPE: Final = "https://in-toto.io/attestation/test-result/v0.1"
CYCLONEDX_TYPE: Final = "https://cyclonedx.org/bom"
PLAN_TYPE: Final = "https://placet.dev/deployment-plan/v1"
ROLLBACK_DRILL_URI: Final = "https://placet.dev/rollback-drill/v1"

STRATEGIES: Final = ("rolling", "recreate", "blue_green", "canary")
CLASSIFICATIONS: Final = ("public", "internal", "confidential", "restricted")
MAX_LIFETIME: Final = timedelta(days=365)
_MAX_COUNT: Final = 2**53 - 1
_MAX_MINUTES: Final = 100_000
_MAX_ENTRIES: Final = 4096
_COUNT: Final = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
_MODEL_COMPONENT: Final = "machine-learning-model"
_SPEC_VERSION: Final = re.compile(r"1\.[5-9]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one statement says, not verified.

    Attributes:
        facts: fact name -> value; non-empty.
        about: ``image``, ``model`` or ``projection``: what a subject must be.
        issued_at: when what it says was found out.
        expires: first moment that it no longer holds; None where the predicate knows no end.
    """

    facts: Mapping[str, object]
    about: str
    issued_at: datetime
    expires: datetime | None


def read_predicate(predicate_type: str, predicate: Any) -> Evidence:
    """Read a predicate of one of the four types.

    Raises:
        FormatError: with code ``predicate_type``, ``statement_malformed`` or ``not_passed``.
    """
    reader = _READERS.get(predicate_type)
    if reader is None:
        raise FormatError("the statement's predicate is none that is known as evidence", code="predicate_type")
    try:
        return reader(ClosedObject(predicate, "predicate"))
    except FormatError as exc:
        code = exc.code if exc.code == RejectionCode.NOT_PASSED else "statement_malformed"
        raise FormatError(f"the evidence can't be read: {exc}", code=code) from exc


def _read_coverage(predicate: ClosedObject) -> Evidence:
    """Four counts. The fact is that of lines, which every tool counts; branches are there to be read by people."""
    lines_total = predicate.integer("linesTotal", minimum=1, maximum=_MAX_COUNT)
    lines_covered = predicate.integer("linesCovered", minimum=0, maximum=lines_total)
    branches_total = predicate.integer("branchesTotal", minimum=0, maximum=_MAX_COUNT)
    predicate.integer("branchesCovered", minimum=0, maximum=branches_total)
    return _own(predicate, {"coverage": Coverage(lines_covered, lines_total)}, about="image")


def _read_plan(predicate: ClosedObject) -> Evidence:
    return _own(predicate, {"strategy": predicate.choice("strategy", STRATEGIES)}, about="projection")


def _own(predicate: ClosedObject, facts: Mapping[str, object], *, about: str) -> Evidence:
    issued_at, expires = predicate.time("issuedAt"), predicate.time("expires")
    predicate.close()
    if not timedelta(0) < expires - issued_at <= MAX_LIFETIME:
        raise FormatError(f"predicate.expires is not after issuedAt by at most {MAX_LIFETIME.days} days")
    return Evidence(facts, about, issued_at, expires)


def _read_test_result(predicate: ClosedObject) -> Evidence:
    """A rollback drill. Minutes and time stand in the annotations of the drill's own configuration descriptor."""
    result = predicate.choice("result", ("PASSED", "WARNED", "FAILED"))
    failed = predicate.items("failedTests", maximum=_MAX_ENTRIES, empty=True) if predicate.has("failedTests") else []
    if result != "PASSED" or failed:
        raise FormatError("the rollback drill did not pass", code=RejectionCode.NOT_PASSED)
    entries = predicate.children("configuration", maximum=_MAX_ENTRIES)
    drills = [entry for entry in entries if entry.has("uri") and entry.take("uri") == ROLLBACK_DRILL_URI]
    if len(drills) != 1:
        raise FormatError(f"predicate.configuration does not have {ROLLBACK_DRILL_URI} exactly once")
    annotations = drills[0].child("annotations")
    minutes = annotations.integer("minutes", minimum=1, maximum=_MAX_MINUTES)
    finished = annotations.time("finishedAt")
    annotations.close()
    return Evidence({"rollback": Rollback(available=True, minutes=minutes)}, "projection", finished, None)


def _read_cyclonedx(bom: ClosedObject) -> Evidence:
    """An ML-BOM (CycloneDX 1.5 and later) that describes exactly one model."""
    bom.choice("bomFormat", ("CycloneDX",))
    bom.text("specVersion", pattern=_SPEC_VERSION)
    metadata = bom.child("metadata")
    components = bom.children("components", maximum=_MAX_ENTRIES, empty=True) if bom.has("components") else []
    subject = [metadata.child("component")] if metadata.has("component") else []
    models = [one for one in (*subject, *components) if one.has("type") and one.take("type") == _MODEL_COMPONENT]
    if len(models) != 1:
        raise FormatError(f"predicate describes {len(models)} components of type {_MODEL_COMPONENT}, not one")
    card = models[0].child("modelCard")
    facts: dict[str, object] = {}
    if (parameters := _read_parameter_count(card)) is not None:
        facts["parameters"] = parameters
    if (classification := _read_classification(card, components)) is not None:
        facts["data_classification"] = classification
    if not facts:
        raise FormatError(f"{card.path} has neither a parameterCount nor classified datasets")
    return Evidence(facts, "model", _read_timestamp(metadata), None)


def _read_parameter_count(card: ClosedObject) -> int | None:
    """``modelCard.properties[name=parameterCount].value``: all parameters, of a mixture of experts too."""
    entries = card.children("properties", maximum=_MAX_ENTRIES, empty=True) if card.has("properties") else []
    values = [entry for entry in entries if entry.has("name") and entry.take("name") == "parameterCount"]
    if len(values) > 1:
        raise FormatError(f"{card.path}.properties has parameterCount more than once")
    return int(values[0].text("value", pattern=_COUNT)) if values else None


def _read_classification(card: ClosedObject, components: list[ClosedObject]) -> str | None:
    """The most sensitive of ``modelCard.modelParameters.datasets[]``; every dataset must be classified."""
    if not card.has("modelParameters"):
        return None
    parameters = card.child("modelParameters")
    if not parameters.has("datasets"):
        return None
    found: list[str] = []
    for dataset in parameters.children("datasets", maximum=_MAX_ENTRIES):
        found.extend(_dataset_classifications(dataset, components))
    return max(found, key=CLASSIFICATIONS.index)


def _dataset_classifications(dataset: ClosedObject, components: list[ClosedObject]) -> list[str]:
    if not dataset.has("ref"):
        return [dataset.choice("classification", CLASSIFICATIONS)]
    ref = dataset.text("ref")
    targets = [one for one in components if one.has("bom-ref") and one.take("bom-ref") == ref]
    if len(targets) != 1:
        raise FormatError(f"{dataset.path}.ref names {len(targets)} components, not one")
    data = targets[0].children("data", maximum=_MAX_ENTRIES)
    return [entry.choice("classification", CLASSIFICATIONS) for entry in data]


def _read_timestamp(metadata: ClosedObject) -> datetime:
    """``metadata.timestamp``, in any form of RFC 3339: other people's tools write it."""
    text = metadata.text("timestamp", max_chars=40)
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None or "T" not in text:
            raise FormatError("predicate.metadata.timestamp has no time zone")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise FormatError("predicate.metadata.timestamp is not an RFC 3339 time") from exc


_READERS: Final[Mapping[str, Callable[[ClosedObject], Evidence]]] = {
    COVERAGE_TYPE: _read_coverage,
    TEST_RESULT_TYPE: _read_test_result,
    CYCLONEDX_TYPE: _read_cyclonedx,
    PLAN_TYPE: _read_plan,
}
