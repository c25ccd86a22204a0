"""The folder of the keys of persons: made once, shared, and gone when it is said to be."""

from __future__ import annotations

import base64
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from placet.audit.person_keys import MAX_NAME_BYTES, Person, PersonKeys, parse_person, read_secret, render_person
from placet.audit.persons import NONCE, seal
from placet.audit.record import SEALED_SCHEMA
from placet.errors import AuditError, FormatError, InputError, StoreUnavailable

SECRET = bytes(range(32))
CIPHER = AESGCM(SECRET)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "persons").mkdir()
    (tmp_path / "persons.key").write_text(base64.b64encode(SECRET).decode() + "\n")
    return tmp_path / "persons"


def opened(folder: Path, **terms: bool) -> PersonKeys:
    return PersonKeys.open(folder, folder.with_suffix(".key"), **terms)


def test_a_person_has_one_key_for_every_replica_and_after_a_restart(folder: Path) -> None:
    first, second = opened(folder), opened(folder)
    key = first.key_of("alice")
    assert len(key) == 32
    assert [second.key_of("alice"), opened(folder).key_of("alice"), first.key_of("alice")] == [key] * 3
    assert first.key_of("Alice") != key
    assert {one.name for one in first.all()} == {"alice", "Alice"}


def test_replicas_that_meet_a_person_at_once_agree(folder: Path) -> None:
    replicas = [opened(folder) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda one: one.key_of("bob"), replicas))
    assert len(keys) == 1
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_neither_a_name_nor_a_key_stands_in_the_folder(folder: Path) -> None:
    keys = opened(folder)
    key = keys.key_of("alice@example.org")
    held = b"".join(path.name.encode() + path.read_bytes() for path in folder.iterdir())
    for secret in (b"alice", key, key.hex().encode(), base64.b64encode(b"alice@example.org")):
        assert secret not in held
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())


def test_a_key_that_was_destroyed_is_not_used_again_by_anybody(folder: Path) -> None:
    mine, theirs = opened(folder), opened(folder)
    former = theirs.key_of("alice")
    person = mine.find("alice")
    assert person is not None
    mine.destroy(person)
    assert mine.find("alice") is None
    assert mine.opener().salt(seal(former, bytes(16), "alice"), bytes(16)) is None
    assert list(folder.iterdir()) == []
    assert theirs.key_of("alice") != former, "who comes back gets another key, also from a replica that knew the first"


def test_what_is_opened_is_of_the_record_it_was_sealed_in(folder: Path) -> None:
    keys = opened(folder)
    nonce, other = bytes(16), bytes(range(16))
    mine, words = seal(keys.key_of("alice"), nonce, "alice"), seal(keys.key_of("alice"), other, "alice")
    unknown = seal(SECRET, nonce, "alice")
    body = {"schema": SEALED_SCHEMA, NONCE: nonce.hex(), "user": mine, "message": f"{mine} {words} {unknown}"}
    assert keys.opener().open(body) == {**body, "user": "alice", "message": f"alice {words} {unknown}"}
    plain = {**body, "schema": "placet.dev/record/v1"}
    assert keys.opener().open(plain) == plain


def test_a_folder_under_another_key_or_with_a_swapped_file_is_refused(folder: Path, tmp_path: Path) -> None:
    keys = opened(folder)
    keys.key_of("alice")
    keys.key_of("bob")
    alice, bob = (keys._path(name) for name in ("alice", "bob"))
    alice.write_bytes(bob.read_bytes())
    with pytest.raises(AuditError) as caught:
        keys.key_of("alice")
    assert caught.value.code == "persons_key_differs"
    (tmp_path / "other.key").write_text(base64.b64encode(bytes(32)).decode())
    with pytest.raises(AuditError) as caught:
        PersonKeys.open(folder, tmp_path / "other.key")
    assert caught.value.code == "persons_key_differs"


@pytest.mark.parametrize("content", [b"", b"\xff", b"c2hvcnQ=", base64.b64encode(bytes(33))])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "persons.key").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_secret(tmp_path / "persons.key")
    assert caught.value.code == "persons_key_invalid"
    with pytest.raises(InputError):
        read_secret(tmp_path / "none.key")


def test_a_folder_that_is_not_there_or_takes_nothing_is_said_to_be_unavailable(folder: Path) -> None:
    keys = opened(folder, writable=True)
    for path in (folder, *folder.iterdir()):
        assert path == folder
    folder.rmdir()
    for failing in (lambda: keys.key_of("alice"), keys.all, lambda: opened(folder)):
        with pytest.raises(StoreUnavailable) as caught:
            failing()
        assert caught.value.code == "persons_unavailable"
    with pytest.raises(StoreUnavailable):
        opened(folder.parent / "persons", writable=True)


def test_a_name_too_long_to_be_kept_is_refused(folder: Path) -> None:
    keys = opened(folder)
    keys.key_of("a" * MAX_NAME_BYTES)
    with pytest.raises(AuditError) as caught:
        keys.key_of("a" * (MAX_NAME_BYTES + 1))
    assert caught.value.code == "record_too_large"
    assert [len(one.name) for one in opened(folder).all()] == [MAX_NAME_BYTES]


def test_a_leaf_is_passed_over_only_where_it_can_not_have_the_name(folder: Path) -> None:
    keys = opened(folder)
    nonce = bytes(16)
    sealed = seal(keys.key_of("alice"), nonce, "alice")
    raw = f'decision\n{{"{NONCE}":"{nonce.hex()}","user":"{sealed}"}}'.encode()
    opener = keys.opener()
    assert opener.may_name(raw, frozenset({"alice"}))
    assert opener.may_name(b'decision\n{"user":"bob"}', frozenset({"bob"}))
    assert opener.may_name(b'decision\n{"user":"b\\"ob"}', frozenset({'b"ob'}))
    for other in ("bob", "Alice", "alic"):
        assert not opener.may_name(raw, frozenset({other}))


@given(st.text(max_size=200), st.integers(0, 1 << 30), st.integers(0, 255))
def test_every_name_comes_back_and_no_byte_of_its_file_can_be_changed(name: str, place: int, change: int) -> None:
    path = Path("00.person")
    person = Person(secrets.token_hex(16), name, secrets.token_bytes(32), path)
    raw = bytearray(render_person(person, CIPHER))
    assert parse_person(bytes(raw), CIPHER, path) == person
    place %= len(raw)
    if raw[place] != change:
        raw[place] = change
        with pytest.raises(FormatError):
            parse_person(bytes(raw), CIPHER, path)
    with pytest.raises(FormatError):
        parse_person(bytes(raw), CIPHER, Path("01.person"))


@given(st.binary(max_size=200))
def test_bytes_that_nobody_wrote_are_no_person(raw: bytes) -> None:
    for content in (raw, b"placet.dev/person-key/v1\n" + raw):
        with pytest.raises(FormatError):
            parse_person(content, CIPHER, Path("00.person"))
