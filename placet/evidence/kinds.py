"""Kinds of evidence, as the policy data has them: what a statement may say, of what, and for how long it counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

from placet.canonical import Digest, render_canonical
from placet.errors import FormatError

COVERAGE_TYPE: Final = "https://placet.dev/coverage/v1"
TEST_RESULT_TYPE: Final = "https://in-toto.io/attestation/test-result/v0.1"
CYCLONEDX_TYPE: Final = "https://cyclonedx.org/bom"
PLAN_TYPE: Final = "https://placet.dev/deployment-plan/v1"
VULNS_TYPE: Final = "https://in-toto.io/attestation/vulns/v0.2"
REFERENCE_TYPE: Final = "https://in-toto.io/attestation/reference/v0.1"
MAX_COUNT: Final = 2**53 - 1

READERS: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        "coverage": ("coverage", COVERAGE_TYPE, "image"),
        "test_result": ("rollback_drill", TEST_RESULT_TYPE, "projection"),
        "cyclonedx": ("model_bom", CYCLONEDX_TYPE, "model"),
        "plan": ("deployment_plan", PLAN_TYPE, "projection"),
        "vulns": ("vulnerability_scan", VULNS_TYPE, "image"),
        "reference": ("documentation", REFERENCE_TYPE, "model"),
    }
)
"""Reader -> the one kind that it is for, its predicate type, and what it is about."""

FACTS_OF: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "coverage": ("coverage",),
        "rollback_drill": ("rollback",),
        "model_bom": ("parameters", "data_classification"),
        "deployment_plan": ("strategy",),
    }
)
"""Kind -> the facts of it that the risk score knows."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One member of a predicate.

    Attributes:
        type: ``integer`` | ``string`` | ``boolean`` | ``strings`` | ``digest`` | ``digests``.
        minimum: of an integer.
        maximum: of an integer.
        values: all that a string, or each of strings, may be; empty for any.
        empty: whether a string, a digest or a list may be empty.
        optional: whether it may be left out.
        description: for people; may be "".
    """

    type: str
    minimum: int = 0
    maximum: int = MAX_COUNT
    values: tuple[str, ...] = ()
    empty: bool = False
    optional: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceKind:
    """One kind of evidence.

    Attributes:
        name: a key of ``data.placet.evidence``.
        predicate_type: URI.
        about: ``image``, ``model`` or ``projection``: what a subject must be.
        max_age: how old a statement may be.
        reader: of a form that others laid down; "" where ``claims`` say how it is read.
        claims: in the order of the data; empty where there is a reader.
        example: claims with which nothing is lacking, as the data have them; empty where they have none.
        description: for people; may be "".
    """

    name: str
    predicate_type: str
    about: str
    max_age: timedelta
    reader: str
    claims: Mapping[str, Claim]
    description: str = ""
    example: Mapping[str, Any] = field(default_factory=dict)

    @property
    def facts(self) -> tuple[str, ...]:
        """Those facts of it that the risk score knows; mostly none."""
        return FACTS_OF.get(self.name, ())


@dataclass(frozen=True, slots=True)
class EvidenceKinds:
    """All kinds that one set of policy data knows. Made by ``parse_evidence_kinds``.

    Attributes:
        by_name: name -> kind.
        by_type: predicate type -> kind.
        digest: of the table: two tables that read statements alike are equal in it, and others are not.
    """

    by_name: Mapping[str, EvidenceKind]
    digest: Digest
    by_type: Mapping[str, EvidenceKind] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found = {kind.predicate_type: kind for kind in self.by_name.values()}
        object.__setattr__(self, "by_type", MappingProxyType(found))


def parse_evidence_kinds(table: Mapping[str, Mapping[str, Any]]) -> EvidenceKinds:
    """Read the table of kinds in policy data that is of its JSON Schema.

    Raises:
        FormatError: two kinds share a predicate type, a reader is given to another kind than its own, or a claim can
            have no value. The message starts with ``evidence.<kind>``.
    """
    kinds: dict[str, EvidenceKind] = {}
    owner: dict[str, str] = {}
    for name, entry in table.items():
        kind = _read_kind(name, entry)
        if (other := owner.setdefault(kind.predicate_type, name)) != name:
            raise FormatError(f"evidence.{name}.predicate_type: is that of {other} too")
        kinds[name] = kind
    return EvidenceKinds(MappingProxyType(kinds), Digest.of(render_canonical({name: table[name] for name in table})))


def _read_kind(name: str, entry: Mapping[str, Any]) -> EvidenceKind:
    reader = str(entry.get("reader", ""))
    if any(name in facts and facts != (name,) for facts in FACTS_OF.values()):
        raise FormatError(f"evidence.{name}: is the name of a fact of the risk score")
    if reader and READERS[reader] != (name, entry["predicate_type"], entry["about"]):
        owner, predicate_type, about = READERS[reader]
        raise FormatError(f"evidence.{name}.reader: {reader} is for {owner}, {predicate_type}, about the {about}")
    if not reader and any(name == owner for owner, _, _ in READERS.values()):
        raise FormatError(f"evidence.{name}.claims: the kind has a reader")
    for taken, predicate_type, _ in READERS.values():
        if entry["predicate_type"] == predicate_type and name != taken:
            raise FormatError(f"evidence.{name}.predicate_type: is that of {taken} too")
    return EvidenceKind(
        name=name,
        predicate_type=entry["predicate_type"],
        about=entry["about"],
        max_age=timedelta(days=entry["max_age_days"]),
        reader=reader,
        claims=MappingProxyType({key: _read_claim(name, key, one) for key, one in entry.get("claims", {}).items()}),
        description=str(entry.get("description", "")),
        example=MappingProxyType(dict(entry.get("example", {}))),
    )


def _read_claim(kind: str, name: str, entry: Mapping[str, Any]) -> Claim:
    claim = Claim(
        type=entry["type"],
        minimum=entry.get("minimum", 0),
        maximum=entry.get("maximum", MAX_COUNT),
        values=tuple(entry.get("values", ())),
        empty=entry.get("empty", False),
        optional=entry.get("optional", False),
        description=entry.get("description", ""),
    )
    if claim.minimum > claim.maximum:
        raise FormatError(f"evidence.{kind}.claims.{name}: the minimum is above the maximum")
    if any(not value.isprintable() for value in claim.values):
        raise FormatError(f"evidence.{kind}.claims.{name}: a value has characters that do not print")
    return claim


# What decisions were made by before the table was part of the policy data: their proofs are verified with it.
EARLIER_KINDS: Final = parse_evidence_kinds(
    {
        name: {"reader": reader, "predicate_type": predicate_type, "about": about, "max_age_days": days}
        for reader, days in (("coverage", 90), ("test_result", 90), ("cyclonedx", 365), ("plan", 30))
        for name, predicate_type, about in (READERS[reader],)
    }
)
