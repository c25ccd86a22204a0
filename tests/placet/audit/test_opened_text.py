"""Words of a text are looked up where names are opened too, but for those that may stand in a name."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.audit.location import open_reader
from placet.audit.log import AuditLog
from placet.audit.naming import named_by, words_in_names
from placet.audit.person_keys import Opener, Person, PersonKeys
from placet.audit.person_terms import TEXT, UNOPENED_IN_TEXTS, find_rows, person_term
from placet.audit.persons import NONCE, open_with, seal
from placet.audit.query import Query, find
from placet.audit.record import SEALED_SCHEMA
from placet.audit.sealer import Sealer
from placet.audit.stores import StoredLeaf
from placet.audit.stores.reader import SqliteReader
from placet.audit.terms import BLOCK, text_words
from tests.simulators.bulk import build_bulk
from tests.simulators.tampering import ORIGIN, Body, decision, surgery

ALICE, BOB = "alice@example.org", "Bob"
# Letters of either case, what joins and what parts words, and what does so once case is left out.
_LETTERS = "aB1_ .@-\u0345\u03b9\u0130\u00df\u2026\\"
_NAMES = st.lists(st.text(_LETTERS, min_size=1, max_size=4), max_size=3, unique=True)


class Keys(PersonKeys):
    """Everybody's key, in no folder."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"), bytes(32))

    def key_of(self, name: str) -> bytes:
        return name.encode().ljust(32, b"\0")[:32]


@given(names=_NAMES, parts=st.lists(st.text(_LETTERS, max_size=4), max_size=6), places=st.lists(st.integers(0, 9)))
def test_a_word_that_no_name_may_have_stands_in_what_is_stored(
    names: list[str], parts: list[str], places: list[int]
) -> None:
    said = [*parts, *names] or ["x"]
    text = "".join(said[place % len(said)] for place in places)
    keys = Keys()
    sealer = Sealer(keys)
    stored = sealer.texts(names, text)(text)
    opener = Opener([Person("0" * 32, name, keys.key_of(name), Path("x")) for name in names])
    body = opener.open({"schema": SEALED_SCHEMA, NONCE: sealer.nonce.hex(), "message": stored})
    opened = text_words(body["message"])
    doubtful = words_in_names(opened, names)
    assert doubtful <= opened
    assert opened - doubtful <= text_words(stored)


@pytest.mark.parametrize(
    ("words", "names", "doubtful"),
    [
        (set(), ["alice"], set()),
        ({"blue", "green"}, [], set()),
        ({"blue", "green", "org"}, [ALICE, BOB], {"org"}),
        ({"bob", "bobby"}, [BOB], {"bob"}),
        ({"blue"}, ["!x", BOB], {"blue"}),  # what stands before it is one word with what it is sealed as
        ({"blue"}, ["x\u200b"], {"blue"}),
        ({"blue"}, ["x!"], {"blue"}),
        ({"\u03b9\u03b1", "blue"}, [BOB], {"\u03b9\u03b1"}),
    ],
)
def test_words_of_names_are_not_looked_up(words: set[str], names: list[str], doubtful: set[str]) -> None:
    assert words_in_names(words, names) == doubtful


def test_a_sealed_name_stands_for_its_words_alone() -> None:
    nonce = bytes(16)
    stored = f"wait for {seal(Keys().key_of(BOB), nonce, BOB)}, then renew"
    assert text_words(open_with(stored, {seal(Keys().key_of(BOB), nonce, BOB): BOB})) == {
        "wait", "for", "bob", "then", "renew",
    }  # fmt: skip
    assert {"wait", "for", "then", "renew"} <= text_words(stored)


def body_of(keys: PersonKeys, number: int) -> Body:
    nonce = number.to_bytes(16, "big")
    message = "approve this"
    if number in {5, 700}:
        message = f"ticket-65000 for {seal(keys.key_of(BOB), nonce, BOB)}"
    if number == 900:
        message = "ticket-65000 for bob"
    return decision(number, message=message, schema=SEALED_SCHEMA, user="system:x", **{NONCE: nonce.hex()})


@pytest.fixture
def keys(tmp_path: Path) -> PersonKeys:
    (tmp_path / "persons").mkdir()
    (tmp_path / "persons.key").write_bytes(base64.b64encode(bytes(range(32))))
    return PersonKeys.open(tmp_path / "persons", tmp_path / "persons.key", writable=True)


@pytest.fixture
def log(tmp_path: Path, keys: PersonKeys) -> Iterator[AuditLog]:
    path = build_bulk(tmp_path / "record.db", BLOCK + 3, made=lambda number: (body_of(keys, number), {}))
    opened = AuditLog.open(path, origin=ORIGIN)
    assert opened.index_blocks(9) == 1
    yield opened
    opened.close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Indexes of the leaves in blocks that are read."""
    seen: list[int] = []
    original = SqliteReader.leaves_at

    def watched(self: SqliteReader, at: Sequence[int]) -> list[StoredLeaf]:
        seen.extend(at)
        return original(self, at)

    monkeypatch.setattr(SqliteReader, "leaves_at", watched)
    return seen


def found(tmp_path: Path, keys: PersonKeys, text: str) -> list[int]:
    with open_reader(tmp_path / "record.db") as reader:
        return [one.index for one in find(reader, Query(text=text), limit=50, opener=keys.opener()).found]


CASES = [
    # words, what is found, and how many leaves are read before and after the block was gone through
    ("ticket 65000", [900, 700, 5], 3, 3),
    ("Ticket BOB", [900, 700, 5], 3, 3),  # by the one word that is sure
    ("bob", [900, 700, 5], BLOCK, 3),  # which may stand in any name
    ("approve bob", [], BLOCK - 3, 0),
    ("zebra", [], 0, 0),
]


@pytest.mark.parametrize(("text", "indexes", "before", "after"), CASES)
def test_opened_texts_are_found_by_few_leaves(
    log: AuditLog, tmp_path: Path, keys: PersonKeys, read: list[int], text: str, indexes: list[int], before: int,
    after: int,
) -> None:  # fmt: skip
    assert found(tmp_path, keys, text) == indexes
    assert len(read) == before
    assert log.index_persons(keys, 9) == 1
    assert log.index_persons(keys, 9) == 0
    read.clear()
    assert found(tmp_path, keys, text) == indexes
    assert len(read) == after


def test_a_block_that_an_earlier_release_went_through_is_read_and_then_gone_through_again(
    log: AuditLog, tmp_path: Path, keys: PersonKeys, read: list[int]
) -> None:
    log.index_persons(keys, 9)
    person = keys.find(BOB)
    assert person is not None
    sentences = (UNOPENED_IN_TEXTS, person_term(person.key, TEXT, 0))
    with surgery(tmp_path / "record.db") as database:
        gone = database.execute("DELETE FROM terms WHERE block = -1 AND term IN (?, ?)", sentences).rowcount
    assert gone == 2
    assert found(tmp_path, keys, "bob") == [900, 700, 5]
    assert len(read) == BLOCK
    assert log.index_persons(keys, 9) == 1
    read.clear()
    assert found(tmp_path, keys, "bob") == [900, 700, 5]
    assert len(read) == 3


def test_a_name_that_no_key_opened_is_found_in_texts_when_the_key_is_back(
    log: AuditLog, tmp_path: Path, keys: PersonKeys
) -> None:
    person = keys.find(BOB)
    assert person is not None
    away = person.path.rename(person.path.with_suffix(".away"))
    log.index_persons(keys, 9)
    assert found(tmp_path, keys, "ticket bob") == [900]
    away.rename(person.path)
    assert found(tmp_path, keys, "ticket bob") == [900, 700, 5]


def test_the_rows_of_sentences_go_with_the_person(log: AuditLog, tmp_path: Path, keys: PersonKeys) -> None:
    log.index_persons(keys, 9)
    person = keys.find(BOB)
    assert person is not None
    with open_reader(tmp_path / "record.db") as reader:
        assert find_rows(reader, [person]) == [(-1, person_term(person.key, TEXT, 0))]


def test_of_a_word_of_many_names_everybody_who_is_named_is_looked_at() -> None:
    persons = [Person("0" * 32, f"person-{number}@example.org", bytes([number]) * 32, Path("x")) for number in range(9)]
    user, *words = named_by({"user": "person-3@example.org"}, ["7", "example", "\u03b9"], persons)
    assert (user.field, user.keys, user.anybody) == ("user", (persons[3].key,), False)
    assert [(one.keys, one.anybody) for one in words] == [((persons[7].key,), False), ((), True), ((), True)]
    irregular = [*persons, Person("0" * 32, ".x", bytes(32), Path("x"))]
    assert [one.anybody for one in named_by({}, ["7"], irregular)] == [True]


def test_words_of_many_names_are_found_by_who_is_named(
    log: AuditLog, tmp_path: Path, keys: PersonKeys, read: list[int]
) -> None:
    for number in range(9):
        keys.key_of(f"bob.{number}")
    keys.key_of("bob.")  # what stands behind it is one word with what it is sealed as
    log.index_persons(keys, 9)
    assert found(tmp_path, keys, "bob") == [900, 700, 5]
    assert found(tmp_path, keys, "ticket") == [900, 700, 5]
    assert found(tmp_path, keys, "approve ticket") == []
    assert len(read) == 3 + 3 + 2  # whose sentences name anybody
