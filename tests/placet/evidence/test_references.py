"""Documents by reference: only one with a name and a digest counts."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from placet.errors import FormatError
from placet.evidence.kinds import REFERENCE_TYPE
from placet.evidence.predicates import read_predicate
from tests.placet.evidence.samples import REFERENCES
from tests.simulators.desk import SHIPPED_KINDS


def documents(change: Any = lambda _: None) -> tuple[tuple[str, ...], datetime]:
    predicate = copy.deepcopy(REFERENCES)
    change(predicate["references"])
    evidence = read_predicate(SHIPPED_KINDS, REFERENCE_TYPE, predicate)
    named = evidence.sayings["documentation"].claims["documents"]
    assert isinstance(named, tuple)
    return named, evidence.issued_at


def test_documents_are_named_and_as_old_as_the_oldest() -> None:
    def older(references: Any) -> None:
        references[1]["annotations"]["issuedAt"] = "2026-01-01T00:00:00Z"

    everything = ("api_documentation", "deployment_guide", "model_card")
    assert documents() == (everything, datetime(2026, 11, 20, 12, tzinfo=UTC))
    assert documents(older) == (everything, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.pop("digest"),
        lambda one: one.pop("name"),
        lambda one: one.update(digest={}),
        lambda one: one.update(digest={"sha512": "2" * 128}),
    ],
)
def test_a_document_that_is_not_pinned_is_passed_over(change: Any) -> None:
    named, _ = documents(lambda references: change(references[0]))
    assert named == ("api_documentation", "deployment_guide")


def test_an_old_document_that_is_passed_over_makes_the_others_no_older() -> None:
    def loose(references: Any) -> None:
        references[0].pop("digest")
        references[0].pop("annotations")

    assert documents(loose)[1] == datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "change",
    [
        lambda references: [one.pop("digest") for one in references],
        lambda references: references.clear(),
        lambda references: references[0].update(digest={"sha256": "2" * 63}),
        lambda references: references[0].update(digest={"sha256": "A" * 64}),
        lambda references: references[0].update(digest="sha256:" + "2" * 64),
        lambda references: references[0].pop("annotations"),
        lambda references: references[0]["annotations"].update(issuedAt="yesterday"),
        lambda references: references[0].update(name="\u202e"),
        lambda references: references[0].update(name=1),
    ],
)
def test_what_can_not_be_told_is_malformed(change: Any) -> None:
    with pytest.raises(FormatError) as caught:
        documents(change)
    assert caught.value.code == "statement_malformed"
