"""The tree is that of RFC 6962, and its proofs prove."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_ranges,
    hash_leaf,
    hash_ranges,
    inclusion_proofs,
    inclusion_ranges,
    verify_consistency,
    verify_inclusion,
)
from placet.errors import FormatError, TamperError

# The eight inputs and roots that implementations of RFC 6962 test themselves with (certificate-transparency).
RFC_INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
RFC_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = 70
LEAVES = [hash_leaf(f"leaf {number}".encode()) for number in range(SIZES)]


def naive_root(hashes: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, as it is written there."""
    if not hashes:
        return hashlib.sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return hashlib.sha256(b"\x01" + naive_root(hashes[:split]) + naive_root(hashes[split:])).digest()


def naive_path(index: int, hashes: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962 section 2.1.1."""
    if len(hashes) == 1:
        return []
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    if index < split:
        return [*naive_path(index, hashes[:split]), naive_root(hashes[split:])]
    return [*naive_path(index - split, hashes[split:]), naive_root(hashes[:split])]


def naive_proof(old: int, hashes: Sequence[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 6962 section 2.1.2."""
    if old == len(hashes):
        return [] if whole else [naive_root(hashes)]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    if old <= split:
        return [*naive_proof(old, hashes[:split], whole=whole), naive_root(hashes[split:])]
    return [*naive_proof(old - split, hashes[split:], whole=False), naive_root(hashes[:split])]


def tree_of(hashes: Sequence[bytes]) -> Frontier:
    tree = Frontier()
    for leaf_hash in hashes:
        tree.append(leaf_hash)
    return tree


def inclusion(index: int, size: int) -> list[bytes]:
    return hash_ranges(inclusion_ranges(index, size), LEAVES[:size])


def consistency(old: int, new: int) -> list[bytes]:
    return hash_ranges(consistency_ranges(old, new), LEAVES[:new])


def test_roots_are_those_of_the_published_vectors() -> None:
    assert Frontier().root() == EMPTY_ROOT == hashlib.sha256(b"").digest()
    tree = Frontier()
    for content, root in zip(RFC_INPUTS, RFC_ROOTS, strict=True):
        tree.append(hash_leaf(content))
        assert tree.root().hex() == root


@pytest.mark.parametrize("size", range(SIZES + 1))
def test_the_frontier_folds_to_the_root_of_the_definition(size: int) -> None:
    tree = tree_of(LEAVES[:size])
    assert tree.root() == naive_root(LEAVES[:size])
    assert Frontier.parse(size, tree.render()) == tree


@pytest.mark.parametrize("size", range(SIZES + 1))
def test_leaves_that_are_added_together_make_the_tree_that_they_make_one_by_one(size: int) -> None:
    for start in range(size + 1):
        tree = tree_of(LEAVES[:start])
        tree.extend(LEAVES[start:size])
        assert tree == tree_of(LEAVES[:size])


@pytest.mark.parametrize("height", range(4))
@pytest.mark.parametrize("start", range(0, 24, 8))
def test_a_perfect_tree_is_added_by_its_root(start: int, height: int) -> None:
    added = LEAVES[start : start + 2**height]
    tree = tree_of(LEAVES[:start])
    tree.append_subtree(tree_of(added).root(), height)
    assert tree == tree_of(LEAVES[: start + 2**height])


def test_a_perfect_tree_is_added_in_its_place_alone() -> None:
    with pytest.raises(FormatError):
        tree_of(LEAVES[:6]).append_subtree(LEAVES[0], 2)


@pytest.mark.parametrize("size", range(1, SIZES + 1))
def test_inclusion_proofs_are_those_of_the_definition_and_verify(size: int) -> None:
    root = naive_root(LEAVES[:size])
    for index in range(size):
        hashes = inclusion(index, size)
        assert hashes == naive_path(index, LEAVES[:size])
        verify_inclusion(LEAVES[index], index=index, size=size, hashes=hashes, root=root)


@pytest.mark.parametrize("size", range(1, SIZES + 1))
def test_proofs_of_several_leaves_in_one_pass_are_those_of_each(size: int) -> None:
    for wanted in ({0}, {size - 1}, {0, size - 1}, set(range(size)), set(range(0, size, 3))):
        read = iter(LEAVES[:size])
        proofs = inclusion_proofs(wanted, size, read)
        assert proofs == {index: hash_ranges(inclusion_ranges(index, size), LEAVES[:size]) for index in wanted}


def test_several_proofs_need_all_the_leaves_and_no_others() -> None:
    for wanted, size in (({8}, 8), ({-1}, 8), ({0}, 0)):
        with pytest.raises(FormatError):
            inclusion_proofs(wanted, size, LEAVES[:size])
    with pytest.raises(FormatError):
        inclusion_proofs({0, 3}, 8, LEAVES[:7])


@pytest.mark.parametrize("new", range(1, SIZES + 1))
def test_consistency_proofs_are_those_of_the_definition_and_verify(new: int) -> None:
    for old in range(1, new + 1):
        hashes = consistency(old, new)
        assert hashes == naive_proof(old, LEAVES[:new])
        roots = {"old_root": naive_root(LEAVES[:old]), "new_root": naive_root(LEAVES[:new])}
        verify_consistency(old_size=old, new_size=new, hashes=hashes, **roots)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13])
def test_an_inclusion_proof_holds_for_nothing_else(size: int) -> None:
    root = naive_root(LEAVES[:size])
    for index in range(size):
        hashes = inclusion(index, size)
        wrong = [{"index": other, "size": size, "hashes": hashes} for other in range(-1, size + 1) if other != index]
        wrong += [{"index": index, "size": other, "hashes": hashes} for other in (0, size + 8, 2**63)]
        wrong += [{"index": index, "size": size, "hashes": [*hashes, root]}]
        wrong += [{"index": index, "size": size, "hashes": hashes[:-1]}] if hashes else []
        wrong += [{"index": index, "size": size, "hashes": hashes[::-1]}] if len(hashes) > 1 else []
        wrong += [{"index": index, "size": size, "hashes": [b"", *hashes[1:]]}] if hashes else []
        for case in wrong:
            with pytest.raises(TamperError):
                verify_inclusion(LEAVES[index], root=root, **case)  # type: ignore[arg-type]
        with pytest.raises(TamperError):
            verify_inclusion(LEAVES[-1], index=index, size=size, hashes=hashes, root=root)


@pytest.mark.parametrize(("old", "new"), [(1, 2), (2, 3), (3, 7), (4, 8), (5, 8), (6, 13), (13, 13), (8, 9)])
def test_a_consistency_proof_holds_for_nothing_else(old: int, new: int) -> None:
    hashes = consistency(old, new)
    right = {
        "old_size": old,
        "new_size": new,
        "old_root": naive_root(LEAVES[:old]),
        "new_root": naive_root(LEAVES[:new]),
        "hashes": hashes,
    }
    wrong = [
        {"old_root": LEAVES[60]},
        {"new_root": LEAVES[60]},
        {"hashes": [*hashes, LEAVES[0]]},
        {"old_size": new + 1},
        {"old_size": -1},
        *([{"hashes": hashes[:-1]}, {"hashes": []}, {"hashes": [b"", *hashes[1:]]}] if hashes else []),
        *([{"hashes": hashes[::-1]}] if len(hashes) > 1 else []),
    ]
    for change in wrong:
        with pytest.raises(TamperError):
            verify_consistency(**(right | change))  # type: ignore[operator]


def test_an_empty_tree_is_a_prefix_of_every_tree_without_a_proof() -> None:
    new_root = naive_root(LEAVES[:5])
    verify_consistency(old_size=0, old_root=EMPTY_ROOT, new_size=5, new_root=new_root, hashes=[])
    for old_root, hashes in ((new_root, []), (EMPTY_ROOT, [new_root])):
        with pytest.raises(TamperError):
            verify_consistency(old_size=0, old_root=old_root, new_size=5, new_root=new_root, hashes=hashes)


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0), (0, 2**63)])
def test_there_is_no_proof_for_what_is_not_in_the_tree(index: int, size: int) -> None:
    with pytest.raises(FormatError):
        inclusion_ranges(index, size)


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3), (-1, 3)])
def test_there_is_no_proof_from_what_is_no_prefix(old: int, new: int) -> None:
    with pytest.raises(FormatError):
        consistency_ranges(old, new)


def test_a_proof_needs_all_the_leaves() -> None:
    with pytest.raises(FormatError):
        hash_ranges(inclusion_ranges(0, 8), LEAVES[:7])


@pytest.mark.parametrize(
    ("size", "raw"), [(1, b""), (3, b"x" * 32), (2, b"x" * 31), (0, b"x" * 32), (-1, b""), (2**64, b"x" * 32)]
)
def test_a_frontier_has_as_many_hashes_as_its_size_has_bits(size: int, raw: bytes) -> None:
    with pytest.raises(FormatError):
        Frontier.parse(size, raw)


@given(st.lists(st.binary(max_size=64), max_size=200), st.data())
def test_any_tree_agrees_with_the_definition(contents: list[bytes], data: st.DataObject) -> None:
    hashes = [hash_leaf(content) for content in contents]
    tree = tree_of(hashes)
    assert tree.root() == naive_root(hashes)
    if not hashes:
        return
    index = data.draw(st.integers(0, len(hashes) - 1))
    path = hash_ranges(inclusion_ranges(index, len(hashes)), hashes)
    assert path == naive_path(index, hashes)
    verify_inclusion(hashes[index], index=index, size=len(hashes), hashes=path, root=tree.root())
    old = data.draw(st.integers(1, len(hashes)))
    proof = hash_ranges(consistency_ranges(old, len(hashes)), hashes)
    assert proof == naive_proof(old, hashes)
    verify_consistency(
        old_size=old, old_root=naive_root(hashes[:old]), new_size=len(hashes), new_root=tree.root(), hashes=proof
    )


@given(
    st.integers(-5, 2**64),
    st.integers(-5, 2**64),
    st.lists(st.binary(max_size=40), max_size=70),
    st.binary(max_size=40),
)
def test_no_proof_from_outside_does_more_than_fail(first: int, second: int, hashes: list[bytes], root: bytes) -> None:
    with pytest.raises(TamperError):
        verify_inclusion(LEAVES[0], index=first, size=second, hashes=hashes, root=root)
    with pytest.raises(TamperError):
        verify_consistency(old_size=first, old_root=b"old", new_size=second, new_root=root, hashes=hashes)
