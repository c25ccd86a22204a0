"""A person is found by a term that only their key makes; without it, or after an erasure, by nothing."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from placet.audit.erasure import render_statements
from placet.audit.location import StoreLocation, open_reader
from placet.audit.log import AuditLog
from placet.audit.naming import Narrowing, named_by
from placet.audit.note import parse_vkey
from placet.audit.person_keys import PersonKeys
from placet.audit.person_terms import find_rows, make_rows, number_of, person_term
from placet.audit.persons import NONCE, seal
from placet.audit.pruning import Removal
from placet.audit.query import Query, find
from placet.audit.record import SEALED_SCHEMA, render_leaf
from placet.audit.stores import Key, StoredLeaf
from placet.audit.stores.erase import erase_attachments
from placet.audit.stores.reader import TableReader
from placet.audit.stores.removal import remove
from placet.audit.terms import BLOCK, term_of
from placet.cli import root
from placet.errors import TamperError
from tests.simulators.bothways import verify_file
from tests.simulators.bulk import build_bulk
from tests.simulators.pgsurgery import owners
from tests.simulators.tampering import LOG_KEY, ORIGIN, Body, decision

ALICE, BOB, CAROL = (f"{name}@example.org" for name in ("alice", "bob", "carol"))
VKEY = parse_vkey(str(LOG_KEY.verifier))
ASKED = {3: ALICE, 500: BOB, 1023: ALICE, 1024: ALICE, 1030: BOB}


@pytest.fixture
def keys(tmp_path: Path) -> PersonKeys:
    (tmp_path / "persons").mkdir()
    (tmp_path / "persons.key").write_bytes(base64.b64encode(bytes(range(32))))
    return PersonKeys.open(tmp_path / "persons", tmp_path / "persons.key", writable=True)


def sealed(keys: PersonKeys, number: int, name: str, *approvers: str) -> dict[str, object]:
    nonce = number.to_bytes(16, "big")
    shown = {one: seal(keys.key_of(one), nonce, one) for one in (name, *approvers)}
    approvals = [{"approval_id": f"a-{number}", "role": "security", "person": shown[one]} for one in approvers]
    return {"schema": SEALED_SCHEMA, NONCE: nonce.hex(), "user": shown[name], "approvals": approvals}


def body_of(keys: PersonKeys, number: int) -> Body:
    if number == 7:
        return decision(number, user=ALICE)
    return decision(number, **(sealed(keys, number, ASKED[number], CAROL) if number in ASKED else {"user": "system:x"}))


@pytest.fixture
def log(location: StoreLocation, keys: PersonKeys, tmp_path: Path) -> Iterator[AuditLog]:
    """A block and a little more, of which few leaves are by people, one of them by a plain name."""
    made = build_bulk(tmp_path / "bulk.db", BLOCK + 8, made=lambda number: (body_of(keys, number), {}))
    if isinstance(location, Path):
        made.rename(location)
    else:
        moved = CliRunner().invoke(root, ["audit", "migrate", "--from", str(made), "--to", location])
        assert moved.exit_code == 0, moved.output
    opened = AuditLog.open(location, origin=ORIGIN, key=LOG_KEY)
    opened.index_blocks(9)
    yield opened
    opened.close()


def found(location: StoreLocation, keys: PersonKeys | None, *, user: str = "", person: str = "") -> list[int]:
    with open_reader(location) as reader:
        page = find(reader, Query(user=user, person=person), limit=100, opener=None if keys is None else keys.opener())
    return [one.index for one in page.found]


def test_a_person_is_found_by_sealed_and_by_plain_names_and_few_leaves_are_read(
    log: AuditLog, location: StoreLocation, keys: PersonKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = found(location, keys, user=ALICE)
    assert log.index_persons(keys, 9) == 1
    assert log.index_persons(keys, 9) == 0, "once is enough"
    read: list[int] = []
    original = TableReader.leaves_at

    def watched(self: TableReader, at: Sequence[int]) -> list[StoredLeaf]:
        read.extend(at)
        return original(self, at)

    monkeypatch.setattr(TableReader, "leaves_at", watched)
    assert found(location, keys, user=ALICE) == before == [1024, 1023, 7, 3]
    assert sorted(read) == [3, 7, 1023]
    assert found(location, keys, user=ALICE, person=CAROL) == [1024, 1023, 3]
    assert found(location, keys, person=ALICE) == []
    assert found(location, keys, person=CAROL) == [1030, 1024, 1023, 500, 3]
    assert found(location, keys, user="nobody") == []
    assert found(location, None, user=ALICE) == [7], "without keys the plain name alone"
    log.checkpoint()
    assert verify_file(location, [VKEY]).verified


def test_nobody_is_found_by_another_key_or_in_another_block(keys: PersonKeys) -> None:
    key = keys.key_of(ALICE)
    terms = {
        person_term(key, "user", 0), person_term(key, "user", 1), person_term(key, "person", 0),
        person_term(keys.key_of(BOB), "user", 0),
    }  # fmt: skip
    assert len(terms) == 4
    leaf = render_leaf(decision(1) | sealed(keys, 1, ALICE)).raw
    rows = dict(make_rows(0, [leaf], keys.opener()))
    assert rows.keys() >= {person_term(key, "user", 0)}
    assert person_term(key, "user", 1) not in rows


def test_what_no_key_opened_when_it_was_gone_through_is_still_found_when_the_key_is_back(
    log: AuditLog, location: StoreLocation, keys: PersonKeys
) -> None:
    person = keys.find(ALICE)
    assert person is not None
    away = person.path.rename(person.path.with_suffix(".away"))
    log.index_persons(keys, 9)
    assert found(location, keys, user=ALICE) == [7]
    away.rename(person.path)
    assert found(location, keys, user=ALICE) == [1024, 1023, 7, 3]
    assert found(location, keys, user=BOB) == [1030, 500]


def test_the_rows_of_a_person_are_told_by_their_key_and_by_no_other(
    log: AuditLog, location: StoreLocation, keys: PersonKeys
) -> None:
    log.index_persons(keys, 9)
    alice, stranger = keys.find(ALICE), keys.find(BOB)
    assert alice is not None
    assert stranger is not None
    with open_reader(location) as reader:
        assert find_rows(reader, [alice]) == [(number_of(0), person_term(alice.key, "user", 0))]
        assert find_rows(reader, [stranger]) == [(number_of(0), person_term(stranger.key, "user", 0))]
        assert find_rows(reader, []) == []


def test_a_row_that_was_changed_is_said_and_shows_nobody(keys: PersonKeys) -> None:
    class Broken:
        def members_at(self, keys: Sequence[Key]) -> dict[Key, bytes]:
            return dict.fromkeys(keys, b"abc")

    with pytest.raises(TamperError) as caught:
        Narrowing(Broken(), named_by({"user": ALICE}, (), keys.all())).bits({0: [0]})
    assert caught.value.code == "index_changed"


def test_an_erasure_takes_the_rows_and_what_was_pruned_is_gone_through_again(
    location: StoreLocation, log: AuditLog, keys: PersonKeys
) -> None:
    log.index_persons(keys, 9)
    alice = keys.find(ALICE)
    assert alice is not None
    with open_reader(location) as reader:
        rows = find_rows(reader, [alice])
    if isinstance(location, Path):
        erase_attachments(location, (), rows=rows)
    else:
        with psycopg.connect(owners(location), autocommit=True) as connection:
            for statement in render_statements((), rows):
                connection.execute(statement)
    with open_reader(location) as reader:
        assert find_rows(reader, [alice]) == []
    keys.destroy(alice)
    assert found(location, keys, user=ALICE) == [7], "the plain name stays"
    assert found(location, keys, user=BOB) == [1030, 500]
    remove(location if isinstance(location, Path) else owners(location), Removal(((2, 4),), {}))
    with open_reader(location) as reader:
        assert reader.members_at([(-1, term_of("persons", "unopened"))]) == {}
    assert found(location, keys, user=BOB) == [1030, 500], "read through meanwhile"
    assert log.index_persons(keys, 9) == 1
    assert found(location, keys, user=BOB) == [1030, 500]
