"""What evidence says: each predicate read into claims for the rules, and into the facts that the risk score knows.

A kind of evidence with claims is read by the generic reader. These have readers of their own here:

| predicate type                                     | claims                                   | subject        |
|----------------------------------------------------|------------------------------------------|----------------|
| `https://placet.dev/coverage/v1`                   | lines_covered, lines_total               | an image       |
| `https://in-toto.io/attestation/test-result/v0.1`  | minutes                                  | the projection |
| `https://cyclonedx.org/bom`                        | parameters, classification               | the model      |
| `https://placet.dev/deployment-plan/v1`            | strategy                                 | the projection |
| `https://in-toto.io/attestation/vulns/v0.2`        | a count for each severity, scanner       | an image       |
| `https://in-toto.io/attestation/reference/v0.1`    | documents                                | the model      |

Predicates of our own are closed: an unknown field is refused. Those of others follow in-toto's and CycloneDX's rule
that readers skip what they don't know. Ratios and thresholds are never read, only counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from placet.approvals.closed import ClosedObject
from placet.approvals.rejections import RejectionCode
from placet.errors import FormatError
from placet.evidence.claims import ClaimValue, bounded_claims, read_claims, read_times
from placet.evidence.kinds import MAX_COUNT, EvidenceKind, EvidenceKinds
from placet.evidence.references import read_references
from placet.evidence.scans import read_scan
from scorer import Coverage, Rollback

ROLLBACK_DRILL_URI: Final = "https://placet.dev/rollback-drill/v1"

STRATEGIES: Final = ("rolling", "recreate", "blue_green", "canary")
CLASSIFICATIONS: Final = ("public", "internal", "confidential", "restricted")
_MAX_MINUTES: Final = 100_000
_MAX_ENTRIES: Final = 4096
_COUNT: Final = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
_MODEL_COMPONENT: Final = "machine-learning-model"
_SPEC_VERSION: Final = re.compile(r"1\.[5-9]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Saying:
    """One thing that a statement says, and that its signer may or may not say.

    Attributes:
        claims: for the rules.
        value: of the fact that the risk score knows; None where it knows none.
    """

    claims: Mapping[str, ClaimValue]
    value: object | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one statement says, not verified.

    Attributes:
        kind: which of the policy data's.
        sayings: name of what the signer must be allowed to attest, a fact or the kind -> what is said; non-empty.
        issued_at: when what it says was found out.
        expires: first moment that it no longer holds; None where the predicate knows no end.
    """

    kind: EvidenceKind
    sayings: Mapping[str, Saying]
    issued_at: datetime
    expires: datetime | None

    @property
    def facts(self) -> Mapping[str, object]:
        """Fact that the risk score knows -> value."""
        return {name: saying.value for name, saying in self.sayings.items() if saying.value is not None}


@dataclass(frozen=True, slots=True)
class _Read:
    sayings: Mapping[str, Saying]
    issued_at: datetime
    expires: datetime | None = None


def read_predicate(kinds: EvidenceKinds, predicate_type: str, predicate: Any) -> Evidence:
    """Read a predicate of one of the kinds.

    Raises:
        FormatError: with code ``predicate_type``, ``statement_malformed`` or ``not_passed``.
    """
    kind = kinds.by_type.get(predicate_type)
    if kind is None:
        raise FormatError("the statement's predicate is none that is known as evidence", code="predicate_type")
    try:
        members = ClosedObject(predicate, "predicate")
        read = _READERS[kind.reader](members) if kind.reader else _read_own(kind, members)
        return Evidence(kind, read.sayings, read.issued_at, read.expires)
    except FormatError as exc:
        code = exc.code if exc.code == RejectionCode.NOT_PASSED else "statement_malformed"
        raise FormatError(f"the evidence can't be read: {exc}", code=code) from exc


def _read_own(kind: EvidenceKind, predicate: ClosedObject) -> _Read:
    """By the claims of the policy data."""
    claims = read_claims(kind, predicate)
    issued_at, expires = read_times(predicate)
    predicate.close()
    return _Read({kind.name: Saying(claims)}, issued_at, expires)


def _read_scan(predicate: ClosedObject) -> _Read:
    claims = bounded_claims(read_scan(predicate))
    finished = _read_timestamp(predicate.child("metadata"), "scanFinishedOn")
    return _Read({"vulnerability_scan": Saying(claims)}, finished)


def _read_references(predicate: ClosedObject) -> _Read:
    documents, issued_at = read_references(predicate)
    return _Read({"documentation": Saying(bounded_claims({"documents": documents}))}, issued_at)


def _read_coverage(predicate: ClosedObject) -> _Read:
    """Four counts. The fact is that of lines, which every tool counts; branches are there to be read by people."""
    lines_total = predicate.integer("linesTotal", minimum=1, maximum=MAX_COUNT)
    lines_covered = predicate.integer("linesCovered", minimum=0, maximum=lines_total)
    branches_total = predicate.integer("branchesTotal", minimum=0, maximum=MAX_COUNT)
    predicate.integer("branchesCovered", minimum=0, maximum=branches_total)
    claims = {"lines_covered": lines_covered, "lines_total": lines_total}
    return _closed(predicate, {"coverage": Saying(claims, Coverage(lines_covered, lines_total))})


def _read_plan(predicate: ClosedObject) -> _Read:
    strategy = predicate.choice("strategy", STRATEGIES)
    return _closed(predicate, {"strategy": Saying({"strategy": strategy}, strategy)})


def _closed(predicate: ClosedObject, sayings: Mapping[str, Saying]) -> _Read:
    issued_at, expires = read_times(predicate)
    predicate.close()
    return _Read(sayings, issued_at, expires)


def _read_test_result(predicate: ClosedObject) -> _Read:
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
    saying = Saying({"minutes": minutes}, Rollback(available=True, minutes=minutes))
    return _Read({"rollback": saying}, finished)


def _read_cyclonedx(bom: ClosedObject) -> _Read:
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
    sayings: dict[str, Saying] = {}
    if (parameters := _read_parameter_count(card)) is not None:
        sayings["parameters"] = Saying({"parameters": parameters}, parameters)
    if (classification := _read_classification(card, components)) is not None:
        sayings["data_classification"] = Saying({"classification": classification}, classification)
    if not sayings:
        raise FormatError(f"{card.path} has neither a parameterCount nor classified datasets")
    return _Read(sayings, _read_timestamp(metadata, "timestamp"))


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


def _read_timestamp(members: ClosedObject, name: str) -> datetime:
    """A moment in any form of RFC 3339: other people's tools write it."""
    text = members.text(name, max_chars=64)
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None or "T" not in text:
            raise FormatError(f"{members.path}.{name} has no time zone")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise FormatError(f"{members.path}.{name} is not an RFC 3339 time") from exc


_READERS: Final[Mapping[str, Callable[[ClosedObject], _Read]]] = MappingProxyType(
    {
        "coverage": _read_coverage,
        "test_result": _read_test_result,
        "cyclonedx": _read_cyclonedx,
        "plan": _read_plan,
        "vulns": _read_scan,
        "reference": _read_references,
    }
)
