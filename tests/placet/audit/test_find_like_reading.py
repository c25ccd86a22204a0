"""Whatever is asked with names opened, what is found is what reading every record finds, sealed or plain."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from placet.audit.location import open_reader
from placet.audit.log import AuditLog
from placet.audit.person_keys import Opener, Person, PersonKeys
from placet.audit.persons import NONCE, seal
from placet.audit.query import Query, find, read_found
from placet.audit.record import SEALED_SCHEMA, search_values
from placet.audit.sealer import Sealer
from placet.audit.segments import SEGMENT
from placet.audit.stores import StoredLeaf
from placet.audit.terms import BLOCK
from tests.simulators.bulk import build_bulk
from tests.simulators.tampering import ORIGIN, Body, decision

REGULAR = [
    "alice@example.org", "Bob", "bob@example.org", "a.b", "A-B", "x_1", "\u00e4nne", "\u0130da", "O'Neil\"x", "a\\b",
    *(f"p-{number}@example.org" for number in range(10)),
]  # fmt: skip
IRREGULAR = ["!x", "end.", "\u0345a", "x\u200b"]  # what is beside them is one word with what they are sealed as
ACCOUNTS = ["system:node", 'system:a"b']
WORDS = ["blue", "Ticket", "renew", "a", "\u0345", "x", "\u0345blue", "example", "_"]
PARTS = [" ", ", ", "-", "", "\n", '"', "\u2026"]
SPREAD = 3  # of so many leaves one has sealed names


class Keys(PersonKeys):
    """Everybody's key, in no folder."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(Path("nowhere"), bytes(32))
        self._kept = names

    def key_of(self, name: str) -> bytes:
        return name.encode().ljust(32, b"\0")[:32]

    def opener(self) -> Opener:
        return Opener([Person("0" * 32, name, self.key_of(name), Path("x")) for name in self._kept])


@dataclass(frozen=True)
class Log:
    """A record, and everybody who is named in it."""

    path: Path
    log: AuditLog
    names: list[str]


def sentence(chance: random.Random, names: list[str]) -> str:
    return "".join(
        one for _ in range(chance.randint(1, 5)) for one in (chance.choice([*WORDS, *names]), chance.choice(PARTS))
    )


def maker(names: list[str]) -> Callable[[int], tuple[Body, dict[str, bytes]]]:
    keys = Keys(names)

    def made(number: int) -> tuple[Body, dict[str, bytes]]:
        chance = random.Random(number)
        said, user, person = sentence(chance, names), chance.choice([*names, *ACCOUNTS]), chance.choice(names)
        approvals = [{"approval_id": f"a-{number}", "person": person, "role": "security"}]
        if number % SPREAD:
            return decision(number, message=said, user=user, approvals=approvals), {}
        sealer = Sealer(keys)
        approvals[0]["person"] = sealer.name(person)
        message = sealer.texts(names, said)(said)
        if number % 5 == 0:  # a name that was sealed with another record's nonce is somebody's words
            message += " " + seal(keys.key_of(person), bytes(16), person)
        sealed = {"schema": SEALED_SCHEMA, NONCE: sealer.nonce.hex(), "user": sealer.name(user)}
        return decision(number, message=message, approvals=approvals, **sealed), {}

    return made


@pytest.fixture(scope="module", params=[REGULAR, [*REGULAR, *IRREGULAR]], ids=["regular", "irregular"])
def log(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Log]:
    """A segment, of which the first block was gone through without most keys, and the last with all but a few."""
    names: list[str] = request.param
    path = build_bulk(tmp_path_factory.mktemp("read") / "record.db", SEGMENT + 2 * BLOCK + 9, made=maker(names))
    opened = AuditLog.open(path, origin=ORIGIN)
    assert opened.index_blocks(99) == SEGMENT // BLOCK + 2
    opened.index_persons(Keys(names[:2]), 1)
    opened.index_persons(Keys(names), SEGMENT // BLOCK)
    yield Log(path, opened, names)
    opened.close()


def queries(names: list[str]) -> list[Query]:
    chance = random.Random(7)
    asked = [Query(person=name) for name in chance.sample(names, 2)] + [Query(user=ACCOUNTS[1])]
    asked += [Query(text=one) for one in (*chance.sample(names, 2), *chance.sample(WORDS[:-1], 2), "Bob alice", "p 3")]
    for _ in range(6):
        asked.append(
            Query(
                text=chance.choice(["", sentence(chance, names) + " a"]),
                person=chance.choice(["", chance.choice(names)]),
                user=chance.choice(["", chance.choice([*names, *ACCOUNTS])]),
                allowed=chance.choice([None, True, False]),
            )
        )
    return asked


@pytest.mark.parametrize("lost", [0, 3], ids=["every key", "some keys are lost"])
def test_what_is_found_is_what_reading_every_record_finds(log: Log, lost: int) -> None:
    keys = Keys(log.names[lost:])
    with open_reader(log.path) as reader:
        opener = keys.opener()
        stored: list[StoredLeaf] = list(reader.leaves(0, SEGMENT + 2 * BLOCK + 9))
        bodies = [read_found(one, opener).body for one in stored]
        columns = [search_values(body) for body in bodies]
        many = 0
        for query in queries(log.names):
            slow = [at for at in range(len(bodies) - 1, -1, -1) if query.matches(columns[at], bodies[at])]
            quick = [one.index for one in find(reader, query, limit=len(bodies), opener=keys.opener()).found]
            assert quick == slow, query
            many += bool(slow)
    assert many > 5


def test_thousands_of_words_that_may_all_be_names_are_looked_for(log: Log) -> None:
    words = " ".join(f"w{number}" for number in range(3000))
    names = [*log.names, *(f"w{number}.x" for number in range(3000))]
    with open_reader(log.path) as reader:
        assert find(reader, Query(text=f"blue {words}"), limit=5, opener=Keys(names).opener()).found == ()
