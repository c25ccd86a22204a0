"""Leaves are passed over by their bytes only where reading them would find that they are something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.audit import query
from placet.audit.location import open_reader
from placet.audit.log import AuditLog
from placet.audit.query import Query, find
from placet.audit.record import render_leaf, search_values
from placet.audit.terms import BLOCK
from placet.errors import TamperError
from tests.simulators.bulk import build_bulk
from tests.simulators.tampering import ORIGIN, Body, decision, surgery

_TEXT = st.text('aB1_/:.@ \u00e4\u0130\n"\\', min_size=1, max_size=6)
SIDE = ["registry.example.com/org/app:1.2.3", "registry.example.com/org/side:1.2.4"]
ASKED = Query(image="org/side:1.2.3")  # each two of its words stand side by side, and never all of them


@given(
    images=st.lists(_TEXT, max_size=3), message=_TEXT, person=_TEXT, role=_TEXT, asked=st.lists(_TEXT, max_size=3),
    taken=st.integers(0, 5), end=st.integers(1, 8),
)  # fmt: skip
def test_what_is_looked_for_is_never_passed_over(
    images: list[str], message: str, person: str, role: str, asked: list[str], taken: int, end: int
) -> None:
    approvals = [{"approval_id": "a-1", "person": person, "role": role}]
    leaf = render_leaf(decision(1, images=images, message=message, approvals=approvals))
    wanted = [*asked, *(image[taken : taken + end] for image in images), message[:end]]
    for word in wanted:
        for one in (Query(image=word), Query(text=word), Query(person=person, role=role, image=word)):
            if one.matches(search_values(leaf.body), leaf.body):
                assert one.pieces().may_match(leaf.raw), one


@pytest.mark.parametrize(
    ("images", "passed"),
    [
        (SIDE, False),
        (["org/side:1.2.3"], True),
        (["x/org/side@1_2.3", "org/side:1.2.3"], True),
        (["org\nside:1.2.4", "1.2.3"], True),  # a letter behind a backslash is none: it has to be read
        (["\u00e4/org/app:1"], True),
    ],
)
def test_words_that_do_not_follow_each_other_are_seen_in_the_bytes(images: list[str], passed: bool) -> None:
    assert ASKED.pieces().may_match(render_leaf(decision(1, images=images)).raw) is passed


def made(number: int) -> tuple[Body, dict[str, bytes]]:
    images = ["registry.example.com/org/side:1.2.3"] if number in {7, 1000} else SIDE
    return decision(number, images=images), {}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = build_bulk(tmp_path / "record.db", BLOCK + 5, made=made)
    log = AuditLog.open(path, origin=ORIGIN)
    assert log.index_blocks(9) == 1
    log.close()
    return path


def indexes(file: Path) -> list[int]:
    with open_reader(file) as reader:
        return [one.index for one in find(reader, ASKED, limit=50).found]


def test_an_image_whose_words_stand_apart_is_not_found_and_hardly_read(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    original = query.read_found

    def watched(stored: Any, *more: Any) -> Any:
        read.append(stored.index)
        return original(stored, *more)

    monkeypatch.setattr(query, "read_found", watched)
    assert indexes(file) == [1000, 7] == read


def test_a_leaf_that_was_changed_is_not_passed_over(file: Path) -> None:
    with surgery(file) as database:
        (raw,) = database.execute("SELECT leaf FROM leaves WHERE idx = 7").fetchone()
        database.execute("UPDATE leaves SET leaf = ? WHERE idx = 7", (raw.replace(b"side:1.2.3", b"side:9.9.9"),))
    with pytest.raises(TamperError, match="leaf 7 was changed"):
        indexes(file)
