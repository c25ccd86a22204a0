"""What a search asks a store: many terms a few at a time, and persons of many blocks at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from placet.audit.location import open_reader
from placet.audit.log import AuditLog
from placet.audit.naming import Narrowing, named_by
from placet.audit.query import Query, find
from placet.audit.segments import SEGMENT, descending
from placet.audit.stores import Key
from placet.audit.stores.places import Wanted
from placet.audit.stores.reader import SqliteReader
from placet.audit.terms import BLOCK, term_of
from tests.simulators.bulk import build_bulk
from tests.simulators.findable import findable
from tests.simulators.tampering import ORIGIN, copy_of, surgery

MANY = Query(
    kind="Deployment", environment="production", allowed=True, role="security", person="sam", image="serving/vllm",
    text="may run blue",
)  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = build_bulk(tmp_path_factory.mktemp("steps") / "record.db", SEGMENT, made=findable)
    log = AuditLog.open(path, origin=ORIGIN)
    assert log.index_blocks(99) == SEGMENT // BLOCK
    log.close()
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Statements that a store is asked."""
    seen: list[str] = []
    rows = SqliteReader._rows

    def watched(self: SqliteReader, statement: str, **values: Any) -> Iterator[Any]:
        seen.append(statement)
        return rows(self, statement, **values)

    monkeypatch.setattr(SqliteReader, "_rows", watched)
    return seen


def looked_up(asked: list[str]) -> list[int]:
    return [statement.count("FROM postings") for statement in asked if "FROM postings" in statement]


def test_more_terms_are_asked_where_the_first_meet(file: Path, asked: list[str]) -> None:
    assert len(MANY.terms()) == 12
    with open_reader(file) as reader:
        assert len(find(reader, MANY, limit=50).found) > 0
    assert looked_up(asked) == [8, 4]


def test_no_more_are_asked_where_they_do_not(file: Path, asked: list[str]) -> None:
    with open_reader(file) as reader:
        assert find(reader, Query(name="nobody", text="may run blue no valid approval of a b c"), limit=50).found == ()
    assert looked_up(asked) == [8]


def test_any_number_of_words_is_looked_up(file: Path, asked: list[str]) -> None:
    words = " ".join(f"w{number}" for number in range(60))
    with open_reader(file) as reader:
        assert find(reader, Query(text=f"may run {words}"), limit=50).found == ()
    assert not any("FROM leaves WHERE idx IN" in statement for statement in asked), "none is read to be left out"


def test_what_is_narrowed_is_narrowed_for_many_blocks_at_once(file: Path, tmp_path: Path) -> None:
    file = copy_of(file, tmp_path)
    seen: list[list[int]] = []
    production = term_of("environment", "production")
    told: list[int] = []

    def narrow(blocks: Mapping[int, Sequence[int]]) -> dict[int, int]:
        seen.append(list(blocks))
        told.extend(block * BLOCK + place for block, [bits] in blocks.items() for place in descending(bits))
        return {block: 0b101 << (block % 2) for block in blocks}

    wanted = Wanted(
        terms=(),
        one_of=[term_of("type", "decision")],
        before=SEGMENT,
        since=None,
        until=None,
        narrow=narrow,
        plain=[production],
    )
    with open_reader(file) as reader:
        found = list(reader.find_places(wanted))
    expected = [block * BLOCK + place + block % 2 for block in range(SEGMENT // BLOCK) for place in (0, 2)]
    assert found == sorted(expected, reverse=True)
    assert [sorted(blocks) for blocks in seen] == [list(range(SEGMENT // BLOCK))]
    with open_reader(file) as reader:
        assert sorted(told, reverse=True) == list(reader.find_places(replace(wanted, terms=[production], narrow=None)))
    with surgery(file) as database:
        database.execute("DELETE FROM postings")
        database.execute("DELETE FROM segments")
    by_segments = sorted(told)
    told.clear()
    with open_reader(file) as reader:
        assert list(reader.find_places(wanted)) == found
    assert sorted(told) == by_segments


def test_persons_of_many_blocks_are_one_question() -> None:
    class Rows:
        def __init__(self) -> None:
            self.questions = 0

        def members_at(self, keys: Sequence[Key]) -> dict[Key, bytes]:
            self.questions += 1
            return {key: b"\0\3" for key in keys if key[0] in {2, -3, -5}}

    rows = Rows()
    narrowing = Narrowing(rows, named_by({"user": "alice@example.org"}, (), ()))
    every = (1 << BLOCK) - 1
    assert narrowing.bits({2: [1], 3: [1], 4: [0]}) == {2: 1 << 3 | 1, 3: every, 4: 1 << 3}
    assert rows.questions == 1
