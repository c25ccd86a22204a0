"""A person is erased: no byte of the store has a name of theirs any more, and everything still verifies."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from click.testing import CliRunner, Result

from placet.audit.certify import certify
from placet.audit.erasure import NameFinder, find_traces
from placet.audit.forms import Forms
from placet.audit.holds import render_hold, render_release
from placet.audit.location import StoreLocation, open_reader
from placet.audit.log import AuditLog
from placet.audit.note import parse_vkey
from placet.audit.person_keys import PersonKeys
from placet.audit.persons import NONCE, seal
from placet.audit.record import ERASURE, SCHEMA, SEALED_EVENT_SCHEMA, SEALED_SCHEMA, parse_leaf
from placet.audit.sealer import seal_event
from placet.audit.stores.erase import erase_attachments
from placet.canonical import Digest
from placet.cli import root
from placet.config import load_config
from placet.errors import InputError, StoreUnavailable
from tests.simulators.bothways import verify_file
from tests.simulators.pgsurgery import owners
from tests.simulators.tampering import LOG_KEY, ORIGIN, START, append, decision

ALICE = "alice@example.org"
BOB = "bob@example.org"
VKEY = str(LOG_KEY.verifier)


@pytest.fixture
def keys(tmp_path: Path) -> PersonKeys:
    (tmp_path / "persons").mkdir()
    (tmp_path / "persons.key").write_bytes(base64.b64encode(bytes(range(32))))
    return PersonKeys.open(tmp_path / "persons", tmp_path / "persons.key", writable=True)


@pytest.fixture
def config(tmp_path: Path, keys: PersonKeys, location: StoreLocation) -> Path:
    value = {
        "cluster": "prod-eu-1",
        "keyring": {"file": "keyring.json", "roots": ["root.pem"], "threshold": 1},
        "record": {
            "store": str(location),
            "log_key": "log.pem",
            "origin": ORIGIN,
            "persons": {"folder": str(keys.folder), "key_file": "persons.key"},
        },
    }
    file = tmp_path / "placet.yaml"
    file.write_text(yaml.safe_dump(value))
    return file


@pytest.fixture
def log(location: StoreLocation) -> Iterator[AuditLog]:
    opened = AuditLog.open(location, origin=ORIGIN, key=LOG_KEY)
    yield opened
    opened.close()


def seal_in(log: AuditLog, keys: PersonKeys, number: int, user: str, *approvers: str) -> None:
    """A decision as a gate with sealed names records it."""
    nonce = bytes([number]) * 16
    sealed = {name: seal(keys.key_of(name), nonce, name) for name in (user, *approvers)}
    changes = {
        "schema": SEALED_SCHEMA,
        NONCE: nonce.hex(),
        "user": sealed[user],
        "approvals": [
            {"approval_id": f"a-{name[0]}", "role": "security", "person": sealed[name]} for name in approvers
        ],
        "message": f"asked by {sealed[user]}",
    }
    append(log, number, **changes)


def keyring_with(log: AuditLog, version: int, *names: str) -> bytes:
    """A keyring that came into force, its names within a signed envelope; gives how the envelope spells them."""
    payload = base64.b64encode(json.dumps({"identities": [{"person": name} for name in names]}).encode()).decode()
    envelope = json.dumps({"payload": payload}).encode()
    body = decision(0) | {"type": "keyring", "version": version, "envelope_digest": str(Digest.of(envelope))}
    kept = {name: body[name] for name in ("schema", "type", "time", "cluster", "version", "envelope_digest")}
    log.append(kept, attachments={"envelope": envelope})
    return payload.encode()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["audit", *map(str, arguments)], catch_exceptions=False)


def erase(config: Path, *names: str, yes: bool = True, terms: dict[str, str] | None = None) -> Result:
    words = {"by": "sam", "reason": "asked to be forgotten", "ticket": "DP-7"} | (terms or {})
    options = [part for name in names for part in ("--person", name)]
    options += [part for name, text in words.items() for part in (f"--{name}", text)]
    return run("erase", "--config", config, *options, *(["--yes"] if yes else []), "-o", "json")


def listed(config: Path, *arguments: object) -> list[Any]:
    result = run("list", "--config", config, *arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    return [one["record"] for one in json.loads(result.stdout)["records"]]


def complete(location: StoreLocation, result: Result) -> None:
    """What the owner of a database does with the statements."""
    if isinstance(location, Path):
        return
    with psycopg.connect(owners(location), autocommit=True) as connection:
        for statement in json.loads(result.stdout)["statements"]:
            connection.execute(statement)


def bytes_of(location: StoreLocation) -> bytes:
    """Every byte that the store has on the disk, its log of changes apart where that is the server's to keep."""
    if isinstance(location, Path):
        return b"".join(path.read_bytes() for path in location.parent.glob(f"{location.name}*"))
    with psycopg.connect(owners(location), autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        folder = connection.execute("SHOW data_directory").fetchone()
        names = connection.execute(
            "SELECT pg_relation_filepath(oid) FROM pg_class WHERE relkind IN ('r', 'i', 't') "
            "AND pg_relation_filepath(oid) IS NOT NULL"
        ).fetchall()
    assert folder is not None
    assert names
    files = [Path(folder[0]) / name for (name,) in names]
    return b"".join(path.read_bytes() for path in files if path.exists())


def test_a_person_is_gone_from_every_byte_and_everything_still_verifies(
    config: Path, log: AuditLog, keys: PersonKeys, location: StoreLocation
) -> None:
    enveloped = keyring_with(log, 1, ALICE, BOB)
    for number in range(1, 7):
        seal_in(log, keys, number, *((ALICE, BOB) if number % 2 else (BOB, ALICE)))
    keyring_with(log, 2, BOB)
    saved = log.checkpoint().encode()
    proof = run("prove", "uid-1", "--leaf-only", "--config", config, "--log-key", VKEY).stdout
    assert len(listed(config, "--user", ALICE)) == len(listed(config, "--person", ALICE)) == 3
    assert [one["user"] for one in listed(config, "--user", ALICE, "--person", BOB)] == [ALICE] * 3

    shown = erase(config, "Alice@Example.org", yes=False)
    assert shown.exit_code == 0, shown.output
    value = json.loads(shown.stdout)
    assert (value["done"], len(value["keys"]), value["attachments"]) == (False, 1, [{"index": 0, "name": "envelope"}])
    assert value["named"] == 7, "asked three times, approved three times, and is in a keyring"
    assert keys.find(ALICE) is not None
    assert log.newest(ERASURE) is None

    assert enveloped in bytes_of(location)
    done = erase(config, ALICE)
    assert done.exit_code == 0, done.output
    complete(location, done)
    left = bytes_of(location)
    assert enveloped not in left
    assert b"alice" not in left.lower()
    assert listed(config, "--user", ALICE) == listed(config, "--person", ALICE) == []
    assert len(listed(config, "--user", BOB)) == 3
    assert len(listed(config)) == 6
    table = run("list", "--config", config).stdout
    assert "(erased)" in table
    assert BOB in table

    leaf = log.newest(ERASURE)
    assert leaf is not None
    assert leaf["keys"] == value["keys"]
    assert leaf["attachments"] == value["attachments"]
    assert keys.opener().open(leaf)["by"] == "sam"
    log.checkpoint()
    result = verify_file(location, [parse_vkey(VKEY)], saved=[("saved", saved)])
    assert result.verified, result.findings
    assert result.saved == ("saved",)
    (config.parent / "proof.json").write_text(proof)
    assert run("verify", "--proof", config.parent / "proof.json", "--log-key", VKEY).exit_code == 0

    again = erase(config, ALICE)
    assert json.loads(again.stdout)["done"] is False
    assert json.loads(again.stdout)["keys"] == []


def test_who_is_in_the_keyring_in_force_is_not_erased(config: Path, log: AuditLog, keys: PersonKeys) -> None:
    seal_in(log, keys, 0, ALICE)
    keyring_with(log, 1, ALICE)
    size = log.size()
    result = erase(config, ALICE)
    assert result.exit_code == 2
    assert "the keyring in force names the person" in result.stderr
    assert keys.find(ALICE) is not None
    assert log.size() == size


def test_a_leaf_with_a_name_in_it_stays_and_is_counted(config: Path, log: AuditLog, keys: PersonKeys) -> None:
    append(log, 0, user=ALICE)
    append(log, 1, user="malice@example.org")
    seal_in(log, keys, 2, ALICE)
    shown = json.loads(erase(config, ALICE, yes=False).stdout)
    assert shown["leaves"] == {"decision": 1}
    text = run("erase", "--config", config, "--person", ALICE, "--by", "sam", "--reason", "x").stdout
    assert "stays      1 decision with a name in the leaf, which nobody can change" in text
    assert "to destroy  1 key that opened sealed names" in text


@pytest.mark.parametrize("terms", [{"by": ALICE}, {"reason": f"for {ALICE.upper()}"}, {"ticket": f"{ALICE}-1"}])
def test_the_leaf_of_an_erasure_never_names_who_was_erased(
    config: Path, log: AuditLog, keys: PersonKeys, terms: dict[str, str]
) -> None:
    seal_in(log, keys, 0, ALICE)
    result = erase(config, ALICE, terms=terms)
    assert result.exit_code == 2
    assert log.newest(ERASURE) is None
    assert keys.find(ALICE) is not None


@pytest.mark.parametrize("terms", [{"reason": " "}, {"reason": "x" * 501}, {"ticket": "x" * 501}])
def test_words_of_no_or_of_too_great_length_change_nothing(
    config: Path, log: AuditLog, keys: PersonKeys, terms: dict[str, str]
) -> None:
    seal_in(log, keys, 0, ALICE)
    assert erase(config, ALICE, terms=terms).exit_code == 2
    assert keys.find(ALICE) is not None


def test_accounts_of_the_cluster_are_not_people(config: Path, log: AuditLog, keys: PersonKeys) -> None:
    append(log, 0)
    with open_reader(yaml_store(config)) as reader, pytest.raises(InputError):
        find_traces(reader, keys, ["system:admin"])


def yaml_store(config: Path) -> StoreLocation:
    return load_config(config).store


def test_a_record_that_seals_no_names_can_not_erase_any(config: Path, log: AuditLog) -> None:
    value = yaml.safe_load(config.read_text())
    del value["record"]["persons"]
    config.write_text(yaml.safe_dump(value))
    append(log, 0, user=ALICE)
    result = erase(config, ALICE)
    assert result.exit_code == 2
    assert "no record.persons" in result.stderr


def test_a_reader_that_holds_the_write_ahead_log_is_waited_for_and_then_said(tmp_path: Path) -> None:
    store = tmp_path / "record.db"
    log = AuditLog.open(store, origin=ORIGIN)
    append(log, 0)
    reader = sqlite3.connect(store, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM blobs").fetchone() == (1,)
    clock = iter(range(1000))
    with pytest.raises(StoreUnavailable) as caught:
        erase_attachments(
            store, [(0, "input")], wait_s=0.2, clock=lambda: float(next(clock)), pause=lambda _seconds: None
        )
    assert caught.value.code == "store_locked"
    reader.execute("COMMIT")
    erase_attachments(store, [(0, "input")])
    assert reader.execute("SELECT count(*) FROM blobs").fetchone() == (0,)
    reader.close()
    assert store.with_name("record.db-wal").stat().st_size == 0
    append(log, 1)
    log.close()


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b'{"a":"alice"}', True),
        (b'{"a":"ALICE@x"}', True),
        (b'{"a":"malice"}', False),
        (b'{"a":"alice2"}', False),
        (json.dumps({"p": base64.b64encode(b'{"x":"alice"}').decode()}).encode(), True),
        (json.dumps({"p": base64.urlsafe_b64encode(b'\xff\xfe {"x":"alice"}').decode().rstrip("=")}).encode(), True),
        (json.dumps({"p": base64.b64encode(b'{"x":"malice"}').decode()}).encode(), False),
        (b"\xff\xfe alice", True),
        (b"", False),
    ],
)
def test_a_name_is_found_however_it_was_kept(raw: bytes, found: bool) -> None:
    assert NameFinder(["Alice"]).finds(raw) is found


def test_a_name_is_found_as_json_spells_it() -> None:
    for name in ('o"neil', "Zoë", "back\\slash"):
        assert NameFinder([name]).finds(json.dumps({"a": name}).encode())
        assert NameFinder([name]).finds(json.dumps({"a": name}, ensure_ascii=False).encode())


def test_the_leaf_of_an_erasure_is_read_like_every_other(config: Path, log: AuditLog, keys: PersonKeys) -> None:
    seal_in(log, keys, 0, ALICE)
    assert erase(config, ALICE).exit_code == 0
    with open_reader(yaml_store(config)) as reader:
        stored = next(iter(reader.of_type(ERASURE, start=0)))
        assert certify(reader, 0, 1, Forms()) is not None, "of the decision with its sealed names"
        assert certify(reader, 1, 2, Forms()) is None, "what says something of other leaves is read strictly"
    assert parse_leaf(stored.raw_leaf).body["time"] > f"{START:%Y}"
    assert run("show", "1", "--config", config).exit_code == 0


def test_who_is_in_a_leaf_under_a_legal_hold_is_not_erased(config: Path, log: AuditLog, keys: PersonKeys) -> None:
    seal_in(log, keys, 0, ALICE)
    seal_in(log, keys, 1, BOB)
    terms: dict[str, Any] = {"by": "legal", "reason": "a case", "ticket": "L-1", "now": START}
    log.append(render_hold("case-1", covered=[(0, 1)], scope="one leaf", **terms))
    result = erase(config, ALICE)
    assert result.exit_code == 2
    assert "a legal hold covers 1 of the leaves" in result.stderr
    assert keys.find(ALICE) is not None
    assert erase(config, BOB).exit_code == 0, "whom it does not cover"
    log.append(render_release("case-1", **terms))
    assert erase(config, ALICE).exit_code == 0
    assert keys.find(ALICE) is None


def events_of(name: str) -> list[dict[str, Any]]:
    """A leaf of each type that is no decision and names somebody, who is named in its sentences too."""
    head = {"schema": SCHEMA, "time": "2026-11-22T18:00:00.000000Z", "cluster": "prod-eu-1"}
    digest = str(Digest.of(b"x"))
    used = {
        "type": "break-glass", "event": "used", "token_id": "t-1", "token": digest, "decision_id": "d-1",
        "environment": "production", "namespace": "ml", "kind": "Deployment", "name": "llama", "projection": digest,
        "model": {"name": "llama", "version": "1", "digest": ""}, "signers": [{"person": name, "key": "1"}],
        "user": name, "review_due": head["time"], "reason": f"{name} says so", "ticket": "", "overridden": [],
    }  # fmt: skip
    reviewed = {
        "type": "break-glass", "event": "reviewed", "review_id": "r-1", "person": name, "key": "2",
        "tokens": [{"token_id": "t-1", "token": digest}], "reviewed": head["time"], "conclusion": f"{name} was right",
    }  # fmt: skip
    exempted = {
        "type": "exemption", "event": "found", "exemption_id": "e-1", "statement": digest, "reason": f"for {name}",
        "ticket": "", "signers": [{"person": name, "key": "1"}],
    }  # fmt: skip
    revoked = {
        "type": "revocation", "approval_id": "a-1", "role": "security", "environment": "production", "person": name,
        "statement": digest,
    }  # fmt: skip
    hold = render_hold("h-1", covered=[], scope="one", by=name, reason=f"{name} sues", ticket="", now=START)
    release = render_release("h-1", by=name, reason=f"{name} settled", ticket=name, now=START)
    return [*(head | body for body in (used, reviewed, exempted, revoked)), hold, release]


def test_erasing_reaches_every_type_of_leaf_that_names_a_person(
    config: Path, log: AuditLog, keys: PersonKeys, location: StoreLocation, tmp_path: Path
) -> None:
    seal_in(log, keys, 0, BOB)
    for name in (ALICE, BOB):
        for body in events_of(name):
            log.append(seal_event(body, keys))
    log.checkpoint()
    found = listed(config, "--type", "any", "--person", ALICE)
    assert sorted(body["type"] for body in found) == ["break-glass", "break-glass", "exemption", "revocation"]
    assert ALICE in run("list", "--config", config, "--type", "break-glass", "-o", "csv").stdout
    assert ALICE in run("show", "3", "--config", config).stdout + run("show", "5", "--config", config).stdout
    assert ALICE in run("hold", "list", "--config", config, "--all").stdout
    assert ALICE not in run("hold", "list", "--store", location, "--all").stdout
    proof = run("prove", "1", "--leaf-only", "--config", config, "--log-key", VKEY).stdout

    done = erase(config, ALICE)
    assert done.exit_code == 0, done.output
    assert (json.loads(done.stdout)["named"], json.loads(done.stdout)["leaves"]) == (6, {})
    complete(location, done)
    assert b"alice" not in bytes_of(location).lower()
    assert listed(config, "--type", "any", "--person", ALICE) == []
    assert len(listed(config, "--type", "any", "--person", BOB)) == 4
    csv = run("list", "--config", config, "--type", "break-glass", "-o", "csv").stdout
    assert (ALICE in csv, BOB in csv, "(erased)" in csv) == (False, True, True)
    shown = run("hold", "list", "--config", config, "--all").stdout
    assert (ALICE in shown, BOB in shown, "(erased) settled" in shown or "(erased) sues" in shown) == (
        False,
        True,
        True,
    )
    log.checkpoint()
    assert verify_file(location, [parse_vkey(VKEY)]).verified
    (tmp_path / "proof.json").write_text(proof)
    assert run("verify", "--proof", tmp_path / "proof.json", "--log-key", VKEY).exit_code == 0
    copy = tmp_path / "copy.sqlite"
    moved = run("migrate", "--from", location, "--to", copy)
    assert moved.exit_code == 0, moved.output
    assert verify_file(copy, [parse_vkey(VKEY)]).verified


def test_who_was_party_to_a_break_glass_is_not_erased_before_its_review(
    config: Path, log: AuditLog, keys: PersonKeys
) -> None:
    used, reviewed, *_ = events_of(ALICE)
    log.append(seal_event(used, keys))
    refused = erase(config, ALICE.upper())
    assert refused.exit_code == 2
    assert "break-glass token t-1 let in, and it waits for its review" in refused.stderr
    assert keys.find(ALICE) is not None
    log.append(seal_event(reviewed, keys))
    assert erase(config, ALICE).exit_code == 0
    assert keys.find(ALICE) is None


def test_a_hold_is_sealed_where_names_are_and_never_left_plain_by_mistake(
    config: Path, log: AuditLog, keys: PersonKeys, location: StoreLocation
) -> None:
    seal_in(log, keys, 0, BOB)
    words = ("--by", "lee", "--reason", f"{BOB} sues", "--everything")
    refused = run("hold", "add", "--store", location, *words)
    assert refused.exit_code == 2
    assert "names in this record are sealed" in refused.stderr
    made = run("hold", "add", "--config", config, *words)
    assert made.exit_code == 0, made.output
    let_go = ("--by", "lee", "--reason", "settled")
    key = ("--persons", keys.folder, "--persons-key", config.parent / "persons.key")
    assert run("hold", "release", made.stdout.strip(), "--store", location, *let_go).exit_code == 2
    assert run("hold", "release", made.stdout.strip(), "--store", location, *key, *let_go).exit_code == 0
    bodies = [body for _, body in log.since("hold", 0)]
    assert [body["schema"] for body in bodies] == [SEALED_EVENT_SCHEMA] * 2
    assert not any("bob" in repr(body) or "'lee'" in repr(body) for body in bodies)
    opened = [keys.opener().open(body) for body in bodies]
    assert [(body["by"], body["reason"]) for body in opened] == [("lee", f"{BOB} sues"), ("lee", "settled")]
