"""Words of a text are looked up where names are opened too, but for those that may stand in a name."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.audit.location import open_reader
from placet.audit.log import AuditLog
from placet.audit.person_keys import Opener, Person, PersonKeys
from placet.audit.person_terms import words_in_names
from placet.audit.persons import NONCE, open_with, seal
from placet.audit.query import Query, find
from placet.audit.record import SEALED_SCHEMA
from placet.audit.sealer import Sealer
from placet.audit.stores import StoredLeaf
from placet.audit.stores.reader import SqliteReader
from placet.audit.terms import BLOCK, text_words
from tests.simulators.bulk import build_bulk
from tests.simulators.tampering import ORIGIN, Body, decision

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
def file(tmp_path: Path, keys: PersonKeys) -> Path:
    path = build_bulk(tmp_path / "record.db", BLOCK + 3, made=lambda number: (body_of(keys, number), {}))
    log = AuditLog.open(path, origin=ORIGIN)
    assert log.index_blocks(9) == 1
    log.close()
    return path


@pytest.fixture
def keys(tmp_path: Path) -> PersonKeys:
    (tmp_path / "persons").mkdir()
    (tmp_path / "persons.key").write_bytes(base64.b64encode(bytes(range(32))))
    return PersonKeys.open(tmp_path / "persons", tmp_path / "persons.key", writable=True)


@pytest.mark.parametrize(
    ("text", "indexes", "read"),
    [
        ("ticket 65000", [900, 700, 5], 3),
        ("Ticket BOB", [900, 700, 5], 3),  # by the one word that is sure
        ("bob", [900, 700, 5], BLOCK),  # which may stand in any name: every leaf is opened
        ("approve bob", [], BLOCK - 3),
        ("zebra", [], 0),
    ],
)
def test_opened_texts_are_found_by_few_leaves(
    file: Path, keys: PersonKeys, monkeypatch: pytest.MonkeyPatch, text: str, indexes: list[int], read: int
) -> None:
    seen: list[int] = []
    original = SqliteReader.leaves_at

    def watched(self: SqliteReader, at: Sequence[int]) -> list[StoredLeaf]:
        seen.extend(at)
        return original(self, at)

    monkeypatch.setattr(SqliteReader, "leaves_at", watched)
    with open_reader(file) as reader:
        page = find(reader, Query(text=text), limit=50, opener=keys.opener())
    assert [one.index for one in page.found] == indexes
    assert len(seen) == read
