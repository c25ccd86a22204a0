"""Sets of indexes as ranges, held against Python's sets; and what reads them from leaves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.audit import spans
from placet.audit.holds import held_by, read_holds
from placet.audit.pruning import Ledger, parse_prune
from placet.errors import FormatError

INDEXES = st.sets(st.integers(0, 60))
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 60) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def members(found: Any) -> set[int]:
    return {index for start, end in found for index in range(start, end)}


@given(INDEXES, INDEXES)
def test_ranges_are_the_sets_that_they_stand_for(one: set[int], other: set[int]) -> None:
    first, second = spans.of_indexes(one), spans.of_indexes(other)
    assert members(first) == one
    assert spans.count(first) == len(one)
    assert members(spans.subtract(first, second)) == one - other
    assert members(spans.merge((*first, *second))) == one | other
    assert {index for index in range(-1, 62) if spans.covers(first, index)} == one
    assert spans.parse(spans.render(first), end=61) == first


@given(INDEXES, st.integers(1, 5))
def test_a_coarser_set_has_everything_and_no_more_ranges_than_asked_for(one: set[int], most: int) -> None:
    found = spans.coarsen(spans.of_indexes(one), most)
    assert members(found) >= one
    assert len(found) <= most
    assert not one or (found[0][0], found[-1][1]) == (min(one), max(one) + 1)


@given(JSON)
def test_nothing_but_a_format_error_comes_of_ranges_that_are_none(value: Any) -> None:
    try:
        found = spans.parse(value, end=60)
    except FormatError:
        return
    assert spans.merge(found) == found
    assert members(found) <= set(range(60))


@given(st.dictionaries(st.sampled_from(["event", "hold_id", "by", "reason", "covered", "ticket", "scope"]), JSON))
def test_a_hold_that_can_not_be_understood_covers_everything_until_it_is_released_by_its_index(
    body: dict[str, Any],
) -> None:
    found = read_holds([(7, body)])
    words = all(isinstance(body.get(name), str) and body[name] for name in ("hold_id", "by", "reason"))
    if words and body.get("event") == "released":
        assert found == []
    elif not words or body.get("event") != "placed":
        assert held_by(found) == spans.EVERYTHING
    else:
        assert spans.covers(held_by(found), 10**9)
    end = {"event": "released", "hold_id": "leaf 7", "by": "x", "reason": "y"}
    if found and found[0].reason.startswith("leaf 7 is a hold"):
        assert held_by(read_holds([(7, body), (8, end)])) == ()
        assert held_by(read_holds([(7, body), (8, end | {"hold_id": "leaf 8"})])) == spans.EVERYTHING


@given(st.dictionaries(st.sampled_from(["size", "before", "leaves", "attachments", "by", "reason", "time"]), JSON))
def test_nothing_but_a_format_error_comes_of_a_prune_that_is_none(body: dict[str, Any]) -> None:
    try:
        found = parse_prune(50, body)
    except FormatError:
        return
    assert members(found.removal.leaves) <= set(range(found.size))


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([b"prune\n", b"hold\n", b""]), st.binary(max_size=20))))
def test_a_ledger_of_anything_explains_nothing_by_it(leaves: list[tuple[int, bytes, bytes]]) -> None:
    ledger = Ledger((index, kind + rest) for index, kind, rest in leaves)
    assert ledger.prunes == []
    assert ledger.find_leaf(0) is None


def test_the_narrowest_gaps_are_filled_first() -> None:
    assert spans.coarsen(((0, 1), (2, 3), (10, 11)), 2) == ((0, 3), (10, 11))


@pytest.mark.parametrize("value", [[[0, 0]], [[1, 2], [2, 3]], [[2, 3], [0, 1]], [[0, True]], [[0, 1.0]], "x", [0, 1]])
def test_ranges_have_one_spelling(value: Any) -> None:
    with pytest.raises(FormatError):
        spans.parse(value, end=9)
