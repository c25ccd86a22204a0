"""An API server's log beside a record with sealed names: no honest log is accused, and with keys names are compared."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from placet.audit.findings import Verification
from placet.audit.log import AuditLog
from placet.audit.person_keys import Opener, PersonKeys
from placet.audit.persons import NONCE, seal
from placet.audit.record import SEALED_SCHEMA
from placet.audit.verify import verify_file
from placet.audit.witness import Witness
from tests.simulators.apiserverlog import Event, events_of, moment, write_log
from tests.simulators.tampering import LOG_KEY, ORIGIN, append

ALICE = "alice@example.org"
SIZE = 8


@pytest.fixture
def keys(tmp_path: Path) -> PersonKeys:
    (tmp_path / "persons").mkdir()
    (tmp_path / "persons.key").write_bytes(base64.b64encode(bytes(range(32))))
    return PersonKeys.open(tmp_path / "persons", tmp_path / "persons.key", writable=True)


@pytest.fixture
def store(tmp_path: Path, keys: PersonKeys) -> Path:
    log = AuditLog.open(tmp_path / "record.db", origin=ORIGIN, key=LOG_KEY)
    for number in range(SIZE):
        nonce = bytes([number]) * 16
        sealed = {"schema": SEALED_SCHEMA, NONCE: nonce.hex(), "user": seal(keys.key_of(ALICE), nonce, ALICE)}
        append(log, number, time=moment(number), **sealed)
    log.checkpoint()
    log.close()
    return tmp_path / "record.db"


@pytest.fixture
def events(store: Path) -> list[Event]:
    found = events_of(store)
    for event in found:
        event["user"]["username"] = ALICE
    return found


def verified(store: Path, events: list[Event], opener: Opener | None) -> Verification:
    with Witness([LOG_KEY.verifier], kinds={}, opener=opener) as witness:
        witness.load([write_log(store.parent / "audit.log", events)])
        return verify_file(store, [LOG_KEY.verifier], witness=witness)


def test_an_honest_log_agrees_with_and_without_keys(store: Path, events: list[Event], keys: PersonKeys) -> None:
    opened = verified(store, events, keys.opener())
    assert opened.verified
    assert opened.crosscheck is not None
    assert (opened.crosscheck.counts, opened.crosscheck.notes) == ({}, ())
    closed = verified(store, events, None)
    assert closed.verified
    assert closed.crosscheck is not None
    assert closed.crosscheck.notes == (f"{SIZE} leaves have the name of who asked sealed, which was not compared",)


def test_another_person_is_found_where_the_keys_are_at_hand(store: Path, events: list[Event], keys: PersonKeys) -> None:
    events[3]["user"]["username"] = "mallory@example.org"
    found = verified(store, events, keys.opener())
    assert not found.verified
    assert found.crosscheck is not None
    assert found.crosscheck.counts == {"admission_differs": 1}
    assert verified(store, events, None).verified


def test_another_object_is_found_without_any_key(store: Path, events: list[Event]) -> None:
    events[3]["objectRef"]["name"] = "another"
    found = verified(store, events, None)
    assert found.crosscheck is not None
    assert found.crosscheck.counts == {"admission_differs": 1}
