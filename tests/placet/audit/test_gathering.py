"""The terms of many leaves at once are those that each of them has."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from placet.audit.certify import _Stretch
from placet.audit.forms import Forms
from placet.audit.merkle import hash_leaf
from placet.audit.patterns import ask_all
from placet.audit.record import render_leaf, search_values
from placet.audit.stores import past
from placet.audit.terms import BLOCK, BlockMaker, Gathered, TermBlock, gather_terms, image_terms, image_words, term_of
from tests.simulators.tampering import decision

_WORD = st.sampled_from(["sam", "fay", "No role", "no ROLE", "Jörg", "a|b", "", 'say "so"', "tab\there"])
_HEX = "0123456789abcdef" * 4
_IMAGE = st.sampled_from(
    [
        f"registry.example.com/serving/vllm@sha256:{_HEX}",
        f"registry.example.com/serving/vllm@sha256:{_HEX[::-1]}",
        f"@sha256:{_HEX}",
        "vllm@sha256:",
        "vllm@sha512:12",
        "a@sha256:1@sha256:2",
        "vllm:latest",
        "..",
    ]
)
_ENTRY = st.fixed_dictionaries({"role": _WORD, "person": _WORD, "approval_id": _WORD})
_SAID = {
    "approvals": st.lists(_ENTRY, max_size=3),
    "rejected": st.lists(st.fixed_dictionaries({"role": _WORD}), max_size=2),
    "images": st.lists(_IMAGE, max_size=2) | _IMAGE,
    "message": _WORD,
    "advice": st.lists(_WORD, max_size=2),
    "person": _WORD | st.integers(0, 3),
    "exemption": st.none() | st.fixed_dictionaries({"persons": st.lists(_WORD, max_size=2)}),
    "namespace": _WORD,
    "name": _WORD,
    "violations": st.lists(st.fixed_dictionaries({"rule": _WORD, "code": _WORD}), max_size=2),
}
_BODIES = st.lists(st.fixed_dictionaries({}, optional=_SAID), min_size=1, max_size=12)


def together(bodies: list[dict[str, Any]], first: int) -> Gathered:
    """As a verifier gathers them, after forms were made of the first two."""
    leaves = [render_leaf(body) for body in bodies]
    forms = Forms(patience=0, asked=ask_all)
    for leaf in leaves[:2]:
        forms._patience = 0
        forms.learn(leaf.body)
    rows = [(first + at, leaf.hash, leaf.raw, *search_values(leaf.body)) for at, leaf in enumerate(leaves)]
    stretch = _Stretch(list(zip(*rows, strict=True)), first, first + len(rows))
    assert stretch.is_whole()
    assert stretch.reads(forms, with_terms=True)
    assert stretch.gathering is not None
    return stretch.gathering.gathered([leaf.columns.time for leaf in leaves])


@given(_BODIES, st.integers(0, BLOCK - 12))
def test_each_leaf_has_its_own_terms_and_no_others(changes: list[dict[str, Any]], place: int) -> None:
    bodies = [decision(number) | change for number, change in enumerate(changes)]

    gathered = together(bodies, 5 * BLOCK + place)

    expected: dict[int, list[int]] = {}
    for at, body in enumerate(bodies, place):
        alone, together_ = gather_terms(search_values(body), body)
        for term in alone.union(*together_):
            expected.setdefault(term, []).append(at)
    assert {term: list(places) for term, places in gathered.places.items()} == expected
    assert gathered.count == len(bodies)
    assert (gathered.earliest, gathered.latest) == (bodies[0]["time"], bodies[-1]["time"])


def block_of(bodies: list[dict[str, Any]], cut: int) -> TermBlock:
    """A block of which the leaves up to ``cut`` are given one by one, and the others together."""
    maker = BlockMaker(0)
    for body in bodies[:cut]:
        assert maker.add(search_values(body), body) is None
    done = maker.add_gathered(together(bodies[cut:], cut))
    assert done is not None
    return done


@given(st.integers(0, 7), st.integers(0, BLOCK - 1))
def test_a_block_is_the_same_whichever_way_its_leaves_were_given(seed: int, cut: int) -> None:
    bodies = [
        decision(number, message=f"word{number % (seed + 1)} same", images=[f"vllm@sha256:{number % 5:064x}"])
        for number in range(BLOCK)
    ]
    assert block_of(bodies, cut) == block_of(bodies, BLOCK - 1)


@given(_IMAGE)
def test_an_image_is_found_by_its_words_and_by_each_two_that_stand_side_by_side(image: str) -> None:
    words = image_words(image)
    pairs = [f"{first} {second}" for first, second in itertools.pairwise(words)]
    assert image_terms(image) == {term_of("image", word) for word in (*words, *pairs)}


def test_columns_that_a_store_has_not_got_say_nothing_about_terms() -> None:
    leaf = render_leaf(decision(1))
    columns = [(0,), (hash_leaf(leaf.raw),), (leaf.raw,), *((value,) for value in search_values(leaf.body))]
    columns[-4] = (past.NOT_KEPT,)
    assert _Stretch(columns, 0, 1).reads(Forms(), with_terms=False)
    assert not _Stretch(columns, 0, 1).reads(Forms(), with_terms=True)
